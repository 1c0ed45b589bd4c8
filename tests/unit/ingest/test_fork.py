"""Forking servers: a child publishes on its own, and what the parent queued stays the parent's."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ingest.kafka_transport import KafkaTransport
from ingest.outbox import Outbox
from ingest.publisher import Publisher
from ingest.records import Outcome, Record
from ingest.signatures.certificates import Certificates
from ingest.signatures.deliveries import MemoryStore
from ingest.signatures.paypal import PIN
from ingest.signatures.reading import Fault
from ingest.transports import JsonLinesTransport

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # from 3.12 on
]

Make = Callable[..., Publisher]


class HeldInParent(JsonLinesTransport):
    """Stops the parent's thread inside `send` until it is let go; a child passes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._parent = os.getpid()
        self.entered = threading.Event()
        self.go = threading.Event()

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        if os.getpid() == self._parent:
            self.entered.set()
            assert self.go.wait(20)
        return super().send(batch)


def _in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` returned True in a forked child."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_publishes_on_its_own(
    publish_with: Make, event: dict[str, Any], tmp_path: Path
) -> None:
    """Forked while the parent's thread sends and a lock is held, the child starts afresh."""
    path = tmp_path / "events.jsonl"
    transport = HeldInParent(path)
    publisher = publish_with(transport, report_every=None)
    publisher.publish(event)
    assert transport.entered.wait(20)

    def child() -> bool:
        fresh = publisher.stats().offered == 0 and publisher._courier.thread is None
        published = publisher.publish(event | {"sender": "child"})
        return fresh and published and publisher.flush() and publisher.stats().sent == 1

    holding, release = threading.Event(), threading.Event()

    def hold() -> None:  # a lock that nobody in the child would ever release
        with publisher._courier.changed:
            holding.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(20)
    ok = _in_child(child)
    release.set()
    holder.join()
    assert ok
    assert publisher.stats().offered == 1
    transport.go.set()
    assert publisher.flush()
    senders = [json.loads(line)["sender"] for line in path.read_text().splitlines()]
    assert senders == ["child", "acme-stripe"]


def test_parent_and_child_report_as_different_processes(publish_with: Make) -> None:
    """Reports tell processes apart, since each has totals of its own."""
    publisher = publish_with(HeldInParent(Path(os.devnull)))
    parent = publisher._process
    assert _in_child(lambda: publisher._process != parent)
    assert publisher._process == parent


def test_a_child_forgets_the_parents_producer() -> None:
    """A Kafka producer of the parent is neither used nor closed in a child."""

    class Producer:
        _closed = False

    transport = KafkaTransport("localhost:1")
    producer: Any = Producer()
    transport._producer = producer
    transport.after_fork()
    assert transport._producer is None
    assert producer._closed


def _held_at_fork(lock: threading.Lock, work: Callable[[], bool]) -> bool:
    """Whether `work` returned True in a child that was forked while another thread held a lock."""
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            holding.set()
            release.wait(20)

    def in_time() -> bool:
        done: list[bool] = []
        worker = threading.Thread(target=lambda: done.append(work()), daemon=True)
        worker.start()
        worker.join(4)
        return done == [True]

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert holding.wait(20)
        return _in_child(in_time)
    finally:
        release.set()
        holder.join()


def test_a_child_remembers_deliveries_under_a_lock_of_its_own() -> None:
    """What the parent saw is known, and nothing waits for a thread that is not there."""
    store = MemoryStore(clock=lambda: 0.0)
    store.set("a", "1", nx=True, ex=9)
    assert _held_at_fork(store._lock, lambda: store.set("a", "1", nx=True, ex=9) is None)
    assert _held_at_fork(store._lock, lambda: store.delete("a") == 1)


def test_a_child_fetches_certificates_under_a_lock_of_its_own() -> None:
    """Another thread of the parent may be fetching while it forks."""
    asked: list[str] = []

    def away(url: str) -> bytes:
        asked.append(url)
        raise OSError

    held = Certificates(PIN, away)
    url = "https://api.paypal.com/v1/notifications/certs/CERT-1"

    def child() -> bool:
        try:
            held.public_key(url, datetime(2026, 11, 21, tzinfo=UTC))
        except Fault:
            return asked == [url]
        return False

    assert _held_at_fork(held._lock, child)
    assert asked == []


def test_a_childs_account_starts_at_zero() -> None:
    """A fresh outbox holds and owes nothing."""
    outbox = Outbox(1, 1)
    assert (len(outbox), outbox.bytes, outbox.offered, outbox.sent, outbox.dropped) == (
        0,
        0,
        0,
        0,
        {},
    )
