"""Owners of one partition that stall, die and overlap, record by record, over one log of states."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.engines import state_topic
from detectors.engines.assigned import Assigned
from detectors.engines.errors import FencedError
from detectors.engines.log_reader import Bounds, LogRecord, Readers
from detectors.engines.ports import Outside, TopicPartition
from detectors.engines.stretch import Stretch
from detectors.snapshot import State
from tests.unit.engines.fakes import TOPICS, FakeCore, FakeCores, Inline, MemoryReader

VALUES = ("a", "!b", "c", "!d", "e", "f", "!g", "h", "!i", "j")
EVENTS = [LogRecord(at, 0, None, value.encode()) for at, value in enumerate(VALUES)]
ALERTS = [(value, at + 1) for at, value in enumerate(VALUES) if value.startswith("!")]
WHERE = TopicPartition(TOPICS.events, 0)

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("land"), st.integers(0, 2), st.integers(1, 60)),
        st.tuples(st.just("die"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("join"), st.just(0), st.integers(0, 4)),
        st.tuples(st.just("compact"), st.just(0), st.integers(0, 100)),
    ),
    max_size=14,
)
"""What happens, to which owner, and how much of it."""


class _World:
    """A broker: a log of states that is compacted, alerts, and a group with generations."""

    def __init__(self) -> None:
        self.state: list[LogRecord] = []
        self.end = 0
        self.alerts: list[bytes] = []
        self.generation = 0
        self.committed: int | None = None
        self.owners: list[_Owner] = []

    def land(self, topic: str, key: bytes | None, value: bytes | None) -> LogRecord:
        record = LogRecord(self.end, 0, key, value)
        if topic == TOPICS.alerts:
            self.alerts.append(value or b"")
        else:
            self.state.append(record)
            self.end += 1
        return record

    def compact(self, before: int) -> None:
        """Remove what a later record replaces, as a broker may do at any time; then tombstones."""
        last = {record.key: record.offset for record in self.state}
        self.state = [
            record
            for record in self.state
            if record.offset >= before
            or (last[record.key] == record.offset and record.value is not None)
        ]


class _Cores(FakeCores):
    """Restores nothing that is older than what was committed when the group chose its owner."""

    def __init__(self, committed: int, made: list[FakeCore]) -> None:
        super().__init__(made=made)
        self._committed = committed

    def restore(self, partition: int, state: State) -> FakeCore:
        restored = super().restore(partition, state)
        assert len(restored.fed) >= self._committed
        return restored


class _Owner:
    """A worker that got the partition; what it sends lands when it is let."""

    def __init__(self, world: _World, made: list[FakeCore]) -> None:
        cores = _Cores(world.committed or 0, made)
        world.generation += 1
        self.generation, self.world = world.generation, world
        self.queue: deque[tuple[str, bytes | None, bytes | None, asyncio.Future[LogRecord]]] = (
            deque()
        )
        readers: Any = Readers(self._reader, most=1)  # type: ignore[arg-type]
        outside: Any = Outside(TOPICS, cores, cores, 1, self._send, readers, Inline())  # type: ignore[arg-type,return-value]
        self.assigned = Assigned(WHERE, outside)
        self.task = asyncio.ensure_future(self._live())

    async def _live(self) -> None:
        await self.assigned.restore()
        for reached in range(1, len(EVENTS) + 1):
            await self.assigned.feed(Stretch(0, reached, EVENTS[:reached]))
            offset = await self.assigned.save()
            # a group takes no commit of an earlier generation
            if offset is not None and self.generation == self.world.generation:
                self.world.committed = offset

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, _: int | None, __: object
    ) -> Awaitable[LogRecord]:
        done: asyncio.Future[LogRecord] = asyncio.get_running_loop().create_future()
        if topic == TOPICS.sources:
            done.set_result(EVENTS[0])
        else:
            self.queue.append((topic, key, value, done))
        return done

    def land(self) -> None:
        if self.queue:
            *record, done = self.queue.popleft()
            landed = self.world.land(*record)
            if not done.done():
                done.set_result(landed)

    def die(self) -> None:
        self.task.cancel()
        self.queue.clear()

    def _reader(self) -> MemoryReader:
        world = self.world
        return MemoryReader(
            lambda topic: EVENTS if topic == TOPICS.events else world.state,
            lambda topic: Bounds(
                0, len(EVENTS) if topic == TOPICS.events else world.end, world.committed
            ),
        )


async def _settle() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


async def _play(actions: list[tuple[str, int, int]]) -> None:
    world = _World()
    made: list[FakeCore] = []
    world.owners.append(_Owner(world, made))
    for action, who, count in actions:
        owner = world.owners[who % len(world.owners)]
        if action == "land":
            for _ in range(count):
                owner.land()
                await _settle()
        elif action == "die":
            for _ in range(count):  # landed, and the owner never heard of it
                owner.land()
            owner.die()
        elif action == "join":
            world.owners.append(_Owner(world, made))
            await _settle()
            for _ in range(count):
                world.owners[-1].land()
                await _settle()
        else:
            world.compact(count)
    for owner in world.owners:
        owner.die()
    last = _Owner(world, made)
    for _ in range(10_000):
        if last.task.done():
            break
        last.land()
        await _settle()
    results = await asyncio.gather(*(each.task for each in world.owners), return_exceptions=True)
    assert all(isinstance(each, FencedError | asyncio.CancelledError | None) for each in results)
    await last.task
    for core in made:
        assert core.fed == list(VALUES[: len(core.fed)])  # never a mixture
        assert core.told_of == []  # nothing that was committed was ever without its state
    assert made[-1].fed == list(VALUES)
    told = {tuple(state_topic.msgspec.json.decode(alert)) for alert in world.alerts}
    assert told == set(ALERTS)


@given(ACTIONS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_interleaving_of_owners_hurts(actions: list[tuple[str, int, int]]) -> None:
    """However owners stall, die and overlap: state is whole, no alert is lost, none invented."""
    with patch.object(state_topic, "CHUNK_BYTES", 12):
        asyncio.run(_play(actions))


def test_death_after_any_record_hurts_nobody() -> None:
    """An owner that dies after its n-th record, for every n, leaves what the next can take over."""
    for landed in range(60):
        with patch.object(state_topic, "CHUNK_BYTES", 12):
            asyncio.run(_play([("land", 0, landed), ("die", 0, 1), ("join", 0, 4)]))
