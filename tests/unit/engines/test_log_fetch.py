"""A log is read for a restore by the rules of the worker's own transport."""

from types import SimpleNamespace
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.structs import TopicPartition

from detectors.engines.log_fetch import BoundedRecords, hook_reader
from detectors.engines.log_reader import LogRecord
from tests.unit.engines.batches import ABORT, batch, changed, marker


def _reading(data: bytes, since: int, aborted: Any = ()) -> Any:
    where = TopicPartition("t", 3)
    return BoundedRecords(since, where, MemoryRecords(data), aborted_transactions=aborted)


def test_records_come_as_they_are_walked() -> None:
    """Keys, values, offsets and times, from the wanted offset on, without what was taken back."""
    data = batch(3, [b"a", b"b"], "zstd") + batch(5, [b"gone"], producer=9) + marker(6, 9, ABORT)
    aborted = [SimpleNamespace(producer_id=9, first_offset=5)]
    reading = _reading(data, 4, aborted)
    assert reading.take(10) == [LogRecord(4, 1_750_204_800_001_000, b"k1", b"b")]
    assert reading.next_fetch_offset == 7
    assert not reading


def test_damage_is_a_record_and_no_end() -> None:
    """kafka-python would raise at the same offset for ever."""
    broken = batch(3, [b"a", b"b"])
    broken = changed(broken, len(broken) - 2, b"X", crc=False)
    reading = _reading(broken + batch(5, [b"c"]), 3)
    (found,) = reading.take(10)
    assert (found.offset, found.damage.stop, reading.next_fetch_offset) == (3, 5, 5)


def test_only_this_consumer_is_changed() -> None:
    """Others in the process read as kafka-python does."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace())
    hook_reader(consumer)
    assert consumer._fetcher.PartitionRecords is BoundedRecords
    assert Fetcher.PartitionRecords is not BoundedRecords
