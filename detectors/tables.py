"""A keyed table holds bounded rows for keys: one index, and one array of rows for each user of it.

Every table with the same key columns shares one index, so four detectors that keep something about
a sender cost one look-up. Rows stand at positions 0..used-1 in the order in which they were first
needed. A row that was not needed for ``ttl`` of stream time starts afresh; at the limit the row
goes that was needed longest ago among 16 spread over the table (sampled LRU, as Redis does it),
where a key that was seen 30 times or more counts as a week younger: a flood of random names evicts
itself first. All of it depends on the order of events only, never on the cut of batches.

A position that goes to another key leaves its entry in the index behind: whoever meets it sees that
the key there is another. That spares a search through memory for each new delivery; when entries
fill the index up, it is built again. An entry holds the upper bits of its place beside the
position, so that rows of other keys are hardly ever looked at.

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

from detectors.compile import cached
from detectors.keys import places
from detectors.snapshot import PATCH, RUNS, runs_of
from models.guard import INT32_MAX
from models.kernel import kernel

USED, HAND, EVICTED, TOUCHED, FILLED = range(5)
BLOCK = 128
"""Look-ups whose memory is fetched together."""
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
    growth: float = 1.125
    """By how much the arrays grow when they are full: copying against unused memory."""


@dataclass(frozen=True)
class Located:
    """Where each event's row is; arrays as long as the batch."""

    position: NDArray[np.int64]
    """-1 where the key is null."""
    fresh: NDArray[np.int8]
    """Positive where the row starts afresh at this event: 1 = new or expired, 2 = taken from a
    live key because of the limit."""
    before: NDArray[np.int64]
    """Uses of the row before this event."""


@kernel
def _choose(slots: Any, state: Any, now: int, ttl: int, limit: int, refresh: int) -> int:
    """Return the position for a new key: an expired one at the hand, a new one, or the oldest."""
    used = int(state[USED])
    if used > 0:
        hand = int(state[HAND]) % used
        if now - int(slots[hand]["seen"]) > ttl:
            state[HAND] = hand + 1
            return hand
        if refresh > 0:
            state[HAND] = hand + 1
    if used < limit:
        state[USED] = used + 1
        return used
    best = int(state[HAND]) % used
    best_rank = 0
    stride = max(used // SAMPLE, 1)  # neighbours came together, and are likely all established
    sample = SAMPLE if refresh > 0 else 1  # without renewal the hand points at the oldest
    for i in range(min(sample, used)):
        p = (int(state[HAND]) + i * stride) % used
        rank = int(slots[p]["seen"])
        if int(slots[p]["hits"]) >= ESTABLISHED_HITS:
            rank += ESTABLISHED_BONUS
        if i == 0 or rank < best_rank:
            best = p
            best_rank = rank
    if refresh == 0:
        state[HAND] = (best + 1) % used
    state[EVICTED] = int(state[EVICTED]) + 1
    return best


@kernel
def _touch(home: Any, first: int, last: int, index: Any, slots: Any, shift: int) -> int:
    """Read what the next look-ups will need: reads that do not wait for each other overlap.

    Look-ups wait for memory most of the time, one after the other; this fetches a block's lines
    into the cache beforehand. The sum is returned so that no compiler leaves the reads out.
    """
    mask = len(index) - 1
    total = 0
    low = (1 << shift) - 1
    for e in range(first, last):
        place = int(home[e])
        entry = int(index[place & mask])
        if entry >= 0 and (entry ^ place) >> shift == 0:
            total += int(slots[entry & low]["seen"])
    return total


@cached
def _locate(
    first: int, wanted: Any, home: Any, now: Any, index: Any, slots: Any, state: Any,
    shift: int, ttl: int, limit: int, refresh: int, dirty: Any,
    position: Any, fresh: Any, before: Any,
) -> int:  # fmt: skip
    """Locate from event ``first`` on; return where rows or index are full, or the end."""
    mask = len(index) - 1
    low = (1 << shift) - 1
    touched = first
    for e in range(first, len(wanted)):
        if e == touched:
            touched = min(e + BLOCK, len(wanted))
            state[TOUCHED] = _touch(home, e, touched, index, slots, shift)
        key = int(wanted[e])
        if key == 0:
            position[e] = -1
            continue
        t = int(now[e])
        place = int(home[e])
        at = place & mask
        p = -1
        entry = int(index[at])
        while entry >= 0:
            if (entry ^ place) >> shift == 0 and int(slots[entry & low]["key"]) == key:
                p = entry & low
                break
            at = (at + 1) & mask
            entry = int(index[at])
        if p < 0:
            used = int(state[USED])
            if used == len(slots) and used < limit:
                return e
            if 8 * int(state[FILLED]) >= 7 * len(index):
                return e
            evicted = int(state[EVICTED])
            p = _choose(slots, state, t, ttl, limit, refresh)
            index[at] = place & ~low | p
            state[FILLED] = int(state[FILLED]) + 1
            slots[p]["key"] = key
            fresh[e] = 1 + int(state[EVICTED]) - evicted
        slot = slots[p]
        if t - int(slot["seen"]) > ttl:
            fresh[e] = 1
        if fresh[e] > 0:
            slot["hits"] = 0
            slot["seen"] = t
        elif refresh > 0 and t > int(slot["seen"]):
            slot["seen"] = t
        before[e] = int(slot["hits"])
        slot["hits"] = min(int(slot["hits"]) + 1, INT32_MAX)
        dirty[p] = 1
        position[e] = p
    return len(wanted)


class KeyedTable:
    """Key -> position, and arrays of rows that stand at the positions."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.state = np.zeros(5, np.int64)
        self._shift = spec.limit.bit_length()
        self.rows: dict[str, NDArray[Any]] = {}
        self._allocate(FIRST_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        self.slots = np.zeros(capacity, SLOT)
        self.dirty = np.zeros(capacity, np.uint8)
        """1 where a row was used, or woken, since the last ``clean``."""
        self._index_for(capacity)

    def _index_for(self, capacity: int) -> None:
        self.index = np.full(self._entries(capacity), -1, np.int32)

    def _entries(self, capacity: int) -> int:
        """Return the size of the index, a power of two with room for entries left behind.

        Where every event brings a new key and an old one goes, half of the entries are old ones.
        """
        room = capacity * 4 // 3 if self.spec.refresh else 3 * capacity
        return 1 << (max(room, 8) - 1).bit_length()

    @property
    def used(self) -> int:
        """Positions in use."""
        return int(self.state[USED])

    @property
    def evicted(self) -> int:
        """Rows that were taken from a live key because of the limit."""
        return int(self.state[EVICTED])

    @property
    def nbytes(self) -> int:
        """Bytes of the used rows of all users, and of the whole index."""
        rows = sum(a.dtype.itemsize for a in self.rows.values()) + SLOT.itemsize + 1
        return self.used * rows + self.index.nbytes

    @property
    def key_bytes(self) -> int:
        """Bytes of one more key: its rows, and its share of the index as it is when it doubles."""
        rows = sum(a.dtype.itemsize for a in self.rows.values()) + SLOT.itemsize + 1
        room = 4 / 3 if self.spec.refresh else 3
        return rows + math.ceil(2 * room * self.index.itemsize)

    @property
    def allocated(self) -> int:
        """Bytes of all arrays, the part that is not used yet included."""
        return sum(a.nbytes for a in (self.slots, self.dirty, self.index, *self.rows.values()))

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
            self._index_for(capacity)
            self.reindex()

    def reindex(self) -> None:
        """Build the index again from the keys (after growth, or a restore with other places)."""
        used = self.used
        self.index[:] = -1
        home = places(np.ascontiguousarray(self.slots["key"][:used]))
        _link(self.index, home, used, self._shift)
        self.state[FILLED] = used

    def locate(self, keys: NDArray[np.int64], now: NDArray[np.int64]) -> Located:
        """Find or make the rows of a batch's keys, in order; ``now`` in minutes of stream time."""
        n = len(keys)
        found = Located(np.empty(n, np.int64), np.zeros(n, np.int8), np.zeros(n, np.int64))
        home = places(keys)
        done = 0
        while True:
            done = _locate(
                done, keys, home, now, self.index, self.slots, self.state, self._shift,
                self.spec.ttl, self.spec.limit, int(self.spec.refresh), self.dirty,
                found.position, found.fresh, found.before,
            )  # fmt: skip
            if done == n:
                break
            if self.used == len(self.slots) and self.used < self.spec.limit:
                self.reserve(1)
            else:
                self.reindex()
        return found

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
        """Return the used part of every array, by name; the index is built again."""
        parts = {f"rows.{name}": rows[: self.used] for name, rows in self.rows.items()}
        return {"state": self.state[:TOUCHED], "slots": self.slots[: self.used], **parts}

    def changes(self) -> dict[str, NDArray[Any]]:
        """Return copies of what changed since the last ``clean``, for ``snapshot.merge``.

        Tables that keep things in the order of a hand give long runs: segments that are appended.
        """
        places = np.flatnonzero(self.dirty[: self.used])
        parts = {f"rows.{name}{PATCH}": rows[places] for name, rows in self.rows.items()}
        runs = runs_of(places, self.used)
        state = self.state[:TOUCHED].copy()
        return {"state": state, RUNS: runs, f"slots{PATCH}": self.slots[places], **parts}

    def restore(
        self, parts: dict[str, NDArray[Any]], may_lack: frozenset[str] = frozenset()
    ) -> None:
        """Take over what ``snapshot`` returned; row layouts must be the same.

        Rows of the users ``may_lack`` may be missing: they begin empty.
        """
        used = int(parts["state"][USED])
        self.state[:] = 0
        self.reserve(used)
        self.state[:TOUCHED] = parts["state"]
        self.slots[:used] = parts["slots"]
        for name, rows in self.rows.items():
            if name in may_lack and f"rows.{name}" not in parts:
                continue
            given = parts[f"rows.{name}"]
            if given.dtype != rows.dtype:  # numpy would convert it, field by field
                msg = f"rows of {name} have another layout"
                raise ValueError(msg)
            rows[:used] = given
        self.reindex()

    def clean(self) -> None:
        """A checkpoint has been taken: no row is dirty."""
        self.dirty[: self.used] = 0


def _grown(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    grown = np.zeros(capacity, array.dtype)
    grown[: len(array)] = array
    return grown


@cached
def _link(index: Any, home: Any, used: int, shift: int) -> None:
    mask = len(index) - 1
    low = (1 << shift) - 1
    for p in range(used):
        at = int(home[p]) & mask
        while int(index[at]) >= 0:
            at = (at + 1) & mask
        index[at] = int(home[p]) & ~low | p
