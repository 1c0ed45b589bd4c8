"""The events of all partitions in one order, copied to where their keys lead among others.

The order is that of the times in them: within a partition it stays as it was, and of the partitions
always that goes on which is behind. So no event becomes late by being copied.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from time import monotonic
from typing import Annotated, Any, Final, NamedTuple, Self

import msgspec

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogReader, LogRecord
from detectors.engines.ports import TopicPartition
from detectors.event import MINUTE
from ingest.partition import partition_for
from ingest.rfc3339 import to_us

AHEAD: Final = 5 * MINUTE
"""What is further ahead of the broker is refused by workers as well, and holds nothing up."""
MOST_WAITING: Final = 10_000
MOST_WAITING_BYTES: Final = 32 << 20
"""Records under way to the broker, which kafka-python itself does not bound."""
LARGEST: Final = 80 << 20
"""A record may be larger than it was in its batch when it was packed."""
ACKNOWLEDGED_SECONDS: Final = 120.0
TELL_SECONDS: Final = 10.0

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Said(msgspec.Struct):
    at: _Time | None = None


class _Timed(msgspec.Struct):
    """An event; or a report or a control record, in its envelope."""

    received_at: _Time | None = None
    report: _Said | None = None
    control: _Said | None = None


_decoder: Final = msgspec.json.Decoder(_Timed)


class Placed(NamedTuple):
    """A record, the time at which it is in order, and the partition from which it comes."""

    time_us: int
    partition: int
    record: LogRecord
    is_report: bool


def placed(partition: int, records: Iterable[LogRecord]) -> Iterator[Placed]:
    """The records of a partition with their times.

    What has no time, or one that workers refuse, is in order with the record before it. A receiver
    whose clock is ahead holds nothing up either: nothing is later than the broker had it.
    """
    last = -(2**62)
    for record in records:
        time, is_report = _look_at(record.value or b"")
        if time is not None and time <= record.time_us + AHEAD:
            last = min(time, record.time_us)
        yield Placed(last, partition, record, is_report)


def merged(partitions: Sequence[Iterable[LogRecord]]) -> Iterator[Placed]:
    """The records of all partitions, those of each in their order."""
    streams = [placed(number, records) for number, records in enumerate(partitions)]
    return merge(*streams, key=itemgetter(0))


def targets(one: Placed, count: int) -> Sequence[int]:
    """To which of so many partitions a record goes.

    A receiver puts its report onto every partition: that of the first goes to all, and the others
    to none. What has no key is no event that a publisher made, and goes anywhere.
    """
    if one.is_report:
        return range(count) if one.partition == 0 else ()
    if one.record.key is None:
        return (one.partition % count,)
    return (_home(one.record.key, count),)


@lru_cache(maxsize=1 << 16)
def _home(key: bytes, count: int) -> int:
    return partition_for(key, count)


def _look_at(value: bytes) -> tuple[int | None, bool]:
    """When it was, and whether it is a report; of what is no JSON of ours nothing is known."""
    try:
        found = _decoder.decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None, False
    said = found.report or found.control
    time = found.received_at if said is None else said.at
    return (None if time is None else to_us(time)), found.report is not None


class Writer:
    """Writes records with the times that they had; few of them are under way at once."""

    def __init__(self, keywords: Mapping[str, Any], topic: str) -> None:
        from kafka import KafkaProducer

        self._topic = topic
        self._waiting: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._producer = KafkaProducer(
            **keywords,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=20,
            batch_size=1 << 18,
            max_request_size=LARGEST,
            max_block_ms=60_000,
            delivery_timeout_ms=int(ACKNOWLEDGED_SECONDS * 1000),
            allow_auto_create_topics=False,
        )

    def write(self, partition: int, record: LogRecord) -> None:
        """Hand it over; waits where too many are under way."""
        value = record.value
        if value is None and record.key is None:
            value = b""  # the client refuses what has neither; to workers it is the same
        sent = self._producer.send(
            self._topic,
            value,
            key=record.key,
            headers=list(record.headers),
            partition=partition,
            timestamp_ms=record.time_us // 1000,
        )
        size = len(value or b"")
        self._waiting.append((sent, size))
        self._bytes += size
        while len(self._waiting) > MOST_WAITING or self._bytes > MOST_WAITING_BYTES:
            self._await_one()

    def flush(self) -> None:
        """Wait until the broker has all of them; raises what it says of one that it has not."""
        self._producer.flush(ACKNOWLEDGED_SECONDS)
        while self._waiting:
            self._await_one()

    def _await_one(self) -> None:
        sent, size = self._waiting.popleft()
        self._bytes -= size
        sent.get(ACKNOWLEDGED_SECONDS)

    def close(self) -> None:
        """Give up what is under way."""
        self._producer.close(timeout=1.0)


@dataclass
class Copying:
    """Copies what is new in some topics, again and again, until there is nothing more.

    topics: of the same number of partitions; what stands in the first is older.
    """

    topics: Sequence[str]
    target: str
    old: int
    new: int
    make_reader: Callable[[], LogReader]
    keywords: Mapping[str, Any]
    say: Callable[[str], None]
    records: int = 0
    """Read."""
    damaged: int = 0
    """Offsets of batches that cannot be read; workers have told of each."""
    written: list[int] = field(default_factory=list)
    """To each new partition."""

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._readers = [
                opening.enter_context(closing(self.make_reader())) for _ in range(self.old)
            ]
            self._writer = opening.enter_context(closing(Writer(self.keywords, self.target)))
            self._opened = opening.pop_all()
        self.written = [0] * self.new
        self._at: dict[TopicPartition, int] = {}
        self._told = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def left(self, ends: Mapping[TopicPartition, int]) -> int:
        """How many offsets before these ends are not copied."""
        return sum(max(end - self._begin(where), 0) for where, end in ends.items())

    def copy(self, ends: Mapping[TopicPartition, int]) -> None:
        """Copy what stands before these ends and was not copied yet."""
        partitions = [self._stream(number, ends) for number in range(self.old)]
        for one in merged(partitions):
            self.records += 1
            for partition in targets(one, self.new):
                self._writer.write(partition, one.record)
                self.written[partition] += 1
            if self.records % 1000 == 0 and monotonic() - self._told > TELL_SECONDS:
                self._told = monotonic()
                self.say(f"{self.records:,} records are copied")
        self._writer.flush()
        self._at.update(ends)

    def check(self) -> None:
        """Raise `EngineError` unless the target holds what was written, and nothing else."""
        for partition, written in enumerate(self.written):
            bounds = self._readers[0].bounds(self.target, partition)
            if (bounds.begin, bounds.end) != (0, written):
                msg = (
                    f"{self.target}/{partition}: it should hold the offsets 0 to {written}, "
                    f"and holds {bounds.begin} to {bounds.end}"
                )
                raise EngineError(msg)

    def _begin(self, where: TopicPartition) -> int:
        if where not in self._at:
            self._at[where] = self._readers[where.partition].bounds(*where).begin
        return self._at[where]

    def _stream(self, partition: int, ends: Mapping[TopicPartition, int]) -> Iterator[LogRecord]:
        reader = self._readers[partition]
        for topic in self.topics:
            where = TopicPartition(topic, partition)
            for batch in reader.read(*where, self._begin(where), ends[where]):
                for record in batch:
                    if record.damage is None:
                        yield record
                    else:
                        self.damaged += record.damage.stop - record.offset
