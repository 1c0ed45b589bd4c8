"""A Kafka and a core in memory: small enough to believe, with the faults that matter."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from detectors.core import Outcome, Rejected
from detectors.engines.log_reader import Bounds, LogRecord, Readers
from detectors.engines.ports import Cores, Outside, TopicPartition, Topics
from detectors.engines.state_cache import StateCache
from detectors.engines.stretch import Stretch
from detectors.errors import StateError
from detectors.snapshot import Copied, State, runs_of

TOPICS = Topics()


@dataclass
class FakeCore:
    """Alerts on every event `!...`, rejects every `?...`, and remembers all it was fed."""

    partition: int
    fed: list[str] = field(default_factory=list)
    stream_time_us: int | None = None
    told_of: list[str] = field(default_factory=list)
    accounts: dict[str, int] = field(default_factory=dict)
    copied_bytes: int = 0
    busy: dict[str, int] = field(default_factory=dict)

    def busiest(self, most: int) -> tuple[int, dict[str, int]]:
        found, self.busy = self.busy, {}
        return sum(found.values()), found

    def feed(self, records: Sequence[LogRecord]) -> Outcome:
        alerts: list[Any] = []
        rejected = []
        for index, record in enumerate(records):
            text = (record.value or b"").decode()
            self.fed.append(text)
            if text.startswith("!"):
                data = json.dumps([text, len(self.fed)]).encode()  # depends on all before it
                alert = SimpleNamespace(id=text, to_json=lambda data=data: data)
                alert.detector, alert.severity = "fake", "low"
                alerts.append(alert)
            if text.startswith("?"):
                rejected.append(Rejected(index, "not_json", "no", record.offset))
        return Outcome(alerts, rejected)

    def lost(self, records: int, stop: int) -> None:
        self.fed.append(f"lost {records} up to {stop}")

    def rebuilt(self, why: str) -> None:
        self.told_of.append(why)

    def copied(self, *, whole: bool) -> Copied:
        """The texts, or those that came since the last copy."""
        header = json.dumps({"partition": self.partition})
        text = np.frombuffer(json.dumps(self.fed)[:-1].encode(), np.uint8)
        first, self.copied_bytes = self.copied_bytes, len(text)
        if whole:
            return Copied(header, {"fed/text": text})
        runs = runs_of(np.arange(first, len(text)), len(text))
        return Copied(header, {"fed/text@": text[first:], "fed/@runs": runs}, whole=False)


@dataclass
class FakeCores:
    """Makes fake cores; `config_hash` decides which snapshots fit."""

    config_hash: str = "c1"
    made: list[FakeCore] = field(default_factory=list)

    def new(self, partition: int) -> FakeCore:
        self.made.append(FakeCore(partition))
        return self.made[-1]

    def restore(self, partition: int, state: State) -> FakeCore:
        if self.config_hash != "c1":
            msg = "made with another configuration"
            raise StateError(msg)
        header, arrays = state
        text = arrays["fed/text"].tobytes()
        fed = json.loads(text + b"]")
        self.made.append(FakeCore(header["partition"], fed, copied_bytes=len(text)))
        return self.made[-1]


class FakeKafka:
    """Topics as lists; sends are acknowledged at once, unless they are held or broken."""

    def __init__(self) -> None:
        self.logs: defaultdict[tuple[str, int], list[LogRecord]] = defaultdict(list)
        self.begin: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.committed: dict[TopicPartition, int] = {}
        self.headers: list[list[tuple[str, bytes]]] = []
        self.journal: list[str] = []
        self.held: list[Callable[[], None]] | None = None
        """Acknowledgements that wait to be called."""
        self.broken: str | None = None
        self.open_readers = 0
        self.read: list[tuple[str, int]] = []
        """Topics and offsets of what readers have been given."""
        self.time_us = 0
        """The broker's time."""

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        log = self.logs[topic, partition]
        log.append(LogRecord(len(log), self.time_us, key, value, tuple(headers)))
        return len(log) - 1

    def events(self, partition: int, *values: str) -> list[LogRecord]:
        """Append events and hand them out as they would be fetched."""
        for value in values:
            self.append(TOPICS.events, partition, value.encode())
        return self.logs[TOPICS.events, partition][-len(values) :]

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]],
    ) -> Awaitable[LogRecord]:
        done: asyncio.Future[LogRecord] = asyncio.get_running_loop().create_future()
        assert key is not None or value is not None, "aiokafka insists on it"
        if topic == self.broken:
            done.set_exception(OSError("the broker refuses"))
            return done
        self.append(topic, partition or 0, value, key, headers)
        landed = self.logs[topic, partition or 0][-1]
        self.headers.append(headers)
        self.journal.append(topic)
        if self.held is None:
            done.set_result(landed)
        else:
            self.held.append(lambda: done.set_result(landed))
        return done

    async def acknowledge(self, waiting: asyncio.Future[Any]) -> None:
        """Give out what is held, the newest first, until this is done."""
        while not waiting.done():
            while self.held:
                self.held.pop()()
            await asyncio.sleep(0)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.committed |= offsets
        self.journal.append("commit")

    def alerts(self) -> list[tuple[str, int]]:
        return [tuple(json.loads(r.value or b"")) for r in self.logs[TOPICS.alerts, 0]]

    def reader(self) -> "FakeReader":
        self.open_readers += 1
        return FakeReader(self)

    def outside(
        self,
        cores: Cores,
        shared: Cores | None = None,
        sources: int = 1,
        cache: StateCache | None = None,
        before: str | None = None,
    ) -> Outside:
        shared = shared or FakeCores()
        make: Any = self.reader
        self.readers = Readers(make, most=1)
        threads = ThreadPoolExecutor(1)
        return Outside(
            TOPICS,
            cores,
            shared,
            sources,
            self.send,
            self.readers,
            threads,
            cache,
            before=before,
        )


class FakeReader:
    """Reads a `FakeKafka` from here to there."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka

    def close(self) -> None:
        self._kafka.open_readers -= 1

    def rest(self) -> None:
        pass

    def bounds(self, topic: str, partition: int) -> Bounds:
        log = self._kafka.logs[topic, partition]
        committed = self._kafka.committed.get(TopicPartition(topic, partition))
        return Bounds(self._kafka.begin[topic, partition], len(log), committed)

    def read(self, topic: str, partition: int, start: int, stop: int) -> Iterator[list[LogRecord]]:
        assert start >= self._kafka.begin[topic, partition]
        for record in self._kafka.logs[topic, partition][start:stop]:
            self._kafka.read.append((topic, record.offset))
            yield [record]


class MemoryReader:
    """Reads logs of one partition that lie in memory."""

    def __init__(
        self, log: Callable[[str], Sequence[LogRecord]], bounds: Callable[[str], Bounds]
    ) -> None:
        self._log, self._bounds = log, bounds

    def close(self) -> None:
        """Nothing to end."""

    def rest(self) -> None:
        """Nothing to let go."""

    def bounds(self, topic: str, _: int) -> Bounds:
        """What a topic holds."""
        return self._bounds(topic)

    def read(self, topic: str, _: int, start: int, stop: int) -> Iterator[list[LogRecord]]:
        """Its records between two offsets, at once."""
        if found := [record for record in self._log(topic) if start <= record.offset < stop]:
            yield found


class Inline(Executor):
    """Runs at once what belongs into a thread: the same draw gives the same run."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(call(*args))
        return done


def one_fetch(records: Sequence[LogRecord]) -> Stretch:
    """What a fetch that brought these records, and no others, hands over."""
    if not records:
        return Stretch(0, 0, [])
    return Stretch(records[0].offset, records[-1].offset + 1, records)


def run(work: Callable[[], Awaitable[Any]], seconds: float = 10) -> Any:
    """Run a coroutine to its end, never longer than that."""

    async def limited() -> Any:
        return await asyncio.wait_for(work(), seconds)

    return asyncio.run(limited())
