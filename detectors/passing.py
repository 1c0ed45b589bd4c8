"""Look-ups in a table whose rows pass: they end a fixed time after their first use.

The rows are a ring in the order of their first use, the hand at the oldest. Each new key lets two
of those leave whose time has ended; where the ring is full it is widened, or, at the limit, the
oldest goes nevertheless. So it becomes as long as the busiest such time asks for, and is not
shortened. Widening it moves rows: nobody may keep their positions. A table may
have a memory of its keys (``detectors.memory``), from the moment when a row has to go: then it
holds the keys of all rows, and each new one from its first use on, so that one look at its bucket
is all that it costs. Almost every look-up brings a new key here, so all of it is in one loop whose
counters are local: with state in memory it took three times as long. Where a key's row is, says
``detectors.buckets``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from detectors.buckets import (
    ALL_HERE,
    after,
    bucket_ahead,
    bucket_of,
    go_on,
    has_mark,
    is_full,
    look_in,
    oldest_of,
    row_of,
)
from detectors.compile import lean
from detectors.keys import place_of
from detectors.memory import enter, is_crowded, look_ahead, turn
from models.kernel import kernel
from models.prefetch import AHEAD

USED, HAND, EVICTED, COUNT, NEXT, WANTED, FULL = range(7)
"""Of a table's state: positions in use, the oldest row's, keys that had to go, rows of the ring;
then, not in a snapshot: the next row's number, what is wanted, and buckets that were found full
since the index was built."""
ROWS, INDEX, MEMORY = range(1, 4)
"""What must be made larger, or built again, before a look-up can go on."""
NEW, TAKEN, REMEMBERED = range(1, 4)
NO_MEMORY: Final = (np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int64))


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
    bits: int, ttl: int, limit: int, most: int, dirty: Any, places: Any, written: Any, memory: Any,
    position: Any, fresh: Any, before: Any,
) -> int:  # fmt: skip
    """Locate from event ``first`` on; return where something is ``WANTED``, or the end."""
    low = (1 << bits) - 1
    used, hand, count = int(state[USED]), int(state[HAND]), int(state[COUNT])
    number, evicted = int(state[NEXT]), int(state[EVICTED])
    done = len(wanted)
    for e in range(first, len(wanted)):
        bucket_ahead(index, wanted, e + AHEAD, secret, bits)
        if len(places) > 0 and e + AHEAD < len(wanted):
            look_ahead(places, written, memory, int(wanted[e + AHEAD]))
        key = int(wanted[e])
        if key == 0:
            position[e] = -1
            continue
        t = int(now[e])
        place = place_of(key, secret)
        bucket = bucket_of(index, place, bits)
        entry = 0
        p = -1
        while True:
            seen = look_in(index, bucket, place, bits, count, number)
            if has_mark(seen):
                p = row_of(index, bucket, place, bits, slots, key, hand, count, used, number)
            which = oldest_of(seen, count)
            if entry == 0 and which > 0:
                entry = bucket + which
            if p >= 0 or int(index[bucket]) == ALL_HERE:
                break
            bucket = after(index, bucket)
        if p >= 0 and t - int(slots[p]["seen"]) <= ttl:
            hits = int(slots[p]["hits"])
            slots[p]["hits"] = min(hits + 1, most)
            dirty[p] = 1
            position[e] = p
            before[e] = hits
            continue
        if entry == 0 and is_full(index, int(state[FULL])):
            state[WANTED] = INDEX  # first: how full the index is, is no part of the state
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
        ended = p >= 0 and is_within(p, hand, count, used)
        if ended:  # its time ended before the hand came there: it has a newer row from now on
            slots[p]["key"] = 0
            dirty[p] = 1
        while entry == 0:  # all buckets up to this one are full of rows that are there
            state[FULL] += go_on(index, bucket)
            bucket = after(index, bucket)
            which = oldest_of(look_in(index, bucket, place, bits, count, number), count)
            entry = bucket + which if which > 0 else 0
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
        index[entry] = place & ~low | number & low
        number += 1
        hits = 1 if how == REMEMBERED else 0
        slots[p]["key"] = key
        slots[p]["seen"] = t
        slots[p]["hits"] = hits + 1
        fresh[e] = how
        dirty[p] = 1
        position[e] = p
        before[e] = hits
    state[USED], state[HAND], state[COUNT] = used, hand, count
    state[NEXT], state[EVICTED] = number, evicted
    return done
