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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, overload

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import Damage, LogRecord
from detectors.engines.unpacking import (
    ENOUGH_UNPACKED,
    LZ4,
    MOST_UNPACKED,
    ZSTD,
    BatchError,
    unpacked,
    unpacked_into_one,
)
from detectors.framing import BATCH, LEAST_RECORD, Framed, content, heads_of
from detectors.spanned import Spanned

# base offset, length, leader's epoch, magic, CRC, attributes, last offset delta, first and greatest
# time, producer's id and epoch, first sequence, number of records
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_START: Final = struct.Struct(">qiib")
_BEFORE_LENGTH: Final = 12
_BEFORE_CRC: Final = 21
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 7, 8, 16, 32
_KNOWN: Final = _CODEC | _APPEND_TIME | _TRANSACTIONAL | _CONTROL
_ABORT: Final = b"\x00\x00\x00\x00"


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
    growth: float = 1.0
    """How many bytes each that was read of it has become when it was unpacked."""


class _Batch(NamedTuple):
    body: bytes | memoryview
    header: tuple[int, ...]


def read_fetch(
    data: bytes | memoryview, since: int, aborted: Sequence[tuple[int, int]]
) -> RawFetch | None:
    """Read an answer; None if it holds anything but batches of format v2.

    `aborted`: producers whose transactions were taken back, each with the first offset, by offset.
    Raises `EngineError` where it cannot be told where batches begin and end.
    """
    if (found := _usual(data, since)) is not None:
        return found
    walk = _Walk(data, since, aborted)
    bad: BatchError | None = None
    try:
        while bad is None and walk.more():
            try:
                if not walk.step():
                    return None
            except BatchError as error:
                walk.back(walk.at)
                bad = None if walk.skip() else error
    except _FormatError as error:
        if walk.stop == since:
            msg = f"the batch of records at offset {walk.base}: {error}"
            raise EngineError(msg) from None
    while True:
        try:
            return _framed(data, walk.batches, since, walk.stop, walk.at, bad)
        except BatchError as error:  # found only now: what is behind it is fetched again
            bad = error
            walk.back(walk.batches[error.number].header[0] - _HEADER.size)


def has_batch(data: bytes | memoryview) -> bool:
    """Whether an answer begins with a whole batch, whatever is in it; or with what is none."""
    if len(data) < _START.size:
        return False
    _, length, _, _ = _START.unpack_from(data)
    return bool(length <= len(data) - _BEFORE_LENGTH)


def _usual(data: bytes | memoryview, since: int) -> RawFetch | None:
    """An answer all of whose batches are whole, wanted and in their usual form; None for others."""
    batches, is_usual = heads_of(data, since)
    if not is_usual:
        return None
    reaches = batches["base"] + batches["last"]
    if (batches["base"][1:] <= reaches[:-1]).any():  # no checksum covers where a batch stands
        return None
    view = memoryview(data)
    ends = batches["end"].tolist()
    begins = (batches["at"] - (_HEADER.size - _BEFORE_CRC)).tolist()
    for begin, end, crc in zip(begins, ends, batches["crc"].tolist(), strict=True):
        if crc32c(view[begin:end]) != crc:
            return None
    codecs = set(batches["codec"].tolist())
    buffer: bytes | memoryview = data
    packed = len(data)
    if codecs - {0}:
        if len(codecs) != 1 or not codecs <= {LZ4, ZSTD}:
            return None
        spans = zip(batches["at"].tolist(), ends, strict=True)
        made = unpacked_into_one([view[at:end] for at, end in spans], codecs.pop())
        if made is None:
            return None
        buffer, lengths = made
        packed = int((batches["end"] - batches["at"]).sum())
        batches["end"] = np.cumsum(np.array(lengths, np.int64))
        batches["at"] = batches["end"] - lengths
    stop = int(reaches.max(initial=since - 1)) + 1
    try:
        return _records(buffer, batches, since, stop, packed)
    except BatchError:
        return None


def _records(
    buffer: bytes | memoryview, rows: NDArray[Any], since: int, stop: int, packed: int
) -> RawFetch:
    framed = _frame(buffer, rows, since)
    values = Spanned(buffer, framed.spans)
    records = RawRecords(values, framed.offsets, framed.times_us, framed.places)
    size = len(buffer) + 3 * framed.spans.nbytes
    return RawFetch(records, stop, size, len(buffer) / max(packed, 1))


class _Walk:
    """Goes through the batches of an answer, and keeps those that hold events."""

    def __init__(
        self, data: bytes | memoryview, since: int, aborted: Sequence[tuple[int, int]]
    ) -> None:
        self.batches: list[_Batch] = []
        self.base = self.stop = since
        self.at = 0
        self._data = data
        self._since = since
        self._unpacked = 0
        self._reached = -1  # the last offset of the batch before
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
        if base <= self._reached or not (base <= self.stop <= base + last or self._fits(header)):
            msg = f"it stands among batches with other offsets (+{last})"
            raise BatchError(msg)
        self._reached = base + last
        while self._going and self._going[0][1] <= base:
            self._gone.add(self._going.pop(0)[0])
        is_wanted = base + last >= self._since
        self.stop = max(self.stop, base + last + 1)
        if attributes & _CONTROL:
            if _is_abort(data, at, end, header):
                self._gone.discard(producer)
        elif is_wanted and not (attributes & _TRANSACTIONAL and producer in self._gone):
            body = unpacked(memoryview(data)[at + _HEADER.size : end], attributes & _CODEC)
            self._unpacked += len(body)
            self.batches.append(_Batch(body, (at + _HEADER.size, end, *header)))
        self.at = end
        return True

    def _fits(self, header: tuple[int, ...]) -> bool:
        """Whether the batch that does not begin where the last one ended ends before the next."""
        following = _base_at(self._data, self._end)
        return following is None or header[0] + header[6] < following

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


def _checked(data: bytes | memoryview, at: int, end: int) -> tuple[int, ...] | None:
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
        raise BatchError(msg)
    if attributes & ~_KNOWN or attributes & _CODEC > ZSTD:
        return None
    if base < 0 or last < 0 or count < 0:
        msg = f"offset {base}, last offset +{last} and {count} records cannot be"
        raise BatchError(msg)
    return header


def _is_abort(data: bytes | memoryview, at: int, end: int, header: tuple[int, ...]) -> bool:
    """Whether this marker ends a transaction by taking it back."""
    framed = _frame(data, _table([(at + _HEADER.size, end, *header)]), 0)
    if not len(framed.places):
        msg = "it is a marker of transactions, and holds nothing"
        raise BatchError(msg)
    return content(data, int(framed.places[0]))[0] == _ABORT


def _damaged(data: bytes | memoryview, at: int, since: int, why: str) -> RawFetch:
    """What is given out for the batch that begins there, alone."""
    base, length = _START.unpack_from(data, at)[:2]
    end = at + _BEFORE_LENGTH + length
    following = _base_at(data, end)
    _, _, _, _, crc, _, last, *_, count = _HEADER.unpack_from(data, at)
    start = since if following is not None and base + last >= following else max(base, since)
    said = None
    is_right = crc32c(memoryview(data)[at + _BEFORE_CRC : end]) == crc
    if last >= 0 and (is_right or count == last + 1 <= MOST_UNPACKED // LEAST_RECORD):
        said = base + last + 1
    ends = [each for each in (said, following) if each is not None and each > start]
    stop = min(ends, default=start + 1)
    text = f"the batch of records at offset {base}: {why}"
    return RawFetch([LogRecord(start, 0, None, None, (), Damage(stop, text))], stop, len(text))


def _base_at(data: bytes | memoryview, at: int) -> int | None:
    """The offset of the batch that begins there, if a whole and undamaged one does."""
    if len(data) - at < _HEADER.size:
        return None
    base, length = _START.unpack_from(data, at)[:2]
    end = at + _BEFORE_LENGTH + length
    try:
        is_good = end <= len(data) and _checked(data, at, end) is not None
    except (BatchError, _FormatError):
        is_good = False
    return int(base) if is_good else None


def _framed(
    data: bytes | memoryview,
    batches: list[_Batch],
    since: int,
    stop: int,
    at: int,
    bad: BatchError | None,
) -> RawFetch:
    if bad is not None and stop == since:  # nothing to give out before it
        return _damaged(data, at, since, str(bad))
    buffer: bytes | memoryview = data
    packed = len(data)
    rows = _table([batch.header for batch in batches])
    if any(batch.header[7] & _CODEC for batch in batches):
        packed = at
        buffer = b"".join(batch.body for batch in batches)
        lengths = np.array([len(batch.body) for batch in batches], np.int64)
        rows["end"] = np.cumsum(lengths)
        rows["at"] = rows["end"] - lengths
    return _records(buffer, rows, since, stop, packed)


def _frame(buffer: bytes | memoryview, rows: NDArray[Any], since: int) -> Framed:
    room = (rows["end"] - rows["at"]) // LEAST_RECORD
    for number in np.flatnonzero(rows["count"] > room).tolist():  # before memory is taken for them
        row = rows[number]
        msg = f"it has {row['end'] - row['at']} bytes and claims to hold {row['count']} records"
        raise BatchError(msg, number)
    framed = Framed(buffer, rows, since)
    if framed.fault >= 0:
        msg = "its records are malformed"
        raise BatchError(msg, framed.fault)
    return framed


def _table(headers: list[tuple[int, ...]]) -> NDArray[Any]:
    rows = np.zeros(len(headers), BATCH)
    for number, header in enumerate(headers):
        at, end, base, _, _, _, _, attributes, last, first, greatest, _, _, _, count = header
        own = attributes & _APPEND_TIME == 0
        rows[number] = (at, end, count, base, last, first if own else greatest, own, 0, 0)
    return rows


def load() -> None:
    """Compile or load what reads batches, before a partition waits for it."""
    heads_of(b"", 0)
    Framed(b"", np.zeros(0, BATCH), 0)
