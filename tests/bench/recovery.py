"""How long a worker takes that finds states of many senders, until it has caught up.

The states lie in `callwatch.state` as their owner left them, one for each partition, and behind
their offset stand events that were not walked yet, of the minutes after the states' last one.
Measured is the time on the clock, from the assignment of the partitions on: what a start costs
besides is another figure. Making so many fingerprints takes longer than what is measured;
`CALLWATCH_BENCH_DELIVERIES=1000000 python -m tests.bench.recovery` has fewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from detectors.config import Config, StreamSettings
from detectors.event import SECOND
from tests.bench.engine import EVENTS, Meter, make_topics, values, worker
from tests.bench.figures import Figure
from tests.bench.traffic import START, batches

PARTITIONS = 8
SENDERS = int(os.environ.get("CALLWATCH_BENCH_SENDERS", "1000000"))
DELIVERIES = int(os.environ.get("CALLWATCH_BENCH_DELIVERIES", "50000000"))
"""Fingerprints of units, and as many of deliveries, that the states remember; all partitions."""
WHAT = f"{SENDERS:,} senders, {DELIVERIES:,} deliveries"
MARGIN = 1.25
"""Of the fingerprints that a partition may remember; senders spread unevenly."""
BEHIND = 200_000
"""Events after the checkpoints: what `save_events` lets a worker be behind."""
SECONDS = 300


def _config() -> Config:
    """The defaults, but for as many fingerprints as are wanted."""
    usual = StreamSettings()
    wanted = int(MARGIN * DELIVERIES / PARTITIONS)
    return Config(stream=replace(usual, max_deliveries=max(usual.max_deliveries, wanted)))


def _start() -> datetime:
    """When the events behind the states begin: a minute after their last."""
    minutes = 2 + DELIVERIES / SENDERS
    return datetime.fromtimestamp(START / SECOND, UTC) + timedelta(minutes=minutes)


def _leave_states(servers: str) -> int:
    """Write a checkpoint of each partition; the bytes of all."""
    from kafka import KafkaProducer

    from detectors.core import Core
    from detectors.engines.state_topic import Draft, checkpoint_records, claim_record

    config = _config()
    size = 0
    producer = KafkaProducer(bootstrap_servers=servers, max_request_size=1 << 20)
    for partition in range(PARTITIONS):
        core = Core(config, partition, partitions=PARTITIONS)
        senders = SENDERS // PARTITIONS
        for batch in batches(config, senders, 0, seed=partition):
            core.feed_sorted(batch)
        more = DELIVERIES // PARTITIONS - senders
        for batch in batches(config, senders, max(more, 0), first=senders, seed=100 + partition):
            if more > 0:
                core.feed_sorted(batch)
        draft = Draft(0, config.hash, 1, core.copied(whole=True).pieces())
        records = [
            claim_record(partition, "bench"),
            *checkpoint_records(partition, "bench", 1, draft),
        ]
        for record in records:
            size += len(record.value or b"")
            sent = producer.send("callwatch.state", record.value, record.key, partition=partition)
        sent.get(60)
    producer.close()
    return size


def figures() -> list[Figure]:
    """Measure one recovery; nothing without a broker."""
    from kafka import KafkaProducer

    from tests.kafka.broker import BrokerUnavailableError, running_broker

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(running_broker(Path(name) / "kafka"))
        except BrokerUnavailableError as error:
            logging.getLogger("bench").warning("recovery is left out: %s", error)
            return []
        make_topics(broker.servers, PARTITIONS)
        producer = KafkaProducer(bootstrap_servers=broker.servers, linger_ms=20)
        for key, value in values(BEHIND, start=_start()):
            producer.send(EVENTS, value, key)
        producer.close()
        size = _leave_states(broker.servers)
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.recovery", broker.servers]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    said = json.loads(done.stdout.splitlines()[-1])
    return [
        Figure(f"restored, {WHAT}", said["restored"], "s"),
        Figure(f"and {BEHIND:,} events caught up", said["caught_up"], "s"),
        Figure("states on the topic", size / 1e6, "MB"),
        Figure("memory at its highest", said["memory"] / 1e6, "MB"),
    ]


async def _work(servers: str) -> dict[str, float]:
    from detectors.engines import share

    times: dict[str, float] = {}

    class Timed(share.Share):
        def assign(self, partitions: Any, generation: int) -> None:
            times.setdefault("assigned", monotonic())
            super().assign(partitions, generation)

        def _restored(self, ready: Any) -> None:
            super()._restored(ready)
            if len(self.places) == PARTITIONS + 1:  # that of the sources
                times.setdefault("restored", monotonic())

    class Last(Meter):
        def count(self, events: int) -> bool:
            is_last = super().count(events)
            if is_last:
                times["caught_up"] = monotonic()
            return is_last

    from detectors.engines import faust_app

    setattr(faust_app, "Share", Timed)  # noqa: B010 - to see it from outside
    await worker(servers, Last(BEHIND), config=_config(), partitions=PARTITIONS)
    found = {name: times[name] - times["assigned"] for name in ("restored", "caught_up")}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found | {"memory": most * (1 if sys.platform == "darwin" else 1024)}


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.stdout.write(json.dumps(asyncio.run(_work(sys.argv[1]))) + "\n")
    else:
        for figure in figures():
            sys.stdout.write(f"{figure.line()}\n")
