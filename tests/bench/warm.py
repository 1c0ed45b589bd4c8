"""A restore from the topic and with the local cache: 200,000 senders in one partition, on a Kafka.

Without a broker it is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from kafka import KafkaProducer

from detectors.config import Config
from detectors.core import Core
from detectors.engines.cores import ConfiguredCores, ConfiguredSources
from detectors.engines.log_reader import LogReader, Readers
from detectors.engines.ports import Outside, Topics
from detectors.engines.state_cache import StateCache
from detectors.engines.state_log import StateLog
from detectors.engines.state_topic import EVENTS
from detectors.snapshot import merge
from tests.bench.figures import Figure
from tests.bench.traffic import batches

SENDERS = 200_000
PER_SECOND = 10_000
EVERY = 5
CHANGES = 12
"""Checkpoints behind the snapshot: a minute of them."""
ROUNDS = 3


class _Landed(NamedTuple):
    offset: int


class _Times(NamedTuple):
    read: float
    """Seconds until the checkpoint is in memory, verified and unpacked."""
    whole: float
    """Seconds until the core can walk on."""


class _Setting:
    """A topic of states, and what reads and writes it."""

    def __init__(self, servers: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=servers, linger_ms=5)
        self._readers = Readers(
            lambda: LogReader({"bootstrap_servers": servers}, "bench-warm"), most=1
        )
        self.config = Config()

    def log(self, cache: StateCache | None) -> StateLog:
        """The log of states of partition 0, for an owner of its own."""
        cores, sources = ConfiguredCores(self.config), ConfiguredSources(self.config, 1)
        threads = ThreadPoolExecutor(2)
        send: Any = self._send
        return StateLog(
            0, EVENTS, Outside(Topics(), cores, sources, 1, send, self._readers, threads, cache)
        )

    def close(self) -> None:
        self._readers.close()
        self._producer.close()

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None, _: object
    ) -> Awaitable[_Landed]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Landed] = loop.create_future()
        sent = self._producer.send(topic, value, key=key, partition=partition)

        def landed(metadata: Any) -> None:
            loop.call_soon_threadsafe(done.set_result, _Landed(metadata.offset))

        sent.add_callback(landed)
        return done


async def _write(setting: _Setting, cache: StateCache) -> tuple[Core, int]:
    """A snapshot and what changes in a minute; the core, and bytes of the records."""
    core = Core(setting.config)
    for batch in batches(setting.config, SENDERS, 0):
        core.feed_sorted(batch)
    log = setting.log(cache)
    await log.take_over()
    size = 0
    for number in range(1 + CHANGES):
        packed = await log.pack(number, setting.config.hash, core.copied(whole=number == 0))
        size += packed.size
        await log.write(packed)
        if number < CHANGES:
            first = SENDERS + number * PER_SECOND * EVERY
            for batch in batches(
                setting.config, SENDERS, PER_SECOND * EVERY, first=first, seed=number
            ):
                core.feed_sorted(batch)
    if log._keeping is not None:
        await log._keeping
    return core, size


async def _restore(setting: _Setting, cache: StateCache | None, wanted: str) -> _Times:
    started = perf_counter()
    found = await setting.log(cache).take_over()
    read = perf_counter() - started
    assert found.checkpoint is not None
    state = merge(found.checkpoint.snapshot, found.checkpoint.changes)
    core = Core.restore(setting.config, state)
    whole = perf_counter() - started
    if core.digest() != wanted:
        msg = "what was restored is not what was saved"
        raise AssertionError(msg)
    return _Times(read, whole)


async def _measured(servers: str, folder: Path) -> list[Figure]:
    setting, cache = _Setting(servers), StateCache(folder)
    try:
        core, size = await _write(setting, cache)
        wanted = core.digest()
        times: dict[bool, list[_Times]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for warm, found in times.items():
                found.append(await _restore(setting, cache if warm else None, wanted))
    finally:
        setting.close()
        cache.close()
    logging.getLogger("bench").info("%.1f MB of checkpoints", size / 1e6)
    topic, warm_ = (
        _Times(min(t.read for t in times[w]), min(t.whole for t in times[w])) for w in times
    )
    name = "from the topic"
    return [
        Figure("local cache, checkpoint read", warm_.read, "s", name, topic.read),
        Figure("local cache, state restored", warm_.whole, "s", name, topic.whole),
        Figure("checkpoints that are read, 200,000 senders", size / 1e6, "MB"),
    ]


def figures() -> list[Figure]:
    """Measure restores, the least of some each."""
    from ingest.kafka_cluster import KafkaCluster
    from ingest.topics import create
    from tests.kafka.broker import BrokerUnavailableError

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            servers = stack.enter_context(_broker(folder / "kafka"))
        except BrokerUnavailableError as error:
            logging.getLogger("bench").warning("restores are left out: %s", error)
            return []
        cluster = KafkaCluster([servers])
        create(cluster, 1, replication=1)
        cluster.close()
        return asyncio.run(_measured(servers, folder / "cache"))


@contextlib.contextmanager
def _broker(folder: Path) -> Iterator[str]:
    """A broker whose topics this may make, and delete in the end."""
    from tests.integration.pipeline import delete_topics
    from tests.kafka.broker import running_broker

    with running_broker(folder) as broker:
        delete_topics(broker.servers)
        try:
            yield broker.servers
        finally:
            delete_topics(broker.servers)


if __name__ == "__main__":
    for figure in figures():
        print(figure)  # noqa: T201 - a command of its own
