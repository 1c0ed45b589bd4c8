"""How often signature-failure-spike alarms by chance: the average run length that it states."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import checks
from detectors.event import DAY, EVENT, REJECTED, VERIFIED
from detectors.event import REASONS as CHECKS
from detectors.registry import detectors_found
from detectors.rules.signature_failure_spike import Params
from ingest.schema import Reason
from models import cusum
from models import share as beta

SPIKE = next(d for d in detectors_found() if d.id == "signature-failure-spike")
QUIET_DAYS = Params().quiet_days


def false_alarms(p: float, p1: float, top: float, cycles: int, seed: int) -> float:
    """Return the chance of a false alarm per call, by importance sampling.

    A cycle of the chart begins with a failure and ends at 0 or at the threshold. It is drawn under
    the changed share, where it mostly reaches the threshold, and weighed by the likelihood ratio.
    """
    chance = random.Random(seed)
    up, down = cusum.bernoulli(1, p, p1), cusum.bernoulli(0, p, p1)
    total = 0.0
    for _ in range(cycles):
        chart = up
        while 0.0 < chart < top:
            chart += up if chance.random() < p1 else down
        if chart >= top:
            total += math.exp(up - chart)
    return p * total / cycles


def changed(usual: float) -> list[float]:
    """Return the shares that the two charts look for."""
    return [beta.raised(usual, least, times) for least, times in ((0.5, 4.0), (0.05, 2.5))]


@pytest.mark.parametrize("per_day", [100.0, 1000.0, 50.0 * 86400.0])
@pytest.mark.parametrize("usual", [0.003, 0.02, 0.1, 0.3])
def test_at_most_one_false_alarm_in_a_thousand_sender_days(per_day: float, usual: float) -> None:
    """In control, at any pace up to 50 calls a second, both charts together keep the promise."""
    top = cusum.threshold(per_day, QUIET_DAYS, 2.0)
    rates = [false_alarms(usual, p1, top, 2000, 5) for p1 in changed(usual)]
    assert 0.0 < sum(rates) * per_day <= 1.0 / QUIET_DAYS


def history(p: float, per_day: int, first: int, days: int, seed: int) -> NDArray[Any]:
    """Return so many days of calls of which a share fails."""
    rng = np.random.Generator(np.random.PCG64(seed))
    n = per_day * days
    events = np.zeros(n, EVENT)
    events["t"] = 1_772_323_200_000_000 + first * DAY + np.sort(rng.integers(0, days * DAY, n))
    events["now"] = events["t"]
    events["sender"] = events["source"] = events["receiver"] = events["client"] = 7
    events["gap"] = DAY // per_day
    events["age"] = events["t"] - 1_772_323_200_000_000
    events["weight"] = 1.0
    failed = rng.random(n) < p
    events["verdict"] = np.where(failed, REJECTED, VERIFIED)
    events["reason"] = np.where(failed, CHECKS[Reason.SIGNATURE_INVALID], 0)
    return events


@pytest.mark.parametrize("p", [0.001, 0.005, 0.03, 0.1])
def test_the_learned_share_keeps_the_promise_too(p: float) -> None:
    """With shares learned from the calls themselves, 4,000 sender-days give 4 alarms at most."""
    alarms = 0
    for sender in range(8):
        rows = checks.rows_of(SPIKE)
        for part in range(5):
            calls = history(p, 480, part * 100, 100, sender * 9 + part)
            records, _ = checks.run(SPIKE, calls, rows)
            alarms += int(np.count_nonzero(records["code"] == 2))
    assert alarms <= 4
