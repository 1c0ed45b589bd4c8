"""The control records of one partition that still matter: what people said in the stream.

They are kept with the partition's state, bounded, until they have expired; an id seen before has
no effect, so a copy of a signed record says nothing new. What they say becomes measures
(``detectors.tuning``), and for plans a column of the events.

A record is obeyed at its place in the log. Nothing here reads its own time ``at``: the log's order
decides, and expiry goes by event time.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple

from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from alerts.explain import safe
from detectors.event import DAY
from detectors.plans import Announced, Planned
from detectors.tuning import ALWAYS, NEVER, Measure, Tuning, planned
from ingest.control import (
    SEVERITIES,
    Control,
    OverrideControl,
    PlanControl,
    VerdictControl,
    dump_control,
    parse_control,
)
from ingest.rfc3339 import to_us

MOST = 4096
"""Records that a partition remembers; more are refused, and counted."""
KEPT_AFTER = DAY
"""So long after its end a record is remembered: for late events."""


class _Said(NamedTuple):
    control: Control
    text: str
    """As it stands in a snapshot: each checkpoint asks for it."""
    measure: Measure | None


class Controls:
    """What people said about the senders of one partition."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._live: dict[str, _Said] = {}
        self._ended: dict[str, int] = {}
        """Of records that were overruled: the end until which their ids are remembered."""
        self._verdicts: dict[tuple[str | None, ...], dict[str, None]] = {}
        """Ids of live verdicts by what they are about, with and without their source."""
        self._announced = Announced()
        self._first_end = NEVER

    def take(self, control: Control, now: int) -> str:
        """Remember a record; return the name of a reason why it has no effect, or nothing."""
        self._forget(now - KEPT_AFTER)
        if control.id in self._live or control.id in self._ended:
            return "repeated"
        if control.expires_us <= now:
            return "expired"
        if len(self._live) + len(self._ended) >= MOST:
            return "full"
        if isinstance(control, VerdictControl):
            self._overrule(control)
        self._keep(control)
        return ""

    def mark(self, events: NDArray[Any]) -> None:
        """Add announced plans to the column of the events."""
        self._announced.mark(events)

    def _keep(self, control: Control) -> None:
        said = _Said(control, dump_control(control).decode(), measure_of(control))
        self._live[control.id] = said
        self._first_end = min(self._first_end, control.expires_us)
        if said.measure is not None:
            self._tuning.add(said.measure)
        self._note(control)

    def _note(self, control: Control) -> None:
        """Announce a plan; find a verdict again when a newer one comes."""
        if isinstance(control, PlanControl):
            self._announced.add(control.sender, plan_of(control))
        elif isinstance(control, VerdictControl):
            for about in _abouts(control):
                self._verdicts.setdefault(about, {})[control.id] = None

    def _overrule(self, newer: VerdictControl) -> None:
        """Let the newest verdict on the same finding stand alone, an attack from anywhere."""
        about = _abouts(newer)[newer.verdict == "attack"]
        for id_ in [*self._verdicts.get(about, ())]:
            older = self._live.pop(id_)
            self._ended[id_] = older.control.expires_us
            if older.measure is not None:
                self._tuning.forget(older.measure)
            assert isinstance(older.control, VerdictControl)
            for known in _abouts(older.control):
                del self._verdicts[known][id_]
                if not self._verdicts[known]:
                    del self._verdicts[known]

    def _forget(self, before: int) -> None:
        if before < self._first_end:
            return
        ends = {id_: one.control.expires_us for id_, one in self._live.items()}
        live = {id_: one for id_, one in self._live.items() if ends[id_] > before}
        self._ended = {id_: end for id_, end in self._ended.items() if end > before}
        self._first_end = min([*(ends[id_] for id_ in live), *self._ended.values(), NEVER])
        if len(live) < len(self._live):
            self._live = live
            self._renew()

    def _renew(self) -> None:
        """Let what is left hold, and nothing else."""
        self._tuning.say(one.measure for one in self._live.values() if one.measure is not None)
        self._announced, self._verdicts = Announced(), {}
        for one in self._live.values():
            self._note(one.control)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"live": [one.text for one in self._live.values()], "ended": self._ended}

    def restore(self, parts: Mapping[str, Any]) -> None:
        """Take over what ``snapshot`` returned."""
        self._live = {}
        self._ended = dict(parts["ended"])
        self._first_end = min([*self._ended.values(), NEVER])
        self._renew()
        for text in parts["live"]:
            self._keep(parse_control(text.encode(), None, unsigned=True))


def _abouts(verdict: VerdictControl) -> tuple[tuple[str | None, ...], tuple[str | None, ...]]:
    """Return what a verdict is about: the finding from its source, and the finding."""
    finding = (verdict.sender, verdict.detector, verdict.finding)
    return (*finding, verdict.source), finding


def plan_of(control: PlanControl) -> Planned:
    """Return what a record announces."""
    return Planned(control.plan, to_us(control.starts), control.expires_us, control.reason)


def said_by(control: Control) -> str:
    """Say who said a thing, why, and until when."""
    until = to_rfc3339(control.expires_us)[:16]
    by = f" by {safe(control.by)}" if control.by else ""
    return f"said{by} ({safe(control.reason, 200)}; until {until}Z)"


def measure_of(control: Control) -> Measure | None:
    """Return what a record does to findings; None for the verdict that it is an attack."""
    if isinstance(control, PlanControl):
        return planned(control.sender, plan_of(control))
    if isinstance(control, OverrideControl):
        return Measure(
            "shadow",
            "override",
            control.reason,
            control.expires_us,
            ALWAYS,
            control.sender,
            {control.detector: None},
        )
    if control.verdict == "attack":
        return None
    return Measure(
        "verdict",
        "verdict",
        control.reason,
        control.expires_us,
        ALWAYS,
        control.sender,
        {control.detector: frozenset({control.finding})},
        None if control.source is None else ip_network(control.source),
        SEVERITIES.index(control.severity) + 1,
    )
