"""Open incidents of a partition: findings become alerts, one id each, with updates.

An alert is emitted when an incident opens, at once when its severity rises, at the next full minute
when its reason changed or its count doubled, and when it closes. Strings, event ids and sources are
kept here, bounded; the rows of the detectors hold numbers only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from alerts.alert import MAX_ITEMS, MAX_NOTES, Alert, CloseReason, Severity, Status, alert_id
from alerts.explain import runbook, safe
from alerts.threat import techniques
from detectors.base import CLOSE_REASONS, MEDIUM, Described, Found
from detectors.event import MINUTE, SECOND
from detectors.tuning import Finding, Judged, Tuning, as_found
from ingest.prefix import source_prefix
from ingest.schema import CallbackEvent, parse_event

SEVERITIES = (Severity.INFO, Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
COUNTED_SOURCES = 4096
"""Sources that an incident tells apart; more are not counted."""

Slot = tuple[int, int, int]
"""Which detector, which of its tables, which row."""


@dataclass
class Incident:
    """What is known of an open incident beside the row."""

    id: str
    key: list[str]
    sender: str | None
    provider: str | None
    endpoint: str | None
    opened_at: int
    reason: str
    severity: int
    score: float
    confidence: float
    count: int
    first_seen: int
    last_seen: int
    updated_at: int
    evidence: Mapping[str, float]
    opening: str | None
    """JSON of the event that opened it; None where a timer did."""
    events: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    source_keys: set[int] = field(default_factory=set)
    senders: list[str] = field(default_factory=list)
    """Where the entity is no sender: the senders that were named."""
    sender_keys: set[int] = field(default_factory=set)
    told_count: int = 0
    pending: bool = False
    held: bool = False
    """Nothing of it has been told: an allowlist or a verdict holds it back."""
    shadow: bool = False
    planned: str = ""
    suppressed: int = 0
    verdict: Literal["benign", "attack"] | None = None
    frozen_until: int = 0
    """The full minute until which an analyst keeps it open; 0 = nobody does."""
    notes: list[str] = field(default_factory=list)


class Happening(NamedTuple):
    """One record of a walk, with what the batch knows about it."""

    slot: Slot
    code: int
    when: int
    now: int
    reason: int
    severity: int
    score: float
    confidence: float
    count: int  # type: ignore[assignment]  # nobody counts in it as in a tuple
    since: int
    evidence: Mapping[str, float]
    source_key: int
    """0 where a timer found it."""
    sender_key: int
    """0 where a timer found it, or nobody was named."""
    value: Callable[[], bytes] | None
    """Gives the event's JSON; None where a timer found it."""
    sender: str | None
    provider: str | None
    key: tuple[str, ...] = ()
    """What it is about, where that is no row of a table."""


class Incidents:
    """The open incidents of one partition."""

    def __init__(
        self,
        detectors: tuple[Described, ...],
        config_hash: str,
        limit: int = 10_000,
        *,
        tuning: Tuning | None = None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.detectors = detectors
        self.config_hash = config_hash
        self.limit = limit
        self.tuning = tuning or Tuning(())
        self.count = count
        """Told the name of each measure that held a state back."""
        self.open: dict[Slot, Incident] = {}
        self.last_opened: set[str] = set()
        self.overflowed = 0
        self._pending: list[tuple[int, Slot]] = []
        self._may_be_frozen = False
        self._texts: dict[Slot, bytes] = {}
        """Of open ones as ``texts`` has written them, until they change."""
        self._ids = bytearray()
        """Of ``last_opened``, as a checkpoint holds them."""

    def flush(self, tick: int) -> list[Alert]:
        """Emit the updates that were waiting for a minute up to ``tick``."""
        if not self._pending or self._pending[0][0] > tick:
            return []
        due = [item for item in self._pending if item[0] <= tick]
        self._pending = self._pending[len(due) :]
        alerts = []
        for at, slot in due:
            incident = self.open.get(slot)
            if incident is not None and incident.pending:
                self._texts.pop(slot, None)
                incident.updated_at = at
                alerts.append(self._emit(slot, incident, Status.UPDATED))
        return alerts

    def take(self, h: Happening) -> list[Alert]:
        """Apply one record of a walk; return what it makes known at once."""
        incident = self.open.get(h.slot)
        self._texts.pop(h.slot, None)
        if h.code in CLOSE_REASONS:
            return [] if incident is None else self._close(h, incident)
        if incident is None:
            return self._open(h)
        judged = self._judge(h, incident.sender)
        revealed = incident.held and not judged.held_by
        rose = judged.severity > incident.severity or (incident.shadow and not judged.shadow)
        changed = self._reason(h) != incident.reason
        self._add(h, incident, judged)
        news = rose or changed or incident.count >= 2 * incident.told_count
        if judged.held_by:
            if not incident.held:  # told before: what is held back now leaves its reason alone
                news = incident.count >= 2 * incident.told_count
            return self._hold_back(incident, judged) if news else []
        if revealed or rose:
            status = Status.OPEN if revealed else Status.UPDATED
            incident.updated_at = max(h.when, incident.updated_at)
            return [self._emit(h.slot, incident, status)]
        if news and not incident.pending:
            incident.pending = True
            self._pending.append((h.now - h.now % MINUTE + MINUTE, h.slot))
        return []

    def _judge(self, h: Happening, sender: str | None) -> Judged:
        """Ask what people said about such a finding; of a known attack everything is told."""
        incident = self.open.get(h.slot)
        sender = sender or ""
        if (incident is not None and incident.frozen_until) or not self.tuning.has_say(sender):
            return as_found(h.severity)
        return self.tuning.judge(
            Finding(
                sender=sender,
                detector=self.detectors[h.slot[0]].id,
                reason=self._reason(h),
                severity=h.severity,
                when=h.when,
                since=min(h.since or h.when, h.when) if h.value is None else h.when,
                value=h.value,
            )
        )

    def find(self, alert: str) -> Slot | None:
        """Return where the open incident with this id is."""
        return next((slot for slot, one in self.open.items() if one.id == alert), None)

    def release(self, slot: Slot, now: int, note: str) -> list[Alert]:
        """Close an incident that an analyst found benign."""
        incident = self.open.pop(slot)
        self._texts.pop(slot, None)
        incident.verdict = "benign"
        self._note(incident, note)
        if incident.held:
            return []
        incident.updated_at = max(now, incident.updated_at)
        return [self._emit(slot, incident, Status.CLOSED, "verdict")]

    def freeze(self, slot: Slot, now: int, until: int, note: str) -> list[Alert]:
        """Keep an incident open that an analyst called an attack; it is told, whatever held it."""
        incident = self.open[slot]
        self._texts.pop(slot, None)
        status = Status.OPEN if incident.held else Status.UPDATED
        incident.verdict, incident.frozen_until = "attack", until
        self._may_be_frozen = True
        incident.held = incident.shadow = False
        incident.planned = ""
        self._note(incident, note)
        incident.updated_at = max(now, incident.updated_at)
        return [self._emit(slot, incident, status)]

    def thaw(self, until: int) -> list[Slot]:
        """Return the incidents that nobody keeps open from this minute on."""
        found = [slot for slot, one in self.open.items() if 0 < one.frozen_until <= until]
        for slot in found:
            self._texts.pop(slot, None)
            self.open[slot].frozen_until = 0
        return found

    @property
    def next_thaw(self) -> int:
        """The first minute at which ``thaw`` has something to do; 0 = none.

        It is asked for every batch, and hardly ever is anything frozen.
        """
        if not self._may_be_frozen:
            return 0
        first = min((one.frozen_until for one in self.open.values() if one.frozen_until), default=0)
        self._may_be_frozen = first > 0
        return first

    def _note(self, incident: Incident, note: str) -> None:
        incident.notes = [one for one in incident.notes if one != note][-MAX_NOTES + 1 :]
        incident.notes.append(note)

    def _hold_back(self, incident: Incident, judged: Judged) -> list[Alert]:
        """Count a state that is not told."""
        incident.suppressed += 1
        incident.told_count = incident.count
        self.count(f"suppressed.{judged.held_by}")
        return []

    def _reason(self, h: Happening) -> str:
        return self.detectors[h.slot[0]].reasons[h.reason - 1]

    def _open(self, h: Happening) -> list[Alert]:
        # a fifth is kept for what is grave: strangers' names, being cold, fill only the rest
        room = self.limit if h.severity >= MEDIUM else self.limit - self.limit // 5
        if len(self.open) >= room:
            self.overflowed += 1  # at the limit nothing opens; what is open stays whole
            self.count("incidents.refused")
            return []  # the row stays open: its next event is told when there is room
        detector = self.detectors[h.slot[0]]
        raw = h.value() if h.value is not None else None
        event = parse_event(raw) if raw is not None else None
        columns = ("",) if h.key else detector.tables[h.slot[1]].key
        key = list(h.key) or _key_of(columns, event, h.sender)
        named = event.sender if event else h.sender
        sender = named if columns[0] == "sender" else None
        judged = self._judge(h, sender)
        incident = Incident(
            id=self._new_id(detector.id, key, h.when),
            key=key,
            sender=sender,
            provider=h.provider,
            endpoint=event.endpoint if event else None,
            opened_at=h.when,
            reason=self._reason(h),
            severity=judged.severity,
            score=h.score,
            confidence=h.confidence,
            count=h.count,
            first_seen=min(h.since or h.when, h.when),  # a late event may open it
            last_seen=h.when,
            updated_at=h.when,
            evidence=h.evidence,
            opening=raw.decode() if raw is not None else None,
            held=bool(judged.held_by),
            shadow=judged.shadow,
        )
        self._add(h, incident, judged)
        self.open[h.slot] = incident
        if incident.held:
            return self._hold_back(incident, judged)
        return [self._emit(h.slot, incident, Status.OPEN)]

    def _new_id(self, detector: str, key: list[str], when: int) -> str:
        """Return an id; the same detector, key and time twice get a number."""
        repeat = 0
        found = alert_id(detector, key, when)
        while found in self.last_opened:
            repeat += 1
            found = alert_id(detector, key, when, repeat)
        if len(self.last_opened) >= self.limit:
            self.last_opened = set()
            self._ids.clear()
        self.last_opened.add(found)
        self._ids += found.encode() + b"\n"
        return found

    def _add(self, h: Happening, incident: Incident, judged: Judged) -> None:
        if incident.held and not judged.held_by:  # what was held back says nothing of the rest
            incident.severity, incident.score, incident.held = judged.severity, h.score, False
        if incident.held or not judged.held_by:
            incident.reason = self._reason(h)
            incident.severity = max(judged.severity, incident.severity)
            incident.score = max(h.score, incident.score)
            incident.confidence = h.confidence
            incident.evidence = h.evidence
            incident.shadow = incident.shadow and judged.shadow
            incident.planned = judged.planned
        for note in judged.notes:
            if note not in incident.notes and len(incident.notes) < MAX_NOTES:
                incident.notes.append(note)
        incident.count = max(h.count, incident.count)
        incident.last_seen = max(incident.last_seen, h.when)
        if h.since:
            incident.first_seen = min(incident.first_seen, h.since)
        if h.value is None:
            return
        new_source = h.source_key not in incident.source_keys
        new_sender = (
            incident.sender is None and h.sender_key and h.sender_key not in incident.sender_keys
        )
        if (
            len(incident.events) < MAX_ITEMS
            or (new_source and len(incident.sources) < MAX_ITEMS)
            or (new_sender and len(incident.senders) < MAX_ITEMS)
        ):
            event = parse_event(h.value())
            if new_sender and len(incident.senders) < MAX_ITEMS:
                incident.senders.append(event.sender)
            if len(incident.events) < MAX_ITEMS:
                incident.events.append(event.id)
            if new_source and len(incident.sources) < MAX_ITEMS:
                incident.sources.append(source_prefix(event.source_ip))
        if new_source and len(incident.source_keys) < COUNTED_SOURCES:
            incident.source_keys.add(h.source_key)
        if new_sender and len(incident.sender_keys) < COUNTED_SOURCES:
            incident.sender_keys.add(h.sender_key)

    def _close(self, h: Happening, incident: Incident) -> list[Alert]:
        del self.open[h.slot]
        if incident.held:
            return []  # what was never told needs no end
        incident.updated_at = max(h.when, incident.updated_at)  # a state never goes back in time
        return [self._emit(h.slot, incident, Status.CLOSED, CLOSE_REASONS[h.code])]

    def _emit(
        self,
        slot: Slot,
        incident: Incident,
        status: Status,
        close_reason: CloseReason | None = None,
    ) -> Alert:
        incident.pending = False
        incident.told_count = incident.count
        detector = self.detectors[slot[0]]
        event = parse_event(incident.opening) if incident.opening is not None else None
        words = detector.explain(
            Found(
                reason=incident.reason,
                severity=incident.severity,
                count=incident.count,
                sender=_shown(incident.sender),
                source_count=len(incident.source_keys),
                seconds=_seconds(incident.first_seen, incident.last_seen),
                evidence=incident.evidence,
                event=event,
                source=incident.sources[0] if len(incident.source_keys) == 1 else "",
                key=tuple(incident.key),
            )
        )
        severity = SEVERITIES[incident.severity - 1]
        senders = (incident.sender,) if incident.sender else tuple(incident.senders)
        return Alert(
            id=incident.id,
            detector=detector.id,
            reason=incident.reason,
            severity=severity,
            score=round(incident.score, 1),
            confidence=round(incident.confidence, 3),
            status=status,
            close_reason=close_reason,
            sender=incident.sender,
            senders=senders,
            sender_count=max(len(senders), len(incident.sender_keys)),
            provider=incident.provider,
            endpoint=incident.endpoint,
            source=incident.sources[0] if len(incident.source_keys) == 1 else None,
            sources=tuple(incident.sources),
            source_count=len(incident.source_keys),
            first_seen=incident.first_seen,
            last_seen=incident.last_seen,
            opened_at=incident.opened_at,
            updated_at=incident.updated_at,
            count=incident.count,
            suppressed=incident.suppressed,
            shadow=incident.shadow,
            verdict=incident.verdict,
            notes=tuple(incident.notes),
            summary=incident.planned + words.summary,
            expected=dict(words.expected),
            observed=dict(words.observed),
            events=tuple(incident.events),
            threat=tuple(techniques(detector.id, incident.reason, severity)),
            runbook=runbook(detector.id, incident.reason),
            config=self.config_hash,
        )

    def snapshot(self) -> dict[str, Any]:
        """Return all that is short, as JSON-able values."""
        return {
            "pending": [[at, list(slot)] for at, slot in self._pending],
            "overflowed": self.overflowed,
        }

    def texts(self) -> dict[str, bytes]:
        """Return the open incidents as JSON, and the ids given lately; only what is new is written.

        While thousands are open, as in an attack on all senders, few change between two
        checkpoints: to write all of them would keep the next events waiting for seconds.
        """
        texts = self._texts
        for slot, incident in self.open.items():
            if slot not in texts:
                texts[slot] = _written(slot, incident)
        opened = b"[%b]" % b",".join([texts[slot] for slot in self.open])
        return {"open": opened, "ids": bytes(self._ids)}

    def restore(self, parts: Mapping[str, Any], texts: Mapping[str, bytes]) -> None:
        """Take over what ``snapshot`` and ``texts`` returned."""
        self.open = {_slot(slot): _read(one) for slot, one in json.loads(texts["open"])}
        self._texts = {}
        self.last_opened = set(texts["ids"].decode().split())
        self._ids = bytearray(texts["ids"])
        self._pending = [(at, _slot(slot)) for at, slot in parts["pending"]]
        self.overflowed = parts["overflowed"]
        self._may_be_frozen = True


def _seconds(first: int, last: int) -> float:
    """Return the seconds from the first contributing event to the last, no finer than known.

    Rows of some detectors keep the first one's time to the second. The true time is up to a second
    less than the difference: whole seconds are within one of it.

    >>> [_seconds(first, 8_820_000) for first in (5_000_000, 5_200_000, 8_000_000)]
    [3.0, 3.62, 1.0]
    """
    known = last - first
    if first % SECOND == 0 and last % SECOND != 0:
        return float(max(known // SECOND, 1))
    return known / SECOND


def _written(slot: Slot, incident: Incident) -> bytes:
    sets = {"source_keys": incident.source_keys, "sender_keys": incident.sender_keys}
    fields = vars(incident) | {name: sorted(keys) for name, keys in sets.items()}
    return json.dumps([slot, fields], separators=(",", ":"), sort_keys=True).encode()


def _read(written: Mapping[str, Any]) -> Incident:
    sets = {name: set(written[name]) for name in ("source_keys", "sender_keys")}
    return Incident(**{**written, **sets})


def _slot(numbers: list[int]) -> Slot:
    return (numbers[0], numbers[1], numbers[2])


def _shown(sender: str | None) -> str:
    return safe(sender) if sender else "(unknown)"


def _key_of(columns: tuple[str, ...], event: CallbackEvent | None, sender: str | None) -> list[str]:
    """Return the words of a table's key columns."""
    if event is None:
        return [sender or ""]
    words = []
    for column in columns:
        if column == "source":
            words.append(source_prefix(event.source_ip))
        else:
            words.append(str(getattr(event, column) or ""))
    return words
