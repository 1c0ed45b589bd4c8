"""How often payload-volume finds sizes by chance, and how surely ten times the usual one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import checks
from detectors.base import FINDING, MEDIUM
from detectors.event import DAY, EVENT, HOUR
from detectors.registry import detectors_found
from detectors.rules.payload_volume import SIZE_HIGH, SIZE_LOW

VOLUME = next(d for d in detectors_found() if d.id == "payload-volume")
START = 1_772_323_200_000_000
MEDIANS = (395, 637, 1_100, 2_000, 3_400, 7_300, 9_900, 15_000, 24_000, 60_000)
"""Spread as the sizes of documented webhook samples are: 0.4 KB to 60 KB."""


def deliveries(median: float, spread: float, n: int, seed: int) -> NDArray[Any]:
    """Return n deliveries of one type, two minutes apart, with log-normal sizes."""
    rng = np.random.Generator(np.random.PCG64([seed, int(median)]))
    events = np.zeros(n, EVENT)
    events["t"] = START + np.arange(n) * 2 * (HOUR // 60)
    events["now"] = events["t"]
    events["sender"] = events["source"] = events["event_type"] = events["client"] = 7
    events["gap"] = DAY // 720
    events["age"] = events["t"] - START
    events["events"] = np.arange(n)
    events["weight"] = 1.0
    events["body_bytes"] = median * np.exp(spread * rng.normal(0.0, 1.0, n))
    return events


def found(events: NDArray[Any], rows: list[NDArray[Any]]) -> int:
    """Return how many deliveries were found far too large or small."""
    records, _ = checks.run(VOLUME, events, rows)
    codes, reasons = records["code"], records["reason"]
    return int(np.count_nonzero((codes <= 2) & np.isin(reasons, (SIZE_HIGH, SIZE_LOW))))


@pytest.mark.parametrize("spread", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_one_false_alarm_in_ten_thousand_deliveries(spread: float) -> None:
    """Of log-normal sizes at most one in 10,000 is found, whatever their spread."""
    alarms = sum(
        found(deliveries(median, spread, 20_000, seed), checks.rows_of(VOLUME))
        for median in MEDIANS
        for seed in range(2)
    )
    assert alarms <= 2 * len(MEDIANS) * 20_000 / 10_000


@pytest.mark.parametrize(("spread", "share"), [(0.2, 1.0), (0.4, 1.0), (0.5, 1.0), (0.6, 0.8)])
def test_ten_times_the_usual_size_is_found_at_once(spread: float, share: float) -> None:
    """The first delivery of ten times the usual size is found: always, and at 0.6 mostly."""
    hits = []
    for median in MEDIANS[1:]:
        for seed in range(4):
            events = deliveries(median, spread, 3_001, seed)
            events["body_bytes"][-1] = 10 * median
            rows = checks.rows_of(VOLUME)
            found(events[:-1], rows)
            hits.append(found(events[-1:], rows))
    assert sum(hits) / len(hits) >= share


def test_pareto_sizes_are_hardly_told() -> None:
    """Of files with a Pareto tail a fortnight's last week tells one in 500, and nothing grave."""
    told, graver, days = 0, 0, 7
    for seed in range(6):
        rng = np.random.Generator(np.random.PCG64([seed, 99]))
        events = deliveries(400, 0.0, 21 * 720, seed)
        events["body_bytes"] = 400 * (1.0 + rng.pareto(1.2, len(events)))
        rows = checks.rows_of(VOLUME)
        found(events[: -days * 720], rows)
        records, _ = checks.run(VOLUME, events[-days * 720 :], rows)
        of_sizes = np.isin(records["reason"], (SIZE_HIGH, SIZE_LOW)) & (records["code"] == FINDING)
        told += int(np.count_nonzero(of_sizes))
        graver += int(np.count_nonzero(records["severity"][of_sizes] >= MEDIUM))
    assert told <= 6 * days * 720 / 500
    assert graver == 0
