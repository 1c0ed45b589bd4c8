"""A sender's identity is used from a network, or by a client, that does not fit its history.

*Forged* calls are rejected ones that claim the sender from a network where it has never verified.
They arrive against a usual rate (scanners); a Poisson CUSUM per sender compares that rate with one
many times higher, so it finds three calls in a minute as well as one every 20 minutes.

*Valid* calls from a new network are, first of all, a provider that has grown: an info. How
surprising the network is says the Pitman-Yor predictive probability; senders that show new networks
again and again, and providers that say their addresses change, make no news. It becomes serious
when the client (user agent without version, TLS and certificate fingerprint) is new as well: a
provider changes one of them at a time, a stolen secret changes both. Senders that change clients
all the time are left out of that.

Where no client is told, the operator (autonomous system) and the country speak: a new operator
together with a new country, with a list that does not hold it, or with old networks that go on as
before. Another network of a known operator is a drift. Senders that roam are left out again.

A network that verified stays on probation for ``probation_days`` and is adopted then; a drift is
one incident for as long. One that verifies during an announced migration is told and adopted at
once. What only ever failed is never known. Webhooks only: redirect callbacks come from people's
browsers.

Known gaps: a thief inside the sender's own networks (a shared cloud range) is not seen; nor is one
who copies the client, beyond an info; where neither client nor operator nor country is told, a
stolen secret stays an info; nothing is said of a thief who calls through a provider whose addresses
change and whose operator he shares.

>>> from models.novelty import new_value
>>> new_value(3000.0, 2.0, 1.0, 0.2) < 0.01  # third network after 3,000 calls: news
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_count, format_duration, format_number
from detectors.base import (
    COLD_EVENTS,
    HIGH,
    INCIDENT,
    INFO,
    LOW,
    MEDIUM,
    NOTHING,
    TOLD,
    WARM_EVENTS,
    Baseline,
    Explanation,
    Found,
    Table,
    evidence_of,
    expire,
    linger,
    minute_of,
    param,
    tell,
    usual_pause,
    warmth,
    warmth_confidence,
)
from detectors.event import (
    DAY,
    MINUTE,
    PLANS,
    POLICIES,
    REJECTED,
    UNTRUSTED_HEADER,
    WEBHOOK,
)
from detectors.event import REASONS as CHECKS
from ingest.schema import Reason
from models import cusum, distinct, guard, novelty, packed
from models.guard import real
from models.kernel import kernel

ID = "spoofed-source"
REASONS = (
    "forged_from_new_network",
    "distributed_forgery",
    "valid_from_new_network",
    "outside_published_ranges",
    "range_drift",
    "client_changed",
)
FORGED, DISTRIBUTED, VALID_NEW, OUTSIDE, DRIFT, CLIENT = range(1, 7)

EVIDENCE = (
    ("calls", "events"),
    ("networks", "networks"),
    ("addresses", "addresses"),
    ("usual_per_day", "1/d"),
    ("new_network_probability", "share"),
    ("known_networks", "networks"),
    ("new_clients", "events"),
    ("new_operators", "events"),
)

SENDER = np.dtype(
    [
        *INCIDENT,
        ("n", "f4"),  # verified calls
        ("k", "i2"),  # networks that verified
        ("k_per_day", "i2"),  # new networks a day, lately, a level
        ("k_at", "i2"),  # stamp of the hour in which the last new network came
        ("chart", "f4"),  # Poisson CUSUM of forged calls
        ("chart_at", "i4"),  # minute of the last forged call
        ("noise", "i2"),  # forged calls that were no incident, decayed, a level
        ("since", "i4"),  # second of the run's first forged call
        ("calls", "i4"),  # forged calls of the run
        ("networks", "i2"),  # networks that they came from
        ("addresses", "i8"),  # bits of a distinct count
        ("new_calls", "i4"),  # valid calls from networks on probation
        ("new_networks", "i2"),
        ("strangers", "i2"),  # of new_calls, those whose client is new too
        ("outsiders", "i2"),  # those that come from outside the sender's operators and countries
        ("home_at", "i4"),  # minute of the last call from a known network
        ("clients", "i2", 3),  # clients seen on known networks
        ("operators", "i2", 3),  # autonomous systems of known networks
        ("countries", "i2", 3),
        ("chance", "i2"),  # of the new network that began the run: -1,000 ln(chance)
        ("churn", "i1"),  # new clients on known networks, saturating
        ("roaming", "i1"),  # new operators and countries of known networks, saturating
        *TOLD,
    ]
)
NETWORK = np.dtype(
    [
        ("verified", "i2"),  # both are halved where one of them is at its end
        ("rejected", "i2"),
        ("until", "i4"),  # minute in which probation ends; 0 = none
    ]
)
CHANCE_UNIT = 1000.0


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    quiet_days: float = param(
        1000.0, unit="days", low=1.0, high=1e6, why="at most one false alarm in 1,000 sender-days"
    )
    noise_per_day: float = param(
        0.2, unit="1/d", low=0.001, high=1000.0, why="a scanner that names a sender is rare"
    )
    attack_per_day: float = param(
        10.0, unit="1/d", low=0.1, high=1e5, why="half an hour between calls is a slow attack"
    )
    cold_calls: float = param(
        20.0, unit="events", low=1, high=1000,
        why="integrators test with wrong secrets before a sender has any history",
    )  # fmt: skip
    surprise: float = param(
        0.01, unit="share", low=1e-6, high=0.5, why="a network less likely than 1 in 100 is news"
    )
    habit_per_day: float = param(
        0.2, unit="1/d", low=0.001, high=100.0, why="a new network every 5 days is a habit"
    )
    history_days: float = param(
        3.0, unit="days", low=0.1, high=60.0, why="the networks of one day are not all of them"
    )
    probation_days: float = param(
        7.0, unit="days", low=0.1, high=60.0, why="long enough for an analyst to look"
    )
    strangers: float = param(
        3.0, unit="events", low=1, high=1000, why="one odd client may be a person's test"
    )
    outsiders: float = param(
        6.0, unit="events", low=1, high=1000,
        why="where no client is told, another operator is weaker evidence",
    )  # fmt: skip
    close_after_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="longer than the gaps of slow forgery"
    )


FIRST_CHECK = CHECKS[Reason.SIGNATURE_MISSING]
LAST_CHECK = CHECKS[Reason.SIGNATURE_INVALID]
SIGNATURE_MISSING = CHECKS[Reason.SIGNATURE_MISSING]
IP_DENIED = CHECKS[Reason.IP_DENIED]
CERTIFICATE_INVALID = CHECKS[Reason.CERTIFICATE_INVALID]
PUBLISHED = POLICIES["published"]
CHANGING = POLICIES["changing"]
DISCOURAGED = POLICIES["discouraged"]
PAID_ONLY = POLICIES["paid_only"]
MINUTES_A_DAY = 1440.0
SPREAD_ADDRESSES = 10.0
SPREAD_SHARE = 0.3
"""Forgery is distributed from ten addresses on, if they make up three of ten calls or more."""
CHURNING = 8
"""New clients on known networks from which on a sender's clients say nothing."""
OPERATORS = 32749
MIGRATION = PLANS["migration"]
ROAMING = 0.25
"""Weight of a call by the sender's own client, where the sender shows new networks all the time."""
FEW_FAIL = 4
"""Calls that verify for each that fails, from which on a network's failures are no forgery."""
FAILED_BEFORE = 3
"""Rejected calls after which a network that suddenly verifies has guessed or stolen something."""


@kernel
def weight_of(event: Any) -> float:
    """Return how much a rejected call says about forgery; 0 = nothing."""
    reason = int(event["reason"])
    if reason in (SIGNATURE_MISSING, IP_DENIED):
        return 0.5
    if FIRST_CHECK <= reason <= LAST_CHECK or reason == CERTIFICATE_INVALID:
        return 1.0
    return 0.0


@kernel
def step(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Judge one call by the network and the client it comes from."""
    if int(event["kind"]) != WEBHOOK:
        return NOTHING
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        begin(a)
    if int(event["verdict"]) == REJECTED:
        return judge_rejected(a, b, event, params, out)
    return judge_accepted(a, b, event, params, out)


@kernel
def begin(a: Any) -> None:
    """Forget what belonged to a closed incident."""
    begin_forged(a)
    a["new_calls"] = 0
    a["new_networks"] = 0
    a["strangers"] = 0
    a["outsiders"] = 0
    a["chance"] = 0
    a["reason"] = 0
    a["severity"] = 0


@kernel
def begin_forged(a: Any) -> None:
    """Begin a new run of forged calls."""
    a["chart"] = 0.0
    a["calls"] = 0
    a["networks"] = 0
    a["addresses"] = 0
    a["since"] = 0


@kernel
def judge_rejected(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Move the chart of forged calls; calls from known networks are not forged but broken."""
    weight = weight_of(event)
    t = int(event["t"])
    if weight <= 0.0 or int(event["in_range"]) == 1 or is_known(b, t):
        return NOTHING
    if is_same_client(a, event) and habit_at(a, t) >= float(params["habit_per_day"]):
        weight *= ROAMING
    b["rejected"] = guard.count_up16(int(b["rejected"]))
    make_room(b)
    if FEW_FAIL * int(b["rejected"]) <= int(b["verified"]):
        return NOTHING  # a network on probation whose calls mostly verify
    days = guard.clip(float(int(event["age"])) / DAY, 0.0, 30.0)
    prior_days = guard.ratio(1.0, float(params["noise_per_day"]), 1.0)
    noise = packed.unlevel(max(int(a["noise"]), 0))
    usual = (1.0 + noise) / (prior_days + days)
    attack = max(float(params["attack_per_day"]), 10.0 * usual)
    top = cusum.threshold(attack, float(params["quiet_days"]), 1.0)
    minute = minute_of(t)
    gap = 0.0
    if int(a["chart_at"]) != 0:
        gap = max(minute - int(a["chart_at"]), 0) / MINUTES_A_DAY
    chart = cusum.step(real(a["chart"]), cusum.poisson_gap(gap, usual, attack), 2.0 * top)
    known_forgery = int(a["opened_at"]) != 0 and int(a["reason"]) <= DISTRIBUTED
    if chart <= 0.0 and not known_forgery:
        a["noise"] = packed.level(0.98 * noise + float(int(a["calls"])))
        begin_forged(a)
    chart = cusum.step(chart, weight * cusum.poisson_event(usual, attack), 2.0 * top)
    a["chart"] = chart
    a["chart_at"] = max(minute, int(a["chart_at"]))
    if int(a["calls"]) == 0:
        a["since"] = packed.second(t)
    a["calls"] = guard.count_up(int(a["calls"]))
    if int(b["rejected"]) == 1:
        a["networks"] = guard.count_up16(int(a["networks"]))
    least = 3.0
    if real(a["n"]) < COLD_EVENTS or int(a["k"]) <= 0:
        least = float(params["cold_calls"])
    a["addresses"] = distinct.add(int(a["addresses"]), int(event["address"]))
    calls = int(a["calls"])
    if not known_forgery and (chart < top or calls < least):
        return NOTHING
    addresses = distinct.estimate(int(a["addresses"]))
    spread = addresses >= SPREAD_ADDRESSES and addresses >= SPREAD_SHARE * min(calls, 200)
    severity = HIGH if spread or calls >= 100 else MEDIUM
    return report(a, b, event, params, out, DISTRIBUTED if spread else FORGED, severity, usual)


@kernel
def make_room(b: Any) -> None:
    """Halve a network's counts where one is at its end: their ratio and their first steps stay."""
    verified, rejected = int(b["verified"]), int(b["rejected"])
    if max(verified, rejected) >= guard.INT16_MAX:
        b["verified"] = max(verified // 2, min(verified, 1))
        b["rejected"] = max(rejected // 2, min(rejected, FAILED_BEFORE))


@kernel
def is_known(b: Any, t: int) -> bool:
    """Tell whether the network has verified and is past its probation."""
    return int(b["verified"]) > 0 and minute_of(t) >= int(b["until"])


@kernel
def judge_accepted(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Learn the networks and clients of accepted calls; find those that do not fit."""
    t = int(event["t"])
    first = int(b["verified"]) == 0
    b["verified"] = guard.count_up16(int(b["verified"]))
    make_room(b)
    n = real(a["n"])
    chance = novelty.new_value(n, float(int(a["k"])), 1.0, 0.2)
    a["n"] = guard.small(n + 1.0)
    if first:
        habit = new_network(a, t)
        policy = int(event["policy"])
        told = policy in (CHANGING, DISCOURAGED, PAID_ONLY)
        warm = int(event["age"]) >= float(params["history_days"]) * DAY and n >= COLD_EVENTS
        news = chance < float(params["surprise"]) and habit < float(params["habit_per_day"])
        odd = is_stranger(a, event) or (not told and (news or is_outside(event)))
        odd = odd or (is_new_place(a, event) > 1 and not is_same_client(a, event))
        if warm and int(event["in_range"]) != 1 and odd:
            b["until"] = minute_of(t + probation(params))
            if int(a["opened_at"]) == 0:
                a["chance"] = packed.part(-guard.log(chance), CHANCE_UNIT)
    if minute_of(t) < int(b["until"]):
        if is_announced(b, event):
            b["until"] = 0  # told once, and known from its first call on
        return judge_newcomer(a, b, event, params, out)
    a["home_at"] = max(minute_of(t), int(a["home_at"]))
    learn_place(a, event)
    if int(event["client"]) == 0:
        return NOTHING
    known = novelty.remember(a["clients"], novelty.short_tag(int(event["client"])))
    if known == 0:
        a["churn"] = min(int(a["churn"]) + 1, CHURNING)
    seasoned = n >= WARM_EVENTS and int(event["age"]) >= 7 * DAY
    if known == 0 and seasoned and int(a["churn"]) < CHURNING:
        a["new_calls"] = guard.count_up(int(a["new_calls"]))
        return report(a, b, event, params, out, CLIENT, INFO, 0.0)
    return NOTHING


@kernel
def is_announced(b: Any, event: Any) -> bool:
    """Tell whether a migration was announced; what failed again and again before is none."""
    return int(event["plan"]) & MIGRATION != 0 and int(b["rejected"]) < FAILED_BEFORE


@kernel
def probation(params: Any) -> int:
    """Return how long a new network is on probation, microseconds."""
    return int(float(params["probation_days"]) * DAY)


@kernel
def is_outside(event: Any) -> bool:
    """Tell whether the provider publishes its networks, and this is none of them."""
    return int(event["in_range"]) == 0 and int(event["policy"]) == PUBLISHED


@kernel
def is_stranger(a: Any, event: Any) -> bool:
    """Tell whether the client is new to a sender that keeps to a few clients."""
    if int(event["client"]) == 0 or int(a["churn"]) >= CHURNING:
        return False
    return novelty.knows(a["clients"], novelty.short_tag(int(event["client"]))) == 0


@kernel
def is_same_client(a: Any, event: Any) -> bool:
    """Tell whether the client is told, and one that the sender uses."""
    client = int(event["client"])
    return client != 0 and novelty.knows(a["clients"], novelty.short_tag(client)) > 0


@kernel
def operator_of(event: Any) -> int:
    """Return the autonomous system as 1 to 32,749, a prime: two look alike once in so many pairs.

    0 where it is not told.
    """
    asn = int(event["asn"])
    return max(asn, 0) % OPERATORS + 1 if asn != 0 else 0


@kernel
def learn_place(a: Any, event: Any) -> None:
    """Remember the operator and the country of a known network."""
    asn, country = operator_of(event), int(event["country"])
    new = 0
    if asn != 0 and novelty.remember(a["operators"], asn) == 0:
        new = 1
    if country != 0 and novelty.remember(a["countries"], country) == 0:
        new = 1
    if new > 0:
        a["roaming"] = min(int(a["roaming"]) + 1, CHURNING)


@kernel
def is_new_place(a: Any, event: Any) -> int:
    """Tell how far a call comes from outside the sender's operators and countries.

    2 = its operator is new, or where none is told its country; 3 = both are; -1 = the operator is
    known; 0 = nothing is told, or the sender is everywhere.
    """
    asn, country = operator_of(event), int(event["country"])
    if int(a["roaming"]) >= CHURNING:
        return 0
    told = int(a["countries"][0]) != 0 and country != 0
    abroad = told and novelty.knows(a["countries"], country) == 0
    if asn == 0 or int(a["operators"][0]) == 0:
        return 2 if abroad else 0
    if novelty.knows(a["operators"], asn) > 0:
        return -1
    return 3 if abroad else 2


@kernel
def habit_at(a: Any, t: int) -> float:
    """Return how many new networks a day have been usual lately."""
    days = 30.0
    if int(a["k_at"]) != 0:
        days = max(packed.hours_since(int(a["k_at"]), t), 0) / 24.0
    return packed.unlevel(max(int(a["k_per_day"]), 0)) * guard.exp(-days / 14.0)


@kernel
def new_network(a: Any, t: int) -> float:
    """Note one more network that verified; return how many a day were usual before it."""
    habit = habit_at(a, t)
    a["k_per_day"] = packed.level(habit + 1.0 / 14.0)
    a["k_at"] = packed.stamp(t)
    a["k"] = guard.count_up16(int(a["k"]))
    return habit


@kernel
def is_outsider(a: Any, b: Any, event: Any, params: Any) -> bool:
    """Tell whether a call looks stolen although its client is not told.

    Another operator alone may be a move. It is none where the country is new too, where the
    provider's list knows nothing of it, or where the old networks go on calling as before.
    """
    if int(event["client"]) != 0 and int(a["churn"]) < CHURNING:
        return False  # the client says it better
    place = is_new_place(a, event)
    if place < 2:
        return False
    came = int(b["until"]) - probation(params) // MINUTE
    return place > 2 or is_outside(event) or int(a["home_at"]) > came


@kernel
def judge_newcomer(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Judge a valid call from a network on probation."""
    a["new_calls"] = guard.count_up(int(a["new_calls"]))
    if int(b["verified"]) == 1:
        a["new_networks"] = guard.count_up16(int(a["new_networks"]))
    if is_announced(b, event):
        if int(event["client"]) != 0:
            novelty.remember(a["clients"], novelty.short_tag(int(event["client"])))
        learn_place(a, event)
    elif is_stranger(a, event):
        a["strangers"] = guard.count_up16(int(a["strangers"]))
    elif is_outsider(a, b, event, params):
        a["outsiders"] = guard.count_up16(int(a["outsiders"]))
    strange = int(a["strangers"]) >= float(params["strangers"])
    strange = strange or int(a["outsiders"]) >= float(params["outsiders"])
    strange = strange or (int(b["rejected"]) >= FAILED_BEFORE and int(a["strangers"]) > 0)
    reason = VALID_NEW
    if is_outside(event):
        odd = int(a["strangers"]) > 0 or int(a["outsiders"]) > 0
        reason = OUTSIDE if odd else DRIFT
    severity = INFO
    if strange:
        severity = MEDIUM if int(event["believed"]) == UNTRUSTED_HEADER else HIGH
    return report(a, b, event, params, out, reason, severity, 0.0)


@kernel
def report(
    a: Any, b: Any, event: Any, params: Any, out: Any, reason: int, severity: int, usual: float
) -> int:
    """Open the incident or add to it, and fill the evidence.

    A drift lasts as long as a network is on probation: it is told once, however rare its calls are.
    """
    t = int(event["t"])
    known = evidence_of(real(a["n"]))
    since = packed.at_second(int(a["since"]))
    pause = usual_pause(since, t, int(a["calls"])) if reason <= DISTRIBUTED else 0
    until = t + linger(pause, float(params["close_after_s"]))
    if severity == INFO and reason != CLIENT:
        until = max(until, int(b["until"]) * MINUTE)
    code = tell(a, 0, t, until, reason, severity, known, out)
    severity = int(a["severity"])
    reason = int(a["reason"])
    forged = reason <= DISTRIBUTED
    calls = int(a["calls"]) if forged else int(a["new_calls"])
    networks = int(a["networks"]) if forged else int(a["new_networks"])
    out["count"] = calls
    out["since"] = since if forged else 0
    weight = 20.0 if severity <= LOW else 45.0
    out["score"] = guard.clip(weight + 8.0 * guard.log(1.0 + calls), 0.0, 100.0)
    out["confidence"] = warmth_confidence(known)
    out["calls"] = calls
    out["networks"] = networks
    out["addresses"] = distinct.estimate(int(a["addresses"])) if forged else 0.0
    out["usual_per_day"] = usual
    chance = int(a["chance"])
    out["new_network_probability"] = guard.exp(-chance / CHANCE_UNIT) if chance > 0 else 0.0
    out["known_networks"] = max(int(a["k"]) - int(a["new_networks"]), 0)
    out["new_clients"] = int(a["strangers"])
    out["new_operators"] = int(a["outsiders"])
    return code


TABLES = (Table(("sender",), SENDER, expire), Table(("sender", "source"), NETWORK))


def explain(found: Found) -> Explanation:
    """Say where the calls came from, against where they usually come from."""
    units = dict(EVIDENCE)
    calls = format_count(found.count, "call")
    span = format_duration(found.seconds)
    known = format_count(int(found.evidence["known_networks"]), "network")
    networks = format_count(max(int(found.evidence["networks"]), 1), "network")
    expected = found.quantities("known_networks", units=units)
    observed = found.quantities("calls", "networks", units=units)
    if found.reason in ("forged_from_new_network", "distributed_forgery"):
        observed |= found.quantities("addresses", units=units)
        usual = format_number(found.evidence["usual_per_day"])
        expected |= found.quantities("usual_per_day", units=units)
        summary = (
            f"{found.sender}: {calls} with a wrong signature in {span} from {networks} where it "
            f"never verified; {usual} a day is usual, and it verifies from {known}"
        )
    elif found.reason == "client_changed":
        summary = (
            f"{found.sender}: verified calls by a client (user agent, TLS or certificate) that it "
            f"has not used before, from a network that is known"
        )
    else:
        expected |= found.quantities("new_network_probability", units=units)
        observed |= found.quantities("new_clients", "new_operators", units=units)
        client = "by a client that it uses, or that is not told"
        if found.evidence["new_clients"] > 0:
            client = "by a client never seen before"
        elif found.evidence["new_operators"] > 0:
            client = "at an operator or in a country where it never was"
        grave = found.severity >= MEDIUM
        summary = (
            f"{found.sender}: {calls} with a valid signature from {networks} outside its "
            f"{known}, {client}: "
            + (
                "a stolen secret until shown otherwise"
                if grave
                else "perhaps a new range of the provider"
            )
        )
    return Explanation(summary=summary, expected=expected, observed=observed)


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell how many networks verified; they are known after three days at the earliest."""
    n = float(row["n"])
    known = {
        "networks": Quantity(float(row["k"])),
        "new_networks_per_day": Quantity(packed.unlevel(int(row["k_per_day"])), "1/d"),
    }
    return Baseline(warmth(n) if age_days >= Params().history_days else "cold", known)
