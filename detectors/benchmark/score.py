"""Alerts against labels: what was caught and how fast, what stayed quiet, what nobody asked for.

An alert belongs to a label when it names the label's sender and was opened within its window.
Windows of attacks are longer by `GRACE`, for detectors that judge whole windows of time. An alert
that belongs to no label, or that its label does not allow, is unexpected: a false alert. Unexpected
alerts of low severity or above disturb a trap; of the detectors that a trap is about, any does.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from alerts.alert import Alert
from detectors.benchmark.labels import SEVERITIES, Allowed, Kind, Label

GRACE: Final = 3_600_000_000  # microseconds
_SECOND: Final = 1_000_000


class Outcome(StrEnum):
    """What became of a label; the first four are of attacks, the last two of traps."""

    CAUGHT = "caught"
    LATE = "late"
    MISNAMED = "misnamed"
    MISSED = "missed"
    QUIET = "quiet"
    DISTURBED = "disturbed"


@dataclass(frozen=True)
class Judged:
    """One label and what the alerts made of it.

    Attributes:
        label: the label.
        outcome: whether it was caught, or stayed quiet.
        alerts: ids of all alerts that belong to it.
        by: the reason under which an attack was seen, or the worst that a trap set off.
        delay_events: which of the attack's events it was (1 = the first).
        delay_s: seconds from the attack's first event.
    """

    label: Label
    outcome: Outcome
    alerts: tuple[str, ...] = ()
    by: str | None = None
    delay_events: int | None = None
    delay_s: float | None = None

    @property
    def good(self) -> bool:
        """Caught in time under its name, or quiet."""
        return self.outcome in (Outcome.CAUGHT, Outcome.QUIET)


@dataclass(frozen=True)
class Unexpected:
    """A false alert: its latest state, and the label that it disturbs, if any."""

    alert: Alert
    label: str | None


@dataclass(frozen=True)
class Score:
    """The verdict on one run over one labelled day."""

    judged: tuple[Judged, ...]
    unexpected: tuple[Unexpected, ...]
    alerts: int
    sender_days: float

    def count(self, *outcomes: Outcome) -> int:
        """How many labels came out so."""
        return sum(one.outcome in outcomes for one in self.judged)

    def unexpected_by_severity(self) -> dict[str, int]:
        """False alerts by severity, worst first; severities without any are left out."""
        found = Counter(str(one.alert.severity) for one in self.unexpected)
        return {name: found[name] for name in reversed(SEVERITIES) if found[name]}

    def record(self) -> dict[str, Any]:
        """The score as plain data."""
        return {
            "judged": [
                {
                    "label": one.label.id,
                    "kind": str(one.label.kind),
                    "sender": one.label.sender,
                    **{k: v for k, v in asdict(one).items() if k != "label"},
                }
                for one in self.judged
            ],
            "unexpected": [
                {
                    "id": one.alert.id,
                    "detector": one.alert.detector,
                    "reason": one.alert.reason,
                    "severity": str(one.alert.severity),
                    "sender": one.alert.sender,
                    "label": one.label,
                }
                for one in self.unexpected
            ],
            "unexpected_by_severity": self.unexpected_by_severity(),
            "alerts": self.alerts,
            "sender_days": round(self.sender_days, 2),
        }


def score(labels: Sequence[Label], states: Iterable[Alert], *, sender_days: float = 0.0) -> Score:
    """Judges every label by the states of alerts, in the order in which they were emitted.

    With all states the delay is that of the first state which says enough. With only the latest
    state of each alert it is that of its opening, although its severity may have risen since.
    """
    histories: dict[str, list[Alert]] = {}
    for state in states:
        histories.setdefault(state.id, []).append(state)
    judged: list[Judged] = []
    unexpected: list[Unexpected] = []
    taken: set[str] = set()
    for label in labels:
        mine = [history for history in histories.values() if _belongs(label, history[0])]
        taken.update(history[0].id for history in mine)
        verdict, disturbing = _attack(label, mine) if label.detector else _trap(label, mine)
        judged.append(verdict)
        unexpected += [Unexpected(alert, label.id) for alert in disturbing]
    unexpected += [Unexpected(h[-1], None) for h in histories.values() if h[0].id not in taken]
    return Score(tuple(judged), tuple(unexpected), len(histories), sender_days)


def _belongs(label: Label, alert: Alert) -> bool:
    end = label.end + (GRACE if label.kind is Kind.ATTACK else 0)
    named = alert.sender == label.sender or label.sender in alert.senders
    return named and label.start <= alert.opened_at <= end


def _attack(label: Label, mine: list[list[Alert]]) -> tuple[Judged, list[Alert]]:
    seen: list[tuple[int, str]] = []
    misnamed: list[str] = []
    right, others = [], []
    for history in mine:
        if history[0].detector != label.detector:
            others.append(history)
            continue
        good = [
            (_said_at(history, place), state.reason)
            for place, state in enumerate(history)
            if state.reason in label.reasons and _rank(state.severity) >= _rank(label.severity)
        ]
        seen += good[:1]
        if any(state.reason in label.reasons for state in history):
            right.append(history)
        else:
            misnamed.append(history[-1].reason)
            others.append(history)
    over = right[label.at_most :] if label.at_most is not None else []
    disturbing = _beyond(label.allowed, others) + [history[-1] for history in over]
    ids = tuple(history[0].id for history in mine)
    if not seen:
        outcome = Outcome.MISNAMED if misnamed else Outcome.MISSED
        by = misnamed[0] if misnamed else None
        # Named wrongly is this label's failure already, not a second one as a false alert.
        wrong = {h[0].id for h in others if h[0].detector == label.detector}
        disturbing = [alert for alert in disturbing if alert.id not in wrong]
        return Judged(label, outcome, ids, by), disturbing
    at, reason = min(seen)
    number, delay = _delay(label, at)
    late = (label.deadline_events is not None and number > label.deadline_events) or (
        label.deadline_s is not None and delay > label.deadline_s
    )
    outcome = Outcome.LATE if late else Outcome.CAUGHT
    return Judged(label, outcome, ids, reason, number, delay), disturbing


def _trap(label: Label, mine: list[list[Alert]]) -> tuple[Judged, list[Alert]]:
    beyond = _beyond(label.allowed, mine)
    ids = tuple(history[0].id for history in mine)
    # Info is counted among the unexpected, but wakes nobody; unless it is what the trap is about.
    disturbing = [
        alert for alert in beyond if _rank(alert.severity) > 0 or alert.detector in label.never
    ]
    if not disturbing:
        return Judged(label, Outcome.QUIET, ids), beyond
    worst = max(disturbing, key=lambda alert: _rank(alert.severity))
    by = f"{worst.detector}: {worst.reason} ({worst.severity})"
    return Judged(label, Outcome.DISTURBED, ids, by), beyond


def _beyond(allowed: tuple[Allowed, ...], mine: list[list[Alert]]) -> list[Alert]:
    """The alerts that no allowance covers; each allowance covers so many alerts, earliest first."""
    used: Counter[Allowed] = Counter()
    beyond = []
    for history in mine:
        latest = history[-1]
        worst = max(_rank(state.severity) for state in history)
        for one in allowed:
            fits = latest.detector == one.detector and worst <= _rank(one.worst)
            fits &= not one.reasons or latest.reason in one.reasons
            if fits and (one.at_most is None or used[one] < one.at_most):
                used[one] += 1
                break
        else:
            beyond.append(latest)
    return beyond


def _said_at(history: list[Alert], place: int) -> int:
    return history[place].opened_at if place == 0 else history[place].updated_at


def _delay(label: Label, at: int) -> tuple[int, float]:
    number = int(np.searchsorted(label.at, at, side="right"))
    first = label.at[0] if label.at else label.start
    return max(number, 1), max(at - first, 0) / _SECOND


def _rank(severity: str) -> int:
    return SEVERITIES.index(str(severity))
