"""A sender's clock has left the receiver's, before the provider's tolerance rejects its calls.

The offset of a call is the time from ``signed_at`` to ``received_at``: positive where the sender's
clock is behind, negative where it is ahead. Queues and retries only ever make it larger, so of each
five calls the second smallest offset counts, once a minute at most: a few late or replayed calls
say nothing. Its mean (EWMA, a quarter of each step, and steps held at the limit) is compared with
the sender's own usual offset, which is learned once an hour over two weeks and stands still while
the mean is more than half a limit away. So a slow drift is found as well as a step, and a sender
that was always a minute late is not told.

Reasons: *sender_drift*: a fifth of the tolerance away from the usual for a quarter of an hour,
beyond six usual deviations, and, up to half of the tolerance, farther than it went and came back
from lately. Low; medium from 60 % of the tolerance on, where a warm sender's calls
will soon be rejected. A new offset that stays for a week is taken as usual (``level_adopted``).

Only verified calls count, and those that were rejected for their time alone, with a right
signature. Repeats of a delivery do not, nor second attempts where the provider does not sign each
one afresh.

Known gaps: a step beyond the tolerance is found by signature-failure-spike first (*clock*); a queue
that holds back every call for a quarter of an hour looks like a clock that is behind; receivers
that do not publish ``signed_at``; whose clock is wrong cannot be told from one sender alone: if all
senders of a receiver drift at once, it is the receiver's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_duration
from detectors.base import (
    ADOPTED,
    COLD_EVENTS,
    LOW,
    MEDIUM,
    NOTHING,
    TIMERS,
    TOLD,
    WARM_EVENTS,
    Baseline,
    Explanation,
    Found,
    Table,
    close,
    expire,
    is_due,
    is_held,
    minute_of,
    param,
    tell,
    wake_at,
    warmth,
)
from detectors.event import DAY, FRESHNESS, MINUTE, SECOND, VERIFIED
from detectors.event import REASONS as CHECKS
from ingest.schema import Reason
from models import guard, packed
from models.guard import real
from models.kernel import kernel

ID = "clock-skew"
REASONS = ("sender_drift",)
DRIFT = 1

EVIDENCE = (
    ("offset", "s"),
    ("usual", "s"),
    ("limit", "s"),
    ("tolerance", "s"),
    ("calls", "events"),
)

BLOCK = 5
ROW = np.dtype(
    [
        *TIMERS,  # due = a week after the incident opened
        ("offsets", "i2", BLOCK),  # of the last calls, s
        ("at", "i1"),  # how many of them are filled
        ("minute", "i4"),  # of the last step
        ("mean", "f4"),  # offset now, s
        ("usual", "f4"),  # over the last weeks, s
        ("spread", "i2"),  # usual deviation of a block from the mean, s, a level
        ("top", "i2"),  # farthest that an incident went and came back from, s, a level
        ("hours", "i2"),  # learned
        ("since", "i4"),  # minute from which on the mean was half a limit away; 0 = it is not
        ("calls", "i4"),  # since then
        *TOLD,
    ]
)


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    limit_share: float = param(
        0.2, unit="share", low=0.01, high=0.9,
        why="of the tolerance: enough to see to it before calls are rejected",
    )  # fmt: skip
    least_s: float = param(
        20.0, unit="s", low=1.0, high=3600.0, why="clocks without time service err by seconds"
    )
    deviations: float = param(
        6.0, unit="deviations", low=2.0, high=50.0, why="offsets of queues have long tails"
    )
    lasts_s: float = param(
        900.0, unit="s", low=0.0, high=86400.0, why="a queue that is worked off is no clock"
    )
    grave_share: float = param(
        0.6, unit="share", low=0.1, high=1.0, why="of the tolerance: at most hours are left"
    )
    close_after_s: float = param(
        3600.0,
        unit="s",
        low=60.0,
        high=7 * 86400.0,
        why="clocks are set in steps: so long it must be right again",
    )  # fmt: skip


PER_ATTEMPT = FRESHNESS["per_attempt"]
BODY_ONLY = FRESHNESS["body_only"]
TIMESTAMP_STALE = CHECKS[Reason.TIMESTAMP_STALE]
TIMESTAMP_FUTURE = CHECKS[Reason.TIMESTAMP_FUTURE]
DEFAULT_TOLERANCE = 300 * SECOND
COLD_HOURS, WARM_HOURS = 24, 72
MEMORY_HOURS = 336.0
GAIN = 0.25
FADE = 0.998
"""By the hour: half of it is forgotten in two weeks."""
WEEK = 7 * DAY


@kernel
def relevant(event: Any) -> bool:
    """Tell whether the call shows the sender's clock as it is now."""
    if int(event["signed_at"]) == 0 or int(event["freshness"]) == BODY_ONLY:
        return False
    if int(event["repeats"]) > 0:
        return False
    if int(event["attempt"]) > 1 and int(event["freshness"]) != PER_ATTEMPT:
        return False
    if int(event["verdict"]) == VERIFIED:
        return True
    untimely = int(event["reason"]) in (TIMESTAMP_STALE, TIMESTAMP_FUTURE)
    return untimely and int(event["signature_ok"]) == 1


@kernel
def second_smallest(a: Any) -> float:
    """Return the second smallest of the last offsets."""
    low = 1 << 20
    found = 1 << 20
    for i in range(BLOCK):
        x = int(a["offsets"][i])
        if x < low:
            found = low
            low = x
        elif x < found:
            found = x
    return float(found)


@kernel
def tolerance_of(event: Any) -> float:
    """Return the provider's tolerance, s."""
    given = int(event["tolerance"])
    return (given if given > 0 else DEFAULT_TOLERANCE) / 1e6


@kernel
def step(a: Any, event: Any, params: Any, out: Any) -> int:
    """Note the offset of one call; judge every fifth."""
    if not relevant(event):
        return NOTHING
    t = int(event["t"])
    seconds = guard.clip((t - int(event["signed_at"])) / 1e6, -32767.0, 32767.0)
    at = int(guard.clip(float(int(a["at"])), 0.0, BLOCK - 1.0))
    a["offsets"][at] = int(seconds)
    a["at"] = (at + 1) % BLOCK
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        a["reason"] = 0
        a["severity"] = 0
    minute = t // MINUTE
    if at + 1 < BLOCK or minute <= int(a["minute"]):
        return NOTHING
    return judge(a, event, params, out, minute)


@kernel
def held(cell: int) -> float:
    """Return the seconds of a level that a row holds."""
    return packed.unlevel(max(cell, 0)) if cell != 0 else 0.0


@kernel
def judge(a: Any, event: Any, params: Any, out: Any, minute: int) -> int:
    """Move the mean by one block, learn what is usual, and compare."""
    block = second_smallest(a)
    tolerance = tolerance_of(event)
    hours = int(a["hours"])
    limit = max(float(params["limit_share"]) * tolerance, float(params["least_s"]))
    spread = held(int(a["spread"]))
    limit = max(limit, float(params["deviations"]) * spread)
    if int(a["opened_at"]) == 0:
        habit = 1.2 * held(int(a["top"]))  # of its queues
        limit = max(limit, min(habit, 0.5 * tolerance))
    mean = guard.clip(real(a["mean"]), -40_000.0, 40_000.0)
    if int(a["minute"]) == 0:
        mean = block
        a["usual"] = block
    a["spread"] = packed.level(spread + 0.02 * (min(abs(block - mean), limit) - spread))
    mean += GAIN * guard.clip(block - mean, -limit, limit)
    a["mean"] = mean
    away = mean - guard.clip(real(a["usual"]), -40_000.0, 40_000.0)
    before = int(a["minute"]) // 60
    a["minute"] = minute
    if 2.0 * abs(away) < limit:
        if int(a["opened_at"]) > 0 and int(a["since"]) != 0:
            back = int(event["t"]) + int(float(params["close_after_s"]) * SECOND)
            a["open_until"] = minute_of(back)
        a["since"] = 0
        a["calls"] = 0
        if minute // 60 > before:
            learn(a, away)
        return NOTHING
    if int(a["since"]) == 0:
        a["since"] = minute
        a["calls"] = 0
    a["calls"] = min(max(int(a["calls"]), 0) + BLOCK, guard.INT32_MAX)
    lasts = (minute - int(a["since"])) * 60.0 >= float(params["lasts_s"])
    if abs(away) < limit or not lasts or hours < 3:
        return NOTHING
    return report(a, event, params, out, limit, tolerance)


@kernel
def learn(a: Any, away: float) -> None:
    """Learn the usual offset, once an hour."""
    a["hours"] = guard.count_up16(int(a["hours"]))
    share = guard.ratio(1.0, min(float(int(a["hours"])), MEMORY_HOURS), 1.0)
    a["usual"] = guard.clip(real(a["usual"]) + share * away, -40_000.0, 40_000.0)
    a["top"] = packed.level(FADE * held(int(a["top"])))


@kernel
def report(a: Any, event: Any, params: Any, out: Any, limit: float, tolerance: float) -> int:
    """Open the incident or add to it, and fill the evidence."""
    t = int(event["t"])
    if int(a["opened_at"]) == 0:
        wake_at(a, t + WEEK)
    first = int(a["since"]) * MINUTE
    until = t + WEEK + DAY  # until the clock is right again, however few calls show it
    offset, usual = real(a["mean"]), real(a["usual"])
    a["top"] = max(int(a["top"]), packed.level(abs(offset - usual)))
    severity = MEDIUM if abs(offset) >= float(params["grave_share"]) * tolerance else LOW
    known = COLD_EVENTS
    if int(a["hours"]) < COLD_HOURS:
        known = 0
    elif int(a["hours"]) >= WARM_HOURS:
        known = WARM_EVENTS
    code = tell(a, 0, t, until, DRIFT, severity, known, out)
    out["count"] = int(a["calls"])
    out["since"] = first
    out["score"] = guard.clip(20.0 + 40.0 * abs(offset) / tolerance, 0.0, 80.0)
    out["confidence"] = 0.9 if known == WARM_EVENTS else 0.5
    out["offset"] = offset
    out["usual"] = usual
    out["limit"] = limit
    out["tolerance"] = tolerance
    out["calls"] = int(a["calls"])
    return code


@kernel
def timer(a: Any, due: int, params: Any, out: Any) -> int:
    """Close an incident that ended; take an offset that stayed for a week as the usual one."""
    if is_due(a, due):
        a["due"] = 0
        if int(a["opened_at"]) != 0 and not is_held(a):
            release(a)
            return ADOPTED
    code = expire(a, due, params, out)
    if code != NOTHING:
        a["due"] = 0
    return code


@kernel
def release(a: Any) -> None:
    """Take the offset of now as the usual one."""
    a["usual"] = guard.clip(real(a["mean"]), -40_000.0, 40_000.0)
    a["since"] = 0
    a["top"] = 0
    close(a)


TABLES = (Table(("sender",), ROW, timer, release),)


def explain(found: Found) -> Explanation:
    """Say how far the sender's clock is off, and how much is left of the tolerance."""
    offset, usual = found.evidence["offset"], found.evidence["usual"]
    tolerance = found.evidence["tolerance"]
    side = "behind" if offset >= usual else "ahead of"
    left = max(tolerance - abs(offset), 0.0)
    units = dict(EVIDENCE)
    return Explanation(
        summary=(
            f"{found.sender}: its clock is {format_duration(round(abs(offset - usual)))} {side} "
            f"where it usually is; at {format_duration(round(tolerance))} calls are rejected, "
            f"{format_duration(round(left))} are left"
        ),
        expected=found.quantities("usual", "limit", "tolerance", units=units),
        observed=found.quantities("offset", "calls", units=units),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell the usual offset, and from how many hours it is known."""
    hours = float(row["hours"])
    known = {"usual_offset": Quantity(float(row["usual"]), "s"), "hours": Quantity(hours)}
    return Baseline(warmth(hours, COLD_HOURS, WARM_HOURS), known)
