"""What `LogReader` fetches, read by the rules of the worker's own transport.

kafka-python makes an object of each record, unpacks a batch in one go, however long it becomes, and
stops for good at one that is damaged. So the class by which its fetcher reads an answer is
exchanged, for this consumer alone; `detectors.engines.hooks` names what is used of it.
"""

from collections.abc import Iterator
from typing import Any

from kafka.consumer import fetcher

from detectors.engines.log_reader import Piece
from detectors.engines.record_batches import read_fetch

_PartitionRecords: Any = fetcher.Fetcher.PartitionRecords


class BoundedRecords(_PartitionRecords):  # type: ignore[misc]  # no types there
    """Gives out an answer's records in one piece; another format goes kafka-python's own way."""

    def _unpack_records(
        self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any
    ) -> Iterator[Any]:
        aborted = [(each.producer_id, each.first_offset) for each in self.aborted_transactions]
        found = read_fetch(bytes(records._buffer), self.fetch_offset, aborted)
        if found is None:
            yield from super()._unpack_records(tp, records, key_deserializer, value_deserializer)
            return
        self.next_fetch_offset = found.stop
        if found.records:
            self.records_read += len(found.records)
            yield Piece(self.fetch_offset, found.records)
        self.drain()


def hook_reader(consumer: Any) -> None:
    """Let this consumer, and no other, read as a worker does."""
    consumer._fetcher.PartitionRecords = BoundedRecords
