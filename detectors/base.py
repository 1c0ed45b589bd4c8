"""What a detector is: tables of fixed-size rows, one scalar step, and words for what it found.

A detector is a file in ``detectors/rules`` that defines

``ID``        its name in alerts, ``"replay-burst"``
``REASONS``   the reason codes, in the order of the numbers that the step writes (from 1)
``TABLES``    one to three ``Table``: key columns, row, timer
``Params``    a frozen dataclass of numbers (``param`` gives unit, range and why)
``LISTENS``   True where timers judge absence: they find in ``out["since"]`` since when the
              partition's stream has been heard without a pause; 0 = always (optional)
``EVIDENCE``  the named numbers that go with a finding: ``(name, unit)`` pairs
``step``      ``step(a[, b[, c]], event, params, out)``: rows, event and parameters in, code out
``relevant``  ``relevant(event) -> bool``, where most events are of no concern: those touch no row.
              Only rows of events that are relevant learn and have their timers renewed (optional)
``MODEL``     the record of a learned model, all zero where there is none: step and timers take it
              after ``params``; with it ``example_model()``, a small one for the checks (optional)
``explain``   ``explain(found) -> Explanation``: expected and observed, in words and numbers
``baseline``  ``baseline(row, events, age_days) -> Baseline``: what is known of a sender, from a row
              of the first table: cold, warming or warm, and the numbers that a person would ask for

``step`` answers NOTHING, CONTRIBUTES (this event belongs to the open incident) or FINDING (open an
incident, or tell more about the open one: another reason, a higher severity), and fills ``out``
only where it does not answer NOTHING. It sets and obeys the freeze itself, because that must act on
the very next event. A table's ``timer(row, due, params, out)`` is called at the first tick that is
late enough after ``due`` or ``open_until``; it may also close the incident.

The row rules: rows hold numbers and short arrays, nothing else; every field is read through
``int()`` or ``float()``; logarithms, divisions and counters go through ``models.guard``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from alerts.alert import CloseReason, Quantity
from detectors.errors import ContractError
from detectors.event import DAY, MINUTE
from ingest.schema import CallbackEvent
from models import guard
from models.kernel import kernel

KEPT = 45 * DAY
"""A row whose key has not come for longer begins afresh."""
NOTHING = 0
CONTRIBUTES = 1
FINDING = 2
EXPIRED = 3
ADOPTED = 4
CHRONIC = 5
CONTRADICTED = 6
EVICTED = 7
CLOSE_REASONS: dict[int, CloseReason] = {
    EXPIRED: "expired",
    ADOPTED: "level_adopted",
    CHRONIC: "chronic",
    CONTRADICTED: "contradicted",
    EVICTED: "evicted",
}

INFO, LOW, MEDIUM, HIGH, CRITICAL = range(1, 6)

COLD_EVENTS = 30
WARM_EVENTS = 300
"""A share or rate is cold below 30 events and warm from 300."""

PASSING = ("unit", "delivery")
"""Last columns of keys whose rows pass (``detectors.passing``): they move, and have no timer."""

INCIDENT = [("opened_at", "i4"), ("open_until", "i4")]
"""First fields of a row that can hold an incident: minutes since 1970, 0 = none (timers fire at
full minutes only)."""
TIMERS = [*INCIDENT, ("due", "i4")]
"""First fields of a row that also waits for times of its own."""
JUDGING = [*TIMERS, ("who", "i4")]
"""First fields of a row whose timer finds something, or reads parameters: with the class of
parameters of its last event, which the walk writes. Other timers get those of class 0. The key of
such a table is the sender alone, by which a restore looks the class up (``detectors.renumber``)."""

PATIENCE = 9
"""Usual pauses after which an incident is over. Where events come at random, three pauses go by
without one after every 20th event, nine after every 8,000th."""

TOLD = [("reason", "i1"), ("severity", "i1")]
"""Fields of a row that ``tell`` keeps: what was told last; a new run begins by clearing them."""

OUT = [
    ("reason", "i8"),
    ("severity", "i8"),
    ("table", "i8"),  # whose row holds the incident
    ("count", "i8"),  # contributing events so far, those before the finding included
    ("since", "i8"),  # when the first of them came
    ("score", "f8"),  # 0..100
    ("confidence", "f8"),  # 0..1
]


@dataclass(frozen=True)
class Table:
    """Rows of a detector, one for each value of the key columns.

    Attributes:
        key: Columns of the event that make the key, the sender first. Where one of them is 0 there
            is no row: tables with ``kind`` in their key hold redirects only.
        row: The memory of one key.
        timer: ``timer(row, due, params, out) -> code``; where the row begins with INCIDENT, TIMERS
            or JUDGING.
    """

    key: tuple[str, ...]
    row: np.dtype[Any]
    timer: Callable[..., int] | None = None
    release: Callable[[Any], None] | None = None
    """``release(row)`` closes the row's incident where an analyst found it benign, and learns what
    may be learned; without it the incident is closed, and its run forgotten at the next event."""


@dataclass(frozen=True)
class Explanation:
    """What is written into the alert beside the numbers."""

    summary: str
    expected: Mapping[str, Quantity]
    observed: Mapping[str, Quantity]


@dataclass(frozen=True)
class Baseline:
    """What a detector knows of a sender."""

    state: str
    """``cold``, ``warming`` or ``warm``; ``-`` where nothing is learned."""
    numbers: Mapping[str, Quantity]


def warmth(evidence: float, cold: float = COLD_EVENTS, warm: float = WARM_EVENTS) -> str:
    """Return the state of a statistic with so much evidence.

    >>> warmth(29), warmth(30), warmth(300)
    ('cold', 'warming', 'warm')
    """
    if evidence < cold:
        return "cold"
    return "warm" if evidence >= warm else "warming"


@dataclass(frozen=True)
class Found:
    """What ``explain`` is given: the finding as the incident holds it now."""

    reason: str
    severity: int
    count: int
    sender: str
    source_count: int
    seconds: float
    """From the first contributing event to the last."""
    evidence: Mapping[str, float]
    event: CallbackEvent | None
    """The event that opened the incident; None where a timer did."""
    source: str = ""
    """The network, where there is just one."""
    key: tuple[str, ...] = ()
    """What the incident is about: the words of its key columns."""

    def quantities(self, *names: str, units: Mapping[str, str]) -> dict[str, Quantity]:
        """Return the named numbers of the evidence with their units."""
        return {name: Quantity(value=self.evidence[name], unit=units[name]) for name in names}


def param(default: float, *, unit: str, low: float, high: float, why: str, source: str = "") -> Any:
    """Declare a parameter: its default, unit, range, and why it is so."""
    return field(
        default=default,
        metadata={"unit": unit, "low": low, "high": high, "why": why, "source": source},
    )


@dataclass(frozen=True)
class Described:
    """What configuration, incidents and documents need of whatever can alert, a rule or not."""

    id: str
    reasons: tuple[str, ...]
    tables: tuple[Table, ...]
    params: type[Any]
    evidence: tuple[tuple[str, str], ...]
    explain: Callable[[Found], Explanation]
    module: ModuleType

    @property
    def is_learned(self) -> bool:
        """Whether the detector reads a learned model."""
        return hasattr(self.module, "MODEL")


@dataclass(frozen=True)
class Detector(Described):
    """A rule's file, read and checked."""

    step: Callable[..., int]
    baseline: Callable[[Any, int, float], Baseline]

    @property
    def is_shared(self) -> bool:
        """Whether it looks at something that several senders share: see ``detectors.shared``."""
        return self.tables[0].key[0] != "sender"

    @property
    def is_choosy(self) -> bool:
        """Whether the detector leaves events out before it looks at their rows."""
        return hasattr(self.module, "relevant")

    @property
    def listens(self) -> bool:
        """Whether its timers are told of the pauses of the stream, and of the row's ``service``."""
        return bool(getattr(self.module, "LISTENS", False))

    @property
    def out(self) -> np.dtype[Any]:
        """The record that the step fills: common fields, then the evidence."""
        return np.dtype([*OUT, *((name, "f8") for name, _ in self.evidence)])


def described_of(module: ModuleType) -> Described:
    """Read what is no rule, but alerts like one."""
    return Described(
        id=module.ID,
        reasons=tuple(module.REASONS),
        tables=(),
        params=module.Params,
        evidence=tuple(module.EVIDENCE),
        explain=module.explain,
        module=module,
    )


def detector_of(module: ModuleType) -> Detector:
    """Read a detector's file; ContractError says what is missing."""
    names = ("ID", "REASONS", "TABLES", "Params", "EVIDENCE", "step", "explain", "baseline")
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        msg = f"{module.__name__}: a detector defines {', '.join(names)}; missing: {missing}"
        raise ContractError(msg)
    for table in module.TABLES:
        if "who" in (table.row.names or ()) and table.key != ("sender",):
            key = "+".join(table.key)
            msg = f"{module.__name__}: JUDGING: allowed where the key is sender; given {key}"
            raise ContractError(msg)
    return Detector(
        id=module.ID,
        reasons=tuple(module.REASONS),
        tables=tuple(module.TABLES),
        params=module.Params,
        evidence=tuple(module.EVIDENCE),
        step=module.step,
        explain=module.explain,
        baseline=module.baseline,
        module=module,
    )


@kernel
def minute_of(t: int) -> int:
    """Return the first full minute at or after t, as a row holds it: never 0, within 32 bits."""
    minute = -((-t) // MINUTE)
    if minute > guard.INT32_MAX:
        return guard.INT32_MAX
    return max(minute, 1)


@kernel
def hold(row: Any, t: int, until: int) -> None:
    """Open the row's incident at t, or keep it open until later; microseconds."""
    if int(row["opened_at"]) == 0:
        row["opened_at"] = minute_of(t)
    row["open_until"] = max(minute_of(until), int(row["open_until"]))


@kernel
def wake_at(row: Any, t: int) -> None:
    """Set the row's timer, microseconds."""
    row["due"] = minute_of(t)


@kernel
def is_due(row: Any, t: int) -> bool:
    """Tell whether the row's own timer is set for t or earlier."""
    return int(row["due"]) != 0 and int(row["due"]) * MINUTE <= t


@kernel
def close(row: Any) -> None:
    """Forget the row's incident."""
    row["opened_at"] = 0
    row["open_until"] = 0


@kernel
def is_held(row: Any) -> bool:
    """Tell whether an analyst called the row's incident an attack: its level is not adopted.

    The sign of ``opened_at`` says so; where the time itself is used, take its ``abs``.
    """
    return int(row["opened_at"]) < 0


@kernel
def asks_again(row: Any, due: int) -> bool:
    """Tell whether the incident is held; then what was due is due again a day later."""
    if not is_held(row):
        return False
    wake_at(row, due + DAY)
    return True


@kernel
def expire(row: Any, due: int, params: Any, out: Any) -> int:  # noqa: ARG001 -- a timer's arguments
    """Close the row's incident when nothing has contributed for long enough: the usual timer."""
    if int(row["opened_at"]) != 0 and int(row["open_until"]) * MINUTE <= due:
        close(row)
        return EXPIRED
    return NOTHING


@kernel
def usual_pause(since: int, t: int, count: int) -> int:
    """Return the mean time between the ``count`` contributing events from ``since`` to t."""
    if since <= 0 or count < 2:
        return 0
    return max(t - since, 0) // (count - 1)


@kernel
def linger(pause: int, close_after_s: float) -> int:
    """Return how long an incident waits for more: ``close_after_s``, or PATIENCE usual pauses.

    ``pause`` is the usual time between the events that contribute, not between the sender's calls.
    """
    return max(int(close_after_s * 1e6), min(PATIENCE * pause, 7 * 86_400_000_000))


@kernel
def cap_by_warmth(severity: int, events: int) -> int:
    """Hold a learned finding at low while its statistic is cold, at medium while it is warming."""
    if events < COLD_EVENTS:
        return min(severity, LOW)
    if events < WARM_EVENTS:
        return min(severity, MEDIUM)
    return severity


@kernel
def tell(
    row: Any, table: int, t: int, until: int, reason: int, severity: int, known: int, out: Any
) -> int:
    """Open the row's incident at t or add to it, until ``until``; return the step's answer.

    The severity is capped by ``known``, the events behind the learned statistic (WARM_EVENTS where
    nothing is learned). What was graver stays, with its reason. Fills ``reason``, ``severity`` and
    ``table`` of ``out``; count, since, score, confidence and evidence are the detector's.
    The row has the fields INCIDENT and TOLD.
    """
    opening = int(row["opened_at"]) == 0
    hold(row, t, until)
    severity = cap_by_warmth(severity, known)
    if severity < int(row["severity"]):
        severity = int(row["severity"])
        reason = int(row["reason"])
    changed = opening or reason != int(row["reason"]) or severity > int(row["severity"])
    row["reason"] = reason
    row["severity"] = severity
    out["reason"] = reason
    out["severity"] = severity
    out["table"] = table
    return FINDING if changed else CONTRIBUTES


@kernel
def evidence_of(n: float) -> int:
    """Return a decayed number of events as a whole one, for the two below."""
    return int(guard.clip(n, 0.0, 1e9))


@kernel
def warmth_confidence(events: int) -> float:
    """Return how far a learned statistic can be trusted, 0.2 (no event) to 0.95 (1,000)."""
    return guard.clip(0.2 + 0.25 * guard.log(1.0 + events) / 2.302585092994046, 0.2, 0.95)
