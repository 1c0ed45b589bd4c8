"""One run of a scenario judged: what was found and how fast, and what nobody asked for.

An alert belongs to a step when it names one of its senders (or, where the step names none, one of
its sources) and opened while the step lasted or within `GRACE` after. Of those, the ones that an
expectation asks for are right, up to its number; the ones that an allowance covers are left alone;
everything else in the test window is forbidden, from low upwards. An info is only counted, unless
the scenario wants that detector quiet.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from alerts.alert import Alert
from detectors.benchmark.arrivals import DAY, Span
from detectors.benchmark.labels import SEVERITIES
from detectors.benchmark.scenario import PAIRS, Allow, Expect, Quiet, Scenario
from detectors.benchmark.score import GRACE, Outcome
from detectors.benchmark.stage import Staged

BUDGET: Final = 5
"""Alerts that an analyst looks at in a day, worst first."""
NOT_THERE: Final = "not there"
History = list[Alert]

_JUDGED_BY: Final = {
    PAIRS[0]: "replay-burst",
    PAIRS[1]: "spoofed-source",
    PAIRS[2]: "signature-failure-spike",
}
_NAMES_OF_ROTATION: Final = {"rotation", "receiver_fault", "clock"}


@dataclass(frozen=True)
class Seen:
    """What became of one expectation."""

    detector: str
    outcome: str
    required: bool = True
    reason: str | None = None
    delay_events: int | None = None
    delay_s: float | None = None
    in_budget: bool = False

    @property
    def good(self) -> bool:
        """Found in time, under a right name."""
        return self.outcome == Outcome.CAUGHT


@dataclass(frozen=True)
class Verdict:
    """One run of one scenario."""

    scenario: str
    seed: int
    seen: tuple[Seen, ...]
    forbidden: tuple[dict[str, Any], ...]
    infos: int
    incident_alerts: int
    """Low or graver ones that one attack caused; where there are several, the one with the most."""
    sender_days: float
    events: int
    named: tuple[tuple[str, str], ...] = field(default=())
    """What it was, and what it was taken for."""
    attacked_days: float = 0.0
    """Of the sender-days: of senders that a step attacks, or on which something is expected, on
    the days of that step. Whatever is forbidden counts there as well, but these are no benign days.
    """

    @property
    def benign_days(self) -> float:
        """Sender-days without anything that should be found."""
        return self.sender_days - self.attacked_days

    @property
    def worst_forbidden(self) -> str | None:
        """The severity of the gravest forbidden alert."""
        return max((str(one["severity"]) for one in self.forbidden), key=rank, default=None)

    @property
    def caught(self) -> bool:
        """Everything that must be found was, in time."""
        return all(one.good for one in self.seen)

    @property
    def quiet(self) -> bool:
        """Nothing forbidden came."""
        return not self.forbidden


def judge(
    scenario: Scenario,
    seed: int,
    staged: Sequence[Staged],
    states: Sequence[Alert],
    *,
    present: frozenset[str],
    window: Span,
    events: int,
) -> Verdict:
    """Judges the states of alerts, in the order in which they were emitted."""
    histories = [h for h in histories_of(states) if h[0].opened_at >= window.start]
    first_looks = _within_budget(histories, window)
    seen, right, unsettled = [], {}, set()
    for expect in scenario.expect:
        step = _step(staged, expect.step)
        mine = [h for h in histories if _asked_for(expect, step, h)]
        named = [h for h in mine if _first_good(expect, h, severity=False) is not None]
        right.update({h[0].id: h for h in named[: expect.at_most]})
        one = _seen(expect, step, mine, first_looks, bool(present & set(expect.detector)))
        seen.append(one)
        if one.outcome == Outcome.MISNAMED:  # its failure already; not a false alert as well
            unsettled |= {h[0].id for h in mine}
    loose = [h for h in histories if h[0].id not in right]
    beyond = _beyond(scenario.allow, [h for h in loose if h[0].id not in unsettled], staged)
    forbidden = [
        h for h in beyond
        if rank(worst(h)) > 0 or any(_wants_quiet(rule, h, staged) for rule in scenario.quiet)
    ]  # fmt: skip
    attacks = [step for step in staged if step.attack] or list(staged)
    caused = [h for h in histories if rank(worst(h)) > 0 and any(_of(s, h) for s in attacks)]
    of_one = max((sum(_of(step, h) for h in caused) for step in attacks), default=0)
    told = [_told(h) for h in forbidden]
    limit = scenario.head.alerts_at_most
    if limit is not None and len(caused) > limit:
        told.append({"detector": "-", "reason": f"{len(caused)} alerts, not {limit}",
                     "severity": "low", "sender": None, "source": None})  # fmt: skip
    days = (window.end - window.start) / DAY
    return Verdict(
        scenario.name,
        seed,
        tuple(seen),
        tuple(told),
        len(beyond) - len([h for h in forbidden if rank(worst(h)) > 0]),
        of_one,
        days * len(scenario.fleet),
        events,
        tuple(_named(scenario, staged, histories, right, beyond)),
        _attacked_days(scenario, staged, window),
    )


def _attacked_days(scenario: Scenario, staged: Sequence[Staged], window: Span) -> float:
    expected = {_step(staged, expect.step).name for expect in scenario.expect}
    days = {
        (sender, day)
        for step in staged
        if step.attack or step.name in expected
        for sender in step.senders
        for day in range(
            (step.start - window.start) // DAY,
            (min(step.end, window.end) - 1 - window.start) // DAY + 1,
        )
    }
    return sum(min((window.end - window.start) / DAY - day, 1.0) for _, day in days)


def histories_of(states: Sequence[Alert]) -> list[History]:
    """The states of each alert, alerts in the order in which they were opened."""
    found: dict[str, History] = {}
    for state in states:
        found.setdefault(state.id, []).append(state)
    return sorted(found.values(), key=lambda h: h[0].opened_at)


def worst(history: History) -> str:
    """The highest severity that an alert ever had."""
    return max((str(state.severity) for state in history), key=rank)


def rank(severity: str) -> int:
    """Place of a severity, info first."""
    return SEVERITIES.index(str(severity))


def _step(staged: Sequence[Staged], name: str) -> Staged:
    return next((step for step in staged if step.name == name), staged[0])


def _concerns(step: Staged, alert: Alert) -> bool:
    if step.senders:
        return alert.sender in step.senders or bool(set(step.senders) & set(alert.senders))
    if not step.sources:  # a fault of the stream concerns nobody in particular
        return True
    return alert.source in step.sources or bool(step.sources & set(alert.sources))


def _of(step: Staged, history: History) -> bool:
    opened = history[0].opened_at
    return step.start <= opened <= step.end + GRACE and any(_concerns(step, a) for a in history)


def _asked_for(expect: Expect, step: Staged, history: History) -> bool:
    if history[0].detector not in expect.detector:
        return False
    if expect.sender:
        return any(a.sender == expect.sender or expect.sender in a.senders for a in history)
    until = max(step.end + GRACE, step.start + (expect.within or 0))
    opened = history[0].opened_at
    by_source = any(step.sources & {*a.sources, a.source or ""} for a in history)
    mine = any(_concerns(step, a) for a in history) or (by_source and history[0].sender is None)
    return mine and step.start <= opened <= until


def _first_good(expect: Expect, history: History, *, severity: bool) -> int | None:
    for place, state in enumerate(history):
        if expect.reasons and state.reason not in expect.reasons:
            continue
        if severity and rank(str(state.severity)) < rank(expect.severity):
            continue
        return state.opened_at if place == 0 else state.updated_at
    return None


def _seen(
    expect: Expect, step: Staged, mine: list[History], first_looks: set[str], there: bool
) -> Seen:
    found = [
        (at, h) for h in mine if (at := _first_good(expect, h, severity=True)) is not None
    ]  # fmt: skip
    name = " or ".join(expect.detector)
    if not found:
        outcome: str = Outcome.MISNAMED if mine else Outcome.MISSED
        reason = f"{mine[0][-1].reason} ({worst(mine[0])})" if mine else None
        return Seen(name, outcome if there else NOT_THERE, reason=reason)
    at, history = min(found, key=lambda item: item[0])
    number = max(int(np.searchsorted(step.at, at, side="right")), 1)
    begin = step.at[0] if step.at and step.at[0] <= at else step.start
    delay = max(at - begin, 0)
    late = (expect.within_events is not None and number > expect.within_events) or (
        expect.within is not None and delay > expect.within
    )
    return Seen(
        name,
        Outcome.LATE if late else Outcome.CAUGHT,
        reason=history[-1].reason,
        delay_events=number,
        delay_s=delay / 1e6,
        in_budget=any(h[0].id in first_looks for _, h in found),
    )


def _beyond(
    allowances: tuple[Allow, ...], loose: list[History], staged: Sequence[Staged]
) -> list[History]:
    used: Counter[int] = Counter()
    beyond = []
    for history in loose:
        for number, allow in enumerate(allowances):
            if _covers(allow, history, staged) and used[number] < allow.at_most:
                used[number] += 1
                break
        else:
            beyond.append(history)
    return beyond


def _covers(allow: Allow, history: History, staged: Sequence[Staged]) -> bool:
    last = history[-1]
    return (
        last.detector == allow.detector
        and rank(worst(history)) <= rank(allow.worst)
        and (not allow.reasons or last.reason in allow.reasons)
        and _on(allow.senders, history, staged)
    )


def _wants_quiet(rule: Quiet, history: History, staged: Sequence[Staged]) -> bool:
    return history[0].detector in rule.detectors and _on(rule.senders, history, staged)


def _on(senders: tuple[str, ...], history: History, staged: Sequence[Staged]) -> bool:
    if not senders:
        opened = history[0].opened_at
        return any(opened >= s.start and any(_concerns(s, a) for a in history) for s in staged)
    return "any" in senders or any(
        a.sender in senders or set(senders) & set(a.senders) for a in history
    )


def _within_budget(histories: list[History], window: Span) -> set[str]:
    """The alerts that are looked at when a day has room for `BUDGET` of them."""
    days: dict[int, list[History]] = {}
    for history in histories:
        days.setdefault((history[0].opened_at - window.start) // DAY, []).append(history)
    chosen = set()
    for of_day in days.values():
        of_day.sort(key=lambda h: (rank(worst(h)), max(a.score for a in h)), reverse=True)
        chosen |= {h[0].id for h in of_day[:BUDGET]}
    return chosen


def _named(
    scenario: Scenario,
    staged: Sequence[Staged],
    histories: list[History],
    right: dict[str, History],
    beyond: list[History],
) -> list[tuple[str, str]]:
    """For each class that the scenario belongs to: what it was taken for."""
    found = []
    for truth in scenario.head.classes:
        pair = next(pair for pair in PAIRS if truth in pair)
        detector = _JUDGED_BY[pair]
        mine = [
            h for h in histories
            if h[0].detector == detector and any(_of(step, h) for step in staged)
        ]  # fmt: skip
        if pair == PAIRS[2]:
            reasons = {h[-1].reason for h in mine}
            if not reasons:
                continue  # found by another detector, or by none: it has no name
            taken = {pair[1] if one in _NAMES_OF_ROTATION else one for one in reasons}
            found.append((truth, truth if taken == {truth} else "/".join(sorted(taken - {truth}))))
        elif truth == pair[0]:
            named = any(h[0].detector == detector for h in right.values())
            found.append((truth, truth if named else pair[1]))
        else:
            ids = {h[0].id for h in beyond}
            found.append((truth, pair[0] if any(h[0].id in ids for h in mine) else truth))
    return found


def _told(history: History) -> dict[str, Any]:
    last = history[-1]
    return {
        "detector": last.detector,
        "reason": last.reason,
        "severity": worst(history),
        "sender": last.sender,
        "source": last.source,
        "opened_at": history[0].opened_at,
        "summary": last.summary,
    }
