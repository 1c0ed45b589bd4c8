"""Reading events back: how lines are cut, what is mended, what is refused."""

import gzip
import io
import json
import sys
import tracemalloc
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import SourceError
from ingest.schema import MAX_EVENT_BYTES, CallbackEvent, parse_event
from ingest.sources import Lines, cut, frame_lines, read_events

ID = UUID("2748a95e-57c0-4be0-a297-2f8abe8d0123")


def _rows(chunks: list[Lines]) -> list[tuple[str, bytes]]:
    return [
        (lines.where(index), lines.buffer[start:end])
        for lines in chunks
        for index, (start, end) in enumerate(lines.spans.tolist())
    ]


def _read(path: Path, **options: Any) -> list[tuple[str, bytes]]:
    found = _rows(list(read_events([path], **options)))
    return [(place.removeprefix(str(path)), line) for place, line in found]


def test_lines_are_cut_and_numbered(tmp_path: Path) -> None:
    """Blank lines are skipped but counted; CR LF, a BOM and an open last line are accepted."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{1}\r\n\n  \t\r\n{4}\n{5} \n\r\n{7}")
    wanted = [(":1", b"{1}"), (":4", b"{4}"), (":5", b"{5} "), (":7", b"{7}")]
    for size in (1, 2, 3, 5, 1 << 22):
        assert _read(path, chunk_bytes=size) == wanted


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_chunks_never_change_the_lines(parts: list[bytes], size: int) -> None:
    """However the input falls into chunks, lines and numbers are those of a plain split."""
    lines = [part.replace(b"\n", b".") for part in parts]
    text = b"\n".join(lines)
    chunks = list(_chunked(text, size))
    wanted = [
        (f"x:{number}", line.removesuffix(b"\r"))
        for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
        if line.strip(b" \t\r")
    ]
    assert _rows(chunks) == wanted


def _chunked(text: bytes, size: int) -> list[Lines]:
    from ingest.sources import _chunks

    return list(_chunks("x", io.BytesIO(text), size))


def test_a_span_covers_its_line_in_the_buffer() -> None:
    """Spans are int64 pairs into the buffer, also for an empty one."""
    lines = cut("x", 5, b"a\n\nbc\n")
    assert lines.spans.dtype == np.int64
    assert lines.spans.tolist() == [[0, 1], [3, 5]]
    assert [lines.line_of(0), lines.line_of(1), len(lines)] == [5, 7, 2]
    assert cut("x", 1, b"").spans.shape == (0, 2)
    assert cut("x", 1, b"\n \n").spans.shape == (0, 2)


def test_gzip_is_read_by_its_content(tmp_path: Path) -> None:
    """Gzip is recognised without its name, and several members follow each other."""
    path = tmp_path / "events"
    path.write_bytes(gzip.compress(b"{1}\n{2}", mtime=0) + gzip.compress(b"\n{3}\n"))
    assert _read(path) == [(":1", b"{1}"), (":2", b"{2}"), (":3", b"{3}")]


@pytest.mark.parametrize("data", [b"", b"{1}\n", gzip.compress(b"{1}\n", mtime=0)])
def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """`-` reads standard input, gzip included."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert _rows(list(read_events(["-"]))) == ([("-:1", b"{1}")] if data else [])


def test_an_endless_line_is_cut_in_bounded_memory(tmp_path: Path) -> None:
    """A line of 20 MB costs a few chunks, is refused as too large, and the rest goes on."""
    path = tmp_path / "events.jsonl"
    with path.open("wb") as file:
        file.write(b"{1}\n")
        for _ in range(20):
            file.write(b"x" * 1_000_000)
        file.write(b"\n{3}\n")
    tracemalloc.start()
    try:
        found = _read(path, chunk_bytes=1 << 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(place, len(line)) for place, line in found] == [
        (":1", 3),
        (":2", MAX_EVENT_BYTES + 1),
        (":3", 3),
    ]
    assert peak < 4_000_000


def test_a_file_is_never_in_memory_whole(tmp_path: Path) -> None:
    """50 MB behind 0.1 MB of gzip are walked through in a few MB."""
    path = tmp_path / "events.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(50):
            file.write(b'{"a":1}\n' * 125_000)
    tracemalloc.start()
    try:
        count = sum(len(lines) for lines in read_events([path], chunk_bytes=1 << 18))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50 * 125_000
    assert peak < 12_000_000


def _damaged_gzip() -> bytes:
    data = bytearray(gzip.compress(bytes(range(256)) * 50))
    data[40:60] = b"\xff" * 20
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("events.jsonl.gz", b"{1}\n", "is no gzip data, though it is named so"),
        ("events.gz", gzip.compress(b"{1}\n" * 900, mtime=0)[:-9], "gzip data ends early"),
        ("events.gz", b"\x1f\x8b\x08\x00", "gzip data ends early"),
        ("events.gz", b"\x1f\x8bgarbage and more", "gzip data is damaged"),
        ("events.gz", _damaged_gzip(), "gzip data is damaged"),
        ("events.parquet", b"{1}\n", "is no Parquet file, though it is named so"),
        ("events.parquet", b"PAR1garbage", "no readable Parquet: "),
        ("events.gz", gzip.compress(b"PAR1 and more", mtime=0), "is Parquet inside of gzip"),
        ("none.jsonl", None, "cannot be read: no such file or directory"),
        ("", None, "cannot be read: is a directory"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    """An input that cannot be read gives one line with its name."""
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        list(read_events([path]))
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("none.jsonl", "none.jsonl: cannot be read"), ("", "'': allowed is the name of a file, or -")],
)
def test_a_file_that_is_not_there_is_named_before_others_are_read(
    tmp_path: Path, wrong: str, says: str
) -> None:
    """Hours may pass until it is its turn."""
    (tmp_path / "events.jsonl").write_bytes(b"{1}\n")
    pieces = read_events([tmp_path / "events.jsonl", wrong])
    with pytest.raises(SourceError) as caught:
        next(pieces)
    assert says in str(caught.value)


def test_lines_before_a_fault_are_handed_out(tmp_path: Path) -> None:
    """A truncated gzip file still gives what it held."""
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(b"{1}\n" * 10_000, mtime=0)[:-8])
    counts: deque[int] = deque()
    with pytest.raises(SourceError, match="ends early"):
        counts.extend(len(lines) for lines in read_events([path], chunk_bytes=1_000))
    assert sum(counts) > 9_000


def test_parquet_on_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet needs a file."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"PAR1")))
    with pytest.raises(SourceError, match="Parquet needs a file that can seek"):
        list(read_events(["-"]))


@pytest.fixture
def frame(event: dict[str, Any]) -> pd.DataFrame:
    """Two events as analysts hold them: times as timestamps, a missing status, a nested ext."""
    second = event | {"status": 204, "ext": {"a": 1, "b": None}, "duration_ms": 1.5}
    frame = pd.DataFrame([event, second])
    frame["received_at"] = pd.to_datetime(frame["received_at"]) + pd.Timedelta(1_999, "ns")
    return frame


def _events(lines: Lines) -> list[CallbackEvent]:
    return [parse_event(line) for _, line in _rows([lines])]


def _wanted(event: dict[str, Any]) -> list[CallbackEvent]:
    later = event | {"received_at": "2026-11-20T08:30:00.000001Z"}
    second = later | {"status": 204, "ext": {"a": 1}, "duration_ms": 1.5}
    return [parse_event(json.dumps(later)), parse_event(json.dumps(second))]


def test_a_frame_becomes_events(frame: pd.DataFrame, event: dict[str, Any]) -> None:
    """Missing values are left out, integers stay integers, nanoseconds are cut off."""
    lines = frame_lines(frame)
    assert _events(lines) == _wanted(event)
    assert (lines.place, lines.where(1)) == ("frame", "frame:2")
    assert len(frame_lines(frame.iloc[:0])) == 0


def test_parquet_becomes_the_same_events(
    tmp_path: Path, frame: pd.DataFrame, event: dict[str, Any]
) -> None:
    """A frame written to Parquet reads back as the same events, numbered by row."""
    path = tmp_path / "events.bin"
    frame.to_parquet(path)
    (lines,) = read_events([path])
    assert _events(lines) == _wanted(event)
    assert lines.where(1) == f"{path}:2"


def test_parquet_types_of_other_writers_are_understood(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    """UUIDs of 16 bytes, maps, decimals and zoned nanoseconds mean what they say."""
    plain = {name: pa.array([value]) for name, value in event.items()}
    table = pa.table(
        plain
        | {
            "id": pa.array([ID.bytes], pa.binary(16)),
            "received_at": pa.array(
                [int(datetime(2026, 11, 20, 8, 30, tzinfo=UTC).timestamp()) * 10**9 + 1],
                pa.timestamp("ns", "Europe/Berlin"),
            ),
            "schema": pa.array([1], pa.int8()),
            "body_bytes": pa.array([Decimal(event["body_bytes"])], pa.decimal128(38, 2)),
            "duration_ms": pa.array([Decimal("1.5")], pa.decimal128(9, 1)),
            "ext": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            "country": pa.array([None], pa.string()),
            "sender": pa.array(["acme-stripe"]).dictionary_encode(),
        }
    )
    path = tmp_path / "events.parquet"
    pq.write_table(table, path)
    (lines,) = read_events([path])
    meant = event | {"ext": {"a": 1}, "duration_ms": 1.5}
    assert _events(lines) == [parse_event(json.dumps(meant))]


@pytest.mark.parametrize(
    "text",
    ["1E+5000", "1E-400", "sNaN", "Infinity", "200.00000000000000000001", "0.99999999999999999999"],
)
def test_a_decimal_that_is_no_number_of_ours_is_text(frame: pd.DataFrame, text: str) -> None:
    """It is judged, and refused, as it stands there: nothing is rounded to what is valid."""
    frame["status"] = pd.Series([Decimal(text), Decimal("2E+2")], dtype=object)
    rows = [json.loads(line) for _, line in _rows([frame_lines(frame)])]
    assert [row["status"] for row in rows] == [str(Decimal(text)), 200]


def test_an_index_with_the_name_of_a_field_is_one(
    frame: pd.DataFrame, event: dict[str, Any]
) -> None:
    """Frames of times have them as their index; one with another name, or none, is no field."""
    assert _events(frame_lines(frame.set_index("received_at"))) == _wanted(event)
    assert _events(frame_lines(frame.set_index(["sender", "received_at"]))) == _wanted(event)
    twice = frame.set_index(["sender", "received_at"]).set_axis(
        pd.MultiIndex.from_arrays([frame["sender"], frame["received_at"], frame["sender"]])
    )
    assert _events(frame_lines(twice)) == _wanted(event)
    assert _events(frame_lines(frame.rename_axis("row"))) == _wanted(event)
    assert _events(frame_lines(frame.rename_axis("sender"))) == _wanted(event)


def test_columns_with_equal_names_are_refused(tmp_path: Path, event: dict[str, Any]) -> None:
    """Which of them counts, nobody could say."""
    table = pa.table({name: pa.array([value]) for name, value in event.items()})
    pq.write_table(table.append_column("sender", pa.array(["b"])), tmp_path / "e.parquet")
    with pytest.raises(SourceError, match="allowed are columns with different names"):
        list(read_events([tmp_path / "e.parquet"]))


def test_a_frame_mends_no_value(frame: pd.DataFrame) -> None:
    """A naive time, a fraction where an integer belongs and a text stay wrong, and are judged."""
    frame["received_at"] = frame["received_at"].dt.tz_localize(None)
    frame["status"] = pd.Series([200.5, "x"], dtype=object)
    rows = [json.loads(line) for _, line in _rows([frame_lines(frame)])]
    assert [row["status"] for row in rows] == [200.5, "x"]
    assert rows[0]["received_at"] == "2026-11-20T08:30:00.000001999"


def test_odd_objects_in_a_frame_become_text_or_lists() -> None:
    """UUIDs, arrays, missing markers and repeated columns do not break the reader."""
    values = [ID, np.array([1, 2]), pd.NA, float("nan"), None, np.int64(3), b"x", pd.NaT, (1, 2)]
    frame = pd.DataFrame({"id": pd.Series(values, dtype=object)})
    rows = [json.loads(line) for _, line in _rows([frame_lines(frame)])]
    assert [row.get("id") for row in rows] == [
        str(ID),
        [1, 2],
        None,
        None,
        None,
        3,
        "x",
        None,
        [1, 2],
    ]
    with pytest.raises(SourceError, match="columns with different names"):
        frame_lines(pd.DataFrame([[1, 2]], columns=["a", "a"]))
