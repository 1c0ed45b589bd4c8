"""Tables to columns without JSON: the fourth way, for Parquet and DataFrames.

A row is taken where every field is plainly valid. Each distinct text is judged once, by the field
of the model itself, and so is each distinct combination of verdict, reason and the like; ranges of
numbers are those of the model. Every other row becomes the JSON value that it stands for and goes
the ways of ``detectors.batch``: so the model alone decides what is valid, and says why. A test
with hostile tables holds this to the way through JSON, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.batch import MOST_WEIGHT, Decoded, Decoder, EventBatch, Rejected
from detectors.combinations import combinations, edges_of, prove
from detectors.config import Config
from detectors.event import BELIEVED, EVENT, KINDS, PROVED_BY_ORDER, REASONS, VERDICTS, VERIFIED
from detectors.naming import NotCanonicalError
from detectors.plain_fields import agree, is_plain
from detectors.rooms import zeros
from detectors.scanner import NO_TYPE
from detectors.table_fields import FINGERPRINTS, FLAGS, NEEDED, Codes, Fields, Flags
from ingest.schema import UNKNOWN_SENDER
from ingest.sources import Lines
from ingest.tables import Table

BLOCK: Final = 2_048
"""Rows whose records are written together: they stay in the processor's cache."""
SLOW_ROWS: Final = 8_192
"""Rows that are rendered at a time."""
_CODES: Final[Mapping[str, Mapping[str, int]]] = {
    "kind": {str(name): code for name, code in KINDS.items()},
    "verdict": {str(name): code for name, code in VERDICTS.items()},
    "reason": {str(name): code for name, code in REASONS.items()},
    "source_ip_from": {str(name): code for name, code in BELIEVED.items()},
}
_BY_ORDER: Final = np.zeros(max(REASONS.values()) + 1, np.bool_)
_BY_ORDER[[REASONS[name] for name in REASONS if name in PROVED_BY_ORDER]] = True


class _Texts:
    """The dictionary of a column, and what was found out about its texts."""

    def __init__(self, dictionary: Any, missing: tuple[int, ...], *, needed: bool) -> None:
        self.dictionary = dictionary
        self.texts: list[str | None] = [None] * (len(dictionary) + 1)
        self.ok = np.zeros(len(dictionary) + 1, np.bool_)
        self.seen = np.zeros(len(dictionary) + 1, np.bool_)
        self.values = np.zeros((len(missing), len(dictionary) + 1), np.int64)
        self.values[:, -1] = missing  # the last stands for nothing
        self.ok[-1] = not needed
        self.seen[-1] = True

    def text(self, place: int) -> str:
        """Return a text that is valid."""
        return self.texts[place] or ""


class ColumnDecoder:
    """Decodes tables under one configuration, beside a decoder of values."""

    def __init__(self, config: Config, decoder: Decoder | None = None) -> None:
        self.config = config
        self._decoder = decoder or Decoder(config)
        self._names = self._decoder.names
        self._edges = edges_of(config)
        self._texts: dict[str, _Texts] = {}
        self._agreed: dict[int, bool] = {}

    def piece(self, piece: Lines | Table) -> Decoded:
        """Decode lines or a table; places are those of its values or rows."""
        if isinstance(piece, Lines):
            return self._decoder.buffer(piece.buffer, piece.spans)
        return self.table(piece)

    def table(self, table: Table) -> Decoded:
        """Decode a table; places are those of its rows."""
        n = len(table)
        columns = zeros(n, EVENT)
        ids = np.zeros(n, np.int64)
        ok = np.ones(n, np.bool_)
        if getattr(numba.config, "DISABLE_JIT", 0):  # uncompiled it is no fast way
            ok[:] = False
        else:
            self._fill(Fields(table, ok), columns, ids)
        slow = np.flatnonzero(~ok)
        done = self._slowly(table, slow, columns, ids, ok)
        places = np.arange(n)
        spans = np.stack([np.full(n, -1), places], axis=1)
        if not ok.all():
            columns, ids, places, spans = columns[ok], ids[ok], places[ok], spans[ok]
        batch = EventBatch(columns, ids, places, b"", spans, tables=(table,))
        return Decoded(batch, done.rejected, done.reports, done.controls, done.newer_schema)

    def _slowly(
        self, table: Table, rows: NDArray[np.int64], columns: NDArray[Any], ids: Codes, ok: Flags
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

    def _fill(self, fields: Fields, columns: NDArray[Any], ids: Codes) -> None:
        """Fill the columns of rows that are plainly valid; ``fields.ok`` tells which."""
        if not fields.may_be():
            return
        ok = fields.ok
        made: dict[str, NDArray[Any]] = {}
        made["t"] = fields.time("received_at")
        made["signed_at"] = fields.time("signed_at")
        made["created_at"] = fields.time("event_created_at")
        for name, missing in (("body_bytes", 0), ("status", 0), ("attempt", 0), ("asn", 0)):
            made[name] = fields.number(name, missing).astype(np.int64)
        made["asn"] &= 0x7FFFFFFF
        made["duration_ms"] = fields.number("duration_ms", -1.0)
        rate = fields.number("sample_rate", 1.0)
        made["weight"] = np.minimum(1.0 / np.where(rate > 0.0, rate, 1.0), MOST_WEIGHT)
        fields.number("schema", 0)
        made["signature_ok"], made["duplicate"] = (fields.flag(name) for name in FLAGS)
        ids[:] = fields.id()
        delivery, signature, _, path = (fields.fingerprint(name) for name in FINGERPRINTS)
        self._words(fields, made)
        self._senders(fields, made)
        verdict, reason = made["verdict"], made["reason"]
        flag = made["signature_ok"]
        made["signed"] = (signature != 0).astype(np.int64)
        both = (verdict * (len(REASONS) + 1) + reason) * 3 + flag + 1
        ok &= self._agree(both)
        proved = (verdict == VERIFIED) | (flag == 1) | (_BY_ORDER[reason] & (flag == -1))
        made |= prove(proved, delivery, signature, path, made["endpoint"])
        wanted = {name: column for name, column in made.items() if not _is_nothing(column)}
        for start in range(0, len(columns), BLOCK):
            block = columns[start : start + BLOCK]
            for name, column in wanted.items():
                block[name] = column[start : start + BLOCK]
            self._decoder.announce(block)
        columns[~ok] = np.zeros((), EVENT)

    def _words(self, fields: Fields, made: dict[str, NDArray[Any]]) -> None:
        """Fill what single texts stand for."""
        names = self._names

        def name(text: str) -> tuple[int, ...]:
            return (names.name(text, canonical=True),)

        def nothing(_: str) -> tuple[int, ...]:
            return ()

        def country(text: str) -> tuple[int, ...]:
            return (26 * ord(text[0]) + ord(text[1]) - 1754,)  # AA = 1

        (made["event_type"],) = self._look(fields, "event_type", name, (NO_TYPE,))
        (made["endpoint"],) = self._look(fields, "endpoint", name, (0,))
        (made["key_id"],) = self._look(fields, "key_id", name, (0,))
        (made["country"],) = self._look(fields, "country", country, (0,))
        made["receiver"], made["service"] = self._look(
            fields, "receiver", lambda text: names.receiver(text, canonical=True), (0, 0)
        )
        for field in ("content_type", "method"):
            self._look(fields, field, nothing, ())
        for column, field in (
            ("kind", "kind"), ("verdict", "verdict"), ("reason", "reason"),
            ("believed", "source_ip_from"),
        ):  # fmt: skip
            (made[column],) = self._look(fields, field, _coded_by(_CODES[field]), (0,))
        client = [self._coded(fields, f) for f in ("user_agent", "tls_fp", "client_cert_fp")]
        first, group = combinations([codes for _, codes in client])
        keys = []
        for row in first.tolist():
            agent, tls, certificate = (texts.texts[codes[row]] for texts, codes in client)
            keys.append(names.client((agent, tls, certificate)))
        made["client"] = np.array(keys, np.int64)[group]

    def _senders(self, fields: Fields, made: dict[str, NDArray[Any]]) -> None:
        """Fill what depends on who calls, and from where."""
        names, config = self._names, self.config

        def sender(text: str) -> tuple[int, ...]:
            key = names.name(text, canonical=True) * (text != UNKNOWN_SENDER)
            return key, int(config.is_named(text))

        def provider(text: str) -> tuple[int, ...]:
            return (config.who("", text, 0),)

        made["sender"], named = self._look(fields, "sender", sender, (0, 0))
        (who,) = self._look(fields, "provider", provider, (config.who("", None, 0),))
        made["address"], made["source"] = self._look(fields, "source_ip", names.address, (0, 0))
        senders, of_sender = self._coded(fields, "sender")
        providers, of_provider = self._coded(fields, "provider")
        endpoints, of_endpoint = self._coded(fields, "endpoint")
        ips, of_ip = self._coded(fields, "source_ip")
        if named.any():
            rows = np.flatnonzero((named != 0) & fields.ok)
            since = np.searchsorted(self._edges, made["t"][rows], "right")
            first, group = combinations([of_sender[rows], of_provider[rows], since])
            found = [
                config.who(senders.text(of_sender[row]), providers.texts[of_provider[row]],
                           int(made["t"][row]))
                for row in rows[first].tolist()
            ]  # fmt: skip
            who = who.copy()
            who[rows] = np.array(found, np.int64)[group]
        made["who"] = who
        made["registered"] = np.zeros(len(who), np.int64)
        if config.register.senders or config.register.endpoints:
            rows = np.flatnonzero(fields.ok)
            first, group = combinations([of_sender[rows], of_endpoint[rows]])
            bits = [
                config.register.bits(senders.text(of_sender[row]), endpoints.text(of_endpoint[row]))
                for row in rows[first].tolist()
            ]
            made["registered"][rows] = np.array(bits, np.int64)[group]
        made["in_range"] = np.full(len(who), -1)
        ranged = np.array([bool(networks) for networks in config.networks], np.bool_)
        if ranged[who].any():
            rows = np.flatnonzero(ranged[who] & fields.ok)
            first, group = combinations([who[rows], of_ip[rows]])
            inside = [names.in_range(int(who[row]), ips.text(of_ip[row]))
                      for row in rows[first].tolist()]  # fmt: skip
            made["in_range"][rows] = np.array(inside, np.int64)[group]

    def _coded(self, fields: Fields, name: str) -> tuple[_Texts, Codes]:
        if name in ("user_agent", "tls_fp", "client_cert_fp"):
            self._look(fields, name, lambda _: (), ())
        return self._texts[name], fields.codes[name]

    def _look(
        self,
        fields: Fields,
        name: str,
        stands_for: Callable[[str], tuple[int, ...]],
        missing: tuple[int, ...],
    ) -> NDArray[np.int64]:
        """Return what the texts of a column stand for; each distinct one is looked at once."""
        dictionary, codes = fields.text(name)
        texts = self._texts.get(name)
        if texts is None or not texts.dictionary.equals(dictionary):
            texts = self._texts[name] = _Texts(dictionary, missing, needed=name in NEEDED)
        if not len(dictionary):
            fields.ok &= texts.ok[-1]
            return np.broadcast_to(texts.values[:, -1:], (len(missing), len(codes)))
        used = np.zeros(len(texts.seen), np.bool_)
        used[codes] = True
        new = np.flatnonzero(used & ~texts.seen)
        for place, text in zip(new.tolist(), _strings(dictionary, new), strict=True):
            texts.seen[place] = True
            if text is None or not is_plain(name, text):
                continue
            try:
                texts.values[:, place] = stands_for(text)
            except (NotCanonicalError, ValueError, KeyError):
                continue
            texts.texts[place] = text
            texts.ok[place] = True
        if not texts.ok[used].all():
            fields.ok &= texts.ok[codes]
        return texts.values[:, codes]

    def _agree(self, codes: Codes) -> Flags:
        """Ask the model which combinations of verdict, reason and signature it accepts."""
        used = np.flatnonzero(np.bincount(codes))
        allowed = np.zeros(int(used.max(initial=0)) + 1, np.bool_)
        for code in used.tolist():
            if code not in self._agreed:
                both, flag = divmod(code, 3)
                verdict, reason = divmod(both, len(REASONS) + 1)
                self._agreed[code] = agree(verdict, reason, flag - 1)
            allowed[code] = self._agreed[code]
        return allowed[codes]


def _is_nothing(column: NDArray[Any]) -> bool:
    """Whether a column holds 0 alone, as records do before they are filled, by its form."""
    return column.strides == (0,) and not column[:1].any()


def _coded_by(codes: Mapping[str, int]) -> Callable[[str], tuple[int, ...]]:
    return lambda text: (codes[text],)


def _strings(dictionary: Any, places: NDArray[np.int64]) -> Sequence[str | None]:
    """Return texts of a dictionary, None for what is no UTF-8."""
    import pyarrow as pa

    chosen = dictionary.take(pa.array(places))
    try:
        return list(chosen.to_pylist())
    except UnicodeDecodeError:
        return [_string(one) for one in chosen]


def _string(scalar: Any) -> str | None:
    try:
        return str(scalar.as_py())
    except UnicodeDecodeError:
        return None
