"""A worker that stands still while the log moves ends, for a supervisor to start it again.

Faust and aiokafka can stop without an exception (faust 175, 523, 629, 847; aiokafka 1154): the
process is up, and nothing is fetched any more. So the ends of the partitions are asked for over a
connection of its own, from a thread of its own, and held against what the worker has walked and
saved. While the broker does not answer, nothing is judged.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple, Protocol

from detectors.engines.journal import note
from detectors.engines.ports import TopicPartition

STALL_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 5.0
END_SECONDS: Final = 20.0
"""For the worker to end in order; then the process is ended without."""


class Place(NamedTuple):
    """How far a partition is."""

    where: TopicPartition
    walked: int
    saved: int


@dataclass
class _Seen:
    place: Place
    walked_at: float
    saved_at: float


class Stall:
    """Finds what stands still; `save_seconds` is how often checkpoints are written."""

    def __init__(self, save_seconds: float, seconds: float = STALL_SECONDS) -> None:
        self._seconds = seconds
        self._save_seconds = save_seconds
        self._seen: dict[TopicPartition, _Seen] = {}
        self._without: float | None = None

    def forget(self) -> None:
        """Begin anew: the broker was away, and what stood still could not do otherwise."""
        self._seen.clear()
        self._without = None

    def look(
        self,
        now: float,
        places: Sequence[Place],
        ends: Mapping[TopicPartition, int],
        *,
        member: bool,
    ) -> str | None:
        """What has stood still for too long, in words; `member`: the group gave it its share."""
        if member:
            self._without = None
        elif self._without is None:
            self._without = now
        elif now - self._without >= 2 * self._seconds:
            return f"no share of the partitions for {now - self._without:.0f} s"
        self._seen = {each.where: self._next(now, each, ends) for each in places}
        for seen in self._seen.values():
            where, walked, saved = seen.place
            end = ends.get(where, 0)
            if now - seen.walked_at >= self._seconds:
                return f"{where}: still at offset {walked} of {end}"
            if now - seen.saved_at >= self._seconds + self._save_seconds:
                return f"{where}: no checkpoint after that of offset {saved}, walked up to {walked}"
        return None

    def _next(self, now: float, place: Place, ends: Mapping[TopicPartition, int]) -> _Seen:
        before = self._seen.get(place.where)
        if before is None:
            return _Seen(place, now, now)
        end = ends.get(place.where, 0)
        moved = place.walked != before.place.walked or place.walked >= end
        saved = place.saved != before.place.saved or place.saved >= place.walked
        return _Seen(place, now if moved else before.walked_at, now if saved else before.saved_at)


class Ends(Protocol):
    """Asks a broker for the ends of partitions; `detectors.engines.log_reader` has one."""

    def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last of each."""

    def close(self) -> None:
        """End its connections."""


class Watchdog(threading.Thread):
    """Looks every few seconds, and tells the worker; ends the process where that does not help."""

    def __init__(
        self,
        stall: Stall,
        state: Callable[[], tuple[Sequence[Place], bool]],
        reader: Callable[[], Ends],
        reachable: Callable[[], bool],
        events: str,
        tell: Callable[[str], None],
        end: Callable[[int], None] = os._exit,
    ) -> None:
        super().__init__(name="callwatch-watchdog", daemon=True)
        self._stall = stall
        self._state = state
        self._make = reader
        self._reachable = reachable
        self._first = TopicPartition(events, 0)
        self._tell = tell
        self._end = end
        self._ended = threading.Event()
        self._reader: Ends | None = None

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join(2.0)

    def run(self) -> None:
        """Look until told to stop, or until something stands still."""
        try:
            while not self._ended.wait(LOOK_SECONDS):
                if (what := self._look()) is not None:
                    self._tell(what)
                    if not self._ended.wait(END_SECONDS):
                        note("worker.hangs", level=logging.ERROR, what=what)
                        logging.shutdown()
                        self._end(1)
                    return
        finally:
            self._forget()

    def _look(self) -> str | None:
        places, member = self._state()
        if not self._reachable():
            self._forget()
            self._stall.forget()
            return None
        try:
            if self._reader is None:
                self._reader = self._make()
            ends = self._reader.ends([each.where for each in places] or [self._first])
        except Exception:  # whatever a client raises while its broker is away
            self._forget()
            self._stall.forget()
            return None
        return self._stall.look(monotonic(), places, ends, member=member)

    def _forget(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(Exception):  # it is thrown away
                reader.close()
