"""Events of a finite input in the order of their times: at once where that is certain.

Where the input tells how early what is still to come can be, whatever is earlier goes on, and only
the rest waits: so an archive that is about sorted takes the memory of a few tables, whatever its
size. All else is spooled and sorted at the end. Both give the same events in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from detectors.batch import EventBatch, joined, no_events
from detectors.engines.spool import Spool
from detectors.event import DAY

MOST_WAITING: Final = 1 << 19
"""Events that may wait in memory for earlier ones, some 150 MB; with more all is spooled."""
ALONE_EVENTS: Final = 3
ALONE_DAYS: Final = 2
MOST_WARNINGS: Final = 10


@dataclass(frozen=True)
class Ordered:
    """Events by time."""

    batch: EventBatch
    order: NDArray[np.int64] | None = None
    """Where in the batch each is; None where they stand as they should."""

    def __len__(self) -> int:
        return len(self.batch) if self.order is None else len(self.order)

    @property
    def times(self) -> NDArray[np.int64]:
        """When each came, microseconds."""
        times: NDArray[np.int64] = self.batch.columns["t"]
        return np.ascontiguousarray(times if self.order is None else times[self.order])

    def take(self, start: int, stop: int) -> EventBatch:
        """Return some of them, without copying where that is possible."""
        places = slice(start, stop)
        return self.batch.take(places if self.order is None else self.order[places])

    def where(self, chosen: NDArray[np.bool_]) -> Ordered:
        """Return those whose place in the batch is chosen."""
        order = np.arange(len(self.batch)) if self.order is None else self.order
        return Ordered(self.batch, order[chosen[order]])


class InOrder:
    """Takes batches as they are read, and hands events out by time; equal times as read."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._spools = False
        self._waiting = no_events()

    def add(self, batch: EventBatch, first_place: int, earliest_after: int | None) -> Ordered:
        """Take a batch; return what nothing that is still to come can precede.

        ``first_place`` is the place of the batch's index 0 among all values that are read,
        ``earliest_after`` the least time of all that come later, None where it is unknown.
        """
        if self._spools or earliest_after is None:
            self._spool_all()
            self._spool.add(batch, first_place)
            return Ordered(no_events())
        known = joined(self._waiting, batch) if len(self._waiting) else batch
        times = np.ascontiguousarray(known.columns["t"])
        if bool((times[1:] >= times[:-1]).all()):
            ready = int(np.searchsorted(times, earliest_after, side="right"))
            self._waiting = known.take(slice(ready, None))
            return Ordered(known.take(slice(0, ready)))
        order = np.argsort(times, kind="stable")
        ready = int(np.searchsorted(times[order], earliest_after, side="right"))
        self._waiting = known.take(np.sort(order[ready:]))  # as they were read
        if len(self._waiting) > MOST_WAITING:
            self._spool_all()
        return Ordered(known, order[:ready])

    def _spool_all(self) -> None:
        self._spools = True
        self._spool.add(self._waiting, 0)
        self._waiting = no_events()

    def rest(self) -> Ordered:
        """Return what is left when nothing more comes."""
        batch = self._spool.batch() if self._spools else self._waiting
        return Ordered(batch, np.argsort(batch.columns["t"], kind="stable"))


class Alone:
    """Names events that lie alone, days away from all others: their time is probably wrong."""

    def __init__(self) -> None:
        self._seen = 0
        self._last = 0
        self._count = 0
        """Of the group that lasts."""
        self._named: list[str] = []
        """Those of the group that lasts, while they are few."""
        self._found: list[str] = []
        self._groups = 0

    def see(self, events: Ordered) -> None:
        """Look at what comes next in time."""
        times = events.times
        if len(times) == 0:
            return
        before = self._last if self._seen else int(times[0])
        begins = np.diff(times, prepend=before) > ALONE_DAYS * DAY
        starts = sorted({0, *np.flatnonzero(begins).tolist()})
        for start, end in zip(starts, [*starts[1:], len(times)], strict=True):
            if begins[start]:
                self._end()
            self._count += end - start
            if self._count > ALONE_EVENTS:
                self._named = []
            elif self._groups < MOST_WARNINGS:
                self._named += _names(events.take(start, end))
        self._seen += len(times)
        self._last = int(times[-1])

    def _end(self) -> None:
        """A group has ended."""
        if 0 < self._count <= ALONE_EVENTS:
            self._groups += 1
            self._found += self._named
        self._count, self._named = 0, []

    def warnings(self) -> list[str]:
        """Return a line for each of them, of the first groups."""
        self._end()
        if self._seen < 10 * ALONE_EVENTS:
            return []
        if self._groups <= MOST_WARNINGS:
            return self._found
        return [*self._found, f"{self._groups - MOST_WARNINGS} more groups of events lie alone"]


def _names(batch: EventBatch) -> list[str]:
    ends = "lies alone, days away from all others"
    times = batch.columns["t"].tolist()
    return [f"event {batch.event(i).id} at {to_rfc3339(t)} {ends}" for i, t in enumerate(times)]
