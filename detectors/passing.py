"""Look-ups in a table whose rows pass: they end a fixed time after their first use.

The hand points at the oldest row. A new key takes that row when its time has ended, else a new
position, else, at the limit, that row nevertheless. A table may have a memory of its keys
(``detectors.memory``), from the moment when a row has to go: then it holds the keys of all rows,
and each new one from its first use on, so that one look at its bucket is all that it costs. Almost
every look-up brings a new key here, so all of it is in one loop whose counters are local: with
state in memory it took three times as long.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from detectors.compile import lean
from detectors.memory import enter, is_crowded, look_ahead, turn
from models.kernel import kernel
from models.prefetch import AHEAD, prefetch

USED, HAND, EVICTED, FILLED, WANTED = range(5)
"""Of a table's state; from ``FILLED`` on not in a snapshot."""
ROWS, INDEX, MEMORY = range(1, 4)
"""What must be made larger, or built again, before a look-up can go on."""
NEW, TAKEN, REMEMBERED = range(1, 4)
NO_MEMORY: Final = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int64))


@kernel
def index_ahead(home: Any, e: int, index: Any, shift: int) -> None:
    """Ask for the entry with which a later look-up begins."""
    if e < len(home):
        prefetch(index, (int(home[e]) & ((1 << shift) - 1)) * len(index) >> shift)


@kernel
def probe(index: Any, slots: Any, key: int, place: int, shift: int) -> int:
    """Return a key's position; where it has none, -1 less the free entry of the index."""
    low = (1 << shift) - 1
    at = (place & low) * len(index) >> shift
    entry = int(index[at])
    while entry >= 0:
        if (entry ^ place) >> shift == 0 and int(slots[entry & low]["key"]) == key:
            return entry & low
        at = at + 1 if at + 1 < len(index) else 0
        entry = int(index[at])
    return -1 - at


@lean
def enter_rows(
    slots: Any, used: int, hand: int, t: int, ttl: int, places: Any, written: Any, memory: Any
) -> None:
    """Put the keys of all rows into a memory that has just been allocated, the oldest first."""
    for i in range(used):
        p = hand + i if hand + i < used else hand + i - used
        ahead = p + AHEAD if p + AHEAD < used else p + AHEAD - used
        look_ahead(places, written, memory, int(slots[max(ahead, 0)]["key"]))
        if t - int(slots[p]["seen"]) <= ttl:
            enter(places, written, memory, int(slots[p]["key"]), int(slots[p]["seen"]))


@lean
def pass_by(  # noqa: C901 -- calls would cost as much as what they do
    first: int, wanted: Any, home: Any, now: Any, index: Any, slots: Any, state: Any,
    shift: int, ttl: int, limit: int, most: int, dirty: Any, places: Any, written: Any, memory: Any,
    position: Any, fresh: Any, before: Any,
) -> int:  # fmt: skip
    """Locate from event ``first`` on; return where something is ``WANTED``, or the end."""
    low = (1 << shift) - 1
    full = len(index) * 3 // 4
    used, hand = int(state[USED]), int(state[HAND])
    filled, evicted = int(state[FILLED]), int(state[EVICTED])
    done = len(wanted)
    for e in range(first, len(wanted)):
        index_ahead(home, e + AHEAD, index, shift)
        if len(places) > 0 and e + AHEAD < len(wanted):
            look_ahead(places, written, memory, int(wanted[e + AHEAD]))
        key = int(wanted[e])
        if key == 0:
            position[e] = -1
            continue
        t = int(now[e])
        place = int(home[e])
        p = probe(index, slots, key, place, shift)
        at = -1 - p
        if p >= 0 and t - int(slots[p]["seen"]) <= ttl:
            hits = int(slots[p]["hits"])
            slots[p]["hits"] = min(hits + 1, most)
            dirty[p] = 1
            position[e] = p
            before[e] = hits
            continue
        how = NEW
        if p < 0:
            p = 0 if hand >= used else hand
            spare = used > 0 and t - int(slots[p]["seen"]) > ttl
            grows = not spare and used < limit
            wants = 0
            if filled >= full:
                wants = INDEX
            elif grows and used == len(slots):
                wants = ROWS
            elif len(places) > 0 or (len(memory) > 0 and not grows and not spare):
                turn(places, written, memory, t)
                if is_crowded(places, memory):
                    wants = MEMORY
            if wants > 0:
                state[WANTED] = wants
                done = e
                break
            if grows:
                p = used
                used += 1
            else:
                hand = p + 1
                if not spare:
                    evicted += 1
                    how = TAKEN if len(memory) == 0 else NEW
            if len(places) > 0 and enter(places, written, memory, key, t):
                how = REMEMBERED
            index[at] = place & ~low | p
            filled += 1
        elif len(places) > 0:
            turn(places, written, memory, t)
            enter(places, written, memory, key, t)  # its row tells better when it was there
        hits = 1 if how == REMEMBERED else 0
        slots[p]["key"] = key
        slots[p]["seen"] = t
        slots[p]["hits"] = hits + 1
        fresh[e] = how
        dirty[p] = 1
        position[e] = p
        before[e] = hits
    state[USED], state[HAND] = used, hand
    state[FILLED], state[EVICTED] = filled, evicted
    return done
