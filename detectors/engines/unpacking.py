"""What compresses record batches, taken off within bounds: a batch may come from anybody."""

import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import cramjam

from detectors.rooms import Rooms

MOST_UNPACKED: Final = 64 << 20
"""Bytes of one batch, unpacked. More is no batch of events, but an attempt on our memory."""
ENOUGH_UNPACKED: Final = 32 << 20
"""Of one answer: what comes behind so much is fetched again, when this has been walked."""

LEAST_ROOM: Final = 1 << 18
MOST_ROOM: Final = 1 << 21
"""Bytes of the room for unpacking that a thread keeps: of most batches, and of large ones."""
LARGEST_ROOM: Final = 16 << 20
ROOMS: Final = 4
"""So many whole answers that are unpacked wait for their walk."""
FACTOR: Final = 4.0
"""By which answers grow when they are unpacked, where nothing is known yet."""
_KEPT: Final = threading.local()

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
_XERIAL: Final = b"\x82SNAPPY\x00"


class BatchError(Exception):
    """A batch cannot be read; the text says why, `number` which of those that were kept it is."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


def unpacked(body: memoryview, codec: int) -> bytes | memoryview:
    """What a batch holds; raises `BatchError`."""
    if codec == 0:
        return body
    try:
        if codec == GZIP:
            return _gunzip(body)
        if codec == SNAPPY:
            return _unsnap(body)
        return _into(cramjam.lz4 if codec == LZ4 else cramjam.zstd, body)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        msg = f"it cannot be unpacked: {error}"
        raise BatchError(msg) from None


def _too_big() -> BatchError:
    return BatchError(f"it has more than {MOST_UNPACKED >> 20} MiB when it is unpacked")


def _gunzip(body: memoryview) -> bytes:
    found, rest = b"", bytes(body)
    while rest:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        found += unpacker.decompress(rest, MOST_UNPACKED + 1 - len(found))
        if len(found) > MOST_UNPACKED:
            raise _too_big()
        if not unpacker.eof:
            msg = "it cannot be unpacked: it ends too early"
            raise BatchError(msg)
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
            raise BatchError(msg)
        blocks.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return _unsnapped(blocks)


def _unsnapped(blocks: list[memoryview]) -> bytes:
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > MOST_UNPACKED:
        raise _too_big()
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _into(codec: Any, body: memoryview) -> bytes:
    """Unpack one body by itself.

    Each thread keeps its room: a new one for each batch, several times as wide as what comes, would
    cost more than unpacking.
    """
    room: memoryview = getattr(_KEPT, "room", None) or memoryview(bytearray(LEAST_ROOM))

    def widen(size: int) -> memoryview:
        return memoryview(bytearray(min(8 * size, MOST_UNPACKED)))

    room, length = _filled(codec.decompress_into, body, room, 0, MOST_UNPACKED, widen)
    if len(room) <= MOST_ROOM:
        _KEPT.room = room
    return bytes(room[:length])


def _filled(
    unpack: Callable[[memoryview, memoryview], int],
    body: memoryview,
    room: memoryview,
    at: int,
    most: int,
    widen: Callable[[int], memoryview],
) -> tuple[memoryview, int]:
    """Unpack behind `at`; the room, widened until it suffices or is as wide as it may become."""
    while True:
        try:
            return room, unpack(body, room[at:])
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise
            if len(room) == most:
                raise _too_big() from None
        wider = widen(len(room))
        wider[:at] = room[:at]
        room = wider


def unpacked_into_one(
    bodies: Sequence[memoryview], codec: int
) -> tuple[bytes | memoryview, list[int]] | None:
    """LZ4 or zstd bodies unpacked one behind the other, and the length of each.

    None where one cannot be unpacked, or all are too many for one room: they go one by one.
    """
    unpack = (cramjam.lz4 if codec == LZ4 else cramjam.zstd).decompress_into
    packed = sum(map(len, bodies))
    if not hasattr(_KEPT, "rooms"):
        _KEPT.rooms, _KEPT.factor = Rooms(ROOMS), FACTOR
    rooms: Rooms = _KEPT.rooms
    room = rooms.take(min(int(packed * _KEPT.factor) + LEAST_ROOM, LARGEST_ROOM))

    def widen(size: int) -> memoryview:
        return rooms.take(min(2 * size, LARGEST_ROOM))

    at, lengths = 0, list[int]()
    for body in bodies:
        try:
            room, length = _filled(unpack, body, room, at, LARGEST_ROOM, widen)
        except (cramjam.DecompressionError, BatchError):
            return None
        lengths.append(length)
        at += length
    # The next may be packed less well, and topics differ: it falls slowly.
    _KEPT.factor = max(1.0, 1.1 * at / packed if packed else 1.0, 0.95 * _KEPT.factor)
    if 2 * at < len(room):  # who counts what waits counts the view, and not the room
        return bytes(room[:at]), lengths
    return room[:at].toreadonly(), lengths
