"""Events of a finite input in the order of their times: at once where that is certain.

Where the input tells how early what is still to come can be, whatever is earlier goes on, and only
the rest waits: so an archive that is about sorted takes the memory of a few tables, whatever its
size. All else is spooled and sorted at the end. Both give the same events in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from detectors.batch import EventBatch, joined, kept_apart, no_events
from detectors.engines.spool import Spool
from detectors.event import DAY
from ingest.errors import SourceError
from ingest.outlook import EVER
from ingest.sources import Lines
from ingest.tables import Table

MOST_WAITING: Final = 1 << 28
"""Bytes that may wait in memory for earlier events, their tables included; else all is spooled."""
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
        return np.ascontiguousarray(self.column("t"), np.int64)

    def take(self, start: int, stop: int) -> EventBatch:
        """Return some of them, without copying where that is possible."""
        places = slice(start, stop)
        return self.batch.take(places if self.order is None else self.order[places])

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the events, in this order."""
        column: NDArray[Any] = self.batch.columns[name]
        return column if self.order is None else column[self.order]

    def where(self, chosen: NDArray[np.bool_]) -> Ordered:
        """Return those that are chosen."""
        order = np.arange(len(self.batch)) if self.order is None else self.order
        return Ordered(self.batch, order[chosen])


class InOrder:
    """Takes batches as they are read, and hands events out by time; equal times as read."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._spools = False
        self._waiting = no_events()
        self._promised = -EVER

    def add(self, batch: EventBatch, piece: Lines | Table) -> Ordered:
        """Take the events of a piece; return what nothing that is still to come can precede.

        SourceError where they are earlier than the pieces before said.
        """
        if len(batch) and int(batch.columns["t"].min()) < self._promised:
            msg = (
                f"{piece.place}: holds earlier events than its times said when it was first looked "
                "at; it was changed meanwhile, or pieces of several inputs were put together"
            )
            raise SourceError(msg)
        earliest_after = None if self._spools else piece.earliest_after
        if earliest_after is None:
            self._spool_all()
            self._spool.add(batch)
            return Ordered(no_events())
        self._promised = max(self._promised, earliest_after)
        known = joined(self._waiting, batch) if len(self._waiting) else batch
        times = np.ascontiguousarray(known.columns["t"])
        order = None
        if not bool((times[1:] >= times[:-1]).all()):
            order = np.argsort(times, kind="stable")
            times = times[order]
        ready = int(np.searchsorted(times, self._promised, side="right"))
        self._wait(known, np.arange(ready, len(known)) if order is None else order[ready:])
        if order is None:
            return Ordered(known.take(slice(0, ready)))
        return Ordered(known, order[:ready])

    def _wait(self, known: EventBatch, places: NDArray[np.int64]) -> None:
        """Let these events wait, in the order in which they were read."""
        self._waiting = no_events()
        if len(places):
            self._waiting = kept_apart(known.take(np.sort(places)))
        if self.waiting_bytes > MOST_WAITING:
            self._spool_all()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of what waits, tables of which something waits included."""
        tables = sum(table.nbytes for table in self._waiting.tables)
        return self._waiting.columns.nbytes + len(self._waiting.buffer) + tables

    def _spool_all(self) -> None:
        self._spools = True
        self._spool.add(self._waiting)
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
