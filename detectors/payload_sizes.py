"""Judging the size of one delivery: the half of payload-volume that looks at event types.

Mean and spread of the log size are kept per sender and event type (``models.lognormal``). A size is
news that is out by deviations, by ratio and by bytes, unless the type has the habit; once a week
the usual size is held against the one of months (``models.longterm``). ``fill`` and ``report`` are
what both halves tell a finding with.

>>> import numpy as np
>>> row = np.zeros(1, TYPE)[0]
>>> is_compared(row, 500_000 * HOUR)  # nothing was learned yet
True
>>> row["long_at"] = packed.stamp(500_000 * HOUR + WEEK)
>>> [is_compared(row, hour * HOUR) for hour in (499_990, 500_000, 500_167, 500_168, 505_000)]
[False, False, False, True, True]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.base import (
    ADOPTED,
    COLD_EVENTS,
    INFO,
    LOW,
    MEDIUM,
    NOTHING,
    TIMERS,
    TOLD,
    WARM_EVENTS,
    asks_again,
    close,
    evidence_of,
    expire,
    is_due,
    linger,
    minute_of,
    tell,
    usual_pause,
    wake_at,
    warmth_confidence,
)
from detectors.event import DAY, HOUR, MINUTE
from models import guard, lognormal, longterm, packed, sizes
from models.guard import real
from models.kernel import kernel

SIZE_HIGH, SIZE_LOW, SIZE_DRIFT = 1, 2, 10
"""Reasons of payload-volume, by their place among them."""
TYPE = np.dtype(
    [
        *TIMERS,  # due = a week after the incident opened
        *lognormal.FIELDS,
        ("calls", "i4"),
        ("long_mean", "i2"),  # of the log size, over months, 1/1,000
        ("long_at", "i2"),  # stamp of the hour of the next comparison
        *TOLD,
    ]
)
LONG_UNIT = 1000.0
WEEK = 7 * DAY
LONGEST_WAIT = 168 + 720 + 1
"""Hours: a week, for an event that is as late as one may be."""
OLD_EVENT = DAY
HEAVY_A_DAY = 0.05
"""Of a heavy-tailed type, what comes more often than once in twenty days is no news."""
SMALL_CHANCE = 4e-6
"""Too small sizes: the one false alarm in 10,000 that a size may cost is left to too large ones."""


@kernel
def farthest(params: Any) -> float:
    """Return ``size_ratio`` in log sizes."""
    return guard.log(max(float(params["size_ratio"]), 1.5))


@kernel
def is_far(b: Any, x: float, z: float, event: Any, params: Any) -> bool:
    """Tell whether a size is out of what is usual, by deviations, by ratio, and by bytes."""
    deviations = float(params["size_deviations"])
    if abs(z) < deviations or lognormal.known(b) < COLD_EVENTS:
        return False  # nearly always: the rest takes logarithms
    if abs(z) < deviations * lognormal.caution(lognormal.known(b)):
        return False
    if abs(x - real(b["mean"])) < farthest(params):
        return False
    size = float(int(event["body_bytes"]))
    return abs(size - lognormal.usual(b)) >= float(params["least_bytes"])


@kernel
def judge_size(b: Any, x: float, calls_known: int, event: Any, params: Any, out: Any) -> int:
    """Judge and learn the size of one delivery; x is its log, of a sender with so many calls."""
    if lognormal.known(b) <= 0.0:
        sizes.seed(params["sizes"], b, int(event["event_type"]))
    z = lognormal.deviations_of(b, x)
    is_open = int(b["opened_at"]) != 0
    if is_open:
        lognormal.learn_candidate(b, x)
    if not is_far(b, x, z, event, params):
        if not is_open:
            lognormal.learn(b, x)
            if is_compared(b, int(event["t"])):
                return compare_sizes(b, event, params, out)
        return NOTHING
    mean = real(b["mean"])
    deviations = float(params["size_deviations"]) * lognormal.caution(lognormal.known(b))
    reach = max(farthest(params), deviations * lognormal.deviation(b))
    chance = max(lognormal.chance_of(abs(z)), lognormal.tail_of(b, abs(x - mean), reach))
    a_day = chance * guard.ratio(float(DAY), float(int(event["gap"])), 1.0)
    if not is_open:
        if lognormal.is_habit(b, abs(x - mean)):
            return NOTHING
        if z < 0.0 and (a_day > float(params["false_per_day"]) or chance > SMALL_CHANCE):
            return NOTHING
        if lognormal.is_heavy(b) and a_day > HEAVY_A_DAY:
            return NOTHING
        b["new_n"] = 0
        b["calls"] = 0
        wake_at(b, int(event["t"]) + WEEK)
    b["calls"] = guard.count_up(int(b["calls"]))
    calls = int(b["calls"])
    reason = SIZE_HIGH if x > mean else SIZE_LOW
    ratio = guard.exp(abs(x - mean))
    fill(out, calls, 0, float(int(event["body_bytes"])), lognormal.usual(b))
    out["limit"] = guard.exp(mean + reach if reason == SIZE_HIGH else mean - reach) - 1.0
    out["deviations"] = z
    out["score"] = guard.clip(30.0 + 10.0 * guard.log(ratio), 0.0, 100.0)
    severity = size_severity(b, z, ratio, a_day, event, params)
    known = min(evidence_of(lognormal.known(b)), calls_known)  # a prior is no evidence of this one
    return report(b, 1, event, params, out, reason, severity, known)


@kernel
def is_compared(b: Any, t: int) -> bool:
    """Tell whether a week has gone by since the usual size was held against that of months."""
    at = int(b["long_at"])
    return at == 0 or not -LONGEST_WAIT <= packed.hours_since(at, t) < 0


@kernel
def compare_sizes(b: Any, event: Any, params: Any, out: Any) -> int:
    """Hold the usual size, once a week, against the one of months: a slow ramp becomes visible."""
    t = int(event["t"])
    first = int(b["long_at"]) == 0
    b["long_at"] = packed.stamp(t + WEEK + HOUR - 1)
    usual = packed.part(real(b["mean"]), LONG_UNIT)
    mean, long = guard.exp(real(b["mean"])), guard.exp(int(b["long_mean"]) / LONG_UNIT)
    if first or lognormal.known(b) < WARM_EVENTS or int(b["long_mean"]) <= 0:
        b["long_mean"] = usual if lognormal.known(b) >= COLD_EVENTS else 0
        return NOTHING
    b["long_mean"] = packed.part(guard.log(longterm.follow(long, mean)), LONG_UNIT)
    matters = mean - long >= float(params["least_bytes"])
    if not (longterm.has_drifted(mean, long) and matters):
        return NOTHING
    b["long_mean"] = usual
    b["calls"] = 1
    fill(out, 1, t - WEEK, mean - 1.0, long - 1.0)
    out["limit"] = longterm.FAR * long
    out["score"] = 20.0
    return report(b, 1, event, params, out, SIZE_DRIFT, INFO, evidence_of(lognormal.known(b)))


@kernel
def size_severity(b: Any, z: float, ratio: float, a_day: float, event: Any, params: Any) -> int:
    """Return how bad a size is: what the sender's traffic brings about by chance is an info."""
    created = int(event["created_at"])
    if z < 0.0 or (created != 0 and int(event["t"]) - created >= OLD_EVENT):
        return INFO  # too small harms nobody; a backfill is of other times
    days = 0.05
    if int(b["opened_at"]) != 0:
        days += max(minute_of(int(event["t"])) - int(b["opened_at"]), 0) / 1440.0
    again = int(b["calls"]) >= 3 and a_day * days <= 0.05
    if a_day > float(params["false_per_day"]):
        return LOW if again else INFO
    warm = lognormal.known(b) >= WARM_EVENTS  # from fewer sizes no tail is known
    if not warm:
        return MEDIUM if again and ratio >= 1000.0 else LOW
    return MEDIUM if again or ratio >= 100.0 else LOW


@kernel
def fill(out: Any, count: int, since: int, seen: float, usual: float) -> None:
    """Fill what every finding of this detector has."""
    out["count"] = count
    out["since"] = since
    out["seen"] = seen
    out["usual"] = usual
    out["repeats"] = 0.0
    out["old"] = 0.0
    out["deviations"] = 0.0
    out["limit"] = 0.0


@kernel
def report(
    row: Any, table: int, event: Any, params: Any, out: Any, reason: int, severity: int, known: int
) -> int:
    """Open the incident of a row or add to it; what chance brings waits for no more of it."""
    t = int(event["t"])
    pause = 0
    if severity > INFO:
        pause = usual_pause(abs(int(row["opened_at"])) * MINUTE, t, int(row["calls"]))
    until = t + linger(pause, float(params["close_after_s"]))
    out["confidence"] = warmth_confidence(known)
    return tell(row, table, t, until, reason, severity, known, out)


@kernel
def type_timer(b: Any, due: int, params: Any, out: Any) -> int:
    """Close an incident that ended; after a week of a steady new size, take it as the usual."""
    if is_due(b, due):
        b["due"] = 0
        if asks_again(b, due):
            return NOTHING
        if int(b["opened_at"]) != 0 and lognormal.candidates(b) >= COLD_EVENTS:
            release_type(b)
            return ADOPTED
    return expire(b, due, params, out)


@kernel
def release_type(b: Any) -> None:
    """Take the sizes since the incident opened as the usual ones, where they are enough."""
    if lognormal.candidates(b) >= COLD_EVENTS:
        lognormal.adopt(b, int(b["calls"]))
        b["long_mean"] = packed.part(real(b["mean"]), LONG_UNIT)
    b["due"] = 0
    close(b)
