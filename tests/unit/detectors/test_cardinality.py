"""Random names of senders: memory is bounded, real senders are as safe, one alert tells."""

from __future__ import annotations

import pytest

from tests.bench.cardinality import LIMIT, run

NAMES = 6 * LIMIT


@pytest.mark.slow
def test_random_names_fill_the_table_and_harm_nobody() -> None:
    """Of six names for each place: evictions are counted, real senders' alerts stay as they are."""
    usual, flooded = run(0), run(NAMES)
    assert flooded["about_real"] == usual["about_real"] != []
    assert flooded["events_of_a_real_sender"] == usual["events_of_a_real_sender"]
    assert flooded["evicted"]["sender"] >= NAMES - LIMIT
    assert flooded["bytes"] <= LIMIT * 1_800
    assert usual["others"] == []
    assert {one[:2] for one in flooded["others"]} == {("pipeline-health", "cardinality")}
    assert len({one[3] for one in flooded["others"]}) == 1
