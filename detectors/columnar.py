"""Tables to columns without JSON: the fourth way, for Parquet and DataFrames.

A row is taken where every field is plainly valid. Each distinct text is judged once, by the field
of the model itself, and so is each distinct combination of verdict, reason and the like; ranges of
numbers are those of the model. Every other row becomes the JSON value that it stands for and goes
the ways of ``detectors.batch``: so the model alone decides what is valid, and says why. A test
with hostile tables holds this to the way through JSON, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.batch import Decoded, Decoder, EventBatch, Rejected
from detectors.combinations import combinations, edges_of
from detectors.config import Config
from detectors.event import BELIEVED, EVENT, KINDS, REASONS, VERDICTS
from detectors.naming import NotCanonicalError, remember
from detectors.plain_fields import agree, is_plain
from detectors.rooms import empty, zeros
from detectors.scanner import NO_TYPE
from detectors.table_fields import FINGERPRINTS, FLAGS, NEEDED, TIMES, Fields, Flags
from detectors.table_rows import VERDICT_CODES, Word, code_of, write
from ingest.schema import UNKNOWN_SENDER
from ingest.sources import Lines
from ingest.tables import Table

MOST_REMEMBERED: Final = 256
"""Characters of a text that is remembered beyond its table; no longer one is valid."""
SLOW_ROWS: Final = 8_192
"""Rows that are rendered at a time."""
_CODES: Final[Mapping[str, Mapping[str, int]]] = {
    "kind": {str(name): code for name, code in KINDS.items()},
    "verdict": {str(name): code for name, code in VERDICTS.items()},
    "reason": {str(name): code for name, code in REASONS.items()},
    "source_ip_from": {str(name): code for name, code in BELIEVED.items()},
}
_WHOLE: Final = ("body_bytes", "status", "attempt", "asn")
_OF_CLIENT: Final = ("user_agent", "tls_fp", "client_cert_fp")
_ITSELF: Final = (
    "receiver", "endpoint", "kind", "sender", "verdict", "reason", "key_id", "event_type",
    "country",
)  # fmt: skip
"""Texts that stand for columns of an event by themselves, of the same name."""
_NO_VALUES: Final = np.zeros((0, 0), np.int64)


class _Texts:
    """The dictionary of a column, and what was found out about its texts.

    One more than it has stands for nothing.
    """

    def __init__(self, dictionary: Any, n: int, missing: tuple[int, ...], *, needed: bool) -> None:
        self.dictionary = dictionary
        self.texts = np.full(n + 1, None, np.object_)
        self.ok = np.zeros(n + 1, np.bool_)
        self.seen = np.zeros(n + 1, np.bool_)
        self.values = np.zeros((n + 1, len(missing)), np.int64)
        self.values[n] = missing
        self.ok[n] = not needed
        self.seen[n] = True
        self.left = n
        """How many have not been seen."""
        self.faults = 0
        """How many of those seen are not plainly valid."""


class _Field:
    """One field of text: what its texts stand for, each distinct one looked at once."""

    def __init__(
        self,
        name: str,
        stands_for: Callable[[str], tuple[int, ...]] = lambda _: (),
        missing: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self._stands_for = stands_for
        self._missing = missing
        self._known: dict[str, tuple[int, ...] | None] = {}
        self._texts = _Texts(None, 0, missing, needed=name in NEEDED)
        self._codes = np.zeros(1, np.int32)

    def look(self, fields: Fields) -> Word:
        """Return what the texts of a table stand for; unmark rows with one that is not valid."""
        dictionary, self._codes, has_missing = fields.text(self.name)
        texts = self._texts
        if texts.dictionary is None or not dictionary.equals(texts.dictionary):
            needed = self.name in NEEDED
            texts = _Texts(dictionary, len(dictionary), self._missing, needed=needed)
            self._texts = texts
        if texts.left:
            used = np.zeros(len(texts.seen), np.bool_)
            used[self._codes] = True
            self._learn(texts, np.flatnonzero(used & ~texts.seen))
        if texts.faults or (has_missing and not texts.ok[-1]):
            fields.ok &= texts.ok[self._codes]
        return self.word

    def _learn(self, texts: _Texts, places: NDArray[np.int64]) -> None:
        """Look at texts of a dictionary, of which most are known from the one before."""
        known = self._known
        strings = _strings(texts.dictionary, places)
        values = [known[one] if one in known else self._values(one) for one in strings]
        valid = np.array([one is not None for one in values], np.bool_)
        took = places[valid]
        if len(took):
            texts.ok[took] = True
            texts.values[took] = np.array(list(compress(values, valid)), np.int64)
            texts.texts[took] = list(compress(strings, valid))
        texts.seen[places] = True
        texts.left -= len(places)
        texts.faults += len(places) - len(took)

    def _values(self, text: str | None) -> tuple[int, ...] | None:
        """Return what a text stands for, None where it is not plainly valid."""
        values = None
        if text is None:
            return None
        if is_plain(self.name, text):
            try:
                values = self._stands_for(text)
            except (NotCanonicalError, ValueError, KeyError):
                values = None
        if len(text) > MOST_REMEMBERED:
            return values
        return remember(self._known, text, values)

    @property
    def word(self) -> Word:
        """What the texts of the last table stand for."""
        return Word(self._codes, self._texts.values)

    def text(self, row: int) -> str | None:
        """Return a text of the last table, None where there is none or it is not valid."""
        codes = self._codes
        found: str | None = self._texts.texts[codes[row if len(codes) > 1 else 0]]
        return found


class ColumnDecoder:
    """Decodes tables under one configuration, beside a decoder of values."""

    def __init__(self, config: Config, decoder: Decoder | None = None) -> None:
        self.config = config
        self._decoder = decoder or Decoder(config)
        self._names = self._decoder.names
        self._edges = edges_of(config)
        self._ranged = np.array([bool(networks) for networks in config.networks], np.bool_)
        self._accepted = np.zeros(0, np.bool_)
        names = self._names

        def name(text: str) -> tuple[int, ...]:
            return (names.name(text),)

        def sender(text: str) -> tuple[int, ...]:
            key = names.name(text) * (text != UNKNOWN_SENDER)
            return key, int(config.is_named(text))

        def country(text: str) -> tuple[int, ...]:
            return (26 * ord(text[0]) + ord(text[1]) - 1754,)  # AA = 1

        self._fields = {
            one.name: one
            for one in (
                _Field("event_type", name, (NO_TYPE,)),
                _Field("endpoint", name, (0,)),
                _Field("key_id", name, (0,)),
                _Field("country", country, (0,)),
                _Field("receiver", names.receiver, (0, 0)),
                _Field("sender", sender, (0, 0)),
                _Field(
                    "provider", lambda text: (config.who("", text, 0),), (config.who("", None, 0),)
                ),
                _Field("source_ip", names.address, (0, 0)),
                *(_Field(one, _coded_by(codes), (0,)) for one, codes in _CODES.items()),
                *(_Field(one) for one in ("content_type", "method")),
                *(_Field(one) for one in _OF_CLIENT),
            )
        }

    def piece(self, piece: Lines | Table) -> Decoded:
        """Decode lines or a table; places are those of its values or rows."""
        if isinstance(piece, Lines):
            return self._decoder.buffer(piece.buffer, piece.spans)
        return self.table(piece)

    def table(self, table: Table) -> Decoded:
        """Decode a table; places are those of its rows."""
        n = len(table)
        ok = np.ones(n, np.bool_)
        fields = Fields(table, ok)
        if getattr(numba.config, "DISABLE_JIT", 0) or not fields.may_be():
            ok[:] = False  # uncompiled it is no fast way
            columns, ids = zeros(n, EVENT), np.zeros(n, np.int64)
        else:
            columns, ids = self._filled(fields)
        slow = np.flatnonzero(~ok)
        done = self._slowly(table, slow, columns, ids, ok)
        places = np.arange(n)
        spans = np.empty((n, 2), np.int64)
        spans[:, 0], spans[:, 1] = -1, places
        if not ok.all():
            columns, ids, places, spans = columns[ok], ids[ok], places[ok], spans[ok]
        batch = EventBatch(columns, ids, places, b"", spans, tables=(table,))
        return Decoded(batch, done.rejected, done.reports, done.controls, done.newer_schema)

    def _slowly(
        self,
        table: Table,
        rows: NDArray[np.int64],
        columns: NDArray[Any],
        ids: NDArray[np.int64],
        ok: Flags,
    ) -> Decoded:
        """Let the other ways decode these rows."""
        found = Decoded(EventBatch(columns[:0], ids[:0], ids[:0], b"", np.zeros((0, 2), np.int64)))
        newer = 0
        for start in range(0, len(rows), SLOW_ROWS):
            part = rows[start : start + SLOW_ROWS]
            done = self._decoder.values(table.values(part.tolist()))
            took = part[done.batch.index]
            columns[took], ids[took], ok[took] = done.batch.columns, done.batch.ids, True
            found.rejected.extend(
                Rejected(int(part[one.index]), one.code, one.message) for one in done.rejected
            )
            found.reports.extend(one._replace(place=int(part[one.place])) for one in done.reports)
            found.controls.extend((int(part[place]), one) for place, one in done.controls)
            newer += done.newer_schema
        return Decoded(found.batch, found.rejected, found.reports, found.controls, newer)

    def _filled(self, fields: Fields) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return events and ids of the rows that are plainly valid, which ``fields.ok`` tells."""
        numbers = {name: fields.time(name) for name in TIMES}
        numbers |= {name: fields.number(name, 0) for name in _WHOLE}
        numbers |= {name: fields.flag(name) for name in FLAGS}
        numbers |= {name: fields.fingerprint(name) for name in FINGERPRINTS}
        fields.number("schema", 0)
        duration = fields.number("duration_ms", -1.0)
        rate = fields.number("sample_rate", 1.0)
        ids = fields.id()
        of = {name: one.look(fields) for name, one in self._fields.items()}
        if not fields.ok.any():
            return zeros(len(ids), EVENT), ids
        words = {name: of[name] for name in _ITSELF}
        words["address"], words["believed"] = of["source_ip"], of["source_ip_from"]
        words["client"] = self._clients(of)
        words["who"] = who = self._who(of, numbers["received_at"])
        words["registered"] = self._registered(of)
        words["in_range"] = self._in_range(who, of["source_ip"])
        columns = empty(len(fields.ok), EVENT)
        if not len(self._accepted):
            self._accepted = _accepted()
        write(columns, fields.ok, words, numbers, duration, rate, self._accepted)
        self._decoder.announce(columns)
        return columns, ids

    def _clients(self, of: Mapping[str, Word]) -> Word:
        agent, tls, certificate = (self._fields[name] for name in _OF_CLIENT)
        return _combined(
            [of[name] for name in _OF_CLIENT],
            lambda row: self._names.client((agent.text(row), tls.text(row), certificate.text(row))),
        )

    def _who(self, of: Mapping[str, Word], times: NDArray[np.int64]) -> Word:
        """Return the classes of parameters: by the provider, if no sender has one of its own."""
        codes, values = of["sender"]
        is_named = values[:, 1] != 0
        if not is_named.any():
            return of["provider"]
        sender, provider = self._fields["sender"], self._fields["provider"]
        named = is_named[codes]  # all others are alike
        since = np.where(named, np.searchsorted(self._edges, times, "right"), 0)
        names = np.where(named, codes, len(values) - 1)
        return _combined(
            [
                Word(names.astype(np.int32), values),
                of["provider"],
                Word(since.astype(np.int32), _NO_VALUES),
            ],
            lambda row: self.config.who(
                sender.text(row) or "", provider.text(row), int(times[row])
            ),
        )

    def _registered(self, of: Mapping[str, Word]) -> Word:
        register = self.config.register
        if not register.senders and not register.endpoints:
            return Word.of(0)
        sender, endpoint = self._fields["sender"], self._fields["endpoint"]
        return _combined(
            [of["sender"], of["endpoint"]],
            lambda row: register.bits(sender.text(row) or "", endpoint.text(row) or ""),
        )

    def _in_range(self, who: Word, address: Word) -> Word:
        if not self._ranged[who.values[:, 0]].any():
            return Word.of(-1)
        source_ip = self._fields["source_ip"]

        def inside(row: int) -> int:
            text = source_ip.text(row)
            at = int(who.codes[0 if who.is_alike else row])
            return -1 if text is None else self._names.in_range(int(who.values[at, 0]), text)

        return _combined([who, address], inside)


def _combined(words: Sequence[Word], stands_for: Callable[[int], int]) -> Word:
    """Return what each combination stands for, as its first row has it."""
    differing = [word.codes for word in words if not word.is_alike]
    if not differing:
        return Word.of(stands_for(0))
    first, group = combinations(differing)
    values = np.array([stands_for(row) for row in first.tolist()], np.int64)
    return Word(group.astype(np.int32), values[:, np.newaxis])


def _accepted() -> Flags:
    """Ask the model which combinations of verdict, reason and signature it accepts."""
    found = np.zeros(VERDICT_CODES, np.bool_)
    for verdict in VERDICTS.values():
        for reason in (0, *REASONS.values()):
            for flag in (-1, 0, 1):
                found[code_of(verdict, reason, flag)] = agree(verdict, reason, flag)
    return found


def _coded_by(codes: Mapping[str, int]) -> Callable[[str], tuple[int, ...]]:
    return lambda text: (codes[text],)


def _strings(dictionary: Any, places: NDArray[np.int64]) -> Sequence[str | None]:
    """Return texts of a dictionary, None for what is no UTF-8."""
    import pyarrow as pa

    if not len(places):
        return []
    chosen = dictionary if len(places) == len(dictionary) else dictionary.take(pa.array(places))
    try:
        return list(chosen.to_numpy(zero_copy_only=False))
    except (UnicodeDecodeError, pa.ArrowException):
        return [_string(one) for one in chosen]


def _string(scalar: Any) -> str | None:
    try:
        return str(scalar.as_py())
    except UnicodeDecodeError:
        return None
