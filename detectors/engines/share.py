"""The partitions that this worker owns at the moment: assigned, fed, saved, handed over.

Faust is not known here. Each assignment gives every partition a new state, restored in the
background; what was fetched under an earlier generation of the group is dropped, it comes again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from detectors.engines import memory, told
from detectors.engines.accounts import BUSIEST, Accounts, Labels, settled, shares, summed
from detectors.engines.assigned import Assigned, Copy
from detectors.engines.errors import FencedError
from detectors.engines.journal import note
from detectors.engines.pace import Pace
from detectors.engines.ports import Outside, TopicPartition
from detectors.engines.seen import Place, Standing
from detectors.engines.state_log import in_thread
from detectors.engines.stretch import Fetched, Stretch
from detectors.engines.tally import Tally

RESTORES: Final = 4
"""So many partitions are restored at a time; each has a connection of its own."""
SAVES: Final = 2
"""So many partitions are saved at a time: fewer copies lie in memory, and walking goes on between
two of them."""
MOST_TOLD: Final = told.MOST // 2
"""Observations between two checkpoints: shared cores remember twice as many one by one."""


MOST_ASIDE: Final = 2
"""Stretches of a partition that is restored."""


@dataclass(frozen=True, eq=False)
class _Held:
    state: Assigned
    generation: int
    ready: asyncio.Task[None]

    @property
    def usable(self) -> bool:
        done = self.ready.done() and not self.ready.cancelled()
        return done and self.ready.exception() is None and not self.state.closed


class Share:
    """What this worker holds; `failed` is told of the first error, after which nothing is right."""

    def __init__(
        self,
        outside: Outside,
        commit: Callable[[Mapping[TopicPartition, int]], Awaitable[None]],
        failed: Callable[[BaseException], None],
        save_events: int,
        ready: Callable[[bool], None] = lambda _: None,
        pace: Pace | None = None,
    ) -> None:
        self._outside = outside
        self._commit = commit
        self._failed = failed
        self._save_events = save_events
        self._ready = ready
        self._held: dict[TopicPartition, _Held] = {}
        self._restores: set[asyncio.Task[None]] = set()  # those of former assignments too
        self._turn = asyncio.Lock()  # no state is copied while it is fed
        self._saving = asyncio.Lock()
        self._restoring = asyncio.Semaphore(RESTORES)
        self._since_saved = self._since_told = 0
        self.pace = pace or Pace()
        self.busiest: Mapping[str, float] = {}
        self._labels = Labels()
        self._giving_back = memory.Turn()
        self._early: asyncio.Task[None] | None = None  # a checkpoint before its time
        self._releases = 0  # under way: nothing else is saved before them

    def assign(self, partitions: Iterable[TopicPartition], generation: int) -> None:
        """Own these partitions from now on, and no others; their states are restored meanwhile."""
        self._close(self._held)
        for where in sorted(partitions):
            state = Assigned(where, self._outside)
            ready = asyncio.ensure_future(self._restore(state))
            held = _Held(state, generation, ready)
            self._restores.add(ready)
            ready.add_done_callback(self._restored)
            self._held[where] = held
        note("partitions.assigned", partitions=list(self._held), generation=generation)
        self._ready(not self._held)

    @property
    def places(self) -> list[Place]:
        """How far the partitions are that are restored."""
        return [held.state.place for held in self._held.copy().values() if held.usable]

    @property
    def held(self) -> list[TopicPartition]:
        """The partitions of this worker, restored or not; any thread may ask."""
        return list(self._held.copy())

    def restoring(self) -> frozenset[TopicPartition]:
        """The partitions that are not restored yet; any thread may ask."""
        held = self._held.copy()
        return frozenset(where for where, each in held.items() if not each.ready.done())

    @property
    def tally(self) -> Tally:
        """What the worker has done since it started."""
        return self._outside.tally

    @property
    def standings(self) -> tuple[Standing, ...]:
        """How all partitions stand."""
        return tuple(held.state.standing for held in self._held.values())

    @property
    def records(self) -> Counter[str]:
        """What has become of all records that were walked here; for the event loop's thread."""
        found = Counter(self._outside.tally.records)
        for held in self._held.values():
            found.update(held.state.walked)
        return found

    def look_back(self) -> None:
        """Tell what became of the records up to now, and who sent most of them since the last time.

        A partition is as fast as its busiest sender: no more than a few are named.
        """
        states = [held.state for held in self._held.values() if held.usable]
        if found := shares(each.busiest(BUSIEST) for each in states):
            named = [f"{name}:{share:.2f}" for name, share in found.items()]
            note("senders.busiest", senders=named)
        self.busiest = self._labels.of(found)
        if records := self.records:
            note("worker.accounts", partitions=len(states), **summed(records))
        self._check((each.where, each.accounts) for each in states)

    async def feed(self, fetched: Fetched) -> None:
        """Walk what was fetched of a partition; save when many came since the last time.

        Meanwhile the next are walked, but not twice as many. Where checkpoints would cost too much,
        many events wait for the pace; observations do not.
        """
        held = self._held.get(fetched.where)
        if held is None or held.generation != fetched.generation:
            return
        await asyncio.wait({held.ready})
        async with self._turn:
            if held.usable:
                self._since_told += await held.state.feed(fetched.stretch)
                self._since_saved += len(fetched.stretch.records)
        many = max(self._since_saved / self._save_events, self._since_told / MOST_TOLD)
        if many >= 2 and self._early is not None:
            await asyncio.wait({self._early})
        wanted = many >= 1 and (self._since_told >= MOST_TOLD or not self.pace.left)
        if wanted and (self._early is None or self._early.done()):
            self._early = asyncio.ensure_future(self.save())
            self._early.add_done_callback(self._saved_early)

    def pass_over(self, fetched: Fetched) -> bool:
        """Set it aside, if its partition is not restored yet; whether that is so.

        It is walked as soon as the partition is: who waits for that would hold up others. Of more
        than came before the transport heard of the restore, the log is asked again.
        """
        held = self._held.get(fetched.where)
        if held is None or held.generation != fetched.generation or held.ready.done():
            return False
        aside, stop = held.state.aside, fetched.stretch.stop
        if len(aside) < MOST_ASIDE:
            aside.append(fetched.stretch)
        else:
            aside[MOST_ASIDE:] = [Stretch(stop, stop, [])]
        return True

    async def save(self) -> None:
        """Write checkpoints where something happened, then commit the offsets they reflect."""
        took_much = await self._save(list(self._held))
        if self._giving_back.has_come(took_much=took_much):
            await in_thread(self._outside, memory.give_back)

    async def release(self, partitions: Iterable[TopicPartition] | None, seconds: float) -> bool:
        """Save these partitions (None: all) if it can be done in time, and own them no more.

        Whether all of them are saved: not one that is broken.
        """
        going = [*(self._held if partitions is None else partitions)]
        going = [each for each in going if each in self._held]
        states = [self._held[each].state for each in going]
        self._releases += 1
        try:
            async with asyncio.timeout(seconds):
                await self._save(going, leaving=True)
        except TimeoutError:
            note("checkpoint.too_late", level=logging.WARNING, partitions=going, seconds=seconds)
            return False
        finally:
            self._releases -= 1
            self._settle(going)
            self._close(going)
            note("partitions.released", partitions=going)
        return not any(each.broken for each in states)

    async def end(self, seconds: float) -> None:
        """Own nothing more, saved or not, and wait that long for what is being restored."""
        self._close(self._held)
        under_way = {*self._restores} | ({self._early} if self._early is not None else set())
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)

    async def _save(self, partitions: list[TopicPartition], *, leaving: bool = False) -> bool:
        """Save these; whether that took much memory."""
        async with self._saving:
            if leaving:
                async with self._turn:
                    await self._write_at_last(self._copy(partitions))
                    self._settle(partitions)
                    self._close(partitions)  # before records that wait for their turn are walked
                return False
            self.pace.begin()
            before = self._since_saved, self._since_told
            few = asyncio.Semaphore(SAVES)
            saved = await asyncio.gather(*(self._save_one(each, few) for each in partitions))
            self._since_saved -= before[0]
            self._since_told -= before[1]
            self.pace.end(sum(held.state.cost for held, _ in filter(None, saved)))
            await self._commit_of([each for each in saved if each is not None])
            return any(held.state.took_much for held, _ in filter(None, saved))

    async def _save_one(
        self, where: TopicPartition, few: asyncio.Semaphore
    ) -> tuple[_Held, int] | None:
        """Write a checkpoint of one partition; the offset that it reflects."""
        async with few:
            async with self._turn:  # of each partition by itself: walking stands still for less
                copies = [] if self._releases else self._copy([where])
            for _, held, copy in copies:
                offset = await _written(held.state, copy, leaving=False)
                return None if offset is None else (held, offset)
        return None

    def _copy(
        self, partitions: Iterable[TopicPartition]
    ) -> list[tuple[TopicPartition, _Held, Copy]]:
        found = []
        for each in partitions:
            held = self._held.get(each)
            if held is not None and held.usable and (copy := held.state.copy()) is not None:
                found.append((each, held, copy))
        return found

    async def _write_at_last(self, copies: list[tuple[TopicPartition, _Held, Copy]]) -> None:
        written = await asyncio.gather(
            *(_written(held.state, copy, leaving=True) for _, held, copy in copies)
        )
        await self._commit_of(
            [
                (held, offset)
                for (_, held, _), offset in zip(copies, written, strict=True)
                if offset is not None
            ]
        )

    async def _commit_of(self, saved: Iterable[tuple[_Held, int]]) -> None:
        offsets = {
            held.state.where: offset
            for held, offset in saved
            if self._held.get(held.state.where) is held  # else it is another's by now
        }
        if offsets:
            await self._commit(offsets)

    def _settle(self, partitions: Iterable[TopicPartition]) -> None:
        """Write down what has become of the records of partitions that are left."""
        there = [self._held[each].state for each in partitions if each in self._held]
        found = self._check((each.where, each.accounts) for each in there if each.accounts)
        if found.partitions:
            note("partitions.accounts", partitions=found.partitions, **found.sums)

    def _check(self, found: Iterable[tuple[TopicPartition, Mapping[str, int]]]) -> Accounts:
        """Hold the accounts of partitions against each other."""
        accounts = settled(found)
        for where, lost in accounts.differing.items():
            note("partition.differs", level=logging.ERROR, partition=where, missing=lost)
        return accounts

    def _close(self, partitions: Iterable[TopicPartition]) -> None:
        for each in list(partitions):
            if (held := self._held.pop(each, None)) is not None:
                self._outside.tally.records.update(held.state.walked)
                held.state.close()
                self._ready(False)

    async def _restore(self, state: Assigned) -> None:
        async with self._restoring:
            if not state.closed:
                await state.restore()
        held = self._held.get(state.where)
        if state.ahead is not None and held is not None and held.state is state:
            # Its owner died between the two; where nothing more comes nobody else would commit.
            await self._commit_of([(held, state.ahead)])
        while state.aside and not state.closed:  # after the last look this task is done
            stretch = state.aside.pop(0)
            async with self._turn:
                self._since_told += await state.feed(stretch)
            self._since_saved += len(stretch.records)

    def _saved_early(self, saving: asyncio.Task[None]) -> None:
        if not saving.cancelled() and (error := saving.exception()) is not None:
            self._failed(error)

    def _restored(self, ready: asyncio.Task[None]) -> None:
        self._restores.discard(ready)
        if not ready.cancelled() and (error := ready.exception()) is not None:
            self._failed(error)
        if self._held and all(held.usable for held in self._held.values()):
            self._ready(True)


async def _written(state: Assigned, copy: Copy, *, leaving: bool) -> int | None:
    try:
        return await state.write(copy)
    except FencedError as error:
        if not leaving and not state.closed:  # ours by the group, and somebody took it: start again
            raise
        note("state.fenced", level=logging.WARNING, partition=state.where, error=error)
        return None
