"""Which keys were there within a window: four bytes each, in buckets of two cache lines.

A place holds 27 bits of a key (its mark) and in which 20th of the window the key came (its
generation, 5 bits); 0 is a free place. A key has one bucket of 32 places, and no other. The memory
is made for ``LOAD`` of its places in use, so that a key in the window costs 6.9 bytes (up to 7.2
while the oldest generation leaves), and then

* a key is there at the end of its window with 99.5 %: a bucket of which 32 or more of the 19.2
  keys that are expected came (Poisson) has lost its oldest; of all keys of the window 99.97 %;
* a key that never came seems to be there with 6e-7: 19.2 marks, of which 25 bits tell something
  (two more until the memory has doubled twice).

Only what is beyond ``limit`` is forgotten earlier: the oldest of the full bucket goes, and is
counted. Who could choose keys (they are made of fingerprints under the receivers' pepper) would
push out the keys of one bucket, 32 of them. At a change of generation what has left the window is
swept out. The memory begins with a quarter of its size and doubles twice: a mark holds the two bits
of the key that then say in which half it stands. All of it depends on the order of keys only.

Buckets with tags and no other choice: Fan et al. 2014 ("Cuckoo filter") hold their tags so, and
move them to keep 95 % in use; here the oldest goes instead, since it would go soon.

>>> memory = Memory(ttl=4320, limit=1000)
>>> memory.make_room()
>>> enter(memory.slots, memory.dirty, memory.state, key=2**62 + 7, seen=10)
False
>>> memory.knows(2**62 + 7), memory.knows(2**62 + 8), memory.live
(True, False, 1)
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy import int32
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.snapshot import PATCH, STEPS, locked, steps_of
from models.kernel import kernel
from models.prefetch import prefetch

WAYS: Final = 32
LINE: Final = 16
"""Places in a cache line."""
LOAD: Final = 0.6
DOUBLINGS: Final = 2
CODE_BITS: Final = 5
GENERATIONS: Final = 1 << CODE_BITS
"""Numbers of generations; fewer are alive, so that none is taken for a later one."""
CODES: Final = GENERATIONS - 1
ALIVE: Final = 20
"""The greatest age in generations that is still within the window."""
SWEEP: Final = GENERATIONS - ALIVE - 1
"""Generations after which what has left the window must be swept out."""
KEY_BITS: Final = 25
KEY_MASK: Final = (1 << KEY_BITS) - 1
HALF_MARK: Final = 1 << (KEY_BITS + DOUBLINGS - 1)
PLACE_BITS: Final = 31
PLACE_MASK: Final = (1 << PLACE_BITS) - 1
TOP_BITS: Final = 64 - PLACE_BITS
LEVEL, GENERATION, SWEPT, LIVE, FORGOTTEN, COUNTS = range(6)
BUCKETS: Final = COUNTS + GENERATIONS
PACE: Final = BUCKETS + 1
"""Of the state: doublings so far (-1 = nothing is allocated), the generation now and at the last
sweep, keys within the window, keys that went before their time, places by generation; then, not in
a snapshot: buckets when it is full grown, and generations in 2^32 minutes."""
NEVER: Final = -(1 << 40)
NOTHING: Final = int32(0)


@kernel
def first_of(state: Any, key: int) -> int:
    """Return where a key's bucket begins.

    The compiler must see that no index is negative, to take several places at once. And what is
    done for each key cuts no views of arrays and has one return: references to arrays are counted
    otherwise, which takes as long as the rest.
    """
    whole = (((key >> TOP_BITS) & PLACE_MASK) * int(state[BUCKETS])) >> PLACE_BITS
    return max(whole >> (DOUBLINGS - int(state[LEVEL])), 0) * WAYS


@kernel
def generation_of(state: Any, minute: int) -> int:
    """Return the generation of a minute, without a division that might raise."""
    return (minute * int(state[PACE])) >> 32


@kernel
def mark_of(state: Any, key: int) -> int:
    """Return what is kept of a key, a signed number of 27 bits, never 0."""
    whole = (((key >> TOP_BITS) & PLACE_MASK) * int(state[BUCKETS])) >> PLACE_BITS
    mark = ((whole & 3) << KEY_BITS | (key & KEY_MASK)) - HALF_MARK
    return 1 if mark == 0 else mark


@kernel
def recall(slots: Any, state: Any, key: int) -> int:
    """Return a key's place, -1 where it is not there."""
    at = first_of(state, key)
    mark = mark_of(state, key)
    found = 0
    for i in range(WAYS):  # without a branch: the compiler takes several at once
        v = int(slots[at + i])
        found |= int(v >> CODE_BITS == mark) & int(v != 0)
    where = -1
    if found != 0:
        for i in range(at, at + WAYS):
            v = int(slots[i])
            there = v >> CODE_BITS == mark
            if there and where < 0 and (int(state[GENERATION]) - v) & CODES <= ALIVE:
                where = i
    return where


@kernel
def put(slots: Any, dirty: Any, state: Any, i: int, value: int) -> None:
    """Write a place, count its generations, and note that it was written."""
    there = int(slots[i])
    if there != 0:
        state[COUNTS + (there & CODES)] -= 1
    if value != 0:
        state[COUNTS + (value & CODES)] += 1
    slots[i] = value
    dirty[i >> 3] = int(dirty[i >> 3]) | 1 << (i & 7)


@kernel
def enter(slots: Any, dirty: Any, state: Any, key: int, seen: int) -> bool:
    """Put a key in that came in this minute, or anew; tell whether it was there.

    Where nothing is free, the oldest goes.
    """
    at = first_of(state, key)
    mark = mark_of(state, key)
    now = int(state[GENERATION])
    back = min(max(now - generation_of(state, seen), 0), ALIVE)
    found = best = NOTHING  # best: the oldest, or a free one, which has no age
    narrow, code = int32(mark), int32(now & CODES)
    for i in range(WAYS):  # without a branch, in 32 bits: the compiler takes 16 at once
        v = slots[at + i]
        age = int32((code - (v & CODES)) & CODES | int32(v == 0) * GENERATIONS)
        found = int32(found | int32(int32(v >> CODE_BITS) == narrow) & int32(age <= ALIVE))
        best = max(best, int32(age << CODE_BITS | i))
    where = at + (int(best) & (WAYS - 1))
    if found != 0:
        for i in range(at, at + WAYS):
            v = int(slots[i])
            if v != 0 and v >> CODE_BITS == mark and (now - v) & CODES <= ALIVE:
                where = i
    elif int(best) >> CODE_BITS > ALIVE:
        state[LIVE] = int(state[LIVE]) + 1
    else:
        state[FORGOTTEN] = int(state[FORGOTTEN]) + 1
    put(slots, dirty, state, where, mark * GENERATIONS + ((now - back) & CODES))
    return bool(found != 0)


@kernel
def is_crowded(slots: Any, state: Any) -> bool:
    """Tell whether the memory is to be allocated, or doubled, before one more key comes."""
    level = int(state[LEVEL])
    return level < DOUBLINGS and (level < 0 or int(state[LIVE]) * 5 >= len(slots) * 3)


@kernel
def turn(slots: Any, dirty: Any, state: Any, minute: int) -> None:
    """Let the generations leave that have left the window, where a minute begins another one."""
    after = generation_of(state, minute)
    if after > int(state[GENERATION]):
        begin(slots, dirty, state, after)


@kernel
def begin(slots: Any, dirty: Any, state: Any, after: int) -> None:
    """Begin another generation."""
    before = int(state[GENERATION])
    live = 0
    for age in range(ALIVE - (after - before) + 1):  # as old as they were before
        live += int(state[COUNTS + ((before - age) & CODES)])
    if after - int(state[SWEPT]) >= SWEEP:
        sweep(slots, dirty, state, after)
        state[SWEPT] = after
    state[GENERATION] = after
    state[LIVE] = live


@kernel
def sweep(slots: Any, dirty: Any, state: Any, after: int) -> None:
    """Free the places of what will have left the window in this generation."""
    before = int(state[GENERATION])
    left = ALIVE - (after - before)
    for i in range(len(slots)):
        v = int(slots[i])
        if v != 0 and (before - v) & CODES > left:
            put(slots, dirty, state, i, 0)


@kernel
def look_ahead(slots: Any, dirty: Any, state: Any, key: int) -> None:
    """Ask for a key's lines, so that they are in the cache when it is entered."""
    at = first_of(state, key)
    prefetch(slots, at)
    prefetch(slots, at + LINE)
    prefetch(dirty, at >> 3)


@lean
def _double(slots: Any, grown: Any, level: int) -> None:
    """Part every bucket into two, by the next bit of its keys; order is kept."""
    shift = KEY_BITS + DOUBLINGS - 1 - level
    for at in range(0, len(slots), WAYS):
        low, high = 2 * at, 2 * at + WAYS
        for i in range(at, at + WAYS):
            v = int(slots[i])
            if v == 0:
                continue
            if ((v >> CODE_BITS) + HALF_MARK) >> shift & 1:
                grown[high] = v
                high += 1
            else:
                grown[low] = v
                low += 1


class Memory:
    """Keys that were there within a window of ``ttl`` minutes; ``limit`` of them at most."""

    def __init__(self, ttl: int, limit: int) -> None:
        self._base = max(math.ceil(limit / (LOAD * WAYS) / (1 << DOUBLINGS)), 1)
        buckets = self._base << DOUBLINGS
        self.state = np.zeros(PACE + 1, np.int64)
        self.state[[LEVEL, GENERATION, SWEPT]] = -1, NEVER, NEVER
        self.state[[BUCKETS, PACE]] = buckets, (ALIVE << 32) // max(ttl, ALIVE)
        self._allocate(0)
        self._anew = False

    def _allocate(self, buckets: int) -> None:
        """Allocate places at the start of cache lines."""
        room = np.zeros((buckets + 1) * WAYS, np.int32)
        start = -room.ctypes.data % (WAYS * 4) // 4
        self.slots = room[start : start + buckets * WAYS]
        self.dirty = np.zeros(buckets * WAYS // 8, np.uint8)
        """A bit for each place, set where it was written since the last ``clean``."""

    @property
    def nbytes(self) -> int:
        """Bytes of all places, and of the bits that say which were written."""
        return self.slots.nbytes + self.dirty.nbytes

    @property
    def forgotten(self) -> int:
        """Keys that were pushed out within their window."""
        return int(self.state[FORGOTTEN])

    @property
    def live(self) -> int:
        """Keys that are remembered."""
        return int(self.state[LIVE])

    def bytes_of(self, keys: float) -> float:
        """Return the bytes that so many keys of a window take."""
        if keys <= 0:
            return 0.0
        buckets = self._base
        while keys > LOAD * WAYS * buckets and buckets < self._base << DOUBLINGS:
            buckets *= 2
        return buckets * WAYS * (4 + 1 / 8)

    def make_room(self) -> None:
        """Allocate the memory, or double it."""
        level = int(self.state[LEVEL]) + 1
        old = self.slots
        self._allocate(self._base << level)
        if level > 0:
            _double(old, self.slots, level - 1)
        self.state[LEVEL] = level
        self._anew = True

    def knows(self, key: int) -> bool:
        """Tell whether a key is remembered."""
        return len(self.slots) > 0 and recall(self.slots, self.state, key) >= 0

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return all of it, by name, not to be written."""
        return {"memory/state": locked(self.state[:BUCKETS]), "memory/slots": locked(self.slots)}

    def changes(self) -> dict[str, NDArray[Any]]:
        """Return copies of what was written since the last ``clean``, for ``snapshot.merge``."""
        state = {"memory/state": self.state[:BUCKETS].copy()}
        slots = self.slots
        if self._anew:
            return state | {"memory/slots": slots.copy()}
        words = np.flatnonzero(self.dirty)
        bits = np.unpackbits(self.dirty[words].reshape(-1, 1), axis=1, bitorder="little")
        word, bit = np.nonzero(bits)
        places = words[word] * 8 + bit
        return state | {
            f"memory/slots{PATCH}": slots[places],
            f"memory/{STEPS}": steps_of(places, len(slots)),
        }

    def restore(self, parts: dict[str, NDArray[Any]]) -> None:
        """Take over what was read of a snapshot; ValueError where it is of another size."""
        state, slots = parts["memory/state"], parts["memory/slots"]
        level = int(state[LEVEL])
        buckets = self._base << level if 0 <= level <= DOUBLINGS else 0
        if len(slots) != buckets * WAYS or slots.dtype != self.slots.dtype:
            msg = f"a memory of {len(slots)} places at level {level}"
            raise ValueError(msg)
        if slots.flags.writeable and slots.ctypes.data % (WAYS * 4) == 0:
            self.slots, self.dirty = slots, np.zeros(len(slots) // 8, np.uint8)
        else:
            self._allocate(buckets)
            self.slots[:] = slots
        self.state[:BUCKETS] = state
        self._anew = True

    def clean(self) -> None:
        """A checkpoint has been taken: nothing is dirty."""
        self.dirty[:] = 0
        self._anew = False
