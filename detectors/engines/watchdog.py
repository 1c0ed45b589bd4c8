"""A worker that stands still while the log moves ends, for a supervisor to start it again.

Faust and aiokafka can stop without an exception (faust 175, 523, 629, 847; aiokafka 1154): the
process is up, and nothing is fetched any more. So the ends of the partitions are asked for over a
connection of its own, from a thread of its own, and held against what the worker has walked and
saved. While the broker does not answer, nothing is judged.

Topics that were deleted, or got other numbers of partitions, are seen here too: clients would ask
for them for ever, or hand over partitions that have no place in the states.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from detectors.engines.journal import note
from detectors.engines.ports import TopicPartition
from detectors.engines.seen import Place

STALL_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 5.0
END_SECONDS: Final = 20.0
"""For the worker to end in order; then the process is ended without."""


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


class Topology:
    """Finds topics that are not as they were when the worker began.

    began: of each topic how many partitions it had; None where only that it is there matters.
    Seen twice: a broker that has only just started may not know all of them yet.
    """

    def __init__(self, began: Mapping[str, int | None]) -> None:
        self._began = began
        self.doubt: str | None = None
        """What has changed as of the last look, in words."""

    def look(self, partitions: Mapping[str, int | None]) -> str | None:
        """What has changed, when it is seen for the second time.

        partitions: of the topics that are there; None where it is not told how many.
        """
        found = next(filter(None, (self._changed(name, partitions) for name in self._began)), None)
        before, self.doubt = self.doubt, found
        return found if found == before else None

    def _changed(self, name: str, partitions: Mapping[str, int | None]) -> str | None:
        began = self._began[name]
        if name not in partitions:
            return f"{name}: is gone; this worker began with it"
        now = partitions[name]
        if None in (began, now) or now == began:
            return None
        return f"{name}: has {now} partitions by now; this worker began with {began}"


class Broker(Protocol):
    """Asks a broker; `detectors.engines.overview` does."""

    def partitions(self) -> Mapping[str, int | None]:
        """Of each of the worker's topics that is there, how many it has; None: not told."""

    def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last of each."""

    def close(self) -> None:
        """End its connections."""


class Watchdog(threading.Thread):
    """Looks every few seconds, and tells the worker; ends the process where that does not help."""

    def __init__(
        self,
        stall: Stall,
        topology: Topology,
        state: Callable[[], tuple[Sequence[Place], bool]],
        held: Callable[[], Sequence[TopicPartition]],
        broker: Callable[[], Broker],
        reachable: Callable[[], bool],
        explain: Callable[[Exception], str],
        events: str,
        tell: Callable[[str], None],
        end: Callable[[int], None] = os._exit,
    ) -> None:
        super().__init__(name="callwatch-watchdog", daemon=True)
        self._stall = stall
        self._topology = topology
        self._state = state
        self._held = held
        self._make = broker
        self._reachable = reachable
        self._explain = explain
        self._first = TopicPartition(events, 0)
        self._tell = tell
        self._end = end
        self._ended = threading.Event()
        self._broker: Broker | None = None
        self._away_since: float | None = None
        self.ends: Mapping[TopicPartition, int] = {}
        """As they were at the last look that was answered."""
        self.answered: bool | None = None
        """Whether the last look was; None before the first."""

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
        wanted = self._held() or [self._first]  # those that are restored still, too
        if not self._reachable():
            self._unanswered(None)
            return None
        try:
            if self._broker is None:
                self._broker = self._make()
            changed = self._topology.look(self._broker.partitions())
            # Of a topic that is gone there are none, and a client would ask for them for long.
            ends = None if self._topology.doubt else self._broker.ends(wanted)
        except Exception as error:  # whatever a client raises while its broker is away
            self._unanswered(error)
            return None
        self._answered()
        if ends is None:
            return changed
        self.ends = ends
        stands = self._stall.look(monotonic(), places, ends, member=member)
        return None if stands is None else f"nothing moves although the log does: {stands}"

    def _unanswered(self, error: Exception | None) -> None:
        """Judge nothing; say once, and find out once, why no broker answers."""
        self._forget()
        self._stall.forget()
        self.answered, self.ends = False, {}
        if self._away_since is None:
            self._away_since = monotonic()
            why = "no broker takes connections" if error is None else self._explain(error)
            note("broker.away", level=logging.WARNING, why=why)

    def _answered(self) -> None:
        self.answered = True
        if self._away_since is not None:
            seconds, self._away_since = monotonic() - self._away_since, None
            note("broker.back", seconds=round(seconds))

    def _forget(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            with suppress(Exception):  # it is thrown away
                broker.close()
