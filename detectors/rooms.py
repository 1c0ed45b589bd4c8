"""Memory that is used again: what is as large as a batch would be handed out anew for each.

The system hands out large blocks page by page, each zeroed at its first touch, and takes them back
when they are freed. For blocks that live as long as a batch this costs more than what is done with
them. A room is free when no view of it is left, which Python knows: so nobody has to give one back,
and whoever keeps a view keeps its contents.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LEAST: Final = 1 << 16
"""Bytes; smaller blocks are cheap."""
RESTS: Final = 200
"""A room that was free, and not wanted, so many times in a row is given back to the system."""
OF_COLUMNS: Final = 2
_OWN: Final = threading.local()


@dataclass(eq=False)
class _Room:
    bytes: bytearray
    rests: int = 0

    @property
    def is_free(self) -> bool:
        """Whether no view of it is left: with one, its length cannot be changed."""
        try:
            last = self.bytes.pop()
        except BufferError:
            return False
        self.bytes.append(last)
        return True


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
        self._kept: list[_Room] = []

    @property
    def sizes(self) -> list[int]:
        """Bytes of the rooms that are kept."""
        return [len(each.bytes) for each in self._kept]

    def rest(self) -> None:
        """Note that there was something to do, and no room was wanted for it."""
        self._age([each for each in self._kept if each.is_free])

    def take(self, size: int) -> memoryview:
        """A view of so many bytes of which there is no other; what is in them means nothing."""
        free = [each for each in self._kept if each.is_free]
        fit = [each for each in free if len(each.bytes) >= size]
        if fit:
            best = min(fit, key=lambda each: len(each.bytes))
            best.rests = 0
            self._age([each for each in free if each is not best])
        else:
            best = _Room(bytearray(size + size // 8 + 1))  # what comes next is about as large
            self._keep(best, free)
        return memoryview(best.bytes)[:size]

    def _age(self, free: list[_Room]) -> None:
        for each in free:
            each.rests += 1
            if each.rests >= RESTS:
                self._kept.remove(each)

    def _keep(self, room: _Room, free: list[_Room]) -> None:
        if len(self._kept) >= self._most:
            if not free:
                return  # it goes with its last view
            self._kept.remove(min(free, key=lambda each: len(each.bytes)))
        self._kept.append(room)


def zeros(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """As `np.zeros`; where it is large, in a room of this thread.

    >>> int(zeros(5, np.dtype("i8")).sum())
    0
    """
    made = empty(count, dtype)
    made.view(np.uint8)[:] = 0
    return made


def empty(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """As `np.empty`; where it is large, in a room of this thread."""
    size = count * dtype.itemsize
    rooms: Rooms | None = getattr(_OWN, "rooms", None)
    if rooms is None:
        rooms = _OWN.rooms = Rooms(OF_COLUMNS)
    if size < LEAST:
        rooms.rest()
        return np.empty(count, dtype)
    return np.frombuffer(rooms.take(size), np.uint8).view(dtype)
