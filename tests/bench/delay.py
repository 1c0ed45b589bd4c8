"""From the publishing of an event to the alert that it opens on the topic, at a steady pace.

A delivery that the receiver accepts a second time opens an alert at that very event. Its delay is
the broker's time of the alert (`LogAppendTime`, whole milliseconds) less this machine's when the
publisher was given the event: so batching in the producer, both ways through the broker, and the
worker's checkpoints are in it. Publisher, broker and worker share the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, process_time, sleep, time

import numpy as np

from tests.bench.engine import EVENTS, values
from tests.bench.figures import Figure

PER_SECOND = 10_000
PARTITIONS = 4
"""As `callwatch size` has it for this pace: one worker."""
SENDERS = 10_000
WARM_SECONDS = 10
SECONDS = int(os.environ.get("CALLWATCH_BENCH_SECONDS", "60"))
ATTACKS_EVERY = 0.05
"""Seconds between events that open an alert."""
ALERTS = "callwatch.alerts"
LINGER_MS = 2


def _events() -> tuple[list[tuple[bytes, bytes]], dict[int, str]]:
    """Events in the order of publishing; which of them open an alert, by their sender."""
    total = PER_SECOND * (WARM_SECONDS + SECONDS)
    events = list(values(total, SENDERS, PER_SECOND))
    rng = random.Random(2)
    opening = {}
    for number in range(SECONDS * round(1 / ATTACKS_EVERY)):
        sender = f"twice-{number:05}"
        at = round((WARM_SECONDS + number * ATTACKS_EVERY) * PER_SECOND)
        event = json.loads(events[at][1]) | {"sender": sender, "duplicate": False}
        for place in (at, at + PER_SECOND // 100):  # the second 10 ms later
            own = {"id": str(uuid.UUID(int=rng.getrandbits(128), version=4))}
            own |= {"signature_fp": rng.randbytes(16).hex()}
            value = json.dumps(event | own, separators=(",", ":")).encode()
            events[place] = (sender.encode(), value)
        opening[place] = sender
    return events, opening


def _publish(
    servers: str, events: list[tuple[bytes, bytes]], opening: dict[int, str]
) -> dict[str, float]:
    """Publish at the pace; by sender, when the event that opens its alert was handed over."""
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": LINGER_MS, "partitioner": "murmur2_random"}
    )
    given = {}
    started = monotonic()
    for place, (key, value) in enumerate(events):
        while (wait := started + place / PER_SECOND - monotonic()) > 0:
            sleep(min(wait, 0.001))
        if place in opening:
            given[opening[place]] = time()
        producer.produce(EVENTS, value, key)
        if place % 100 == 0:
            producer.poll(0)
    producer.flush(30)
    late = monotonic() - started - len(events) / PER_SECOND
    if late > 1:
        logging.getLogger("bench").warning("published %.1f s late: the machine is busy", late)
    return given


def _opened(servers: str) -> dict[str, float]:
    """When the broker got the first alert of each sender, seconds."""
    from detectors.engines.log_reader import LogReader

    reader = LogReader({"bootstrap_servers": servers}, "bench-delay")
    found: dict[str, float] = {}
    for partition in range(PARTITIONS):
        bounds = reader.bounds(ALERTS, partition)
        for batch in reader.read(ALERTS, partition, bounds.begin, bounds.end):
            for record in batch:
                alert = json.loads(record.value or b"{}")
                if alert["status"] == "open" and alert["sender"]:
                    found.setdefault(alert["sender"], record.time_us / 1e6)
    reader.close()
    return found


def _make_topics(servers: str) -> None:
    """As ever, but with the broker's time on alerts."""
    from ingest.kafka_cluster import KafkaCluster
    from ingest.topics import TOPICS, create

    cluster = KafkaCluster([servers])
    for topic in TOPICS:
        if topic.name == ALERTS:
            settings = {**topic.settings, "message.timestamp.type": "LogAppendTime"}
            cluster.create(replace(topic, settings=settings), PARTITIONS, 1)
    create(cluster, PARTITIONS, replication=1)
    cluster.close()


@contextlib.contextmanager
def _working(servers: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    ready = folder / "ready"
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.delay", servers, str(ready)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        deadline = monotonic() + 120
        while not ready.exists():
            if process.poll() is not None or monotonic() > deadline:
                msg = "the worker does not get ready"
                raise RuntimeError(msg)
            sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def figures() -> list[Figure]:
    """Measure delays and the worker's CPU at the pace; nothing without a broker."""
    from tests.bench.engine import has
    from tests.kafka.broker import BrokerUnavailableError, running_broker

    if not has("confluent_kafka"):
        return []
    events, opening = _events()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        try:
            broker = stack.enter_context(running_broker(folder / "kafka"))
        except BrokerUnavailableError as error:
            logging.getLogger("bench").warning("delays are left out: %s", error)
            return []
        _make_topics(broker.servers)
        process = stack.enter_context(_working(broker.servers, folder))
        given = _publish(broker.servers, events, opening)
        sleep(2)
        process.terminate()
        said = json.loads(process.communicate(timeout=30)[0].splitlines()[-1])
        opened = _opened(broker.servers)
    if missing := given.keys() - opened.keys():
        msg = f"{len(missing)} of {len(given)} events opened no alert"
        raise AssertionError(msg)
    delays = 1e3 * np.array([opened[sender] - at for sender, at in given.items()])
    at = f"at {PER_SECOND:,} events a second"
    return [
        Figure(f"publish to alert, {at}, p50", float(np.quantile(delays, 0.5)), "ms"),
        Figure(f"publish to alert, {at}, p99", float(np.quantile(delays, 0.99)), "ms"),
        Figure(f"worker, {at}", 100 * said["cpu"] / said["wall"], "% of a core"),
        Figure(
            f"checkpoints, {at}: copying and packing",
            100 * said["checkpoints"] / said["wall"],
            "% of a core",
        ),
        Figure(
            "the same, with sending",
            100 * (said["checkpoints"] + said["sending"]) / said["wall"],
            "% of a core",
        ),
        Figure("seconds between two of them", said["wall"] / said["count"], "s"),
    ]


async def _work(servers: str, ready: Path) -> None:
    """A worker until SIGTERM; then what it took from its first checkpoint of changes to its last.

    Each checkpoint is charged to the time until the next, which is as long as it was expensive.
    """
    from detectors.config import Config
    from detectors.engines import assigned, share
    from detectors.engines.cores import ConfiguredCores, ConfiguredSources
    from detectors.engines.faust_app import run_worker
    from detectors.engines.faust_settings import WorkerSettings
    from detectors.engines.pace import Pace
    from detectors.engines.prepare import prepare
    from detectors.engines.state_log import Packed, StateLog
    from ingest.kafka_config import kafka_config

    saves: list[_Save] = []

    class Noted(Pace):
        def begin(self) -> None:
            super().begin()
            saves.append(_Save(monotonic(), process_time()))

        def end(self, cost: float) -> None:
            super().end(cost)
            saves[-1].cost = cost

    class Weighed(StateLog):
        async def write(self, packed: Packed) -> None:
            saves[-1].size += packed.size
            await super().write(packed)

    setattr(share, "Pace", Noted)  # noqa: B010 - a worker has no setting for it
    setattr(assigned, "StateLog", Weighed)  # noqa: B010
    config = Config()
    cores, shared = ConfiguredCores(config, PARTITIONS), ConfiguredSources(config, PARTITIONS)
    prepare(config, cores, shared)
    kafka = kafka_config(servers, environ={})
    group = f"bench-{uuid.uuid4().hex}"
    settings = WorkerSettings(kafka, cores, shared, sources=1, group=group, ready_file=ready)
    await run_worker(settings)
    # The first with something in it holds snapshots of all partitions; behind the last is the end.
    working = [each for each in saves if each.cost > 0][1:]
    said = {
        "wall": working[-1].began - working[0].began,
        "cpu": working[-1].cpu - working[0].cpu,
        "checkpoints": sum(each.cost for each in working[:-1]),
        "sending": sum(each.size for each in working[:-1]) * await _per_byte(servers),
        "count": len(working) - 1,
    }
    sys.stdout.write(json.dumps(said) + "\n")


@dataclass
class _Save:
    """A checkpoint of all partitions: when it began, on both clocks, seconds it cost, its bytes."""

    began: float
    cpu: float
    cost: float = 0.0
    size: int = 0


async def _per_byte(servers: str) -> float:
    """CPU-seconds that sending a byte of a checkpoint takes, by the driver that Faust has."""
    from aiokafka import AIOKafkaProducer

    from detectors.engines.state_topic import CHUNK_BYTES

    producer = AIOKafkaProducer(bootstrap_servers=servers, max_request_size=1 << 20)
    await producer.start()
    chunk, count = random.Random(3).randbytes(CHUNK_BYTES), 64
    for _ in range(2):  # the first connects
        started = process_time()
        for _ in range(count):
            await producer.send_and_wait("callwatch.state", chunk, b"bench", partition=0)
        seconds = process_time() - started
    await producer.stop()
    return seconds / count / len(chunk)


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], Path(sys.argv[2])))
