"""The same signed unit was presented again, beyond what the provider's retries explain.

What a repeat means depends on how the provider signs (``ingest/profiles``):

* each attempt signed afresh (Stripe, Standard Webhooks), or a signed nonce: a repeated signature is
  a replay. One repeat within 10 s from the same source is a proxy that sent a request twice;
* only the body signed (GitHub, Shopify, Twilio): retries carry the same signature. A repeat from a
  network of the sender is a retry where no earlier attempt was accepted (until the provider's
  attempts or horizon are exceeded), and a manual redelivery where one was; of an accepted call,
  from a network where the sender is not at home, it is a replay.

Each repeat adds a log-likelihood ratio "replay against retry" to a chart per sender, whose evidence
fades with a half-life of 30 minutes, or of eight hours where most repeats come from networks where
the sender was never at home. A stale but valid signature is evidence by itself when it is
much older than the tolerance and its age differs from that of the last stale one: a wrong clock
makes all of them equally old. Two receivers behind each other see each call once; that is no
repeat. A network is a home after three first presentations of fresh events, a day apart (less
while the sender itself is younger). Where the receiver tells no status, the outcome of an attempt
is open: repeats from home may be retries of it, from elsewhere they are weaker evidence. A delivery
id, where no signature fingerprint is given, is no signature: it is judged like a body-only one.

Deterministic, so never capped: known from the first event on. Severity says what happened to the
repeats: critical where one was accepted from outside, medium where all were refused.

Of the newest ``stream.max_exact_deliveries`` units it is known what became of them. Of older ones
no more is known than that they were there: their repeat is a replay where each attempt is signed
afresh (never a proxy that sent it twice); where only the body is signed the outcome of the earlier
attempts is open. Which receiver saw them, and from where they came, is not known either.

Known gaps: a unit older than the memory (72 h, or ``stream.max_deliveries`` units) is new, and one
in 200 of the oldest ones may be, too; a new unit is taken for an old one once in a million times;
where verified events are sampled, repeats of unsampled ones are not seen; a first presentation by
the attacker (the original was blocked) is only found when its signature is stale; calls to
endpoints that verify nothing have no unit.

>>> from models.cusum import step
>>> step(step(0.0, 4.5, 30.0), 4.5, 30.0) >= 6.9  # second repeat from another source
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.explain import format_count, format_duration
from detectors.base import (
    CRITICAL,
    INCIDENT,
    LOW,
    MEDIUM,
    NOTHING,
    TOLD,
    WARM_EVENTS,
    Baseline,
    Explanation,
    Found,
    Table,
    expire,
    linger,
    minute_of,
    param,
    tell,
    usual_pause,
)
from detectors.event import DAY, FRESHNESS, MINUTE, POLICIES, REJECTED, SECOND, VERIFIED, WEBHOOK
from detectors.event import REASONS as CHECKS
from ingest.schema import Reason
from models import cusum, ewma, guard, novelty, packed
from models.guard import real
from models.kernel import kernel

ID = "replay-burst"
REASONS = ("same_signature", "off_schedule", "stale_replay", "spread_replay")
SAME, OFF_SCHEDULE, STALE, SPREAD = range(1, 5)

EVIDENCE = (
    ("repeats", "events"),
    ("units", "units"),
    ("accepted", "events"),
    ("stale", "events"),
    ("from_new_networks", "events"),
    ("chart", ""),
    ("threshold", ""),
)

SENDER = np.dtype(
    [
        *INCIDENT,
        ("chart", "f4"),
        ("chart_at", "i4"),  # second of the last suspicious repeat
        ("since", "i4"),  # second of the run's first one
        ("repeats", "i4"),  # of the run
        ("units", "i4"),
        ("accepted", "i4"),
        ("stale", "i2"),
        ("abroad", "i2"),  # repeats from networks where the sender never verified
        ("late", "i2"),  # repeats in the time of an outage, but outside its retries
        ("failed_at", "i4"),  # minute in which the receiver last failed a call of this sender
        ("stale_age", "i4"),  # of the last stale signature, s
        ("homes", "i1"),  # 1 = some network has verified
        *TOLD,
    ]
)
UNIT = np.dtype(
    [
        ("last", "i8"),
        ("source", "i4"),  # of the first presentation; 0 = not known any more
        ("service", "i4"),  # receiver that saw the first one
        ("other", "i4"),  # another receiver that saw it: services behind each other
        ("count", "i2"),  # presentations
        ("answered", "i1"),  # what became of its attempts: LOST, ACCEPTED or UNKNOWN
        ("suspect", "i1"),  # 1 = counted among the run's units
        ("faded", "i1"),  # 1 = it was presented before, but no more is known of that
    ]
)

NETWORK = np.dtype(
    [
        ("since", "i2"),  # stamp, in STEPs, of the first presentation that verified; SETTLED
        ("verified", "i1"),  # how many did, at most HOME_FROM
    ]
)
STEP = 5 * MINUTE
LATE_STEPS = 8640
"""Events are at most 30 days late."""
SETTLED = -1
"""The network is a home, for good, although stamps come round (after 113 days)."""


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    threshold: float = param(
        6.9, unit="", low=1.0, high=100.0,
        why="odds of 1,000 : 1 for a replay: two or three clear repeats",
    )  # fmt: skip
    resend_s: float = param(
        10.0, unit="s", low=0.0, high=600.0, why="proxies resend a request within seconds"
    )
    half_life_s: float = param(
        1800.0, unit="s", low=60.0, high=86400.0, why="repeats hours apart are no burst"
    )
    outage_s: float = param(
        14400.0, unit="s", low=0.0, high=7 * 86400.0,
        why="most retries come within hours of the receiver's failure",
    )  # fmt: skip
    retries_after_success: float = param(
        3.0, unit="events", low=1, high=100, why="a person redelivers once or twice"
    )
    close_after_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="longer than the pauses of a burst"
    )


PER_ATTEMPT = FRESHNESS["per_attempt"]
NONCE = FRESHNESS["nonce"]
CHANGING = POLICIES["changing"]
PUBLISHED = POLICIES["published"]
SPARE_ATTEMPTS = 2
"""Attempts beyond the published number that a person may have asked for."""
TIMESTAMP_STALE = CHECKS[Reason.TIMESTAMP_STALE]
OLD = 4
"""A stale signature this many tolerances old was kept; clocks and queues err by less."""
SAME_AGE_S = 60
HOME_FROM = 3
"""First presentations after which a network is a home: one old capture must not make it one."""
HOME_AFTER = DAY
"""And for how long they must have come, unless the sender itself was younger: nobody who holds a
few calls back that he captured makes his network a home within the hour."""
ABROAD_STAYS = 16.0
"""Half-lives that a run's evidence lasts where most of it comes from where the sender never was: a
working day. Nobody retries from there, so that repeats an hour apart are no less a replay."""
LOST, ACCEPTED, UNKNOWN = range(3)
FRESH_EVENT = DAY
DEFAULT_TOLERANCE = 300 * SECOND


@kernel
def failed(event: Any) -> bool:
    """Tell whether the receiver itself failed the call, so that the provider will retry."""
    status = int(event["status"])
    success_to = 300 if int(event["kind"]) == WEBHOOK else 400  # browsers are sent on by a 302
    return status != 0 and not 200 <= status < success_to


@kernel
def outcome(event: Any) -> int:
    """Tell what became of a presentation: a receiver that gives no status leaves it open."""
    if int(event["verdict"]) != VERIFIED or failed(event):
        return LOST
    if int(event["status"]) == 0 and int(event["duplicate"]) != 1:
        return UNKNOWN
    return ACCEPTED


@kernel
def is_home(c: Any, event: Any) -> bool:
    """Tell whether the sender's own calls have come from this network for long enough."""
    if int(c["verified"]) < HOME_FROM:
        return False
    if int(c["since"]) == SETTLED:
        return True
    age = packed.units_since(int(c["since"]), int(event["t"]), STEP, LATE_STEPS) * STEP
    sender_age = max(int(event["age"]) - age, 0)  # when the network first came
    return age >= min(sender_age, HOME_AFTER)


@kernel
def is_stale(event: Any) -> bool:
    """Tell whether the signature was right but its timestamp too old."""
    return (
        int(event["verdict"]) == REJECTED
        and int(event["reason"]) == TIMESTAMP_STALE
        and int(event["signature_ok"]) == 1
    )


@kernel
def abroad(a: Any, c: Any, event: Any) -> bool:
    """Tell whether the call comes from where no first presentation has verified."""
    if int(event["in_range"]) == 1 or int(event["policy"]) == CHANGING:
        return False
    return int(a["homes"]) > 0 and not is_home(c, event)


@kernel
def repeat_llr(a: Any, b: Any, c: Any, event: Any, params: Any) -> float:
    """Return the log-likelihood ratio of a repeat: replay against what is legitimate."""
    gap = max(int(event["t"]) - int(b["last"]), 0)
    same_source = novelty.tag(int(event["source"])) == int(b["source"])
    faded = int(b["faded"]) > 0
    outside = abroad(a, c, event)
    fresh = int(event["freshness"])
    if int(event["signed"]) > 0 and fresh in (PER_ATTEMPT, NONCE):
        resent = gap <= int(float(params["resend_s"]) * 1e6) and same_source
        if resent and int(b["count"]) == 1 and not faded:
            return 0.0
        return 3.5 if same_source or faded else 4.5
    elsewhere = outside and not same_source
    answered = int(b["answered"])
    if answered == UNKNOWN and int(event["duplicate"]) == 1:
        answered = ACCEPTED  # the receiver remembers it
    if answered == UNKNOWN and elsewhere:
        return 1.5
    if answered != ACCEPTED:
        return unanswered_llr(b, event, gap, elsewhere)
    if elsewhere:
        return 3.0
    if int(b["count"]) <= max(float(params["retries_after_success"]), 1.0):
        return 0.0
    return 0.6 if int(event["in_range"]) == 1 else 1.2


@kernel
def unanswered_llr(b: Any, event: Any, gap: int, outside: bool) -> float:
    """Return the evidence of one more attempt at what was never accepted: mostly a retry."""
    if outside and int(event["policy"]) == PUBLISHED:
        return 2.5
    most = int(event["max_attempts"])
    if most > 0 and int(b["count"]) > most + SPARE_ATTEMPTS:
        return 1.2
    horizon = int(event["horizon"])
    if horizon > 0 and gap > horizon + max(horizon // 4, MINUTE):  # connections time out, too
        return 1.2
    return 0.0


@kernel
def stale_llr(a: Any, c: Any, event: Any) -> float:
    """Return the evidence of a stale signature; 0 where a wrong clock explains it."""
    age = int(event["t"]) - int(event["signed_at"])
    seconds = int(guard.clip(age / 1e6, 0.0, guard.INT32_MAX))
    last = int(a["stale_age"])
    a["stale_age"] = seconds
    tolerance = int(event["tolerance"])
    if tolerance == 0:
        tolerance = DEFAULT_TOLERANCE
    if int(event["signed_at"]) == 0 or age < OLD * tolerance:
        return 0.0
    if last != 0 and abs(seconds - last) <= SAME_AGE_S:
        return 0.0
    return 3.5 if abroad(a, c, event) else 2.4


@kernel
def first_presentation(a: Any, b: Any, c: Any, event: Any) -> None:
    """Remember a unit that was not seen before."""
    b["last"] = int(event["t"])
    b["count"] = 1
    b["source"] = novelty.tag(int(event["source"]))
    b["service"] = novelty.tag(int(event["service"]))
    b["answered"] = outcome(event)
    if int(event["verdict"]) == VERIFIED and int(a["opened_at"]) == 0:
        created = int(event["created_at"])
        if created == 0 or int(event["t"]) - created < FRESH_EVENT:
            if int(c["verified"]) == 0:
                c["since"] = packed.unit_stamp(int(event["t"]), STEP)
            c["verified"] = min(int(c["verified"]) + 1, HOME_FROM)
        if is_home(c, event):
            a["homes"] = 1
            c["since"] = SETTLED


@kernel
def recalled(b: Any, event: Any) -> None:
    """Take up a unit of which no more is known than that it was presented before."""
    b["last"] = int(event["t"])
    b["count"] = 1
    b["service"] = novelty.tag(int(event["service"]))
    b["answered"] = UNKNOWN


@kernel
def begin(a: Any) -> None:
    """Forget the run."""
    a["chart"] = 0.0
    a["repeats"] = 0
    a["units"] = 0
    a["accepted"] = 0
    a["stale"] = 0
    a["abroad"] = 0
    a["late"] = 0
    a["since"] = 0
    a["reason"] = 0
    a["severity"] = 0


@kernel
def step(a: Any, b: Any, c: Any, event: Any, params: Any, out: Any) -> int:
    """Judge one presentation of a signed unit."""
    t = int(event["t"])
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        begin(a)
    if failed(event) and int(event["verdict"]) == VERIFIED:
        a["failed_at"] = max(minute_of(t), int(a["failed_at"]))
    stale = is_stale(event)
    if int(b["faded"]) > 0 and int(b["count"]) == 0:
        recalled(b, event)
    repeated = int(b["count"]) > 0
    service = novelty.tag(int(event["service"]))
    if repeated and service != int(b["service"]) and int(b["other"]) == 0:
        b["other"] = service
        return NOTHING  # one request, seen by two receivers: each of them sees it once
    llr = 0.0
    if repeated:
        llr = repeat_llr(a, b, c, event, params)
    if stale:
        llr += stale_llr(a, c, event)
    if not repeated:
        first_presentation(a, b, c, event)
    if llr <= 0.0 and not stale:
        if repeated:
            present_again(b, event)
        return NOTHING
    if llr <= 0.0:
        return NOTHING
    fresh = int(event["signed"]) > 0 and int(event["freshness"]) in (PER_ATTEMPT, NONCE)
    again = fresh or int(b["answered"]) != LOST  # what was never accepted may be accepted once
    if repeated:
        present_again(b, event)
    return suspect(a, b, c, event, params, out, llr, stale, again)


@kernel
def present_again(b: Any, event: Any) -> None:
    """Note one more presentation of a unit."""
    b["last"] = max(int(event["t"]), int(b["last"]))
    b["count"] = guard.count_up16(int(b["count"]))
    if outcome(event) == ACCEPTED or (outcome(event) == UNKNOWN and int(b["answered"]) == LOST):
        b["answered"] = outcome(event)


@kernel
def suspect(
    a: Any, b: Any, c: Any, event: Any, params: Any, out: Any, llr: float, stale: bool, again: bool
) -> int:
    """Add a suspicious presentation to the run; find, or add to, a burst."""
    t = int(event["t"])
    pause = max(t - packed.at_second(int(a["chart_at"])), 0)
    left = ewma.decay(float(pause), float(params["half_life_s"]) * 1e6)
    if 2 * int(a["abroad"]) > int(a["repeats"]):
        left = guard.exp(guard.log(left) / ABROAD_STAYS)
    top = float(params["threshold"])
    chart = cusum.step(real(a["chart"]) * left, llr, 3.0 * top)
    if real(a["chart"]) * left < 0.5 and int(a["opened_at"]) == 0:
        begin(a)
    a["chart"] = chart
    a["chart_at"] = max(packed.second(t), int(a["chart_at"]))
    count(a, b, c, event, params, stale)
    accepted = int(event["verdict"]) == VERIFIED and not failed(event)
    if again and accepted and int(event["duplicate"]) != 1:
        a["accepted"] = guard.count_up(int(a["accepted"]))
    if int(a["opened_at"]) == 0 and (chart < top or int(a["repeats"]) < 2):
        return NOTHING
    return report(a, event, params, out, chart)


@kernel
def count(a: Any, b: Any, c: Any, event: Any, params: Any, stale: bool) -> None:
    """Add a suspicious presentation to the run's counters."""
    t = int(event["t"])
    if int(a["repeats"]) == 0:
        a["since"] = packed.second(t)
    a["repeats"] = guard.count_up(int(a["repeats"]))
    if int(b["suspect"]) == 0:
        b["suspect"] = 1
        a["units"] = guard.count_up(int(a["units"]))
    if stale:
        a["stale"] = guard.count_up16(int(a["stale"]))
    if abroad(a, c, event):
        a["abroad"] = guard.count_up16(int(a["abroad"]))
    since_failure = (minute_of(t) - int(a["failed_at"])) * 60.0
    recent = int(a["failed_at"]) != 0 and since_failure <= float(params["outage_s"])
    if recent:
        a["late"] = guard.count_up16(int(a["late"]))


@kernel
def cause(a: Any, event: Any) -> int:
    """Return the reason that fits the run."""
    repeats = int(a["repeats"])
    if 2 * int(a["stale"]) >= repeats:
        return STALE
    if int(a["units"]) >= 5 and 2 * int(a["units"]) > repeats:
        return SPREAD
    if 2 * int(a["late"]) >= repeats and int(event["freshness"]) != PER_ATTEMPT:
        return OFF_SCHEDULE
    return SAME


@kernel
def report(a: Any, event: Any, params: Any, out: Any, chart: float) -> int:
    """Open the incident or add to it, and fill the evidence."""
    t = int(event["t"])
    repeats = int(a["repeats"])
    since = packed.at_second(int(a["since"]))
    pause = usual_pause(since, t, repeats)
    severity = MEDIUM
    if int(a["accepted"]) > 0:
        sure = int(event["freshness"]) in (PER_ATTEMPT, NONCE) and int(event["signed"]) > 0
        if sure or int(a["abroad"]) > 0:
            severity = CRITICAL
        elif int(event["in_range"]) == 1:
            severity = LOW  # from the provider's own range: somebody presses "redeliver"
    severity = max(severity, int(a["severity"]))
    until = t + linger(pause, float(params["close_after_s"]))
    code = tell(a, 0, t, until, cause(a, event), severity, WARM_EVENTS, out)
    out["count"] = repeats
    out["since"] = since
    out["score"] = guard.clip(60.0 + 8.0 * guard.log(1.0 + repeats), 0.0, 100.0)
    out["confidence"] = 0.95 if int(event["freshness"]) == PER_ATTEMPT else 0.8
    out["repeats"] = repeats
    out["units"] = int(a["units"])
    out["accepted"] = int(a["accepted"])
    out["stale"] = int(a["stale"])
    out["from_new_networks"] = int(a["abroad"])
    out["chart"] = chart
    out["threshold"] = float(params["threshold"])
    return code


TABLES = (
    Table(("sender",), SENDER, expire),
    Table(("sender", "unit"), UNIT),
    Table(("sender", "source"), NETWORK),
)


def explain(found: Found) -> Explanation:
    """Say how often what was presented again, and whether any of it was accepted."""
    units = dict(EVIDENCE)
    accepted = int(found.evidence["accepted"])
    outcome = f"{accepted:,} of them accepted" if accepted else "none of them accepted"
    what = {
        "same_signature": "presented again with the same signature",
        "off_schedule": "presented again beside the retries of an outage",
        "stale_replay": "presented with a right but long expired signature",
        "spread_replay": "presented again one by one",
    }
    return Explanation(
        summary=(
            f"{found.sender}: {format_count(max(int(found.evidence['units']), 1), 'signed call')} "
            f"{what[found.reason]}, {format_count(found.count, 'time')} in "
            f"{format_duration(found.seconds)}, {outcome}; the provider's retries do not explain it"
        ),
        expected=found.quantities("threshold", units=units),
        observed=found.quantities(
            "repeats", "units", "accepted", "stale", "from_new_networks", "chart", units=units
        ),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Nothing is learned that would have to become warm: it works from the first call."""
    return Baseline("-", {})
