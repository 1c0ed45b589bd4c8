"""How often payload-volume finds sizes by chance, and how surely ten times the usual one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import checks
from detectors.base import FINDING, MEDIUM
from detectors.event import DAY, EVENT, HOUR, MINUTE
from detectors.payload_sizes import SIZE_HIGH, SIZE_LOW
from detectors.registry import detectors_found
from detectors.rules.payload_volume import CAMPAIGN, COUNT_HIGH, is_new_network
from models import hourly, lognormal, packed

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


def alarms_of(spread: float, per_day: int, seeds: int) -> int:
    """Return how many of 200,000 usual deliveries a seed are found."""
    alarms = 0
    for median in MEDIANS:
        for seed in range(seeds):
            events = deliveries(median, spread, 20_000, seed)
            events["gap"] = DAY // per_day
            alarms += found(events, checks.rows_of(VOLUME))
    return alarms


def test_one_false_alarm_in_ten_thousand_deliveries() -> None:
    """Of four million log-normal sizes at most 400 are found: too large ones and too small ones."""
    assert alarms_of(0.6, 1, 20) <= 20 * 200_000 / 10_000


@pytest.mark.parametrize("per_day", [1, 720])
@pytest.mark.parametrize("spread", [0.2, 0.4, 0.8, 1.0])
def test_false_alarms_do_not_depend_on_spread_or_pace(spread: float, per_day: int) -> None:
    """Of 400,000 sizes no more than 50 are found, as many as 40 expected ones may be by chance."""
    assert alarms_of(spread, per_day, 2) <= 50


@pytest.mark.parametrize(
    ("spread", "learned", "share"),
    [(0.4, 100, 1.0), (0.5, 300, 1.0), (0.55, 1000, 1.0), (0.6, 3000, 0.95), (0.6, 10_000, 1.0)],
)
def test_ten_times_the_usual_size_is_found_at_once(
    spread: float, learned: int, share: float
) -> None:
    """The first delivery of ten times the usual size is found once enough sizes are known.

    At 0.6 it is 3.84 deviations out, and one in 10,000 lies beyond 3.72: what is between them has
    to hold the errors of mean and deviation. docs/detection.md has the shares for fewer sizes.
    """
    hits = []
    for median in MEDIANS:
        for seed in range(4):
            events = deliveries(median, spread, learned + 1, seed)
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


def year(every: int, weight: float, size: int) -> NDArray[Any]:
    """Return a year of calls at the same pace, each of which stands for so many."""
    events = deliveries(size, 0.3, 365 * DAY // every, 1)
    events["t"] = events["now"] = START + np.arange(len(events)) * every
    events["gap"], events["weight"] = every, weight
    events["age"] = events["t"] - START
    return events


def test_a_year_of_fifty_calls_a_second_stays_within_the_cells() -> None:
    """Counters at their ceilings make no news, and the level of an hour is what it is."""
    rows = checks.rows_of(VOLUME)
    records, _ = checks.run(VOLUME, year(HOUR // 4, 45_000.0, 50_000), rows)
    assert len(records) == 0
    row, of_type = rows[0][0], rows[1][0]
    assert int(row["n"]) == 32767
    assert lognormal.known(of_type) == lognormal.HORIZON
    usual = hourly.expected_now(row, int(row["due"]) * MINUTE)
    assert usual == pytest.approx(180_000, rel=0.02)
    assert packed.unlevel(int(row["long_level"])) == pytest.approx(180_000, rel=0.02)
    assert packed.unlevel(int(row["level"])) == pytest.approx(50_000, rel=0.1)
    surge = year(HOUR // 4, 45_000.0, 50_000)[: 30 * 24 * 4]
    surge["t"] = surge["now"] = START + 365 * DAY + np.arange(len(surge)) * (HOUR // 60)
    records, _ = checks.run(VOLUME, surge, rows)
    assert COUNT_HIGH in records["reason"].tolist() or CAMPAIGN in records["reason"].tolist()


def test_a_year_of_one_call_a_week_is_no_news() -> None:
    """Who calls once a week is judged by the sizes of a year, and never by a stamp gone round."""
    rows = checks.rows_of(VOLUME)
    records, _ = checks.run(VOLUME, year(7 * DAY, 1.0, 50_000), rows)
    assert len(records) == 0
    assert lognormal.known(rows[1][0]) == 52.0


def test_a_network_is_new_in_its_first_hour_only() -> None:
    """Also where its second hour comes years later, and its stamp might be the same again."""
    network = np.zeros(1, VOLUME.tables[2].row)[0]
    assert is_new_network(network, START)
    assert is_new_network(network, START + HOUR // 2)
    assert not is_new_network(network, START + DAY)
    assert not is_new_network(network, START + packed.ROUND * HOUR)
