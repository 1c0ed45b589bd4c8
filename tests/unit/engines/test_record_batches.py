"""Whole record batches are read as aiokafka reads them, and broken ones are refused by name."""

import random
import struct
import tracemalloc
from typing import Any

import cramjam
import pytest
from aiokafka.structs import TopicPartition as Where

from detectors.config import Config
from detectors.core import Core
from detectors.engines import record_batches, unpacking
from detectors.engines.cores import EventsCore
from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogRecord
from detectors.engines.record_batches import RawFetch, RawRecords, _usual, read_fetch
from detectors.engines.whole_fetch import KeptBytes, WholeFetch
from tests.unit.detectors.streams import TUESDAY, encode, traffic
from tests.unit.engines.batches import (
    ABORT,
    APPEND_TIME,
    ATTRIBUTES,
    CODECS,
    COMMIT,
    MAGIC,
    Headers,
    batch,
    changed,
    marker,
)

SEED = 20
MUTATIONS = 3000
HEADERS: Headers = [("ce_id", b"1"), ("empty", b""), ("ce_type", b"callwatch.callback.v1")]


def _read(data: bytes, since: int = 0, aborted: Any = ()) -> RawFetch:
    found = read_fetch(data, since, list(aborted))
    assert found is not None
    return found


def _whole(data: bytes, since: int = 0, aborted: Any = ()) -> WholeFetch:
    return WholeFetch(Where("t", 3), KeptBytes(data), aborted, since, None, None, True, 1)


def _oracle(data: bytes, since: int = 0, aborted: Any = ()) -> tuple[list[LogRecord], int]:
    """The records as aiokafka reads them, and where it goes on."""
    stretch, _, _ = _whole(data, since, aborted)._by_records()
    return list(stretch.records), stretch.stop


@pytest.mark.parametrize("codec", CODECS)
def test_every_compression_is_read(codec: str) -> None:
    """Keys, values, headers, offsets and times are those that were written, in any packing."""
    data = batch(7, [b"a" * 500, b"", None, b"d"], codec, headers=HEADERS)
    found = _read(data, 7)
    assert found.stop == 11
    assert list(found.records) == [
        LogRecord(
            7 + number,
            (1_750_204_800_000 + number) * 1000,
            f"k{number}".encode(),
            value,
            tuple(HEADERS),  # type: ignore[arg-type]
        )
        for number, value in enumerate([b"a" * 500, b"", None, b"d"])
    ]
    assert list(found.records.values) == [b"a" * 500, b"", b"", b"d"]


@pytest.mark.parametrize("codec", [None, "none", "lz4", "zstd"])
def test_reads_as_aiokafka_does(codec: str | None) -> None:
    """Over random answers the same records, and the same place to go on, as aiokafka's reading.

    Of one codec and without transactions all of an answer is read in one go; the others, and every
    answer that is cut off in its only batch, go batch by batch.
    """
    rng = random.Random(SEED)
    seen = 0
    for _ in range(200):
        data, base, aborted = b"", rng.randrange(1000), []
        since = base + rng.randrange(3)  # a broker begins with the batch that holds it
        for _ in range(rng.randrange(1, 8)):
            producer = None if codec else rng.choice([None, 5, 6])
            values = [rng.randbytes(rng.randrange(200)) for _ in range(rng.randrange(3, 20))]
            packing = codec or rng.choice([*CODECS])
            made = batch(base, values, packing, producer, headers=HEADERS)
            if rng.random() < 0.3:
                attributes = struct.unpack_from(">h", made, ATTRIBUTES)[0] | APPEND_TIME
                made = changed(made, ATTRIBUTES, struct.pack(">h", attributes))
            data += made
            start, base = base, base + len(values)
            if producer is not None:
                kind = rng.choice([ABORT, COMMIT])
                if kind == ABORT:
                    aborted.append((producer, start))
                data += marker(base, producer, kind)
                base += 1
            base += rng.choice([0, 0, 3])  # what compaction took away
        cut = data[: len(data) - rng.choice([0, 0, 5, 40])]
        found = _read(cut, since, aborted)
        expected, stop = _oracle(cut, since, aborted)
        assert found.stop == stop
        for mine, other in zip(found.records, expected, strict=True):
            assert mine == other
        if codec:
            assert _usual(cut, since) is not None
        seen += len(found.records)
    assert seen > 5000


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_answers_that_unpack_to_more_than_was_expected_are_read(codec: str) -> None:
    """One after the other in the same room: what came before in it is seen in none."""
    rng = random.Random(SEED)
    held = []
    for size in (10, 2_000_000, 2_000, 3_000_000, 50):
        values = [rng.randbytes(7) * (size // 7) for _ in range(3)]
        found = _usual(batch(0, values, codec) + batch(3, values[:1], codec), 0)
        assert found is not None
        held.append((found, [*values, values[0]]))
    for found, expected in held:
        assert [each.value for each in found.records] == expected


@pytest.mark.parametrize("codec", CODECS)
def test_an_answer_tells_by_how_much_it_grew(codec: str) -> None:
    """What was read unpacks to so many bytes for each that came, whichever way it was read."""
    events = encode(traffic(days=10))
    data = batch(0, events, codec) + batch(len(events), events, codec)
    plain = len(batch(0, events, "none")) / (len(data) / 2)
    control = marker(2 * len(events), 9, COMMIT)
    for answer in (data, data + control):
        *_, growth = next(_whole(answer))
        assert growth == pytest.approx(plain, rel=0.05)


def test_what_was_not_read_of_an_answer_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an answer is too large to be unpacked as a whole, the part that was read tells."""
    rng = random.Random(SEED)
    values = [rng.randbytes(20_000) + bytes(20_000) for _ in range(2)]
    one = b"".join(batch(2 * number, values, "lz4") for number in range(6))
    *_, growth = next(_whole(one))
    monkeypatch.setattr(unpacking, "LARGEST_ROOM", 1000)
    monkeypatch.setattr(record_batches, "ENOUGH_UNPACKED", 100_000)
    stretch, _, partly = next(_whole(one))
    assert len(stretch.records) == 4
    assert partly == pytest.approx(growth, rel=0.1)
    assert growth == pytest.approx(2, rel=0.1)


def test_what_was_taken_back_is_left_out() -> None:
    """Of an aborted transaction nothing is read, of a committed one all; markers are no records."""
    data = (
        batch(0, [b"kept"])
        + batch(1, [b"gone", b"gone"], producer=9)
        + marker(3, 9, ABORT)
        + batch(4, [b"kept too"], producer=9)
        + marker(5, 9, COMMIT)
    )
    found = _read(data, 0, [(9, 1)])
    assert [(each.offset, each.value) for each in found.records] == [(0, b"kept"), (4, b"kept too")]
    assert found.stop == 6


def test_only_markers_still_move_on() -> None:
    """An answer without a single event says how far it reached."""
    found = _read(marker(3, 9, COMMIT), 3)
    assert (len(found.records), found.stop) == (0, 4)
    assert list(found.records.values) == []


def test_batch_that_was_cut_off_comes_again() -> None:
    """The end of an answer may be half a batch: it is not looked at, and fetched again."""
    data = batch(0, [b"a"]) + batch(1, [b"b"])
    for cut in range(1, len(batch(1, [b"b"]))):
        assert _read(data[:-cut]).stop == 1


def test_time_of_the_broker_counts() -> None:
    """With `LogAppendTime` all records of a batch have the broker's time, else each its own."""
    made = batch(0, [b"a", b"b"], times=[5, 9])
    assert _read(made).records.times_us.tolist() == [5000, 9000]
    appended = changed(made, ATTRIBUTES, struct.pack(">h", APPEND_TIME))
    assert _read(appended).records.times_us.tolist() == [9000, 9000]


@pytest.mark.parametrize("time", [2**63 - 1, -(2**63), 2**62, -1])
def test_times_that_cannot_be_are_cut(time: int) -> None:
    """A producer's nonsense for a time stops nothing, in the first record or a later one."""
    made = batch(0, [b"a", b"b"], times=[0, 1])
    first = changed(made, 27, struct.pack(">q", time))
    cut = 1000 * max(min(time, 9 * 10**15), -9 * 10**15)
    assert _read(first).records.times_us[0] == cut
    body = b"\x00" + _zigzag(2**62 if time > 0 else -(2**62)) + b"\x02\x01\x01\x00"
    record = _zigzag(len(body)) + body
    assert abs(_read(_with_records(made, [record])).records.times_us[0]) == 9 * 10**18


def test_events_core_walks_the_buffer() -> None:
    """A core has the same state and alerts from a buffer as from records one by one."""
    values = encode(traffic(TUESDAY, days=1, per_hour=60, sender="s"))
    values.insert(50, b"no event")
    times = [TUESDAY // 1000 + 86_400_000] * len(values)
    one, other = EventsCore(Core(Config())), EventsCore(Core(Config()))
    records = _read(batch(0, values, times=times)).records
    assert isinstance(records, RawRecords)
    found, expected = one.feed(records), other.feed(list(records))
    assert found.alerts == expected.alerts
    assert found.rejected == expected.rejected != []
    assert one.core.snapshot() == other.core.snapshot()
    assert one.core.counters["scored"] == len(values) - 1


def _zigzag(number: int) -> bytes:
    rest, found = (number << 1) ^ (number >> 63), []
    while rest > 127:
        found.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*found, rest])


def _with_records(made: bytes, records: list[bytes], count: int | None = None) -> bytes:
    """The batch with other records in it, and lengths that fit."""
    body = b"".join(records)
    made = made[:57] + struct.pack(">i", len(records) if count is None else count) + body
    return changed(made, 8, struct.pack(">i", len(made) - 12))


GOOD = batch(10, [b"value"])
BROKEN = {
    "its checksum is wrong": changed(GOOD, len(GOOD) - 2, b"X", crc=False),
    "and claims to hold 2147483647 records": changed(GOOD, 57, b"\x7f\xff\xff\xff"),
    "and -1 records cannot be": changed(GOOD, 57, b"\xff\xff\xff\xff"),
    "its records are malformed": _with_records(GOOD, [b"\x0e\x00\x00\x00\x01\x7f\x00\x00"]),
    "it cannot be unpacked": changed(GOOD, ATTRIBUTES, b"\x00\x04"),
}
UNFRAMED = {
    "its length is -1": changed(GOOD, 8, struct.pack(">i", -1)),
    "it has 20 bytes, less than its header": changed(GOOD, 8, struct.pack(">i", 8)),
    "its format is 3, allowed are those up to 2": changed(GOOD, MAGIC, b"\x03"),
}
MALFORMED = {
    "length beyond the batch": b"\x7f\x00\x00\x00\x01\x01\x00",
    "length of 2^62": _zigzag(2**62) + b"\x00\x00\x00\x01\x01\x00",
    "negative length": b"\x01\x00\x00\x00\x01\x01\x00",
    "key beyond the record": b"\x0c\x00\x00\x00\x7e\x01\x00",
    "value beyond the record": b"\x0c\x00\x00\x00\x01\x7e\x00",
    "key of -2": b"\x0c\x00\x00\x00\x03\x01\x00",
    "offset beyond the batch's": b"\x0c\x00\x00\x02\x01\x01\x00",
    "negative offset": b"\x0c\x00\x00\x01\x01\x01\x00",
    "negative number of headers": b"\x0c\x00\x00\x00\x01\x01\x01",
    "a number without an end": b"\x0c\xff\xff\xff\xff\xff\xff",
    "bytes behind the last record": b"\x0c\x00\x00\x00\x01\x01\x00\x00\x00",
}


def _lost(data: bytes, since: int = 10) -> tuple[int, int, str]:
    """From where to where a batch is given out as damaged, and why."""
    found = _read(data, since)
    (record,) = found.records
    assert record.damage is not None
    assert (record.key, record.value, found.stop) == (None, None, record.damage.stop)
    return record.offset, found.stop, record.damage.why


@pytest.mark.parametrize("why", BROKEN)
def test_damaged_batch_is_passed_over(why: str) -> None:
    """What stands before and behind it is read; it is one record with offsets and reason."""
    data = batch(9, [b"good"]) + BROKEN[why] + batch(11, [b"behind"])
    before = _read(data, 9)
    assert ([each.value for each in before.records], before.stop) == ([b"good"], 10)
    start, stop, text = _lost(data)
    assert (start, stop) == (10, 11)
    assert text.startswith("the batch of records at offset 10: ")
    assert why in text
    behind = _read(data, 11)
    assert ([each.value for each in behind.records], behind.stop) == ([b"behind"], 12)


@pytest.mark.parametrize("why", UNFRAMED)
def test_what_cannot_be_framed_is_an_error(why: str) -> None:
    """Where no batch can be told from the next, or the format is newer, nothing is passed over."""
    data = batch(9, [b"good"]) + UNFRAMED[why]
    assert _read(data, 9).stop == 10
    with pytest.raises(EngineError) as caught:
        next(_whole(data, 10))
    text = str(caught.value)
    assert text.startswith("t/3: the batch of records at offset 10: ")
    assert why in text


def _mangled(made: bytes) -> bytes:
    """The batch with a wrong checksum."""
    return changed(made, len(made) - 2, b"X", crc=False)


def test_damaged_header_passes_over_no_good_record() -> None:
    """With a header that cannot be believed the batch behind it says where it ends, or nobody."""
    far = changed(batch(10, [b"a", b"b", b"c"]), 23, struct.pack(">i", 2**31 - 1), crc=False)
    behind = batch(13, [b"behind"])
    assert _lost(far + behind)[:2] == (10, 13)
    assert _lost(far)[:2] == (10, 11), "an offset, and the next fetch begins with it again"
    assert _lost(far, 11)[:2] == (11, 12)
    assert _lost(far + behind, 12)[:2] == (12, 13)
    assert _lost(far + behind[:-1])[:2] == (10, 11), "half a batch is no witness"
    assert _lost(_mangled(batch(10, [b"a", b"b", b"c"])))[:2] == (10, 13), "it agrees with itself"


@pytest.mark.parametrize("base", [10 + 2**40, 11, 13])
def test_an_offset_that_reaches_beyond_the_next_batch_is_damage(base: int) -> None:
    """No checksum covers where a batch stands, but its neighbours tell: here 10 to 12 are right."""
    moved = changed(batch(10, [b"x", b"y", b"z"]), 0, struct.pack(">q", base), crc=False)
    data = batch(8, [b"a", b"b"]) + moved + batch(13, [b"behind"])
    before = _read(data, 8)
    assert ([each.value for each in before.records], before.stop) == ([b"a", b"b"], 10)
    since = data.index(moved)
    start, stop, text = _lost(data[since:], 10)
    assert (start, stop) == (10, 13)
    assert "it stands among batches with other offsets" in text
    behind = _read(data[since + len(moved) :], stop)
    assert ([each.value for each in behind.records], behind.stop) == ([b"behind"], 14)


def test_a_batch_after_the_other_is_passed_over() -> None:
    """Several damaged ones in a row are one record each, in any place of an answer."""
    good = batch(10, [b"a"]) + marker(11, 9, COMMIT)
    data = good + _mangled(batch(12, [b"b", b"b"])) + BROKEN["it cannot be unpacked"]
    data = data[: -len(GOOD)] + changed(data[-len(GOOD) :], 0, struct.pack(">q", 14))
    assert _read(data, 10).stop == 12
    assert _lost(data, 12)[:2] == (12, 14)
    assert _lost(data, 13)[:2] == (13, 14)
    assert _lost(data, 14)[:2] == (14, 15)


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_record_is_refused(what: str) -> None:
    """A record that lies about a length, a count or an offset is never read beyond its end."""
    assert "malformed" in _lost(_with_records(GOOD, [MALFORMED[what]]))[2]


def test_the_least_record_is_read() -> None:
    """What the malformed ones are made from is well formed."""
    found = _read(_with_records(GOOD, [b"\x0c\x00\x00\x00\x01\x01\x00"]))
    assert list(found.records) == [LogRecord(10, 1_750_204_800_000_000, None, None)]


def test_damage_never_is_another_exception() -> None:
    """Any byte may change, with a checksum that fits: what is read is bounded, or refused."""
    rng = random.Random(SEED)
    refused = 0
    for _ in range(MUTATIONS):
        codec = rng.choice([*CODECS])
        made = batch(10, [rng.randbytes(40) for _ in range(4)], codec, headers=HEADERS)
        for _ in range(rng.randrange(1, 4)):
            made = changed(made, rng.randrange(ATTRIBUTES, len(made)), rng.randbytes(1))
        try:
            for one in next(_whole(made, 0))[0].records:
                assert len(one.value or b"") <= len(made) + 200
                refused += one.damage is not None
        except EngineError:
            refused += 1
    assert MUTATIONS // 5 < refused < MUTATIONS


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
def test_bomb_is_refused_in_bounded_memory(codec: str) -> None:
    """A batch that unpacks to gigabytes is refused, and takes no more memory than is allowed."""
    size = 80 << 20
    packer: Any = getattr(cramjam, codec)
    body = bytes((packer.compress_raw if codec == "snappy" else packer.compress)(bytes(size)))
    made = GOOD[:61] + body
    made = changed(made, 8, struct.pack(">i", len(made) - 12))
    made = changed(made, ATTRIBUTES, struct.pack(">h", CODECS[codec]))
    tracemalloc.start()
    try:
        assert "more than 64 MiB" in _lost(made)[2]
        assert tracemalloc.get_traced_memory()[1] < 160 << 20
    finally:
        tracemalloc.stop()


def test_answer_that_unpacks_to_much_is_taken_in_parts() -> None:
    """After so many bytes the rest of an answer is left to the next fetch."""
    big = [bytes(4 << 20)] * 3
    data = b"".join(batch(3 * number, big, "zstd") for number in range(5))
    found = _read(data)
    assert (len(found.records), found.stop) == (9, 9)
    assert _read(data, 9).stop == 15


def test_bad_headers_hurt_nobody() -> None:
    """Headers are looked at only where they are needed; bad ones count as none."""
    record = b"\x12\x00\x00\x00\x01\x02v\x02\x7e\x00"
    [found] = _read(_with_records(GOOD, [record])).records
    assert (found.value, found.headers) == (b"v", ())


def test_other_formats_go_through_aiokafka() -> None:
    """Batches of attributes or formats unknown here are read record by record, the same."""
    from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

    flagged = changed(GOOD, ATTRIBUTES, struct.pack(">h", 0x40))
    old = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    old.append(4, 1_750_204_800_000, b"k", b"old")
    for data, offset, value in ((flagged, 10, b"value"), (bytes(old.build()), 4, b"old")):
        assert read_fetch(data, 0, []) is None
        stretch, size, growth = next(_whole(data))
        assert [(each.offset, each.value) for each in stretch.records] == [(offset, value)]
        assert (stretch.stop, size, growth) == (offset + 1, len(data), 1.0)


def test_unknown_compression_is_named() -> None:
    """A codec that does not exist is an error, through whichever reading."""
    with pytest.raises(EngineError, match=r"t/3: what the broker sent from offset 0 on cannot"):
        next(_whole(changed(GOOD, ATTRIBUTES, b"\x00\x05")))
