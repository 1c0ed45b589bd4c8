"""The framing of Kafka's record batches (format v2), read without an object for each record.

A record is `length attributes time-delta offset-delta key value headers`; numbers are zigzag
varints, and lengths of what is missing are -1. A batch may come from anybody who may write to the
topic, so nothing in it is believed: every length is held against the end of its record, and every
record against the end of its batch.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from models.kernel import kernel
from models.prefetch import prefetch

BATCH: Final = np.dtype(
    [
        ("at", "i8"),  # of the first record in the buffer
        ("end", "i8"),
        ("count", "i8"),  # records, as the batch says
        ("base", "i8"),  # offset of the batch
        ("last", "i8"),  # greatest offset in it, less the base
        ("time", "i8"),  # broker's or first time, milliseconds
        ("deltas", "i8"),  # whether each record has a time of its own
        ("codec", "i8"),
        ("crc", "i8"),  # as the batch says
    ]
)
HEAD_BYTES: Final = 61
KNOWN: Final = 15
"""The bits of a batch in its usual form: its codec, and whose time counts."""
LEAST_RECORD: Final = 7
"""Bytes of the smallest record: so a batch holds no more of them than its bytes allow."""
AHEAD: Final = 6
"""Records; farther ahead it would be guessed too badly where they begin."""
FAR: Final = 1 << 61
MOST_MS: Final = 9_000_000_000_000_000
"""The greatest time, either way, that fits into 64 bits as microseconds."""


@kernel
def varint(data: Any, at: int, end: int) -> tuple[int, int]:
    """A number and where it ends; that is -1 where there is none. Beyond 2^62 it saturates."""
    value = 0
    shift = 0
    while at < end and shift < 63:
        byte = int(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    if at < end and shift == 63 and int(data[at]) <= 1:
        return FAR - 2 * FAR * (value & 1), at + 1
    return 0, -1


@kernel
def number(data: Any, at: int, size: int) -> int:
    """A big-endian number of so many bytes, with its sign."""
    value = int(data[at])
    if value >= 128:
        value -= 256
    for i in range(at + 1, at + size):
        value = value << 8 | int(data[i])
    return value


@lean
def _heads(data: Any, since: int, batches: Any) -> tuple[int, int]:
    """Return how many batches were noted, and 1 where all are in their usual form, else 0.

    What was cut off at the end of an answer comes again, and is not looked at.
    """
    n = at = 0
    while len(data) - at >= 17:  # up to the byte that tells the format
        length = number(data, at + 8, 4)
        end = at + 12 + length
        if end > len(data):
            break
        if length < HEAD_BYTES - 12:
            return n, 0
        attributes = number(data, at + 21, 2)
        base, last = number(data, at, 8), number(data, at + 23, 4)
        count = number(data, at + 57, 4)
        if int(data[at + 16]) != 2 or attributes & ~KNOWN != 0 or min(base, last, count) < 0:
            return n, 0
        if n == len(batches) or base > FAR or base + last < since:
            return n, 0
        own = 1 if attributes & 8 == 0 else 0
        batches[n]["at"] = at + HEAD_BYTES
        batches[n]["end"] = end
        batches[n]["count"] = count
        batches[n]["base"] = base
        batches[n]["last"] = last
        batches[n]["time"] = number(data, at + 27 if own != 0 else at + 35, 8)
        batches[n]["deltas"] = own
        batches[n]["codec"] = attributes & 7
        batches[n]["crc"] = number(data, at + 17, 4) & 0xFFFFFFFF
        n += 1
        at = end
    return n, 1


@lean
def _frame(
    data: Any, batches: Any, since: int, spans: Any, offsets: Any, times: Any, places: Any
) -> tuple[int, int]:
    """Return how many records were read, and the batch at which it had to stop, or -1."""
    n = 0
    for b in range(len(batches)):
        at = int(batches[b]["at"])
        end = int(batches[b]["end"])
        base = int(batches[b]["base"])
        first = max(min(int(batches[b]["time"]), FAR), -FAR)
        before = -1
        for _ in range(int(batches[b]["count"])):
            length, at = varint(data, at, end)
            stop = at + length
            if at < 0 or length < LEAST_RECORD - 1 or stop > end:
                return n, b
            # Those that come next are about as long: without asking, each waits for memory.
            prefetch(data, stop + AHEAD * length)
            place = at
            later, at = varint(data, at + 1, stop)  # behind the attributes, which say nothing
            if at < 0:
                return n, b
            delta, at = varint(data, at, stop)
            if at < 0 or delta <= before or delta > int(batches[b]["last"]):
                return n, b
            before = delta
            size, at = varint(data, at, stop)
            if at < 0 or size < -1 or size > stop - at:
                return n, b
            at += max(size, 0)
            size, at = varint(data, at, stop)
            if at < 0 or size < -1 or size > stop - at:
                return n, b
            start = at
            at += max(size, 0)
            headers, after = varint(data, at, stop)
            if after < 0 or headers < 0:
                return n, b
            if base + delta >= since:
                spans[n, 0] = start
                spans[n, 1] = at
                offsets[n] = base + delta
                when = first
                if int(batches[b]["deltas"]) != 0:
                    when = first + max(min(later, FAR), -FAR)
                times[n] = 1000 * max(min(when, MOST_MS), -MOST_MS)
                places[n] = place
                n += 1
            at = stop
        if at != end:
            return n, b
    return n, -1


def heads_of(data: bytes | memoryview, since: int) -> tuple[NDArray[Any], bool]:
    """The batches of an answer; whether all are whole, wanted and in their usual form."""
    octets = _octets(data)
    room = 64
    while True:
        batches = np.zeros(room, BATCH)
        n, is_usual = _heads(octets, since, batches)
        if n < room:
            return batches[:n], bool(is_usual)
        room *= 8


def _octets(data: bytes | memoryview) -> NDArray[np.uint8]:
    found = np.frombuffer(data, np.uint8)
    found.flags.writeable = False  # one kind of array, so one compilation
    return found


class Framed:
    """The records of some batches: spans of their values, offsets, times, and where they lie."""

    def __init__(self, data: bytes | memoryview, batches: NDArray[Any], since: int) -> None:
        count = int(batches["count"].sum())
        self.spans = np.empty((count, 2), np.int64)
        self.offsets = np.empty(count, np.int64)
        self.times_us = np.empty(count, np.int64)
        self.places = np.empty(count, np.int64)
        n, self.fault = _frame(
            _octets(data), batches, since,
            self.spans, self.offsets, self.times_us, self.places,
        )  # fmt: skip
        """The number of the batch that cannot be read, or -1."""
        self.spans = self.spans[:n]
        self.offsets, self.times_us = self.offsets[:n], self.times_us[:n]
        self.places = self.places[:n]


def content(
    data: bytes | memoryview, place: int
) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
    """Key, value and headers of a record that `Framed` has read; no headers where they are bad."""
    _, at = varint(data, place + 1, len(data))
    _, at = varint(data, at, len(data))
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    try:
        return key, value, _headers(data, at)
    except ValueError:  # nobody checks them on the way here
        return key, value, ()


def _headers(data: bytes | memoryview, at: int) -> tuple[tuple[str, bytes], ...]:
    count, at = varint(data, at, len(data))
    found = []
    for _ in range(count):
        name, at = _bytes(data, at)
        value, at = _bytes(data, at)
        if name is None:
            msg = "a header has no name"
            raise ValueError(msg)
        found.append((name.decode(), value or b""))
    return tuple(found)


def _bytes(data: bytes | memoryview, at: int) -> tuple[bytes | None, int]:
    size, at = varint(data, at, len(data))
    if at < 0 or size < -1 or size > len(data) - at:
        msg = "a length that cannot be"
        raise ValueError(msg)
    return (None if size < 0 else bytes(data[at : at + size])), at + max(size, 0)
