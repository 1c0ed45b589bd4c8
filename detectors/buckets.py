"""The index of a ring of rows: where the row of a key is, found with one look at one cache line.

Rows are numbered in the order in which they came, and the ring holds the last so many of them: so a
number tells a row's place, and whether it has left. A bucket holds fifteen entries of 32 bits, each
the upper bits of its key's place (the mark) and the lower bits of a row's number. Entries of rows
that have left need no removal: they are older than the ring, and the oldest entry of a bucket is
what a new one takes the room of. Numbers come round after four lengths of the ring or more; an
entry that stood there so long is taken for another row's, whose key is another.

The first word of a bucket says whether somebody found it full of rows that are there and went on to
the next: so does whoever looks for a key then. With five entries expected in a bucket at most that
is one in thousands; where it happened to one bucket in eight, the index is built again. At most a
third of the buckets can be full at once, so that whoever goes on comes to an end.

Where an entry stands is no part of the state, and no result depends on it. Open addressing without
buckets walked past entries of rows that had left, and took half as long again.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numpy import int32, uint64
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.keys import place_of
from models.kernel import kernel
from models.prefetch import AHEAD, prefetch

WIDTH: Final = 16
"""Words of a bucket: a cache line."""
ENTRY_BITS: Final = 4
MOST_BITS: Final = 26
"""Of a number, so that an age and a place in a bucket are one word together."""
ALL_HERE, GONE_ON = -1, -2
"""First words; all are negative, as is an entry that never was."""
MOST_FULL: Final = 8
"""The index is built again when one in so many buckets has been found full since the last time."""


def number_bits(limit: int) -> int:
    """Return how many bits tell the rows of a ring of so many apart, and those that left lately.

    Raises ValueError where a number has not so many: then no row would ever seem to have left.
    """
    bits = (limit - 1).bit_length() + 2
    if bits > MOST_BITS:
        msg = f"a ring has at most {1 << MOST_BITS - 2:,} rows (got {limit:,})"
        raise ValueError(msg)
    return bits


def words_for(rows: int) -> int:
    """Return the words of an index with room for so many rows: three to six for each."""
    return 1 << (max(3 * rows, WIDTH) - 1).bit_length()


@kernel
def bucket_of(index: Any, place: int, bits: int) -> int:
    """Return where a key's bucket begins, by its place: see ``keys.place_of``."""
    low = (1 << bits) - 1
    return max((place & low) * (len(index) >> ENTRY_BITS) >> bits, 0) << ENTRY_BITS


@kernel
def after(index: Any, bucket: int) -> int:
    """Return where the next bucket begins."""
    return bucket + WIDTH if bucket + WIDTH < len(index) else 0


@kernel
def bucket_ahead(index: Any, keys: Any, e: int, secret: int, bits: int) -> None:
    """Ask for the bucket of a later key."""
    if e < len(keys):
        prefetch(index, bucket_of(index, place_of(int(keys[e]), secret), bits))


@kernel
def look_in(index: Any, bucket: int, place: int, bits: int, count: int, number: int) -> int:
    """Return what a bucket has for a key: ``has_mark`` and ``oldest_of`` read it.

    ``number`` is that of the next row; the ``count`` rows before it are there.
    """
    mask, above = int32((1 << bits) - 1), int32(~((1 << bits) - 1))
    wanted, newest, rows = int32(place), int32((number - 1) & ((1 << bits) - 1)), int32(count)
    found = oldest = int32(0)
    first = uint64(bucket)  # where it might be negative, no two could be taken at once
    for i in range(WIDTH):  # without a branch, in 32 bits: the compiler takes eight at once
        entry = index[first + uint64(i)]
        free = int32(entry < 0)
        age = int32(int32(newest - entry) & mask)
        there = int32(int32(age < rows) & int32(1 - free))
        found = int32(found | int32(int32(int32(entry ^ wanted) & above) == 0) & there)
        rank = int32(int32(age | int32(free * int32(mask + int32(1)))) * int32(i != 0))
        oldest = max(oldest, int32(rank << ENTRY_BITS | i))
    return int(found) << 32 | int(oldest)


def _look_in_plainly(
    index: Any, bucket: int, place: int, bits: int, count: int, number: int
) -> int:
    """Return the same without compiled code, where numbers of 32 bits are slow."""
    mask = (1 << bits) - 1
    found = oldest = 0
    for i, entry in enumerate(index[bucket : bucket + WIDTH].tolist()):
        free = entry < 0
        age = (number - 1 - entry) & mask
        if not free and age < count and (entry ^ place) >> bits == 0:
            found = 1
        rank = 0 if i == 0 else age | (mask + 1 if free else 0)
        oldest = max(oldest, rank << ENTRY_BITS | i)
    return found << 32 | oldest


if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    look_in = _look_in_plainly


@kernel
def has_mark(seen: int) -> bool:
    """Tell whether a row that is there has the key's mark."""
    return seen >> 32 != 0


@kernel
def oldest_of(seen: int, count: int) -> int:
    """Return which entry of the bucket may be written; 0 where all are of rows that are there."""
    return seen & (WIDTH - 1) if (seen & 0xFFFFFFFF) >> ENTRY_BITS >= count else 0


@kernel
def row_of(
    index: Any, bucket: int, place: int, bits: int, slots: Any, key: int,
    hand: int, count: int, used: int, number: int,
) -> int:  # fmt: skip
    """Return the position of a key's row, by the entries of a bucket; -1 where there is none."""
    low = (1 << bits) - 1
    found = -1
    for i in range(bucket + 1, bucket + WIDTH):
        entry = int(index[i])
        age = (number - 1 - entry) & low
        if entry >= 0 and (entry ^ place) >> bits == 0 and age < count:
            p = hand + count - 1 - age
            if p >= used:
                p -= used
            if int(slots[p]["key"]) == key:
                found = p
    return found


@kernel
def go_on(index: Any, bucket: int) -> int:
    """Note that somebody found a bucket full; return 1 where nobody had before."""
    first = int(index[bucket]) == ALL_HERE
    index[bucket] = GONE_ON
    return 1 if first else 0


@kernel
def is_full(index: Any, full: int) -> bool:
    """Tell whether so many buckets that were found full are too many."""
    return full * MOST_FULL >= len(index) >> ENTRY_BITS


@lean
def link_ring(index: Any, keys: Any, secret: int, hand: int, count: int, bits: int) -> None:
    """Enter the rows of a ring into an empty index, the oldest first, with numbers from 0 on."""
    low = (1 << bits) - 1
    for number in range(count):
        p = hand + number if hand + number < len(keys) else hand + number - len(keys)
        bucket_ahead(index, keys, p + AHEAD, secret, bits)
        if int(keys[p]) == 0:
            continue
        place = place_of(int(keys[p]), secret)
        bucket = bucket_of(index, place, bits)
        entry = oldest_of(look_in(index, bucket, place, bits, number, number), number)
        while entry == 0:
            go_on(index, bucket)
            bucket = after(index, bucket)
            entry = oldest_of(look_in(index, bucket, place, bits, number, number), number)
        index[bucket + entry] = place & ~low | number & low


def empty_index(words: int) -> NDArray[np.int32]:
    """Return an index without rows, each bucket of which is one cache line."""
    room = np.full(words + WIDTH, ALL_HERE, np.int32)
    start = -room.ctypes.data % (4 * WIDTH) // 4
    return room[start : start + words]
