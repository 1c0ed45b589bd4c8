"""The learned model finds a window of a sender's calls unlike its history and unlike its peers.

A window is an hour, or as many hours as ten accepted calls take (``models.features``). Ten numbers
of it are each measured in the sender's own usual deviations: pace, share of failures, size and
spread of sizes, share of calls from new networks, of new clients and of new event types, repeats,
time to answer, unevenness of the pauses. An isolation forest (``models.forest``), trained offline
on windows of many senders (``callwatch train``), says how unlike all of them these ten are
together. So several small changes at once are seen, each of which is within the bounds of its own
detector.

A window is an outlier where its score reaches the model's limit (peers) and lies
``own_deviations`` above the sender's own usual score (history): a sender that is always odd is
usual for itself. What was an outlier is learned neither by the numbers nor by the score. After
``adopt_days`` of one incident the sender's new behaviour is taken as usual and learned afresh.

The finding is an info; a low from the third outlier in a row on. It is never more: a model says
that something is unlike the rest, not that it is bad. The alert names the three numbers that are
furthest off.

Without a model (``model`` in the configuration) the detector does not run, and costs nothing; with
the first one it begins to learn usual numbers. Windows of a sender whose migration, maintenance,
backfill or campaign was announced stay infos.

Known gaps: a change within the first ``history_windows`` windows of a sender, or slower than a week
or two, is learned; daily courses widen the usual deviation of the pace; a sender with fewer than
ten calls a week has no windows; rejected calls count as failures and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.alert import Quantity
from alerts.explain import format_count, format_quantity
from detectors.base import (
    ADOPTED,
    FINDING,
    INFO,
    JUDGING,
    LOW,
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
    param,
    tell,
    wake_at,
    warmth,
)
from detectors.event import DAY, HOUR, MINUTE, REJECTED
from models import features, forest, guard, novelty
from models.forest import example_model  # noqa: F401 -- for the checks
from models.guard import real
from models.kernel import kernel

ID = "behaviour-outlier"
REASONS = ("outlier",)
MODEL = forest.MODEL
"""What step and timer take as ``model``; a configuration names the file."""

EVIDENCE = (
    ("isolation", ""),
    ("limit", ""),
    ("usual_isolation", ""),
    ("calls", "events"),
    ("hours", "hours"),
    *((name, "deviations") for name in features.NAMES),
    ("first_seen", ""),
    ("first_usual", ""),
    ("second_seen", ""),
    ("second_usual", ""),
    ("third_seen", ""),
    ("third_usual", ""),
)

SENDER = np.dtype(
    [
        *JUDGING,  # due = end of the hour
        *features.FIELDS,
        ("usual", "i2"),  # score of its windows, in 1/30,000
        ("spread", "i2"),  # and its deviation
        ("scored", "i1"),  # windows behind them
        ("in_row", "i1"),  # outliers without a usual window between
        *TOLD,
        ("told", "i4"),  # calls of the incident
    ]
)


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    least_calls: float = param(
        10.0, unit="events", low=4.0, high=1000.0, why="a share of fewer calls is mostly chance"
    )
    history_windows: float = param(
        48.0, unit="windows", low=12.0, high=10_000.0,
        why="two days of hours show a night, a day, and how both vary",
    )  # fmt: skip
    margin: float = param(
        0.0, unit="score", low=-0.2, high=0.5,
        why="added to the model's limit, which was set for a stated share of false outliers",
    )  # fmt: skip
    own_deviations: float = param(
        4.0, unit="deviations", low=0.0, high=20.0, why="beyond what its own windows ever score"
    )
    row_for_low: float = param(
        3.0, unit="windows", low=1.0, high=100.0, why="chance brings no three outliers in a row"
    )
    adopt_days: float = param(
        7.0, unit="days", low=1.0, high=60.0, why="as long as every level takes to be adopted"
    )
    close_after_s: float = param(
        10_800.0, unit="s", low=3600.0, high=7 * 86400.0, why="two usual hours end it"
    )


POOLED_MINUTES = 7 * 24 * 60
"""A window that has too few calls after so long is forgotten."""
SCORES = 30_000.0
OWN_WINDOWS = 12
"""Scored windows before a sender's own usual score counts."""
FIRST_SPREAD, LEAST_SPREAD = 0.04, 0.01
OWN_MEMORY = 100.0


@kernel
def step(a: Any, event: Any, params: Any, model: Any, out: Any) -> int:  # noqa: ARG001 -- the timer judges
    """Count one call in the sender's window."""
    t = int(event["t"])
    if int(event["verdict"]) == REJECTED:
        if int(a["due"]) != 0:
            features.add_failure(a)
        return NOTHING
    if int(a["due"]) == 0:
        end = t - t % HOUR + HOUR
        wake_at(a, end)
        features.begin(a, (end - t + MINUTE - 1) // MINUTE)
        a["last_at"] = 0
    features.add(
        a,
        guard.clip(float(event["weight"]), 1.0, 1e6),
        float(int(event["body_bytes"])),
        float(event["duration_ms"]),
        (t - int(a["due"]) * MINUTE) // 1000,
        novelty.short_tag(int(event["source"])),
        novelty.short_tag(int(event["client"])),
        novelty.short_tag(int(event["event_type"])),
        int(event["repeats"]),
    )
    return NOTHING


@kernel
def sender_timer(a: Any, due: int, params: Any, model: Any, out: Any) -> int:
    """Judge the window at the end of an hour, let it go on for another one, or rest."""
    if not is_due(a, due):
        return expire(a, due, params, out)
    code = NOTHING
    quiet = int(a["good"]) <= 0  # calls that were rejected keep no window open
    if int(a["good"]) >= int(float(params["least_calls"])):
        code = judge(a, due, params, model, out)
        features.begin(a, 0)
    elif int(a["minutes"]) >= POOLED_MINUTES:
        features.begin(a, 0)
    if quiet:
        a["due"] = 0  # no timer runs until the next call
    else:
        wake_at(a, due + HOUR)
        features.prolong(a, 60)
    return code


@kernel
def judge(a: Any, due: int, params: Any, model: Any, out: Any) -> int:
    """Judge a window; learn it where it is usual."""
    numbers = features.measure(a)
    trees = int(model["trees"])
    known = int(a["windows"]) >= int(float(params["history_windows"]))
    if trees == 0 or not known:
        features.learn(a, numbers)
        return NOTHING
    off = features.deviations(a, numbers)
    if trees < 0:  # COLLECT: a model is being trained
        fill(a, due, numbers, off, out)
        out["reason"] = 1
        out["severity"] = INFO
        features.learn(a, numbers)
        return FINDING
    score = forest.score(features.oddities(off), model)
    usual = int(a["usual"]) / SCORES
    spread = max(int(a["spread"]) / SCORES, LEAST_SPREAD)
    limit = real(model["limit"]) + float(params["margin"])
    own = usual + float(params["own_deviations"]) * spread
    if int(a["scored"]) < OWN_WINDOWS or score < limit or score < own:
        learn_score(a, score)
        a["in_row"] = 0
        features.learn(a, numbers)
        return NOTHING
    if int(a["opened_at"]) == 0:
        a["reason"] = 0
        a["severity"] = 0
        a["told"] = 0
    elif due - int(a["opened_at"]) * MINUTE >= int(float(params["adopt_days"]) * DAY):
        close(a)
        a["windows"] = 0
        a["scored"] = 0
        a["in_row"] = 0
        features.learn(a, numbers)
        return ADOPTED
    a["in_row"] = min(max(int(a["in_row"]), 0) + 1, 100)
    a["told"] = min(max(int(a["told"]), 0) + max(int(a["good"]), 0), guard.INT32_MAX)
    fill(a, due, numbers, off, out)
    out["isolation"] = score
    out["usual_isolation"] = usual
    beyond = score - max(limit, own)
    out["limit"] = score - beyond
    out["score"] = guard.clip(15.0 + 100.0 * beyond, 15.0, 45.0)
    severity = LOW if int(a["in_row"]) >= int(float(params["row_for_low"])) else INFO
    severity = max(min(severity, int(model["gravest"])), INFO)
    length = max(int(a["minutes"]), 1) * MINUTE
    until = due + max(int(float(params["close_after_s"]) * 1e6), 3 * length)
    return tell(a, 0, due, until, 1, severity, WARM_EVENTS, out)


@kernel
def learn_score(a: Any, score: float) -> None:
    """Learn what the sender's windows usually score."""
    n = max(int(a["scored"]), 0)
    if n == 0:
        a["usual"] = int(guard.clip(score, 0.0, 1.0) * SCORES)
        a["spread"] = int(FIRST_SPREAD * SCORES)
    else:
        rate = 1.0 / min(n + 1.0, OWN_MEMORY)
        usual = int(a["usual"]) / SCORES
        spread = max(int(a["spread"]) / SCORES, LEAST_SPREAD)
        off = guard.clip(score - usual, -4.0 * spread, 4.0 * spread)
        a["usual"] = int(guard.clip(usual + rate * off, 0.0, 1.0) * SCORES + 0.5)
        more = rate * (features.PER_MAD * abs(off) - spread)
        a["spread"] = int(guard.clip(spread + more, 0.0, 1.0) * SCORES + 0.5)
    a["scored"] = min(n + 1, int(OWN_MEMORY))


@kernel
def fill(a: Any, due: int, numbers: features.Numbers, off: features.Numbers, out: Any) -> None:
    """Fill what the window was like: all deviations, and the three that are furthest off."""
    minutes = max(int(a["minutes"]), 1)
    out["count"] = max(int(a["told"]), int(a["good"]), 1)
    out["since"] = due - minutes * MINUTE
    out["score"] = 15.0
    out["confidence"] = guard.clip(0.2 + int(a["windows"]) / 1000.0, 0.2, 0.6)
    out["calls"] = guard.small(real(a["calls"]))
    out["hours"] = minutes / 60.0
    out["pace"] = off[0]
    out["failures"] = off[1]
    out["size"] = off[2]
    out["size_spread"] = off[3]
    out["new_networks"] = off[4]
    out["repeats"] = off[5]
    out["new_clients"] = off[6]
    out["new_types"] = off[7]
    out["duration"] = off[8]
    out["unevenness"] = off[9]
    first = furthest(off, -1, -1)
    second = furthest(off, first, -1)
    third = furthest(off, first, second)
    out["first_seen"] = guard.small(numbers[first])
    out["first_usual"] = int(a["means"][first]) / features.STEP
    out["second_seen"] = guard.small(numbers[second])
    out["second_usual"] = int(a["means"][second]) / features.STEP
    out["third_seen"] = guard.small(numbers[third])
    out["third_usual"] = int(a["means"][third]) / features.STEP


@kernel
def furthest(off: features.Numbers, but: int, nor: int) -> int:
    """Return which number is furthest off, two of them left out; the first of equals."""
    best, which = -1.0, 0
    for i in range(features.COUNT):
        if i != but and i != nor and abs(off[i]) > best:
            best = abs(off[i])
            which = i
    return which


TABLES = (Table(("sender",), SENDER, sender_timer),)


def ranked(evidence: Mapping[str, float]) -> list[str]:
    """Return the three numbers that are furthest off, as the step ranks them."""
    return sorted(features.NAMES, key=lambda name: -abs(evidence[name]))[:3]


WORDS = {
    "pace": "calls",
    "failures": "of the calls rejected",
    "size": "of typical payload",
    "size_spread": "spread of log sizes",
    "new_networks": "of the calls from networks that are new lately",
    "repeats": "of the calls repeated",
    "new_clients": "of the calls from clients that are new lately",
    "new_types": "of the calls of event types that are new lately",
    "duration": "to answer",
    "unevenness": "unevenness of pauses",
}
SHARES = ("failures", "new_networks", "repeats", "new_clients", "new_types")


def natural(name: str, x: float) -> Quantity:
    """Return a number of a window as a person would measure it.

    >>> natural("failures", 0.5), natural("duration", 0.0)
    (Quantity(value=0.25, unit='share'), Quantity(value=0.0, unit='s'))
    """
    if name in SHARES:
        return Quantity(value=round(min(max(x, 0.0), 1.0) ** 2, 6), unit="share")
    x = min(max(x, -16.0), 28.0)
    if name == "pace":
        return Quantity(value=round(float(np.exp(x)), 3), unit="1/h")
    if name == "size":
        return Quantity(value=round(max(float(np.exp(x)) - 1.0, 0.0), 1), unit="bytes")
    if name == "size_spread":
        return Quantity(value=round(max(float(np.exp(x)) - 0.05, 0.0), 4), unit="")
    if name == "duration":
        return Quantity(value=round(max(float(np.exp(x)) - 1.0, 0.0) / 1000.0, 6), unit="s")
    return Quantity(value=round(x, 4), unit="")


def explain(found: Found) -> Explanation:
    """Name the three numbers that are furthest off, as they are and as they usually are."""
    expected, observed, parts = {}, {}, []
    for name, place in zip(ranked(found.evidence), ("first", "second", "third"), strict=True):
        seen = natural(name, found.evidence[f"{place}_seen"])
        usual = natural(name, found.evidence[f"{place}_usual"])
        expected[name], observed[name] = usual, seen
        is_, was = (format_quantity(float(one.value), one.unit) for one in (seen, usual))
        parts.append(f"{is_} {WORDS[name]} (usually {was})")
    expected["isolation"] = Quantity(value=found.evidence["limit"])
    observed["isolation"] = Quantity(value=found.evidence["isolation"])
    observed["calls"] = Quantity(value=found.evidence["calls"], unit="events")
    observed["hours"] = Quantity(value=found.evidence["hours"], unit="hours")
    calls = format_count(int(found.evidence["calls"]), "call")
    return Explanation(
        summary=f"{found.sender}: {calls} unlike its own and other senders' windows: "
        + "; ".join(parts),
        expected=expected,
        observed=observed,
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Tell the usual pace and share of failures, and what its windows usually score."""
    windows = int(row["windows"])
    known = {"windows": Quantity(value=float(windows))}
    if windows > 0:
        for name in ("pace", "failures"):
            mean = int(row["means"][features.NAMES.index(name)]) / features.STEP
            known[f"usual_{name}"] = natural(name, mean)
    if int(row["scored"]) > 0:
        known["usual_isolation"] = Quantity(value=int(row["usual"]) / SCORES)
    return Baseline(warmth(float(windows), Params().history_windows, features.MEMORY), known)
