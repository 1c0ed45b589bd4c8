"""Memory that is given back: what glibc does by default lets a worker grow for hours.

Each time a large block is freed glibc raises the size from which blocks are mapped by themselves,
up to 32 MiB; from then on the copies that checkpoints take lie on the heap among small blocks, and
keep it from shrinking. Each thread that packs has a heap of its own besides, of which each grows to
the largest snapshot that it ever packed. Both are set to fixed values here. What lies free in the
midst of a heap is kept as well: after what takes much memory once, as compiling and snapshots do,
it is given back, and now and then what the copies of smaller checkpoints have left. Elsewhere than
on glibc nothing is done.
"""

import ctypes
from collections.abc import Callable
from time import monotonic
from typing import Final

MAPPED_FROM: Final = 1 << 20
"""Bytes; what batches need in ordinary traffic stays below, so that it costs no page faults."""
HEAPS: Final = 2
MUCH: Final = 1 << 20
"""Bytes that were used in small blocks, from which it is worth while to give them back."""
EVERY: Final = 20.0
"""Seconds until it is done anyway: about 7 MiB by then, at 2,000 events a second; it takes 1 ms."""

_M_MMAP_THRESHOLD: Final = -3  # of malloc.h
_M_ARENA_MAX: Final = -8


def settle() -> bool:
    """Fix both, for the whole process; whether this C library knows them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM)) and bool(mallopt(_M_ARENA_MAX, HEAPS))


def give_back() -> bool:
    """Give back what lies free, of all heaps: some milliseconds; whether this C library can."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return False
    trim(0)
    return True


class Turn:
    """Tells when it is time to give back."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def has_come(self, *, took_much: bool) -> bool:
        """Whether it is time now, by the clock or because of what was done; begins anew if so."""
        now = self._clock()
        if not took_much and now - self._last < EVERY:
            return False
        self._last = now
        return True
