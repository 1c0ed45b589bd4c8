"""The pipeline as its users run it: topics, a publisher, worker and router processes."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from alerts.alert import Alert
from detectors.config import Config
from detectors.core import Core
from detectors.engines.log_reader import LogReader, LogRecord
from detectors.engines.state_topic import Checkpoint, newest_checkpoint
from detectors.snapshot import State, merge, read
from ingest.kafka_cluster import KafkaCluster
from ingest.publisher import Publisher
from ingest.topics import LOOKED_AT, Existing, create
from ingest.transports import KafkaTransport

T = TypeVar("T")

PARTITIONS = 4
EVENTS, REJECTED = "callwatch.events", "callwatch.events.rejected"
ALERTS, STATE = "callwatch.alerts", "callwatch.state"
SOURCES = "callwatch.sources"
PATIENCE = 90.0  # seconds; generous, since nothing waits for it unless something is broken


def wait_until(what: str, condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What the condition gave when it was true; fails with `what` after the deadline."""
    deadline = monotonic() + seconds
    while not (result := condition()):
        if monotonic() > deadline:
            msg = f"not within {seconds:g} s: {what} (last seen: {result!r})"
            raise AssertionError(msg)
        sleep(0.05)
    return result


class Process:
    """A command of callwatch that runs beside the test; its output is kept in a file."""

    def __init__(self, command: str, arguments: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "callwatch", command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
            )

    @property
    def pid(self) -> int:
        """Its number, for what the system says of it."""
        return self._process.pid

    def text(self) -> str:
        """What it has written up to now."""
        return self.log.read_text()

    def check(self) -> Self:
        """Fail, with what it wrote, if it has ended."""
        if self._process.poll() is not None:
            msg = f"ended with code {self._process.returncode}:\n{self.text()[-4000:]}"
            raise AssertionError(msg)
        return self

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def terminate(self, within: float = 10.0, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code, which must come in time."""
        self._process.send_signal(number)
        return self.ended(within)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(10)

    def ended(self, within: float) -> int:
        """The exit code; fails if it does not end in time."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            msg = f"did not end within {within:g} s:\n{self.text()[-4000:]}"
            raise AssertionError(msg) from None

    def stop(self) -> None:
        """Clean up after a test, whatever its outcome."""
        if self._process.poll() is None:
            self.kill()


class Pipeline:
    """Fresh topics on a broker, a consumer group of its own, and the processes of one test."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.servers = servers
        self.group = f"callwatch-test-{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self._cleaning = ExitStack()
        self._reader = LogReader({"bootstrap_servers": servers}, self.group)
        self._count = 0

    def __enter__(self) -> Self:
        delete_topics(self.servers)
        self.make()
        self.left()  # a new broker now has its offsets topic, and can coordinate groups
        return self

    def __exit__(self, *_: object) -> None:
        self._cleaning.close()
        self._reader.close()
        delete_topics(self.servers)

    def worker(self, *arguments: str, checkpoint_every: float = 0.5) -> Process:
        """Start a worker of this group."""
        every = ["--checkpoint-every", str(checkpoint_every)]
        servers = ["--bootstrap-servers", self.servers]
        return self._start("worker", *servers, "--group", self.group, *every, *arguments)

    def route(self, out: Path) -> None:
        """Let the router write all alerts that are there into a file."""
        where = ["--bootstrap-servers", self.servers, "--out", str(out), "--group", self.group]
        router = self._start("route", *where, "--until-idle", "1")
        assert router.ended(60) == 0, router.text()

    def topics(self, command: str, *arguments: str) -> Process:
        """Start `callwatch topics ...`."""
        return self._start("topics", command, *arguments, "--bootstrap-servers", self.servers)

    def _start(self, command: str, *arguments: str) -> Process:
        self._count += 1
        log = self.folder / f"{command}-{self._count}.log"
        process = Process(command, arguments, log)
        self._cleaning.callback(process.stop)
        return process

    def publish(self, events: Iterable[dict[str, Any]]) -> None:
        """Publish as a receiver does, and wait until all are on the topic; no reports."""
        transport = KafkaTransport(self.servers)
        publisher = Publisher(transport, receiver="test/1@here", report_every=None)
        offered = 0
        for event in events:
            offered += 1
            if offered % 5000 == 0:  # a receiver has pauses; its queue is bounded
                assert publisher.flush(30)
            assert publisher.publish(event), publisher.stats()
        assert publisher.flush(30)
        publisher.close(5)
        assert publisher.stats().sent == offered

    def produce(self, partition: int, values: Iterable[bytes | None]) -> None:
        """Put raw bytes onto a partition of the events, as no publisher would."""
        with closing(KafkaProducer(bootstrap_servers=self.servers)) as producer:
            sent = [producer.send(EVENTS, each, key=b"k", partition=partition) for each in values]
            for each in sent:
                each.get(30)

    def batches(self, topic: str, partition: int) -> Iterator[list[LogRecord]]:
        """All records of a partition, as they are fetched."""
        bounds = self._reader.bounds(topic, partition)
        return self._reader.read(topic, partition, bounds.begin, bounds.end)

    def records(self, topic: str, partition: int) -> list[LogRecord]:
        """All records of a partition."""
        return [record for batch in self.batches(topic, partition) for record in batch]

    def explode(self, partition: int) -> None:
        """Put a batch onto a partition of the events that becomes 80 MB when it is unpacked."""
        with closing(
            KafkaProducer(
                bootstrap_servers=self.servers, compression_type="gzip", max_request_size=1 << 27
            )
        ) as producer:
            producer.send(EVENTS, bytes(80 << 20), key=b"k", partition=partition).get(60)

    def existing(self, names: Sequence[str] = LOOKED_AT) -> dict[str, Existing]:
        """The topics of callwatch, as the broker has them."""
        with closing(KafkaCluster([self.servers])) as cluster:
            return cluster.existing(names)

    def ends(self, topic: str) -> int:
        """How many offsets of a topic have been given, over all partitions."""
        count = self._reader.partitions(topic) or 0
        return sum(self._reader.bounds(topic, each).end for each in range(count))

    def left(self, topic: str = EVENTS) -> int:
        """How many records of the topic are not yet committed by the group."""
        partitions = self._reader.partitions(topic) or 0
        found = [self._reader.bounds(topic, each) for each in range(partitions)]
        return sum(each.end - (each.committed or each.begin) for each in found)

    def wait_until_done(
        self, *workers: Process | Callable[[], object], seconds: float = PATIENCE
    ) -> None:
        """Wait until every event and what they told is committed.

        Meanwhile these workers run, or whatever else is called holds.
        """

        def done() -> bool:
            for each in workers:
                each.check() if isinstance(each, Process) else each()
            return self.left() == 0 and self.left(SOURCES) == 0

        wait_until("all events committed", done, seconds)

    def alerts(self) -> list[bytes]:
        """The values on the alerts topic, repeats included."""
        found = [self.records(ALERTS, each) for each in range(PARTITIONS)]
        for record in (record for partition in found for record in partition):
            assert record.key == Alert.from_json(record.value or b"").id.encode()
        return [record.value or b"" for partition in found for record in partition]

    def rejected(self) -> list[tuple[int, str, str, bytes]]:
        """Offset, reason, message and value of the rejected events, by offset."""
        with closing(KafkaConsumer(bootstrap_servers=self.servers)) as consumer:
            where = TopicPartition(REJECTED, 0)
            consumer.assign([where])
            consumer.seek_to_beginning(where)
            found, end = [], consumer.end_offsets([where])[where]
            while consumer.position(where) < end:
                found += consumer.poll(timeout_ms=500).get(where, [])
        headers = [dict(record.headers) for record in found]
        return sorted(
            (int(h["offset"]), h["reason"].decode(), h["message"].decode(), record.value)
            for h, record in zip(headers, found, strict=True)
        )

    def checkpoint(self, partition: int) -> Checkpoint[State]:
        """The newest checkpoint of a partition, in one piece."""
        records = [(each.key, each.value) for each in self.records(STATE, partition)]
        found = newest_checkpoint(partition, records, read)
        given = found.checkpoint
        assert given is not None, found.faults
        return replace(given, snapshot=merge(given.snapshot, given.changes), changes=())

    def undisturbed(self, config: Config) -> list[Core]:
        """For each partition a core that walked its events in one go."""
        cores = []
        for each in range(PARTITIONS):
            records, core = self.records(EVENTS, each), Core(config, each, partitions=PARTITIONS)
            core.feed_log(
                [record.value or b"" for record in records],
                [record.offset for record in records],
                [record.time_us for record in records],
            )
            cores.append(core)
        return cores

    @contextmanager
    def away(self) -> Iterator[None]:
        """Ask the broker for nothing; each refused attempt would leave a socket behind."""
        self._reader.close()
        yield
        self._reader = LogReader({"bootstrap_servers": self.servers}, self.group)

    def empty(self, topic: str) -> None:
        """Take away all that a topic holds."""
        delete_topics(self.servers, [topic])
        self.make()

    def make(self, partitions: int = PARTITIONS) -> None:
        """Create the topics that are missing."""
        with closing(KafkaCluster([self.servers])) as cluster:
            create(cluster, partitions, replication=1)


def existing_topics(servers: str) -> list[str]:
    """The names of callwatch's topics that exist, those of a repartitioning among them."""
    with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
        return sorted(name for name in admin.list_topics() if name.startswith("callwatch."))


def delete_topics(servers: str, names: Sequence[str] = ()) -> None:
    """Delete topics of callwatch, all without names, and wait until they are gone."""
    wanted = set(names) or set(existing_topics(servers))
    if there := sorted(wanted & set(existing_topics(servers))):
        with closing(KafkaAdminClient(bootstrap_servers=servers)) as admin:
            admin.delete_topics(there)
    wait_until("topics deleted", lambda: not wanted & set(existing_topics(servers)))
