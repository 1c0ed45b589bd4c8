"""Memory that is used again: what is as large as a batch would be handed out anew for each.

The system hands out large blocks page by page, each zeroed at its first touch, and takes them back
when they are freed. For blocks that live as long as a batch this costs more than what is done with
them. A room is free when no view of it is left, which Python knows: so nobody has to give one back,
and whoever keeps a view keeps its contents.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROOMY: Final = 8
"""A room so many times as large as what is wanted is given back to the system."""
LEAST: Final = 1 << 16
"""Bytes; smaller blocks are cheap."""
RESTS: Final = 400
"""Times in a row that nothing was wanted, after which what is free is given back."""
OF_COLUMNS: Final = 2
_OWN: Final = threading.local()


class Rooms:
    """Rooms of one kind, for one thread; at most `most` are kept.

    >>> rooms = Rooms(most=1)
    >>> first = rooms.take(100)
    >>> first[0] = 7
    >>> rooms.take(100)[0], first[0]
    (0, 7)
    >>> del first
    >>> rooms.take(90)[0]
    7
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[bytearray] = []
        self._rests = 0

    def rest(self) -> None:
        """Note that there was something to do, and no room was wanted for it."""
        self._rests += 1
        if self._rests >= RESTS and self._kept:
            self._kept = [each for each in self._kept if not _is_free(each)]

    def take(self, size: int) -> memoryview:
        """A view of so many bytes of which there is no other; what is in them means nothing."""
        self._rests = 0
        best = None
        for each in self._kept[:]:
            if not _is_free(each):
                continue
            if len(each) > ROOMY * size:
                self._kept.remove(each)
            elif len(each) >= size and (best is None or len(each) < len(best)):
                best = each
        if best is None:
            best = bytearray(size + size // 4)  # the next is as long, about
            self._keep(best)
        return memoryview(best)[:size]

    def _keep(self, room: bytearray) -> None:
        if len(self._kept) >= self._most:
            free = [each for each in self._kept if _is_free(each)]
            if not free:
                return  # it goes with its last view
            self._kept.remove(min(free, key=len))
        self._kept.append(room)


def _is_free(room: bytearray) -> bool:
    """Whether no view of it is left: with one, its length cannot be changed."""
    try:
        last = room.pop()
    except BufferError:
        return False
    room.append(last)
    return True


def zeros(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """As `np.zeros`; where it is large, in a room of this thread.

    >>> int(zeros(5, np.dtype("i8")).sum())
    0
    """
    size = count * dtype.itemsize
    if size < LEAST:
        return np.zeros(count, dtype)
    rooms: Rooms | None = getattr(_OWN, "rooms", None)
    if rooms is None:
        rooms = _OWN.rooms = Rooms(OF_COLUMNS)
    raw = np.frombuffer(rooms.take(size), np.uint8)
    raw[:] = 0
    return raw.view(dtype)
