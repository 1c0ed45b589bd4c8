"""Whole record batches (format v2) as a broker sends them: one buffer, and no object per record.

The rules of aiokafka's own reading hold: checksums are checked, markers of transactions and what a
transaction took back are left out, records before the wanted offset are skipped, a batch that was
cut off at the end is not looked at. What is in another format is not read here.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

import cramjam
import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogRecord
from detectors.framing import BATCH, LEAST_RECORD, Framed, content
from detectors.spanned import Spanned

MOST_UNPACKED: Final = 64 << 20
"""Bytes of one batch, unpacked. More is no batch of events, but an attempt on our memory."""
ENOUGH_UNPACKED: Final = 32 << 20
"""Of one answer: what comes behind so much is fetched again, when this has been walked."""

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
    """A batch cannot be read; the text says why."""

    def __init__(self, text: str, base: int | None = None) -> None:
        super().__init__(text)
        self.base = base


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

    records: RawRecords
    stop: int
    size: int


class _Batch(NamedTuple):
    body: bytes | memoryview
    header: tuple[int, ...]


def read_fetch(data: bytes, since: int, aborted: Sequence[tuple[int, int]]) -> RawFetch | None:
    """Read an answer; None if it holds anything but batches of format v2.

    `aborted`: producers whose transactions were taken back, each with the first offset, by offset.
    Raises `EngineError` where a batch is damaged.
    """
    walk = _Walk(data, since, aborted)
    try:
        while walk.more():
            if not walk.step():
                return None
        return _framed(data, walk.batches, since, walk.stop)
    except _BatchError as error:
        at = error.base if error.base is not None else walk.base
        msg = f"the batch of records at offset {at}: {error}"
        raise EngineError(msg) from None


class _Walk:
    """Goes through the batches of an answer, and keeps those that hold events."""

    def __init__(self, data: bytes, since: int, aborted: Sequence[tuple[int, int]]) -> None:
        self.batches: list[_Batch] = []
        self.base = self.stop = since
        self._data = data
        self._since = since
        self._at = self._unpacked = 0
        self._going, self._gone = list(aborted), set[int]()

    def more(self) -> bool:
        """Whether there is one more, and room for it."""
        data, at = self._data, self._at
        if len(data) - at < _START.size or self._unpacked >= ENOUGH_UNPACKED:
            return False
        self.base, length, _, _ = _START.unpack_from(data, at)
        if length < 0:
            msg = f"its length is {length}"
            raise _BatchError(msg)
        self._end = at + _BEFORE_LENGTH + length
        return bool(self._end <= len(data))  # or it was cut off, and comes again

    def step(self) -> bool:
        """Take one; False where it is of a kind that is not known here."""
        data, at, end = self._data, self._at, self._end
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
        self._at = end
        return True


def _checked(data: bytes, at: int, end: int) -> tuple[int, ...] | None:
    """The header of a batch whose checksum is right; None where it is of a kind unknown here."""
    magic = data[at + _START.size - 1]
    if magic < 2:
        return None
    if magic > 2:
        msg = f"its format is {magic}, allowed are those up to 2"
        raise _BatchError(msg)
    if end - at < _HEADER.size:
        msg = f"it has {end - at} bytes, less than its header"
        raise _BatchError(msg)
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


def _framed(data: bytes, batches: list[_Batch], since: int, stop: int) -> RawFetch:
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
        raise _BatchError(msg, int(row["base"]))
    framed = Framed(buffer, rows, since)
    if framed.fault >= 0:
        msg = "its records are malformed"
        raise _BatchError(msg, int(rows["base"][framed.fault]))
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


def _into(codec: Any, body: memoryview) -> memoryview:
    """Unpack into a room that is widened until it suffices, or is as wide as it may become."""
    room = min(max(16 * len(body), 1 << 16), MOST_UNPACKED)
    while True:
        out = bytearray(room)
        try:
            return memoryview(out)[: codec.decompress_into(body, out)]
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if room == MOST_UNPACKED:
                raise _too_big() from None
        room = min(8 * room, MOST_UNPACKED)


def load() -> None:
    """Compile or load what reads batches, before a partition waits for it."""
    Framed(b"", np.zeros(0, BATCH), 0)
