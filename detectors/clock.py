"""The clock of a partition: it goes by accepted events and reports, never by the wall.

Where stream time leaps by more than PAUSE, nobody was heard in between: not one receiver reported
or saw a call. Such pauses are remembered, so that nobody is called silent who was not heard.

Stream time is the newest accepted time. In a log, a record more than ``ahead`` before its broker's
time or more than ``late`` behind stream time is refused; in sorted input there is nothing to refuse
here. Ticks are the full minutes that stream time crosses.

>>> import numpy as np
>>> clock = PartitionClock(late=100, ahead=10)
>>> none = np.zeros(0, np.int64)
>>> times, at = np.array([5, 900, 7, 3]), np.arange(4)
>>> passed = clock.admit(times, at, none, none, np.array([5, 6, 7, 8]))
>>> passed.pauses.tolist()
[]
>>> passed.kept.tolist(), passed.of_kept.now.tolist(), [index for index, _ in passed.refused]
([0, 2, 3], [5, 7, 7], [1])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from detectors.compile import lean
from detectors.event import DAY, HOUR, MINUTE

BEFORE_ALL = -(2**62)
PAUSE = 5 * MINUTE
"""Reports come once a minute: five of them missing are a break."""
LATEST = 253_402_300_799_999_999
"""The end of the year 9999: what can be written."""
PASSED, EARLY, LATE = range(3)
_NOWHERE = np.zeros(0, np.int64)


@lean
def _pass(
    t: Any, place: Any, broker: Any, ahead: int, late: int, now: int, ran: int,
    course: Any, runs: Any, fate: Any,
) -> tuple[int, int]:  # fmt: skip
    """Move the clock from record to record; return how many were refused, and its leaps."""
    refused, leaps = 0, 0
    for i in range(len(t)):
        x = int(t[i])
        end = PASSED
        if len(broker) > 0 and x > int(broker[place[i]]) + ahead:
            end = EARLY
        elif x > now:
            if now > BEFORE_ALL:
                ran += min(x - now, DAY)
                leaps += int(x - now > PAUSE)
            now = x
        elif len(broker) > 0 and x < now - late:
            end = LATE
        refused += int(end != PASSED)
        course[i + 1] = now
        runs[i] = ran
        fate[i] = end
    return refused, leaps


@dataclass(frozen=True)
class Times:
    """Of each event stream time when it was read, and how long the partition had been running."""

    now: NDArray[np.int64]
    ran: NDArray[np.int64]
    minutes: NDArray[np.int64]

    def take(self, order: NDArray[Any] | slice) -> Times:
        """Return those of the events at these places."""
        return Times(self.now[order], self.ran[order], self.minutes[order])


NO_TIMES = Times(_NOWHERE, _NOWHERE, _NOWHERE)


@dataclass(frozen=True)
class Passed:
    """Which events the clock let pass, and when."""

    kept: NDArray[np.int64]
    of_kept: Times
    refused: list[tuple[int, str]]
    reports: list[tuple[int, int]]
    """Which reports passed, and at which of ``times``."""
    times: NDArray[np.int64]
    """Stream time at each record, in their order, from the first that was accepted on."""
    places: NDArray[np.int64]
    """The place of each of ``times``."""
    marks: NDArray[np.int64]
    """Stream time at the places that were asked for, ``BEFORE_ALL`` before the first record."""
    pauses: NDArray[np.int64]
    """Begin and end of each pause up to now, in order, and a 0 that stands for every service: those
    of this batch, and the last before. None begins before another's end."""

    def passed(self, place: int) -> int:
        """Return how many of ``times`` there are up to a place."""
        return int(np.searchsorted(self.places, place, side="right"))


class PartitionClock:
    """Stream time of one partition."""

    def __init__(self, late: int, ahead: int) -> None:
        self.late = late
        self.ahead = ahead
        self.now: int | None = None
        self.ran = 0
        """Stream time since the first record, in which a leap counts a day: one wrong time must not
        make a young partition old."""
        self.paused = np.zeros((0, 3), np.int64)
        """The last pause: its begin and end, and 0: of every service."""

    def admit(
        self,
        times: NDArray[np.int64],
        places: NDArray[np.int64],
        report_times: NDArray[np.int64],
        report_places: NDArray[np.int64],
        broker_times: NDArray[np.int64] | None,
        marks: Sequence[int] = (),
    ) -> Passed:
        """Let a batch's events and reports move the clock, in the order of their places.

        ``marks`` are places before which the stream time is wanted.
        """
        reported = len(report_times) > 0
        if reported:
            place = np.concatenate([places, report_places])
            order = np.argsort(place, kind="stable")
            place, t = place[order], np.concatenate([times, report_times])[order]
        else:
            place, t = np.ascontiguousarray(places), np.ascontiguousarray(times)
            order = np.arange(len(t))
        start = BEFORE_ALL if self.now is None else self.now
        course, ran, fate = np.empty(len(t) + 1, np.int64), np.empty_like(t), np.empty(len(t), "i1")
        course[0] = start
        broker = _NOWHERE if broker_times is None else broker_times
        refusals, leaps = _pass(
            t, place, broker, self.ahead, self.late, start, self.ran, course, ran, fate
        )
        now = course[1:]
        at_marks = course[np.searchsorted(place, marks)] if marks else _NOWHERE
        pauses = self._pauses(course) if leaps else self.paused
        if len(now) and now[-1] > BEFORE_ALL:
            self.now = int(now[-1])
            self.ran = int(ran[-1])
        refused = [
            (int(place[i]), self._fault(int(t[i]), early=int(fate[i]) == EARLY))
            for i in (np.flatnonzero(fate).tolist() if refusals else ())
        ]
        skipped = int(np.searchsorted(now, BEFORE_ALL, side="right"))
        reports = []
        kept, now_kept = order, now
        if refusals or reported:
            is_event = order < len(times)
            passed = fate == PASSED
            reports = [
                (int(order[i]) - len(times), int(i) - skipped)
                for i in np.flatnonzero(passed & ~is_event)
            ]
            chosen = passed & is_event
            kept, now_kept, ran = order[chosen], now[chosen], ran[chosen]
        run = slice(skipped, None)
        of_kept = Times(now_kept, ran, now_kept // MINUTE)
        return Passed(kept, of_kept, refused, reports, now[run], place[run], at_marks, pauses)

    def _pauses(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the last pause and those within these stream times; remember the last."""
        leaps = np.flatnonzero((np.diff(times) > PAUSE) & (times[:-1] > BEFORE_ALL))
        more = np.stack([times[leaps], times[leaps + 1], np.zeros_like(leaps)], axis=1)
        pauses = np.concatenate([self.paused, more])
        self.paused = pauses[-1:]
        return pauses

    def _fault(self, t: int, *, early: bool) -> str:
        given = to_rfc3339(t) if abs(t) <= LATEST else str(t)
        if early:
            allowed = f"up to {self.ahead / MINUTE:g} min after the broker's time"
        else:
            allowed = f"up to {self.late / HOUR:g} h before the newest event"
        return f"received_at: allowed {allowed}; given {given}"

    def advance(self, to: int) -> NDArray[np.int64]:
        """Let stream time run on without an event; return the pauses, which this is one of."""
        if self.now is not None:
            self.ran += min(max(to - self.now, 0), DAY)
        start = BEFORE_ALL if self.now is None else self.now
        self.now = max(start, to)
        return self._pauses(np.array([start, self.now], np.int64))

    def snapshot(self) -> Any:
        """Return the state as a JSON-able value."""
        return [self.ran, self.now, self.paused.tolist()]

    def restore(self, state: Any) -> None:
        """Take over what ``snapshot`` returned."""
        self.ran, self.now, paused = state
        self.paused = np.array(paused, np.int64).reshape(-1, 3)
