"""A receiver is never hurt: not by faults, not by settings, not by a fork."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ingest.publisher import Publisher
from ingest.receivers import call as call_module
from ingest.receivers import default_publisher, record, watch
from ingest.receivers.asgi import CallwatchMiddleware as AsgiMiddleware
from ingest.receivers.options import load_options
from ingest.receivers.settings import SettingsError
from ingest.receivers.watch import FAULTS_IN_A_ROW, Watch
from ingest.receivers.wsgi import CallwatchMiddleware as WsgiMiddleware
from tests.unit.receivers.apps import accept, fastapi_app, flask_app
from tests.unit.receivers.conftest import Stream

HOOKS = ["/hooks/{sender}"]
Ask = Callable[..., httpx.Response]


def _broken(*_: Any, **__: Any) -> Any:
    msg = "canary: a fault inside"
    raise RuntimeError(msg)


@pytest.mark.parametrize("place", ["begin", "add", "end", "offer", "fields"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_fault_inside_costs_one_event(
    place: str,
    kind: str,
    stream: Stream,
    ask_asgi: Ask,
    ask_wsgi: Ask,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wherever it happens, requests are answered, and the event is counted as dropped."""
    where: dict[str, tuple[Any, str]] = {
        "begin": (Watch, "begin"),
        "add": (call_module.Call, "add"),
        "end": (Watch, "end"),
        "offer": (Publisher, "_put"),
        "fields": (call_module.Call, "fields"),
    }
    monkeypatch.setattr(*where[place], _broken)
    given: Any = {"publisher": stream.publisher, "endpoints": HOOKS}
    for _ in range(3):
        if kind == "asgi":
            found = ask_asgi(AsgiMiddleware(fastapi_app(accept), **given), content=b"x")
        else:
            found = ask_wsgi(WsgiMiddleware(flask_app(accept), **given), content=b"x")
        assert found.status_code == 204
    assert stream.publisher.flush(20)
    stats = stream.publisher.stats()
    assert (stats.offered, stats.sent, sum(stats.dropped.values())) == (3, 0, 3)
    warned = [entry for entry in caplog.records if "RuntimeError" in entry.getMessage()]
    assert len(warned) == 1  # of the same kind at most one a minute
    assert "canary" not in caplog.text


def test_a_fault_in_every_request_turns_the_watch_off(stream: Stream, ask_asgi: Ask) -> None:
    """After some in a row nothing is tried for a while, then again; all of it is counted."""
    now = 0.0
    tried = 0
    app = AsgiMiddleware(fastapi_app(accept), publisher=stream.publisher, endpoints=HOOKS)
    watched = Watch(load_options(endpoints=HOOKS), stream.publisher, lambda: now)

    def matches(path: str) -> Any:
        nonlocal tried
        tried += 1
        return _broken()

    app.watch = watched
    good = watched._routes
    watched._routes = [(matches, None)]
    for _ in range(FAULTS_IN_A_ROW + 5):
        assert ask_asgi(app).status_code == 204
    assert (tried, watched.faults) == (FAULTS_IN_A_ROW, FAULTS_IN_A_ROW)
    now = 10.0
    for _ in range(3):
        ask_asgi(app)
    assert tried == FAULTS_IN_A_ROW + 1  # tried once, and off again for longer
    now = 31.0
    watched._routes = good
    ask_asgi(app)
    assert stream.event().sender == "acme"
    stats = stream.publisher.stats()
    assert (stats.offered, stats.sent) == (FAULTS_IN_A_ROW + 9, 1)
    assert stats.dropped == {"internal": FAULTS_IN_A_ROW + 8}


def test_the_kill_switch_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: Stream, ask_asgi: Ask
) -> None:
    """CALLWATCH_DISABLED=1: the application is called directly, wrong settings or not."""
    monkeypatch.setenv("CALLWATCH_DISABLED", "1")
    monkeypatch.setenv("CALLWATCH_PEPPER", "wrong")
    app = AsgiMiddleware(fastapi_app(accept), endpoints=HOOKS)
    assert app.watch is None
    assert ask_asgi(app).status_code == 204
    assert record({"sender": "a"}) is False
    assert watch._shared == {}


def test_a_wrong_environment_is_told_and_hurts_nobody(
    monkeypatch: pytest.MonkeyPatch,
    stream: Stream,
    ask_asgi: Ask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line in the log, and the application runs unwatched; unless it shall be strict."""
    monkeypatch.setenv("CALLWATCH_PEPPER", "canary")
    app = AsgiMiddleware(fastapi_app(accept), endpoints=HOOKS)
    assert ask_asgi(app).status_code == 204
    assert "callwatch is off, nothing is watched: CALLWATCH_PEPPER: allowed are" in caplog.text
    assert record({"sender": "a"}) is False
    assert "canary" not in caplog.text
    monkeypatch.setenv("CALLWATCH_STRICT", "1")
    with pytest.raises(SettingsError):
        AsgiMiddleware(fastapi_app(accept), endpoints=HOOKS)


def test_without_a_pepper_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
    stream: Stream,
    ask_asgi: Ask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events carry no fingerprints then, and the log says what cannot be seen."""
    monkeypatch.delenv("CALLWATCH_PEPPER")
    with caplog.at_level(logging.WARNING):
        app = AsgiMiddleware(fastapi_app(accept), publisher=stream.publisher)
    assert "without fingerprints no replay is seen" in caplog.text
    ask_asgi(app, content=b"x" * 10_000)
    event = stream.event()
    assert (event.body_bytes, event.body_fp, event.path_fp) == (10_000, None, None)


def test_middlewares_share_one_publisher(
    monkeypatch: pytest.MonkeyPatch, stream: Stream, tmp_path: Any
) -> None:
    """One thread and one queue in a process, made of the environment; a hook has its own."""
    monkeypatch.setenv("CALLWATCH_EVENTS_TO", str(tmp_path / "events.jsonl"))
    one, two = (AsgiMiddleware(fastapi_app(accept)) for _ in range(2))
    own = AsgiMiddleware(fastapi_app(accept), before_emit=lambda event: event)
    assert one.watch is not None
    assert two.watch is not None
    assert own.watch is not None
    assert one.watch.publisher is two.watch.publisher is default_publisher()
    assert own.watch.publisher is not one.watch.publisher
    asyncio.run(_call(one))
    assert one.watch.publisher.close(20)
    assert '"sender":"(unknown)"' in (tmp_path / "events.jsonl").read_text()
    with pytest.raises(SettingsError, match="before_emit: give it to the publisher"):
        AsgiMiddleware(
            fastapi_app(accept), publisher=stream.publisher, before_emit=lambda event: event
        )


async def _call(app: Any) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None: ...

    await app({"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""},
              receive, send)  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_that_python_does_not_see_starts_afresh(stream: Stream) -> None:
    """As uWSGI can fork: the child notices by its process id, and does not touch old locks."""
    publisher = stream.publisher
    assert publisher.offer({"sender": "parent"})
    lock = publisher._lock
    publisher._pid = -1  # as it looks to a child whose hooks did not run
    with lock:
        pass
    assert publisher.offer({"sender": "child"})
    assert publisher._pid == os.getpid()
    assert publisher._lock is not lock
    assert publisher.stats().offered == 1


def test_a_quiet_receiver_reports(ask_asgi: Ask, stream: Stream) -> None:
    """The first request of any kind, or the server's start, starts the thread and its reports."""
    from ingest.transports import MemoryTransport

    memory = MemoryTransport()
    publisher = Publisher(memory, receiver="shop/1@a")
    app = AsgiMiddleware(fastapi_app(accept), publisher=publisher, endpoints=HOOKS)
    assert not publisher.started
    assert ask_asgi(app, path="/health").status_code == 404
    assert publisher.started
    assert publisher.close(20)
    assert memory.events() == []
    assert [report.offered for report in memory.reports()][-1:] == [0]


@pytest.mark.parametrize(
    ("told", "warned"), [({}, True), ({"enable-threads": True}, False), ({"threads": b"2"}, False)]
)
def test_a_server_without_threads_is_told(
    told: dict[str, Any],
    warned: bool,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Under uWSGI without --enable-threads nothing would ever be sent: the log says so."""
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=told))  # type: ignore[arg-type]
    WsgiMiddleware(flask_app(accept), publisher=stream.publisher)
    assert ("--enable-threads" in caplog.text) is warned
