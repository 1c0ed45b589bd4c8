"""Pauses against retry schedules: what fits, what does not, and what nobody can tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numba import njit

from detectors.config import Config
from detectors.params import params_dtype
from models import schedule
from models.schedule import MOST_GAPS, SCHEDULE, fill, llr

GAPS = (5, 300, 1800, 7200, 18000, 36000, 36000)
FLOOR = math.log(schedule.OFF_SCHEDULE)


def made(gaps: tuple[float, ...] = GAPS, **facts: Any) -> Any:
    """Return a schedule as a record."""
    record = np.zeros(1, SCHEDULE)[0]
    fill(record, gaps, **({"timeout_s": 15, "lasts_s": sum(gaps)} | facts))
    return record


def of(provider: str) -> Any:
    """Return the schedule that a step gets for an event of a provider."""
    config = Config()
    table = config.params(config.detectors[0])
    return table[config.who("any", provider, 0)]["schedule"]


@pytest.mark.parametrize("seen", range(1, len(GAPS) + 1))
def test_a_retry_on_schedule_looks_like_one(seen: int) -> None:
    """Every published gap, with jitter, latency or a time-out, speaks for a retry."""
    for stretched in (0.95, 1.0, 1.05):
        for late in (0.0, 2.0, 15.0):
            assert llr(GAPS[seen - 1] * stretched + late, seen, made()) > 0.5


def test_attempts_that_never_arrived_join_their_gaps() -> None:
    """A receiver that was unreachable sees fewer attempts, further apart."""
    assert llr(300 + 1800, 2, made()) > 0.5
    assert llr(1800 + 7200 + 18000, 3, made()) > 0.0
    assert llr(1800, 1, made()) > 0.0  # the first two never arrived


@pytest.mark.parametrize("pause", [0.0, 0.5, 2.0, 60.0, 150.0])
def test_a_burst_keeps_no_schedule(pause: float) -> None:
    """Repeats one after the other speak against retries, and no single one speaks alone."""
    assert FLOOR <= llr(pause, 3, made()) < -2.0


def test_more_than_the_provider_ever_sends_is_no_retry() -> None:
    """After the last published gap, or after the end, nothing is on schedule."""
    assert llr(36000, len(GAPS) + 1, made()) == FLOOR
    assert llr(10 * sum(GAPS), 1, made()) == FLOOR


def test_what_is_not_published_accuses_nobody() -> None:
    """No gaps, or the open end of a list: 0, which is evidence for neither side."""
    assert llr(1.0, 5, made((), lasts_s=86400)) == 0.0
    assert llr(1.0, 13, of("adyen")) == 0.0
    assert llr(29 * 86400.0, 9, of("adyen")) == pytest.approx(0.0, abs=0.3)
    assert llr(1.0, 5, of("generic")) == 0.0


def test_bounds_are_all_that_is_known_of_some() -> None:
    """Of a schedule with a shortest gap only a pause far below it is none of its retries."""
    record = made((), bounds_s=(60, 3600), lasts_s=86400)
    assert llr(1.0, 1, record) == FLOOR
    assert llr(60.0, 1, record) == llr(20_000.0, 1, record) == 0.0


def test_true_retries_and_other_paces_are_told_apart() -> None:
    """On average a retry gains two nats and a random pace loses one, also with 25 % jitter."""
    rng = np.random.default_rng(4)
    record = made(jitter=None)
    retries, others = [], []
    for _ in range(4_000):
        nth = int(rng.integers(0, len(GAPS)))
        pause = GAPS[nth] * (1 + rng.uniform(-0.25, 0.25)) + rng.uniform(0, 5)
        retries.append(llr(pause, nth + 1, record))
        others.append(llr(math.exp(rng.uniform(0, math.log(sum(GAPS)))), nth + 1, record))
    assert np.mean(retries) > 1.5
    assert np.mean(np.array(retries) < 0) < 0.02
    assert np.mean(others) < -1.0


def test_the_likelihood_is_one() -> None:
    """Under the schedule the density of the pause's logarithm adds up to what it should."""
    record = made((60, 600), timeout_s=10, lasts_s=100_000)
    logs = np.linspace(math.log(0.01), math.log(200_000), 40_001)
    density = [
        schedule._density(math.exp(x) - 1.0, 0, 2, record["gaps"], 0.1, 10.0) if x > 0 else 0.0
        for x in logs
    ]
    # the first gap, begun at once or after one unseen attempt; at most one missed attempt
    known = 0.7 * (0.75 + 0.75 * 0.25) + 0.3 * 0.75
    assert np.trapezoid(density, logs) == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize("pause", [0.0, 4.0, 333.3, 7.7e4, 1e300, math.inf, -1.0, math.nan])
@pytest.mark.parametrize("seen", [-1, 0, 1, 3, 12, 2**31])
def test_compiled_and_plain_give_the_same_bits(pause: float, seen: int) -> None:
    """Also at the edges, and always a finite number within bounds."""
    record = made()
    found = llr(pause, seen, record)
    assert COMPILED(pause, seen, record) == found
    assert FLOOR - 1e-9 <= found <= 5.0


@njit(error_model="python")
def COMPILED(pause: float, seen: int, record: Any) -> float:  # noqa: N802
    """Return what compiled code says."""
    return llr(pause, seen, record)


def test_extreme_schedules_do_no_harm() -> None:
    """Whatever numbers stand in the record, the answer is finite."""
    for value in (0, -1, 2**31 - 1, -(2**31)):
        record = np.zeros(1, SCHEDULE)[0]
        for name in SCHEDULE.names or ():
            record[name] = value
        for jitter in (0.0, -1.0, math.nan, math.inf):
            record["jitter"] = jitter
            assert math.isfinite(llr(60.0, 1, record))


def test_a_step_gets_the_schedule_of_its_sender() -> None:
    """The profile's gaps, time-out and end stand in the parameters of every detector."""
    assert of("svix")["gaps"].tolist()[:7] == list(GAPS)
    assert (int(of("svix")["listed"]), int(of("svix")["whole"])) == (7, 1)
    assert (int(of("adyen")["listed"]), int(of("adyen")["whole"])) == (12, 0)
    assert int(of("stripe")["listed"]) == 0
    assert params_dtype(Config().detectors[0])["schedule"] == SCHEDULE


def test_a_long_list_is_cut_and_then_open() -> None:
    """More gaps than a record holds are published, and the rest counts as not published."""
    record = made(tuple(60.0 * n for n in range(1, 21)))
    assert (int(record["listed"]), int(record["whole"])) == (MOST_GAPS, 0)
    assert llr(1200.0, 20, record) == 0.0
