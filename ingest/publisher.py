"""Get events onto the stream without ever slowing, blocking or breaking the receiver.

`offer` queues an event, `publish` checks and encodes it first; a daemon thread, started with the
first event in each process, does the rest. A broken transport costs memory up to a bound and then
events, which are counted by reason and reported once a minute.
"""

import atexit
import os
import time
import weakref
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from secrets import token_hex
from sys import getsizeof
from typing import Any, Final, Protocol
from uuid import uuid4

from pydantic_core import to_json

from .clock import Clock, SystemClock
from .courier import EXIT_FLUSH_S, LINGER_S, Courier
from .errors import EventError
from .judges import Judges
from .outbox import Drop, DropPolicy, Outbox, Stats
from .records import Record, event_record
from .rfc3339 import format_time
from .schema import (
    FIELDS,
    MAX_EVENT_BYTES,
    SCHEMA_VERSION,
    CallbackEvent,
    Report,
    check_event,
    dump_event,
    parse_event,
)
from .transports import Transport
from .version import __version__

Hook = Callable[[CallbackEvent], CallbackEvent | None]

_CONTAINERS: Final = (Mapping, AbstractSet, list, tuple)
_MOST_EXT: Final = 8  # as the schema says
_FIXED_COST: Final = 2_048  # bytes of Python objects that an event holds until it is a record


class Draft(Protocol):
    """What an event can be made of later, in the publisher's thread."""

    def fields(self) -> Mapping[str, Any]:
        """All fields of the event under their names in JSON, as Python's own types; called once."""


class Publisher:
    """Publishes callback events through a transport.

    receiver: `service/version@instance`, also filled into events that are given as dicts.
    clock: the time; tests pass their own.
    report_every: seconds between reports; None sends none.
    max_events, max_bytes: what may wait; more is dropped and counted.
    drop: which ones are dropped, the `newest` or the `oldest`.
    before_emit: sees every event and returns it, another one, or None to keep it off the stream.
        It runs in the publisher's thread for what was offered, in the caller's for `publish`.
    linger: seconds for which events gather before the thread works on them.

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
        drop: DropPolicy = "newest",
        before_emit: Hook | None = None,
        linger: float = LINGER_S,
    ) -> None:
        self._transport = transport
        self._receiver = receiver
        self._clock: Clock = clock or SystemClock()
        self._report_every = report_every
        self._limits = max_events, max_bytes, drop
        self._linger = linger
        self._before_emit = before_emit
        self._disabled = os.environ.get("CALLWATCH_DISABLED", "") not in {"", "0", "false"}
        self._begin()
        self._report()  # raises here, at start-up, when `receiver` cannot be reported
        _publishers.add(self)

    def __repr__(self) -> str:
        return f"Publisher({self._transport!r}, receiver={self._receiver!r})"

    def _begin(self) -> None:
        """The state of a process that has published nothing; also that of a forked child."""
        self._pid = os.getpid()
        self._outbox = Outbox(*self._limits)
        self._courier = Courier(
            self._transport,
            self._outbox,
            self._clock,
            self._report_every,
            self._report,
            self._encode,
            self._linger,
        )
        self._judges = Judges(self._clock, self._broken, self._linger)
        self._courier.finished = self._disabled
        self._lock = self._courier.lock
        self._process = f"{os.getpid()}-{token_hex(4)}"
        self._started_at = self._clock.now()
        self._sampling = 1.0

    def offer(self, event: CallbackEvent | Mapping[str, Any]) -> bool:
        """Queue an event in a few microseconds; False when it was dropped at once. Never raises.

        Fields of a dict may be left out as with `publish`; the time is taken now. What is wrong
        with it is found in the publisher's thread, and counted.
        """
        try:
            if isinstance(event, CallbackEvent):
                if event.ext:  # the only part of an event that the host may change
                    ext = dict(event.ext)
                    return self._put(event.model_copy(update={"ext": ext}), _size(ext))
                return self._put(event, 0)
            given = {"received_at": self._clock.now(), **_bounded(event)}
            cost = sum([getsizeof(value) for value in given.values()])
            if type(given.get("ext")) is dict:
                cost += _size(given["ext"])
            return self._put(given, cost)
        except Exception as error:  # fail open: nothing may reach the host
            return self._broken(error)

    def offer_draft(self, draft: Draft, cost: int) -> bool:
        """Queue what an event can be made of; it holds `cost` bytes beside what every event does.

        False when it was dropped at once. Never raises.
        """
        try:
            return self._put(draft, cost)
        except Exception as error:  # fail open: nothing may reach the host
            return self._broken(error)

    def judge(
        self,
        verifier: object,
        cost: int,
        call: Callable[[], Any],
        done: Callable[[Any], None],
    ) -> None:
        """Have `call` done by `verifier` elsewhere; `done` gets the finding, or None. Never raises.

        cost: bytes that are held meanwhile. `done` offers the event; it may run at once.
        """
        try:
            if self._pid != os.getpid():
                self._begin_again()
            self._judges.submit(verifier, cost, call, done)
        except Exception as error:  # fail open: nothing may reach the host
            self._broken(error)

    def _put(self, thing: object, cost: int) -> bool:
        if self._pid != os.getpid():  # forked without Python's knowledge, as uWSGI can do
            self._begin_again()
        with self._lock:
            outbox = self._outbox
            outbox.offered += 1
            if self._courier.finished or self._courier.closing:
                outbox.drop(Drop.DISABLED if self._disabled else Drop.CLOSED)
                return False
            if not outbox.put(cost + _FIXED_COST, thing):
                outbox.drop(Drop.QUEUE_FULL)
                return False
            if self._courier.idle:
                self._courier.wake()
        return True

    def _broken(self, error: Exception) -> bool:
        self._courier.warn("an event was dropped: %s", type(error).__name__)
        self.lose(Drop.INTERNAL)
        return False

    def lose(self, reason: Drop) -> None:
        """Account for an event that could not even be offered."""
        with self._lock:
            self._outbox.offered += 1
            self._outbox.drop(reason)

    def publish(self, event: CallbackEvent | Mapping[str, Any]) -> bool:
        """Queue an event; False when it was dropped. Never raises and never waits for a network.

        In a dict `schema`, `id`, `received_at` and `receiver` may be left out, times may be aware
        datetimes, and enums, UUIDs and addresses may be Python's.
        """
        try:
            if self._pid != os.getpid():
                self._begin_again()
            with self._lock:
                self._outbox.offered += 1
            reason: Drop | None = Drop.INTERNAL
            try:
                reason = self._offer(event)
            finally:
                if reason is not None:
                    with self._lock:
                        self._outbox.drop(reason)
        except Exception as error:  # fail open: nothing may reach the host
            self._courier.warn("an event was dropped: %s", type(error).__name__)
            return False
        return reason is None

    def warn(self, text: str, *values: object) -> None:
        """A log line, at most one a minute of each kind. Never raises."""
        self._courier.warn(text, *values)

    @property
    def started(self) -> bool:
        """Whether the thread of this process was started."""
        return self._courier.thread is not None

    def start(self) -> None:
        """Start the thread before the first event, so that reports flow in a quiet receiver."""
        try:
            self._courier.wake()
        except Exception as error:  # fail open
            self._courier.warn("cannot start: %s", type(error).__name__)

    def flush(self, timeout: float = EXIT_FLUSH_S) -> bool:
        """Wait until all that is queued now was sent or refused; False after `timeout` seconds."""
        until = self._clock.monotonic() + timeout
        judged = self._judges.flush(timeout)
        return self._courier.flush(max(until - self._clock.monotonic(), 0.0)) and judged

    def hasten(self, timeout: float) -> bool:
        """As `flush`; what no verifier has judged after half of the time is sent as it is."""
        until = self._clock.monotonic() + timeout
        if not self._judges.flush(timeout / 2):
            self._judges.give_up()
        return self._courier.flush(max(until - self._clock.monotonic(), 0.0))

    def close(self, timeout: float = EXIT_FLUSH_S) -> bool:
        """Send what waits and a last report; what is not sent after `timeout` seconds is dropped.

        True when nothing was lost. Later events are dropped and counted.
        """
        until = self._clock.monotonic() + timeout
        self._judges.close(timeout / 2)  # what is not judged by then is sent as it is
        return self._courier.close(max(until - self._clock.monotonic(), 0.0))

    def stats(self) -> Stats:
        """Totals of this process; offered = sent + dropped + waiting."""
        with self._lock:
            return Stats(
                offered=self._outbox.offered,
                sent=self._outbox.sent,
                dropped={str(reason): n for reason, n in self._outbox.dropped.items()},
                waiting=self._outbox.offered
                - self._outbox.sent
                - sum(self._outbox.dropped.values()),
                waiting_bytes=self._outbox.bytes + self._judges.bytes,
                reports_sent=self._courier.reports_sent,
                failures=self._courier.failures,
                circuit=self._courier.circuit,
                judging=len(self._judges),
                unjudged=dict(self._judges.unjudged),
            )

    def _offer(self, given: CallbackEvent | Mapping[str, Any]) -> Drop | None:
        """None when the event is queued, else why it is dropped."""
        if self._disabled:
            return Drop.DISABLED
        if self._courier.closing:
            return Drop.CLOSED
        record = self._encode(given)
        if isinstance(record, Drop):
            return record
        with self._lock:
            if self._courier.closing:
                return Drop.CLOSED
            if not self._outbox.put(record.cost, record):
                return Drop.QUEUE_FULL
            if self._courier.idle:
                self._courier.wake()
        return None

    def _encode(self, given: object) -> Record | Drop:
        """The record of an event, or why there is none. Never raises."""
        if isinstance(given, Record):
            return given
        try:
            event = self._event(given)
        except EventError as error:
            self._courier.warn("an event was dropped: %s", error.rule)  # no value: see EventError
            return Drop.TOO_LARGE if error.code == "too_large" else Drop.INVALID
        except Exception as error:  # whatever was passed
            self._courier.warn("an event was dropped: no event: %s", type(error).__name__)
            return Drop.INVALID
        try:
            if self._before_emit is not None:
                kept = self._before_emit(event)
                if kept is None:
                    return Drop.HOOK_REFUSED
                event = event if kept is event else parse_event(dump_event(kept))
        except Exception as error:  # a user's hook
            self._courier.warn("an event was dropped: before_emit: %s", type(error).__name__)
            return Drop.HOOK_FAILED
        try:
            record = event_record(event)
            if len(record.value) > MAX_EVENT_BYTES:
                return Drop.TOO_LARGE
            if event.sample_rate < self._sampling:
                self._sampling = event.sample_rate
        except Exception as error:  # fail open
            self._courier.warn("an event was dropped: %s", type(error).__name__)
            return Drop.INTERNAL
        return record

    def _begin_again(self) -> None:
        self._begin()
        self._transport.after_fork()

    def _event(self, given: Any) -> CallbackEvent:
        if isinstance(given, CallbackEvent):
            return given
        if not isinstance(given, Mapping):
            return check_event(given.fields())
        filled = {
            "schema": SCHEMA_VERSION,
            "id": str(uuid4()),
            "received_at": format_time(self._clock.now()),
            "receiver": self._receiver,
            **given,
        }
        return parse_event(to_json(filled))

    def _report(self) -> Report:
        with self._lock:
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


def _size(ext: Mapping[str, Any]) -> int:
    return sum([getsizeof(name) + getsizeof(value) for name, value in ext.items()])


def _bounded(event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event as they may wait; what makes it invalid stays so, and holds nothing.

    The values of unknown names and the contents of containers are left out: their size is anyone's.
    """
    kept: dict[str, Any] = {}
    for name, value in event.items():
        if name not in FIELDS:
            kept["(unknown)"] = None
        elif name == "ext" and isinstance(value, Mapping):
            kept[name] = _ext(value)
        else:
            kept[name] = [] if isinstance(value, _CONTAINERS) else value
    return kept


def _ext(given: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy, as the host may change its own; with one too many it is as invalid as with more."""
    first = islice(given.items(), _MOST_EXT + 1)
    return {name: [] if isinstance(one, _CONTAINERS) else one for name, one in first}


_publishers: "weakref.WeakSet[Publisher]" = weakref.WeakSet()


class _Ending:
    """What the end of this process may still take: `EXIT_FLUSH_S` seconds, all parts together."""

    def __init__(self) -> None:
        self.left = EXIT_FLUSH_S

    def __call__(self, part: Callable[[float], object]) -> None:
        began = time.monotonic()
        try:
            part(self.left)
        finally:
            self.left = max(self.left - (time.monotonic() - began), 0.0)


_ending = _Ending()


def server_starts() -> None:
    """A server starts in this process: its end may take as long as any."""
    _ending.left = EXIT_FLUSH_S


def server_ends(publisher: Publisher) -> None:
    """Send what waits, within what the end of this process may still take."""
    _ending(publisher.hasten)


def _close_all() -> None:
    """Flush every publisher at exit, within what is left of `EXIT_FLUSH_S` seconds."""
    for publisher in list(_publishers):
        _ending(publisher.close)


def _begin_afresh() -> None:
    """In a forked child: no lock, thread or queue of the parent is of use."""
    for publisher in list(_publishers):
        publisher._begin_again()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_afresh)
