"""A log is read for a restore by the rules of the worker's own transport."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.structs import TopicPartition

from detectors.engines.log_fetch import BoundedRecords, hook_reader
from detectors.engines.log_reader import LogReader, LogRecord
from detectors.engines.patience import Patience
from detectors.engines.record_batches import RawRecords
from tests.unit.engines.batches import ABORT, batch, changed, marker


def _reading(data: bytes, since: int, aborted: Any = ()) -> Any:
    where = TopicPartition("t", 3)
    return BoundedRecords(since, where, MemoryRecords(data), aborted_transactions=aborted)


def test_records_come_as_they_are_walked() -> None:
    """Keys, values, offsets and times, from the wanted offset on, without what was taken back."""
    data = batch(3, [b"a", b"b"], "zstd") + batch(5, [b"gone"], producer=9) + marker(6, 9, ABORT)
    aborted = [SimpleNamespace(producer_id=9, first_offset=5)]
    reading = _reading(data, 4, aborted)
    (piece,) = reading.take(10)
    assert [*piece.records] == [LogRecord(4, 1_750_204_800_001_000, b"k1", b"b")]
    assert isinstance(piece.records, RawRecords), "none was made before somebody asked for it"
    assert reading.next_fetch_offset == 7
    assert not reading


def test_damage_is_a_record_and_no_end() -> None:
    """kafka-python would raise at the same offset for ever."""
    broken = batch(3, [b"a", b"b"])
    broken = changed(broken, len(broken) - 2, b"X", crc=False)
    reading = _reading(broken + batch(5, [b"c"]), 3)
    ((_, (found,)),) = reading.take(10)
    assert (found.offset, found.damage.stop, reading.next_fetch_offset) == (3, 5, 5)


class _Consumer:
    """Hands out what was fetched, and stands where that ends."""

    def __init__(self, *fetched: tuple[list[Any], int]) -> None:
        self._fetched = [*fetched]
        self._at = 0

    def assign(self, wheres: list[Any]) -> None:
        (self._where,) = wheres

    def seek(self, _: Any, offset: int) -> None:
        self._at = offset

    def poll(self, **_: Any) -> dict[Any, list[Any]]:
        found, self._at = self._fetched.pop(0)
        return {self._where: found}

    def position(self, _: Any, **__: Any) -> int:
        return self._at


def _read(start: int, stop: int, *fetched: tuple[list[Any], int]) -> list[Sequence[LogRecord]]:
    reader: Any = object.__new__(LogReader)
    reader._consumer, reader._patience = _Consumer(*fetched), Patience(lambda: True)
    return list(reader.read("t", 3, start, stop))


def _answer(data: bytes, since: int) -> list[Any]:
    found: list[Any] = _reading(data, since).take(500)
    return found


def test_an_answer_is_handed_on_in_one_piece_up_to_the_end_that_is_wanted() -> None:
    """What a restore does not want is cut off, and what is left is not made into records."""
    data = batch(3, [b"a", b"b"]) + batch(5, [b"c", b"d", b"e"], "lz4")
    for stop, wanted in ((4, b"a"), (6, b"abc"), (8, b"abcde"), (9, b"abcde")):
        fetched = [(_answer(data, 3), 8), ([], 9)]
        (found,) = _read(3, stop, *fetched)
        assert isinstance(found, RawRecords)
        assert b"".join(each.value or b"" for each in found) == wanted


def test_nothing_of_an_answer_beyond_the_end_is_handed_on() -> None:
    """Offsets without records, and then records that are not wanted any more: nothing at all."""
    assert _read(3, 5, (_answer(batch(7, [b"x"]), 3), 8)) == []


def test_damage_counts_only_up_to_the_end_that_is_wanted() -> None:
    """The rest of such a batch is for whoever walks on from there."""
    broken = batch(3, [b"a", b"b", b"c"])
    broken = changed(broken, len(broken) - 2, b"X", crc=False)
    ((found,),) = _read(3, 5, (_answer(broken, 3), 6))
    assert (found.offset, found.damage and found.damage.stop) == (3, 5)


def test_other_formats_come_as_kafka_python_reads_them() -> None:
    """Single records, with the broker's time in microseconds."""
    one = SimpleNamespace(offset=3, timestamp=5, key=None, value=b"a", headers=[("h", b"1")])
    two = SimpleNamespace(offset=4, timestamp=6, key=b"k", value=b"b", headers=[])
    assert _read(3, 4, ([one, two], 5)) == [[LogRecord(3, 5000, None, b"a", (("h", b"1"),))]]


def test_only_this_consumer_is_changed() -> None:
    """Others in the process read as kafka-python does."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace())
    hook_reader(consumer)
    assert consumer._fetcher.PartitionRecords is BoundedRecords
    assert Fetcher.PartitionRecords is not BoundedRecords
