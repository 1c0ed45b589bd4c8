"""The same traffic through river: with four statistics, and with those that callwatch keeps.

It comes from the archive itself, by the quickest way there is from Parquet to Python's values, or
as numbers that were made of it before the time begins: then nothing of reading counts.

river's own class wherever it has one; where it has none (which deliveries, networks, keys and types
a sender has had), a set or dictionary of Python, which is quicker than river's sketches, and
unbounded. Nothing is reported, no clock is kept and no state is saved: all of that is callwatch's
alone. As with callwatch, senders are known before the time begins, and the best of three counts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from time import process_time
from typing import Any, Final, NamedTuple

from detectors.batch import EventBatch
from detectors.event import HOUR, REJECTED
from ingest.schema import Verdict

EVENTS: Final = 100_000
"""Those whose time is taken."""
TURNS: Final = 3


class Call(NamedTuple):
    """What river is told of an event: times in microseconds, names as they are or as numbers."""

    sender: Hashable
    t: int
    size: float
    event_type: Hashable
    source: Hashable
    key: Hashable
    unit: Hashable
    delivery: Hashable
    id: Hashable
    offset: float
    failed: float


def calls(batches: Iterable[EventBatch], most: int) -> list[Call]:
    """Return what the first events say, as plain numbers."""
    found: list[Call] = []
    for batch in batches:
        c = batch.columns
        columns: list[Any] = [c["sender"], c["t"], c["body_bytes"].astype(float), c["event_type"],
                              c["source"], c["key_id"], c["unit"], c["delivery"], batch.ids,
                              (c["t"] - c["signed_at"]) / 1e6,
                              (c["verdict"] == REJECTED).astype(float)]  # fmt: skip
        found += map(Call._make, zip(*(column.tolist() for column in columns), strict=True))
        if len(found) >= most:
            break
    return found[:most]


_REFUSED: Final = str(Verdict.REJECTED)
_WORDS: Final = ("sender", "event_type", "source_ip", "key_id", "verdict")
_COLUMNS: Final = ("sender", "received_at", "body_bytes", "event_type", "source_ip", "key_id",
                   "signature_fp", "delivery_fp", "id", "signed_at", "verdict")  # fmt: skip


def read(path: Path, most: int) -> Iterator[list[Call]]:
    """Yield an archive's events, at most so many at a time."""
    import pyarrow.parquet as pq

    networks: dict[str, str] = {}
    with pq.ParquetFile(path, pre_buffer=False, read_dictionary=[*_WORDS]) as file:
        for batch in file.iter_batches(most, columns=[*_COLUMNS], use_threads=False):
            sender, t, size, kind, source, key, unit, delivery, one, signed, verdict = (
                _values(batch.column(name)) for name in _COLUMNS
            )
            for address in {*source} - networks.keys():
                networks[address] = address.rpartition(".")[0]
            yield [
                Call(
                    a, b, float(c), d, networks[e], f, g, h, i, (b - j) / 1e6, float(k == _REFUSED)
                )
                for a, b, c, d, e, f, g, h, i, j, k in zip(
                    sender, t, size, kind, source, key, unit, delivery, one, signed, verdict,
                    strict=True,
                )
            ]  # fmt: skip


def _values(column: Any) -> list[Any]:
    """Return a column as Python's values, each distinct word made once."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        words = column.dictionary.to_pylist()
        return [words[code] for code in column.indices.to_numpy().tolist()]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return list(column.to_numpy(zero_copy_only=False).tolist())


Way = Callable[[Iterable[Call]], None]


def speed(way: Callable[[], Way], told: list[Call], known: int) -> float:
    """Return events per CPU-second, after ``known`` events whose time does not count."""
    play = way()
    play(told[:known])
    starts = range(known, known + TURNS * EVENTS, EVENTS)
    return _best(play, (told[start : start + EVENTS] for start in starts))


def speed_from(path: Path, way: Callable[[], Way], known: int) -> float:
    """Return the same where reading the events' archive counts."""
    play, parts, seen = way(), read(path, EVENTS), 0
    while seen < known:
        part = next(parts)
        play(part)
        seen += len(part)
    return _best(play, islice(parts, TURNS))


def _best(play: Way, parts: Iterable[list[Call]]) -> float:
    """Return events per CPU-second of the quickest part, the time to get it included."""
    best, started = 0.0, process_time()
    for part in parts:
        play(part)
        best = max(best, len(part) / (process_time() - started))
        started = process_time()
    return best


def four_statistics() -> Way:
    """Return what keeps four statistics for each sender."""
    from river import anomaly, drift, stats

    models: dict[
        Hashable, tuple[anomaly.GaussianScorer, stats.EWMean, drift.PageHinkley, list[int]]
    ]
    models = {}

    def play(told: Iterable[Call]) -> None:
        for call in told:
            found = models.get(call.sender)
            if found is None:
                found = models[call.sender] = (
                    anomaly.GaussianScorer(), stats.EWMean(0.01), drift.PageHinkley(), [call.t],
                )  # fmt: skip
            scorer, gap, failures, last = found
            scorer.score_one(None, call.size)
            scorer.learn_one(None, call.size)
            gap.update(float(call.t - last[0]))
            failures.update(call.failed)
            last[0] = call.t

    return play


class _Sender:
    """What callwatch keeps of a sender of webhooks, detector by detector, as river has it."""

    def __init__(self, t: int) -> None:
        from river import anomaly, drift, stats

        self.last = t
        self.gap = stats.EWMean(0.01)  # all of them
        self.offset = stats.EWMean(0.01)  # clock-skew
        self.spread = stats.EWVar(0.01)
        self.failures = stats.EWMean(0.01)  # signature-failure-spike: what is usual,
        self.fast = drift.PageHinkley(delta=0.1)  # and two charts
        self.slow = drift.PageHinkley(delta=0.01)
        self.strangers = drift.PageHinkley()  # spoofed-source
        self.repeats = drift.PageHinkley()  # replay-burst
        self.longest = stats.Max()  # sender-silence
        self.hour, self.count, self.bytes = t // HOUR, 0, 0.0  # payload-volume, by the hour
        self.counts = anomaly.GaussianScorer()
        self.volumes = anomaly.GaussianScorer()
        self.sizes: dict[Hashable, anomaly.GaussianScorer] = {}  # and by type
        self.networks: dict[Hashable, int] = {}  # five detectors
        self.keys: dict[Hashable, int] = {}  # stale-key
        self.types: set[Hashable] = set()  # unregistered


def same_statistics() -> Way:
    """Return what keeps the same as callwatch of webhooks, for each sender."""
    from river import anomaly

    senders: dict[Hashable, _Sender] = {}
    ids: set[Hashable] = set()
    units: dict[tuple[Hashable, Hashable], int] = {}  # replay-burst
    deliveries: set[tuple[Hashable, Hashable]] = set()  # duplicate-acceptance

    def play(told: Iterable[Call]) -> None:
        for call in told:
            if call.id in ids:
                continue
            ids.add(call.id)
            mine = senders.get(call.sender)
            if mine is None:
                mine = senders[call.sender] = _Sender(call.t)
            again = units.get((call.sender, call.unit), 0)
            units[call.sender, call.unit] = again + 1
            deliveries.add((call.sender, call.delivery))
            gap = float(call.t - mine.last)
            mine.last = call.t
            mine.gap.update(gap)
            mine.longest.update(gap)
            mine.offset.update(call.offset)
            mine.spread.update(call.offset)
            mine.failures.update(call.failed)
            mine.fast.update(call.failed)
            mine.slow.update(call.failed)
            mine.repeats.update(float(again > 0))
            mine.strangers.update(float(call.source not in mine.networks))
            mine.networks[call.source] = mine.networks.get(call.source, 0) + 1
            mine.keys[call.key] = call.t
            mine.types.add(call.event_type)
            sizes = mine.sizes.get(call.event_type)
            if sizes is None:
                sizes = mine.sizes[call.event_type] = anomaly.GaussianScorer()
            sizes.score_one(None, call.size)
            sizes.learn_one(None, call.size)
            hour = call.t // HOUR
            if hour > mine.hour:
                for scorer, value in ((mine.counts, mine.count), (mine.volumes, mine.bytes)):
                    scorer.score_one(None, value)
                    scorer.learn_one(None, value)
                mine.hour, mine.count, mine.bytes = hour, 0, 0.0
            mine.count += 1
            mine.bytes += call.size

    return play
