"""A sender's failure probability has left its baseline.

Each verified or failed call moves two Bernoulli CUSUM charts (``models.cusum``): one looks for
failures of half of the calls, one for a few per cent; both lie above the usual odds. The usual
share is learned per sender (``models.share``), leaning on a prior (5 % in 20 calls, or what
``callwatch priors`` has fitted to the provider's other senders), and never counts as less than
``least_share``. The threshold is the logarithm of the calls in ``quiet_days``
sender-days, so a busy sender does not alarm more often per day than a quiet one: the average run
length to a false alarm is at least so long at any pace. What happens while a chart is above 0 is
learned only when it returns to 0; what happens while an incident is open is not learned, unless it
lasts a week and closes as chronic: then its level is usual (a forgery's is not: its calls are left
out until they have ended for a week). A sender's first day is learned as it comes, and counts
little later: only ``cold_failures`` in a row are news then. A delivery that failed before and comes
again from the sender's networks is a retry (up to ``MOST_RETRIES`` in a row): it says nothing new,
whatever made it fail. One counts half, where the last two deliveries have failed and none has
verified since. A stranger's call counts little where none has come for hours: scanners name a
sender now and then, also one that is at rest.

Reasons: *forgery*, failures from networks where the sender never verified; *rotation*, failures
from its own networks (a key was changed on one side); *receiver_fault*, failures at a receiver
version that has not verified this sender before, or calls that lost their signature on the way;
*clock*, valid signatures with stale or future timestamps; *mixed*, none of these dominates. The
severity follows the share that is proved: few per cent are an info. *drift*: the share of a week is
half as much again as that of the weeks before, which may rise by 5 % a week (``models.longterm``).

Known gaps: forged calls from a network that the sender itself uses (a shared cloud) look like a
rotation; a receiver that publishes no rejected calls is invisible here; failures of a sender most
of whose calls fail already are no spike.

>>> import math
>>> from models.cusum import bernoulli, threshold
>>> math.ceil(threshold(1000.0, 1000.0, 2.0) / bernoulli(1, 0.01, 0.5))  # failures in a row
4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_duration, format_share
from detectors.base import (
    CHRONIC,
    COLD_EVENTS,
    HIGH,
    INFO,
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
    cap_by_warmth,
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
from detectors.event import DAY, HOUR, REJECTED, VERIFIED
from detectors.event import REASONS as CHECKS
from ingest.schema import Reason
from models import cusum, ewma, guard, longterm, novelty, packed
from models import share as beta
from models.guard import real
from models.kernel import kernel

ID = "signature-failure-spike"
REASONS = ("forgery", "rotation", "receiver_fault", "clock", "mixed", "drift")
FORGERY, ROTATION, RECEIVER_FAULT, CLOCK, MIXED, DRIFT = range(1, 7)

EVIDENCE = (
    ("failures", "events"),
    ("calls", "events"),
    ("usual_share", "share"),
    ("known_network_share", "share"),
    ("chart", ""),
    ("threshold", ""),
)

ROW = np.dtype(
    [
        *TIMERS,
        ("n", "f4"),  # usual calls, decayed
        ("f", "f4"),  # usual failures, decayed
        ("pending_n", "f4"),  # calls since a chart left 0, or since the incident opened
        ("pending_f", "f4"),
        ("fast", "f4"),  # chart for failures of many calls
        ("slow", "f4"),  # chart for a few per cent
        ("fast_n", "f4"),  # calls since the fast chart left 0
        ("fast_f", "f4"),
        ("since", "i4"),  # second of the run's first failure
        ("failures", "i4"),  # of the run
        ("at_home", "i2"),  # failures from known networks
        ("untimely", "i2"),  # failures of the timestamp with a right signature
        ("unsigned", "i2"),  # failures without a readable signature
        ("elsewhere", "i2"),  # failures at a receiver version that never verified this sender
        ("builds", "i2", 2),  # receiver versions that verified, latest first
        ("client", "i2"),  # user agent and TLS client that verified
        ("streak", "i2"),  # failures since the last verified call
        ("week_at", "i2"),  # stamp of the hour in which the week's share is held against the long
        ("week_n", "f4"),  # calls of the week, those of incidents left out
        ("week_f", "f4"),
        ("long_share", "i2"),  # of failures over months: -1,000 ln(share)
        ("noise_until", "i2"),  # stamp of the hour: failures from elsewhere are a chronic noise
        ("met", "i2"),  # stamp of the hour of the first verified call; SETTLED a day later
        ("strange_at", "i4"),  # minute of the last failure from elsewhere
        ("failed", "i2", 24),  # deliveries that failed lately, the latest first
        ("again", "i1"),  # retries since the last of them
        *TOLD,
    ]
)

SETTLED = -1
SHARE_UNIT = 1000.0
NETWORK = np.dtype([("verified", "i1")])  # 1 = the sender has verified from this network


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    quiet_days: float = param(
        1000.0, unit="days", low=1.0, high=1e6, why="at most one false alarm in 1,000 sender-days"
    )
    least_share: float = param(
        0.003, unit="share", low=1e-4, high=0.2,
        why="below 0.3 % single transient failures would weigh too much",
    )  # fmt: skip
    fast_share: float = param(
        0.5, unit="share", low=0.01, high=0.9, why="finds total failure at the 4th call"
    )
    slow_share: float = param(
        0.05, unit="share", low=0.005, high=0.9, why="finds 5 % within some 150 calls"
    )
    least_failures: float = param(
        4.0, unit="events", low=1, high=1000, why="three in a row are a hiccup"
    )
    cold_failures: float = param(
        20.0, unit="events", low=1, high=1000,
        why="integrators test with wrong secrets before a sender has any history",
    )  # fmt: skip
    prior_share: float = param(
        0.05, unit="share", low=0.0005, high=0.5,
        why="before anything is known; a file of priors has it fitted by provider",
    )  # fmt: skip
    prior_calls: float = param(
        20.0, unit="events", low=1, high=1e5, why="calls that the prior weighs"
    )
    close_after_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="longer than the gaps of most retries"
    )


SIGNATURE_MISSING = CHECKS[Reason.SIGNATURE_MISSING]
SIGNATURE_MALFORMED = CHECKS[Reason.SIGNATURE_MALFORMED]
FIRST_CHECK = SIGNATURE_MISSING
LAST_CHECK = CHECKS[Reason.TIMESTAMP_FUTURE]
CERTIFICATE_INVALID = CHECKS[Reason.CERTIFICATE_INVALID]
PROOF_REASONS = frozenset(
    str(name)
    for name, code in CHECKS.items()
    if FIRST_CHECK <= code <= LAST_CHECK or code == CERTIFICATE_INVALID
)
"""Why a call's proof of origin failed, in the words of the event."""
FIRST_TIME_CHECK = CHECKS[Reason.TIMESTAMP_STALE]
CHANGING = 3  # source policy: addresses change too often to say anything
MEMORY = 20_000.0  # calls after which the usual share forgets half
CHRONIC_AFTER = 7 * DAY
CHRONIC_CALLS = 500.0  # weight of a level that became chronic: it is soon forgotten again
WEEK = 7 * DAY
DRIFT_DEVIATIONS = 4.0
DRIFT_FAILURES = 20.0
"""A week's failures are a drift from so many on, and so far beyond chance."""
YOUNG_HOURS = 24  # since the first verified call
LEAST_LONG_SHARE = 1e-6
YOUNG_MEMORY = 200.0
"""Calls of the first day that count later: what an integration looked like says little."""
MOST = 0.5
"""Where most calls fail, more failures are no spike: the charts wait until it is better."""
STRANGERS_FADE, MIXED_FADE = 720.0, 2880.0
"""Minutes between strangers' calls after which half is left of the evidence of earlier failures."""
STRANGERS_HALF = 360.0
STRANGERS_LEAST = 0.05
"""Minutes after which a stranger's call counts half, and the least that it counts."""
NOTHING_ELSE, RETRY_WEIGHT = 2, 0.5
"""Deliveries that have failed since one verified, after which one retry counts, and how much."""
MOST_RETRIES = 40
"""Retries of a day's failures, while none is added; more are none, and an id is anybody's word."""
MANY = 0.2
FEW = 0.1
"""Shares of failures, proved beyond doubt, that make an incident a medium or a low one."""


@kernel
def is_failure(event: Any) -> int:
    """Return 1 for a call whose proof of origin failed, 0 for a verified one, -1 for others."""
    if int(event["verdict"]) == VERIFIED:
        return 0
    reason = int(event["reason"])
    if int(event["verdict"]) == REJECTED and (
        FIRST_CHECK <= reason <= LAST_CHECK or reason == CERTIFICATE_INVALID
    ):
        return 1
    return -1


@kernel
def at_home(row: Any, network: Any, event: Any) -> int:
    """Return 1 where the call comes from where the sender has verified before."""
    if int(event["in_range"]) == 1 or int(network["verified"]) > 0:
        return 1
    if int(event["policy"]) == CHANGING:
        return 1 if int(row["client"]) == novelty.short_tag(int(event["client"])) else 0
    return 0


@kernel
def cause(row: Any) -> int:
    """Return the reason that explains most of the run's failures (of its first 32,767)."""
    failures = guard.clip(float(int(row["failures"])), 1.0, guard.INT16_MAX)
    home = int(row["at_home"]) / failures
    if int(row["untimely"]) / failures >= 0.8 and home >= 0.8:
        return CLOCK
    if int(row["builds"][0]) == 0:
        return MIXED  # nothing has verified yet, so no network is known
    if home <= 0.2:
        return FORGERY
    if home >= 0.8:
        if int(row["elsewhere"]) / failures >= 0.8 or int(row["unsigned"]) / failures >= 0.8:
            return RECEIVER_FAULT
        return ROTATION
    return MIXED


@kernel
def settle(row: Any, memory: float) -> None:
    """Learn what was pending, and begin a new run."""
    n, f = beta.learn(
        real(row["n"]), real(row["f"]), real(row["pending_n"]), real(row["pending_f"]), memory
    )
    row["n"] = n
    row["f"] = f
    begin_run(row)


@kernel
def meet(row: Any, network: Any, event: Any) -> None:
    """Remember where a verified call came from, who made it and which build took it."""
    network["verified"] = 1
    if int(row["met"]) == 0:  # strangers may have used its name before
        row["met"] = packed.stamp(int(event["t"]))
    row["streak"] = 0
    novelty.remember(row["builds"], novelty.short_tag(int(event["receiver"])))
    row["client"] = novelty.short_tag(int(event["client"]))


@kernel
def is_young(row: Any, t: int) -> bool:
    """Tell whether the sender's first verified call is less than a day ago, to the hour."""
    met = int(row["met"])
    if met <= 0:
        return met == 0
    if packed.hours_since(met, t) < YOUNG_HOURS:
        return True
    row["met"] = SETTLED  # for good, although stamps come round
    return False


@kernel
def week_is_over(row: Any, t: int) -> bool:
    """Tell whether it is time to hold the week's share against the one of months."""
    return int(row["week_at"]) == 0 or packed.hours_left(int(row["week_at"]), t) <= 0


@kernel
def long_share(row: Any) -> float:
    """Return the share of failures over months; 0 where it is not known."""
    held = int(row["long_share"])
    return guard.exp(-held / SHARE_UNIT) if held > 0 else 0.0


@kernel
def keep_long_share(row: Any, share: float) -> None:
    """Keep the share of failures over months, to 0.05 %."""
    held = packed.part(-guard.log(guard.clip(share, LEAST_LONG_SHARE, 1.0)), SHARE_UNIT)
    row["long_share"] = max(held, 1) if share > LEAST_LONG_SHARE else 0


@kernel
def begin(row: Any) -> None:
    """Forget an incident that has closed; what it saw is not learned."""
    begin_run(row)
    row["fast"] = 0.0
    row["slow"] = 0.0
    row["reason"] = 0
    row["severity"] = 0


@kernel
def begin_run(row: Any) -> None:
    """Begin a new run."""
    row["pending_n"] = 0.0
    row["pending_f"] = 0.0
    row["fast_n"] = 0.0
    row["fast_f"] = 0.0
    row["failures"] = 0
    row["at_home"] = 0
    row["untimely"] = 0
    row["unsigned"] = 0
    row["elsewhere"] = 0
    row["since"] = 0


@kernel
def count_failure(row: Any, network: Any, event: Any, weight: float) -> None:
    """Add a failure to the run; one without weight makes no streak."""
    if int(row["failures"]) == 0:
        row["since"] = packed.second(int(event["t"]))
    row["failures"] = guard.count_up(int(row["failures"]))
    if weight > 0.0:
        row["streak"] = guard.count_up16(int(row["streak"]))
    if int(row["failures"]) >= guard.INT16_MAX:
        return  # the shares of so many say enough
    if at_home(row, network, event) > 0:
        row["at_home"] = guard.count_up16(int(row["at_home"]))
    reason = int(event["reason"])
    if reason >= FIRST_TIME_CHECK and int(event["signature_ok"]) != 0:
        row["untimely"] = guard.count_up16(int(row["untimely"]))
    if reason in (SIGNATURE_MISSING, SIGNATURE_MALFORMED):
        row["unsigned"] = guard.count_up16(int(row["unsigned"]))
    if novelty.knows(row["builds"], novelty.short_tag(int(event["receiver"]))) == 0:
        row["elsewhere"] = guard.count_up16(int(row["elsewhere"]))


@kernel
def is_chronic_noise(row: Any, network: Any, event: Any) -> bool:
    """Tell whether a failure belongs to a forgery that has gone on for a week and still does."""
    t, until = int(event["t"]), int(row["noise_until"])
    if until == 0:
        return False
    if packed.hours_left(until, t) <= 0:
        row["noise_until"] = 0
        return False
    if at_home(row, network, event) > 0:
        return False
    row["noise_until"] = packed.stamp(t + CHRONIC_AFTER + HOUR - 1)
    return True


@kernel
def novelty_of(row: Any, network: Any, event: Any) -> float:
    """Return how much a failure counts: less where strangers call hours apart.

    What the charts hold of earlier ones fades then, too; slower where the sender itself fails.
    """
    if at_home(row, network, event) > 0:
        return 1.0
    minute = minute_of(int(event["t"]))
    pause = max(minute - int(row["strange_at"]), 0)
    row["strange_at"] = max(minute, int(row["strange_at"]))
    half = STRANGERS_FADE if int(row["at_home"]) == 0 else MIXED_FADE
    left = ewma.decay(float(pause), half)
    row["fast"] = real(row["fast"]) * left
    row["slow"] = real(row["slow"]) * left
    return max(ewma.decay(float(pause), STRANGERS_HALF), STRANGERS_LEAST)


@kernel
def is_retry(row: Any, event: Any) -> bool:
    """Tell whether a failed delivery comes again; remember it."""
    tag = novelty.short_tag(int(event["claimed"]))
    last = len(row["failed"]) - 1
    for i in range(last + 1):
        if int(row["failed"][i]) == tag:
            row["again"] = min(int(row["again"]) + 1, MOST_RETRIES + 1)
            return int(row["again"]) <= MOST_RETRIES
    for i in range(last, 0, -1):
        row["failed"][i] = int(row["failed"][i - 1])
    row["failed"][0] = tag
    row["again"] = 0
    return False


@kernel
def step(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Move the charts by one call; find, or add to, a spike."""
    failed = is_failure(event)
    if failed < 0 or (failed > 0 and is_chronic_noise(a, b, event)):
        return NOTHING
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        begin(a)
    known = failed > 0 and int(event["claimed"]) != 0 and at_home(a, b, event) > 0
    again = known and is_retry(a, event)
    if again and int(a["failures"]) == 0:
        return NOTHING
    is_open = int(a["opened_at"]) != 0 and int(a["reason"]) != DRIFT
    if not is_open and week_is_over(a, int(event["t"])):
        code = compare_weeks(a, event, params, out)
        if code != NOTHING:
            return code
    young = is_young(a, int(event["t"]))
    memory = YOUNG_MEMORY if young else MEMORY
    weight = 1.0 if failed > 0 else max(float(event["weight"]), 1.0)
    if again:
        weight = RETRY_WEIGHT if int(a["streak"]) == NOTHING_ELSE else 0.0
    if not is_open:
        a["week_n"] = guard.small(real(a["week_n"]) + weight)
        a["week_f"] = guard.small(real(a["week_f"]) + failed * min(weight, 1.0))
    quiet = young or (real(a["fast"]) <= 0.0 and real(a["slow"]) <= 0.0)
    if failed == 0 and quiet and not is_open:
        meet(a, b, event)  # both charts are, or a call of the first day puts them, at 0
        a["fast"] = 0.0
        a["slow"] = 0.0
        a["pending_n"] = guard.small(real(a["pending_n"]) + weight)
        settle(a, memory)
        return NOTHING
    p0 = usual_share(a, params)
    if p0 >= MOST and not is_open:
        a["fast"] = 0.0
        a["slow"] = 0.0
        return learn_hopeless(a, b, event, failed)
    top = limit(event, params)
    counts = weight * novelty_of(a, b, event) if failed > 0 else weight
    move_charts(a, params, failed, weight, counts, p0, top)
    fast, slow = real(a["fast"]), real(a["slow"])
    a["pending_n"] = guard.small(real(a["pending_n"]) + weight)
    if failed == 0:
        meet(a, b, event)
        if not is_open and fast <= 0.0 and slow <= 0.0:
            settle(a, memory)
        return NOTHING
    a["pending_f"] = guard.small(real(a["pending_f"]) + weight)
    count_failure(a, b, event, weight)
    chart = max(fast, slow)
    if is_open and chart < 0.25 * top:
        return NOTHING  # an ordinary failure; it does not keep the incident open
    if not is_open and (chart < top or too_few(a, young, params)):
        return NOTHING
    return report(a, event, params, out, p0, chart, top)


@kernel
def move_charts(
    a: Any, params: Any, failed: int, weight: float, counts: float, p0: float, top: float
) -> None:
    """Move both charts by one call that counts so much."""
    is_open = int(a["opened_at"]) != 0 and int(a["reason"]) != DRIFT
    level = incident_share(a, p0) if is_open else p0
    fast_llr = cusum.bernoulli(failed, level, beta.raised(level, float(params["fast_share"]), 4.0))
    slow_llr = cusum.bernoulli(failed, p0, beta.raised(p0, float(params["slow_share"]), 2.5))
    fast = cusum.step(real(a["fast"]), counts * fast_llr, 1.2 * top)
    slow = cusum.step(real(a["slow"]), counts * slow_llr, 1.2 * top)
    a["fast"] = fast
    a["slow"] = slow
    a["fast_n"] = guard.small(real(a["fast_n"]) + weight) if fast > 0.0 else 0.0
    more = failed * min(weight, 1.0)
    a["fast_f"] = guard.small(real(a["fast_f"]) + more) if fast > 0.0 else 0.0


@kernel
def compare_weeks(a: Any, event: Any, params: Any, out: Any) -> int:
    """Hold the week's share of failures against the one of months: a slow ramp becomes visible."""
    t = int(event["t"])
    n, f = real(a["week_n"]), real(a["week_f"])
    first = int(a["week_at"]) == 0
    a["week_at"] = packed.stamp(t + WEEK + HOUR - 1)
    a["week_n"] = 0.0
    a["week_f"] = 0.0
    if first or int(event["age"]) < 2 * WEEK - DAY or n < WARM_EVENTS:
        return NOTHING  # the first week of a sender is none to go by
    share = max(guard.ratio(f, n, 0.0), 0.5 * float(params["least_share"]))
    long = long_share(a)
    keep_long_share(a, longterm.follow(long, share))
    by_chance = DRIFT_DEVIATIONS * guard.sqrt(max(long * n, 1.0))
    if not longterm.has_drifted(share, long) or f - long * n < by_chance or f < DRIFT_FAILURES:
        return NOTHING
    keep_long_share(a, share)
    until = t + linger(0, float(params["close_after_s"]))
    known = evidence_of(real(a["n"]))
    code = tell(a, 0, t, until, DRIFT, INFO, known, out)
    out["count"] = int(guard.clip(f, 1.0, 1e9))
    out["since"] = max(t - WEEK, 1)
    out["score"] = 20.0
    out["confidence"] = warmth_confidence(known)
    out["failures"] = f
    out["calls"] = n
    out["usual_share"] = long
    out["known_network_share"] = 0.0
    out["chart"] = 0.0
    out["threshold"] = 0.0
    return code


@kernel
def learn_hopeless(a: Any, b: Any, event: Any, failed: int) -> int:
    """Learn a call of a sender most of whose calls fail, until most of them verify again."""
    if failed == 0:
        meet(a, b, event)
    a["pending_n"] = 1.0
    a["pending_f"] = float(failed)
    settle(a, CHRONIC_CALLS)
    return NOTHING


@kernel
def usual_share(row: Any, params: Any) -> float:
    """Return the share of failures that the charts take for usual.

    It is one standard deviation above the mean: what is known from few calls may be more.
    """
    n = max(real(row["n"]), 0.0)
    weight = max(float(params["prior_calls"]), 1.0)
    failures = float(params["prior_share"]) * weight
    share = beta.mean(n, real(row["f"]), failures, weight - failures)
    share += guard.sqrt(share * (1.0 - share) / (weight + n))
    return guard.clip(share, float(params["least_share"]), 0.99)


@kernel
def incident_share(row: Any, p0: float) -> float:
    """Return the share that an open incident is known for: only more than that makes it graver."""
    if real(row["pending_n"]) < 100.0:
        return p0
    share = guard.ratio(real(row["pending_f"]), real(row["pending_n"]), 0.0)
    return guard.clip(share, p0, 0.99)


@kernel
def limit(event: Any, params: Any) -> float:
    """Return the charts' threshold at the sender's pace: false alarms are bounded per day."""
    per_day = guard.ratio(float(DAY), float(int(event["gap"])), 1.0)
    return cusum.threshold(max(per_day, 100.0), float(params["quiet_days"]), 2.0)


@kernel
def too_few(row: Any, young: bool, params: Any) -> bool:
    """Tell whether the failures are too few for an incident, whatever the charts say."""
    if young:  # whoever integrates fails now and then, and verifies in between
        return int(row["streak"]) < float(params["cold_failures"])
    least = float(params["least_failures"])
    if real(row["n"]) < COLD_EVENTS or int(row["builds"][0]) == 0:
        least = max(least, float(params["cold_failures"]))
    return int(row["failures"]) < least


@kernel
def report(row: Any, event: Any, params: Any, out: Any, p0: float, chart: float, top: float) -> int:
    """Open the incident or add to it, and fill the evidence."""
    t = int(event["t"])
    if int(row["opened_at"]) == 0 or int(row["reason"]) == DRIFT:
        wake_at(row, t + CHRONIC_AFTER)
    failures = int(row["failures"])
    since = packed.at_second(int(row["since"]))
    pause = usual_pause(since, t, failures)
    known = evidence_of(real(row["n"]))
    reason = cause(row)
    severity = MEDIUM
    proved = beta.lower(real(row["pending_n"]), real(row["pending_f"]))
    if real(row["fast"]) >= top:  # the calls since the change, not those before it
        proved = max(proved, beta.lower(real(row["fast_n"]), real(row["fast_f"])))
    if reason == FORGERY and int(row["failures"]) >= 50:
        severity = HIGH
    if reason != FORGERY and proved < MANY:
        severity = LOW if proved >= FEW else INFO
    severity = max(cap_by_warmth(severity, known), int(row["severity"]))
    until = t + linger(pause, float(params["close_after_s"]))
    code = tell(row, 0, t, until, reason, severity, WARM_EVENTS, out)
    out["count"] = failures
    out["since"] = since
    out["score"] = guard.clip(40.0 + 10.0 * guard.log(1.0 + failures), 0.0, 100.0)
    out["confidence"] = warmth_confidence(known)
    out["failures"] = failures
    out["calls"] = real(row["pending_n"])
    out["usual_share"] = p0
    out["known_network_share"] = guard.ratio(
        float(int(row["at_home"])), min(float(failures), guard.INT16_MAX), 0.0
    )
    out["chart"] = chart
    out["threshold"] = top
    return code


@kernel
def timer(row: Any, due: int, params: Any, out: Any) -> int:
    """Close an incident that ended, or one that has lasted a week: then its level is usual.

    A forgery is not learned; it becomes a noise that is left out until it has ended for a week.
    """
    if is_due(row, due):
        row["due"] = 0
        if int(row["opened_at"]) != 0 and not asks_again(row, due):
            if int(row["reason"]) == FORGERY:
                row["noise_until"] = packed.stamp(due + CHRONIC_AFTER + HOUR - 1)
            else:
                n = guard.clip(real(row["pending_n"]), 1.0, CHRONIC_CALLS)
                row["f"] = guard.ratio(real(row["pending_f"]) * n, real(row["pending_n"]), 0.0)
                row["n"] = n
                keep_long_share(row, guard.ratio(real(row["f"]), n, 0.0))
            close(row)
            return CHRONIC
    code = expire(row, due, params, out)
    if code != NOTHING:
        row["due"] = 0
    return code


TABLES = (Table(("sender",), ROW, timer), Table(("sender", "source"), NETWORK))


def explain(found: Found) -> Explanation:
    """Say how many calls failed against the usual share, and what points to the cause."""
    seen = found.evidence["failures"] / max(found.evidence["calls"], 1.0)
    cause_words = {
        "forgery": "from networks where it never verified: likely forged",
        "rotation": "from its own networks: a signing key was probably changed on one side",
        "receiver_fault": "at a new receiver version or with the signature lost on the way",
        "clock": "with right signatures but wrong timestamps: a clock is off",
        "mixed": "with no single cause",
        "drift": "more each week: a slow growth that no single day shows",
    }
    units = dict(EVIDENCE)
    if found.reason == "drift":
        expected = found.quantities("usual_share", units=units)
        observed = found.quantities("failures", "calls", units=units)
    else:
        expected = found.quantities("usual_share", "threshold", units=units)
        observed = found.quantities(
            "failures", "calls", "known_network_share", "chart", units=units
        )
    return Explanation(
        summary=(
            f"{found.sender}: {found.count} calls failed verification in "
            f"{format_duration(found.seconds)}, {format_share(min(seen, 1.0))} of its calls where "
            f"{format_share(found.evidence['usual_share'])} is usual, {cause_words[found.reason]}"
        ),
        expected=expected,
        observed=observed,
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell the usual share of failures, and from how many calls it is known."""
    n, f = float(row["n"]), float(row["f"])
    known = {
        "usual_share": Quantity(beta.mean(n, f, 1.0, 19.0), "share"),
        "calls": Quantity(n, "events"),
    }
    return Baseline(warmth(n), known)
