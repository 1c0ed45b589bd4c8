"""Redirect callbacks (sign-ins, payment returns) were sent with what no usual browser sends.

Three kinds of refusals need no history. *redirect_mismatch*: a target that is not registered;
*token_in_query*: a token in the address, where logs and referrers keep it; *code_replay*: a code
that was used before, from a network from which this sender has never had an accepted redirect:
whoever used it first was somebody else. Single ones happen everywhere; a sender that has one more
often than ``rare_per_day`` needs more of them at once.

A wrong state is usual now and then: back buttons, reloads, bookmarks, sessions that ended. So
*state_failure* is a matter of shares. Failures of different networks move two CUSUM charts
(``models.cusum``) against the learned share of the sender's redirects, a prior of 2 % in 50: one
looks for a share of ``fault_share``, one for failures that come 50 times as fast as users do.
Three from one network that was never accepted count as rare in themselves. Within ``reload_s`` of
an accepted redirect the first ``reloads`` repeats from its network are a reload, and say nothing.

*receiver_fault*: failures from as many networks as there are users, at the users' own pace, in
place of accepted redirects: a deployment lost the sessions. That is no attack.

While an incident is open nothing is learned; after a week it closes as chronic, and its level is
usual from then on. An incident that stayed at low severity makes the next of its kind less rare.

Known gaps: forged sign-ins through many victims' browsers, no faster than users come, look like a
receiver's fault; a code stolen and used before its owner is not seen (the owner's own call is then
the replay); where accepted redirects are sampled, a reused code is only a failure; an attacker who
shares a network (/24, /48) with an accepted user is seen later.

>>> from models.cusum import poisson_event, threshold
>>> 3 * poisson_event(0.01, 50.0) > threshold(50 * 1200.0, 1000.0, 2.0)  # 3 networks at once
True
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_count, format_duration, format_share
from detectors.base import (
    CHRONIC,
    HIGH,
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
    asks_again,
    close,
    evidence_of,
    expire,
    is_due,
    linger,
    minute_of,
    param,
    tell,
    usual_pause,
    wake_at,
    warmth,
    warmth_confidence,
)
from detectors.event import DAY, REDIRECT, REJECTED
from detectors.event import REASONS as CHECKS
from ingest.schema import Reason
from models import cusum, distinct, ewma, guard
from models import share as beta
from models.guard import real
from models.kernel import kernel

ID = "redirect-abuse"
REASONS = ("redirect_mismatch", "state_failure", "code_replay", "token_in_query", "receiver_fault")
MISMATCH, STATE, REPLAY, TOKEN, FAULT = range(1, 6)

EVIDENCE = (
    ("failures", "events"),
    ("targets", "events"),
    ("codes", "events"),
    ("tokens", "events"),
    ("networks", "networks"),
    ("redirects", "events"),
    ("usual_share", "share"),
)

SENDER = np.dtype(
    [
        *TIMERS,
        *TOLD,
        ("sampled", "i1"),  # 1 = accepted redirects are sampled
        ("kinds", "i2"),  # bits of the run's checks
        ("n", "f4"),  # redirects, decayed
        ("f", "f4"),  # networks whose redirects failed, decayed
        ("gap", "f4"),  # usual time between redirects, microseconds
        ("last", "i8"),
        ("chart", "f4"),  # more redirects fail than usual
        ("burst", "f4"),  # they come far faster than users
        ("burst_at", "i8"),
        ("odd", "f4"),  # runs that were rare in themselves and became nothing, decayed
        ("odd_at", "i4"),  # minute
        ("since", "i8"),  # first failure of the run
        ("redirects", "i4"),  # of the run
        ("failures", "i4"),  # of state or code
        ("targets", "i4"),
        ("codes", "i4"),
        ("tokens", "i4"),
        ("networks", "i8"),  # bits of a distinct count
    ]
)
NETWORK = np.dtype(
    [
        ("accepted_at", "i4"),  # minute
        ("failed_at", "i4"),  # minute
        ("failures", "i2"),  # lately
        ("kinds", "i2"),  # bits of their checks
    ]
)


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    quiet_days: float = param(
        1000.0, unit="days", low=1.0, high=1e6, why="at most one false alarm in 1,000 sender-days"
    )
    rare_per_day: float = param(
        0.04, unit="1/d", low=0.0, high=1000.0, why="what comes once in 25 days is news by itself"
    )
    reload_s: float = param(
        1800.0, unit="s", low=0.0, high=86400.0, why="people go back and reload within minutes"
    )
    reloads: float = param(
        3.0, unit="events", low=0, high=1000, why="who reloads more often than that is a program"
    )
    fault_share: float = param(
        0.25, unit="share", low=0.05, high=0.9, why="one of four instances is broken"
    )
    same_network: float = param(
        3.0, unit="events", low=2, high=1000,
        why="a person with a broken session tries twice, then asks for help",
    )  # fmt: skip
    close_after_s: float = param(
        21600.0, unit="s", low=60.0, high=7 * 86400.0,
        why="whoever tries by hand comes back; a fault lasts through a quiet night",
    )  # fmt: skip


FIRST_CHECK = CHECKS[Reason.REDIRECT_URI_MISMATCH]
LAST_CHECK = CHECKS[Reason.TOKEN_IN_QUERY]
REDIRECT_URI_MISMATCH = FIRST_CHECK
STATE_MISSING = CHECKS[Reason.STATE_MISSING]
STATE_MISMATCH = CHECKS[Reason.STATE_MISMATCH]
CODE_REUSED = CHECKS[Reason.CODE_REUSED]
TOKEN_IN_QUERY = LAST_CHECK
USED_BEFORE = 1 << (CHECKS[Reason.STATE_REUSED] - FIRST_CHECK)
SHARED_NETWORK = 8
"""Failures from a network with accepted users that are rare in themselves: many may share it."""
LATELY = 30  # minutes
BURST = 50.0  # times the usual pace
AGAIN, ANOTHER = 0.5, 2.3  # evidence of one more failure of a network; of one more kind: 10 to 1
MEMORY = 20_000.0  # redirects after which the usual share forgets half
PACE = 200.0  # redirects over which the pace is averaged
LONG_PAUSES = 10.0  # nights count as so many usual gaps at most
ODD_DAYS = 30.0
PRIOR_DAYS = 50.0  # one rare run in so many days, before anything is known
CHRONIC_AFTER = 7 * DAY


@kernel
def relevant(event: Any) -> bool:
    """Tell whether the event is a redirect callback."""
    return int(event["kind"]) == REDIRECT


@kernel
def step(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Judge one redirect callback of a sender, from one network."""
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        settle(a, int(event["t"]))
    if int(event["verdict"]) != REJECTED:
        accept(a, b, event, params)
        return NOTHING
    check = int(event["reason"])
    if not FIRST_CHECK <= check <= LAST_CHECK:
        return NOTHING
    minute = minute_of(int(event["t"]))
    if minute - int(b["failed_at"]) > LATELY:
        b["failures"] = 0
        b["kinds"] = 0
    b["failed_at"] = max(minute, int(b["failed_at"]))
    b["failures"] = guard.count_up16(int(b["failures"]))
    kinds = int(b["kinds"])
    bit = 1 << (check - FIRST_CHECK)
    b["kinds"] = kinds | bit
    near = int(b["accepted_at"]) != 0 and (
        abs(minute - int(b["accepted_at"])) * 60.0 <= float(params["reload_s"])
    )
    stateful = check in (STATE_MISSING, STATE_MISMATCH)
    hard = is_hard(a, b, check)
    if near and not hard and not stateful and int(b["failures"]) <= float(params["reloads"]):
        return NOTHING  # a reload
    first = int(b["failures"]) == 1 and not near
    llr = AGAIN if first or kinds & bit != 0 or near else ANOTHER
    return judge(a, b, event, params, out, hard, first, llr)


@kernel
def is_hard(a: Any, b: Any, check: int) -> bool:
    """Tell whether a refusal is none that browsers bring about by themselves."""
    if check == CODE_REUSED:
        return int(b["accepted_at"]) == 0 and int(a["sampled"]) == 0 and real(a["n"]) > 0.0
    return check in (REDIRECT_URI_MISMATCH, TOKEN_IN_QUERY)


@kernel
def accept(a: Any, b: Any, event: Any, params: Any) -> None:
    """Learn from a redirect that was accepted."""
    minute = minute_of(int(event["t"]))
    b["accepted_at"] = max(minute, int(b["accepted_at"]))
    weight = max(float(event["weight"]), 1.0)
    if weight > 1.0:
        a["sampled"] = 1
    if int(a["since"]) != 0:
        a["redirects"] = guard.count_up(int(a["redirects"]))
    if real(a["chart"]) > 0.0:
        p0 = usual_share(a)
        llr = weight * cusum.bernoulli(0, p0, broken_share(p0, params))
        a["chart"] = cusum.step(real(a["chart"]), llr, 1e6)
    learn(a, int(event["t"]), weight, 0.0)


@kernel
def learn(a: Any, t: int, weight: float, failed: float) -> None:
    """Learn pace and share, unless an incident is open."""
    if int(a["opened_at"]) != 0:
        return
    n = real(a["n"])
    if n > 0.0:
        pause = float(max(t - int(a["last"]), 0)) / weight
        if n >= PACE:
            pause = min(pause, LONG_PAUSES * real(a["gap"]))
        a["gap"] = guard.small(ewma.update(real(a["gap"]), 0.0, n - 1.0, pause, PACE)[0])
    a["last"] = max(t, int(a["last"]))
    n, f = beta.learn(n, real(a["f"]), weight, failed, MEMORY)
    a["n"] = guard.small(n)
    a["f"] = guard.small(f)


@kernel
def settle(a: Any, t: int) -> None:
    """Forget a closed incident; one that became nothing makes the next less rare."""
    if int(a["severity"]) <= LOW:
        more_odd(a, t, 1.0)
    a["chart"] = 0.0
    a["burst"] = 0.0
    a["reason"] = 0
    a["severity"] = 0
    begin(a)


@kernel
def begin(a: Any) -> None:
    """Begin a new run."""
    a["kinds"] = 0
    a["since"] = 0
    a["redirects"] = 0
    a["failures"] = 0
    a["targets"] = 0
    a["codes"] = 0
    a["tokens"] = 0
    a["networks"] = 0


@kernel
def odd_now(a: Any, t: int) -> float:
    """Return the rare runs of late, as of t."""
    days = max(minute_of(t) - int(a["odd_at"]), 0) / 1440.0
    return guard.clip(real(a["odd"]), 0.0, 1e6) * guard.exp(-days / ODD_DAYS)


@kernel
def more_odd(a: Any, t: int, more: float) -> None:
    """Add to the rare runs of late."""
    a["odd"] = guard.small(odd_now(a, t) + more)
    a["odd_at"] = minute_of(t)


@kernel
def usual_share(a: Any) -> float:
    """Return the share of redirects whose network fails: learned, within what can be judged."""
    return guard.clip(beta.mean(real(a["n"]), real(a["f"]), 1.0, 49.0), 0.003, 0.25)


@kernel
def broken_share(p0: float, params: Any) -> float:
    """Return the share of failures that the first chart looks for."""
    return guard.clip(max(float(params["fault_share"]), 3.0 * p0), 0.0, 0.9)


@kernel
def judge(
    a: Any, b: Any, event: Any, params: Any, out: Any, hard: bool, first: bool, again: float
) -> int:
    """Move the charts by one refusal; find, or add to, an incident."""
    t = int(event["t"])
    p0 = usual_share(a)
    per_day = guard.clip(guard.ratio(float(DAY), real(a["gap"]), 100.0), 10.0, 1e7)
    top = cusum.threshold(per_day, float(params["quiet_days"]), 2.0)
    high = cusum.threshold(BURST * per_day, float(params["quiet_days"]), 2.0)
    chart = real(a["chart"])
    gap = max(t - int(a["burst_at"]), 0) / DAY
    burst = cusum.step(
        real(a["burst"]), cusum.poisson_gap(gap, p0 * per_day, BURST * per_day), 2.0 * high
    )
    is_open = int(a["opened_at"]) != 0
    least = SHARED_NETWORK if int(b["accepted_at"]) != 0 else int(float(params["same_network"]))
    rare = hard or int(b["failures"]) == least
    known_days = guard.clip(float(int(event["age"])) / DAY, 0.0, ODD_DAYS)
    rate = (1.0 + odd_now(a, t)) / (PRIOR_DAYS + known_days)
    alone = rare and rate <= float(params["rare_per_day"])
    if not is_open and chart <= 0.0 and burst <= 0.0:
        begin(a)
    if rare:
        slow = fast = cusum.poisson_event(rate, max(10.0, BURST * rate))
        if not is_open and not alone and rare_ones(a) == 0:
            more_odd(a, t, 1.0)
    elif first:
        slow = cusum.bernoulli(1, p0, broken_share(p0, params))
        fast = cusum.poisson_event(p0, BURST)
    else:
        slow = fast = again
    chart = cusum.step(chart, slow, 2.0 * top)
    burst = cusum.step(burst, fast, 2.0 * high)
    a["chart"] = chart
    a["burst"] = burst
    a["burst_at"] = max(t, int(a["burst_at"]))
    count(a, event, hard)
    if not is_open:
        if first and not hard:
            learn(a, t, 1.0, 1.0)
        enough = total_of(a) >= 3 and (chart >= top or burst >= high)
        if not alone and not enough:
            return NOTHING
        a["f"] = max(real(a["f"]) - int(a["failures"]), 0.0)
        wake_at(a, t + CHRONIC_AFTER)
    elif not rare and chart < 0.25 * top and burst < 0.25 * high:
        return NOTHING  # an ordinary failure; it does not keep the incident open
    return report(a, b, event, params, out, p0)


@kernel
def count(a: Any, event: Any, hard: bool) -> None:
    """Add a refusal to the run."""
    check = int(event["reason"])
    if int(a["since"]) == 0:
        a["since"] = int(event["t"])
    a["redirects"] = guard.count_up(int(a["redirects"]))
    a["kinds"] = int(a["kinds"]) | (1 << (check - FIRST_CHECK))
    a["networks"] = distinct.add(int(a["networks"]), int(event["source"]))
    if not hard:
        a["failures"] = guard.count_up(int(a["failures"]))
    elif check == CODE_REUSED:
        a["codes"] = guard.count_up(int(a["codes"]))
    elif check == TOKEN_IN_QUERY:
        a["tokens"] = guard.count_up(int(a["tokens"]))
    else:
        a["targets"] = guard.count_up(int(a["targets"]))


@kernel
def rare_ones(a: Any) -> int:
    """Return the refusals of the run that browsers do not bring about by themselves."""
    return int(a["targets"]) + int(a["codes"]) + int(a["tokens"])


@kernel
def total_of(a: Any) -> int:
    """Return all refusals of the run."""
    return min(rare_ones(a) + int(a["failures"]), guard.INT32_MAX)


@kernel
def is_fault(a: Any, t: int, networks: float) -> bool:
    """Tell whether users fail at their usual pace instead of being accepted."""
    failures = int(a["failures"])
    spread = networks >= 0.6 * min(failures, 100)
    usual = min(real(a["gap"]), float(DAY)) * failures
    at_pace = max(t - int(a["since"]), 0) >= 0.25 * usual
    instead = failures >= 0.4 * int(a["redirects"])
    return spread and at_pace and instead


@kernel
def cause(a: Any, fault: bool) -> int:
    """Return the reason that fits the run: what is rare in itself, unless it is a tenth or less."""
    if 10 * rare_ones(a) < int(a["failures"]):
        return FAULT if fault else STATE
    if int(a["codes"]) > 0:
        return REPLAY
    if int(a["targets"]) > 0:
        return MISMATCH
    if int(a["tokens"]) > 0:
        return TOKEN
    return FAULT if fault else STATE


@kernel
def is_mixed(kinds: int) -> bool:
    """Tell whether more than one bit is set."""
    return kinds & (kinds - 1) != 0


@kernel
def gravity(a: Any, b: Any, fault: bool, networks: float) -> int:
    """Return the severity of the run."""
    hard = rare_ones(a)
    total = total_of(a)
    mixed = is_mixed(int(a["kinds"]))
    various = mixed or networks >= 2.5
    if int(a["codes"]) >= 5 or (total >= 50 and various and not fault):
        return HIGH
    if hard >= 3 or (hard >= 1 and mixed and total >= 3):
        return MEDIUM
    if int(b["accepted_at"]) == 0 and int(b["failures"]) >= 3:
        reused = int(b["kinds"]) & USED_BEFORE != 0 and int(a["sampled"]) == 0
        if is_mixed(int(b["kinds"])) or reused:
            return MEDIUM  # a broken browser fails in one way; a first use was not from here
    if fault:
        return MEDIUM if total >= 10 else LOW
    return MEDIUM if total >= 30 or (total >= 6 and various) else LOW


@kernel
def report(a: Any, b: Any, event: Any, params: Any, out: Any, p0: float) -> int:
    """Open the incident or add to it, and fill the evidence."""
    t = int(event["t"])
    total = total_of(a)
    networks = distinct.estimate(int(a["networks"]))
    fault = is_fault(a, t, networks)
    learned = rare_ones(a) == 0
    known = evidence_of(real(a["n"])) if learned else WARM_EVENTS
    pause = usual_pause(int(a["since"]), t, total)
    until = t + linger(pause, float(params["close_after_s"]))
    severity = gravity(a, b, fault, networks)
    code = tell(a, 0, t, until, cause(a, fault), severity, known, out)
    weight = 20.0 if int(a["severity"]) <= LOW else 45.0
    out["count"] = total
    out["since"] = int(a["since"])
    out["score"] = guard.clip(weight + 8.0 * guard.log(1.0 + total), 0.0, 100.0)
    out["confidence"] = warmth_confidence(known) if learned else 0.9
    out["failures"] = int(a["failures"])
    out["targets"] = int(a["targets"])
    out["codes"] = int(a["codes"])
    out["tokens"] = int(a["tokens"])
    out["networks"] = networks
    out["redirects"] = int(a["redirects"])
    out["usual_share"] = p0
    return code


@kernel
def timer(row: Any, due: int, params: Any, out: Any) -> int:
    """Close an incident that ended, or one that has lasted a week: then its level is usual."""
    if is_due(row, due):
        row["due"] = 0
        if int(row["opened_at"]) != 0 and not asks_again(row, due):
            redirects = guard.clip(float(int(row["redirects"])), 1.0, guard.INT32_MAX)
            failed = guard.clip(int(row["failures"]) / redirects, 0.0, 1.0)
            row["n"] = min(redirects, 2000.0)
            row["f"] = failed * min(redirects, 2000.0)
            more_odd(row, due, rare_ones(row) * ODD_DAYS / 7.0)
            close(row)
            return CHRONIC
    code = expire(row, due, params, out)
    if code != NOTHING:
        row["due"] = 0
    return code


TABLES = (
    Table(("sender", "kind"), SENDER, timer),
    Table(("sender", "kind", "source"), NETWORK),
)


def explain(found: Found) -> Explanation:
    """Say what was refused, how often, and from how many networks."""
    units = dict(EVIDENCE)
    seen = found.evidence
    networks = format_count(max(int(seen["networks"] + 0.5), 1), "network")
    where = f"in {format_duration(found.seconds)} from {networks}"
    calls = format_count(found.count, "redirect")
    share = format_share(min(found.count / max(seen["redirects"], 1.0), 1.0))
    usual = format_share(seen["usual_share"])
    what = {
        "redirect_mismatch": f"{calls} to a target that is not registered, {where}",
        "code_replay": f"{calls} {where}, some with a code that somebody else had used before",
        "token_in_query": f"{calls} with a token in the address, {where}: logs keep it now",
        "state_failure": f"{calls} with a state or code that is missing, foreign or used, {where}",
        "receiver_fault": f"{calls} refused {where}, {share} where {usual} is usual, at the pace "
        f"of its users: the receiver has probably lost their sessions",
    }
    return Explanation(
        summary=f"{found.sender}: {what[found.reason]}",
        expected=found.quantities("usual_share", units=units),
        observed=found.quantities(
            "failures", "targets", "codes", "tokens", "networks", "redirects", units=units
        ),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell the usual share of refused redirects, and from how many it is known."""
    n = float(row["n"])
    known = {
        "usual_share": Quantity(usual_share(row), "share"),
        "redirects": Quantity(n, "events"),
    }
    return Baseline(warmth(n), known)
