# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What all middlewares share: which requests are watched, and the end of each.

Nothing here raises into the host. A fault is counted and costs that one event; after
`FAULTS_IN_A_ROW` of them the watch turns itself off for a while, so that a fault in every request
costs next to nothing, and no stranger can turn it off for good.
"""

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from random import random
from typing import Any, Final

from ..errors import IngestError
from ..kafka_config import kafka_config
from ..kafka_transport import EVENTS_TOPIC, KafkaTransport
from ..outbox import Drop
from ..publisher import Hook, Publisher
from ..signatures.base import SignedRequest, Verifier
from ..transports import JsonLinesTransport, Transport
from ..vocabulary import Reason, Verdict
from .call import Call
from .options import Options, load_options
from .settings import SettingsError, value_of
from .verdicts import told

FAULTS_IN_A_ROW: Final = 10
OFF_FIRST_S: Final = 10.0
OFF_MOST_S: Final = 600.0
_UNWATCHED_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_log = logging.getLogger("callwatch.receiver")


class Watch:
    """Watches the requests of one application.

    faults: how often something inside went wrong, for the host's own metrics.
    """

    def __init__(
        self,
        options: Options,
        publisher: Publisher,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = options
        self.publisher = publisher
        self.faults = 0
        self._row = 0
        self._off_s = 0.0
        self._off_until = 0.0
        self._monotonic = monotonic
        self._routes = [
            (route.pattern.fullmatch, None if route.subtree else route.template)
            for route in options.routes
        ]
        self._wanted = {"content-type", "user-agent", "content-length"}
        if options.proxies:
            self._wanted.add(options.proxies.header)
        self.wanted = frozenset(self._wanted)
        self.wanted_bytes = frozenset(name.encode() for name in self._wanted)

    def begin(
        self, method: str, path: str, peer: str | None, headers: list[tuple[Any, Any]]
    ) -> Call | None:
        """The call that a request is; None where it is none of ours. May raise: see `fault`."""
        if self._off_until and self._is_off():
            return None
        if not self.publisher.started:  # with any request, so that a quiet receiver reports, too
            self.publisher.start()
        if not self._routes:
            return None if method in _UNWATCHED_METHODS else Call(
                self.options, method, path, peer, headers
            )  # fmt: skip
        for matches, template in self._routes:
            if (found := matches(path)) is not None:
                call = Call(self.options, method, path, peer, headers)
                call.template = template
                if found.lastindex:
                    call.params = found.groupdict()
                return call
        return None

    def end(self, call: Call, left: object, request: Callable[[], SignedRequest] | None) -> None:
        """Offer the event of a call. May raise: see `fault`.

        left: what the handler left in the request as its verdict, if it did not call `verdict`.
        request: makes what a verifier judges; called only where there is one.
        """
        if call.duration_ns < 0:
            call.duration_ns = time.perf_counter_ns() - call.began_ns
        if call.told is None and left is not None:
            call.told = told(left)
        elif left is not None and call.told is not None and "verdict" not in call.told:
            call.told = {**(told(left) or {}), **call.told}
        options = self.options
        if options.verifier is not None:
            if request is not None and not (call.told and "verdict" in call.told):
                self._verify(call, request)
            if call.pending is not None:
                verify = partial(_found, *call.pending)
                done = partial(self._judged, call)
                self.publisher.judge(call.pending[0], call.cost(), verify, done)
                self._row = 0
                return
            call.let_go()
        self._offer(call)
        self._row = 0

    def _judged(self, call: Call, found: dict[str, Any] | None) -> None:
        """Offer the event of a call whose verifier is done; None = there is no finding."""
        call.pending = None
        if found is None:
            self.publisher.warn("a verifier failed or was late: calls are recorded by their status")
        else:
            call.told = {**found, **(call.told or {})}
        call.let_go()
        self._offer(call)

    def _offer(self, call: Call) -> None:
        options = self.options
        if options.sample_rate < 1.0 and call.judged() is Verdict.VERIFIED:
            if random() >= options.sample_rate:  # noqa: S311 - chance, no secret
                return
            call.sample_rate = options.sample_rate
        self.publisher.offer_draft(call, call.cost())

    def fault(self, error: BaseException) -> None:
        """Something went wrong: count it, and turn off where it always does. Never raises."""
        try:
            self.faults += 1
            self._row += 1
            self.publisher.lose(Drop.INTERNAL)
            if self._row >= FAULTS_IN_A_ROW:
                self._off_s = min(max(self._off_s * 2, OFF_FIRST_S), OFF_MOST_S)
                self._off_until = self._monotonic() + self._off_s
                self._row = FAULTS_IN_A_ROW - 1  # one more is enough to turn off again
            self.publisher.warn("a call was not watched: %s", type(error).__name__)
        except Exception:  # noqa: S110 - there is nobody left to tell
            pass

    def _is_off(self) -> bool:
        if self._monotonic() < self._off_until:
            self.publisher.lose(Drop.INTERNAL)
            return True
        self._off_until = 0.0
        return False

    def _verify(self, call: Call, request: Callable[[], SignedRequest]) -> None:
        verifier = self.options.verifier
        said = call.told or {}
        if isinstance(verifier, Mapping):
            named = said.get("sender") or (call.params or {}).get("sender") or self.options.sender
            chosen = verifier.get(named) if named else None
            if chosen is None:
                call.told = {"verdict": "rejected", "reason": Reason.SENDER_UNKNOWN, **said}
                return
        else:
            assert verifier is not None
            chosen = verifier
        if call.body() is None or call.body_size > self.options.max_body:
            return  # not read to its end, or too large for us: the status has to do
        call.pending = (chosen, request())  # judged elsewhere: the answer waits for no verifier


def _found(verifier: Verifier, request: SignedRequest) -> dict[str, Any] | None:
    return told(verifier(request))


def judged_at(call: Call) -> datetime:
    """The time at which a call was received."""
    return datetime.fromtimestamp(call.at_ns / 1e9, UTC)


def make_watch(
    publisher: Publisher | None, before_emit: Hook | None, given: Mapping[str, Any]
) -> Watch | None:
    """The watch of a middleware; None when it is turned off.

    What is wrong in an argument is an error here, at start-up. What is wrong in the environment
    is logged, and the application runs unwatched; with `CALLWATCH_STRICT=1` it is an error, too.
    """
    if disabled():
        return None
    load_options({}, **given)
    if publisher is not None and before_emit is not None:
        msg = "before_emit: give it to the publisher"
        raise SettingsError(msg)
    try:
        options = load_options(None, **given)
        if options.pepper is None:
            _log.warning("CALLWATCH_PEPPER is not set: without fingerprints no replay is seen")
        if not _threads_run():
            _log.warning(
                "uWSGI runs no threads, so nothing is sent: start it with --enable-threads"
            )
        return Watch(options, publisher or _made(options, before_emit))
    except (IngestError, ValueError) as error:
        if os.environ.get("CALLWATCH_STRICT", "") not in {"", "0", "false"}:
            raise
        _log.error("callwatch is off, nothing is watched: %s", error)
        return None


def _threads_run() -> bool:
    """Whether the host lets threads run; uWSGI does not unless it is told."""
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        try:
            uwsgi = importlib.import_module("uwsgi")  # there only inside of uWSGI
        except ImportError:
            return True
    told = getattr(uwsgi, "opt", {})
    return bool(told.get("enable-threads") or told.get("threads"))


def disabled() -> bool:
    """Whether `CALLWATCH_DISABLED` turns everything off."""
    return os.environ.get("CALLWATCH_DISABLED", "") not in {"", "0", "false"}


def default_publisher() -> Publisher:
    """The publisher of this process, made of `CALLWATCH_*` when it is first asked for."""
    return _made(load_options(), None)


_lock = threading.Lock()
_shared: dict[str, Publisher] = {}


def _unlock() -> None:
    """In a forked child: nobody there would ever release the parent's lock."""
    global _lock  # noqa: PLW0603 - one for the process
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _made(options: Options, before_emit: Hook | None) -> Publisher:
    """One publisher for all middlewares of a receiver, unless it has a hook of its own."""
    if before_emit is not None:
        return _new(options, before_emit)
    with _lock:
        if options.receiver not in _shared:
            _shared[options.receiver] = _new(options, None)
        return _shared[options.receiver]


def _new(options: Options, before_emit: Hook | None) -> Publisher:
    env = os.environ
    policy = value_of(env, "CALLWATCH_DROP") or "newest"
    if policy not in {"newest", "oldest"}:
        msg = "CALLWATCH_DROP: allowed are newest and oldest"
        raise SettingsError(msg)
    return Publisher(
        _transport(env),
        receiver=options.receiver,
        max_events=_limit(env, "CALLWATCH_QUEUE_EVENTS", 10_000),
        max_bytes=_limit(env, "CALLWATCH_QUEUE_BYTES", 32 * 1024 * 1024),
        drop="oldest" if policy == "oldest" else "newest",
        before_emit=before_emit,
    )


def _transport(env: Mapping[str, str]) -> Transport:
    if file := value_of(env, "CALLWATCH_EVENTS_TO"):
        return JsonLinesTransport(file)
    topic = value_of(env, "CALLWATCH_TOPIC") or EVENTS_TOPIC
    return KafkaTransport(topic=topic, **kafka_config(environ=env).keywords())


def _limit(env: Mapping[str, str], name: str, otherwise: int) -> int:
    text = value_of(env, name)
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        msg = f"{name}: allowed is a number above 0"
        raise SettingsError(msg)
    return int(text)
