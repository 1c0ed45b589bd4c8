"""What one fetch brought of one partition, taken out of aiokafka's fetcher in one piece.

Two names of `aiokafka.consumer.fetcher` are replaced by the classes here
(`detectors.engines.faust_transport.hook_fetcher`): the first keeps the bytes of the broker's
answer, the second gives out a single item, the `Stretch`, where aiokafka's gives out records.
"""

from typing import Any

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogRecord, microseconds
from detectors.engines.record_batches import has_batch, read_fetch
from detectors.engines.stretch import Stretch


class KeptBytes:
    """A broker's answer for one partition: the bytes, and aiokafka's reading of them if wanted."""

    _batches: Any = None

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data

    def has_next(self) -> bool:
        """Whether there is a whole batch of records."""
        return has_batch(self.data) if self._batches is None else bool(self._batches.has_next())

    def next_batch(self) -> Any:
        """The next batch, as aiokafka reads it."""
        if self._batches is None:
            self._batches = MemoryRecords(bytes(self.data))
        return self._batches.next_batch()

    def size_in_bytes(self) -> int:
        """The length of the answer."""
        return len(self.data)


class WholeFetch(PartitionRecords):  # type: ignore[misc]  # no types there
    """Gives out one item: the stretch, about how many bytes it holds, and by how much it grew."""

    next_fetch_offset: int
    _records: KeptBytes
    _given = False

    def __next__(self) -> tuple[Stretch, int, float]:
        if self._given:
            raise StopIteration
        self._given = True
        start = self.next_fetch_offset
        try:
            found = read_fetch(self._records.data, start, self._aborted_transactions)
        except EngineError as error:
            msg = f"{self._tp.topic}/{self._tp.partition}: {error}"
            raise EngineError(msg) from None
        if found is None:
            return self._by_records()
        self.next_fetch_offset = found.stop
        self._records = KeptBytes(b"")  # the stretch alone keeps the answer
        return Stretch(start, found.stop, found.records), found.size, found.growth

    def _by_records(self) -> tuple[Stretch, int, float]:
        """Through aiokafka's own reading, record by record: it knows every format."""
        start = self.next_fetch_offset
        records = []
        size = self._records.size_in_bytes()
        try:
            for one in self._records_iterator:
                headers = tuple(one.headers)
                time_us = microseconds(one.timestamp)
                records.append(LogRecord(one.offset, time_us, one.key, one.value, headers))
        except Exception as error:  # whatever its unpackers raise on hostile bytes
            msg = (
                f"{self._tp.topic}/{self._tp.partition}: what the broker sent from offset "
                f"{self.next_fetch_offset} on cannot be read: {error}"
            )
            raise EngineError(msg) from error
        return Stretch(start, self.next_fetch_offset, records), size, 1.0
