"""Fixtures of the ingest tests: a valid event, and a clock that only moves when told."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings

from ingest.publisher import Publisher

settings.register_profile("callwatch", derandomize=True, deadline=None, max_examples=150)
settings.load_profile("callwatch")

START = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
PATIENCE_S = 20.0  # how long a test waits for a thread before it fails; never reached


class FakeClock:
    """A clock that stands still until `advance`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._waiting: set[threading.Condition] = set()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        self._waiting.add(condition)
        until = self.seconds + timeout
        if self.seconds < until and not condition.wait(PATIENCE_S):
            msg = "nothing happened while a thread waited on the fake clock"
            raise AssertionError(msg)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        for condition in list(self._waiting):
            with condition:
                condition.notify_all()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until told otherwise."""
    return FakeClock()


@pytest.fixture
def event() -> dict[str, Any]:
    """The fields of a valid event, as JSON has them."""
    return {
        "schema": 1,
        "id": "2748a95e-57c0-4be0-a297-2f8abe8d0123",
        "received_at": "2026-11-20T08:30:00.000000Z",
        "receiver": "shop/1.4.0@shop-1",
        "endpoint": "/hooks/stripe",
        "kind": "webhook",
        "sender": "acme-stripe",
        "verdict": "verified",
        "body_bytes": 512,
        "source_ip": "192.0.2.7",
        "source_ip_from": "socket",
        "sample_rate": 1.0,
    }


@pytest.fixture
def publish_with(clock: FakeClock) -> Iterator[Callable[..., Publisher]]:
    """Makes publishers on the fake clock, and ends their threads after the test."""
    made: list[Publisher] = []

    def make(transport: Any, **options: Any) -> Publisher:
        options = {"receiver": "shop/1.4.0@shop-1", "clock": clock, "linger": 0, **options}
        made.append(Publisher(transport, **options))
        return made[-1]

    yield make
    for publisher in made:
        if isinstance(go := getattr(publisher._transport, "go", None), threading.Event):
            go.set()
        publisher.close(0)
        if publisher._courier.thread is not None:
            clock.advance(1e6)
            publisher._courier.thread.join(PATIENCE_S)


@pytest.fixture
def wait_until() -> Callable[[Publisher, Callable[[], bool]], None]:
    """Waits until a publisher's thread has reached a state, told by its own notifications."""

    def wait(publisher: Publisher, reached: Callable[[], bool]) -> None:
        with publisher._courier.changed:
            assert publisher._courier.changed.wait_for(reached, PATIENCE_S), publisher.stats()

    return wait
