"""Bounded reads of a topic's partition, beside the consumer group and never a part of it.

A worker reads its checkpoint back this way, and the events that it has to walk again. These calls
block and belong into a thread; each reader has a consumer of its own. To open one costs more than
most reads, so those that are done wait to be used again.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detectors.engines.errors import EngineError
from detectors.engines.patience import AWAY_SECONDS, Patience
from detectors.framing import MOST_MS
from ingest.kafka_client import opened
from ingest.kafka_fault import fault_line
from ingest.kafka_transport import reachable

if TYPE_CHECKING:
    from detectors.engines.ports import TopicPartition as Where

STALL_SECONDS: Final = 30.0
"""A read that gets nothing for so long from a broker that is there has failed: an error, never an
endless wait."""
RECONNECT_MS: Final = 1000
"""Between two tries at most. kafka-python has 30 s, so that a broker would be back for half a
minute before a restore goes on."""
ANSWER_BYTES: Final = 2 << 20
"""Of one answer, packed: each that is walked costs a core about a millisecond beside its events."""
MOST_AT_ONCE: Final = 500
"""Answers, or records of a format that is read one by one."""
ANSWER_MS: Final = 10_000
"""For one answer; then it is asked again, while there is patience."""


class Damage(NamedTuple):
    """A batch of records that cannot be read: up to which offset, and why."""

    stop: int
    """The offset after its last."""
    why: str


class LogRecord(NamedTuple):
    """One record of a partition; the broker's time in microseconds.

    With `damage` it stands for a whole batch from its offset on, of which nothing can be read.
    """

    offset: int
    time_us: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    damage: Damage | None = None


def offset_of(record: LogRecord) -> int:
    """Where it stands: what records are sorted by."""
    return record.offset


class Piece(NamedTuple):
    """Records that came in one answer of a broker, and the offset that it was asked for."""

    offset: int
    records: Sequence[LogRecord]


def microseconds(milliseconds: int) -> int:
    """A broker's time as it is used here; one that would not fit into 64 bits is cut.

    >>> microseconds(1_750_204_800_000), microseconds(2**63 - 1)
    (1750204800000000, 9000000000000000000)
    """
    return 1000 * max(min(milliseconds, MOST_MS), -MOST_MS)


class Bounds(NamedTuple):
    """What a partition holds, and where its consumer group stands (None: nowhere yet)."""

    begin: int
    end: int
    committed: int | None


class LogReader:
    """Reads partitions from here to there with kafka-python.

    A broker that is away is waited for, `away_seconds` at most; then `EngineError` is raised. What
    a broker refuses is kafka-python's own error.
    """

    def __init__(
        self, keywords: Mapping[str, Any], group: str, away_seconds: float = AWAY_SECONDS
    ) -> None:
        from kafka import KafkaConsumer

        given = keywords["bootstrap_servers"]
        servers = [given] if isinstance(given, str) else given

        def why(error: Exception) -> str:
            # where nothing is waited for, an outage is asked after again and again
            return fault_line(error, servers, keywords, group) if away_seconds else repr(error)

        self._patience = Patience(lambda: reachable(servers, dict(keywords)), away_seconds, why=why)

        def make() -> Any:
            # Named after the group to look up its offsets; assigned by hand: it never joins it.
            return opened(
                KafkaConsumer,
                **keywords,
                group_id=group,
                enable_auto_commit=False,
                isolation_level="read_committed",  # what a producer took back never was an event
                auto_offset_reset="earliest",  # only where retention overtakes a read
                bootstrap_timeout_ms=10_000,
                reconnect_backoff_max_ms=RECONNECT_MS,
                max_partition_fetch_bytes=ANSWER_BYTES,
            )

        self._consumer = self._patience.call("a connection", make)
        from detectors.engines.log_fetch import hook_reader

        hook_reader(self._consumer)  # bounded, and the same over damage, as what workers fetch

    def close(self) -> None:
        """End its connections."""
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def rest(self) -> None:
        """Hold no partition until the next read."""
        self._consumer.unsubscribe()

    def bounds(self, topic: str, partition: int) -> Bounds:
        """The first offset, the one after the last, and the group's committed one."""
        from kafka import TopicPartition

        where = TopicPartition(topic, partition)

        def ask() -> Bounds:
            begin = self._consumer.beginning_offsets([where], ANSWER_MS)[where]
            end = self._consumer.end_offsets([where], ANSWER_MS)[where]
            return Bounds(begin, end, self._consumer.committed(where, timeout_ms=ANSWER_MS))

        return self._patience.call(f"the offsets of {topic}/{partition}", ask)

    def ends(self, partitions: Sequence["Where"]) -> dict["Where", int]:
        """The offsets after the last of these partitions."""
        from kafka import TopicPartition
        from kafka.errors import LeaderNotAvailableError

        asked = [TopicPartition(*each) for each in partitions]

        def ask() -> Any:
            try:
                return self._consumer.end_offsets(asked, ANSWER_MS)
            except KeyError:  # of those whose leader it knows kafka-python asks without the others
                raise LeaderNotAvailableError from None

        found = self._patience.call("the ends of partitions", ask)
        return {each: found[TopicPartition(*each)] for each in partitions}

    def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has; None when there is no such topic."""
        found = self._patience.call(
            f"the partitions of {topic}", lambda: self._consumer.partitions_for_topic(topic)
        )
        return len(found) if found else None

    def read(
        self, topic: str, partition: int, start: int, stop: int
    ) -> Iterator[Sequence[LogRecord]]:
        """The records with `start <= offset < stop`, as they are fetched; some may be gone.

        A batch that cannot be read is one record that says so.

        Raises `EngineError` when a broker that is there hands over nothing more for 30 s.
        """
        from kafka import TopicPartition

        where = TopicPartition(topic, partition)
        consumer = self._consumer
        consumer.assign([where])
        consumer.seek(where, start)
        reached, stalled = start, self._patience.stall(STALL_SECONDS)
        # Not the last record's offset but the position tells the end: compaction and transactions
        # leave offsets without a record.
        while reached < stop:
            fetched = consumer.poll(timeout_ms=500, max_records=MOST_AT_ONCE).get(where, [])
            for records in _pieces(fetched):
                if found := _until(records, stop):
                    yield found
            position = consumer.position(where, timeout_ms=ANSWER_MS) or reached
            if position > reached:
                reached, stalled = position, self._patience.stall(STALL_SECONDS)
            elif stalled():
                msg = (
                    f"{topic}/{partition}: nothing to read at offset {reached} for "
                    f"{STALL_SECONDS:g} s, although it should go on to {stop}"
                )
                raise EngineError(msg)


class Readers:
    """Readers for many threads; at most `most` of them wait for their next use."""

    def __init__(self, make: Callable[[], LogReader], most: int) -> None:
        self._make = make
        self._most = most
        self._waiting: deque[LogReader] = deque()
        self._closed = False

    def take(self) -> LogReader:
        """One that is waiting, or a new one."""
        try:
            return self._waiting.pop()
        except IndexError:
            return self._make()

    def give(self, reader: LogReader) -> None:
        """Have it back; one that has failed is to be closed instead."""
        if self._closed or len(self._waiting) >= self._most:
            reader.close()
            return
        reader.rest()
        self._waiting.append(reader)

    def close(self) -> None:
        """Close those that wait, and later those that come back."""
        self._closed = True
        while self._waiting:
            self._waiting.pop().close()


def _pieces(fetched: Sequence[Any]) -> Iterator[Sequence[LogRecord]]:
    """What was fetched, as it came; of kafka-python's own reading single records in a list."""
    single = []
    for each in fetched:
        if isinstance(each, Piece):
            yield each.records
        else:
            time_us = microseconds(each.timestamp)
            headers = tuple(each.headers)
            single.append(LogRecord(each.offset, time_us, each.key, each.value, headers))
    if single:
        yield single


def _until(records: Sequence[LogRecord], stop: int) -> Sequence[LogRecord]:
    """Those before an offset; of a batch that cannot be read only so much as is before it."""
    last = records[-1]
    if last.offset >= stop:
        records = records[: bisect_left(records, stop, key=offset_of)]
        if not records:
            return records
        last = records[-1]
    if last.damage is None or last.damage.stop <= stop:
        return records
    return [*records[:-1], last._replace(damage=last.damage._replace(stop=stop))]
