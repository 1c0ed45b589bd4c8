"""Tables that go column-wise into the decoder mean what their rows mean as JSON, row by row."""

from __future__ import annotations

import json
import random
import uuid
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.alert import Alert
from detectors import columnar
from detectors.batch import Decoded, Decoder
from detectors.columnar import ColumnDecoder
from detectors.config import Config, Override
from detectors.engines import local
from detectors.engines.local import detect_frame, run_local
from detectors.engines.spool import Spool
from detectors.plain_fields import bounds, is_plain
from ingest import tables
from ingest.inventory import Inventory, Plan, Sender
from ingest.schema import FIELDS
from ingest.sources import read_events, read_pieces
from ingest.tables import ArrowTable, FrameTable, Table, frame_tables, parquet_tables
from tests.property.hostile import hostile
from tests.property.test_decoder import BASE

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
INVENTORY = Inventory(
    {"acme": Sender("acme", provider="stripe", endpoints=("/h",)), "beta": Sender("beta")},
    {},
    (Plan("campaign", "acme", NOON, NOON + timedelta(hours=1), "spring"),),
)
CONFIG = Config(
    inventory=INVENTORY,
    overrides=(
        Override("beta", "payload-volume", "why", 1_748_865_600_000_000, {"size_ratio": 20.0}),
    ),
)
HEX = "0123456789abcdef" * 2
UUID_TEXT = "2748a95e-57c0-4be0-a297-2f8abe8d0123"
WORDS = ["", "a\n", "\x7f", "\u0085", "é", "漢" * 100, "x" * 64, "x" * 65, "x" * 128, "x" * 129,
         "x" * 257, "\0", "a\\b\"c", " ", "nan", "None", "\U0001f600"]  # fmt: skip
ODD: list[Any] = [None, "", "x", 0, 1, -1, 2**63 - 1, 2**64 - 1, 2**70, 1.5, 1.0, float("nan"),
                  float("inf"), -0.0, 1e300, True, False, b"x", b"\xff" * 16, [], ["a"], {"a": 1},
                  [("a", 1)], NOON, NOON.replace(tzinfo=None), pd.NaT, pd.NA, np.int8(3),
                  np.float32(0.1), uuid.UUID(UUID_TEXT), pd.Timestamp(NOON) + pd.Timedelta(1, "ns"),
                  "\ud800", NOON.date(), timedelta(1)]  # fmt: skip
"""What may stand where something else should."""
GOOD: dict[str, list[Any]] = {
    "schema": [1, 1, 1, 1, 2],
    "id": [UUID_TEXT, "00000000-0000-0000-0000-000000000000", UUID_TEXT.upper(), HEX],
    "received_at": ["2025-06-02T11:59:59.999999Z", "2025-06-02T12:00:00Z",
                    "2025-06-02T13:30:00+01:00", "2025-06-02T12:30:00.5+00:00",
                    "1969-12-31T23:59:59.9Z", "2025-06-02T13:30:00", "2025-02-29T00:00:00Z"],
    "receiver": ["hooks/1@a", "hooks/2@b", "hooks", *WORDS],
    "endpoint": ["/h", "/g", "(unmatched)", *WORDS],
    "kind": ["webhook", "redirect", "Webhook"],
    "sender": ["acme", "beta", "gamma", "(unknown)", *WORDS],
    "verdict": ["verified", "rejected", "unverified", ""],
    "body_bytes": [0, 900, 2**40, 2**40 + 1, -1],
    "source_ip": ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "2001:DB8::1", "192.0.2.01",
                  "54.187.174.169", "fe80::1%eth0", ""],
    "source_ip_from": ["socket", "trusted_proxy", "untrusted_header", "else"],
    "provider": [None, "stripe", "github", "no-such", *WORDS],
    "reason": [None, None, "signature_invalid", "duplicate_delivery", "none"],
    "signature_ok": [None, True, False],
    "duplicate": [None, True, False],
    "key_id": [None, "k1", "k2", *WORDS],
    "signed_at": [None, "2025-06-02T11:00:00Z", "1970-01-01T00:00:00Z", "yesterday"],
    "event_type": [None, "invoice.paid", *WORDS],
    "event_created_at": [None, "2024-02-29T23:59:59.1234567Z"],
    "delivery_fp": [None, HEX, "0" * 32, "8" + "0" * 31, "C" + "0" * 31, "c0" + "0" * 30, HEX[1:]],
    "signature_fp": [None, HEX[::-1], "f" * 32, "0" * 32],
    "body_fp": [None, HEX, "g" * 32],
    "path_fp": [None, HEX, "0" * 31],
    "content_type": [None, "application/json", *WORDS],
    "method": [None, "POST", "x" * 33],
    "status": [None, 200, 404, 99, 600],
    "duration_ms": [None, 12.75, 0.0, -0.0, 3, -1.0, 1e305, 5e-324],
    "attempt": [None, 1, 1_000_000, 0, 1_000_001],
    "asn": [None, 0, 64_500, 2**32 - 1, 2**32],
    "country": [None, "DE", "de", "DEU", "É"],
    "user_agent": [None, "Stripe/1.0 (+x)", "curl/8.1", *WORDS],
    "tls_fp": [None, "t13d"],
    "client_cert_fp": [None, "ab:cd"],
    "sample_rate": [None, 1.0, 0.1, 1e-300, 1, 0.0, 1.1],
    "ext": [None, None, {"a": 1}, {}],
}  # fmt: skip
"""Of each field right values, the first ones most often, and wrong ones that look right."""
NEEDED = {name for name, field in FIELDS.items() if field.is_required()}


def rows(chance: random.Random) -> list[dict[str, Any]]:
    """Return rows of which most are right in most fields, and some are odd in some."""
    wild, strange = chance.choice([0.0, 0.02, 0.05, 0.5]), chance.choice([0.0, 0.01])
    found = []
    for number in range(chance.randrange(1, 40)):
        row: dict[str, Any] = {}
        for name, values in GOOD.items():
            safe = 1 if name in NEEDED else 2
            row[name] = chance.choice(values if chance.random() < wild else values[:safe])
            if chance.random() < strange:
                row[name] = chance.choice(ODD)
        if row["verdict"] is GOOD["verdict"][1] and chance.random() < 0.9:
            row["reason"] = "signature_invalid"
        if row["id"] is UUID_TEXT:
            row["id"] = f"{number:08x}" + UUID_TEXT[8:]
        if chance.random() < wild / 2:
            row.pop(chance.choice(list(row)))
        if chance.random() < wild / 10:
            row[chance.choice(["new", "Sender", "0"])] = chance.choice(ODD)
        found.append(row)
    return found


def as_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with categories wherever they are possible."""
    for name in frame.columns:
        with suppress(TypeError, ValueError):
            frame[name] = frame[name].astype("category")
    return frame


def as_timestamps(unit: str, zone: str | None) -> Any:
    """Return what gives times as timestamps of a unit and a zone, where all are times."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for name in ("received_at", "signed_at", "event_created_at"):
            if name in frame and all(isinstance(value, str | None) for value in frame[name]):
                with suppress(ValueError, OverflowError):
                    times = pd.to_datetime(frame[name], utc=True, format="ISO8601")
                    frame[name] = times.dt.tz_convert(zone).dt.as_unit(unit)
        return frame

    return change


def as_inferred(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the types that pandas likes best."""
    try:
        return frame.convert_dtypes()
    except (TypeError, ValueError, OverflowError, UnicodeError):
        return frame


FORMS = {
    "objects": lambda frame: frame.astype(object),
    "as read": lambda frame: frame,
    "categories": as_categories,
    "inferred": as_inferred,
    "ns": as_timestamps("ns", "UTC"),
    "us in Berlin": as_timestamps("us", "Europe/Berlin"),
    "s": as_timestamps("s", "UTC"),
    "naive": as_timestamps("us", None),
}


def the_long_way(table: Table) -> Decoded:
    """Decode the rows as JSON, without any table."""
    return Decoder(CONFIG).values(table.values(range(len(table))))


def assert_same(table: Table, decoder: ColumnDecoder) -> int:
    """Compare everything that both ways make of a table; return how many rows needed no JSON."""
    with pytest.MonkeyPatch.context() as patch:
        asked: list[int] = []
        slowly = ColumnDecoder._slowly

        def counted(self: ColumnDecoder, table: Table, slow: Any, *others: Any) -> Decoded:
            asked.append(len(slow))
            return slowly(self, table, slow, *others)

        patch.setattr(ColumnDecoder, "_slowly", counted)
        short = decoder.table(table)
    long = the_long_way(table)
    assert short.rejected == long.rejected
    assert short.batch.index.tolist() == long.batch.index.tolist()
    for name in long.batch.columns.dtype.names or ():
        ours, theirs = short.batch.columns[name], long.batch.columns[name]
        assert ours.tobytes() == theirs.tobytes(), (name, ours, theirs)
    assert short.batch.ids.tolist() == long.batch.ids.tolist()
    assert (short.newer_schema, len(short.reports)) == (long.newer_schema, len(long.reports))
    for i in range(len(long.batch)):
        assert short.batch.value(i) == long.batch.value(i)
        assert short.batch.sender(i) == long.batch.sender(i)
    return len(table) - asked[0]


DECODER = ColumnDecoder(CONFIG)
"""What it remembers of other tables makes no difference."""


def made(values: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a frame."""
    return pd.DataFrame({
        name: pd.Series([row.get(name) for row in values], dtype=object)
        for name in dict.fromkeys(name for row in values for name in row)
    })  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("natural", [False, True])
def test_frames_mean_what_their_rows_mean(form: str, natural: bool) -> None:
    """Frames of any types, right or wrong: same columns, same faults, same words."""
    fast = 0
    for number in range(20):  # other rows for each form
        frame = made(rows(random.Random(f"{form} {natural} {number}")))
        if natural:
            with suppress(UnicodeError):
                frame = frame.infer_objects()
        for table in frame_tables(FORMS[form](frame)):
            fast += assert_same(table, DECODER)
    assert fast > 10 or form == "naive"  # else nothing was compared with anything


def arrow(values: list[dict[str, Any]]) -> pa.RecordBatch:
    """Return rows as a batch of Arrow; columns that Arrow cannot hold become text."""
    columns = {}
    for name in dict.fromkeys(name for row in values for name in row):
        given_ = [row.get(name) for row in values]
        try:
            columns[name] = pa.array(given_)
        except (pa.ArrowException, UnicodeError, OverflowError, ValueError, TypeError):
            texts = [None if value is None else ascii(value) for value in given_]
            columns[name] = pa.array(texts)
    return pa.RecordBatch.from_pydict(columns)


TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.int8(), pa.int64(),
         pa.uint64(), pa.float32(), pa.float64(), pa.timestamp("s", "UTC"),
         pa.timestamp("ns", "UTC"), pa.timestamp("ms", "+05:30"), pa.timestamp("us"),
         pa.date32(), pa.bool_(), pa.null(), pa.dictionary(pa.int8(), pa.string()),
         pa.dictionary(pa.int32(), pa.int64()), pa.decimal128(20, 2), pa.binary(16)]  # fmt: skip


def test_arrow_means_what_its_rows_mean() -> None:
    """Batches of any types, cut out of larger ones: same columns, same faults, same words."""
    fast = 0
    for seed in range(250):
        chance = random.Random(seed)
        values = rows(chance)
        batch = arrow([*values, *values[:1]])
        share = chance.choice([0.0, 0.03, 0.3])
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for name, column in columns.items():
            if chance.random() < share:
                with suppress(pa.ArrowException, UnicodeError):
                    columns[name] = column.cast(chance.choice(TYPES))
        whole = pa.RecordBatch.from_pydict(columns)
        fast += assert_same(ArrowTable("x", 1, whole), DECODER)
        fast += assert_same(ArrowTable("x", 2, whole.slice(1)), DECODER)
    assert fast > 500


def test_an_id_of_the_uuid_type_is_taken_the_fast_way() -> None:
    """It is the natural type of an id; for a fingerprint it is none."""
    batch = arrow([BASE | {"delivery_fp": HEX}] * 2)
    for name, fast in (("id", 2), ("delivery_fp", 0)):
        storage = pa.array([uuid.UUID(UUID_TEXT).bytes] * 2, pa.binary(16))
        typed = pa.ExtensionArray.from_storage(pa.uuid(), storage)
        at = batch.schema.names.index(name)
        table = ArrowTable("x", 1, batch.set_column(at, name, typed))
        assert assert_same(table, DECODER) == fast


def frame_of(values: list[bytes]) -> pd.DataFrame:
    """Return the events among some values as a frame."""
    found = []
    for value in values:
        with suppress(ValueError, RecursionError):
            if isinstance(given := json.loads(value), dict):
                found.append(given)
    return made(found)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_over_parquet_is_a_run_over_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Alerts, counts, rejected rows and their words, whether tables stay in memory or do not."""
    frame = frame_of(hostile(seed).values).drop(columns=["report", "control"], errors="ignore")
    frame["received_at"] = pd.to_datetime(frame["received_at"], utc=True, errors="coerce")
    frame["schema"] = frame["schema"].astype("Int64")
    path = tmp_path / "hostile.parquet"
    frame.to_parquet(path, row_group_size=150)
    long = run_local(read_events([path]), CONFIG)
    assert len(long.alerts) > 0
    assert len(long.rejected) > 0
    for memory in (1 << 30, 1 << 16):
        monkeypatch.setattr(local, "Spool", partial(Spool, memory))
        short = run_local(read_pieces([path]), CONFIG, partitions=1)
        assert short.alerts == long.alerts
        assert short.rejected == long.rejected
        assert (short.counts, short.read, short.warnings) == (
            long.counts, long.read, long.warnings,
        )  # fmt: skip
    assert detect(frame) == long.alerts


def detect(frame: pd.DataFrame) -> list[Alert]:
    """Return the alerts of a frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return detect_frame(frame.set_index(frame.index[::-1]), CONFIG)


def test_each_text_is_judged_once_and_by_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand rows of two senders ask the model of two senders."""
    values = [{**{name: given_[0] for name, given_ in GOOD.items()}, "sender": f"s{i % 2}"}
              for i in range(1_000)]  # fmt: skip
    asked: list[tuple[str, str]] = []

    def counted(name: str, text: str) -> bool:
        asked.append((name, text))
        return is_plain(name, text)

    monkeypatch.setattr(columnar, "is_plain", counted)
    (table,) = frame_tables(made(values))
    assert len(ColumnDecoder(CONFIG).table(table).batch) == 1_000
    assert [text for name, text in asked if name == "sender"] == ["s0", "s1"]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize(
    "name", ["body_bytes", "status", "attempt", "asn", "duration_ms", "sample_rate"]
)
def test_ranges_are_those_of_the_model(name: str) -> None:
    """What the bounds of a field allow at both ends, the model allows, and nothing beyond."""
    low, high, above = bounds(name)
    start = {name: given_[0] for name, given_ in GOOD.items()}
    for value in (low, high, *(() if above is None else (above,))):
        for step in (-1, 0, 1):
            if abs(value) < 1e300:
                number = (
                    value + step if isinstance(value, int) else np.nextafter(value, value + step)
                )
                (table,) = frame_tables(made([start | {name: number}]))
                assert_same(table, DECODER)


def test_rows_are_numbered_from_the_first_of_the_file(tmp_path: Path) -> None:
    """A bad row of a later table is named by its place in the file, not by a frame's index."""
    good = {name: given_[0] for name, given_ in GOOD.items()}
    frame = made([good] * 5_000)
    frame["id"] = [f"{i:08x}" + UUID_TEXT[8:] for i in range(5_000)]
    frame.loc[4_321, "sender"] = ""
    path = tmp_path / "x.parquet"
    frame.to_parquet(path, row_group_size=1_000)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(tables, "MOST_ROWS", 700)
        found = run_local(read_pieces([path]), CONFIG)
        (bad,) = found.rejected
        assert str(bad).startswith(f"{path}:4322: schema_invalid: sender: ")
        frame.index = frame.index[::-1]
        (bad,) = run_local(frame_tables(frame), CONFIG).rejected
        assert str(bad).startswith("frame:4322: schema_invalid: sender: ")


def test_texts_that_are_no_utf_8_are_named_row_by_row(tmp_path: Path) -> None:
    """Bytes in a text column that are no text spoil their own row only."""
    good = {name: [given_[0]] * 3 for name, given_ in GOOD.items() if given_[0] is not None}
    batch = pa.RecordBatch.from_pydict(good | {"id": [f"{i:08x}{UUID_TEXT[8:]}" for i in range(3)]})
    wrong = pa.array([b"acme", b"a\xff", b"beta"]).view(pa.string())
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {"sender": wrong}
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    for table in (
        ArrowTable("x", 1, pa.RecordBatch.from_pydict(columns)),
        *parquet_tables(str(path)),
    ):
        assert_same(table, DECODER)
    found = run_local(read_pieces([path]), CONFIG)
    assert [(bad.where, bad.code) for bad in found.rejected] == [(f"{path}:2", "not_json")]
    assert found.accepted == 2


def test_a_frame_without_a_needed_column_is_refused_row_by_row() -> None:
    """No fast way takes what misses a field, and the model says which."""
    good = {name: given_[0] for name, given_ in GOOD.items() if name != "kind"}
    (table,) = frame_tables(made([good] * 2))
    assert assert_same(table, DECODER) == 0
    assert isinstance(table, FrameTable)
    messages = [fault.message for fault in DECODER.table(table).rejected]
    assert messages == ["kind: is missing"] * 2


def test_an_index_that_pandas_wrote_along_is_no_field(tmp_path: Path) -> None:
    """Rows that somebody chose from a frame are events; an index with a name is a column."""
    good = {name: given_[0] for name, given_ in GOOD.items()}
    frame = made([good] * 4)
    frame["id"] = [f"{i:08x}{UUID_TEXT[8:]}" for i in range(4)]
    path = tmp_path / "x.parquet"
    frame.iloc[[3, 0, 1]].to_parquet(path)
    assert "__index_level_0__" in pq.read_schema(path).names
    assert run_local(read_pieces([path]), CONFIG).accepted == 3
    columns = pq.read_table(path)
    for said in (b"garbage", b"\xff", b"5", b"[]", b'{"index_columns": null}', b"[" * 9_000):
        pq.write_table(columns.replace_schema_metadata({"pandas": said}), path)
        assert len(run_local(read_pieces([path]), CONFIG).rejected) == 3
    frame.iloc[[3, 0, 1]].rename_axis("mine").to_parquet(path)
    found = run_local(read_pieces([path]), CONFIG)
    assert [fault.message[:26] for fault in found.rejected] == ["mine: is no known field; a"] * 3


def test_only_senders_with_a_class_of_their_own_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Senders without overrides go by their provider, however many there are."""
    good = {name: given_[0] for name, given_ in GOOD.items()} | {"provider": "stripe"}
    names = ["beta", *(f"s{i}" for i in range(300))]
    frame = made([good | {"sender": name} for name in names])
    decoder = ColumnDecoder(CONFIG)
    asked: list[str] = []
    who = CONFIG.who

    def counted(sender: str, provider: str | None, t: int) -> int:
        asked.append(sender)
        return who(sender, provider, t)

    monkeypatch.setattr(CONFIG, "who", counted)
    (table,) = frame_tables(frame)
    assert len(decoder.table(table).batch) == 301
    assert len([sender for sender in asked if sender]) == 2


def test_texts_that_are_too_long_are_not_remembered() -> None:
    """A field that somebody fills with megabytes costs the memory of its table alone."""
    good = {name: given_[0] for name, given_ in GOOD.items()}
    (table,) = frame_tables(made([good, good | {"user_agent": "x" * 5_000}]))
    decoder = ColumnDecoder(CONFIG)
    assert len(decoder.table(table).rejected) + len(decoder.table(table).batch) == 2
    remembered = decoder._fields["user_agent"]._known
    assert max(map(len, remembered), default=0) < 300


@pytest.mark.parametrize("kind", ["bool", "float64", "Int64", "int8", "uint8"])
def test_flags_are_known_however_pandas_holds_them(kind: str) -> None:
    """A flag beside a missing one becomes a float, and with convert_dtypes an integer."""
    good = {name: given_[0] for name, given_ in GOOD.items()}
    flags = [True, False, True] if "nt8" in kind or kind == "bool" else [True, False, None]
    frame = made([good | {"verdict": "unverified"}] * 3)
    frame["id"] = [f"{i:08x}{UUID_TEXT[8:]}" for i in range(3)]
    frame["signature_ok"] = pd.array(flags, dtype="boolean").astype(kind)
    (table,) = frame_tables(frame)
    assert assert_same(table, DECODER) == 3
    known = DECODER.table(table).batch.columns["signature_ok"]
    assert known.tolist() == [-1 if flag is None else int(flag) for flag in flags]
