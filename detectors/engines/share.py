"""The partitions that this worker owns at the moment: assigned, fed, saved, handed over.

Faust is not known here. Each assignment gives every partition a new state, restored in the
background; what was fetched under an earlier generation of the group is dropped, it comes again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from detectors.engines.accounts import settled
from detectors.engines.assigned import Assigned, Copy
from detectors.engines.errors import FencedError
from detectors.engines.journal import note
from detectors.engines.ports import Outside, TopicPartition
from detectors.engines.stretch import Fetched
from detectors.engines.watchdog import Place

RESTORES: Final = 4
"""So many partitions are restored at a time; each opens a connection of its own."""


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
        self._since_saved = 0

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

    async def feed(self, fetched: Fetched) -> None:
        """Walk what was fetched of a partition; save when many came since the last time."""
        held = self._held.get(fetched.where)
        if held is None or held.generation != fetched.generation:
            return
        await asyncio.wait({held.ready})
        async with self._turn:
            if held.usable:
                await held.state.feed(fetched.stretch)
                self._since_saved += len(fetched.stretch.records)
        if self._since_saved >= self._save_events:
            await self.save()

    async def save(self) -> None:
        """Write checkpoints where something happened, then commit the offsets they reflect."""
        await self._save(list(self._held))

    async def release(self, partitions: Iterable[TopicPartition] | None, seconds: float) -> bool:
        """Save these partitions (None: all) if it can be done in time, and own them no more."""
        going = [*(self._held if partitions is None else partitions)]
        going = [each for each in going if each in self._held]
        try:
            await asyncio.wait_for(self._save(going, leaving=True), seconds)
        except TimeoutError:
            note("checkpoint.too_late", level=logging.WARNING, partitions=going, seconds=seconds)
            return False
        finally:
            self._settle(going)
            self._close(going)
            note("partitions.released", partitions=going)
        return True

    async def end(self, seconds: float) -> None:
        """Own nothing more, saved or not, and wait that long for what is being restored."""
        self._close(self._held)
        if self._restores:
            await asyncio.wait(self._restores, timeout=seconds)

    async def _save(self, partitions: list[TopicPartition], *, leaving: bool = False) -> None:
        async with self._saving:
            if leaving:
                async with self._turn:
                    await self._write(self._copy(partitions), leaving=True)
                    self._settle(partitions)
                    self._close(partitions)  # before records that wait for their turn are walked
                return
            async with self._turn:
                copies = self._copy(partitions)
            await self._write(copies)

    def _copy(
        self, partitions: Iterable[TopicPartition]
    ) -> list[tuple[TopicPartition, _Held, Copy]]:
        self._since_saved = 0
        found = []
        for each in partitions:
            held = self._held.get(each)
            if held is not None and held.usable and (copy := held.state.copy()) is not None:
                found.append((each, held, copy))
        return found

    async def _write(
        self, copies: list[tuple[TopicPartition, _Held, Copy]], *, leaving: bool = False
    ) -> None:
        written = await asyncio.gather(
            *(_written(held.state, copy, leaving=leaving) for _, held, copy in copies)
        )
        offsets = {
            each: offset
            for (each, held, _), offset in zip(copies, written, strict=True)
            if offset is not None and self._held.get(each) is held  # else it is another's by now
        }
        if offsets:
            await self._commit(offsets)

    def _settle(self, partitions: Iterable[TopicPartition]) -> None:
        """Write down what has become of the records of partitions that are left."""
        there = [self._held[each].state for each in partitions if each in self._held]
        found = settled((each.where, each.accounts) for each in there if each.accounts)
        for where, missing in found.differing.items():
            note("partition.differs", level=logging.ERROR, partition=where, missing=missing)
        if found.partitions:
            note("partitions.accounts", partitions=found.partitions, **found.sums)

    def _close(self, partitions: Iterable[TopicPartition]) -> None:
        for each in list(partitions):
            if (held := self._held.pop(each, None)) is not None:
                held.state.close()
                self._ready(False)

    async def _restore(self, state: Assigned) -> None:
        async with self._restoring:
            if not state.closed:
                await state.restore()

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
        if not leaving:  # it is ours by the group, and still somebody took it: start again
            raise
        note("state.fenced", level=logging.WARNING, partition=state.where, error=error)
        return None
