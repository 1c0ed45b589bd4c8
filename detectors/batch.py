"""A batch of decoded events: one buffer of JSON values with spans in, one structured array out.

Three ways lead to the same columns, and a fourth for tables (``detectors.columnar``). The fastest
(``detectors.scan``, compiled) takes events in their usual form whose texts were seen before. The
second (msgspec) takes events in canonical form: texts within their limits and without control
characters, times in UTC with at most six decimals. Whatever neither takes goes to the pydantic
model, which accepts it or names what is wrong. So the model alone decides what is valid, and the
fast ways can only be subsets of it (tests with hostile input hold all of them to it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from mmap import mmap
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.config import Config
from detectors.event import BELIEVED, EVENT, KINDS, PROVED_BY_ORDER, REASONS, VERDICTS
from detectors.keys import hex_key, id_key
from detectors.naming import Names, NotCanonicalError, remember
from detectors.plans import Announced
from detectors.reports import usual_report
from detectors.scanner import Scanner
from detectors.words import CLIENT, CODES, FROM, NAME, RECEIVER, WHO
from ingest.control import Control, parse_control
from ingest.errors import ControlError, EventError
from ingest.rfc3339 import to_us
from ingest.schema import (
    MAX_EVENT_BYTES,
    SCHEMA_VERSION,
    UNKNOWN_SENDER,
    CallbackEvent,
    Report,
    dump_event,
    parse_event,
    parse_report,
)
from ingest.tables import Table
from ingest.vocabulary import TEXT_PATTERN

MOST_WEIGHT = 1e6
"""An event stands for a million at most: a sample rate near 0 must not swallow every count."""
FEW_ROWS = 64
"""A table is given up for those of its rows that are still needed where they are so few a part."""

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_US = 86_400_000_000
_VERDICTS: Mapping[str, int] = {str(name): code for name, code in VERDICTS.items()}
_KINDS: Mapping[str, int] = {str(name): code for name, code in KINDS.items()}
_REASONS: Mapping[str | None, int] = {None: 0} | {str(n): code for n, code in REASONS.items()}
_BELIEVED: Mapping[str, int] = {str(name): code for name, code in BELIEVED.items()}
_FLAGS = {None: -1, False: 0, True: 1}


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The event as it stands in JSON, types only; what else is valid is the model's business."""

    schema: Literal[1]
    id: str
    received_at: str
    receiver: str
    endpoint: str
    kind: str
    sender: str
    verdict: str
    body_bytes: int
    source_ip: str
    source_ip_from: str
    provider: str | None = None
    reason: str | None = None
    signature_ok: bool | None = None
    duplicate: bool | None = None
    key_id: str | None = None
    signed_at: str | None = None
    event_type: str | None = None
    event_created_at: str | None = None
    delivery_fp: str | None = None
    signature_fp: str | None = None
    body_fp: str | None = None
    path_fp: str | None = None
    content_type: str | None = None
    method: str | None = None
    status: int | None = None
    duration_ms: float | None = None
    attempt: int | None = None
    asn: int | None = None
    country: str | None = None
    user_agent: str | None = None
    tls_fp: str | None = None
    client_cert_fp: str | None = None
    sample_rate: float = 1.0
    ext: dict[str, msgspec.Raw] | None = None


class _Sender(msgspec.Struct, gc=False):
    """The one word of an event that the roster needs."""

    sender: str


_decode_sender = msgspec.json.Decoder(_Sender).decode

_NO_COLUMNS, _NOTHING, _NO_SPANS = (
    np.zeros(0, EVENT),
    np.zeros(0, np.int64),
    np.zeros((0, 2), np.int64),
)
_FILLED = (
    "t", "sender", "event_type", "endpoint", "path", "source", "address", "receiver", "service",
    "key_id", "client", "unit", "delivery", "claimed", "signed_at", "created_at", "body_bytes",
    "duration_ms", "weight", "asn", "country", "status", "attempt", "who", "kind", "verdict",
    "reason", "signature_ok", "duplicate", "believed", "signed", "in_range", "registered",
)  # fmt: skip


@dataclass(frozen=True)
class Rejected:
    """An event that was not accepted."""

    index: int
    """Place among the values that were given to the decoder."""
    code: str
    message: str
    offset: int | None = None


@dataclass(frozen=True)
class EventBatch:
    """Accepted events: columns for the steps, and the JSON from which words can be had."""

    columns: NDArray[Any]
    ids: NDArray[np.int64]
    """A 64-bit key of each event's id."""
    index: NDArray[np.int64]
    """Place of each event among the values that were given to the decoder."""
    buffer: bytes | memoryview | mmap
    spans: NDArray[np.int64]
    """Start and end in the buffer; or -1 - n and a row of ``tables[n]``."""
    tables: tuple[Table, ...] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        return len(self.columns)

    def event(self, i: int) -> CallbackEvent:
        """Return event i with all its words."""
        return parse_event(self.value(i))

    def sender(self, i: int) -> str:
        """Return the sender of event i."""
        start, row = self.spans[i].tolist()
        if start < 0:
            found: str | None = self.tables[-1 - start].text("sender", row)
            if found is not None:
                return found
        return _decode_sender(self.value(i)).sender

    def value(self, i: int) -> bytes:
        """Return the JSON of event i."""
        start, end = self.spans[i].tolist()
        if start < 0:
            value: bytes = self.tables[-1 - start].values([end])[0]
            return value
        return bytes(self.buffer[start:end])

    def take(self, order: NDArray[Any] | slice) -> EventBatch:
        """Return the events at these places, in this order."""
        return EventBatch(
            chosen(self.columns, order),
            self.ids[order],
            self.index[order],
            self.buffer,
            self.spans[order],
            tables=self.tables,
        )


def chosen(records: NDArray[Any], order: NDArray[Any] | slice) -> NDArray[Any]:
    """Return records at these places; copied whole, since numpy would copy field by field."""
    if isinstance(order, slice):
        return records[order]
    whole = records.view(np.dtype((np.void, records.dtype.itemsize)))
    found: NDArray[Any] = whole[order].view(records.dtype)
    return found


def joined(first: EventBatch, second: EventBatch) -> EventBatch:
    """Return the events of two batches, one after the other."""
    whole = np.dtype((np.void, first.columns.dtype.itemsize))
    columns = np.concatenate([first.columns.view(whole), second.columns.view(whole)])
    spans = np.concatenate([first.spans, second.spans])
    later = spans[len(first) :]
    of_table = later[:, 0] < 0
    later[of_table, 0] -= len(first.tables)
    later[~of_table] += len(first.buffer)
    return EventBatch(
        columns.view(first.columns.dtype),
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.index, second.index]),
        bytes(first.buffer) + bytes(second.buffer),
        spans,
        tables=first.tables + second.tables,
    )


def kept_apart(batch: EventBatch) -> EventBatch:
    """Return the same events in memory of their own, without what else their memory holds.

    Rows of a table of which few are left become JSON; of others the table is kept as it is.
    """
    spans = np.zeros((len(batch), 2), np.int64)
    values: list[bytes] = []
    tables: list[Table] = []
    end = 0
    of = batch.spans[:, 0].clip(max=0)  # its table, 0 for the buffer
    for which in np.unique(of).tolist():
        mine = np.flatnonzero(of == which)
        if which == 0:
            said = [batch.value(i) for i in mine.tolist()]
        else:
            table, rows = batch.tables[-1 - which], batch.spans[mine, 1]
            if FEW_ROWS * len(mine) > len(table):
                tables.append(table)
                spans[mine, 0], spans[mine, 1] = -len(tables), rows
                continue
            said = table.values(rows.tolist())
        ends = end + np.cumsum([len(value) for value in said], dtype=np.int64)
        spans[mine, 1] = ends
        spans[mine, 0] = np.concatenate([[end], ends[:-1]])
        values += said
        end = int(ends[-1])
    everything = np.arange(len(batch))
    return EventBatch(
        chosen(batch.columns, everything),
        batch.ids.copy(),
        everything,
        b"".join(values),
        spans,
        tables=tuple(tables),
    )


class ReportAt(NamedTuple):
    """A receiver's report, where and when."""

    place: int
    """Among the values that were given to the decoder."""
    t: int
    report: Report | None
    """None where only its time counts."""


@dataclass(frozen=True)
class Decoded:
    """What became of a sequence of values; every value is in exactly one of the parts."""

    batch: EventBatch
    rejected: list[Rejected] = field(default_factory=list)
    reports: list[ReportAt] = field(default_factory=list)
    controls: list[tuple[int, Control]] = field(default_factory=list)
    """Control records that may be believed, and their places."""
    newer_schema: int = 0


class Decoder:
    """Decodes values under one configuration, and remembers keys of names between batches."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._announced = Announced()
        for sender, plans in config.plans.items():
            for plan in plans:
                self._announced.add(sender, plan)
        self._register = config.register
        self._decode = msgspec.json.Decoder(_Wire).decode
        self._scanner = Scanner()
        self.names = Names(config)
        self._days: dict[str, int] = {}

    def values(self, values: Sequence[bytes]) -> Decoded:
        """Decode separate values (records of a log)."""
        ends = np.cumsum([len(value) for value in values], dtype=np.int64)
        spans = np.empty((len(values), 2), np.int64)
        spans[:, 1] = ends
        spans[1:, 0] = ends[:-1]
        spans[:1, 0] = 0
        return self.buffer(b"".join(values), spans)

    def buffer(self, buffer: bytes | memoryview, spans: NDArray[np.int64]) -> Decoded:
        """Decode the values at these spans of one buffer."""
        rows: list[tuple[Any, ...]] = []
        ids: list[int] = []
        index: list[int] = []
        done = Decoded(no_events(buffer))
        newer = 0
        view = memoryview(buffer)
        scanned = self._scanner.begin(buffer, spans)
        for i in scanned.left():
            start, end = spans[i].tolist()
            value = view[start:end]
            try:
                wire = self._canonical(value)
                row, key = self._row(wire, canonical=False)
                self._teach(wire)
            except (msgspec.MsgspecError, RecursionError, NotCanonicalError, ValueError, KeyError):
                wire_or_none, is_newer = self._slowly(i, bytes(value), done)
                if wire_or_none is None:
                    continue
                wire = wire_or_none
                newer += is_newer
                row, key = self._row(wire, canonical=True)
            rows.append(row)
            ids.append(key)
            index.append(i)
        columns, keys, kept = scanned.columns, scanned.keys(), scanned.taken
        for name, column in zip(_FILLED, zip(*rows, strict=True), strict=False):
            columns[name][index] = column
        keys[index] = ids
        kept[index] = True
        places = np.arange(len(spans))
        if not kept.all():
            columns, keys, places, spans = columns[kept], keys[kept], places[kept], spans[kept]
        self.announce(columns)
        batch = EventBatch(columns, keys, places, buffer, spans)
        return Decoded(batch, done.rejected, done.reports, done.controls, newer)

    def _teach(self, w: _Wire) -> None:
        """Let the scanner take events with these texts from now on.

        Of most events it knows all texts but one: only what it wants is worked out.
        """
        words, names = self._scanner.words, self.names
        coded = (w.kind, w.verdict, w.reason, w.source_ip_from)
        if words.wants(CODES, coded):
            codes = _KINDS[w.kind] | _VERDICTS[w.verdict] << 8
            codes |= _REASONS[w.reason] << 16 | _BELIEVED[w.source_ip_from] << 24
            words.add(CODES, coded, (codes, 0, 0))
        for text in (w.event_type, w.key_id):
            if text is not None and words.wants(NAME, (text,)):
                words.add(NAME, (text,), (names.name(text), 0, 0))
        if words.wants(RECEIVER, (w.receiver,)):
            words.add(RECEIVER, (w.receiver,), (*names.receiver(w.receiver), 0))
        client = (w.user_agent, w.tls_fp, w.client_cert_fp)
        if words.wants(CLIENT, client):
            words.add(CLIENT, client, (names.client(client), 0, 0))
        if not self.config.is_steady(w.sender, w.provider):
            return  # its class of parameters depends on the time
        who = self.config.who(w.sender, w.provider, 0)
        called = (w.sender, w.provider, w.endpoint)
        if words.wants(WHO, called):
            sender = names.name(w.sender) * (w.sender != UNKNOWN_SENDER)
            both = who << 8 | self._register.bits(w.sender, w.endpoint)
            words.add(WHO, called, (sender, names.name(w.endpoint), both))
        if words.wants(FROM, (w.source_ip,), who):
            came_from = (*names.address(w.source_ip), names.in_range(who, w.source_ip))
            words.add(FROM, (w.source_ip,), came_from, salt=who)

    def announce(self, columns: NDArray[Any]) -> None:
        """Fill what was announced for senders at the times of their events."""
        self._announced.mark(columns)

    def _canonical(self, value: memoryview) -> _Wire:
        if len(value) > MAX_EVENT_BYTES:
            raise NotCanonicalError
        return self._decode(value)

    def _slowly(self, i: int, value: bytes, done: Decoded) -> tuple[_Wire | None, int]:
        """Ask the model; sort out reports and control records; name what is wrong."""
        if (usual := usual_report(value)) is not None:  # the model needs ten times as long
            done.reports.append(ReportAt(i, to_us(usual.at), usual))
            return None, 0
        try:
            event = parse_event(value)
        except EventError as error:
            if error.code == "schema_invalid":
                envelope = _envelope(value)
                if "report" in envelope:
                    self._report(i, value, done)
                    return None, 0
                if "control" in envelope:
                    self._control(i, value, done)
                    return None, 0
            done.rejected.append(Rejected(i, error.code, error.message))
            return None, 0
        newer = int(event.schema_version > SCHEMA_VERSION)
        canonical = dump_event(event.model_copy(update={"schema_version": SCHEMA_VERSION}))
        return msgspec.json.decode(canonical, type=_Wire), newer

    def _control(self, i: int, value: bytes, done: Decoded) -> None:
        try:
            done.controls.append((i, parse_control(value, self.config.control_key)))
        except ControlError as error:
            done.rejected.append(Rejected(i, error.code, str(error)))

    def _report(self, i: int, value: bytes, done: Decoded) -> None:
        try:
            report = parse_report(value)
        except EventError as error:
            done.rejected.append(Rejected(i, error.code, error.message))
            return
        done.reports.append(ReportAt(i, to_us(report.at), report))

    def _row(self, w: _Wire, *, canonical: bool) -> tuple[tuple[Any, ...], int]:
        """Return the filled columns of one event and the key of its id.

        Where ``canonical`` is false, whatever is not in canonical form raises (KeyError,
        ValueError or NotCanonicalError) and is left to the model.
        """
        if not canonical:
            _check_texts(w)
            _check_rest(w)
        sender = self.names.name(w.sender) * (w.sender != UNKNOWN_SENDER)
        receiver, service = self.names.receiver(w.receiver)
        address, source = self.names.address(w.source_ip)
        t = self._time(w.received_at)
        who = self.config.who(w.sender, w.provider, t)
        proved = (
            w.verdict == "verified"
            or w.signature_ok is True
            or (w.reason in PROVED_BY_ORDER and w.signature_ok is None)
        )
        delivery = hex_key(w.delivery_fp) if w.delivery_fp else 0
        signature = hex_key(w.signature_fp) if w.signature_fp else 0
        endpoint = self.names.name(w.endpoint)
        return (
            t,
            sender,
            self.names.name(w.event_type or ""),
            endpoint,
            hex_key(w.path_fp) if w.path_fp else endpoint,
            source,
            address,
            receiver,
            service,
            self.names.name(w.key_id) if w.key_id else 0,
            self.names.client((w.user_agent, w.tls_fp, w.client_cert_fp)),
            (signature or delivery) if proved else 0,
            (delivery or signature) if proved else 0,
            delivery or signature,
            self._time(w.signed_at) if w.signed_at else 0,
            self._time(w.event_created_at) if w.event_created_at else 0,
            w.body_bytes,
            -1.0 if w.duration_ms is None else w.duration_ms,
            min(1.0 / w.sample_rate, MOST_WEIGHT),
            (w.asn or 0) & 0x7FFFFFFF,
            26 * ord(w.country[0]) + ord(w.country[1]) - 1754 if w.country else 0,  # AA = 1
            w.status or 0,
            w.attempt or 0,
            who,
            _KINDS[w.kind],
            _VERDICTS[w.verdict],
            _REASONS[w.reason],
            _FLAGS[w.signature_ok],
            _FLAGS[w.duplicate],
            _BELIEVED[w.source_ip_from],
            1 if signature else 0,
            self.names.in_range(who, w.source_ip),
            self._register.bits(w.sender, w.endpoint),
        ), id_key(w.id)

    def _time(self, text: str) -> int:
        if text.endswith("+00:00"):  # as Python's isoformat writes it
            text = text[:-6] + "Z"
        if len(text) > 27 or not _TIME.fullmatch(text):
            raise NotCanonicalError
        day = self._days.get(text[:10])
        if day is None:
            midnight = (date.fromisoformat(text[:10]).toordinal() - _EPOCH_DAY) * _DAY_US
            day = remember(self._days, text[:10], midnight)
        seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        fraction = text[20:-1]
        return day + seconds * 1_000_000 + (int(fraction.ljust(6, "0")) if fraction else 0)


_LIMITS = (128, 128, 256, 128, 64, 64, 256, 256, 32, 128, 128, 2)
_TEXT, _COUNTRY = re.compile(TEXT_PATTERN), re.compile("[A-Z]{2}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX32 = re.compile(r"[0-9a-f]{32}")


def _check_texts(w: _Wire) -> None:
    """Raise unless every text is one that the model takes."""
    texts = (
        w.sender, w.receiver, w.endpoint, w.event_type, w.provider, w.key_id, w.user_agent,
        w.content_type, w.method, w.tls_fp, w.client_cert_fp, w.country,
    )  # fmt: skip
    for text, limit in zip(texts, _LIMITS, strict=True):
        if text is not None and not (
            0 < len(text) <= limit and (text.isprintable() or _TEXT.fullmatch(text))
        ):
            raise NotCanonicalError
    if w.country is not None and not _COUNTRY.fullmatch(w.country):
        raise NotCanonicalError


def _check_rest(w: _Wire) -> None:
    """Raise unless numbers, ids and verdict are as the model wants them."""
    for digits in (w.delivery_fp, w.signature_fp, w.body_fp, w.path_fp):
        if digits is not None and not _HEX32.fullmatch(digits):
            raise NotCanonicalError
    rejected = w.verdict == "rejected"
    fits = (
        _UUID.fullmatch(w.id)
        and rejected == (w.reason is not None)
        and not (w.verdict == "verified" and w.signature_ok is False)
        and 0 <= w.body_bytes <= 2**40
        and (w.status is None or 100 <= w.status <= 599)
        and (w.attempt is None or 1 <= w.attempt <= 1_000_000)
        and (w.asn is None or 0 <= w.asn < 2**32)
        and (w.duration_ms is None or 0 <= w.duration_ms < 1e300)
        and 0 < w.sample_rate <= 1
        and w.ext is None
    )
    if not fits:
        raise NotCanonicalError


def _envelope(value: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return found if len(found) == 2 and "schema" in found else {}


def no_events(buffer: bytes | memoryview = b"") -> EventBatch:
    """Return a batch without an event."""
    return EventBatch(_NO_COLUMNS, _NOTHING, _NOTHING, buffer, _NO_SPANS)
