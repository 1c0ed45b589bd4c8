"""Whole record batches (format v2) as a broker sends them: one buffer, and no object per record.

The rules of aiokafka's own reading hold: checksums are checked, markers of transactions and what a
transaction took back are left out, records before the wanted offset are skipped, a batch that was
cut off at the end is not looked at. What is in another format is not read here.

A batch that is damaged, or becomes too long when it is unpacked, is given out as one record that
says so, alone in its answer: what stands before it is given out first, what stands behind it is
fetched again. How far it reaches is what its header says where that can be believed, and at most
up to the batch behind it. Where neither is known it is one offset: too few offsets are looked at
again, too many would be lost.
"""

import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

import cramjam
import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import Damage, LogRecord
from detectors.framing import BATCH, LEAST_RECORD, Framed, content
from detectors.spanned import Spanned

MOST_UNPACKED: Final = 64 << 20
"""Bytes of one batch, unpacked. More is no batch of events, but an attempt on our memory."""
ENOUGH_UNPACKED: Final = 32 << 20
"""Of one answer: what comes behind so much is fetched again, when this has been walked."""

LEAST_ROOM: Final = 1 << 18
MOST_ROOM: Final = 1 << 21
"""Bytes of the room for unpacking that a thread keeps: of most batches, and of large ones."""
_KEPT: Final = threading.local()

# base offset, length, leader's epoch, magic, CRC, attributes, last offset delta, first and greatest
# time, producer's id and epoch, first sequence, number of records
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_START: Final = struct.Struct(">qiib")
_BEFORE_LENGTH: Final = 12
_BEFORE_CRC: Final = 21
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 7, 8, 16, 32
_KNOWN: Final = _CODEC | _APPEND_TIME | _TRANSACTIONAL | _CONTROL
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL: Final = b"\x82SNAPPY\x00"
_ABORT: Final = b"\x00\x00\x00\x00"


class _BatchError(Exception):
    """A batch cannot be read; the text says why, `number` which of those that were kept it is."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


class _FormatError(Exception):
    """What follows is in no format that is known here: not damaged, but too new, or no log."""


class RawRecords(Sequence[LogRecord]):
    """Records in one buffer; one is made only when somebody asks for it."""

    def __init__(
        self,
        values: Spanned,
        offsets: NDArray[np.int64],
        times_us: NDArray[np.int64],
        places: NDArray[np.int64],
    ) -> None:
        self.values = values
        self.offsets = offsets
        self.times_us = times_us
        self._places = places

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, at: int) -> LogRecord: ...
    @overload
    def __getitem__(self, at: slice) -> "RawRecords": ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return RawRecords(
                self.values[at], self.offsets[at], self.times_us[at], self._places[at]
            )
        key, value, headers = content(self.values.buffer, int(self._places[at]))
        return LogRecord(int(self.offsets[at]), int(self.times_us[at]), key, value, headers)


@dataclass(frozen=True)
class RawFetch:
    """What an answer holds of a partition, from the wanted offset up to `stop`."""

    records: Sequence[LogRecord]
    stop: int
    size: int


class _Batch(NamedTuple):
    body: bytes | memoryview
    header: tuple[int, ...]


def read_fetch(data: bytes, since: int, aborted: Sequence[tuple[int, int]]) -> RawFetch | None:
    """Read an answer; None if it holds anything but batches of format v2.

    `aborted`: producers whose transactions were taken back, each with the first offset, by offset.
    Raises `EngineError` where it cannot be told where batches begin and end.
    """
    walk = _Walk(data, since, aborted)
    bad: _BatchError | None = None
    try:
        while bad is None and walk.more():
            try:
                if not walk.step():
                    return None
            except _BatchError as error:
                walk.back(walk.at)
                bad = None if walk.skip() else error
    except _FormatError as error:
        if walk.stop == since:
            msg = f"the batch of records at offset {walk.base}: {error}"
            raise EngineError(msg) from None
    while True:
        try:
            return _framed(data, walk.batches, since, walk.stop, walk.at, bad)
        except _BatchError as error:  # found only now: what is behind it is fetched again
            bad = error
            walk.back(walk.batches[error.number].header[0] - _HEADER.size)


class _Walk:
    """Goes through the batches of an answer, and keeps those that hold events."""

    def __init__(self, data: bytes, since: int, aborted: Sequence[tuple[int, int]]) -> None:
        self.batches: list[_Batch] = []
        self.base = self.stop = since
        self.at = 0
        self._data = data
        self._since = since
        self._unpacked = 0
        self._stops = [(0, since)]  # of each batch: where it begins, and the stop before it
        self._going, self._gone = list(aborted), set[int]()

    def more(self) -> bool:
        """Whether there is one more, and room for it."""
        data, at = self._data, self.at
        if len(data) - at < _START.size or self._unpacked >= ENOUGH_UNPACKED:
            return False
        self.base, length, _, _ = _START.unpack_from(data, at)
        if length < 0:
            msg = f"its length is {length}"
            raise _FormatError(msg)
        self._end = at + _BEFORE_LENGTH + length
        return bool(self._end <= len(data))  # or it was cut off, and comes again

    def step(self) -> bool:
        """Take one; False where it is of a kind that is not known here."""
        data, at, end = self._data, self.at, self._end
        self._stops.append((at, self.stop))
        header = _checked(data, at, end)
        if header is None:
            return False
        base, _, _, _, _, attributes, last, _, _, producer, _, _, _ = header
        while self._going and self._going[0][1] <= base:
            self._gone.add(self._going.pop(0)[0])
        is_wanted = base + last >= self._since
        self.stop = max(self.stop, base + last + 1)
        if attributes & _CONTROL:
            if _is_abort(data, at, end, header):
                self._gone.discard(producer)
        elif is_wanted and not (attributes & _TRANSACTIONAL and producer in self._gone):
            body = _unpacked(memoryview(data)[at + _HEADER.size : end], attributes & _CODEC)
            self._unpacked += len(body)
            self.batches.append(_Batch(body, (at + _HEADER.size, end, *header)))
        self.at = end
        return True

    def back(self, at: int) -> None:
        """Forget the batch that begins there in the answer, and what came behind it."""
        self.at = at
        self.stop = dict(self._stops)[at]
        self.batches = [each for each in self.batches if each.header[0] - _HEADER.size < at]

    def skip(self) -> bool:
        """Pass over a batch all of which lies before what is wanted; whether this is one."""
        following = _base_at(self._data, self._end)
        if following is None or following > self._since:
            return False
        self.at = self._end
        return True


def _checked(data: bytes, at: int, end: int) -> tuple[int, ...] | None:
    """The header of a batch whose checksum is right; None where it is of a kind unknown here."""
    magic = data[at + _START.size - 1]
    if magic < 2:
        return None
    if magic > 2:
        msg = f"its format is {magic}, allowed are those up to 2"
        raise _FormatError(msg)
    if end - at < _HEADER.size:
        msg = f"it has {end - at} bytes, less than its header"
        raise _FormatError(msg)
    header = _HEADER.unpack_from(data, at)
    base, _, _, _, crc, attributes, last, *_, count = header
    if crc32c(memoryview(data)[at + _BEFORE_CRC : end]) != crc:
        msg = "its checksum is wrong"
        raise _BatchError(msg)
    if attributes & ~_KNOWN or attributes & _CODEC > _ZSTD:
        return None
    if base < 0 or last < 0 or count < 0:
        msg = f"offset {base}, last offset +{last} and {count} records cannot be"
        raise _BatchError(msg)
    return header


def _is_abort(data: bytes, at: int, end: int, header: tuple[int, ...]) -> bool:
    """Whether this marker ends a transaction by taking it back."""
    framed = _frame(data, _table([(at + _HEADER.size, end, *header)]), 0)
    if not len(framed.places):
        msg = "it is a marker of transactions, and holds nothing"
        raise _BatchError(msg)
    return content(data, int(framed.places[0]))[0] == _ABORT


def _damaged(data: bytes, at: int, since: int, why: str) -> RawFetch:
    """What is given out for the batch that begins there, alone."""
    base, length = _START.unpack_from(data, at)[:2]
    end = at + _BEFORE_LENGTH + length
    start = max(base, since)
    said = None
    _, _, _, _, crc, _, last, *_, count = _HEADER.unpack_from(data, at)
    is_right = crc32c(memoryview(data)[at + _BEFORE_CRC : end]) == crc
    if last >= 0 and (is_right or count == last + 1 <= MOST_UNPACKED // LEAST_RECORD):
        said = base + last + 1
    ends = [each for each in (said, _base_at(data, end)) if each is not None and each > start]
    stop = min(ends, default=start + 1)
    text = f"the batch of records at offset {base}: {why}"
    return RawFetch([LogRecord(start, 0, None, None, (), Damage(stop, text))], stop, len(text))


def _base_at(data: bytes, at: int) -> int | None:
    """The offset of the batch that begins there, if a whole and undamaged one does."""
    if len(data) - at < _HEADER.size:
        return None
    base, length = _START.unpack_from(data, at)[:2]
    end = at + _BEFORE_LENGTH + length
    try:
        is_good = end <= len(data) and _checked(data, at, end) is not None
    except (_BatchError, _FormatError):
        is_good = False
    return int(base) if is_good else None


def _framed(
    data: bytes, batches: list[_Batch], since: int, stop: int, at: int, bad: _BatchError | None
) -> RawFetch:
    if bad is not None and stop == since:  # nothing to give out before it
        return _damaged(data, at, since, str(bad))
    buffer: bytes | memoryview = data
    rows = _table([batch.header for batch in batches])
    if any(batch.header[7] & _CODEC for batch in batches):
        buffer = b"".join(batch.body for batch in batches)
        lengths = np.array([len(batch.body) for batch in batches], np.int64)
        rows["end"] = np.cumsum(lengths)
        rows["at"] = rows["end"] - lengths
    framed = _frame(buffer, rows, since)
    values = Spanned(buffer, framed.spans)
    records = RawRecords(values, framed.offsets, framed.times_us, framed.places)
    return RawFetch(records, stop, len(buffer) + 3 * framed.spans.nbytes)


def _frame(buffer: bytes | memoryview, rows: NDArray[Any], since: int) -> Framed:
    room = (rows["end"] - rows["at"]) // LEAST_RECORD
    for number in np.flatnonzero(rows["count"] > room).tolist():  # before memory is taken for them
        row = rows[number]
        msg = f"it has {row['end'] - row['at']} bytes and claims to hold {row['count']} records"
        raise _BatchError(msg, number)
    framed = Framed(buffer, rows, since)
    if framed.fault >= 0:
        msg = "its records are malformed"
        raise _BatchError(msg, framed.fault)
    return framed


def _table(headers: list[tuple[int, ...]]) -> NDArray[Any]:
    rows = np.zeros(len(headers), BATCH)
    for number, header in enumerate(headers):
        at, end, base, _, _, _, _, attributes, last, first, greatest, _, _, _, count = header
        own = attributes & _APPEND_TIME == 0
        rows[number] = (at, end, count, base, last, first if own else greatest, own)
    return rows


def _unpacked(body: memoryview, codec: int) -> bytes | memoryview:
    if codec == 0:
        return body
    try:
        if codec == _GZIP:
            return _gunzip(body)
        if codec == _SNAPPY:
            return _unsnap(body)
        return _into(cramjam.lz4 if codec == _LZ4 else cramjam.zstd, body)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        msg = f"it cannot be unpacked: {error}"
        raise _BatchError(msg) from None


def _too_big() -> _BatchError:
    return _BatchError(f"it has more than {MOST_UNPACKED >> 20} MiB when it is unpacked")


def _gunzip(body: memoryview) -> bytes:
    found, rest = b"", bytes(body)
    while rest:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        found += unpacker.decompress(rest, MOST_UNPACKED + 1 - len(found))
        if len(found) > MOST_UNPACKED:
            raise _too_big()
        if not unpacker.eof:
            msg = "it cannot be unpacked: it ends too early"
            raise _BatchError(msg)
        rest = unpacker.unused_data
    return found


def _unsnap(body: memoryview) -> bytes:
    """Snappy as Java writes it, in blocks, or in one piece."""
    if bytes(body[: len(_XERIAL)]) != _XERIAL:
        return _unsnapped([body])
    blocks, at = [], 16
    while at < len(body):
        (size,) = struct.unpack_from(">i", body, at)
        if not 0 < size <= len(body) - at - 4:
            msg = f"it cannot be unpacked: a block of {size} bytes"
            raise _BatchError(msg)
        blocks.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return _unsnapped(blocks)


def _unsnapped(blocks: list[memoryview]) -> bytes:
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > MOST_UNPACKED:
        raise _too_big()
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _into(codec: Any, body: memoryview) -> bytes:
    """Unpack into a room that is widened until it suffices, or is as wide as it may become.

    Each thread keeps its room: a new one for each batch, several times as wide as what comes, would
    cost more than unpacking.
    """
    room: bytearray = getattr(_KEPT, "room", None) or bytearray(LEAST_ROOM)
    while True:
        try:
            found = bytes(memoryview(room)[: codec.decompress_into(body, room)])
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if len(room) == MOST_UNPACKED:
                raise _too_big() from None
        else:
            if len(room) <= MOST_ROOM:
                _KEPT.room = room
            return found
        room = bytearray(min(8 * len(room), MOST_UNPACKED))


def load() -> None:
    """Compile or load what reads batches, before a partition waits for it."""
    Framed(b"", np.zeros(0, BATCH), 0)
