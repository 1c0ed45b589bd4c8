"""A sender, an endpoint or an event type was seen that nobody has registered, or never before.

*new_sender*: with an inventory, a sender that is not in it; without, one whose first call came when
callwatch had been running for ``running_days``: at a start all senders are new, and that is no
news. *new_endpoint*: with an inventory, a registered sender calls where it is not registered;
without, one that is known for ``history_days`` calls where it never did. *new_event_type*: a type
that a warm sender never sent. All of them are worth knowing, no more: an info each, once.

Only verified calls make anything new or known: what is rejected is under names that strangers
choose. Where endpoints verify nothing, a sender is one after ``unverified_calls`` and a day.

Senders that show new endpoints or types again and again make no news after ``most_news``; nor do
those with more than 16 types or 6 endpoints.

Known gaps: a sender that was quiet for 45 days is new again; a wrong inventory is believed; types
are told apart by their names, and a type that is as rare as one in hundreds of calls is new late.

>>> from detectors.registered import Register
>>> Register({"shop": frozenset({"/hooks/shop"})}).bits("stranger", "/hooks/shop") & 2
0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_count, safe
from detectors.base import (
    COLD_EVENTS,
    INCIDENT,
    INFO,
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
from detectors.event import DAY, REJECTED, VERIFIED
from detectors.registered import ENDPOINT, GIVEN, PLACED, SENDER
from models import guard, novelty
from models.kernel import kernel

ID = "unregistered"
REASONS = ("new_sender", "new_endpoint", "new_event_type")
NEW_SENDER, NEW_ENDPOINT, NEW_TYPE = range(1, 4)
EVIDENCE = (
    ("news", "events"),
    ("endpoints", "endpoints"),
    ("event_types", "types"),
    ("inventory", ""),
    ("running_days", "days"),
)

ROW = np.dtype(
    [
        *INCIDENT,
        *TOLD,
        ("known", "i1"),  # 1 = some call was accepted
        ("types", "i1"),  # that it has sent, saturating
        ("told", "i1"),  # endpoints and types that were news, saturating
        ("news", "i1"),  # of the incident, saturating
        ("endpoints", "i2", 6),  # where it has called, latest first
    ]
)
TYPE = np.dtype([("seen", "i1")])  # 1 = accepted before


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    running_days: float = param(
        3.0, unit="days", low=0.0, high=60.0, why="after a weekend most senders have called"
    )
    history_days: float = param(
        3.0, unit="days", low=0.0, high=60.0, why="integrators try endpoints in their first days"
    )
    type_days: float = param(
        7.0, unit="days", low=0.0, high=60.0, why="some types come once a week"
    )
    unverified_calls: float = param(
        30.0, unit="events", low=1, high=1e6, why="nothing proves the name but its persistence"
    )
    most_news: float = param(
        4.0, unit="events", low=0, high=100, why="a sender that changes all the time is no news"
    )
    close_after_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="a new sender is set up within an hour"
    )


MANY_TYPES = 16
MOST = 127


@kernel
def relevant(event: Any) -> bool:
    """Tell whether a call was let in."""
    return int(event["verdict"]) != REJECTED


@kernel
def step(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Note sender, endpoint and type of one accepted call; tell what is new."""
    endpoint = novelty.short_tag(int(event["endpoint"]))
    known_type = int(b["seen"]) != 0
    if int(a["known"]) != 0 and known_type and int(a["endpoints"][0]) == endpoint:
        return NOTHING
    if int(a["known"]) == 0 and not is_somebody(event, params):
        return NOTHING
    many_endpoints = int(a["endpoints"][len(a["endpoints"]) - 1]) != 0
    known_endpoint = novelty.remember(a["endpoints"], endpoint) != 0
    many_types = int(a["types"]) >= MANY_TYPES
    if not known_type:
        b["seen"] = 1
        a["types"] = min(int(a["types"]) + 1, MOST)
    first = int(a["known"]) == 0
    a["known"] = 1
    reason = NOTHING
    if first and is_new_sender(event, params):
        reason = NEW_SENDER
    elif not known_endpoint and not many_endpoints and is_new_endpoint(event, first, params):
        reason = NEW_ENDPOINT
    elif not known_type and not many_types and not first and is_warm(event, params):
        reason = NEW_TYPE
    if reason == NOTHING:
        return NOTHING
    if reason != NEW_SENDER:
        if int(a["told"]) >= float(params["most_news"]):
            return NOTHING
        a["told"] = min(int(a["told"]) + 1, MOST)
    return report(a, event, params, out, reason)


@kernel
def is_somebody(event: Any, params: Any) -> bool:
    """Tell whether a name belongs to a sender: it verified, or nothing verifies and it persists."""
    if int(event["verdict"]) == VERIFIED:
        return True
    return int(event["events"]) >= float(params["unverified_calls"]) and int(event["age"]) >= DAY


@kernel
def is_new_sender(event: Any, params: Any) -> bool:
    """Tell whether the first accepted call of a sender is news."""
    registered = int(event["registered"])
    if registered & GIVEN != 0:
        return registered & SENDER == 0
    running = int(event["running"])
    if int(event["verdict"]) != VERIFIED:
        running -= int(event["age"])  # it took a day to become somebody
    return running >= float(params["running_days"]) * DAY


@kernel
def is_new_endpoint(event: Any, first: bool, params: Any) -> bool:
    """Tell whether a sender's first accepted call at an endpoint is news."""
    registered = int(event["registered"])
    if registered & SENDER != 0 and registered & PLACED != 0:
        return registered & ENDPOINT == 0
    enough = int(event["events"]) >= COLD_EVENTS
    return not first and enough and int(event["age"]) >= float(params["history_days"]) * DAY


@kernel
def is_warm(event: Any, params: Any) -> bool:
    """Tell whether the usual types of a sender are known."""
    enough = int(event["events"]) >= WARM_EVENTS
    return enough and int(event["age"]) >= float(params["type_days"]) * DAY


@kernel
def report(a: Any, event: Any, params: Any, out: Any, reason: int) -> int:
    """Open the incident or add to it, and fill the evidence."""
    if int(a["opened_at"]) == 0:
        a["news"] = 0
        a["reason"] = 0
        a["severity"] = 0
    a["news"] = min(int(a["news"]) + 1, MOST)
    t = int(event["t"])
    until = t + int(float(params["close_after_s"]) * 1e6)
    code = tell(a, 0, t, until, reason, INFO, WARM_EVENTS, out)
    endpoints = 0
    for i in range(len(a["endpoints"])):
        if int(a["endpoints"][i]) != 0:
            endpoints += 1
    out["count"] = int(a["news"])
    out["score"] = 10.0
    out["confidence"] = 0.9 if int(event["verdict"]) == VERIFIED else 0.5
    out["news"] = int(a["news"])
    out["endpoints"] = endpoints
    out["event_types"] = int(a["types"])
    out["inventory"] = int(event["registered"]) & GIVEN
    out["running_days"] = guard.clip(int(event["running"]) / DAY, 0.0, 1e6)
    return code


TABLES = (Table(("sender",), ROW, expire), Table(("sender", "event_type"), TYPE))


def explain(found: Found) -> Explanation:
    """Say what is new, and against what: the inventory, or what was seen so far."""
    units = dict(EVIDENCE)
    event = found.event if found.count == 1 else None  # the event opened it: later news are others
    at = f" {safe(event.endpoint)}" if event is not None else ""
    kind = f" {safe(event.event_type or '(none)')}" if event is not None else ""
    if found.reason == "new_sender" and found.evidence["inventory"] > 0:
        says = "a sender that is not in the inventory"
    elif found.reason == "new_sender":
        says = "a sender that was not seen before"
    elif found.reason == "new_endpoint" and found.evidence["inventory"] > 0:
        says = f"calls an endpoint{at} where it is not registered"
    elif found.reason == "new_endpoint":
        says = f"calls an endpoint{at} where it has not called before"
    else:
        says = f"sends an event type{kind} that it has not sent before"
    more = f"; {format_count(found.count, 'thing')} new with it" if found.count > 1 else ""
    return Explanation(
        summary=f"{found.sender}: {says}{more}",
        expected={"news": Quantity(0.0, "events")},
        observed=found.quantities("news", "endpoints", "event_types", "running_days", units=units),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:
    """Tell how many endpoints and types are known; types are after a week and 300 calls."""
    known = {
        "endpoints": Quantity(float(np.count_nonzero(row["endpoints"])), "endpoints"),
        "event_types": Quantity(float(row["types"]), "types"),
    }
    if events < COLD_EVENTS or age_days < Params().history_days:
        return Baseline("cold", known)
    warm = events >= WARM_EVENTS and age_days >= Params().type_days
    return Baseline("warm" if warm else "warming", known)
