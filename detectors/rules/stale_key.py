"""A retired key is still used, or a rotation of keys does not come to its end.

Only what proves a key counts as its use: a verified call, or one with ``signature_ok``. A key that
is merely named in a rejected call is anybody's word. A sender's row knows its last four keys.

*A rotation* is recognised from the stream: a key that was never seen begins to verify at an
endpoint where an established one does. From its first use the old keys have the provider's overlap
(``rotation_overlap_s``, 24 h where it says nothing, an hour at least). *rotation_started* is an
info, at the new key's third use, once the sender is known for a week. *rotation_stalled*: a day
after the overlap the new key carries most calls, the only other one fewer than before, but still
some; where the old one carries on as before, a region or an endpoint has got a key of its own, and
nothing is said.

*A key is old* when its receiver says so (``key_retired`` with a right signature), or when after the
overlap so many calls came under other keys as never before between two of its uses: keys that are
used side by side, one of them once a week, have long pauses anyway. *old_key*: used from a network
of the sender; low, medium when it goes on. *old_key_new_network*: used from where the sender never
proved a live key; high at the first call. A week of an old key from the sender's own networks is
taken as its habit (``level_adopted``).

Late attempts of what was signed before (an old ``signed_at``, a delivery seen before) are no use of
the key, unless they come from a new network. Where new keys come every few days labels say nothing,
and only the receiver's word counts.

Deterministic, so never capped.

Known gaps: receivers that name no key, or do not check signatures under retired keys; labels that
say "current" and "previous" instead of naming a key; more than four keys at a time; a stalled
rotation of one of several keys that are used side by side; a leaked old key used from the sender's
own networks, or where networks change daily, is at most medium; a new region with more calls than
all others, begun on a day of few calls, can look like a stalled rotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_count, format_duration, format_number, format_share
from detectors.base import (
    ADOPTED,
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
    close,
    expire,
    is_due,
    linger,
    minute_of,
    param,
    tell,
    usual_pause,
    wake_at,
)
from detectors.event import (
    DAY,
    FRESHNESS,
    HOUR,
    MINUTE,
    POLICIES,
    SECOND,
    UNTRUSTED_HEADER,
    VERIFIED,
)
from detectors.event import REASONS as CHECKS
from ingest.schema import Reason
from models import guard, novelty, packed
from models.kernel import kernel

ID = "stale-key"
REASONS = ("old_key", "old_key_new_network", "rotation_stalled", "rotation_started")
OLD_KEY, ABROAD, STALLED, STARTED = range(1, 5)

EVIDENCE = (
    ("calls", "events"),
    ("accepted", "events"),
    ("from_new_networks", "events"),
    ("under_other_keys", "events"),
    ("since_rotation", "s"),
    ("overlap", "s"),
    ("old_share", "share"),
)

KEYS = 4
ROW = np.dtype(
    [
        *TIMERS,  # due = a week after an old key's incident opened
        ("n", "i4"),  # proved uses of keys
        ("rotated", "i4"),  # minute in which the newest key was first used; 0 = no rotation seen
        ("rate", "i2"),  # uses a day before that, a level
        ("by_old", "i4"),  # uses after the overlap, by older keys and by new ones
        ("by_new", "i4"),
        ("key", "i2", KEYS),  # short tags: two of a sender's keys look alike once in 32,767 pairs
        ("last", "i4", KEYS),  # n at the key's last use
        ("pause", "i2", KEYS),  # most uses of other keys between two of its own
        ("span", "i2", KEYS),  # uses of all keys from its first to its last
        ("where", "i2", KEYS),  # endpoints, as bits
        ("uses", "i1", KEYS),  # saturating
        ("state", "i1", KEYS),  # FRESH, RETIRED
        ("homes", "i1"),  # 1 = the sender proved a live key in some network
        ("moves", "i2"),  # networks that it came to use later than in its first days
        ("churn", "i1"),  # rotations that came too soon after another
        ("judged", "i1"),  # 1 = it was seen whether the rotation stalled
        ("since", "i4"),  # minute of the run's first call under an old key
        ("calls", "i4"),  # of the run
        ("accepted", "i2"),
        ("abroad", "i2"),
        *TOLD,
    ]
)
NETWORK = np.dtype([("proved", "i1")])  # uses of live keys, at most HOME_FROM


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    least_calls: float = param(
        3.0, unit="events", low=1, high=1000, why="one late retry was signed before the change"
    )
    many_calls: float = param(
        100.0, unit="events", low=1, high=1e6, why="so many are a machine that nobody has told"
    )
    least_pause: float = param(
        10.0, unit="events", low=1, high=1e6,
        why="calls under other keys, beyond three times the longest pause, that make a key old",
    )  # fmt: skip
    least_overlap_s: float = param(
        3600.0, unit="s", low=0.0, high=30 * 86400.0,
        why="calls on their way, and machines that fetch a new key once an hour",
    )  # fmt: skip
    stalled_share: float = param(
        0.7, unit="share", low=0.1, high=0.95,
        why="of the calls before: an old key that keeps more of them is not being replaced",
    )  # fmt: skip
    churn_days: float = param(
        5.0, unit="days", low=0.0, high=90.0, why="keys are rotated weekly at most, as a rule"
    )
    close_after_s: float = param(
        86400.0, unit="s", low=60.0, high=30 * 86400.0, why="keys are changed within days"
    )


FRESH, RETIRED = 1, 2
ESTABLISHED = 10
"""Proved uses from which on a key is one of the sender's own."""
HOME_FROM = 3
"""Uses of live keys after which a network is a home."""
TELL_AT = 3
WEEK = 7 * DAY
FIRST_DAYS = 3 * DAY
"""In its first days all networks of a sender are new."""
CHURNING = 3
NETWORKS_PER_DAY = 0.2
"""A new network every 5 days is a habit: there a new one is no news."""
PER_ATTEMPT = FRESHNESS["per_attempt"]
CHANGING = POLICIES["changing"]
KEY_RETIRED = CHECKS[Reason.KEY_RETIRED]
DEFAULT_TOLERANCE = 300 * SECOND


@kernel
def relevant(event: Any) -> bool:
    """Tell whether the call proves a key."""
    if int(event["key_id"]) == 0:
        return False
    return int(event["verdict"]) == VERIFIED or int(event["signature_ok"]) == 1


@kernel
def short_tag(event: Any) -> int:
    """Return the event's key as 1 to 32,767."""
    return novelty.tag(int(event["key_id"])) % guard.INT16_MAX + 1


@kernel
def slot_of(a: Any, tag: int) -> int:
    """Return where a key stands, -1 where it is not known."""
    for k in range(KEYS):
        if int(a["key"][k]) == tag:
            return k
    return -1


@kernel
def endpoint_bit(event: Any) -> int:
    """Return the endpoint as one of 15 bits."""
    return 1 << (novelty.tag(int(event["endpoint"])) % 15)


@kernel
def overlap_end(a: Any, event: Any, params: Any) -> int:
    """Return until when the last rotation's old keys may be used, microseconds."""
    least = int(float(params["least_overlap_s"]) * SECOND)
    return int(a["rotated"]) * MINUTE + max(int(event["overlap"]), least)


@kernel
def pause_of(a: Any, k: int) -> int:
    """Return the uses of other keys since the key's last one."""
    return max(int(a["n"]) - int(a["last"][k]), 0)


@kernel
def is_replaced(a: Any, k: int, event: Any, params: Any) -> bool:
    """Tell whether a rotation seen in the stream has ended the key's use."""
    state = int(a["state"][k])
    if state == RETIRED:
        return True
    if state == FRESH or int(a["rotated"]) == 0 or int(a["uses"][k]) < ESTABLISHED:
        return False
    if int(a["churn"]) >= CHURNING or int(event["t"]) < overlap_end(a, event, params):
        return False
    pause = pause_of(a, k)
    if pause < float(params["least_pause"]) + 3.0 * int(a["pause"][k]):
        return False
    if int(a["span"][k]) < min(pause, guard.INT16_MAX):
        return False  # too short a use to tell an end of it from a pause
    for j in range(KEYS):
        taken_over = int(a["state"][j]) == FRESH and int(a["uses"][j]) >= ESTABLISHED
        if taken_over and int(a["where"][j]) & int(a["where"][k]) != 0:
            return True
    return False


@kernel
def step(a: Any, b: Any, event: Any, params: Any, out: Any) -> int:
    """Judge one proved use of a key."""
    if not relevant(event):
        return NOTHING
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        begin(a)
    k = slot_of(a, short_tag(event))
    if int(event["reason"]) == KEY_RETIRED:
        return judge_refused(a, b, k, event, params, out)
    if k >= 0 and is_replaced(a, k, event, params):
        return judge_old(a, b, k, event, params, out)
    if is_late(event):
        return NOTHING
    return learn(a, b, k, event, params, out)


@kernel
def begin(a: Any) -> None:
    """Forget what belonged to a closed incident."""
    a["calls"] = 0
    a["accepted"] = 0
    a["abroad"] = 0
    a["since"] = 0
    a["reason"] = 0
    a["severity"] = 0
    a["due"] = 0


@kernel
def is_late(event: Any) -> bool:
    """Tell whether the signature was made earlier: it says nothing of the key's use now."""
    signed = int(event["signed_at"])
    tolerance = max(int(event["tolerance"]), DEFAULT_TOLERANCE)
    if signed != 0 and int(event["t"]) - signed > tolerance:
        return True
    return int(event["repeats"]) > 0 and int(event["freshness"]) != PER_ATTEMPT


@kernel
def is_abroad(a: Any, b: Any, event: Any) -> bool:
    """Tell whether the sender, which keeps to its networks, never proved a live key here."""
    if int(event["in_range"]) == 1 or int(b["proved"]) >= HOME_FROM:
        return False
    age = int(event["age"])
    if int(event["policy"]) == CHANGING or int(a["homes"]) == 0 or age < FIRST_DAYS:
        return False
    days = guard.clip(float(age - FIRST_DAYS) / DAY, 1.0, 365.0)
    return int(a["moves"]) <= max(NETWORKS_PER_DAY * days, 3.0)


@kernel
def learn(a: Any, b: Any, k: int, event: Any, params: Any, out: Any) -> int:
    """Learn a use of a live key; see rotations begin, and stall."""
    if k < 0:
        k = admit(a, event, params)
    else:
        pause = pause_of(a, k)
        a["pause"][k] = min(max(int(a["pause"][k]), pause), guard.INT16_MAX)
        a["span"][k] = min(max(int(a["span"][k]), 0) + pause + 1, guard.INT16_MAX)
    a["n"] = guard.count_up(int(a["n"]))
    a["last"][k] = int(a["n"])
    a["uses"][k] = min(int(a["uses"][k]) + 1, 100)
    a["where"][k] = int(a["where"][k]) | endpoint_bit(event)
    if int(b["proved"]) < HOME_FROM:
        b["proved"] = int(b["proved"]) + 1
        if int(b["proved"]) == HOME_FROM:
            a["homes"] = 1
            if int(event["age"]) >= FIRST_DAYS and int(event["in_range"]) != 1:
                a["moves"] = guard.count_up16(int(a["moves"]))
    if int(a["rotated"]) == 0 or int(a["churn"]) >= CHURNING:
        return NOTHING
    known = int(event["age"]) >= WEEK  # before, all of a sender's keys are new
    if known and int(a["state"][k]) == FRESH and int(a["uses"][k]) == TELL_AT:
        return report(a, k, event, params, out, STARTED, INFO)
    return watch(a, k, event, params, out)


@kernel
def admit(a: Any, event: Any, params: Any) -> int:
    """Give a key that is not known the place that was used longest ago; begin a rotation."""
    k = 0
    bit = endpoint_bit(event)
    rotates = False
    for j in range(KEYS):
        if int(a["last"][j]) < int(a["last"][k]):
            k = j
        own = int(a["uses"][j]) >= ESTABLISHED and int(a["state"][j]) != RETIRED
        if own and int(a["where"][j]) & bit != 0:
            rotates = True
    if rotates:
        rotate(a, event, params)
    a["key"][k] = short_tag(event)
    a["pause"][k] = 0
    a["span"][k] = 0
    a["where"][k] = 0
    a["uses"][k] = 0
    a["state"][k] = FRESH if rotates else 0
    return k


@kernel
def retire(a: Any, event: Any, params: Any) -> None:
    """Mark the keys that the last rotation has replaced: later nobody could tell."""
    for j in range(KEYS):
        if is_replaced(a, j, event, params):
            a["state"][j] = RETIRED


@kernel
def rotate(a: Any, event: Any, params: Any) -> None:
    """Note that a key begins to replace another; more within the overlap are the same rotation."""
    t = int(event["t"])
    if int(a["rotated"]) != 0:
        if t < overlap_end(a, event, params):
            return
        soon = t - int(a["rotated"]) * MINUTE < float(params["churn_days"]) * DAY
        a["churn"] = min(int(a["churn"]) + 1, 100) if soon else max(int(a["churn"]) - 1, 0)
    retire(a, event, params)
    live = 0
    for j in range(KEYS):
        if int(a["state"][j]) == FRESH:
            a["state"][j] = 0
        if int(a["state"][j]) == 0 and int(a["uses"][j]) > 0:
            live += 1
    a["rotated"] = minute_of(t)
    days = guard.clip(float(int(event["age"])) / DAY, 1.0 / 24.0, 365.0)
    a["rate"] = packed.level(int(a["n"]) / days)
    a["by_old"] = 0
    a["by_new"] = 0
    a["judged"] = 0 if live == 1 else 1  # with several it is not known which of them ends


@kernel
def watch(a: Any, k: int, event: Any, params: Any, out: Any) -> int:
    """Count the uses after the overlap; a day later tell whether the rotation has stalled."""
    t = int(event["t"])
    ended = overlap_end(a, event, params)
    if t < ended:
        return NOTHING
    if int(a["state"][k]) == FRESH:
        a["by_new"] = guard.count_up(int(a["by_new"]))
        uses = int(a["by_new"])
        if uses >= ESTABLISHED and uses & (uses - 1) == 0:
            retire(a, event, params)  # at 16, 32, 64 and so on
        return NOTHING
    a["by_old"] = guard.count_up(int(a["by_old"]))
    if int(a["opened_at"]) != 0 and int(a["reason"]) == STALLED:
        return report(a, k, event, params, out, STALLED, LOW)
    old = int(a["by_old"])
    if int(a["judged"]) != 0 or t < ended + DAY or old < ESTABLISHED:
        return NOTHING
    a["judged"] = 1
    days = float(t - ended) / DAY
    fewer = old <= float(params["stalled_share"]) * packed.unlevel(int(a["rate"])) * days
    if fewer and int(a["by_new"]) >= old:
        return report(a, k, event, params, out, STALLED, LOW)
    return NOTHING


@kernel
def judge_refused(a: Any, b: Any, k: int, event: Any, params: Any, out: Any) -> int:
    """Judge a call under a key that its receiver has retired, signed rightly."""
    if k >= 0 and not is_abroad(a, b, event) and int(a["state"][k]) != RETIRED:
        t = int(event["t"])
        if pause_of(a, k) < float(params["least_pause"]):
            if int(a["calls"]) == 0 and t - int(a["since"]) * MINUTE > WEEK:
                a["since"] = minute_of(t)  # the sender has yet to change over
            least = int(float(params["least_overlap_s"]) * SECOND)
            if t < int(a["since"]) * MINUTE + max(int(event["overlap"]), least):
                return NOTHING
        elif int(a["rotated"]) != 0 and t < overlap_end(a, event, params):
            return NOTHING
    return judge_old(a, b, k, event, params, out)


@kernel
def judge_old(a: Any, b: Any, k: int, event: Any, params: Any, out: Any) -> int:
    """Judge a use of an old key by the network that it comes from."""
    t = int(event["t"])
    abroad = is_abroad(a, b, event)
    if not abroad and is_late(event):
        return NOTHING
    if int(a["opened_at"]) == 0 and t - int(a["since"]) * MINUTE > WEEK:
        a["calls"] = 0
        a["accepted"] = 0
    if int(a["calls"]) == 0:
        a["since"] = minute_of(t)
    if k >= 0:
        a["state"][k] = RETIRED
    a["calls"] = guard.count_up(int(a["calls"]))
    if int(event["verdict"]) == VERIFIED:
        a["accepted"] = guard.count_up16(int(a["accepted"]))
    if abroad:
        a["abroad"] = guard.count_up16(int(a["abroad"]))
        grave = MEDIUM if int(event["believed"]) == UNTRUSTED_HEADER else HIGH
        return report(a, k, event, params, out, ABROAD, grave)
    calls = int(a["calls"])
    if calls < float(params["least_calls"]) and int(a["severity"]) < LOW:
        return NOTHING
    severity = MEDIUM if calls >= float(params["many_calls"]) else LOW
    return report(a, k, event, params, out, OLD_KEY, severity)


@kernel
def report(a: Any, k: int, event: Any, params: Any, out: Any, reason: int, severity: int) -> int:
    """Open the incident or add to it, and fill the evidence; the graver reason stays."""
    t = int(event["t"])
    first = int(a["since"]) if reason <= ABROAD else int(a["rotated"])
    calls = int(a["calls"]) if reason <= ABROAD else int(a["by_old"])
    pause = usual_pause(first * MINUTE, t, calls)
    until = t + linger(pause, float(params["close_after_s"]))
    if reason == STARTED:
        until = overlap_end(a, event, params) + DAY + HOUR
    elif int(a["opened_at"]) == 0 or int(a["reason"]) == STARTED:
        wake_at(a, t + WEEK)
    code = tell(a, 0, t, until, reason, severity, WARM_EVENTS, out)  # nothing is learned
    reason = int(a["reason"])
    key_calls = max(int(a["calls"]), 1)
    if reason == STALLED:
        key_calls = max(int(a["by_old"]), 1)
    elif reason == STARTED:
        key_calls = TELL_AT
    out["count"] = key_calls
    since = int(a["since"]) if reason <= ABROAD else int(a["rotated"])
    out["since"] = max(since - 1, 0) * MINUTE
    weight = 10.0 + 15.0 * int(a["severity"])
    out["score"] = guard.clip(weight + 5.0 * guard.log(1.0 + key_calls), 0.0, 100.0)
    out["confidence"] = 0.9 if int(event["reason"]) == KEY_RETIRED else 0.8
    out["calls"] = key_calls
    out["accepted"] = int(a["accepted"])
    out["from_new_networks"] = int(a["abroad"])
    out["under_other_keys"] = pause_of(a, k) if k >= 0 else 0
    out["since_rotation"] = 0.0
    if int(a["rotated"]) != 0:
        out["since_rotation"] = max(t - int(a["rotated"]) * MINUTE, 0) / 1e6
    out["overlap"] = max(float(int(event["overlap"])) / 1e6, float(params["least_overlap_s"]))
    both = int(a["by_old"]) + int(a["by_new"])
    out["old_share"] = guard.ratio(float(int(a["by_old"])), float(both), 0.0)
    return code


@kernel
def timer(a: Any, due: int, params: Any, out: Any) -> int:
    """Close an incident that ended; after a week of use by the sender itself, take it as usual."""
    if is_due(a, due):
        a["due"] = 0
        if asks_again(a, due):
            return NOTHING
        if int(a["opened_at"]) != 0 and int(a["abroad"]) == 0:
            release(a)
            return ADOPTED
    return expire(a, due, params, out)


@kernel
def release(a: Any) -> None:
    """Take the use of old keys as usual."""
    for k in range(KEYS):
        if int(a["state"][k]) == RETIRED:
            a["state"][k] = 0
            a["pause"][k] = guard.INT16_MAX
    a["judged"] = 1
    close(a)


TABLES = (Table(("sender",), ROW, timer, release), Table(("sender", "source"), NETWORK))


def explain(found: Found) -> Explanation:
    """Say which rule of the rotation was broken, and how much came under the old key."""
    units = dict(EVIDENCE)
    calls = format_count(found.count, "call")
    others = format_number(found.evidence["under_other_keys"])
    since = format_duration(found.evidence["since_rotation"])
    overlap = format_duration(found.evidence["overlap"])
    expected = found.quantities("overlap", units=units)
    if found.reason == "rotation_started":
        return Explanation(
            f"{found.sender}: a key that was never seen before signs calls beside the one in use; "
            f"old keys have {overlap} from its first use",
            expected,
            found.quantities("calls", "since_rotation", units=units),
        )
    if found.reason == "rotation_stalled":
        return Explanation(
            f"{found.sender}: {since} after its rotation began, "
            f"{format_share(found.evidence['old_share'])} of the calls still come under the old "
            f"key, where {overlap} of overlap are usual",
            expected,
            found.quantities("calls", "old_share", "since_rotation", units=units),
        )
    taken = "none" if found.evidence["accepted"] == 0 else format_number(found.evidence["accepted"])
    rotated = f", {since} after the rotation" if found.evidence["since_rotation"] > 0 else ""
    rest = (
        f", and {others} calls under other keys" if found.evidence["under_other_keys"] > 0 else ""
    )
    where = (
        "from networks where it never used a live key: a leaked key until shown otherwise"
        if found.reason == "old_key_new_network"
        else "from its own networks: a machine that missed the rotation"
    )
    return Explanation(
        f"{found.sender}: {calls} rightly signed with a retired key{rotated}{rest}; {taken} "
        f"accepted; {where}",
        expected | {"calls": Quantity(0.0, "events")},
        found.quantities(
            "calls",
            "accepted",
            "from_new_networks",
            "under_other_keys",
            "since_rotation",
            units=units,
        ),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell how many keys are known; nothing needs a warm-up."""
    keys = sum(int(uses) > 0 for uses in row["uses"])
    retired = sum(int(state) == RETIRED for state in row["state"])
    return Baseline("-", {"keys": Quantity(keys), "retired_keys": Quantity(retired)})
