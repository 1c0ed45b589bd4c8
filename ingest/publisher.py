"""Get events onto the stream without ever slowing, blocking or breaking the receiver.

`publish` checks, encodes and queues an event; a daemon thread, started with the first event in
each process, sends. A broken transport costs memory up to a bound and then events, which are
counted by reason and reported once a minute.
"""

import atexit
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any, Final
from uuid import uuid4

from pydantic_core import to_json

from .clock import Clock, SystemClock
from .errors import EventError, TransportError
from .outbox import Drop, Outbox, Stats
from .records import Outcome, Record, event_record, report_records
from .rfc3339 import format_time
from .schema import (
    MAX_EVENT_BYTES,
    SCHEMA_VERSION,
    CallbackEvent,
    Report,
    dump_event,
    parse_event,
)
from .transports import Transport
from .version import __version__

BATCH_EVENTS: Final = 500
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MOST_S: Final = 30.0
EXIT_FLUSH_S: Final = 2.0
_IDLE_S: Final = 3600.0
_WARN_EVERY_S: Final = 60.0

_log = logging.getLogger("callwatch.publisher")

Hook = Callable[[CallbackEvent], CallbackEvent | None]


class Publisher:
    """Publishes callback events through a transport.

    receiver: `service/version@instance`, also filled into events that are given as dicts.
    clock: the time; tests pass their own.
    report_every: seconds between reports; None sends none.
    max_events, max_bytes: what may wait; more is dropped, the newest first, and counted.
    before_emit: sees every event and returns it, another one, or None to keep it off the stream.

    Safe to use from any thread, in signal handlers and over forks: a child starts afresh with
    its own thread and counters, and what its parent had queued stays with the parent.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        receiver: str,
        clock: Clock | None = None,
        report_every: float | None = 60.0,
        max_events: int = 10_000,
        max_bytes: int = 32 * 1024 * 1024,
        before_emit: Hook | None = None,
    ) -> None:
        self._transport = transport
        self._receiver = receiver
        self._clock: Clock = clock or SystemClock()
        self._report_every = report_every
        self._limits = max_events, max_bytes
        self._before_emit = before_emit
        self._disabled = os.environ.get("CALLWATCH_DISABLED", "") not in {"", "0", "false"}
        self._begin()
        self._report()  # raises here, at start-up, when `receiver` cannot be reported
        _publishers.add(self)

    def __repr__(self) -> str:
        return f"Publisher({self._transport!r}, receiver={self._receiver!r})"

    def _begin(self) -> None:
        """The state of a process that has published nothing; also that of a forked child."""
        self._changed = threading.Condition(threading.RLock())
        self._outbox = Outbox(*self._limits)
        self._thread: threading.Thread | None = None
        self._process = f"{os.getpid()}-{token_hex(4)}"
        self._started_at = self._clock.now()
        self._sampling = 1.0
        self._reports_sent = 0
        self._failures = 0
        self._backoff = 0.0
        self._retry_at = 0.0
        self._report_at = 0.0
        self._warned_at: dict[str, float] = {}
        self._closing = self._finished = False

    # --- the receiver's side -----------------------------------------------------------------

    def publish(self, event: CallbackEvent | Mapping[str, Any]) -> bool:
        """Queue an event; False when it was dropped. Never raises and never waits for a network.

        In a dict `schema`, `id`, `received_at` and `receiver` may be left out, times may be aware
        datetimes, and enums, UUIDs and addresses may be Python's.
        """
        try:
            with self._changed:
                self._outbox.offered += 1
            reason: Drop | None = Drop.INTERNAL
            try:
                reason = self._offer(event)
            finally:
                if reason is not None:
                    with self._changed:
                        self._outbox.drop(reason)
        except Exception as error:  # fail open: nothing may reach the host
            self._warn("an event was dropped: %s", type(error).__name__)
            return False
        return reason is None

    def start(self) -> None:
        """Start the thread before the first event, so that reports flow in a quiet receiver."""
        try:
            with self._changed:
                self._wake()
        except Exception as error:  # fail open
            self._warn("cannot start: %s", type(error).__name__)

    def flush(self, timeout: float = EXIT_FLUSH_S) -> bool:
        """Wait until all that is queued now was sent or refused; False after `timeout` seconds."""
        with self._changed:
            goal = self._outbox.accepted
            self._retry_at = 0.0
            self._wake()
            return self._await(lambda: self._outbox.settled >= goal, timeout)

    def close(self, timeout: float = EXIT_FLUSH_S) -> bool:
        """Send what waits and a last report; what is not sent after `timeout` seconds is dropped.

        True when nothing was lost. Later events are dropped and counted.
        """
        with self._changed:
            self._closing = True
            self._retry_at = 0.0
            if self._thread is None and not len(self._outbox):
                self._finished = True
            else:
                self._wake()
            done = self._await(lambda: self._finished, timeout)
            lost = len(self._outbox)
            self._outbox.abandon()
            self._finished = True
            self._changed.notify_all()
        if self._thread is None:  # else the thread does it: what it opened lives in it
            self._close_transport()
        return done and not lost

    def stats(self) -> Stats:
        """Totals of this process; offered = sent + dropped + waiting."""
        with self._changed:
            return Stats(
                offered=self._outbox.offered,
                sent=self._outbox.sent,
                dropped={str(reason): n for reason, n in self._outbox.dropped.items()},
                waiting=self._outbox.offered
                - self._outbox.sent
                - sum(self._outbox.dropped.values()),
                waiting_bytes=self._outbox.bytes,
                reports_sent=self._reports_sent,
                failures=self._failures,
            )

    def _offer(self, given: CallbackEvent | Mapping[str, Any]) -> Drop | None:
        """None when the event is queued, else why it is dropped."""
        if self._disabled:
            return Drop.DISABLED
        if self._closing:
            return Drop.CLOSED
        try:
            event = self._event(given)
        except EventError as error:
            self._warn("an event was dropped: %s", error)
            return Drop.TOO_LARGE if error.code == "too_large" else Drop.INVALID
        except Exception as error:  # whatever was passed
            self._warn("an event was dropped: no event: %s", type(error).__name__)
            return Drop.INVALID
        if self._before_emit is not None:
            try:
                kept = self._before_emit(event)
                if kept is None:
                    return Drop.HOOK_REFUSED
                event = event if kept is event else parse_event(dump_event(kept))
            except Exception as error:  # a user's hook
                self._warn("an event was dropped: before_emit: %s", type(error).__name__)
                return Drop.HOOK_FAILED
        record = event_record(event)
        if len(record.value) > MAX_EVENT_BYTES:
            return Drop.TOO_LARGE
        with self._changed:
            if self._closing:
                return Drop.CLOSED
            self._sampling = min(self._sampling, event.sample_rate)
            if not self._outbox.put(record):
                return Drop.QUEUE_FULL
            self._wake()
        return None

    def _event(self, given: CallbackEvent | Mapping[str, Any]) -> CallbackEvent:
        if isinstance(given, CallbackEvent):
            return given
        filled = {
            "schema": SCHEMA_VERSION,
            "id": str(uuid4()),
            "received_at": format_time(self._clock.now()),
            "receiver": self._receiver,
            **given,
        }
        return parse_event(to_json(filled))

    # --- the thread's side -------------------------------------------------------------------

    def _wake(self) -> None:
        """Make sure that the thread runs and looks; the lock is held."""
        if self._finished or self._disabled:
            return
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="callwatch-publisher", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is going down: events wait
                return
            self._thread = thread
        self._changed.notify_all()

    def _await(self, reached: Callable[[], bool], timeout: float) -> bool:
        """Wait with the lock held until `reached`, for at most `timeout` seconds."""
        until = self._clock.monotonic() + timeout
        while not reached():
            left = until - self._clock.monotonic()
            if left <= 0 or self._thread is None:
                return False
            self._clock.wait(self._changed, left)
        return True

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                self._send(batch)
            except TransportError as error:  # its text is known to hold no secret
                self._failed(str(error))
            except Exception as error:  # the thread outlives every transport
                self._failed(type(error).__name__)
        self._close_transport()

    def _close_transport(self) -> None:
        try:
            self._transport.close(EXIT_FLUSH_S)
        except Exception as error:  # fail open
            self._warn("closing the transport failed: %s", type(error).__name__)

    def _next_batch(self) -> list[Record] | None:
        """Wait for something to do. An empty batch = a report is due; None = the end."""
        with self._changed:
            while not self._finished:
                now = self._clock.monotonic()
                ready = now >= self._retry_at
                if ready and len(self._outbox):
                    return self._outbox.take(BATCH_EVENTS)
                if ready and (self._closing or self._report_is_due(now)):
                    return []
                self._clock.wait(self._changed, self._idle_for(now))
            return None

    def _report_is_due(self, now: float) -> bool:
        return self._report_every is not None and now >= self._report_at

    def _idle_for(self, now: float) -> float:
        due = [now + _IDLE_S]
        if len(self._outbox) or self._closing:
            due.append(self._retry_at)
        if self._report_every is not None:
            due.append(max(self._report_at, self._retry_at))
        return max(min(due) - now, 0.001)

    def _send(self, batch: list[Record]) -> None:
        if not batch:
            self._send_report()
            return
        outcomes = self._transport.send(batch)
        if len(outcomes) != len(batch):
            self._failed("the transport did not answer for every record")
            return
        with self._changed:
            self._outbox.settle(outcomes)
            self._changed.notify_all()
        if Outcome.RETRY in outcomes:
            self._failed("not every record was taken")
        else:
            self._backoff = 0.0

    def _send_report(self) -> None:
        try:
            if self._report_every is not None:
                records = report_records(self._report(), self._transport.partitions())
                outcomes = self._transport.send(records)
                with self._changed:
                    self._reports_sent += sum(outcome is Outcome.SENT for outcome in outcomes)
                    self._changed.notify_all()
                if Outcome.RETRY in outcomes:
                    self._failed("not every report was taken")
                    return
                self._backoff = 0.0
                self._report_at = self._clock.monotonic() + self._report_every
        finally:
            with self._changed:
                if self._closing:  # the last report is tried once
                    self._finished = True
                    self._changed.notify_all()

    def _report(self) -> Report:
        with self._changed:
            return Report(
                receiver=self._receiver,
                process=self._process,
                started_at=self._started_at,
                at=self._clock.now(),
                offered=self._outbox.offered,
                sent=self._outbox.sent,
                dropped={str(reason): n for reason, n in self._outbox.dropped.items()},
                version=__version__,
                sampling=self._sampling,
            )

    def _failed(self, why: str) -> None:
        with self._changed:
            self._failures += 1
            self._backoff = min(max(self._backoff * 2, BACKOFF_FIRST_S), BACKOFF_MOST_S)
            self._retry_at = self._clock.monotonic() + self._backoff
            waiting = len(self._outbox)
            self._changed.notify_all()
        self._warn("sending failed, %s; %d events wait", why, waiting)

    def _warn(self, text: str, *values: object) -> None:
        """A log line that cannot hurt; of each kind at most one a minute."""
        try:
            now = self._clock.monotonic()
            if now - self._warned_at.get(text, -math.inf) >= _WARN_EVERY_S:
                self._warned_at[text] = now
                _log.warning(text, *values)
        except Exception:  # noqa: S110 - a log handler may do anything
            pass


_publishers: "weakref.WeakSet[Publisher]" = weakref.WeakSet()


def _close_all() -> None:
    """Flush every publisher at exit, within `EXIT_FLUSH_S` seconds together."""
    until = time.monotonic() + EXIT_FLUSH_S
    for publisher in list(_publishers):
        publisher.close(max(until - time.monotonic(), 0.0))


def _begin_afresh() -> None:
    """In a forked child: no lock, thread or queue of the parent is of use."""
    for publisher in list(_publishers):
        publisher._begin()
        publisher._transport.after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_afresh)
