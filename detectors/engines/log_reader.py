"""Bounded reads of a topic's partition, beside the consumer group and never a part of it.

A worker reads its checkpoint back this way, and the events that it has to walk again. These calls
block and belong into a thread; each reader has a consumer of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detectors.engines.errors import EngineError
from detectors.framing import MOST_MS

if TYPE_CHECKING:
    from detectors.engines.ports import TopicPartition as Where

STALL_SECONDS: Final = 30.0
"""A read that gets nothing for so long has failed: an error, never an endless wait."""


class LogRecord(NamedTuple):
    """One record of a partition; the broker's time in microseconds."""

    offset: int
    time_us: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


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
    """Reads partitions from here to there with kafka-python."""

    def __init__(self, keywords: Mapping[str, Any], group: str) -> None:
        from kafka import KafkaConsumer

        # Named after the group to look up its offsets; assigned by hand, so it never joins it.
        self._consumer = KafkaConsumer(
            **keywords,
            group_id=group,
            enable_auto_commit=False,
            isolation_level="read_committed",  # what a producer took back never was an event
            auto_offset_reset="earliest",  # only where retention overtakes a read
            bootstrap_timeout_ms=10_000,
        )

    def close(self) -> None:
        """End its connections."""
        self._consumer.close(autocommit=False)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """The first offset, the one after the last, and the group's committed one."""
        from kafka import TopicPartition

        where = TopicPartition(topic, partition)
        begin = self._consumer.beginning_offsets([where])[where]
        end = self._consumer.end_offsets([where])[where]
        return Bounds(begin, end, self._consumer.committed(where))

    def ends(self, partitions: Sequence["Where"]) -> dict["Where", int]:
        """The offsets after the last of these partitions."""
        from kafka import TopicPartition

        found = self._consumer.end_offsets([TopicPartition(*each) for each in partitions])
        return {each: found[TopicPartition(*each)] for each in partitions}

    def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has; None when there is no such topic."""
        found = self._consumer.partitions_for_topic(topic)
        return len(found) if found else None

    def read(self, topic: str, partition: int, start: int, stop: int) -> Iterator[list[LogRecord]]:
        """The records with `start <= offset < stop`, as they are fetched; some may be gone.

        Raises `EngineError` when the broker hands over nothing more for 30 s.
        """
        from kafka import TopicPartition

        where = TopicPartition(topic, partition)
        consumer = self._consumer
        consumer.assign([where])
        consumer.seek(where, start)
        reached, deadline = start, monotonic() + STALL_SECONDS
        # Not the last record's offset but the position tells the end: compaction and transactions
        # leave offsets without a record.
        while reached < stop:
            fetched = consumer.poll(timeout_ms=500, max_records=2000).get(where, [])
            found = [
                LogRecord(
                    each.offset,
                    microseconds(each.timestamp),
                    each.key,
                    each.value,
                    tuple(each.headers),
                )
                for each in fetched
                if each.offset < stop
            ]
            if found:
                yield found
            position = consumer.position(where) or reached
            if position > reached:
                reached, deadline = position, monotonic() + STALL_SECONDS
            elif monotonic() > deadline:
                msg = (
                    f"{topic}/{partition}: nothing to read at offset {reached} for "
                    f"{STALL_SECONDS:g} s, although it should go on to {stop}"
                )
                raise EngineError(msg)
