"""However few records a walk may write at a time, it finds the same."""

import pytest

from detectors import core as cores
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config
from detectors.core import Core


def _walked(config: Config, values: list[bytes]) -> tuple[list[bytes], str]:
    core = Core(config)
    alerts = []
    for first in range(0, len(values), 700):
        part = values[first : first + 700]
        places = range(first, first + len(part))
        alerts += core.feed_log(part, list(places), [2**60] * len(part)).alerts
    alerts += core.finish().alerts
    return [alert.to_json() for alert in alerts], core.digest()


def test_a_walk_that_is_called_again_and_again_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With room for a single record between two calls: the same alerts, and the same rows."""
    config = Config()
    day = labelled_day(seed=7, history_days=3)
    values = b"".join(render(day.day[8_000:24_000], day.world.words)).splitlines()
    usual = _walked(config, values)
    monkeypatch.setattr(cores, "ROOM", 5)
    assert _walked(config, values) == usual
    assert len(usual[0]) > 10
