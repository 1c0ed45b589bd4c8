"""One partition through any order of batches, repeats, crashes, stalls and restores: same alerts.

The real `Assigned`, `StateLog`, `StateCache` and core run over a broker in memory, which takes each
record when it is let and acknowledges it when it is let. Whatever was done to its owners, the
alerts on the topic are at every moment those of an undisturbed walk up to some place, each at least
once and first in their order; and in the end the rows are its rows, byte for byte.
"""

import asyncio
import shutil
import tempfile
from collections import deque
from collections.abc import Awaitable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detectors.config import Config
from detectors.engines.assigned import Assigned
from detectors.engines.cores import ConfiguredCores, ConfiguredSources, EventsCore
from detectors.engines.errors import FencedError
from detectors.engines.log_reader import Bounds, LogRecord, Readers
from detectors.engines.ports import Outside, TopicPartition
from detectors.engines.state_cache import StateCache
from detectors.engines.state_topic import newest_checkpoint
from detectors.engines.stretch import Stretch
from detectors.snapshot import read
from tests.property.hostile import hostile, with_controls
from tests.property.test_increments import SMALL
from tests.property.test_parity import KEY, in_one_piece
from tests.unit.engines.fakes import TOPICS, Inline, MemoryReader

WHERE: Final = TopicPartition(TOPICS.events, 0)
SIZE: Final = 150
HOSTS: Final = 2
"""Machines with a local cache each; owners on others have none."""
MOST_OWNERS: Final = 3
MARK: Final = b"mark"
TOLD: Final = (TOPICS.alerts, TOPICS.rejected, TOPICS.sources)
TOPICS_OF: Final = (*TOLD, TOPICS.state)
"""What an owner writes to."""


class _Sent(NamedTuple):
    """What arrived on a topic, as far as it is compared."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class _Reference(NamedTuple):
    """A log, and what an owner that nothing happens to makes of it."""

    log: list[LogRecord]
    told: dict[str, list[_Sent]]
    rows: bytes


class _Broker:
    """Topics; the state is compacted, the group knows its newest member."""

    def __init__(self, log: list[LogRecord]) -> None:
        self.log = log
        self.state: list[LogRecord] = []
        self.end = 0
        self.told: dict[str, list[_Sent]] = {topic: [] for topic in TOLD}
        self.generation = 0
        self.committed: int | None = None

    def take(self, topic: str, sent: _Sent) -> LogRecord:
        record = LogRecord(self.end, 0, sent.key, sent.value)
        if topic == TOPICS.state:
            self.state.append(record)
            self.end += 1
        elif sent.key != MARK:  # how often those come depends on who was there
            self.told[topic].append(sent)
        return record

    def reader(self) -> MemoryReader:
        return MemoryReader(
            lambda topic: self.log if topic == TOPICS.events else self.state,
            lambda topic: (
                Bounds(0, len(self.log), self.committed)
                if topic == TOPICS.events
                else Bounds(0, self.end, None)
            ),
        )

    def compact(self, before: int) -> None:
        last = {record.key: record.offset for record in self.state}
        self.state = [
            record
            for record in self.state
            if record.offset >= before
            or (last[record.key] == record.offset and record.value is not None)
        ]


class _Owner:
    """Somebody who got the partition; what is sent arrives when it is let."""

    def __init__(self, broker: _Broker, config: Config, cached: StateCache | None) -> None:
        broker.generation += 1
        self.broker, self.generation = broker, broker.generation
        self.waiting: dict[str, deque[tuple[_Sent, asyncio.Future[LogRecord]]]] = {}
        readers: Any = Readers(broker.reader, most=1)  # type: ignore[arg-type,return-value]
        send: Any = self._send
        outside = Outside(
            TOPICS, ConfiguredCores(config), ConfiguredSources(config, 1), 1, send, readers,
            Inline(), cached,
        )  # fmt: skip
        self.assigned = Assigned(WHERE, outside)
        self.is_restoring = True
        self.task = asyncio.ensure_future(self._restore())

    @property
    def is_idle(self) -> bool:
        return self.task.done() and not self.task.cancelled() and not self.task.exception()

    async def _restore(self) -> None:
        await self.assigned.restore()
        self.is_restoring = False
        self._commit(self.assigned.ahead)

    async def feed(self, start: int, stop: int) -> None:
        await self.assigned.feed(Stretch(start, stop, self.broker.log[start:stop]))

    def save(self) -> None:
        self.task = asyncio.ensure_future(self._save())

    async def _save(self) -> None:
        self._commit(await self.assigned.save())

    def _commit(self, offset: int | None) -> None:
        # A group takes no commit of an earlier generation.
        if offset is not None and self.generation == self.broker.generation:
            self.broker.committed = offset

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, _: int | None, headers: Any
    ) -> Awaitable[LogRecord]:
        done: asyncio.Future[LogRecord] = asyncio.get_running_loop().create_future()
        queue = self.waiting.setdefault(topic, deque())
        queue.append((_Sent(key, value, tuple(headers)), done))
        return done

    def land(self, topic: str, *, heard: bool) -> bool:
        """One record arrives, and its owner may hear of it; whether there was one."""
        if not (queue := self.waiting.get(topic)):
            return False
        sent, done = queue.popleft()
        landed = self.broker.take(topic, sent)
        if heard and not done.done():
            done.set_result(landed)
        return True

    def land_all(self) -> None:
        while any(self.land(topic, heard=True) for topic in TOPICS_OF):
            pass

    def die(self) -> None:
        self.task.cancel()
        self.waiting.clear()


async def _settle() -> None:
    for _ in range(25):
        await asyncio.sleep(0)


@cache
def _reference(seed: int) -> _Reference:
    plain = hostile(seed, SIZE)
    hostile_log = with_controls(plain, in_one_piece(plain)[0], seed, KEY)
    log = [
        LogRecord(at, time, None, value)
        for at, (value, time) in enumerate(zip(hostile_log.values, hostile_log.times, strict=True))
    ]
    broker = _Broker(log)

    async def walk() -> bytes:
        owner = _Owner(broker, SMALL, None)
        while not owner.task.done():
            owner.land_all()
            await _settle()
        await owner.feed(0, len(log))
        owner.land_all()
        return _rows(owner)

    rows = asyncio.run(walk())
    for topic in TOLD:
        assert len(set(broker.told[topic])) == len(broker.told[topic]), "cannot be told apart"
    assert len(broker.told[TOPICS.alerts]) > 5
    return _Reference(log, broker.told, rows)


def _rows(owner: _Owner) -> bytes:
    core = owner.assigned._core
    assert isinstance(core, EventsCore)
    return core.core.snapshot()


WHO = st.integers(0, MOST_OWNERS - 1)


class Engine(RuleBasedStateMachine):
    """What may happen to a partition; `WHO` is one of the owners that are not dead."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.owners: list[_Owner] = []
        self.since = 0  # steps since somebody claimed: there must be time for something to happen
        self.folder = Path(tempfile.mkdtemp())
        self.caches = [StateCache(self.folder / str(host)) for host in range(HOSTS)]

    @initialize(seed=st.integers(0, 2))
    def begin(self, seed: int) -> None:
        """A log of which nothing has been walked."""
        self.wanted = _reference(seed)
        self.broker = _Broker(self.wanted.log)
        self.claim(0, at_once=True)

    def _run(self, work: Awaitable[Any]) -> None:
        async def limited() -> None:
            await work
            await _settle()

        self.loop.run_until_complete(limited())
        for each in [one for one in self.owners if one.task.done()]:
            error = None if each.task.cancelled() else each.task.exception()
            if error is not None:
                if not isinstance(error, FencedError):
                    raise error
                self._end(each)

    def _end(self, owner: _Owner) -> None:
        owner.die()
        self.owners.remove(owner)

    def _owner(self, who: int) -> _Owner:
        return self.owners[who % len(self.owners)]

    @precondition(lambda self: not self.owners or self.since >= 5)
    @rule(host=st.integers(0, HOSTS), at_once=st.sampled_from((True, True, False)))
    def claim(self, host: int, at_once: bool) -> None:
        """Somebody else gets the partition; who had it before may not know yet."""
        self.since = 0
        if len(self.owners) == MOST_OWNERS:
            self._end(self.owners[0])

        async def join() -> None:
            cached = self.caches[host] if host < HOSTS else None
            owner = _Owner(self.broker, SMALL, cached)
            self.owners.append(owner)
            await _settle()
            while at_once and not owner.task.done():
                owner.land_all()
                await _settle()

        self._run(join())

    @precondition(lambda self: self.owners)
    @rule(who=WHO, topic=st.sampled_from(TOPICS_OF), count=st.integers(1, 40))
    def land(self, who: int, topic: str, count: int) -> None:
        """Records arrive and are acknowledged; a stalled owner's too."""

        async def some() -> None:
            owner = self._owner(who)
            for _ in range(count):
                owner.land(topic, heard=True)
                await _settle()

        self._run(some())

    @precondition(lambda self: self.owners)
    @rule(who=WHO)
    def land_all(self, who: int) -> None:
        """All that is under way arrives, and what follows from it."""

        async def everything() -> None:
            owner = self._owner(who)
            for _ in range(30):
                owner.land_all()
                await _settle()

        self._run(everything())

    @precondition(lambda self: self.owners)
    @rule(who=WHO, size=st.integers(1, 60))
    def deliver(self, who: int, size: int) -> None:
        """The next records come."""
        self._deliver(self._owner(who), 0, size)

    @precondition(lambda self: self.owners)
    @rule(who=WHO, size=st.integers(1, 60), back=st.integers(1, 50))
    def deliver_again(self, who: int, size: int, back: int) -> None:
        """Records come that came before, and perhaps the next ones behind them."""
        self._deliver(self._owner(who), -back, size)

    @precondition(lambda self: self.owners)
    @rule(who=WHO, size=st.integers(1, 30), gap=st.integers(1, 10))
    def deliver_after_a_gap(self, who: int, size: int, gap: int) -> None:
        """The stream leaps over some records."""
        self._deliver(self._owner(who), gap, size)

    def _deliver(self, owner: _Owner, shift: int, size: int) -> None:
        if owner.assigned._core is None or owner.assigned.closed or owner.is_restoring:
            return  # the share waits for it
        start = min(max(owner.assigned.place.walked + shift, 0), len(self.broker.log))
        self._run(owner.feed(start, min(start + size, len(self.broker.log))))

    @precondition(lambda self: self.owners)
    @rule(who=WHO, steps=st.integers(0, 12), first=st.integers(0, len(TOPICS_OF)))
    def checkpoint(self, who: int, steps: int, first: int) -> None:
        """A checkpoint begins, and comes so far; more may be walked before it goes on.

        Topics have leaders of their own: one may take everything while another takes nothing.
        """
        self._save(self._owner(who), steps, TOPICS_OF[first : first + 1] or TOPICS_OF)

    def _save(self, owner: _Owner, steps: int, topics: Sequence[str] = TOPICS_OF) -> None:
        if not owner.is_idle or owner.assigned._core is None:
            return

        async def begin() -> None:
            owner.save()
            await _settle()
            for _ in range(steps):
                _ = any(owner.land(topic, heard=True) for topic in topics)
                await _settle()

        self._run(begin())

    @precondition(lambda self: self.owners)
    @rule(who=WHO, topic=st.sampled_from(TOPICS_OF), count=st.integers(0, 3))
    def crash(self, who: int, topic: str, count: int) -> None:
        """An owner dies; some of what it sent arrives, and it never heard of it."""
        owner = self._owner(who)
        for _ in range(count):
            owner.land(topic, heard=False)
        self._end(owner)
        self._run(_settle())

    @precondition(lambda self: self.owners)
    @rule(who=WHO, sizes=st.lists(st.integers(1, 25), min_size=1, max_size=4))
    def work(self, who: int, sizes: list[int]) -> None:
        """Batch after batch is walked, each with its checkpoint, and nothing goes wrong."""
        for size in sizes:
            if not self.owners:
                return
            owner = self._owner(who)
            self._deliver(owner, 0, size)
            self._save(owner, steps=100)

    @precondition(lambda self: self.owners)
    @rule(
        who=WHO,
        size=st.integers(1, 60),
        steps=st.integers(0, 12),
        topics=st.sets(st.sampled_from(TOPICS_OF)),
    )
    def crash_in_a_checkpoint(self, who: int, size: int, steps: int, topics: set[str]) -> None:
        """An owner walks on, writes, and dies when some topics have taken some of it."""
        owner = self._owner(who)
        self._deliver(owner, 0, size)
        self._save(owner, steps, sorted(topics))
        if owner in self.owners:
            self._end(owner)

    @precondition(lambda self: self.owners)
    @rule(before=st.integers(0, 200))
    def compact(self, before: int) -> None:
        """The broker removes what is replaced, and deletions."""
        self.broker.compact(before)

    @precondition(lambda self: self.owners)
    @rule(host=st.integers(0, HOSTS - 1), at=st.integers(0, 10**6), cut=st.booleans())
    def spoil(self, host: int, at: int, cut: bool) -> None:
        """A file of a local cache is damaged, or its end is lost."""
        path = self.folder / str(host) / "core-0"
        if path.exists() and (data := bytearray(path.read_bytes())):
            at %= len(data)
            data[at] ^= 0x55
            path.write_bytes(data[:at] if cut else data)

    @invariant()
    def told_as_undisturbed(self) -> None:
        """Without repeats, what is told is the beginning of what an undisturbed owner tells."""
        if not hasattr(self, "wanted"):
            return
        self.since += 1
        for topic in TOLD:
            found = list(dict.fromkeys(self.broker.told[topic]))
            assert found == self.wanted.told[topic][: len(found)]

    @invariant()
    def commit_is_behind_the_checkpoint(self) -> None:
        """The group's offset is never beyond the newest checkpoint that counts."""
        if not hasattr(self, "wanted") or self.broker.committed is None:
            return
        found = newest_checkpoint(0, ((each.key, each.value) for each in self.broker.state), read)
        assert found.checkpoint is not None
        assert found.checkpoint.offset >= self.broker.committed

    def teardown(self) -> None:
        """All die; one last owner comes, on one of the hosts, and walks to the end."""
        try:
            if hasattr(self, "wanted"):
                self._run(self._to_the_end())
        finally:
            for each in self.owners:
                each.die()
            self.loop.run_until_complete(_settle())
            self.loop.close()
            for one in self.caches:
                one.close()
            shutil.rmtree(self.folder)

    async def _to_the_end(self) -> None:
        for each in [*self.owners]:
            self._end(each)
        last = _Owner(self.broker, SMALL, self.caches[0])
        self.owners.append(last)
        while not last.task.done():
            last.land_all()
            await _settle()
        await last.task
        await last.feed(last.assigned.place.walked, len(self.broker.log))
        last.save()
        while not last.task.done():
            last.land_all()
            await _settle()
        await last.task
        last.land_all()
        for topic in TOLD:
            assert list(dict.fromkeys(self.broker.told[topic])) == self.wanted.told[topic]
        assert _rows(last) == self.wanted.rows
        assert self.broker.committed in {None, len(self.broker.log)}


TestEngine = Engine.TestCase
TestEngine.settings = settings(
    max_examples=30, stateful_step_count=50, deadline=None, derandomize=True
)
