"""What people said about findings beforehand, and what it does to one: plans, allowlists, shadows.

Everything of this kind is a ``Measure``: about whom and what, until when, and why. It changes what
is told, never what a detector computes. A plan holds what it explains at info. An allowlist holds
it back, counted under its own name, except what is critical: that nobody can have meant. Shadow
mode marks it. A verdict that a finding is benign holds the same finding back, unless it is graver
than what was judged. Whatever was changed or held back says so in the alert's notes.

>>> from detectors.base import HIGH
>>> pentest = Measure("allow", "allow.1", "yearly pentest", 100, covers={"replay-burst": None})
>>> tuning = Tuning([pentest])
>>> found = Finding("acme", "replay-burst", "same_signature", HIGH, 99, 99)
>>> tuning.judge(found).held_by, tuning.judge(replace(found, when=100, since=100)).held_by
('allow.1', '')
>>> tuning.judge(replace(found, severity=CRITICAL)).notes
('allow.1 (yearly pentest; until 1970-01-01T00:00Z) does not hold back what is critical',)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from operator import itemgetter
from typing import Any, Literal

import msgspec

from alerts.alert import MAX_NOTES, to_rfc3339
from alerts.explain import safe
from detectors.base import CRITICAL, INFO
from detectors.clock import LATEST
from detectors.plans import COVERS, Planned
from ingest.prefix import normal_ip

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
        return self.source is None or (
            finding.address is not None and finding.address in self.source
        )

    def identity(self) -> list[object]:
        """Return all but the reason, as JSON-able values: what two configurations differ by."""
        about = self.covers and [
            [name, reasons and sorted(reasons)] for name, reasons in sorted(self.covers.items())
        ]
        source = self.source and str(self.source)
        return [self.kind, self.name, self.start, self.expires, self.sender, about, source]

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        if self.expires > LATEST:
            return f"{self.name} ({safe(self.reason, 200)})"
        return f"{self.name} ({safe(self.reason, 200)}; until {to_rfc3339(self.expires)[:16]}Z)"


class _Came(msgspec.Struct):
    source_ip: str


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
    value: Callable[[], bytes] | None = None
    """Gives the event's JSON; None where a timer found it."""

    @cached_property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The source of the event, read when it is first asked for."""
        if self.value is None:
            return None
        return normal_ip(msgspec.json.decode(self.value(), type=_Came).source_ip)


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


def as_found(severity: int) -> Judged:
    """Return what is to be told where nobody said anything."""
    return _AS_FOUND[severity]


class _Ordered:
    """Measures in their order, looked up by the detector or the network that they are about.

    A stranger's calls are findings, and lists of networks are long: nothing goes through all.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        """By identity: equal ones both hold."""
        self._next = 0
        self._by_detector: dict[str | None, dict[int, Measure]] = {}
        self._by_network: dict[tuple[int, int], dict[int, dict[int, Measure]]] = {}
        """By version and length of the prefix, then by the prefix."""

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, measure: Measure) -> None:
        self._numbers[id(measure)] = self._next
        for place in self._places(measure):
            place[self._next] = measure
        self._next += 1

    def forget(self, measure: Measure) -> None:
        number = self._numbers.pop(id(measure))
        for place in self._places(measure):
            del place[number]
        if measure.source is not None and not any(self._places(measure)):
            kind = measure.source.version, measure.source.prefixlen
            del self._by_network[kind][_prefix(measure.source.network_address, kind[1])]
            if not self._by_network[kind]:
                del self._by_network[kind]

    def _places(self, measure: Measure) -> list[dict[int, Measure]]:
        network = measure.source
        if network is not None:
            kind = network.version, network.prefixlen
            prefix = _prefix(network.network_address, network.prefixlen)
            return [self._by_network.setdefault(kind, {}).setdefault(prefix, {})]
        detectors = (None,) if measure.covers is None else measure.covers
        return [self._by_detector.setdefault(detector, {}) for detector in detectors]

    def about(self, finding: Finding) -> list[Measure]:
        """Return those that mean the finding."""
        found = [
            *self._by_detector.get(None, {}).items(),
            *self._by_detector.get(finding.detector, {}).items(),
        ]
        if self._by_network and (address := finding.address) is not None:
            for (version, length), networks in self._by_network.items():
                if version == address.version:
                    found += networks.get(_prefix(address, length), {}).items()
        found.sort(key=itemgetter(0))
        return [measure for _, measure in found if measure.is_about(finding)]


def _prefix(address: IPv4Address | IPv6Address, length: int) -> int:
    return int(address) >> (address.max_prefixlen - length)


class Tuning:
    """The measures of one partition."""

    def __init__(self, measures: Iterable[Measure]) -> None:
        self._configured = tuple(measures)
        self._of: dict[str | None, _Ordered] = {}
        """By sender; None: about all of them."""
        self.say(())

    def say(self, measures: Iterable[Measure]) -> None:
        """Let these hold from now on beside those of the configuration, and no others."""
        self._of = {}
        for one in (*self._configured, *measures):
            self.add(one)

    def add(self, measure: Measure) -> None:
        """Let this one hold as well, from now on."""
        self._of.setdefault(measure.sender, _Ordered()).add(measure)

    def forget(self, measure: Measure) -> None:
        """Let this one, which was added, hold no longer; the others keep their order."""
        of = self._of[measure.sender]
        of.forget(measure)
        if not of:
            del self._of[measure.sender]

    def has_say(self, sender: str) -> bool:
        """Tell whether a finding about this sender might be judged otherwise than ``as_found``."""
        return None in self._of or sender in self._of

    def judge(self, finding: Finding) -> Judged:
        """Return what is to be told of a finding: the first measure that holds it back, wins."""
        judged = _AS_FOUND[finding.severity]
        for sender in (None, finding.sender):
            of = self._of.get(sender)
            for measure in of.about(finding) if of is not None else ():
                judged = _apply(measure, finding, judged)
        return judged


def _apply(measure: Measure, finding: Finding, judged: Judged) -> Judged:
    if measure.kind == "shadow":
        return _changed(judged, f"shadow: {measure}", shadow=True)
    if finding.severity >= CRITICAL:
        return _changed(judged, f"{measure} does not hold back what is critical")
    if finding.severity > measure.most and measure.kind != "plan":
        return _changed(judged, f"{measure} was about a less grave finding")
    if measure.kind == "plan":
        name = measure.name.replace("plan.", "planned ")
        words = judged.planned or f"{name} ({safe(measure.reason, 120)}): "
        severity = min(judged.severity, INFO)
        return _changed(judged, f"info at most: {measure}", severity=severity, planned=words)
    return _changed(judged, f"held by {measure}", held_by=judged.held_by or measure.name)


def _changed(judged: Judged, note: str, **fields: Any) -> Judged:
    """Return it with other fields and one more note, as far as an alert has room for notes."""
    notes = judged.notes
    if note not in notes and len(notes) < MAX_NOTES:
        notes = (*notes, note)
    if notes is judged.notes and all(getattr(judged, name) == fields[name] for name in fields):
        return judged
    return replace(judged, notes=notes, **fields)


def planned(sender: str, plan: Planned) -> Measure:
    """Return a plan as a measure."""
    covers: Covers = dict(COVERS[plan.kind])
    name = f"plan.{plan.kind}"
    return Measure("plan", name, plan.reason, plan.end, plan.start, sender, covers)
