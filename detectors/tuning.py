"""What people said about findings beforehand, and what it does to one: plans, allowlists, shadows.

Everything of this kind is a ``Measure``: about whom and what, until when, and why. It changes what
is told, never what a detector computes. A plan holds what it explains at info. An allowlist holds
it back, counted under its own name, except what is critical: that nobody can have meant. Shadow
mode marks it. A verdict that a finding is benign holds the same finding back, unless it is graver
than what was judged. Whatever was changed or held back says so in the alert's notes.

>>> from detectors.base import HIGH
>>> pentest = Measure("allow", "allow.1", "yearly pentest", 100, covers={"replay-burst": None})
>>> tuning = Tuning([pentest])
>>> found = Finding("acme", "replay-burst", "same_signature", HIGH, 99, 99, lambda: None)
>>> tuning.judge(found).held_by, tuning.judge(replace(found, when=100, since=100)).held_by
('allow.1', '')
>>> tuning.judge(replace(found, severity=CRITICAL)).notes
('allow.1 (yearly pentest; until 1970-01-01T00:00Z) does not hold back what is critical',)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from alerts.alert import to_rfc3339
from alerts.explain import safe
from detectors.base import CRITICAL, INFO
from detectors.clock import LATEST
from detectors.plans import COVERS, Planned

Kind = Literal["plan", "allow", "shadow", "verdict"]
ALWAYS = -LATEST
NEVER = 2**63 - 1
Covers = Mapping[str, frozenset[str] | None]
"""Detectors, and which of their reasons; None = all of them."""


@dataclass(frozen=True)
class Measure:
    """What somebody said about some findings, from ``start`` until before ``expires``."""

    kind: Kind
    name: str
    """Under which it is counted and named: ``allow.2``, ``plan.rotation``."""
    reason: str
    expires: int
    start: int = ALWAYS
    sender: str | None = None
    covers: Covers | None = None
    """None: every detector."""
    source: IPv4Network | IPv6Network | None = None
    most: int = CRITICAL - 1
    """Graver findings are not held back."""

    def is_about(self, finding: Finding) -> bool:
        """Tell whether the finding is one that was meant."""
        if not self.start <= finding.when or not finding.since < self.expires:
            return False
        if self.sender not in (None, finding.sender):
            return False
        if self.covers is not None:
            reasons = self.covers.get(finding.detector, frozenset())
            if reasons is not None and finding.reason not in reasons:
                return False
        if self.source is None:
            return True
        address = finding.address()
        return address is not None and ip_address(address) in self.source

    def identity(self) -> list[object]:
        """Return all but the reason, as JSON-able values: what two configurations differ by."""
        about = self.covers and [
            [name, reasons and sorted(reasons)] for name, reasons in sorted(self.covers.items())
        ]
        source = self.source and str(self.source)
        return [self.kind, self.name, self.start, self.expires, self.sender, about, source]

    def __str__(self) -> str:
        if self.expires > LATEST:
            return f"{self.name} ({safe(self.reason, 200)})"
        return f"{self.name} ({safe(self.reason, 200)}; until {to_rfc3339(self.expires)[:16]}Z)"


@dataclass(frozen=True)
class Finding:
    """One finding, as far as a measure looks at it."""

    sender: str
    detector: str
    reason: str
    severity: int
    when: int
    since: int
    """Where its time begins: what a timer found is about the time before it."""
    address: Callable[[], str | None]
    """The source of the event; None where a timer found it."""


@dataclass(frozen=True)
class Judged:
    """What is to be told of a finding."""

    severity: int
    held_by: str = ""
    """Name of the measure that holds it back."""
    shadow: bool = False
    planned: str = ""
    """Words before the summary, where a plan explains it."""
    notes: tuple[str, ...] = ()


_AS_FOUND = tuple(Judged(severity) for severity in range(CRITICAL + 1))


class Tuning:
    """The measures of one partition."""

    def __init__(self, measures: Iterable[Measure]) -> None:
        self._configured = tuple(measures)
        self._general: list[Measure] = []
        self._of: dict[str, list[Measure]] = {}
        self.say(())

    def say(self, measures: Iterable[Measure]) -> None:
        """Let these hold from now on beside those of the configuration, and no others."""
        self._general, self._of = [], {}
        for one in (*self._configured, *measures):
            self.add(one)

    def add(self, measure: Measure) -> None:
        """Let this one hold as well, from now on."""
        if measure.sender is None:
            self._general.append(measure)
        else:
            self._of.setdefault(measure.sender, []).append(measure)

    def judge(self, finding: Finding) -> Judged:
        """Return what is to be told of a finding: the first measure that holds it back, wins."""
        if not self._general and finding.sender not in self._of:
            return _AS_FOUND[finding.severity]
        measures = self._general + self._of.get(finding.sender, [])
        judged = _AS_FOUND[finding.severity]
        for measure in measures:
            if measure.is_about(finding):
                judged = _apply(measure, finding, judged)
        return judged


def _apply(measure: Measure, finding: Finding, judged: Judged) -> Judged:
    if measure.kind == "shadow":
        return replace(judged, shadow=True, notes=(*judged.notes, f"shadow: {measure}"))
    if finding.severity >= CRITICAL:
        said = f"{measure} does not hold back what is critical"
        return replace(judged, notes=(*judged.notes, said))
    if finding.severity > measure.most and measure.kind != "plan":
        said = f"{measure} was about a less grave finding"
        return replace(judged, notes=(*judged.notes, said))
    if measure.kind == "plan":
        name = measure.name.replace("plan.", "planned ")
        words = judged.planned or f"{name} ({safe(measure.reason, 120)}): "
        notes = (*judged.notes, f"info at most: {measure}")
        return replace(judged, severity=min(judged.severity, INFO), planned=words, notes=notes)
    return replace(
        judged, held_by=judged.held_by or measure.name, notes=(*judged.notes, f"held by {measure}")
    )


def planned(sender: str, plan: Planned) -> Measure:
    """Return a plan as a measure."""
    covers: Covers = dict(COVERS[plan.kind])
    name = f"plan.{plan.kind}"
    return Measure("plan", name, plan.reason, plan.end, plan.start, sender, covers)
