"""A keyed table holds bounded rows for keys: one index, and one array of rows for each user of it.

Every table with the same key columns shares one index, so four detectors that keep something about
a sender cost one look-up. Rows stand at positions 0..used-1. A row that was not needed for ``ttl``
of stream time starts afresh; at the limit the row goes that was needed longest ago among 16 spread
over the table (sampled LRU, as Redis does it), where a key that was seen 30 times or more counts as
a week younger: a flood of random names evicts itself first. Rows that are not renewed by use are a
ring (``detectors.passing``) with an index of its own (``detectors.buckets``). All of it depends on
the order of events only, never on the cut of batches.

A position that goes to another key leaves its entry in the index behind: whoever meets it sees that
the key there is another. When entries fill the index up, it is built again. An entry holds the
upper bits of its place beside the position, so that rows of other keys are hardly ever looked at;
where in the index it stands, the lower bits say, as a share of its length: so an index need be no
power of two.

A table whose rows come and go in the order of their first use may remember the keys of rows that
had to go (``detectors.memory``, a tenth of a row's bytes): such a key starts afresh as one that was
there before, of which nothing else is known.

>>> import numpy as np
>>> table = KeyedTable(TableSpec(("sender",), ttl=1000, limit=2))
>>> now = np.array([1, 2, 3, 4], np.int64)
>>> where = table.locate(np.array([7, 8, 7, 9], np.int64), now)
>>> where.position.tolist(), where.fresh.tolist(), where.before.tolist(), table.evicted
([0, 1, 0, 1], [1, 1, 0, 2], [0, 0, 1, 0], 1)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.buckets import empty_index, link_ring, number_bits, words_for
from detectors.compile import lean
from detectors.keys import SECRET, place_of
from detectors.memory import Memory
from detectors.passing import (
    COUNT,
    EVICTED,
    FULL,
    HAND,
    INDEX,
    NEW,
    NEXT,
    NO_MEMORY,
    ROWS,
    TAKEN,
    USED,
    WANTED,
    enter_rows,
    pass_by,
)
from detectors.snapshot import PATCH, RUNS, in_one_piece, locked, picked, roomy, runs_of
from models.guard import INT8_MAX, INT32_MAX
from models.kernel import kernel
from models.prefetch import AHEAD, prefetch

FILLED = NEXT
"""Where rows are renewed by use, the state has there how many entries of the index are in use."""
SAMPLE = 16
ESTABLISHED_HITS = 30
ESTABLISHED_BONUS = 7 * 24 * 60
FIRST_CAPACITY = 64
SLOT = np.dtype(
    [
        ("key", "i8"),
        ("seen", "i4"),  # minute of the last use
        ("hits", "i4"),
    ]
)
"""What the table itself keeps of a position, in one piece: a look-up touches one line of memory."""
SMALL_SLOT = np.dtype([("key", "i8"), ("seen", "i4"), ("hits", "i1")])
"""The same where nobody asks for more than whether a key is established."""


@dataclass(frozen=True)
class TableSpec:
    """How long and how many rows of a table are kept.

    Attributes:
        key: Columns of the event that make the key.
        ttl: Stream time after which an unused row starts afresh, minutes.
        limit: Rows at most.
        refresh: Whether use renews a row's time; without it a row ends ``ttl`` after its start.
    """

    key: tuple[str, ...]
    ttl: int
    limit: int
    refresh: bool = True
    counted: bool = True
    """Whether uses are counted beyond 127."""
    growth: float = 1.125
    """By how much the arrays grow when they are full: copying against unused memory."""
    remembered: int = 0
    """Keys at most that are remembered after their rows went; only without ``refresh``."""


@dataclass(frozen=True)
class Located:
    """Where each event's row is; arrays as long as the batch."""

    position: NDArray[np.int64]
    """-1 where the key is null."""
    fresh: NDArray[np.int8]
    """Positive where the row starts afresh at this event: ``NEW`` or expired, ``TAKEN`` from a
    live key because of the limit, or ``REMEMBERED`` although the key's former row went."""
    before: NDArray[np.int64]
    """Uses of the row before this event; at most 127 where they are not counted, and at least as
    many where it is remembered."""


@kernel
def _choose(slots: Any, state: Any, now: int, ttl: int, limit: int) -> int:
    """Return the position for a new key: an expired one at the hand, a new one, or the oldest."""
    used = int(state[USED])
    if used > 0:
        hand = int(state[HAND])
        if hand >= used:
            hand -= used
        state[HAND] = hand + 1
        if now - int(slots[hand]["seen"]) > ttl:
            return hand
    if used < limit:
        state[USED] = used + 1
        return used
    best = int(state[HAND]) % used
    best_rank = 0
    stride = max(used // SAMPLE, 1)  # neighbours came together, and are likely all established
    for i in range(min(SAMPLE, used)):
        p = (int(state[HAND]) + i * stride) % used
        rank = int(slots[p]["seen"])
        if int(slots[p]["hits"]) >= ESTABLISHED_HITS:
            rank += ESTABLISHED_BONUS
        if i == 0 or rank < best_rank:
            best = p
            best_rank = rank
    state[EVICTED] = int(state[EVICTED]) + 1
    return best


@kernel
def _ahead(keys: Any, e: int, secret: int, index: Any, shift: int) -> None:
    """Ask for the entry with which a later look-up begins."""
    if e < len(keys):
        place = place_of(int(keys[e]), secret)
        prefetch(index, (place & ((1 << shift) - 1)) * len(index) >> shift)


@kernel
def _probe(index: Any, slots: Any, key: int, place: int, shift: int) -> int:
    """Return the entry of the index that leads to a key; or the free one where it would stand."""
    low = (1 << shift) - 1
    at = (place & low) * len(index) >> shift
    entry = int(index[at])
    while entry >= 0:
        if (entry ^ place) >> shift == 0 and int(slots[entry & low]["key"]) == key:
            break
        at = at + 1 if at + 1 < len(index) else 0
        entry = int(index[at])
    return at


@lean
def _locate(
    first: int, wanted: Any, secret: int, now: Any, index: Any, slots: Any, state: Any,
    shift: int, ttl: int, limit: int, most: int, dirty: Any,
    position: Any, fresh: Any, before: Any,
) -> int:  # fmt: skip
    """Locate from event ``first`` on; return where something is ``WANTED``, or the end."""
    low = (1 << shift) - 1
    for e in range(first, len(wanted)):
        _ahead(wanted, e + 2 * AHEAD, secret, index, shift)
        if e + AHEAD < len(wanted):
            later = place_of(int(wanted[e + AHEAD]), secret)
            entry = int(index[(later & low) * len(index) >> shift])
            prefetch(slots, entry & low)
            prefetch(dirty, entry & low)
        key = int(wanted[e])
        if key == 0:
            position[e] = -1
            continue
        t = int(now[e])
        place = place_of(key, secret)
        at = _probe(index, slots, key, place, shift)
        p = int(index[at])
        if p >= 0:
            p &= low
        else:
            used = int(state[USED])
            if used == len(slots) and used < limit:
                state[WANTED] = ROWS
                return e
            if 8 * int(state[FILLED]) >= 7 * len(index):
                state[WANTED] = INDEX
                return e
            evicted = int(state[EVICTED])
            p = _choose(slots, state, t, ttl, limit)
            index[at] = place & ~low | p
            state[FILLED] = int(state[FILLED]) + 1
            slots[p]["key"] = key
            fresh[e] = TAKEN if int(state[EVICTED]) > evicted else NEW
        slot = slots[p]
        if t - int(slot["seen"]) > ttl:
            fresh[e] = NEW
        if fresh[e] > 0:
            slot["hits"] = 0
            slot["seen"] = t
        elif t > int(slot["seen"]):
            slot["seen"] = t
        before[e] = int(slot["hits"])
        slot["hits"] = min(int(slot["hits"]) + 1, most)
        dirty[p] = 1
        position[e] = p
    return len(wanted)


class KeyedTable:
    """Key -> position, and arrays of rows that stand at the positions."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.state = np.zeros(FULL + 1, np.int64)
        self._shift = min(spec.limit.bit_length(), 31) if spec.refresh else number_bits(spec.limit)
        """Lower bits of an entry, which say where the row is: of its position, or its number."""
        self.memory = Memory(spec.ttl, spec.remembered) if spec.remembered else None
        self.rows: dict[str, NDArray[Any]] = {}
        self._allocate(FIRST_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        self.slots = np.zeros(capacity, SLOT if self.spec.counted else SMALL_SLOT)
        self.dirty = np.zeros(capacity, np.uint8)
        """1 where a row was used, or woken, since the last ``clean``."""
        self.index = empty_index(self._entries(capacity))

    def _entries(self, capacity: int) -> int:
        """Return the size of the index, with room for entries left behind."""
        if self.spec.refresh:
            return max(capacity // 6, 1) * 8  # four thirds, in whole eighths
        return words_for(capacity)

    @property
    def used(self) -> int:
        """Positions in use."""
        return int(self.state[USED])

    @property
    def evicted(self) -> int:
        """Keys that were lost before their time, because of a limit."""
        return int(self.state[EVICTED]) if self.memory is None else self.memory.forgotten

    @property
    def nbytes(self) -> int:
        """Bytes of the used rows of all users, of the whole index, and of what is remembered."""
        memory = 0 if self.memory is None else self.memory.nbytes
        return self.used * self._row_bytes + self.index.nbytes + memory

    @property
    def _row_bytes(self) -> int:
        of_users = sum(a.dtype.itemsize for a in self.rows.values())
        return of_users + self.slots.itemsize + self.dirty.itemsize

    @property
    def key_bytes(self) -> int:
        """Bytes of one more key: its rows, and its share of the index.

        The index counts as it is when it grows; without renewal as it is at the limit.
        """
        if not self.spec.refresh:
            limit = self.spec.limit
            return self._row_bytes + math.ceil(self._entries(limit) * self.index.itemsize / limit)
        return self._row_bytes + math.ceil(self.spec.growth * 4 / 3 * self.index.itemsize)

    def bytes_of(self, keys: float) -> float:
        """Return the bytes that so many keys take, of which some may only be remembered."""
        rows = min(keys if self.spec.refresh else keys * self.spec.growth, self.spec.limit)
        memory = 0.0 if self.memory is None else self.memory.bytes_of(keys - rows)
        return rows * self.key_bytes + memory

    @property
    def allocated(self) -> int:
        """Bytes of all arrays, the part that is not used yet included."""
        memory = 0 if self.memory is None else self.memory.nbytes
        arrays = (self.slots, self.dirty, self.index, *self.rows.values())
        return sum(a.nbytes for a in arrays) + memory

    def add_rows(self, name: str, dtype: np.dtype[Any]) -> None:
        """Give each position one more row, of the user ``name``."""
        self.rows[name] = np.zeros(len(self.slots), dtype)

    def reserve(self, more: int) -> None:
        """Make room for so many more keys; positions and results do not depend on it."""
        needed = min(self.used + more, self.spec.limit)
        capacity = len(self.slots)
        if needed <= capacity:
            return
        capacity = min(max(needed, int(capacity * self.spec.growth) + 1), self.spec.limit)
        self.slots = _grown(self.slots, capacity)
        self.dirty = _grown(self.dirty, capacity)
        for name, rows in self.rows.items():
            self.rows[name] = _grown(rows, capacity)
        if len(self.index) != self._entries(capacity):
            self.index = empty_index(self._entries(capacity))
            self.reindex()

    def reindex(self) -> None:
        """Build the index again from the keys (after growth, or a restore with other places)."""
        keys = np.ascontiguousarray(self.slots["key"][: self.used])
        self.index[:] = -1
        if self.spec.refresh:
            self.state[FILLED] = _link(self.index, keys, SECRET, self._shift)
            return
        hand, count = int(self.state[HAND]), int(self.state[COUNT])
        link_ring(self.index, keys, SECRET, hand, count, self._shift)
        self.state[[NEXT, FULL]] = count, 0

    def _ring(self) -> NDArray[np.int64]:
        """Return the positions of rows that pass, the oldest first."""
        hand, count = int(self.state[HAND]), int(self.state[COUNT])
        ring = np.arange(hand, hand + count)
        return np.where(ring < self.used, ring, ring - self.used)

    def _widen(self, found: Located, done: int) -> None:
        """Make the ring longer, its oldest row first; what has been found is told where it is."""
        used, hand, spec = self.used, int(self.state[HAND]), self.spec
        ring = self._ring()
        wider = min(max(int(used * spec.growth), FIRST_CAPACITY), spec.limit)
        capacity = max(wider, FIRST_CAPACITY)
        self.slots = _grown(picked(self.slots, ring), capacity)
        for name, rows in self.rows.items():
            self.rows[name] = _grown(picked(rows, ring), capacity)
        self.dirty = np.zeros(capacity, np.uint8)
        self.dirty[:used] = 1  # all have moved
        if used:
            located = found.position[:done]
            located[:] = np.where(located >= 0, (located - hand) % used, located)
        self.state[[USED, HAND]] = wider, 0
        if len(self.index) != self._entries(capacity):
            self.index = empty_index(self._entries(capacity))
        self.reindex()

    def locate(self, keys: NDArray[np.int64], now: NDArray[np.int64]) -> Located:
        """Find or make the rows of a batch's keys, in order; ``now`` in minutes of stream time."""
        n = len(keys)
        found = Located(np.empty(n, np.int64), np.zeros(n, np.int8), np.zeros(n, np.int64))
        done = 0
        while (done := self._look_up(done, keys, now, found)) < n:
            wanted = int(self.state[WANTED])
            if wanted == ROWS:
                if self.spec.refresh:
                    self.reserve(1)
                else:
                    self._widen(found, done)
            elif wanted == INDEX:
                self.reindex()
            elif self.memory is not None:
                self._make_room(self.memory, int(now[done]))
        return found

    def _make_room(self, memory: Memory, now: int) -> None:
        """Allocate the memory, or double it."""
        begins = len(memory.slots) == 0
        memory.make_room()
        if begins:
            m = (memory.slots, memory.dirty, memory.state)
            enter_rows(self.slots, self._ring(), now, self.spec.ttl, *m)

    def _look_up(
        self,
        first: int,
        keys: NDArray[np.int64],
        now: NDArray[np.int64],
        found: Located,
    ) -> int:
        """Locate from one event on, as far as there is room; return where it ended."""
        spec, where = self.spec, (found.position, found.fresh, found.before)
        most = INT32_MAX if spec.counted else INT8_MAX
        if spec.refresh:
            return int(_locate(
                first, keys, SECRET, now, self.index, self.slots, self.state, self._shift,
                spec.ttl, spec.limit, most, self.dirty, *where,
            ))  # fmt: skip
        memory = self.memory
        m = NO_MEMORY if memory is None else (memory.slots, memory.dirty, memory.state)
        return int(pass_by(
            first, keys, SECRET, now, self.index, self.slots, self.state, self._shift,
            spec.ttl, spec.limit, most, self.dirty, *m, *where,
        ))  # fmt: skip

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of keys, -1 where there is no row; makes none and renews none."""
        mine = self.slots["key"][: self.used]
        order = np.argsort(mine)
        at = np.searchsorted(mine, keys, sorter=order)
        there = at < len(mine)
        found = np.full(len(keys), -1, np.int64)
        found[there] = order[at[there]]
        found[there] = np.where(mine[found[there]] == keys[there], found[there], -1)
        return found

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return the used part of every array, by name, not to be written; without the index."""
        parts = {f"rows.{name}": locked(rows[: self.used]) for name, rows in self.rows.items()}
        if self.memory is not None:
            parts |= self.memory.snapshot()
        slots = locked(self.slots[: self.used])
        return {"state": locked(self.state[:FILLED]), "slots": slots, **parts}

    def changes(self) -> dict[str, NDArray[Any]]:
        """Return copies of what changed since the last ``clean``, for ``snapshot.merge``.

        Rows that pass give long runs, segments that are appended; all of them when their ring was
        made longer.
        """
        places = np.flatnonzero(self.dirty[: self.used])
        parts = {f"rows.{name}{PATCH}": picked(rows, places) for name, rows in self.rows.items()}
        runs = runs_of(places, self.used)
        state = self.state[:FILLED].copy()
        if self.memory is not None:
            parts |= self.memory.changes()
        return {"state": state, RUNS: runs, f"slots{PATCH}": picked(self.slots, places), **parts}

    def restore(
        self, parts: dict[str, NDArray[Any]], may_lack: frozenset[str] = frozenset()
    ) -> None:
        """Take over what was read of a snapshot; row layouts must be the same.

        Rows of the users ``may_lack`` may be missing: they begin empty.
        """
        used = int(parts["state"][USED])
        if not 0 <= used <= self.spec.limit:
            msg = f"{used} rows, of at most {self.spec.limit}"
            raise ValueError(msg)
        # Room for the next as well: it would be the first that copies all of them once more.
        more = int(used * self.spec.growth) + 1 if self.spec.refresh else used
        capacity = max(min(more, self.spec.limit), FIRST_CAPACITY)

        def taken(name: str, kind: np.dtype[Any]) -> NDArray[Any]:
            if parts[name].dtype != kind or len(parts[name]) != used:
                msg = f"{name} have another layout, or another length"
                raise ValueError(msg)
            return roomy(parts[name], capacity)

        self.slots = taken("slots", self.slots.dtype)
        for name, rows in self.rows.items():
            missing = name in may_lack and f"rows.{name}" not in parts
            self.rows[name] = (
                np.zeros(capacity, rows.dtype) if missing else taken(f"rows.{name}", rows.dtype)
            )
        self.dirty = np.zeros(capacity, np.uint8)
        self.index = empty_index(self._entries(capacity))
        self.state[:] = 0
        self.state[:FILLED] = parts["state"]
        if self.memory is not None:
            self.memory.restore(parts)
        self.reindex()

    def clean(self) -> None:
        """A checkpoint has been taken: no row is dirty."""
        self.dirty[: self.used] = 0
        if self.memory is not None:
            self.memory.clean()


def _grown(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    grown = np.zeros(capacity, array.dtype)
    in_one_piece(grown)[: len(array)] = in_one_piece(array)
    return grown


@lean
def _link(index: Any, keys: Any, secret: int, shift: int) -> int:
    """Enter all rows into an empty index; return how many there are."""
    low = (1 << shift) - 1
    linked = 0
    for p in range(len(keys)):
        _ahead(keys, p + AHEAD, secret, index, shift)
        if int(keys[p]) == 0:
            continue
        place = place_of(int(keys[p]), secret)
        at = (place & low) * len(index) >> shift
        while int(index[at]) >= 0:
            at = at + 1 if at + 1 < len(index) else 0
        index[at] = place & ~low | p
        linked += 1
    return linked
