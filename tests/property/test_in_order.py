"""Input that tells how early its rest can be is walked while it is read; nothing else differs."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from alerts.alert import Alert
from detectors.batch import EventBatch
from detectors.config import Config
from detectors.engines import in_order, local
from detectors.engines.in_order import Alone, InOrder, Ordered
from detectors.engines.local import run_local
from detectors.engines.spool import Spool
from detectors.event import DAY, EVENT, HOUR, SECOND
from ingest import outlook, tables
from ingest.control import Control
from ingest.sources import read_events, read_pieces
from ingest.tables import ArrowTable, frame_tables
from tests.property.hostile import hostile, said_of

CONFIG = Config()
EVENTS = {name for name in outlook._FIELDS if name != "ext"}


def batch_of(times: list[int], first: int) -> EventBatch:
    """Return events of a table whose ids are numbers from ``first`` on."""
    n = len(times)
    columns = np.zeros(n, EVENT)
    columns["t"] = times
    spans = np.stack([np.full(n, -1), np.arange(n)], axis=1)
    rows = pa.RecordBatch.from_pydict({"sender": [str(first + i) for i in range(n)]})
    table = ArrowTable("x", 1 + first, rows)
    return EventBatch(columns, first + np.arange(n), np.arange(n), b"", spans, tables=(table,))


@pytest.mark.parametrize("most", [1 << 19, 10])
def test_events_come_by_time_and_none_before_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """However pieces overlap: the order of a stable sort, with the words of each event."""
    monkeypatch.setattr(in_order, "MOST_WAITING", most)
    waited = 0
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
        found = 0
        for start, end in pairwise(cuts):
            least = min(times[end:], default=outlook.EVER)
            known = None if seed % 7 == 0 and start > 9 else least - chance.choice([0, 0, 1])
            ready = order.add(batch_of(times[start:end], start), start, known)
            assert (ready.times <= least).all()
            found += len(ready)
            given(ready, ids, names)
        given(order.rest(), ids, names)
        spool.close()
        assert ids == np.argsort(times, kind="stable").tolist()
        assert names == [str(number) for number in ids]
        waited += found < len(times)
    assert 20 < waited < 280


def given(events: Ordered, ids: list[int], names: list[str]) -> None:
    """Take down what is handed out."""
    batch = events.take(0, len(events))
    assert (batch.columns["t"] == events.times).all()
    ids += batch.ids.tolist()
    names += [batch.sender(i) for i in range(len(batch))]


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
        def add(self, batch: EventBatch, first_place: int) -> None:
            spooled.append(len(batch))
            super().add(batch, first_place)

    monkeypatch.setattr(local, "Spool", Noted)
    found = run_local(read_pieces(paths), CONFIG, partitions=partitions, controls=said)
    assert not sum(spooled)
    assert len(whole.alerts) > 0
    assert len(whole.rejected) > 0
    assert whole.counts["controls"] == len(said) > 5
    assert _by_id(found.alerts) == _by_id(whole.alerts)
    assert found.rejected == whole.rejected
    assert (found.counts, found.read, found.warnings) == (
        whole.counts, whole.read, whole.warnings,
    )  # fmt: skip
    if partitions == 1:
        assert found.alerts == whole.alerts


def controls(alerts: list[Alert]) -> list[Control]:
    """Return what analysts say of some of the alerts, a while after each."""
    chance = random.Random(5)
    later = (0, SECOND, HOUR)
    return [said_of(chance, one, one.updated_at + chance.choice(later)) for one in alerts[::7]]


def _by_id(alerts: list[Alert]) -> list[Any]:
    return sorted((alert.updated_at, alert.id, alert.to_json()) for alert in alerts)


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
    named = 0
    for seed in range(200):
        chance = random.Random(seed)
        groups = [chance.choice([1, 2, 3, 4, 20, 40]) for _ in range(chance.randrange(1, 8))]
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
        few = sum(size for size in groups if size <= 3)
        assert len(said) == (few if len(times) >= 30 else 0)
        named += len(said)
    assert named > 100


def worded(times: list[int]) -> EventBatch:
    """Return events of which each can be rendered."""
    given_ = {
        "schema": 1, "receiver": "r", "endpoint": "/h", "kind": "webhook", "sender": "s",
        "verdict": "verified", "body_bytes": 1, "source_ip": "192.0.2.1",
        "source_ip_from": "socket",
    }  # fmt: skip
    rows = [
        given_
        | {
            "id": f"{t:032x}"[:8] + f"-0000-4000-8000-{t:012x}",
            "received_at": "2025-06-02T12:00:00Z",
        }
        for t in times
    ]
    batch = batch_of(times, 0)
    table = ArrowTable("x", 1, pa.RecordBatch.from_pylist(rows or [given_]))
    return EventBatch(batch.columns, batch.ids, batch.index, b"", batch.spans, tables=(table,))
