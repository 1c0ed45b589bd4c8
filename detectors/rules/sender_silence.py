"""A sender that should have called by now has not.

What is expected comes from the sender's own week (``models.course``): the hours that brought calls
a week ago, with the least that they and their neighbours usually bring, scaled down where today is
a quiet day. From it follows how many calls a silence has swallowed. Gaps that swallow more than two
are the tail of the sender's own gaps; it is taken as exponential (peaks over a threshold), its mean
is learned, and the silence is news when it has swallowed as many as happens by chance once in
``quiet_days`` days: never fewer than ``least_calls``, nor half as many again as any gap of the last
weeks, and never before ``least_s``. So bursty senders get a longer rope than steady ones, and an
hour of thirty calls and more without any such gap shortens it: chance leaves none out of thirty
once in eighty hours.

A sender with empty nights or days off may stay away on a holiday: its silence counts only from its
last call to the next hour that is usually empty or nearly so, so that a day that does not begin is
no news, but one that breaks off is. Where nights are only quiet, what begins in one is measured by
the quietest day of the week. A sender known for three weeks that has been away for one,
where twenty calls and twice its longest absence would be usual, is told whatever its days are.
Batches are not expected.

Rejected calls are signs of life where the signature was right or they come from networks that
verified lately: a sender whose key is broken is not silent, and strangers who use its name do not
hide that it is. Where the whole partition was not heard (neither a call nor a report for five
minutes), or not one instance of the service that took the sender's last call reports any more
(``pipeline-health`` tells that), nothing is judged, and a silence counts from the end of the pause.

Reasons: *silent*: low; medium after an hour where the sender is warm and knows neither empty hours
nor quiet days. Closes at the first sign of life (``contradicted``), or after two weeks
(``level_adopted``).

Known gaps: the first week of a sender; senders of a few calls a day are told after a week only, as
is a whole working day that does not begin; a batch that does not come; a service that has stopped
publishing and never reported looks like the silence of its senders; half holidays and
a provider that stops at a month's end are told (low); sampling that becomes a hundred times thinner
at once looks like a silence until the first sampled call; calls of a flood under a known network
hide a silence; after 45 days without a record of anybody nobody is waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_duration, format_number
from detectors.base import (
    ADOPTED,
    CONTRADICTED,
    JUDGING,
    KEPT,
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
    is_due,
    is_held,
    param,
    tell,
    wake_at,
    warmth,
)
from detectors.event import DAY, HOUR, MINUTE, REJECTED, SECOND
from models import course, ewma, guard, novelty, packed, seasonal
from models.guard import real
from models.hourly import FIRST_MONDAY
from models.kernel import kernel

ID = "sender-silence"
REASONS = ("silent",)
SILENT = 1
LISTENS = True

EVIDENCE = (
    ("silent_for", "s"),
    ("missed", "events"),
    ("threshold", "events"),
    ("usual_per_hour", "1/h"),
    ("usual_gap", "s"),
)

ROW = np.dtype(
    [
        *JUDGING,  # due = the next look, the end of the hour at the latest; 0 = at rest
        ("last", "i8"),  # sign of life
        *course.FIELDS,
        ("count", "f4"),  # calls of this hour
        ("rate", "f4"),  # calls that this hour brings at least
        ("seen", "i2"),  # calls of the last hours, and what was expected in them, levels
        ("expected", "i2"),
        ("tail", "i2"),  # mean of what long gaps swallow, beyond TAIL_FROM calls
        ("longest", "i2"),  # what the longest gap of the last weeks swallowed, calls
        ("away", "i2"),  # longest absence, hours
        ("gap", "i2"),  # usual time between calls when the hour began, ms, a level
        ("weight", "i2"),  # of the last call, above 1, a level
        ("homes", "i2", 2),  # networks that verified lately
        ("late", "i2"),  # how late this sender's calls were heard lately, s
        ("service", "i2"),  # that took the last call
        ("rests", "i1"),  # 1 = some hours of its week are empty
        ("gapped", "i1"),  # 1 = this hour had a long gap
        *TOLD,
    ]
)
"""A *level* is a cell of ``models.packed``; what fades by the hour is one of ``models.seasonal``,
half as coarse."""


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    least_s: float = param(
        540.0, unit="s", low=60.0, high=86400.0,
        why="the next full minute and one more for late calls: ten minutes and a half",
    )  # fmt: skip
    least_calls: float = param(
        8.0, unit="events", low=2.0, high=1000.0, why="eight usual gaps in a row are no chance"
    )
    quiet_days: float = param(
        1000.0, unit="days", low=1.0, high=1e6, why="at most one false alarm in 1,000 sender-days"
    )
    grave_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="an hour is no deployment any more"
    )
    absent_days: float = param(
        7.0, unit="days", low=2.0, high=7.0, why="no holiday of a service lasts longer"
    )
    absent_calls: float = param(
        20.0, unit="events", low=5.0, high=1e4, why="calls that such an absence has swallowed"
    )


TAIL_FROM = 2.0
TAIL_MEMORY = 64.0
EVEN_HOUR, EVENER, LEAST_TAIL = 30.0, 0.95, 0.5
"""An hour of so many calls without a long gap is no chance; it shortens the tail by this factor."""
FIRST_TAIL, MOST_EXCESS = 2.0, 20.0
"""Until its own gaps are known, a sender counts as bursty; one absence tells little of its gaps."""
LOOK = 5 * MINUTE
"""How often a sender is looked at: all at the same times, since a look walks the whole table."""
OFTEN = 8.0
"""Calls an hour from which on minutes matter."""
MOST_HOURS = 96
FADE = 0.998
"""Of the longest gap, by the hour: half of it is forgotten in two weeks."""
RECENT = 0.8
"""Of the level of today, by the hour."""
RESTS_FROM = 12
KNOWN_HOURS = 504
GONE = 14 * DAY
LATEST = 1 << 61


@kernel
def last_of(a: Any) -> int:
    """Return the last sign of life, microseconds."""
    return min(max(int(a["last"]), 0), LATEST)


@kernel
def hour_of(t: int) -> int:
    """Return the number of the hour, counted from a Monday."""
    return (t - FIRST_MONDAY) // HOUR


@kernel
def lives(a: Any, event: Any) -> bool:
    """Tell whether the call shows that the sender itself is there."""
    if int(event["verdict"]) != REJECTED or int(event["signature_ok"]) == 1:
        novelty.remember(a["homes"], novelty.short_tag(int(event["source"])))
        return True
    if int(event["in_range"]) == 1:
        return True
    return novelty.knows(a["homes"], novelty.short_tag(int(event["source"]))) > 0


@kernel
def level(a: Any) -> float:
    """Return today's level against the usual one, 1 at most: nobody is late on a quiet day."""
    seen, usual = packed.unlevel(int(a["seen"])), packed.unlevel(int(a["expected"]))
    return guard.clip((seen + 1.0) / (max(usual, 0.0) + 1.0), 0.05, 1.0)


@kernel
def weight_of(a: Any) -> float:
    """Return the weight of the last call, at least 1: no exponential where nothing is sampled."""
    held = int(a["weight"])
    return packed.unlevel(held) + 1.0 if held > 0 else 1.0


@kernel
def gap_of(a: Any) -> float:
    """Return the usual time between calls, s."""
    return packed.unlevel(max(int(a["gap"]), 0)) / 1000.0


@kernel
def missed(a: Any, start: int, end: int) -> float:
    """Return how many calls were to be expected from start to end, at least, as events."""
    total = 0.0
    t = start
    for _ in range(MOST_HOURS):
        if t >= end:
            break
        hour = hour_of(t)
        until = min((hour + 1) * HOUR + FIRST_MONDAY, end)
        if int(a["rests"]) != 0 and (course.is_empty(a, hour) > 0 or course.is_low(a, hour)):
            break  # perhaps a holiday
        total += course.least(a, hour) * (until - t) / HOUR
        t = until
    first = hour_of(start)
    if course.is_low(a, first):
        total *= course.quietest(a, first)  # perhaps a holiday has begun
    return total * level(a) / weight_of(a)


@kernel
def threshold(a: Any, params: Any) -> float:
    """Return how many calls a silence may swallow before it is news."""
    per_day = guard.ratio(86_400.0, gap_of(a), 1.0)
    tail = 1.1 * max(seasonal.unpack(int(a["tail"])), LEAST_TAIL)
    rare = guard.log(max(per_day, 1.0) * float(params["quiet_days"])) - TAIL_FROM
    longest = seasonal.unpack(int(a["longest"]))
    return max(TAIL_FROM + tail * rare, float(params["least_calls"]), 1.5 * longest)


@kernel
def step(a: Any, event: Any, params: Any, out: Any) -> int:  # noqa: ARG001 -- as the walk calls it
    """Note a sign of life; it ends a silence."""
    if not lives(a, event):
        return NOTHING
    t = int(event["t"])
    if int(a["due"]) == 0:
        begin(a, t)
    code = NOTHING
    away = t - last_of(a)
    is_open = int(a["opened_at"]) != 0
    if away > 0:
        if is_open and not is_held(a):
            close(a)
            a["reason"] = 0
            a["severity"] = 0
            code = CONTRADICTED
        # the hour's rate tells a long gap in one product; only those are looked at closely
        if away * real(a["rate"]) > TAIL_FROM * HOUR and (not is_open or away < HOUR):
            learn_gap(a, t)
        if hour_of(t) > hour_of(last_of(a)) + 1:
            learn_empty(a, t, is_open)
        if away > HOUR:
            a["away"] = max(int(a["away"]), seasonal.pack(float(away) / HOUR))
        a["last"] = t
    late = min(max(int(event["now"]) - t, 0) // SECOND, 3600)
    a["late"] = max(int(a["late"]), late)
    a["service"] = novelty.short_tag(int(event["service"]))
    weight = max(float(event["weight"]), 1.0)
    if real(a["count"]) <= 0.0:
        a["gap"] = packed.level(int(event["gap"]) / 1e3)
    a["weight"] = packed.level(weight - 1.0) if weight > 1.0 else 0
    a["count"] = guard.small(real(a["count"]) + weight)
    return code


@kernel
def begin(a: Any, t: int) -> None:
    """Begin, or begin again after a rest."""
    wake_at(a, t - t % HOUR + HOUR)
    a["last"] = t
    a["tail"] = seasonal.pack(FIRST_TAIL)
    a["count"] = 0.0
    a["rate"] = 0.0
    a["seen"] = 0
    a["expected"] = 0
    a["weight"] = 0


@kernel
def learn_gap(a: Any, t: int) -> None:
    """Learn what a long gap of the sender has swallowed."""
    swallowed = guard.clip(missed(a, last_of(a), t), 0.0, 1e6)
    if swallowed <= TAIL_FROM:
        return
    tail, excess = seasonal.unpack(int(a["tail"])), min(swallowed - TAIL_FROM, MOST_EXCESS)
    tail, _, _ = ewma.update(tail, 0.0, TAIL_MEMORY, excess, TAIL_MEMORY)
    a["tail"] = seasonal.pack(guard.clip(tail, LEAST_TAIL, 100.0))
    a["gapped"] = 1
    a["longest"] = max(int(a["longest"]), seasonal.pack(swallowed))


@kernel
def learn_empty(a: Any, t: int, is_open: bool) -> None:
    """Learn the hours in between as empty: not before, since a silence is judged by them."""
    first = hour_of(last_of(a)) + 1
    for hour in range(max(first, hour_of(t) - course.WEEK_HOURS), hour_of(t)):
        if is_open:
            course.note_empty(a, hour, True)  # for a week nobody waits for this hour
        else:
            learn_hour(a, hour, 0.0)


@kernel
def learn_hour(a: Any, hour: int, count: float) -> None:
    """Learn an hour; forget a longest gap that was measured by a week not known yet."""
    known = int(a["learned"]) >= 2 * course.WEEK_HOURS
    course.learn(a, hour, count)
    if not known and int(a["learned"]) >= 2 * course.WEEK_HOURS:
        a["longest"] = 0


@kernel
def timer(a: Any, due: int, params: Any, out: Any) -> int:
    """Look at the sender: has it been away too long? At full hours, learn the hour."""
    heard = int(out["since"])
    if not is_due(a, due):
        return expire(a, due, params, out)
    if due % HOUR == 0:
        end_hour(a, due, heard)
    is_open = int(a["opened_at"]) != 0
    if heard > last_of(a) and not is_open:
        a["last"] = heard  # what came in between nobody knows
    since = max(last_of(a), heard)
    away = due - since
    if is_open:
        wake_at(a, due + HOUR - due % HOUR)
        if due - last_of(a) >= GONE and not is_held(a):
            rest(a)
            return ADOPTED
        grave = away >= float(params["grave_s"]) * SECOND and int(a["severity"]) < MEDIUM
        steady = int(a["rests"]) == 0 and course.is_even(a)
        if grave and steady and int(a["learned"]) >= 2 * course.WEEK_HOURS:
            return report(a, due, since, params, out, missed(a, since, due), MEDIUM)
        return NOTHING
    if heard - due > KEPT:  # who comes back is new: there is no need to count the hours until then
        rest(a)
        return NOTHING
    if away >= float(params["absent_days"]) * DAY:
        gap = max(gap_of(a), 1.0)
        calls = float(away) / SECOND / gap
        longer = float(away) / HOUR >= 2.0 * seasonal.unpack(int(a["away"]))
        known = int(a["learned"]) >= KNOWN_HOURS
        if known and longer and calls >= float(params["absent_calls"]):
            wake_at(a, due + HOUR - due % HOUR)
            return report(a, due, since, params, out, calls, LOW)
        rest(a)
        return NOTHING
    return look(a, due, since, params, out)


@kernel
def look(a: Any, due: int, since: int, params: Any, out: Any) -> int:
    """Judge a silence, or set the time of the next look."""
    rate = real(a["rate"]) / weight_of(a)
    hour_end = due + HOUR - due % HOUR
    swallowed = 0.0
    if due - since > MINUTE and int(a["learned"]) >= course.WEEK_HOURS:
        swallowed = missed(a, since, due)
    if swallowed < TAIL_FROM:
        wake_at(a, min(due + LOOK - due % LOOK, hour_end) if rate >= OFTEN else hour_end)
        return NOTHING
    need = threshold(a, params)
    patience = int(float(params["least_s"]) * SECOND) + int(a["late"]) * SECOND * 3 // 2
    if swallowed >= need and due - since >= patience:
        wake_at(a, hour_end)
        return report(a, due, since, params, out, swallowed, LOW)
    more = guard.clip(guard.ratio(need - swallowed, rate, 1.0), 0.0, 1.0)
    then = max(due + int(more * HOUR), since + patience, due + MINUTE)
    wake_at(a, min(then, hour_end))
    return NOTHING


@kernel
def report(
    a: Any, due: int, since: int, params: Any, out: Any, swallowed: float, severity: int
) -> int:
    """Open the incident of a silence, or let it rise, and fill the evidence."""
    code = tell(a, 0, due, last_of(a) + GONE + DAY, SILENT, severity, WARM_EVENTS, out)
    out["count"] = 1
    out["since"] = since
    need = threshold(a, params)
    out["score"] = guard.clip(20.0 + 10.0 * guard.log(1.0 + swallowed / need), 0.0, 70.0)
    out["confidence"] = 0.8 if int(a["rests"]) == 0 else 0.6
    out["silent_for"] = max(due - since, 0) / 1e6
    out["missed"] = swallowed
    out["threshold"] = need
    out["usual_per_hour"] = max(real(a["rate"]), 0.0)
    out["usual_gap"] = gap_of(a)
    return code


@kernel
def end_hour(a: Any, due: int, heard: int) -> None:
    """Learn the hour that has ended, unless it was not heard, and see what the next one brings."""
    hour = hour_of(due) - 1
    count = real(a["count"])
    if count > 0.0 and heard <= due - HOUR and int(a["opened_at"]) == 0:
        learn_hour(a, hour, count)
        a["seen"] = packed.level(RECENT * packed.unlevel(int(a["seen"])) + count)
        if count >= EVEN_HOUR * weight_of(a) and int(a["gapped"]) == 0:
            tail = EVENER * seasonal.unpack(int(a["tail"]))
            a["tail"] = seasonal.pack(max(tail, LEAST_TAIL))
        usual = course.expected(a, hour)
        a["expected"] = packed.level(RECENT * packed.unlevel(int(a["expected"])) + usual)
    a["count"] = 0.0
    a["gapped"] = 0
    if due % DAY == 0:
        end_day(a, hour)
    a["longest"] = seasonal.pack(FADE * seasonal.unpack(int(a["longest"])))
    a["away"] = seasonal.pack(FADE * seasonal.unpack(int(a["away"])))
    a["late"] = int(a["late"]) * 9 // 10
    a["rate"] = guard.small(course.least(a, hour + 1) * level(a))


@kernel
def end_day(a: Any, hour: int) -> None:
    """Learn the level of the weekday that has ended."""
    seen, usual = packed.unlevel(int(a["seen"])), packed.unlevel(int(a["expected"]))
    if usual > 0.0 and seen > 0.0 and int(a["opened_at"]) == 0:
        course.learn_day(a, hour, guard.ratio(seen, usual, 1.0))
    a["seen"] = 0
    a["expected"] = 0
    a["rests"] = 1 if course.empty_hours(a) >= RESTS_FROM else 0


@kernel
def rest(a: Any) -> None:
    """Forget a sender's course: what comes then is new."""
    course.forget(a)
    close(a)
    a["due"] = 0
    a["reason"] = 0
    a["severity"] = 0
    a["longest"] = 0


@kernel
def release(a: Any) -> None:
    """Leave a silent sender in peace until it calls again: a person has found nothing wrong."""
    close(a)
    a["due"] = 0
    a["reason"] = 0
    a["severity"] = 0


TABLES = (Table(("sender",), ROW, timer, release),)


def explain(found: Found) -> Explanation:
    """Say how long the sender has been silent, and what was to be expected."""
    units = dict(EVIDENCE)
    away = format_duration(found.evidence["silent_for"])
    calls = format_number(found.evidence["missed"])
    gap = format_duration(found.evidence["usual_gap"])
    return Explanation(
        summary=(
            f"{found.sender}: no sign of life for {away} where at least {calls} calls were to be "
            f"expected; a call every {gap} is usual"
        ),
        expected=found.quantities("missed", "usual_per_hour", "usual_gap", units=units),
        observed={"calls": Quantity(0.0, "events")}
        | found.quantities("silent_for", "threshold", units=units),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell what the present hour brings at least; a week must be known."""
    hours = float(row["learned"])
    known = {
        "least_this_hour": Quantity(float(row["rate"]), "events"),
        "hours": Quantity(hours),
    }
    week = float(course.WEEK_HOURS)
    return Baseline(warmth(hours, week, 2.0 * week), known)
