"""Fixtures of the receivers' tests: a publisher in memory, and requests to any application."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import settings

from ingest.publisher import Publisher
from ingest.receivers import plain, watch
from ingest.schema import CallbackEvent
from ingest.transports import MemoryTransport

settings.register_profile("receivers", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("receivers")

PEPPER = bytes(range(32))
PEER = "192.0.2.7"


class Stream:
    """What a publisher in memory has sent."""

    def __init__(self) -> None:
        self.memory = MemoryTransport()
        self.publisher = Publisher(
            self.memory, receiver="shop/1@a", report_every=None, linger=0, max_bytes=2**28
        )

    def events(self) -> list[CallbackEvent]:
        """All events so far."""
        assert self.publisher.flush(20)
        return self.memory.events()

    def event(self) -> CallbackEvent:
        """The newest event."""
        return self.events()[-1]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stream]:
    """A publisher in memory; nothing of the environment is in force, but a pepper."""
    import os

    for name in list(os.environ):
        if name.startswith("CALLWATCH_") and name != "CALLWATCH_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CALLWATCH_PEPPER", PEPPER.hex())
    monkeypatch.setenv("CALLWATCH_RECEIVER", "shop/1@a")
    monkeypatch.setattr(watch, "_shared", {})
    plain._options.cache_clear()
    made = Stream()
    yield made
    plain._options.cache_clear()
    made.publisher.close(20)
    thread = made.publisher._courier.thread
    if thread is not None:
        thread.join(20)


@pytest.fixture
def ask_asgi() -> Callable[..., httpx.Response]:
    """Sends a request to an ASGI application."""

    def ask(
        app: Any, path: str = "/hooks/acme", method: str = "POST", peer: str = PEER, **more: Any
    ) -> httpx.Response:  # fmt: skip
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=app, client=(peer, 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **more)

        return anyio.run(call)

    return ask


@pytest.fixture
def ask_wsgi() -> Callable[..., httpx.Response]:
    """Sends a request to a WSGI application."""

    def ask(
        app: Any, path: str = "/hooks/acme", method: str = "POST", peer: str = PEER, **more: Any
    ) -> httpx.Response:  # fmt: skip
        transport = httpx.WSGITransport(app=app, remote_addr=peer, wsgi_errors=io.StringIO())
        with httpx.Client(transport=transport, base_url="http://test") as client:
            return client.request(method, path, **more)

    return ask
