"""Stretches of a log: what the transport hands over, one for each fetched partition."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from detectors.engines.log_reader import LogRecord, offset_of
from detectors.engines.ports import TopicPartition


class Stretch(NamedTuple):
    """All that a log holds between two offsets.

    Offsets in between without a record hold none: they belong to markers of transactions, to what
    a transaction took back, or to what compaction removed.
    """

    start: int
    stop: int
    """The offset after the last."""
    records: Sequence[LogRecord]

    def since(self, offset: int) -> Sequence[LogRecord]:
        """The records at this offset and after it.

        >>> stretch = Stretch(3, 8, [LogRecord(3, 0, None, b"a"), LogRecord(6, 0, None, b"b")])
        >>> [record.offset for record in stretch.since(4)]
        [6]
        """
        at = bisect_left(self.records, offset, key=offset_of) if offset > self.start else 0
        if at == 0:
            return self.records
        last = self.records[at - 1]
        if last.damage is not None and last.damage.stop > offset:  # the rest of such a batch
            return [last._replace(offset=offset), *self.records[at:]]
        return self.records[at:]


class Fetched:
    """A stretch as it came: from which partition, under which generation of the group."""

    def __init__(
        self, where: TopicPartition, generation: int, stretch: Stretch, size: int = 0
    ) -> None:
        self.where = where
        self.generation = generation
        self.stretch = stretch
        self.size = size
        """Bytes of memory that it holds, about."""
