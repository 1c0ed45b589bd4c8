"""One source tries many endpoints, or many sender names, and is turned away.

It looks at what several senders share, so it sees the calls that partitions pass on
(``detectors.observer``): rejected ones without a right signature, from networks where the sender
that they name has never verified. A provider whose calls all fail after a deploy is none of those.

Two windows, each with its count of distinct paths and of distinct names (``models.distinct``): ten
minutes for a scan, a day for a slow one. A scan of paths is what every server on the internet sees,
so it is low, and medium only when it is long; naming many senders takes knowledge, so that is
medium.

Reasons: *endpoint_enumeration*, *sender_enumeration*.

Known gaps: a search that is spread over many networks is many searches, each of them perhaps too
small; more than 64 different attempts of one network in five minutes are not looked at; browsers
that fail at redirect callbacks are left out.

>>> from models.distinct import add, estimate
>>> round(estimate(add(add(0, 3), 4)))
2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.explain import format_count, format_duration
from detectors.base import (
    CONTRIBUTES,
    FINDING,
    INCIDENT,
    LOW,
    MEDIUM,
    NOTHING,
    Baseline,
    Explanation,
    Found,
    Table,
    expire,
    hold,
    minute_of,
    param,
)
from detectors.event import REJECTED
from models import distinct, guard
from models.kernel import kernel

ID = "endpoint-probe"
REASONS = ("endpoint_enumeration", "sender_enumeration")
ENDPOINTS, SENDERS = 1, 2
EVIDENCE = (
    ("attempts", "events"),
    ("paths", "paths"),
    ("senders", "senders"),
    ("limit", "distinct"),
)

ROW = np.dtype(
    [
        *INCIDENT,
        ("since", "i8"),  # first attempt of the run
        ("fast_at", "i4"),  # minute in which the short window began
        ("slow_at", "i4"),  # and the long one
        ("fast_paths", "i8"),  # bits of distinct counts
        ("fast_senders", "i8"),
        ("slow_paths", "i8"),
        ("slow_senders", "i8"),
        ("attempts", "i4"),  # of the long window
        ("reason", "i1"),
        ("severity", "i1"),
    ]
)


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    fast_distinct: float = param(
        10.0, unit="distinct", low=3, high=100,
        why="an integrator tries a few paths and names, not ten in ten minutes",
    )  # fmt: skip
    slow_distinct: float = param(
        20.0, unit="distinct", low=3, high=200,
        why="a day of one network's wrong calls names a handful of paths",
    )  # fmt: skip
    fast_minutes: float = param(10.0, unit="min", low=1, high=240, why="a scan takes minutes")
    many_paths: float = param(
        40.0, unit="distinct", low=10, high=200, why="beyond the lists of common scanners"
    )
    close_after_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="longer than the pauses of a scan"
    )


SLOW_MINUTES = 1440


@kernel
def relevant(event: Any) -> bool:
    """Look at rejected calls only."""
    return int(event["verdict"]) == REJECTED


@kernel
def step(a: Any, event: Any, params: Any, out: Any) -> int:
    """Count what one more rejected call has tried."""
    t = int(event["t"])
    minute = minute_of(t)
    if int(a["opened_at"]) == 0 and int(a["reason"]) != 0:
        begin_slow(a, t)
        begin_fast(a, minute)
    if int(a["opened_at"]) == 0 and minute - int(a["fast_at"]) >= float(params["fast_minutes"]):
        begin_fast(a, minute)
    if int(a["opened_at"]) == 0 and minute - int(a["slow_at"]) >= SLOW_MINUTES:
        begin_slow(a, t)
    path, sender = int(event["path"]), int(event["sender"])
    a["fast_paths"] = distinct.add(int(a["fast_paths"]), path)
    a["slow_paths"] = distinct.add(int(a["slow_paths"]), path)
    if sender != 0:
        a["fast_senders"] = distinct.add(int(a["fast_senders"]), sender)
        a["slow_senders"] = distinct.add(int(a["slow_senders"]), sender)
    a["attempts"] = guard.count_up(int(a["attempts"]))
    return judge(a, t, params, out)


@kernel
def begin_fast(a: Any, minute: int) -> None:
    """Begin a new short window."""
    a["fast_at"] = minute
    a["fast_paths"] = 0
    a["fast_senders"] = 0


@kernel
def begin_slow(a: Any, t: int) -> None:
    """Begin a new long window."""
    a["slow_at"] = minute_of(t)
    a["slow_paths"] = 0
    a["slow_senders"] = 0
    a["attempts"] = 0
    a["since"] = t
    a["reason"] = 0
    a["severity"] = 0


@kernel
def judge(a: Any, t: int, params: Any, out: Any) -> int:
    """Find a search, or add to it."""
    fast, slow = float(params["fast_distinct"]), float(params["slow_distinct"])
    paths = distinct.estimate(int(a["slow_paths"]))
    senders = distinct.estimate(int(a["slow_senders"]))
    by_sender = distinct.estimate(int(a["fast_senders"])) >= fast or senders >= slow
    by_path = distinct.estimate(int(a["fast_paths"])) >= fast or paths >= slow
    opening = int(a["opened_at"]) == 0
    if opening and not (by_sender or by_path):
        return NOTHING
    severity = LOW
    reason = ENDPOINTS
    if by_sender or int(a["reason"]) == SENDERS:
        reason = SENDERS
    if reason == SENDERS or paths >= float(params["many_paths"]):
        severity = MEDIUM
    severity = max(severity, int(a["severity"]))
    changed = opening or reason != int(a["reason"]) or severity > int(a["severity"])
    a["reason"] = reason
    a["severity"] = severity
    hold(a, t, t + int(float(params["close_after_s"]) * 1e6))
    attempts = int(a["attempts"])
    out["reason"] = reason
    out["severity"] = severity
    out["table"] = 0
    out["count"] = attempts
    out["since"] = int(a["since"])
    out["score"] = guard.clip(20.0 + 10.0 * guard.log(1.0 + max(paths, senders)), 0.0, 100.0)
    out["confidence"] = 0.9
    out["attempts"] = attempts
    out["paths"] = paths
    out["senders"] = senders
    out["limit"] = fast
    return FINDING if changed else CONTRIBUTES


TABLES = (Table(("source",), ROW, expire),)


def explain(found: Found) -> Explanation:
    """Say what the source has tried."""
    units = dict(EVIDENCE)
    paths = format_count(round(found.evidence["paths"]), "path")
    senders = format_count(round(found.evidence["senders"]), "sender name")
    span = format_duration(found.seconds)
    return Explanation(
        summary=(
            f"{found.source}: tried about {paths} and {senders} in {span}, "
            f"{format_count(found.count, 'call')} looked at, all rejected"
        ),
        expected=found.quantities("limit", units=units),
        observed=found.quantities("attempts", "paths", "senders", units=units),
    )


def baseline(row: Any, events: int, age_days: float) -> Baseline:  # noqa: ARG001
    """Nothing is learned: it works from the first call."""
    return Baseline("-", {})
