"""Verifiers at work: in threads of their own, after the answer, bounded in number, bytes and time.

A verifier may take its time (a large body, a certificate to be fetched, a store that is away), and
strangers choose what it is given. So each has a lane: its calls are judged one after the other, and
one that hangs holds up no other verifier and never the publisher's thread. What finds no room, or
is not judged in time, is handed on without a finding, and counted.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from .clock import Clock

MOST_CALLS: Final = 1_000
MOST_BYTES: Final = 16 * 1024 * 1024
MOST_THREADS: Final = 8
"""So many verifiers may hang at once before the others wait for them."""
DEADLINE_S: Final = 15.0
"""How late a finding may be: connecting, TLS and reading a certificate have 5 s each."""
_IDLE_S: Final = 3600.0

Judge = Callable[[], Any]
Done = Callable[[Any], None]


@dataclass(slots=True, eq=False)
class _Job:
    cost: int
    until: float
    judge: Judge
    done: Done
    settled: bool = False


@dataclass(slots=True, eq=False)
class _Lane:
    """What waits for one verifier; `verifier` is held, so that its id stays its own."""

    verifier: object
    waiting: deque[_Job] = field(default_factory=deque)
    running: _Job | None = None
    held: int = 0

    def __len__(self) -> int:
        return len(self.waiting) + (self.running is not None)


class Judges:
    """Calls verifiers for one process; a forked child makes new ones.

    unjudged: how many calls were handed on without a finding, by reason: `full`, `late`, `failed`
    (the verifier raised), `closed`.
    """

    def __init__(
        self, clock: Clock, broken: Callable[[Exception], object], linger: float = 0.0
    ) -> None:
        self._clock = clock
        self._broken = broken
        self._linger = linger
        self._lock = threading.RLock()  # RLock: signal handlers may end a call, too
        self._work = threading.Condition(self._lock)
        self._time = threading.Condition(self._lock)
        self._pause = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._lanes: OrderedDict[int, _Lane] = OrderedDict()  # the next one's turn comes first
        self._keeper: threading.Thread | None = None
        self._threads = 0
        self._free = 0
        self._calls = 0
        self._bytes = 0
        self._open = 0  # not yet handed on
        self._urgent = False
        self._closed = False
        self._wakes_at = 0.0
        self.unjudged: dict[str, int] = {}

    def __len__(self) -> int:
        return self._open

    @property
    def bytes(self) -> int:
        """Memory that the calls hold, about; also those that hang."""
        return self._bytes

    def submit(self, verifier: object, cost: int, judge: Judge, done: Done) -> None:
        """Have `judge` called; `done` gets what it gave, or None. Takes microseconds.

        `done` is called once: in another thread, or now when there is no room.
        """
        with self._lock:
            lane = self._lanes.get(id(verifier)) or _Lane(verifier)
            why = "closed" if self._closed else "full"
            if not self._closed and self._has_room(lane, cost) and self._is_staffed():
                job = _Job(cost, self._clock.monotonic() + DEADLINE_S, judge, done)
                lane.waiting.append(job)
                lane.held += cost
                self._lanes[id(verifier)] = lane
                self._calls += 1
                self._bytes += cost
                self._open += 1
                self._work.notify()
                if job.until < self._wakes_at:
                    self._time.notify()
                return
            self._count(why)
        done(None)

    def flush(self, timeout: float) -> bool:
        """Wait until all is handed on; False after `timeout` seconds."""
        with self._lock:
            until = self._clock.monotonic() + timeout
            self._urgent = True
            self._pause.notify_all()
            try:
                while self._open:
                    left = until - self._clock.monotonic()
                    if left <= 0:
                        return False
                    self._clock.wait(self._settled, left)
                return True
            finally:
                self._urgent = False

    def give_up(self) -> None:
        """Hand on all that waits, without a finding."""
        self._hand_on("late", all_of_them=True)

    def close(self, timeout: float) -> None:
        """Judge what can be judged within `timeout` seconds, hand on the rest, and end."""
        with self._lock:
            self._closed = True
            self._pause.notify_all()
        if not self.flush(timeout):
            self.give_up()
        with self._lock:
            self._work.notify_all()
            self._time.notify_all()

    # --- with the lock held --------------------------------------------------------------------

    def _has_room(self, lane: _Lane, cost: int) -> bool:
        """A lane may hold as much as it leaves to the others, so that none can take it all."""
        if not self._calls:
            return True
        if self._calls >= MOST_CALLS or self._bytes + cost > MOST_BYTES:
            return False
        return not len(lane) or (
            len(lane) < MOST_CALLS - self._calls and lane.held + cost <= MOST_BYTES - self._bytes
        )

    def _is_staffed(self) -> bool:
        """Start a thread where one is missing; False when there is none."""
        try:
            if self._keeper is None:
                keeper = threading.Thread(target=self._keep, name="callwatch-judges", daemon=True)
                keeper.start()
                self._keeper = keeper
            if not self._free and self._threads < MOST_THREADS:
                threading.Thread(target=self._run, name="callwatch-judge", daemon=True).start()
                self._threads += 1
                self._free += 1
        except RuntimeError:  # no more threads, or the interpreter goes down
            return self._threads > 0 and self._keeper is not None
        return True

    def _count(self, why: str) -> None:
        self.unjudged[why] = self.unjudged.get(why, 0) + 1

    def _release(self, lane: _Lane, job: _Job) -> None:
        lane.held -= job.cost
        self._calls -= 1
        self._bytes -= job.cost
        if not len(lane):
            self._lanes.pop(id(lane.verifier), None)

    def _is_more(self) -> bool:
        return any(lane.waiting and lane.running is None for lane in self._lanes.values())

    def _next(self) -> tuple[_Lane, _Job] | None:
        for name, lane in self._lanes.items():
            if lane.running is None and lane.waiting:
                lane.running = lane.waiting.popleft()
                self._lanes.move_to_end(name)
                return lane, lane.running
        return None

    # --- the threads ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                while (found := self._next_in_time()) is None:
                    if self._closed and not self._open:
                        return
                    self._clock.wait(self._work, _IDLE_S)
                self._free -= 1
                if self._is_more() and self._is_staffed():
                    self._work.notify()
            lane, job = found
            why, told = "failed", None
            try:
                told = job.judge()
                why = "" if told is not None else why
            except Exception:  # noqa: S110 - a user's verifier; it is counted
                pass
            with self._lock:
                lane.running = None
                self._release(lane, job)
                self._free += 1
                mine, job.settled = not job.settled, True
                if mine and why:
                    self._count(why)
            if mine:
                self._finish(job, told)
            del found, lane, job, told  # or the body stays until the next one comes

    def _next_in_time(self) -> tuple[_Lane, _Job] | None:
        """As `_next`, after a moment in which the host's thread can finish its answer."""
        if not self._is_more():
            return None
        if self._linger and not (self._urgent or self._closed):
            self._clock.wait(self._pause, self._linger)
        return self._next()

    def _keep(self) -> None:
        """Hand on what is late."""
        while True:
            with self._lock:
                if self._closed and not self._open:
                    return
                due = [job.until for job in self._jobs()]
                now = self._clock.monotonic()
                self._wakes_at = min(due, default=now + _IDLE_S)
                if (left := self._wakes_at - now) > 0:
                    self._clock.wait(self._time, left)
                    continue
            self._hand_on("late", all_of_them=False)

    def _jobs(self) -> list[_Job]:
        """The oldest of each lane, and what runs."""
        found = [lane.running for lane in self._lanes.values() if lane.running is not None]
        found += [lane.waiting[0] for lane in self._lanes.values() if lane.waiting]
        return [job for job in found if not job.settled]

    def _hand_on(self, why: str, *, all_of_them: bool) -> None:
        late = []
        with self._lock:
            now = self._clock.monotonic()
            for lane in list(self._lanes.values()):
                running = lane.running
                if (
                    running is not None
                    and not running.settled
                    and (all_of_them or running.until <= now)
                ):
                    late.append(running)
                while lane.waiting and (all_of_them or lane.waiting[0].until <= now):
                    job = lane.waiting.popleft()
                    self._release(lane, job)
                    late.append(job)
            for job in late:
                job.settled = True
                self._count(why)
        for job in late:
            self._finish(job, None)

    def _finish(self, job: _Job, told: object) -> None:
        try:
            job.done(told)
        except Exception as error:  # the thread outlives every call
            self._broken(error)
        with self._lock:
            self._open -= 1
            if not self._open:
                self._settled.notify_all()
                if self._closed:
                    self._work.notify_all()
                    self._time.notify_all()
