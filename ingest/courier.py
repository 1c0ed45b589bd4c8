"""The thread behind a publisher: makes records of what waits, sends them, reports, and backs off.

All state is behind `changed`, the lock that it shares with its publisher. It is a guest in its
process: it gathers events for a moment before it works, and while it works it lets the host's
threads go first, so that a request waits for the interpreter no longer than one event takes.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from .clock import Clock
from .errors import TransportError
from .outbox import Drop, Outbox
from .records import Outcome, Record, report_records
from .schema import Report
from .transports import Transport

BATCH_EVENTS: Final = 500
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MOST_S: Final = 30.0
BREAKER_FAILURES: Final = 5
"""After so many failures in a row the circuit is open: one record is tried at a time."""
LINGER_S: Final = 0.05
"""How long events gather before the thread works on them: less switching between threads."""
EXIT_FLUSH_S: Final = 2.0
_IDLE_S: Final = 3600.0
_WARN_EVERY_S: Final = 60.0

_log = logging.getLogger("callwatch.publisher")


class Courier:
    """Sends what is in an outbox from a thread of its own, which starts when it is first woken.

    A courier belongs to one process; a forked child makes a new one.
    """

    def __init__(
        self,
        transport: Transport,
        outbox: Outbox,
        clock: Clock,
        report_every: float | None,
        make_report: Callable[[], Report],
        encode: Callable[[object], Record | Drop],
        linger: float = LINGER_S,
    ) -> None:
        self._transport = transport
        self._outbox = outbox
        self._clock = clock
        self._report_every = report_every
        self._make_report = make_report
        self._encode = encode
        self._linger = linger
        self._urgent = False
        self._backoff = 0.0
        self._streak = 0
        self._retry_at = 0.0
        self._report_at = 0.0
        self._warned_at: dict[str, float] = {}
        self.lock = threading.RLock()  # RLock: signal handlers publish too
        self.changed = threading.Condition(self.lock)
        self.thread: threading.Thread | None = None
        self.idle = True  # nothing is to be done until somebody wakes it
        self.closing = False
        self._last_report = False
        self.finished = False
        self.reports_sent = 0
        self.failures = 0

    # --- called by the publisher ---------------------------------------------------------------

    def wake(self, *, at_once: bool = False) -> None:
        """Make sure that the thread runs and looks; `at_once` ends its backing off."""
        with self.changed:
            if self.finished:
                return
            if at_once:
                self._retry_at = 0.0
                self._urgent = True
            if self.thread is None or not self.thread.is_alive():
                thread = threading.Thread(target=self._run, name="callwatch-publisher", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads, or the interpreter goes down: events wait
                    return
                self.thread = thread
            self.idle = False
            self.changed.notify_all()

    @property
    def circuit(self) -> str:
        """`closed` = as usual, `open` = nothing gets through, and it is tried now and then."""
        return "open" if self._streak >= BREAKER_FAILURES else "closed"

    def flush(self, timeout: float) -> bool:
        """Wait until all that is queued now is settled."""
        with self.changed:
            goal = self._outbox.accepted
            self.wake(at_once=True)
            return self._await(lambda: self._outbox.settled >= goal, timeout)

    def close(self, timeout: float) -> bool:
        """Send what waits and a last report; drop what is left after `timeout` seconds."""
        with self.changed:
            self.closing = True
            if self.thread is None and not len(self._outbox):
                self.finished = True
            else:
                self.wake(at_once=True)
            done = self._await(lambda: self.finished, timeout)
            lost = len(self._outbox)
            self._outbox.abandon()
            self.finished = True
            self.changed.notify_all()
        if self.thread is None:  # else the thread does it: what it opened lives in it
            self._close_transport()
        return done and not lost

    def warn(self, text: str, *values: object) -> None:
        """A log line that cannot hurt; of each kind at most one a minute."""
        try:
            now = self._clock.monotonic()
            if now - self._warned_at.get(text, -math.inf) >= _WARN_EVERY_S:
                self._warned_at[text] = now
                _log.warning(text, *values)
        except Exception:  # noqa: S110 - a log handler may do anything
            pass

    def _await(self, reached: Callable[[], bool], timeout: float) -> bool:
        until = self._clock.monotonic() + timeout
        while not reached():
            left = until - self._clock.monotonic()
            if left <= 0 or self.thread is None:
                return False
            self._clock.wait(self.changed, left)
        return True

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except TransportError as error:  # its text is known to hold no secret
                self._failed(str(error))
            except Exception as error:  # the thread outlives every transport
                self._failed(type(error).__name__)
        self._close_transport()

    def _close_transport(self) -> None:
        try:
            self._transport.close(EXIT_FLUSH_S)
        except Exception as error:  # fail open
            self.warn("closing the transport failed: %s", type(error).__name__)

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; None = the end."""
        with self.changed:
            while not self.finished:
                if self._outbox.fresh:
                    if self._outbox.fresh < BATCH_EVENTS and not (self._urgent or self.closing):
                        self._clock.wait(self.changed, self._linger)
                    return self._pack  # also while backing off: bodies are not kept for long
                now = self._clock.monotonic()
                if now >= self._retry_at:
                    if self._outbox.ready:
                        return self._send
                    self._urgent = False
                    if self.closing or self._report_is_due(now):
                        self._last_report = self.closing  # nothing waits, and nothing comes
                        return self._send_report
                self.idle = True
                self._clock.wait(self.changed, self._idle_for(now))
                self.idle = False
            return None

    def _report_is_due(self, now: float) -> bool:
        return self._report_every is not None and now >= self._report_at

    def _idle_for(self, now: float) -> float:
        due = [now + _IDLE_S]
        if len(self._outbox) or self.closing:
            due.append(self._retry_at)
        if self._report_every is not None:
            due.append(max(self._report_at, self._retry_at))
        return max(min(due) - now, 0.001)

    def _pack(self) -> None:
        """Make records of the oldest that are fresh. One that cannot be one is dropped."""
        with self.changed:
            things = self._outbox.unpack(BATCH_EVENTS)
            hurried = self._outbox.fresh > 0  # a whole batch is behind: throughput comes first
        results: list[Record | Drop] = []
        for number, thing in enumerate(things):
            results.append(self._encode(thing))
            if not hurried or not number & 7:
                time.sleep(0)  # lets whoever waits for the interpreter have it now
        with self.changed:
            self._outbox.packed(results)
            self.changed.notify_all()

    def _send(self) -> None:
        with self.changed:
            batch = self._outbox.take(1 if self.circuit == "open" else BATCH_EVENTS)
        if not batch:  # abandoned meanwhile
            return
        try:
            outcomes = self._transport.send(batch)
        except Exception:
            with self.changed:
                self._outbox.put_back()
            raise
        if len(outcomes) != len(batch):
            with self.changed:
                self._outbox.put_back()
            self._failed("the transport did not answer for every record")
            return
        with self.changed:
            self._outbox.settle(outcomes)
            self.changed.notify_all()
        if Outcome.RETRY in outcomes:
            self._failed("not every record was taken")
        else:
            self._worked()

    def _worked(self) -> None:
        if self.circuit == "open":
            _log.info("sending works again; %d events wait", len(self._outbox))
        self._backoff = 0.0
        self._streak = 0

    def _send_report(self) -> None:
        try:
            if self._report_every is not None:
                records = report_records(self._make_report(), self._transport.partitions())
                outcomes = self._transport.send(records)
                with self.changed:
                    self.reports_sent += sum(outcome is Outcome.SENT for outcome in outcomes)
                    self.changed.notify_all()
                if Outcome.RETRY in outcomes:
                    self._failed("not every report was taken")
                    return
                self._worked()
                self._report_at = self._clock.monotonic() + self._report_every
        finally:
            with self.changed:
                if self._last_report:  # it is tried once
                    self.finished = True
                    self.changed.notify_all()

    def _failed(self, why: str) -> None:
        with self.changed:
            self.failures += 1
            self._streak += 1
            self._backoff = min(max(self._backoff * 2, BACKOFF_FIRST_S), BACKOFF_MOST_S)
            self._retry_at = self._clock.monotonic() + self._backoff
            waiting = len(self._outbox)
            self.changed.notify_all()
        self.warn("sending failed, %s; %d events wait", why, waiting)
