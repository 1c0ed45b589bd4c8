"""The worker on a real broker, beside bare fetching and other engines: events per CPU-second.

Each is measured in a process of its own, all threads together, when its tables have grown: a
checkpoint falls into none of them, and has figures of its own. Without a broker, or without
confluent-kafka and orjson, all of it is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.bench.figures import Figure

if TYPE_CHECKING:
    from detectors.config import Config
    from detectors.snapshot import State

PARTITIONS = 4
EVENTS = "callwatch.events"
SECONDS = 120
UNIT = "events per CPU-second"
PACKED = ("lz4", "zstd")
ROWS = (
    "raw", "rebuild", "records", "stock", "idiomatic", "quixstreams", "getmany", "limit",
    *(f"{what}-{codec}" for codec in PACKED for what in ("raw", "limit")),
)  # fmt: skip
COMPARED = [row for row in ROWS if row.partition("-")[0] in ("raw", "rebuild", "limit")]
TURNS = 3
"""The worker, its rebuild and its limit are measured so often, in turn; the best of each counts."""
NEEDS = ("confluent_kafka", "orjson")
"""Of the limit; and the first of them publishes, since the others take minutes for so much."""
PEERS = Path(".venv-peers/bin/python")
"""Where quixstreams is, which wants older versions of what callwatch uses; made by make."""

FEWER = {"rebuild": 4, "stock": 16, "idiomatic": 64, "quixstreams": 16}
"""Rows that are slow are measured with a part of the events: they have nothing more to learn."""
REBUILD = "a state made anew from events, all detectors"


class Meter:
    """Events per second of CPU time, of all threads.

    CPU time of the second half: what is learned and allocated at the start is paid for by then.
    """

    def __init__(self, wanted: int) -> None:
        self._seen = 0
        self._wanted = wanted
        self._from = (0, 0.0)
        self.per_second = 0.0

    def count(self, events: int) -> bool:
        """Note events that were taken; whether they were the last ones."""
        before, self._seen = self._seen, self._seen + events
        if before < self._wanted // 2 <= self._seen:
            self._from = (self._seen, process_time())
        if self._seen < self._wanted:
            return False
        events, started = self._from
        self.per_second = (self._wanted - events) / (process_time() - started)
        return True


WANTED = int(os.environ.get("CALLWATCH_BENCH_EVENTS", "1600000"))
SENDERS = 2_000
PER_SECOND = 2_000
START = datetime(2026, 3, 3, 12, tzinfo=UTC)


def values(
    wanted: int = WANTED,
    senders: int = SENDERS,
    per_second: int = PER_SECOND,
    start: datetime = START,
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of benign traffic, dense in time: about 650 bytes each, all different."""
    rng = random.Random(1)
    for number in range(wanted):
        sender = f"customer-{rng.randrange(senders):04}"
        at = (start + timedelta(seconds=number / per_second)).isoformat()[:19] + "Z"
        event = {
            "schema": 1, "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "received_at": at, "receiver": "api/1.4.0@api-1", "endpoint": "/hooks/stripe",
            "kind": "webhook", "sender": sender, "provider": "stripe", "verdict": "verified",
            "signature_ok": True, "key_id": "key-1", "signed_at": at,
            "event_type": rng.choice(["invoice.paid", "charge.succeeded", "customer.updated"]),
            "delivery_fp": rng.randbytes(16).hex(), "signature_fp": rng.randbytes(16).hex(),
            "body_fp": rng.randbytes(16).hex(), "body_bytes": int(rng.lognormvariate(7.5, 0.3)),
            "content_type": "application/json", "method": "POST", "status": 200, "attempt": 1,
            "source_ip": f"54.187.174.{rng.randrange(160, 190)}",
            "source_ip_from": "trusted_proxy", "user_agent": "Stripe/1.0", "asn": 16509,
        }  # fmt: skip
        yield sender.encode(), json.dumps(event, separators=(",", ":")).encode()


def make_topics(servers: str, partitions: int = PARTITIONS) -> None:
    """Make those that are missing."""
    from ingest.kafka_cluster import KafkaCluster
    from ingest.topics import create

    cluster = KafkaCluster([servers])
    create(cluster, partitions, replication=1)
    cluster.close()


def topic_of(row: str) -> str:
    """The topic that a row reads; those with packed batches hold the same events."""
    codec = row.partition("-")[2]
    return f"{EVENTS}.{codec}" if codec in PACKED else EVENTS


def _publish(servers: str) -> None:
    """Publish all events to the topic of each codec, in batches of 64 KiB."""
    from confluent_kafka import Producer
    from kafka import KafkaAdminClient

    make_topics(servers)
    admin = KafkaAdminClient(bootstrap_servers=servers)
    settings = {"num_partitions": PARTITIONS, "replication_factor": 1}
    admin.create_topics({topic_of(f"raw-{codec}"): settings for codec in PACKED})
    admin.close()
    batches = {"linger.ms": 20, "batch.size": 1 << 16, "queue.buffering.max.kbytes": 1 << 18}
    producers = [
        (topic_of(f"raw-{codec}"), Producer(
            {"bootstrap.servers": servers, "compression.type": codec, **batches}
        ))
        for codec in ("none", *PACKED)
    ]  # fmt: skip
    for key, value in values():
        for topic, producer in producers:
            while True:
                try:
                    producer.produce(topic, value, key)
                    break
                except BufferError:  # it holds as much as it may
                    producer.poll(0.1)
            producer.poll(0)
    for _, producer in producers:
        producer.flush()


async def worker(
    servers: str,
    meter: Meter,
    topic: str = EVENTS,
    config: Config | None = None,
    partitions: int = PARTITIONS,
) -> None:
    """The worker with all detectors, until the meter has enough."""
    from detectors.config import Config
    from detectors.engines.cores import ConfiguredCores, ConfiguredSources, EventsCore
    from detectors.engines.faust_app import run_worker
    from detectors.engines.faust_settings import WorkerSettings
    from detectors.engines.ports import Topics
    from detectors.engines.prepare import prepare
    from ingest.kafka_config import kafka_config

    class Counting(EventsCore):
        def feed(self, records: Any) -> Any:
            found = super().feed(records)
            if meter.count(len(records)):
                os.kill(os.getpid(), signal.SIGTERM)
            return found

    class Cores(ConfiguredCores):
        def new(self, partition: int) -> EventsCore:
            return Counting(super().new(partition).core)

        def restore(self, partition: int, state: State) -> EventsCore:
            return Counting(super().restore(partition, state).core)

    config = config or Config()
    cores, shared = Cores(config, partitions), ConfiguredSources(config, partitions)
    prepare(config, cores, shared)
    kafka = kafka_config(servers, environ={})
    group = f"bench-{uuid.uuid4().hex}"
    topics = Topics(events=topic)
    await run_worker(WorkerSettings(kafka, cores, shared, sources=1, group=group, topics=topics))


async def _rebuild(servers: str, meter: Meter) -> None:
    """A partition without a state: read beside the group, and walked, as its new owner does."""
    from detectors.config import Config
    from detectors.engines.cores import ConfiguredCores, ConfiguredSources
    from detectors.engines.log_reader import LogReader
    from detectors.engines.prepare import prepare

    config = Config()
    cores = ConfiguredCores(config, PARTITIONS)
    prepare(config, cores, ConfiguredSources(config, PARTITIONS))
    reader = LogReader({"bootstrap_servers": servers}, "bench-rebuild")
    for partition in range(PARTITIONS):
        core, bounds = cores.new(partition), reader.bounds(EVENTS, partition)
        for batch in reader.read(EVENTS, partition, bounds.begin, bounds.end):
            core.feed(batch)
            if meter.count(len(batch)):
                return


async def _stock(servers: str, meter: Meter) -> None:
    """Faust as it comes: an agent that takes batches and does nothing with them."""
    import faust

    with tempfile.TemporaryDirectory() as folder:
        app = faust.App(
            f"bench-{uuid.uuid4().hex}", broker=f"kafka://{servers}", web_enabled=False,
            consumer_auto_offset_reset="earliest", topic_allow_declare=False,
            topic_disable_leader=True, autodiscover=False, store="memory://", datadir=folder,
        )  # fmt: skip
        done = asyncio.Event()
        topic = app.topic(EVENTS, value_type=bytes, value_serializer="raw", key_type=bytes)

        async def take(stream: Any) -> None:
            async for values in stream.noack_take(1000, within=0.05):
                if meter.count(len(values)):
                    done.set()

        app.agent(topic)(take)
        await app.start()
        await done.wait()
        os._exit(tell(meter))  # the figure is there; how it stops is not measured


async def _getmany(servers: str, meter: Meter) -> None:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        EVENTS, bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    while not meter.count(sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))):
        pass
    await consumer.stop()


async def _limit(servers: str, meter: Meter, topic: str = EVENTS) -> None:
    """What a fetch in C and the fastest JSON decoder need, and nothing else."""
    from confluent_kafka import Consumer
    from orjson import loads

    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex,
         "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )  # fmt: skip
    consumer.subscribe([topic])
    while True:
        found = consumer.consume(2000, 0.5)
        for each in found:
            loads(each.value())
        if found and meter.count(len(found)):
            return


class Measured(NamedTuple):
    """What a process of its own found."""

    per_second: float
    peak_bytes: float
    """The most memory that it had at once."""


def _measure(row: str, servers: str) -> Measured | None:
    from tests.integration.pipeline import delete_topics

    delete_topics(servers, ["callwatch.state"])  # or a worker would have seen all of it
    make_topics(servers)
    python = str(PEERS) if row == "quixstreams" else sys.executable
    command = [python, "-W", "ignore", "-m", "tests.bench.engine", row, servers]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        logging.getLogger("bench").warning("%s: not done in %d s", row, SECONDS)
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith("per_second ")]
    if not lines:
        logging.getLogger("bench").warning("%s: no figure: %s", row, done.stderr[-2000:])
        return None
    return Measured(*map(float, lines[-1].split()[1:]))


def figures() -> list[Figure]:
    """Measure all that can be measured here."""
    from tests.kafka.broker import BrokerUnavailableError, running_broker

    if not has(*NEEDS):
        logging.getLogger("bench").warning("the engine is left out: it needs %s", ", ".join(NEEDS))
        return []
    rows = [row for row in ROWS if row != "quixstreams" or PEERS.exists()]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        try:
            broker = stack.enter_context(running_broker(Path(folder)))
        except BrokerUnavailableError as error:
            logging.getLogger("bench").warning("the engine is left out: %s", error)
            return []
        _publish(broker.servers)
        measured: dict[str, list[Measured | None]] = {row: [] for row in rows}
        for turn in range(TURNS):
            for row in rows:
                if turn == 0 or row in COMPARED:
                    measured[row].append(_measure(row, broker.servers))
    best = {row: max(filter(None, all_), default=None) for row, all_ in measured.items()}
    found = {row: None if one is None else one.per_second for row, one in best.items()}
    names = {
        "records": "the same, record by record through aiokafka",
        "stock": "stock Faust take, doing nothing",
        "idiomatic": "Faust with a Record and one Table update per event",
        "quixstreams": "quixstreams with one state update per event",
        "getmany": "aiokafka getmany, doing nothing",
        "limit": "confluent-kafka fetch and orjson.loads",
    }
    made = found["raw"]
    if made is None:
        return []
    figures = [
        Figure("worker on Kafka, all detectors", made, UNIT, names[row], value)
        for row, value in found.items()
        if row in names and value is not None
    ]
    if (rebuilt := found["rebuild"]) is not None:
        figures.append(Figure(REBUILD, rebuilt, UNIT, "worker on Kafka, all detectors", made))
    peaks = [one.peak_bytes for row in COMPARED if row[:3] == "raw" for one in measured[row] if one]
    figures.append(Figure("worker catching up, memory at its highest", max(peaks) / 2**20, "MiB"))
    for codec in PACKED:
        packed = found.get(f"raw-{codec}")
        if packed is not None:
            limit = found.get(f"limit-{codec}")
            name = names["limit"] if limit is not None else None
            figures.append(
                Figure(f"worker, a topic packed with {codec}", packed, UNIT, name, limit)
            )
    return figures


def has(*modules: str) -> bool:
    """Whether these can be imported."""
    return all(importlib.util.find_spec(each) for each in modules)


def _peak_bytes() -> int:
    """Return the most memory that this process had; getrusage would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def tell(meter: Meter) -> int:
    """Write the figure where `_measure` reads it; the process's exit code."""
    peak = _peak_bytes()
    sys.stdout.write(f"per_second {meter.per_second} {peak}\n")
    sys.stdout.flush()
    return 0


def main(arguments: Iterable[str]) -> int:
    """Measure one row in this process."""
    row, servers = arguments
    if row == "records":
        from detectors.engines import whole_fetch

        setattr(whole_fetch, "read_fetch", lambda *_: None)  # noqa: B010 - as for old formats
    from tests.bench import peers

    meter = Meter(WANTED // FEWER.get(row, 1))
    ways = {
        "stock": _stock, "idiomatic": peers.idiomatic, "quixstreams": peers.quixstreams,
        "getmany": _getmany, "rebuild": _rebuild,
    }  # fmt: skip
    if row in ways:
        asyncio.run(ways[row](servers, meter))
    else:
        way = _limit if row.startswith("limit") else worker
        asyncio.run(way(servers, meter, topic_of(row)))
    return tell(meter)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
