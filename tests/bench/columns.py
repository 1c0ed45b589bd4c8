"""From Parquet to columns and to alerts, beside reading alone, the way through JSON, and river.

river reads the same file, or is handed numbers that were made of it before its time began.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.batch import Decoder
from detectors.columnar import ColumnDecoder
from detectors.config import Config
from detectors.engines.local import run_local
from ingest.sources import read_pieces, table_lines
from ingest.tables import REPEATED, parquet_tables
from tests.bench.figures import Figure, per_second
from tests.bench.river_way import EVENTS as RIVER_EVENTS
from tests.bench.river_way import (
    TURNS,
    calls,
    four_statistics,
    same_statistics,
    speed,
    speed_from,
)
from tests.bench.traffic import START

EVENTS = 4_000_000
"""Most of a day: an archive's first minutes, in which tables grow, are a small part of it."""
TEXT_EVENTS = 250_000
KNOWN = 200_000
"""Events that river has seen before its time begins: a hundred of each sender."""
SENDERS = 2_000
JSON_ROWS = 50_000
PER_SECOND = 50
STEPS = ("received_at", "signed_at", "body_bytes")
UNIT = "events per CPU-second"


def _words(rng: np.random.Generator, words: list[str], n: int) -> pa.Array:
    codes = pa.array(rng.integers(0, len(words), n, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array(words))


def _bytes(rng: np.random.Generator, n: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), n, [None, pa.py_buffer(rng.bytes(16 * n))]
    )


def _hex(column: pa.Array) -> pa.Array:
    return pa.array([value.hex() for value in column.to_pylist()])


def _uuid(column: pa.Array) -> pa.Array:
    texts = [value.hex() for value in column.to_pylist()]
    return pa.array([f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts])


def traffic(n: int = EVENTS) -> pa.Table:
    """Return benign events with all that a receiver usually fills, in the order of time."""
    rng = np.random.Generator(np.random.PCG64(1))
    at = START + np.arange(n, dtype=np.int64) * (1_000_000 // PER_SECOND)
    senders = [f"customer-{i:05}" for i in range(SENDERS)]
    sizes = np.exp(rng.normal(7.5, 0.3, n)).astype(np.int64)
    moment = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "schema": pa.array(np.ones(n, np.int8)),
            "id": _bytes(rng, n),
            "received_at": pa.array(at, moment),
            "receiver": _words(rng, ["api/1.4.0@api-1", "api/1.4.0@api-2"], n),
            "endpoint": _words(rng, ["/hooks/stripe"], n),
            "kind": _words(rng, ["webhook"], n),
            "sender": _words(rng, senders, n),
            "provider": _words(rng, ["stripe"], n),
            "verdict": _words(rng, ["verified"], n),
            "signature_ok": pa.array(np.ones(n, np.bool_)),
            "key_id": _words(rng, ["key-1"], n),
            "signed_at": pa.array(at - at % 1_000_000, moment),
            "event_type": _words(rng, ["invoice.paid", "charge.succeeded", "x.updated"], n),
            "delivery_fp": _bytes(rng, n),
            "signature_fp": _bytes(rng, n),
            "body_fp": _bytes(rng, n),
            "body_bytes": pa.array(sizes),
            "content_type": _words(rng, ["application/json"], n),
            "method": _words(rng, ["POST"], n),
            "status": pa.array(np.full(n, 200, np.int16)),
            "attempt": pa.array(np.ones(n, np.int32)),
            "source_ip": _words(rng, [f"54.187.174.{i}" for i in range(160, 190)], n),
            "source_ip_from": _words(rng, ["trusted_proxy"], n),
            "user_agent": _words(rng, ["Stripe/1.0"], n),
            "asn": pa.array(np.full(n, 16_509, np.int64)),
        }
    )


def written(table: pa.Table, path: Path) -> Path:
    """Write a table as docs/archives.md says: words by dictionaries, numbers that go by steps."""
    texts = [name for name in table.column_names if name in REPEATED]
    steps = dict.fromkeys(STEPS, "DELTA_BINARY_PACKED")
    pq.write_table(
        table,
        path,
        row_group_size=1 << 16,
        use_dictionary=texts,
        compression="lz4",
        column_encoding=steps,
    )
    return path


def _all(tables: Iterable[Any]) -> None:
    for _ in tables:
        pass


def _detected(path: Path, config: Config) -> None:
    found = run_local(read_pieces([path]), config)
    assert found.accepted == EVENTS


def _through_json(path: Path, config: Config) -> None:
    decoder, left = Decoder(config), JSON_ROWS
    for table in parquet_tables(str(path)):
        for lines in table_lines(table):
            assert not decoder.buffer(lines.buffer, lines.spans).rejected
            left -= len(lines)
            if left <= 0:
                return


def figures() -> list[Figure]:
    """Measure reading, decoding and detection from files of the same events."""
    config = Config()
    with tempfile.TemporaryDirectory() as folder:
        table = traffic()
        path = written(table, Path(folder) / "events.parquet")
        texts = table.slice(0, TEXT_EVENTS)
        for name in ("delivery_fp", "signature_fp", "body_fp", "id"):
            place = texts.column_names.index(name)
            change = _uuid if name == "id" else _hex
            texts = texts.set_column(place, name, change(texts[name].combine_chunks()))
        spelled = written(texts, Path(folder) / "texts.parquet")
        plainly = Path(folder) / "plainly.parquet"
        pq.write_table(table, plainly)
        reading, of_plain = (
            per_second(EVENTS, lambda file=file: _all(parquet_tables(str(file))))
            for file in (path, plainly)
        )
        json_way = per_second(JSON_ROWS, lambda: _through_json(path, config))

        def decode(file: Path) -> None:
            decoder = ColumnDecoder(config)
            for part in parquet_tables(str(file)):
                assert len(decoder.table(part).batch) == len(part)

        sizes = [file.stat().st_size / EVENTS for file in (path, plainly)]
        columns = per_second(EVENTS, lambda: decode(path))
        others = per_second(TEXT_EVENTS, lambda: decode(spelled))
        detected = per_second(EVENTS, lambda: _detected(path, config))
        decoder = ColumnDecoder(config)
        parts = (decoder.table(part).batch for part in parquet_tables(str(path)))
        told = calls(parts, KNOWN + TURNS * RIVER_EVENTS)
        from_file = speed_from(path, same_statistics, KNOWN)
    same, four = (speed(way, told, KNOWN) for way in (same_statistics, four_statistics))
    ours, all_of_it = "Parquet to columns", "Parquet to alerts, all detectors (detect)"
    return [
        Figure("archive", sizes[0], "bytes per event", "as pyarrow writes it by itself", sizes[1]),
        Figure("reading Parquet alone", reading, UNIT, "as pyarrow writes it by itself", of_plain),
        Figure(ours, columns, UNIT, "reading Parquet alone", reading),
        Figure(ours, columns, UNIT, "the same through JSON", json_way),
        Figure(f"{ours}, ids as text", others, UNIT, "the same through JSON", json_way),
        Figure(all_of_it, detected, UNIT, "river, the same statistics, from Parquet", from_file),
        Figure(all_of_it, detected, UNIT, "river, the same statistics, reading free", same),
        Figure(all_of_it, detected, UNIT, "river, four statistics, reading free", four),
    ]


if __name__ == "__main__":
    for figure in figures():
        print(figure.line())  # noqa: T201
