"""The senders of a partition: their names, when they were first seen, and their pace.

Rows of detectors hold numbers; timers that find something need the sender's name. It stands beside
the row, in 20 bytes; a longer one is kept apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import minute_of
from detectors.batch import EventBatch
from detectors.clock import Times
from detectors.compile import lean
from detectors.config import FACTS
from detectors.event import DAY, MINUTE
from detectors.long_names import LongNames
from detectors.tables import KeyedTable, Located
from models import ewma, guard
from models.kernel import kernel
from models.prefetch import AHEAD, prefetch

NAME_BYTES = 20
PACE = np.dtype(
    [
        ("first", "i4"),  # minute
        ("last", "i4"),  # in TICKs, modulo ROUND
        ("gap", "f4"),  # usual time between events, microseconds
        ("who", "i4"),  # class of parameters of the last event
    ]
)
TICK = 4_000
ROUND = 1 << 32
"""Ticks after which their numbers come round: 199 days; rows of senders end after 45."""
MOST_LATE = 30 * DAY // TICK
"""Events are at most 30 days late."""
GAP_HORIZON = 200.0
assert FACTS.names == (
    "freshness", "policy", "tolerance", "horizon", "overlap", "max_attempts",
), "what is known of a class is written by name below"  # fmt: skip
LONGEST_GAP = 7 * DAY
"""One wrong time, years away, must not make a sender look sparse for ever."""


@kernel
def wrapped(tick: int) -> int:
    """Return a number of ticks as a row holds it: within 32 bits."""
    return tick % ROUND - ROUND // 2


@kernel
def ticks_since(last: int, tick: int) -> int:
    """Return the ticks from a row's last event to this one; negative where this one is earlier.

    >>> [ticks_since(wrapped(10**12), 10**12 + more) for more in (-7, 0, 40 * DAY // TICK)]
    [-7, 0, 864000000]
    """
    since = (tick - last - ROUND // 2) % ROUND
    return since - ROUND if since >= ROUND - MOST_LATE else since


@lean
def _pace(
    events: Any, facts: Any, now: Any, ran: Any, repeats: Any, position: Any, fresh: Any,
    before: Any, rows: Any, blank: Any,
) -> None:  # fmt: skip
    for e in range(len(events)):
        if e + AHEAD < len(events):
            prefetch(rows, int(position[e + AHEAD]))
            prefetch(events, e + AHEAD)
        fact = facts[min(max(int(events[e]["who"]), 0), len(facts) - 1)]
        events[e]["freshness"] = int(fact["freshness"])
        events[e]["policy"] = int(fact["policy"])
        events[e]["tolerance"] = int(fact["tolerance"])
        events[e]["horizon"] = int(fact["horizon"])
        events[e]["overlap"] = int(fact["overlap"])
        events[e]["max_attempts"] = int(fact["max_attempts"])
        events[e]["now"] = int(now[e])
        events[e]["running"] = int(ran[e])
        events[e]["repeats"] = int(repeats[e])
        p = int(position[e])
        if p < 0:
            continue
        t = int(events[e]["t"])
        tick = t // TICK
        if fresh[e] > 0:
            rows[p] = blank[0]
            rows[p]["first"] = minute_of(t)
            rows[p]["last"] = wrapped(tick)
        row = rows[p]
        row["who"] = int(events[e]["who"])
        n = int(before[e])
        ticks = ticks_since(int(row["last"]), tick)
        if n > 0:
            since = float(min(max(ticks, 0) * TICK, LONGEST_GAP))
            mean, _, _ = ewma.update(guard.real(row["gap"]), 0.0, n - 1.0, since, GAP_HORIZON)
            row["gap"] = mean
        row["first"] = min(int(row["first"]), minute_of(t))
        if ticks > 0:
            row["last"] = wrapped(tick)
        events[e]["gap"] = int(guard.real(row["gap"]))
        events[e]["age"] = max(t - int(row["first"]) * MINUTE, 0)
        events[e]["events"] = n


class Roster:
    """Names and paces of the senders, beside the rows of the sender table."""

    def __init__(self, table: KeyedTable, facts: NDArray[Any]) -> None:
        self._table = table
        self._facts = facts
        table.add_rows("name", np.dtype(f"S{NAME_BYTES}"))
        table.add_rows("pace", PACE)
        self._blank = np.zeros(1, PACE)
        self.long = LongNames()
        self._replaced: dict[int, list[tuple[int, str]]] = {}
        """Names that a position had in this batch before it was given to another sender."""

    def meet(
        self, batch: EventBatch, where: Located, times: Times, repeats: NDArray[np.int64]
    ) -> None:
        """Note new senders, and fill the columns now, running, repeats, gap, age and events.

        So are those of what is known of the class of senders that an event belongs to
        (``config.FACTS``). One pass does it all: a column written by itself fetches every event's
        memory again.
        """
        names = self._table.rows["name"]
        for e in np.flatnonzero(where.fresh):
            p = int(where.position[e])
            if names[p]:
                self._replaced.setdefault(p, []).append((int(e), self._current(p)))
            name = batch.sender(int(e))
            encoded = name.encode()
            names[p] = encoded[:NAME_BYTES]
            is_long = len(encoded) > NAME_BYTES or encoded.endswith(b"\0")
            self.long.put(p, name if is_long else None)
        _pace(
            batch.columns,
            self._facts,
            times.now,
            times.ran,
            repeats,
            where.position,
            where.fresh,
            where.before,
            self._table.rows["pace"],
            self._blank,
        )

    def _current(self, position: int) -> str:
        if (long := self.long.get(position)) is not None:
            return long
        name: bytes = self._table.rows["name"][position]
        return name.decode()

    def name(self, position: int, at: int) -> str:
        """Return the name of the sender at a position when event ``at`` of the batch came."""
        for until, name in self._replaced.get(position, ()):
            if at <= until:
                return name
        return self._current(position)

    def forget_replaced(self) -> None:
        """The batch has ended: names of former senders are needed no more."""
        self._replaced.clear()
