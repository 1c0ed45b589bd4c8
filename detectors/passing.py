"""Look-ups in a table whose rows pass: they end a fixed time after their first use.

The rows are a ring in the order of their first use, the hand at the oldest. Each new key lets two
of those leave whose time has ended; where the ring is full it is widened, or, at the limit, the
oldest goes nevertheless. So it becomes as long as the busiest such time asks for, and is not
shortened. Widening it moves rows: nobody may keep their positions. A table may
have a memory of its keys (``detectors.memory``), from the moment when a row has to go: then it
holds the keys of all rows, and each new one from its first use on, so that one look at its bucket
is all that it costs. Almost every look-up brings a new key here, so all of it is in one loop whose
counters are local: with state in memory it took three times as long.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from detectors.compile import lean
from detectors.keys import place_of
from detectors.memory import enter, is_crowded, look_ahead, turn
from models.kernel import kernel
from models.prefetch import AHEAD, prefetch

USED, HAND, EVICTED, COUNT, FILLED, WANTED = range(6)
"""Of a table's state: positions in use, the oldest row's, keys that had to go, rows of the ring;
from ``FILLED`` on not in a snapshot."""
ROWS, INDEX, MEMORY = range(1, 4)
"""What must be made larger, or built again, before a look-up can go on."""
NEW, TAKEN, REMEMBERED = range(1, 4)
NO_MEMORY: Final = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int64))


@kernel
def index_ahead(keys: Any, e: int, secret: int, index: Any, shift: int) -> None:
    """Ask for the entry with which a later look-up begins."""
    if e < len(keys):
        place = place_of(int(keys[e]), secret)
        prefetch(index, (place & ((1 << shift) - 1)) * len(index) >> shift)


@kernel
def probe(index: Any, slots: Any, key: int, place: int, shift: int) -> int:
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


@kernel
def is_within(p: int, hand: int, count: int, used: int) -> bool:
    """Tell whether a position is one of the ring's rows."""
    return (p - hand if p >= hand else p - hand + used) < count


@lean
def enter_rows(
    slots: Any, ring: Any, t: int, ttl: int, places: Any, written: Any, memory: Any
) -> None:
    """Put the keys of all rows into a memory that has just been allocated, the oldest first."""
    for i in range(len(ring)):
        if i + AHEAD < len(ring):
            look_ahead(places, written, memory, int(slots[int(ring[i + AHEAD])]["key"]))
        p = int(ring[i])
        if int(slots[p]["key"]) != 0 and t - int(slots[p]["seen"]) <= ttl:
            enter(places, written, memory, int(slots[p]["key"]), int(slots[p]["seen"]))


@lean
def pass_by(  # noqa: C901 -- calls would cost as much as what they do
    first: int, wanted: Any, secret: int, now: Any, index: Any, slots: Any, state: Any,
    shift: int, ttl: int, limit: int, most: int, dirty: Any, places: Any, written: Any, memory: Any,
    position: Any, fresh: Any, before: Any,
) -> int:  # fmt: skip
    """Locate from event ``first`` on; return where something is ``WANTED``, or the end."""
    low = (1 << shift) - 1
    room = len(index) * 3 // 4
    used, hand, count = int(state[USED]), int(state[HAND]), int(state[COUNT])
    filled, evicted = int(state[FILLED]), int(state[EVICTED])
    done = len(wanted)
    for e in range(first, len(wanted)):
        index_ahead(wanted, e + AHEAD, secret, index, shift)
        if len(places) > 0 and e + AHEAD < len(wanted):
            look_ahead(places, written, memory, int(wanted[e + AHEAD]))
        key = int(wanted[e])
        if key == 0:
            position[e] = -1
            continue
        t = int(now[e])
        place = place_of(key, secret)
        at = probe(index, slots, key, place, shift)
        found = int(index[at])
        p = found & low
        if found >= 0 and is_within(p, hand, count, used) and t - int(slots[p]["seen"]) <= ttl:
            hits = int(slots[p]["hits"])
            slots[p]["hits"] = min(hits + 1, most)
            dirty[p] = 1
            position[e] = p
            before[e] = hits
            continue
        if found < 0 and filled >= room:  # first: how full the index is, is no part of the state
            state[WANTED] = INDEX
            done = e
            break
        for _ in range(2):
            if count > 0 and t - int(slots[hand]["seen"]) > ttl:
                hand = hand + 1 if hand + 1 < used else 0
                count -= 1
        wants = 0
        if count == used and used < limit:
            wants = ROWS
        elif len(places) > 0 or (len(memory) > 0 and count == used):
            turn(places, written, memory, t)
            if is_crowded(places, memory):
                wants = MEMORY
        if wants > 0:
            state[WANTED] = wants
            done = e
            break
        ended = found >= 0 and is_within(p, hand, count, used)
        if ended:  # its time ended before the hand came there: it has a newer row from now on
            slots[p]["key"] = 0
            dirty[p] = 1
        how = NEW
        if count == used:
            p = hand
            hand = hand + 1 if hand + 1 < used else 0
            evicted += 1
            how = TAKEN if len(memory) == 0 else NEW
        else:
            p = hand + count if hand + count < used else hand + count - used
            count += 1
        if len(places) > 0 and enter(places, written, memory, key, t) and not ended:
            how = REMEMBERED
        index[at] = place & ~low | p
        if found < 0:
            filled += 1
        hits = 1 if how == REMEMBERED else 0
        slots[p]["key"] = key
        slots[p]["seen"] = t
        slots[p]["hits"] = hits + 1
        fresh[e] = how
        dirty[p] = 1
        position[e] = p
        before[e] = hits
    state[USED], state[HAND], state[COUNT] = used, hand, count
    state[FILLED], state[EVICTED] = filled, evicted
    return done
