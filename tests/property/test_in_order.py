"""Input that tells how early its rest can be is walked while it is read; nothing else differs."""

from __future__ import annotations

import json
import random
import threading
import uuid
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.alert import Alert, to_rfc3339
from detectors import batch
from detectors.batch import EventBatch
from detectors.config import Config
from detectors.engines import in_order, local
from detectors.engines.in_order import Alone, InOrder, Ordered
from detectors.engines.local import run_local
from detectors.engines.spool import Spool
from detectors.event import DAY, EVENT, HOUR, SECOND
from detectors.shared import Partitions
from ingest import outlook, tables
from ingest.control import Control
from ingest.errors import SourceError
from ingest.schema import FIELDS
from ingest.sources import read_events, read_pieces
from ingest.tables import ArrowTable, frame_tables, parquet_tables
from tests.property.hostile import START, hostile, said_of

CONFIG = Config()
REST = "-0000-4000-8000-000000000000"
GIVEN: dict[str, Any] = {
    "schema": 1, "receiver": "r", "endpoint": "/h", "kind": "webhook", "sender": "s",
    "verdict": "verified", "body_bytes": 1, "source_ip": "192.0.2.1", "source_ip_from": "socket",
}  # fmt: skip
EVENTS = {name for name in FIELDS if name != "ext"}


def batch_of(times: list[int], first: int) -> EventBatch:
    """Return events of a table whose ids are numbers from ``first`` on."""
    n = len(times)
    columns = np.zeros(n, EVENT)
    columns["t"] = times
    columns["sender"] = first + np.arange(n) + 1
    spans = np.stack([np.full(n, -1), np.arange(n)], axis=1)
    rows = pa.RecordBatch.from_pydict({"sender": [str(first + i) for i in range(n)]})
    table = ArrowTable("x", 1 + first, rows)
    return EventBatch(columns, first + np.arange(n), np.arange(n), b"", spans, tables=(table,))


class Piece(NamedTuple):
    """What is asked of a piece beside its events."""

    earliest_after: int | None
    place: str = "here"


@pytest.mark.parametrize("most", [1 << 28, 10 * EVENT.itemsize])
@pytest.mark.parametrize("few", [batch.FEW_ROWS, 2, 0])
def test_events_come_by_time_and_none_before_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch, most: int, few: int
) -> None:
    """However pieces overlap: the order of a stable sort, with the words of each event."""
    monkeypatch.setattr(in_order, "MOST_WAITING", most)
    monkeypatch.setattr(batch, "FEW_ROWS", few)
    waited = early = 0
    for seed in range(300):
        chance = random.Random(seed)
        disorder = chance.choice([0, 0, 1, 10, 100])
        sizes = [chance.randrange(12) for _ in range(chance.randrange(1, 9))]
        times = [i // 2 + chance.randint(-disorder, disorder) for i in range(sum(sizes))]
        cuts = np.cumsum([0, *sizes]).tolist()
        spool = Spool()
        order = InOrder(spool)
        ids: list[int] = []
        names: list[str] = []
        found, promised = 0, -outlook.EVER
        for start, end in pairwise(cuts):
            least = min(times[end:], default=outlook.EVER)
            known = None if seed % 7 == 0 and start > 9 else least - chance.choice([0, 0, 1])
            ready = order.add(batch_of(times[start:end], start), cast("Any", Piece(known)))
            assert (ready.times <= least).all()
            assert order.waiting_bytes <= most
            if most > 1 << 20 and seed % 7:  # all that may go on does so at once
                assert known is not None
                promised = max(promised, known)
                assert len(ready) == sum(time <= promised for time in times[:end]) - found
            found += len(ready)
            given(ready, ids, names)
        given(order.rest(), ids, names)
        spool.close()
        assert ids == np.argsort(times, kind="stable").tolist()
        assert names == [str(number) for number in ids]
        waited += found < len(times)
        early += found > 0
    assert waited > 20
    assert early > 200 or most < 1 << 20


def given(events: Ordered, ids: list[int], names: list[str]) -> None:
    """Take down what is handed out."""
    taken = events.take(0, len(events))
    assert (taken.columns["t"] == events.times).all()
    ids += taken.ids.tolist()
    names += [taken.sender(i) for i in range(len(taken))]


def archive(seed: int, folder: Path, *, disorder: float, files: int) -> list[Path]:
    """Write hostile events as Parquet, sorted by time but for some disorder."""
    found = [json.loads(value) for value in hostile(seed).values if _is_object(value)]
    frame = pd.DataFrame([{k: v for k, v in one.items() if k in EVENTS} for one in found])
    frame["received_at"] = pd.to_datetime(frame["received_at"], utc=True, errors="coerce")
    for name in {"schema", "body_bytes", "status", "attempt", "asn"} & set(frame.columns):
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype("Float64")
    frame["signature_ok"] = frame["signature_ok"].map(lambda v: v if v in (True, False) else None)
    frame["signature_ok"] = frame["signature_ok"].astype("boolean")
    rng = np.random.default_rng(seed)
    key = frame["received_at"].astype("int64") / 1e9 + rng.normal(0.0, 1.0, len(frame)) * disorder
    frame = frame.iloc[np.argsort(key.to_numpy(), kind="stable")]
    paths = []
    for number, part in enumerate(np.array_split(np.arange(len(frame)), files)):
        paths.append(folder / f"{number}.parquet")
        frame.iloc[part].astype(_text_types(frame)).to_parquet(paths[-1], row_group_size=97)
    return paths


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _text_types(frame: pd.DataFrame) -> dict[str, Any]:
    return {name: "string" for name in frame.columns if frame[name].dtype == object}


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize(("disorder", "files"), [(0.0, 1), (60.0, 3), (1e9, 2)])
def test_a_run_while_reading_is_a_run_over_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    partitions: int,
    disorder: float,
    files: int,
) -> None:
    """The same alerts, counts, refusals and warnings as of lines, which are sorted at the end."""
    monkeypatch.setattr(tables, "MOST_ROWS", 64)
    monkeypatch.setattr(outlook, "_ROWS", 64)
    paths = archive(3, tmp_path, disorder=disorder, files=files)
    said = controls(run_local(read_events(paths), CONFIG, partitions=partitions).alerts)
    whole = run_local(read_events(paths), CONFIG, partitions=partitions, controls=said)
    spooled: list[int] = []

    class Noted(Spool):
        def add(self, batch: EventBatch) -> None:
            spooled.append(len(batch))
            super().add(batch)

    monkeypatch.setattr(local, "Spool", Noted)
    found = run_local(read_pieces(paths), CONFIG, partitions=partitions, controls=said)
    assert not sum(spooled)
    assert len(whole.alerts) > 0
    assert len(whole.rejected) > 0
    assert whole.counts["controls"] == len(said) > 5
    assert found.alerts == whole.alerts
    assert found.rejected == whole.rejected
    assert (found.counts, found.read, found.warnings) == (
        whole.counts, whole.read, whole.warnings,
    )  # fmt: skip


def controls(alerts: list[Alert]) -> list[Control]:
    """Return what analysts say of some of the alerts, a while after each."""
    chance = random.Random(5)
    later = (0, SECOND, HOUR)
    return [said_of(chance, one, one.updated_at + chance.choice(later)) for one in alerts[::7]]


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_that_go_on_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two runs with one state, time that runs on after them, and a spool that begins midway."""
    monkeypatch.setattr(tables, "MOST_ROWS", 64)
    monkeypatch.setattr(outlook, "_ROWS", 64)
    paths = archive(seed, tmp_path, disorder=300.0, files=4)
    end = START + 40 * DAY

    def played(read: Any) -> list[Any]:
        first = run_local(read(paths[:2]), CONFIG)
        assert first.state is not None
        kept = Partitions.restore(CONFIG, first.state.snapshot())
        later = run_local(read(paths[2:]), CONFIG, state=kept, until_us=end)
        digest = kept.cores[0].digest()
        return [first.alerts, first.counts, later.alerts, later.counts, later.rejected, digest]

    whole = played(read_events)
    assert whole[0]
    assert whole[2]
    assert played(read_pieces) == whole
    monkeypatch.setattr(in_order, "MOST_WAITING", 40 * EVENT.itemsize)
    assert played(read_pieces) == whole


def test_frames_are_walked_while_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame gives the alerts of its file."""
    monkeypatch.setattr(tables, "MOST_ROWS", 64)
    (path,) = archive(4, tmp_path, disorder=60.0, files=1)
    whole = run_local(read_events([path]), CONFIG)
    found = run_local(frame_tables(pd.read_parquet(path).reset_index(drop=True)), CONFIG)
    assert found.alerts == whole.alerts != []
    assert found.counts == whole.counts


def test_earlier_events_than_were_promised_are_an_error(tmp_path: Path) -> None:
    """Pieces of two inputs, or a file that changed, end the run: what was walked was walked."""
    for name, day in (("a", "2025-06-03"), ("b", "2025-06-02")):
        rows = [GIVEN | {"id": f"{i:08x}{REST}"} for i in range(3)]
        frame = pd.DataFrame(rows).assign(received_at=pd.to_datetime(f"{day}T12:00:00Z"))
        frame.to_parquet(tmp_path / f"{name}.parquet")
    first, second = (read_pieces([tmp_path / f"{name}.parquet"]) for name in "ab")
    with pytest.raises(SourceError, match=r"b\.parquet: holds earlier events than its times said"):
        run_local(chain(first, second), CONFIG)
    assert run_local(read_pieces([tmp_path / f"{n}.parquet" for n in "ab"]), CONFIG).read == 6


def test_what_is_read_ahead_ends_with_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops reading leaves no thread; what was read before a fault is handed out."""
    monkeypatch.setattr(tables, "MOST_ROWS", 97)
    (path,) = archive(1, tmp_path, disorder=0.0, files=1)
    pieces = parquet_tables(str(path))
    next(pieces)
    assert any(one.name.startswith("callwatch-read") for one in threading.enumerate())
    pieces.close()
    assert not any(one.name.startswith("callwatch-read") for one in threading.enumerate())
    with pq.ParquetFile(path) as file:
        place = file.metadata.row_group(3).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = []
    with pytest.raises(SourceError, match=r"0\.parquet: "):
        found.extend(len(piece) for piece in read_pieces([path]))
    assert found == [97] * 3


def test_what_may_hold_more_than_events_has_no_outlook(tmp_path: Path) -> None:
    """Texts as times, times without a zone, other columns and other files: nothing is promised."""
    moments = pd.to_datetime(["2025-06-02T12:00:00Z", "2025-06-02T11:00:00Z"])
    frame = pd.DataFrame({"sender": ["a", "b"], "received_at": moments})
    (table,) = frame_tables(frame)
    assert table.earliest_after == outlook.EVER
    for other in (
        frame.assign(received_at=frame["received_at"].astype(str)),
        frame.assign(received_at=frame["received_at"].dt.tz_localize(None)),
        frame.assign(control=["x", "y"]),
        frame.drop(columns="received_at"),
    ):
        (table,) = frame_tables(other)
        assert table.earliest_after is None
        other.to_parquet(tmp_path / "other.parquet")
        frame.to_parquet(tmp_path / "x.parquet")
        pieces = read_pieces([tmp_path / "x.parquet", tmp_path / "other.parquet"])
        assert [piece.earliest_after for piece in pieces] == [None, None]
    (tmp_path / "lines.jsonl").write_bytes(b"{}\n")
    first = next(iter(read_pieces([tmp_path / "x.parquet", tmp_path / "lines.jsonl"])))
    assert first.earliest_after is None
    frame.to_parquet(tmp_path / "y.parquet")
    pieces = list(read_pieces([tmp_path / "x.parquet", tmp_path / "y.parquet"]))
    least = int(moments.min().timestamp() * 1e6)
    assert [piece.earliest_after for piece in pieces] == [least, outlook.EVER]


def test_events_that_lie_alone_are_named_however_they_are_cut() -> None:
    """Groups of at most three, days away from others, wherever one call ends."""
    named = more = 0
    for seed in range(200):
        chance = random.Random(seed)
        groups = [chance.choice([1, 2, 3, 4, 20, 40]) for _ in range(chance.randrange(1, 30))]
        times = [g * 3 * DAY + i for g, size in enumerate(groups) for i in range(size)]
        whole, parts = Alone(), Alone()
        whole.see(Ordered(worded(times)))
        start = 0
        while start < len(times):
            end = start + chance.choice([0, 1, 2, 5, 50])
            parts.see(Ordered(worded(times[start:end])))
            start = end
        said = whole.warnings()
        assert parts.warnings() == said
        few = [size for size in groups if size <= 3] if len(times) >= 30 else []
        beyond = max(len(few) - 10, 0)
        assert len(said) == sum(few[:10]) + (beyond > 0)
        if beyond:
            assert said[-1] == f"{beyond} more groups of events lie alone"
        if few:
            at = groups.index(few[0]) * 3 * DAY
            text = f"event {id_of(at)} at {to_rfc3339(at)}"
            assert said[0] == f"{text} lies alone, days away from all others"
        named, more = named + len(said), more + (beyond > 0)
    assert named > 100
    assert more > 20


def id_of(t: int) -> str:
    """Return the id of the event at a time."""
    return str(uuid.UUID(int=t))


def worded(times: list[int]) -> EventBatch:
    """Return events of which each can be rendered."""
    at = "2025-06-02T12:00:00Z"
    rows = [GIVEN | {"id": id_of(t), "received_at": at} for t in times]
    made = batch_of(times, 0)
    table = ArrowTable("x", 1, pa.RecordBatch.from_pylist(rows or [GIVEN]))
    return EventBatch(made.columns, made.ids, made.index, b"", made.spans, tables=(table,))
