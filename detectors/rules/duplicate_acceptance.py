"""A receiver accepted one delivery twice: it verified both calls, answered 2xx, and knew neither.

Providers deliver at least once, so what an endpoint does must be done once only. The first
acceptance of a delivery is remembered (which service, from which network); a second one by the
same service is a finding, unless the service says that it knew the delivery. An attempt that
failed, or whose answer is not known, was no acceptance; so retries after an outage are none.

Reasons: *accepted_twice*, low where the receiver says that the delivery was new to it both times.
An info where it does not say, and where the provider signs every attempt anew and retries: those
go on with automatic retries although a resend by hand was accepted. One incident for a sender; once
told it is not told again for ``again_days``, unless it is graver.

A second acceptance from another network, outside the provider's ranges, is left to
``replay-burst``: somebody else sent it. Two services behind each other see each call once.

Known gaps: a delivery that is not among the newest ``stream.max_exact_deliveries`` of 72 h is new:
whether it was accepted before is not known; services that share a database but not a name are not
told apart from services behind each other; a middleware that is attached twice publishes every call
twice, which looks the same; sampled acceptances are seen in part.

>>> import numpy as np
>>> from models.novelty import short_tag
>>> 0 < short_tag(2**63 - 1) < 2**15
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_count, format_duration
from detectors.base import (
    INCIDENT,
    INFO,
    LOW,
    NOTHING,
    TOLD,
    WARM_EVENTS,
    Baseline,
    Explanation,
    Found,
    Table,
    expire,
    param,
    tell,
)
from detectors.event import DAY, FRESHNESS, POLICIES, VERIFIED, WEBHOOK
from models import guard, novelty
from models.kernel import kernel

ID = "duplicate-acceptance"
REASONS = ("accepted_twice",)
ACCEPTED_TWICE = 1
EVIDENCE = (("again", "events"), ("said_new", "events"))

SENDER = np.dtype(
    [
        *INCIDENT,
        *TOLD,
        ("told_on", "i2"),  # day since 1970 on which an incident last had news
        ("again", "i4"),  # second acceptances of the incident
        ("said_new", "i4"),  # of these, the receiver said that the delivery was new
    ]
)
DELIVERY = np.dtype(
    [
        ("service", "i2"),  # that accepted it first; 0 = none has
        ("source", "i2"),  # from where
    ]
)


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    again_days: float = param(
        30.0, unit="days", low=0.0, high=365.0, why="a receiver is not mended in a day"
    )
    close_after_s: float = param(
        86400.0,
        unit="s",
        low=60.0,
        high=7 * 86400.0,
        why="one fault brings many",
    )


PER_ATTEMPT = FRESHNESS["per_attempt"]
CHANGING = POLICIES["changing"]


@kernel
def relevant(event: Any) -> bool:
    """Tell whether a webhook was verified and answered with a 2xx, as if it were new."""
    return (
        int(event["verdict"]) == VERIFIED
        and int(event["kind"]) == WEBHOOK
        and 200 <= int(event["status"]) < 300
        and int(event["duplicate"]) <= 0
    )


@kernel
def step(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Remember a first acceptance; find a second one by the same service."""
    service = novelty.short_tag(int(event["service"]))
    source = novelty.short_tag(int(event["source"]))
    if int(b["service"]) == 0:
        b["service"] = service
        b["source"] = source
        return NOTHING
    if int(b["service"]) != service:
        return NOTHING  # services behind each other: each of them sees the call once
    from_there = int(b["source"]) == source or int(event["policy"]) == CHANGING
    if not from_there and int(event["in_range"]) != 1:
        return NOTHING
    said_new = int(event["duplicate"]) == 0
    resent = int(event["freshness"]) == PER_ATTEMPT and int(event["horizon"]) > 0
    severity = LOW if said_new and not resent else INFO
    t = int(event["t"])
    today = int(guard.clip(t / DAY, 0.0, guard.INT16_MAX))
    if int(a["opened_at"]) == 0 and int(a["severity"]) != 0:
        lately = today - int(a["told_on"]) < float(params["again_days"])
        if lately and severity <= int(a["severity"]):
            return NOTHING
        a["severity"] = 0
        a["again"] = 0
        a["said_new"] = 0
    a["again"] = guard.count_up(int(a["again"]))
    if said_new:
        a["said_new"] = guard.count_up(int(a["said_new"]))
    a["told_on"] = max(today, int(a["told_on"]))
    again = int(a["again"])
    until = t + int(float(params["close_after_s"]) * 1e6)
    code = tell(a, 0, t, until, ACCEPTED_TWICE, severity, WARM_EVENTS, out)
    out["count"] = again
    out["score"] = guard.clip(5.0 * int(a["severity"]) + 4.0 * guard.log(1.0 + again), 0.0, 45.0)
    out["confidence"] = 0.9 if said_new else 0.5
    out["again"] = again
    out["said_new"] = int(a["said_new"])
    return code


TABLES = (Table(("sender",), SENDER, expire), Table(("sender", "delivery"), DELIVERY))


def explain(found: Found) -> Explanation:
    """Say how often, and what the receiver said of it."""
    units = dict(EVIDENCE)
    span = f" in {format_duration(found.seconds)}" if found.count > 1 else ""
    says = (
        "says that each was new to it"
        if found.evidence["said_new"] > 0
        else "does not say whether it knew them"
    )
    return Explanation(
        summary=(
            f"{found.sender}: {format_count(found.count, 'call')}{span} with a delivery that the "
            f"same service had already accepted; the receiver {says}"
        ),
        expected={"again": Quantity(0.0, "events")},
        observed=found.quantities("again", "said_new", units=units),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Nothing is learned: it works from the second call."""
    return Baseline("-", {})
