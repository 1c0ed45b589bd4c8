"""The size of a payload, or the calls or bytes of an hour, are off their seasonal baseline.

*Sizes*, per sender and event type: mean and spread of the log size (``models.ewma``, values held at
3.5 deviations while learned; a new sender's begin with a fitted prior, if there is one). One
delivery is news when it is ``size_ratio`` times the usual size, 3.74 deviations out (1 in 10,000
for log-normal sizes), and the type does not do that now and then: the tail of a type that does is
taken as Pareto's, with the mean of its own.

*Counts*, per sender and hour: first presentations of verified calls, against the expected count of
that hour (``models.seasonal``). The bound is Gaussian on the over-dispersed variance
``mu + phi * mu^2`` (negative binomial), never below ``count_ratio`` times the expectation nor less
than ``least_count`` above it. It is checked at every call, so a surge is found while it happens.
Retries of known deliveries are no volume; a quiet time before (the provider was down) raises the
bound by what was missed. Hours for which a backfill or campaign was announced are not learned. A
few hours that go beyond their bound on three days, while most do not, are a batch, and are learned;
a surge that came a week or a month ago as well is a job: an info. So is one of a sender that surges
now and then at any hour, from the fourth time on, unless it is twice as large as those before.
Sampled calls weigh what they stand for, and widen the bound.

*Drift*: once a week the calls of the week, and the usual size of each type, are held against a
level that may rise by 5 % a week at most (``models.longterm``).

Reasons: *size_high*, *size_low*; *bytes_high*: the mean size of an hour; *count_high*; *campaign*:
many fresh calls from the usual networks; *backfill*: many calls about events of long ago;
*retry_flood*: many repeats; *count_low*: a day at a fifth of the expectation (an info, until calls
come again); *count_drift*, *size_drift*: half as much again within a few weeks (an info).

Known gaps: a surge below three times the expectation is not seen; sizes of senders that do not
name event types share one distribution; repeats are told by the delivery id, which most providers
do not sign, so calls that all carry one id count once.

>>> import math
>>> math.log(10) / 0.6 >= 3.74  # ten times the usual size, log-spread 0.6
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_bytes, format_count, format_number
from detectors.base import (
    ADOPTED,
    CONTRADICTED,
    FINDING,
    INFO,
    JUDGING,
    LOW,
    MEDIUM,
    NOTHING,
    TOLD,
    WARM_EVENTS,
    Baseline,
    Explanation,
    Found,
    Table,
    close,
    expire,
    hold,
    is_due,
    is_held,
    linger,
    param,
    tell,
    wake_at,
    warmth,
)
from detectors.event import HOUR, MINUTE, PLANS, REJECTED
from detectors.payload_sizes import (
    OLD_EVENT,
    TYPE,
    WEEK,
    fill,
    judge_size,
    release_type,
    report,
    type_timer,
)
from models import guard, hourly, lognormal, longterm, packed, seasonal
from models.guard import real
from models.kernel import kernel

ID = "payload-volume"
REASONS = (
    "size_high",
    "size_low",
    "bytes_high",
    "count_high",
    "count_low",
    "backfill",
    "campaign",
    "retry_flood",
    "count_drift",
    "size_drift",
)
BYTES_HIGH, COUNT_HIGH, COUNT_LOW, BACKFILL, CAMPAIGN, RETRY_FLOOD, COUNT_DRIFT = range(3, 10)

EVIDENCE = (
    ("seen", ""),
    ("usual", ""),
    ("limit", ""),
    ("deviations", ""),
    ("repeats", "events"),
    ("old", "events"),
)

SENDER = np.dtype(
    [
        *JUDGING,  # due = end of the hour
        *hourly.FIELDS,
        ("count", "f4"),  # of this hour: first presentations
        ("bytes", "f4"),
        ("repeats", "f4"),
        ("old", "f4"),
        ("foreign", "f4"),  # from networks outside the usual ones
        ("next_count", "f4"),  # of the next hour, while this one still waits for late calls
        ("next_bytes", "f4"),
        ("largest", "i2"),  # bytes of the largest call of this hour, a level, rounded up
        ("n", "i2"),  # accepted calls, saturating
        ("level", "i2"),  # mean bytes of a call, a level
        ("usual_foreign", "i2"),  # usual share of calls from outside the usual networks, 1/30,000
        ("long_level", "i2"),  # calls of an hour, over months, a level
        ("week_count", "i2"),  # calls of this week's usual hours, a level
        ("week_hours", "i2"),  # how many those are
        ("week_hour", "i2"),  # hours since this week began
        ("quiet", "i1"),  # hours in a row with next to nothing
        ("marks", "i1"),  # of this hour: bits PLANNED and OUTSIZED
        *TOLD,
        ("calls", "i4"),  # of the incident
    ]
)
"""A *level* is a cell of ``models.packed``: exact to 0.05 %, and only moved once an hour."""
PLANNED, OUTSIZED = 1, 2
"""A backfill or campaign was announced for the hour; a payload of it was far too large or small."""
SHARE_UNIT = 30_000.0
NETWORK = np.dtype([("since", "i2")])
"""Stamp of the hour of the first accepted call from this network; SETTLED from the second on."""
SETTLED = -1


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    size_ratio: float = param(
        8.0, unit="ratio", low=1.5, high=1000.0, why="within one event type sizes rarely differ so"
    )
    size_deviations: float = param(
        3.74, unit="deviations", low=2.0, high=20.0, why="1 in 10,000 of log-normal sizes"
    )
    false_per_day: float = param(
        0.001, unit="1/d", low=1e-6, high=10.0,
        why="a size that the sender's traffic brings about by chance more often is only an info",
    )  # fmt: skip
    least_bytes: float = param(
        1024.0, unit="bytes", low=0.0, high=2.0**40, why="less than 1 KiB more harms nobody"
    )
    count_ratio: float = param(
        3.0, unit="ratio", low=1.2, high=1000.0, why="a busy hour of a usual week reaches twice"
    )
    count_deviations: float = param(
        6.0, unit="deviations", low=2.0, high=50.0,
        why="hours are over-dispersed: 24 of them a day must stay below 1 in 1,000 days",
    )  # fmt: skip
    least_count: float = param(
        20.0, unit="events", low=1.0, high=1e6, why="two calls instead of one are no +100 %"
    )
    flood_ratio: float = param(
        16.0, unit="ratio", low=2.0, high=1e4, why="campaigns reach ten times, floods go beyond"
    )
    bytes_ratio: float = param(
        5.0,
        unit="ratio",
        low=1.5,
        high=1000.0,
        why="the mean of an hour varies far less than a call",
    )
    quiet_hours: float = param(
        24.0, unit="hours", low=1, high=96, why="nights and days off are no silence"
    )
    history_days: float = param(
        3.0, unit="days", low=1.0, high=60.0, why="a daily course needs a few days to be known"
    )
    close_after_s: float = param(
        7200.0, unit="s", low=60.0, high=7 * 86400.0, why="an hour's lull does not end a campaign"
    )


SIZE_PRIORS = True
SURGE = PLANS["backfill"] | PLANS["campaign"]
FLOODED = 2.0
"""Repeats alone are a flood when they are twice what a busy hour may bring."""
WEEKS_SEEN = 3
"""Weeks after which a weekday is known well enough to miss its calls."""


@kernel
def hour_end(a: Any) -> int:
    """Return the end of the row's hour, microseconds."""
    return int(a["due"]) * MINUTE


@kernel
def begin_hour(a: Any, params: Any) -> None:
    """Work out once an hour what is expected in it."""
    known = 24.0 * float(params["history_days"])
    deviations, ratio = float(params["count_deviations"]), float(params["count_ratio"])
    hourly.begin(a, hour_end(a), known, deviations, ratio, float(params["least_count"]))


@kernel
def step(a: Any, b: Any, c: Any, event: Any, params: Any, out: Any) -> int:
    """Count one accepted call, and judge its size and its hour."""
    if int(event["verdict"]) == REJECTED:
        return NOTHING
    t = int(event["t"])
    if int(a["due"]) == 0:
        wake_at(a, t - t % HOUR + HOUR)
        hourly.settle(a)
        begin_hour(a, params)
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        forget(a)
    if int(b["opened_at"]) == 0 and int(b["reason"]) != 0:
        b["reason"] = 0
        b["severity"] = 0
        b["calls"] = 0
    a["n"] = guard.count_up16(int(a["n"]))
    if int(event["plan"]) & SURGE != 0:
        a["marks"] = int(a["marks"]) | PLANNED
    repeated = int(event["repeats"]) > 0  # a retry header alone is anybody's word
    code = NOTHING
    if not repeated:
        x = lognormal.log_size(int(event["body_bytes"]))
        code = judge_size(b, x, int(a["n"]), event, params, out)
        if hour_end(a) - HOUR <= t < hour_end(a):
            note_largest(a, x, event)
    if code != NOTHING:
        a["marks"] = int(a["marks"]) | OUTSIZED
    surge = judge_count(a, c, event, params, out, repeated, code != NOTHING, code == FINDING)
    if surge == FINDING or code == NOTHING:
        return surge
    return code


@kernel
def note_largest(a: Any, x: float, event: Any) -> None:
    """Remember how large the largest call of the hour was; x is the log of its size."""
    weight = max(float(event["weight"]), 1.0)
    if weight > 1.0:
        x = guard.log(1.0 + guard.small(weight * float(int(event["body_bytes"]))))
    a["largest"] = max(int(a["largest"]), packed.cell(x * packed.STEPS + 0.5))


@kernel
def judge_count(
    a: Any,
    c: Any,
    event: Any,
    params: Any,
    out: Any,
    repeated: bool,
    outsized: bool,
    size_found: bool,
) -> int:
    """Count one call in its hour; find a surge while it happens."""
    t = int(event["t"])
    weight = max(float(event["weight"]), 1.0)
    if t < hour_end(a) - HOUR:
        return NOTHING  # of an hour that has been closed
    if t >= hour_end(a):
        if not repeated:
            a["next_count"] = guard.small(real(a["next_count"]) + weight)
            a["next_bytes"] = guard.small(
                real(a["next_bytes"]) + weight * float(int(event["body_bytes"]))
            )
        return NOTHING
    if repeated:
        a["repeats"] = guard.small(real(a["repeats"]) + weight)
    else:
        a["count"] = guard.small(real(a["count"]) + weight)
        size = float(int(event["body_bytes"]))
        a["bytes"] = guard.small(real(a["bytes"]) + weight * size)
        created = int(event["created_at"])
        if created != 0 and t - created >= OLD_EVENT:
            a["old"] = guard.small(real(a["old"]) + weight)
        if is_new_network(c, t) and int(event["in_range"]) != 1:
            a["foreign"] = guard.small(real(a["foreign"]) + weight)
    limit = real(a["limit"])
    if limit < 0.0:
        return NOTHING
    count = real(a["count"])
    if int(a["reason"]) == COUNT_LOW and not outsized and is_back(a, count):
        a["quiet"] = 0
        close(a)
        return CONTRADICTED
    reckoned = hourly.weigh(a, weight)
    if count > limit and reckoned > 1.0:
        deviations, ratio = float(params["count_deviations"]), float(params["count_ratio"])
        least = float(params["least_count"])
        limit = hourly.limit_of(a, hour_end(a), deviations, ratio, least, reckoned)
    if count <= limit:
        if real(a["repeats"]) > FLOODED * max(limit, 50.0) and not size_found:
            fill(out, int(a["repeats"]), hour_end(a) - HOUR, real(a["repeats"]), 0.0)
            out["limit"] = limit
            out["score"] = 20.0
            return report(a, 0, event, params, out, RETRY_FLOOD, INFO, count_evidence(a))
        return NOTHING
    if size_found:
        return NOTHING
    return judge_surge(a, event, params, out, hourly.expected_now(a, hour_end(a)), limit)


@kernel
def is_new_network(c: Any, t: int) -> bool:
    """Tell whether the first accepted call from this network came in the same hour; note it."""
    since, hour = int(c["since"]), packed.stamp(t)
    if since == 0:
        c["since"] = hour
        return True
    if since != hour and since != SETTLED:
        c["since"] = SETTLED
    return since == hour


@kernel
def judge_surge(a: Any, event: Any, params: Any, out: Any, expected: float, limit: float) -> int:
    """Say what kind of surge this hour is."""
    count = real(a["count"])
    ratio = guard.ratio(count, max(expected, 1.0), 1.0)
    reason = CAMPAIGN
    severity = LOW
    if is_foreign(a):
        reason = COUNT_HIGH
        severity = MEDIUM
    elif 2.0 * real(a["old"]) >= count:
        reason = BACKFILL
        severity = INFO
    elif ratio >= float(params["flood_ratio"]) and is_flood(a, params, count):
        reason = COUNT_HIGH
        severity = MEDIUM
    if hourly.is_weekly(a, hour_end(a), count) and not is_foreign(a):
        reason = CAMPAIGN
        severity = INFO
    if hourly.is_bursty(a, hour_end(a), count) and not is_foreign(a):
        severity = INFO
    a["calls"] = guard.count_up(int(a["calls"]))
    fill(out, max(int(count), int(a["calls"])), hour_end(a) - HOUR, count, expected)
    out["limit"] = limit
    deviation = guard.sqrt(expected + hourly.spread_of(a) * expected * expected)
    out["deviations"] = guard.ratio(count - expected, deviation, 0.0)
    out["repeats"] = real(a["repeats"])
    out["old"] = real(a["old"])
    out["score"] = guard.clip(25.0 + 12.0 * guard.log(max(ratio, 1.0)), 0.0, 100.0)
    return report(a, 0, event, params, out, reason, severity, count_evidence(a))


@kernel
def count_evidence(a: Any) -> int:
    """Return the calls behind the course of the day; below 14 days of it they are not warm."""
    n = int(a["n"])
    if seasonal.hours_learned(a["factors"]) < 24 * seasonal.DAYS_WITHOUT_FACTORS:
        return min(n, WARM_EVENTS - 1)
    return n


@kernel
def is_back(a: Any, count: float) -> bool:
    """Tell whether so many calls of an hour contradict that next to none come."""
    return count >= 1.0 and count > 0.2 * hourly.idlest(a, hour_end(a))


@kernel
def is_flood(a: Any, params: Any, count: float) -> bool:
    """Tell whether a count is far beyond the busiest hours, too: many times an idle one is soon."""
    most = 1.0
    for hour in range(24):
        most = max(most, hourly.expectation(a, hour_end(a) + hour * HOUR))
    return count >= float(params["count_ratio"]) * most


@kernel
def is_foreign(a: Any) -> bool:
    """Tell whether most of the hour comes from networks outside the usual ones."""
    unusual = int(a["usual_foreign"]) / SHARE_UNIT < 0.25
    return unusual and 2.0 * real(a["foreign"]) >= real(a["count"])


@kernel
def forget(a: Any) -> None:
    """Forget what belonged to a closed incident."""
    a["reason"] = 0
    a["severity"] = 0
    a["calls"] = 0
    hourly.forget_candidate(a)


@kernel
def sender_timer(a: Any, due: int, params: Any, out: Any) -> int:
    """Close the hour, or an incident that ended."""
    if not is_due(a, due):
        return expire(a, due, params, out)
    code = NOTHING
    count = real(a["count"])
    if int(a["opened_at"]) != 0 and int(a["reason"]) == COUNT_LOW:
        code = go_on_missing(a, due, params, count)
    if real(a["limit"]) >= 0.0 and code == NOTHING:
        code = judge_hour(a, due, params, out)
    if int(a["marks"]) & PLANNED != 0:
        pass  # a surge that was announced says nothing of usual hours
    elif hourly.recurs(a, hour_end(a), count):
        hourly.learn_peak(a, hour_end(a), count)
    elif int(a["opened_at"]) == 0:
        learn_hour(a, count)
        if code == NOTHING:
            code = compare_weeks(a, due, params, out)
    elif not is_held(a) and hourly.adopts(a, hour_end(a), count):
        a["long_level"] = 0
        close(a)
        code = ADOPTED
    a["count"] = real(a["next_count"])
    a["bytes"] = real(a["next_bytes"])
    a["largest"] = 0
    a["next_count"] = 0.0
    a["next_bytes"] = 0.0
    a["repeats"] = 0.0
    a["old"] = 0.0
    a["foreign"] = 0.0
    a["marks"] = 0
    wake_at(a, hour_end(a) + HOUR)
    if hourly.rest(a, count):
        a["due"] = 0  # no timer runs until the next call
        a["quiet"] = 0
        a["long_level"] = 0
    begin_hour(a, params)
    return code


@kernel
def go_on_missing(a: Any, due: int, params: Any, count: float) -> int:
    """Keep an incident of missing calls open until calls come again."""
    if is_back(a, count):
        a["quiet"] = 0
        close(a)
        return CONTRADICTED
    hold(a, due, due + linger(0, float(params["close_after_s"])))
    return NOTHING


@kernel
def compare_weeks(a: Any, due: int, params: Any, out: Any) -> int:
    """Hold each week's calls against the level of months: a slow ramp becomes visible."""
    a["week_hour"] = guard.count_up16(int(a["week_hour"]))
    if int(a["week_hour"]) < longterm.WEEK_HOURS:
        return NOTHING
    hours = int(a["week_hours"])
    rate = guard.ratio(packed.unlevel(int(a["week_count"])), float(hours), 0.0)
    a["week_hour"] = 0
    a["week_hours"] = 0
    a["week_count"] = 0
    warm = seasonal.hours_learned(a["factors"]) >= 24 * seasonal.DAYS_WITHOUT_FACTORS
    if hours < longterm.ENOUGH_HOURS or not warm:
        return NOTHING  # the first week of a sender is none to go by
    long = packed.unlevel(int(a["long_level"]))
    a["long_level"] = packed.level(longterm.follow(long, rate))
    more = (rate - long) * longterm.WEEK_HOURS
    variance = hourly.weight_of(a) * long * longterm.WEEK_HOURS
    by_chance = float(params["count_deviations"]) * guard.sqrt(variance)
    if not longterm.has_drifted(rate, long) or more < max(by_chance, float(params["least_count"])):
        return NOTHING
    a["long_level"] = packed.level(rate)
    n = max(int(guard.clip(rate * longterm.WEEK_HOURS, 1.0, 1e9)), 1)
    fill(out, n, due - WEEK, rate, long)
    out["limit"] = longterm.FAR * long
    out["score"] = 20.0
    return report_at(a, due, params, out, COUNT_DRIFT, INFO)


@kernel
def learn_hour(a: Any, count: float) -> None:
    """Learn a closed hour: its count, its mean size, and its share of new networks."""
    limit = real(a["limit"])
    most = limit - hourly.debt_of(a) if limit >= 0.0 else count  # debts are paid, not learned
    hourly.learn(a, hour_end(a), count, most)
    if not hourly.is_batch(a, hour_end(a)):
        week = packed.unlevel(int(a["week_count"])) + min(count, max(most, 0.0))
        a["week_count"] = packed.level(week)
        a["week_hours"] = guard.count_up16(int(a["week_hours"]))
    if count >= 1.0:
        mean, level = real(a["bytes"]) / count, packed.unlevel(int(a["level"]))
        step_to = mean if level <= 0.0 else level + 0.02 * (min(mean, 10.0 * level) - level)
        a["level"] = packed.level(step_to)
        usual = int(a["usual_foreign"]) / SHARE_UNIT
        usual += 0.1 * (real(a["foreign"]) / count - usual)
        a["usual_foreign"] = packed.part(guard.clip(usual, 0.0, 1.0), SHARE_UNIT)


@kernel
def judge_hour(a: Any, due: int, params: Any, out: Any) -> int:
    """Judge a closed hour as a whole: its bytes, and next to no calls at all."""
    count = real(a["count"])
    least = hourly.idlest(a, hour_end(a))
    seasoned = seasonal.hours_learned(a["factors"]) >= WEEKS_SEEN * 168
    low = seasoned and least >= 30.0 and count <= 0.2 * least
    a["quiet"] = min(int(a["quiet"]) + 1, 100) if low else 0
    if int(a["opened_at"]) != 0:
        return NOTHING
    level = packed.unlevel(int(a["level"]))
    largest = packed.unlevel(int(a["largest"]))
    rest = real(a["bytes"]) - largest  # one call is judged by its type
    heavy = rest > float(params["bytes_ratio"]) * level * count
    if heavy and count >= 20.0 and level > 0.0 and int(a["marks"]) & OUTSIZED == 0:
        usual = level * count
        fill(out, int(count), due - HOUR, real(a["bytes"]), usual)
        out["limit"] = float(params["bytes_ratio"]) * usual
        out["score"] = 40.0
        return report_at(a, due, params, out, BYTES_HIGH, LOW)
    if int(a["quiet"]) == int(float(params["quiet_hours"])):
        since = due - int(a["quiet"]) * HOUR
        fill(out, int(count), since, count, least)
        out["limit"] = 0.2 * least
        out["score"] = 20.0
        return report_at(a, due, params, out, COUNT_LOW, INFO)
    return NOTHING


@kernel
def report_at(a: Any, due: int, params: Any, out: Any, reason: int, severity: int) -> int:
    """Open an incident that a timer found."""
    out["confidence"] = 0.6
    until = due + linger(0, float(params["close_after_s"]))
    return tell(a, 0, due, until, reason, severity, WARM_EVENTS, out)


TABLES = (
    Table(("sender",), SENDER, sender_timer),
    Table(("sender", "event_type"), TYPE, type_timer, release_type),
    Table(("sender", "source"), NETWORK),
)


def explain(found: Found) -> Explanation:
    """Say what was seen in the hour or the delivery, against what is usual."""
    seen, usual = found.evidence["seen"], found.evidence["usual"]
    limit = found.evidence["limit"]
    is_bytes = found.reason in ("size_high", "size_low", "bytes_high", "size_drift")
    unit = "bytes" if is_bytes else "events"
    kind = found.event.event_type if found.event and found.event.event_type else None
    what = f"{kind} of {found.sender}" if kind and found.reason.startswith("size") else found.sender
    if is_bytes:
        words = (
            f"{format_bytes(seen)} where {format_bytes(usual)} is usual and "
            f"{format_bytes(limit)} would still be"
        )
    else:
        words = (
            f"{format_count(int(seen), 'call')} in an hour where {format_number(usual)} are "
            f"usual and {format_number(limit)} would still be"
        )
    means = {
        "size_high": "a payload far larger than its type's",
        "size_low": "a payload far smaller than its type's",
        "bytes_high": "payloads of an hour far larger than usual",
        "count_high": "a flood of accepted calls",
        "count_low": "next to no calls for hours",
        "backfill": "many calls about events of more than a day ago",
        "campaign": "a surge of fresh calls from its usual networks",
        "retry_flood": "many repeats of earlier deliveries",
        "count_drift": "the calls of a week have grown far beyond those of the months before",
        "size_drift": "its payloads have grown far beyond those of the months before",
    }
    units = dict(EVIDENCE) | {"seen": unit, "usual": unit, "limit": unit}
    return Explanation(
        summary=f"{what}: {means[found.reason]}: {words}",
        expected=found.quantities("usual", "limit", units=units),
        observed=found.quantities("seen", "deviations", "repeats", "old", units=units),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell what is expected of the sender's present hour, and the mean size of its calls."""
    hours = float(row["factors"][7])
    mean = packed.unlevel(int(row["level"]))
    known = {"mean_size": Quantity(mean, "bytes"), "hours": Quantity(hours)}
    if float(row["limit"]) >= 0.0:
        expected = hourly.expected_now(row, hour_end(row))
        known["expected_this_hour"] = Quantity(expected, "events")
        known["limit_this_hour"] = Quantity(float(row["limit"]), "events")
    cold, warm = 24.0 * Params().history_days, 24.0 * seasonal.DAYS_WITHOUT_FACTORS
    return Baseline(warmth(hours, cold, warm), known)
