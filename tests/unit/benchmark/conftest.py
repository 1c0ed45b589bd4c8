"""One labelled day after three days of history, shared by the tests of this folder."""

import pytest

from detectors.benchmark.day import LabelledDay, labelled_day


@pytest.fixture(scope="session")
def day() -> LabelledDay:
    """A labelled day with seed 7."""
    return labelled_day(7, history_days=3)
