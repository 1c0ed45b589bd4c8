"""What attaching callwatch adds to a receiver's answers, beside the bare application.

Requests come one by one at 2,000 a second, bare and watched ones in turn, so that both meet the
same machine; of several short rounds the quietest counts, as others may use the machine, too. The
publisher's thread works meanwhile; its transport counts and throws away, but for the last figures,
where a broker is at hand (see tests/kafka) and takes what callwatch, and what kafka-python called
directly in the handler, send.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.kafka_cluster import KafkaCluster
from ingest.kafka_transport import KafkaTransport
from ingest.publisher import Publisher
from ingest.receivers import describe, record
from ingest.receivers.asgi import CallwatchMiddleware
from ingest.records import Outcome, Record
from ingest.schema import check_event, dump_event
from ingest.topics import create
from ingest.transports import MemoryTransport
from tests.bench.figures import Figure
from tests.kafka.broker import BrokerUnavailableError, running_broker

ROUNDS = 5
REQUESTS = 1_000
PER_SECOND = 2_000
PEPPER = bytes(range(16))
HEADERS = [
    (b"host", b"hooks.example.com"),
    (b"user-agent", b"Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
    (b"content-type", b"application/json; charset=utf-8"),
    (b"content-length", b"4096"),
    (b"accept", b"*/*; q=0.5, application/xml"),
    (b"cache-control", b"no-cache"),
    (b"stripe-signature", b"t=1492774577,v1=" + b"5257a869e7ecebeda32affa62cdca3fa51cad7e7" * 2),
    (b"accept-encoding", b"gzip"),
    (b"x-request-id", b"6b1f8c9e-8d1e-4e3c-9d3a-6f2f6d9f0a11"),
    (b"x-forwarded-for", b"203.0.113.9"),
]
Act = Callable[[], Awaitable[None]]


class Discard(MemoryTransport):
    """Takes everything and keeps nothing."""

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        """Say that all was sent."""
        return [Outcome.SENT] * len(batch)


@dataclass(frozen=True)
class Latency:
    """Microseconds."""

    p50: float
    p99: float


async def paced(acts: Sequence[Act], requests: int = REQUESTS) -> list[Latency]:
    """Run each act in turn, at PER_SECOND for each of them; the latency of each."""
    taken: list[list[int]] = [[] for _ in acts]
    step = 1_000_000_000 // (PER_SECOND * len(acts))
    due = time.perf_counter_ns()
    for _ in range(requests):
        for act, into in zip(acts, taken, strict=True):
            due += step
            if (left := due - time.perf_counter_ns()) > 0:
                time.sleep(left / 1e9)  # the host waits, as a server does: others may run
            started = time.perf_counter_ns()
            await act()
            into.append(time.perf_counter_ns() - started)
    return [_latency(one) for one in taken]


def _latency(taken: list[int]) -> Latency:
    taken.sort()
    return Latency(taken[len(taken) // 2] / 1000, taken[len(taken) * 99 // 100] / 1000)


def quietest(rounds: Sequence[Sequence[Latency]]) -> list[Latency]:
    """Of each act the least p50 and the least p99 of all rounds."""
    return [
        Latency(min(one.p50 for one in act), min(one.p99 for one in act))
        for act in zip(*rounds, strict=True)
    ]


def _request(app: Any, body: bytes) -> Act:
    parts = [body[at : at + 65_536] for at in range(0, len(body), 65_536)] or [b""]

    async def act() -> None:
        scope = {
            "type": "http", "method": "POST", "path": "/hooks/acme", "raw_path": b"/hooks/acme",
            "query_string": b"", "scheme": "https", "client": ("192.0.2.7", 4711),
            "headers": list(HEADERS),
        }  # fmt: skip
        left = iter(parts)
        passed = 0

        async def receive() -> dict[str, Any]:
            nonlocal passed
            passed += 1
            return {"type": "http.request", "body": next(left), "more_body": passed < len(parts)}

        async def send(message: Any) -> None: ...

        await app(scope, receive, send)

    return act


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer 204."""
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _measured(acts: Sequence[Act], publisher: Publisher, requests: int = REQUESTS) -> list[Latency]:
    rounds = []
    for _ in range(ROUNDS):
        rounds.append(asyncio.run(paced(acts, requests)))
        publisher.flush(10)
    stats = publisher.stats()
    assert stats.offered == stats.sent, stats  # nothing was cheap because it was dropped
    return quietest(rounds)


def _prepared() -> Any:
    os.environ.setdefault("CALLWATCH_PEPPER", PEPPER.hex())
    fields = describe("verified", source_ip="192.0.2.7", body=b"{}", sender="acme", endpoint="/h")
    fields = {"schema": 1, "id": "2748a95e-57c0-4be0-a297-2f8abe8d0123", **fields}
    return check_event(fields)


def figures() -> list[Figure]:
    """Measure `record`, the middleware with small and large bodies, and kafka-python directly."""
    publisher = Publisher(Discard(), receiver="bench/1@a", max_events=10**6, max_bytes=2**30)
    event = _prepared()

    async def recorded() -> None:
        record(event, publisher)

    async def nothing() -> None: ...

    one, none = _measured([recorded, nothing], publisher)
    found = [
        Figure("record(), prepared event, p50", one.p50, "us", "an empty call", none.p50),
        Figure("record(), prepared event, p99", one.p99, "us", "an empty call", none.p99),
    ]
    given: Any = {"endpoints": ["/hooks/{sender}"], "pepper": PEPPER, "receiver": "bench/1@a"}
    watched = CallwatchMiddleware(bare, publisher=publisher, **given)
    for name, size in (("no body", 0), ("4 KiB", 4_096)):
        body = os.urandom(size)
        app, alone = _measured([_request(watched, body), _request(bare, body)], publisher)
        label = f"middleware adds, {name}"
        found += [
            Figure(f"{label}, p50", app.p50 - alone.p50, "us", "the answer alone", alone.p50),
            Figure(f"{label}, p99", app.p99 - alone.p99, "us", "the answer alone", alone.p99),
        ]
    large = os.urandom(16 * 65_536)
    app, alone = _measured([_request(watched, large), _request(bare, large)], publisher, 50)
    found.append(Figure("middleware adds, per 64 KiB of a body", (app.p50 - alone.p50) / 16, "us"))
    publisher.close(10)
    return found + _with_a_broker(given)


def _with_a_broker(given: dict[str, Any]) -> list[Figure]:
    """The same with a real broker, beside `KafkaProducer.send` in the handler."""
    from kafka import KafkaProducer

    with tempfile.TemporaryDirectory() as folder, ExitStack() as until_the_end:
        try:
            broker = until_the_end.enter_context(running_broker(Path(folder)))
        except BrokerUnavailableError:
            return []
        cluster = KafkaCluster([broker.servers])
        create(cluster, partitions=4, replication=1)
        cluster.close()
        publisher = Publisher(
            KafkaTransport(broker.servers), receiver="bench/1@a", max_events=10**6
        )
        producer = KafkaProducer(bootstrap_servers=broker.servers, api_version=(3, 0))
        event = _prepared()

        async def direct(scope: Any, receive: Any, send: Any) -> None:
            await bare(scope, receive, send)
            producer.send("callwatch.events", key=b"acme", value=dump_event(event))

        watched = CallwatchMiddleware(bare, publisher=publisher, **given)
        acts = [_request(app, b"x" * 4_096) for app in (watched, direct, bare)]
        ours, theirs, alone = _measured(acts, publisher)
        producer.close(timeout=5)
        publisher.close(10)
        beside = "KafkaProducer.send in the handler"
        return [
            Figure("middleware adds, with a broker, p50", ours.p50 - alone.p50, "us", beside,
                   theirs.p50 - alone.p50),
            Figure("middleware adds, with a broker, p99", ours.p99 - alone.p99, "us", beside,
                   theirs.p99 - alone.p99),
        ]  # fmt: skip
