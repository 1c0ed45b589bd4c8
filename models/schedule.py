"""How well a pause between two presentations fits a provider's retry schedule.

The question is which of two is more likely: the schedule, with its jitter, or a sender who presents
the same call again at a pace of his own. Of that pace nothing is known but that it ends with the
schedule, so its logarithm is taken as uniform up to there. The answer is ``ln L(pause | schedule) -
ln L(pause | any pace)``: above 0 it looks like a retry, below 0 like no retry.

Under the schedule, the logarithm of a pause over its gap is Laplace distributed: half the jitter is
the mean distance to the early side, three times that to the late side, where queues stand. A pause
may be longer by the time for which the provider waits for an answer; attempts that never reached
the receiver join their gaps, each with one chance in four; more presentations may have gone before
than were seen. One legitimate repeat in ten keeps no schedule (a person's resend, a proxy), so a
pause off the schedule is worth ln 0.1 = -2.3 at most.

Svix says 5 s, 5 min, 30 min, ...: the second presentation after five seconds and the third after
five minutes look like retries, a third after one second does not, and neither does a ninth.

>>> import numpy as np
>>> svix = np.zeros(1, SCHEDULE)[0]
>>> fill(svix, (5, 300, 1800, 7200, 18000, 36000, 36000), jitter=0.1, timeout_s=15, lasts_s=99305)
>>> [round(llr(pause, 1, svix), 1) for pause in (5.0, 20.0, 60.0, 300.0)]
[1.3, 1.3, -2.3, 1.6]
>>> [round(llr(pause, 2, svix), 1) for pause in (300.0, 330.0, 1.0)]
[3.1, 2.8, -2.3]
>>> round(llr(36000.0, 8, svix), 1)
-2.3

Where no gaps are published there is nothing to fit; only a pause beyond the end is no retry.

>>> stripe = np.zeros(1, SCHEDULE)[0]
>>> fill(stripe, (), timeout_s=0, lasts_s=259200)
>>> llr(60.0, 1, stripe), round(llr(400_000.0, 1, stripe), 1)
(0.0, -2.3)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models import guard
from models.kernel import kernel

MOST_GAPS = 12
SCHEDULE = np.dtype(
    [
        ("gaps", "i4", (MOST_GAPS,)),  # s
        ("listed", "i4"),  # how many gaps are published; 0 = none are
        ("whole", "i4"),  # 1 = no further attempt follows the listed ones
        ("shortest", "i4"),  # s; of a schedule of which only bounds are published, else 0
        ("longest", "i4"),  # s; likewise
        ("timeout", "i4"),  # s for which the provider waits before it counts the gap
        ("lasts", "i4"),  # s after which no attempt follows; 0 = not published
        ("jitter", "f8"),  # share of a gap
    ]
)
UNSTATED_JITTER = 0.25
"""Most providers ask for jitter, or use it, without a number: a quarter to either side."""
LEAST_JITTER = 0.1
UNSTATED_TIMEOUT_S = 10
"""Published ones are 3 to 15 s."""
UNSTATED_END_S = 3 * 86_400
OFF_SCHEDULE = 0.1
MISSED = 0.25
MOST_MISSED = 3
LATER_START = 0.3
"""Chance that attempts went before the first one seen: the receiver was unreachable."""
LATENCY_S = 1.0
LATE = 3.0
"""Retries of a long outage wait in queues: late ones are more likely than early ones."""
FAR = 12.0


def fill(
    record: Any,
    gaps_s: Sequence[float],
    *,
    jitter: float | None = None,
    timeout_s: float | None = None,
    lasts_s: float | None = None,
    bounds_s: Sequence[float] = (),
    max_attempts: int | None = None,
) -> None:
    """Write a schedule into a record: seconds become integers, gaps beyond the twelfth are cut."""
    kept = [round(gap) for gap in gaps_s[:MOST_GAPS]]
    record["gaps"] = kept + [0] * (MOST_GAPS - len(kept))
    record["listed"] = len(kept)
    ends = lasts_s is not None and sum(gaps_s) >= 0.99 * lasts_s
    complete = len(gaps_s) + 1 == max_attempts or ends
    record["whole"] = int(0 < len(gaps_s) == len(kept) and complete)
    record["shortest"], record["longest"] = (round(x) for x in (bounds_s or (0, 0)))
    record["timeout"] = round(UNSTATED_TIMEOUT_S if timeout_s is None else timeout_s)
    record["lasts"] = round(lasts_s or sum(gaps_s))
    record["jitter"] = max(UNSTATED_JITTER if jitter is None else jitter, LEAST_JITTER)


@kernel
def llr(pause_s: float, seen: int, schedule: Any) -> float:
    """Return ln L(pause | schedule) - ln L(pause | any pace).

    ``seen`` counts the earlier presentations, at least 1. The sender's own retry header is left
    alone on purpose: it is not signed.
    """
    pause = guard.clip(pause_s, 0.0, 1e9)
    end = float(int(schedule["lasts"]))
    if end <= 0.0:
        end = float(UNSTATED_END_S)
    jitter = guard.clip(float(schedule["jitter"]), 0.01, 1.0)
    timeout = float(int(schedule["timeout"]))
    if pause > end * (1.0 + jitter) + timeout + LATENCY_S:
        return guard.log(OFF_SCHEDULE)
    listed = min(int(schedule["listed"]), MOST_GAPS)
    if listed <= 0:
        return _between_bounds(pause, schedule, jitter)
    first = max(seen, 1) - 1
    if first >= listed:
        return guard.log(OFF_SCHEDULE) if int(schedule["whole"]) > 0 else 0.0
    spread = guard.log((end + LATENCY_S) / LATENCY_S)
    density = _density(pause, first, listed, schedule["gaps"], 0.5 * jitter, timeout)
    kept = density * spread
    if int(schedule["whole"]) == 0 and kept < 1.0:
        # the rest of the schedule is not published: it may hold any pause of this length
        longest = float(int(schedule["gaps"][listed - 1]))
        if pause >= longest * (1.0 - jitter):
            kept = 1.0
    return guard.log((1.0 - OFF_SCHEDULE) * kept + OFF_SCHEDULE)


@kernel
def _between_bounds(pause: float, schedule: Any, jitter: float) -> float:
    """Return what a schedule says of which at most the shortest gap is known."""
    shortest = float(int(schedule["shortest"]))
    if pause < shortest * (1.0 - jitter) - LATENCY_S:
        return guard.log(OFF_SCHEDULE)
    return 0.0  # a longer pause is one with attempts that never arrived


@kernel
def _density(
    pause: float, first: int, listed: int, gaps: Any, scale: float, timeout: float
) -> float:
    """Return the density of the pause's logarithm, over all attempts that it may lie between."""
    starts = listed - first
    total = 0.0
    for start in range(first, listed):
        begins = 1.0
        if starts > 1:
            begins = 1.0 - LATER_START if start == first else LATER_START / (starts - 1)
        wait = 0.0
        share = 1.0 - MISSED
        for missed in range(MOST_MISSED + 1):
            if start + missed >= listed:
                break
            wait += float(int(gaps[start + missed]))
            late = wait + timeout * (missed + 1)
            log_wait = guard.log(wait + LATENCY_S)
            log_late = guard.log(late + LATENCY_S)
            log_pause = guard.log(pause + LATENCY_S)
            away = 0.0
            if log_pause < log_wait:
                away = (log_wait - log_pause) / scale
            elif log_pause > log_late:
                away = (log_pause - log_late) / (LATE * scale)
            if away < FAR:
                width = (1.0 + LATE) * scale + log_late - log_wait
                total += begins * share * guard.exp(-away) / width
            share *= MISSED
    return total
