"""The state of one partition in `callwatch.state`, as its owner sees and writes it.

An owner claims before it reads, and deletes only what a checkpoint has made obsolete of which it
has *seen* that it counts: no other claim stands before its manifest. The broker says where each
record stands, so between its own records it sees where others wrote, and reads only those. A
checkpoint that counts once counts until a later one does: whatever a stalled owner still has under
way afterwards hurts nobody.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import chain
from time import thread_time
from typing import Final, NamedTuple, TypeVar

from detectors.engines.errors import EngineError, FencedError
from detectors.engines.journal import note
from detectors.engines.log_reader import LogReader
from detectors.engines.patience import AWAY_SECONDS
from detectors.engines.ports import Acknowledged, Outside, TopicPartition
from detectors.engines.state_cache import CacheError, Kept, Part
from detectors.engines.state_topic import (
    Draft,
    Found,
    StateRecord,
    Tables,
    checkpoint_records,
    claim_record,
    link,
    newest_checkpoint,
    own_key,
    tombstones,
)
from detectors.snapshot import Copied, State, read

T = TypeVar("T")

MOST_CHANGES: Final = 360
"""Checkpoints of changes between two snapshots: half an hour of them, by default."""


class Packed(NamedTuple):
    """A checkpoint's records, ready to be written."""

    records: list[StateRecord]
    base: int
    is_whole: bool
    seconds: float
    """Of CPU that packing took."""

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return sum(len(each.value or b"") for each in self.records)


class StateLog:
    """The checkpoints of one partition, in the hands of one owner."""

    def __init__(self, partition: int, tables: Tables, outside: Outside) -> None:
        self._where = TopicPartition(outside.topics.state, partition)
        self._tables = tables
        self._outside = outside
        self._fence = secrets.token_hex(8)
        self._epoch = 0
        self._base: int | None = None  # the epoch of the snapshot on which changes may build
        self._snapshot_bytes = self._changes_bytes = 0
        self._obsolete: list[bytes] = []  # keys that the next snapshot replaces
        self._deleting: list[Awaitable[Acknowledged]] = []
        self._seen = 0  # what others wrote before this offset is known
        self._own: set[int] = set()  # offsets of own records from there on
        self._last = b""  # the newest manifest
        cache = outside.cache
        self._cache = None if cache is None else cache.file(tables.data, partition)
        self._keeping: Awaitable[None] | None = None

    async def take_over(self) -> Found[State]:
        """Claim the partition, then read what stands there; no other's checkpoint counts now."""
        sent = await self._send(claim_record(self._where.partition, *self._signed))
        try:
            async with asyncio.timeout(AWAY_SECONDS):  # `wait_for` may lose a cancellation
                claim = await sent
        except TimeoutError:
            msg = f"{self._where}: no broker has acknowledged a claim for {AWAY_SECONDS:.0f} s"
            raise EngineError(msg) from None
        async with reading(self._outside) as reader:
            found, self._seen = await self._in_thread(lambda: self._read(reader, claim.offset + 1))
        if found.owner != self._fence:
            raise self._fenced(found.owner)
        mine = claim_record(self._where.partition, *self._signed).key
        self._obsolete = [key for key in found.keys if key != mine]
        return found

    @property
    def wants_whole(self) -> bool:
        """Whether the next checkpoint is to be a snapshot.

        When changes are as long as their snapshot, snapshots cost as much as changes, and a restore
        reads twice what it needs: both are bounded.
        """
        many = self._base is None or self._epoch - self._base >= MOST_CHANGES
        return many or self._changes_bytes >= self._snapshot_bytes

    async def pack(self, offset: int, config: str, copied: Copied) -> Packed:
        """The records of the next checkpoint."""
        self._epoch += 1
        epoch = self._epoch
        base, self._base = self._base, None  # until it stands: a lost one would be a gap
        base = epoch if copied.whole or base is None else base
        before = "" if base == epoch else link(self._last)
        draft = Draft(offset, config, base, copied.pieces(), before)
        partition = self._where.partition

        def packed() -> Packed:
            started = thread_time()
            records = checkpoint_records(partition, self._fence, epoch, draft, self._tables)
            return Packed(records, base, base == epoch, thread_time() - started)

        return await self._in_thread(packed)

    async def write(self, packed: Packed) -> None:
        """Write a checkpoint; after a snapshot, delete what it replaces.

        Raises `FencedError` where it does not count because another worker has claimed since.
        """
        *chunks, manifest = packed.records
        deleting, self._deleting = self._deleting, []
        with named(f"{self._where}: a checkpoint"):
            self._landed(await asyncio.gather(*deleting))
            self._landed(await asyncio.gather(*[await self._send(each) for each in chunks]))
            landed = await (await self._send(manifest))
        self._landed([landed])
        others = await self._look_around()
        self._obsolete += others
        self._base, self._last = packed.base, manifest.value or b""
        if packed.is_whole:
            self._snapshot_bytes, self._changes_bytes = packed.size, 0
            others, self._obsolete = self._obsolete, []
            self._deleting = [await self._send(each) for each in tombstones(others)]
        else:
            self._changes_bytes += packed.size
        self._obsolete += [each.key for each in packed.records]
        await self._keep(packed, landed.offset, others)

    async def _keep(self, packed: Packed, at: int, obsolete: list[bytes]) -> None:
        """Let the cache have it as well, while the next records are walked."""
        if (cache := self._cache) is None:
            return
        if self._keeping is not None:
            await self._keeping
        part = Part(self._fence, self._epoch, packed.base, at, packed.records, obsolete)

        def keep() -> None:
            try:
                cache.keep(part)
            except OSError as error:  # it is no more than speed: the topic has it all
                note("cache.failed", level=logging.WARNING, partition=self._where, error=error)

        loop = asyncio.get_running_loop()
        self._keeping = loop.run_in_executor(self._outside.threads, keep)

    async def _look_around(self) -> list[bytes]:
        """The keys of others' records among and before the own ones; no claim may be there."""
        gaps = []
        for offset in sorted(self._own):
            if offset > self._seen:
                gaps.append((self._seen, offset))
            self._seen = max(self._seen, offset + 1)
        self._own.clear()
        if not gaps:
            return []
        found = []
        async with reading(self._outside) as reader:
            for raw in await self._in_thread(lambda: self._keys(reader, gaps)):
                key = own_key(raw, self._where.partition, self._tables)
                if key is None or key.fence == self._fence:
                    continue
                if key.table == self._tables.claim:
                    raise self._fenced(key.fence)
                found.append(key.encode())
        return found

    def _landed(self, acknowledged: Iterable[Acknowledged]) -> None:
        self._own.update(each.offset for each in acknowledged)

    def _read(self, reader: LogReader, end: int) -> tuple[Found[State], int]:
        bounds = reader.bounds(*self._where)
        end = max(end, bounds.end)
        if (found := self._warm(reader, bounds.begin, end)) is not None:
            return found, end
        records = (
            (record.key, record.value)
            for batch in reader.read(*self._where, bounds.begin, end)
            for record in batch
        )
        return newest_checkpoint(self._where.partition, records, read, self._tables), end

    def _warm(self, reader: LogReader, begin: int, end: int) -> Found[State] | None:
        """What the cache and the topic behind it hold; None where only all of the topic will do."""
        if self._cache is None:
            return None
        try:
            kept = self._cache.read()
            found = None if kept is None else self._confirmed(reader, kept, begin, end)
        except CacheError as error:
            note("cache.passed_over", partition=self._where, table=self._tables.data, why=error)
            self._cache.forget()
            return None
        if found is not None:
            note("cache.used", partition=self._where, table=self._tables.data)
        return found

    def _confirmed(self, reader: LogReader, kept: Kept, begin: int, end: int) -> Found[State]:
        """What the topic says of the cache; `CacheError` unless it confirms all of it."""
        later = (
            record
            for batch in reader.read(*self._where, max(kept.at, begin), end)
            for record in batch
        )
        first = next(later, None) if kept.at < end else None
        if first is None or (first.offset, first.key, first.value) != (kept.at, *kept.records[-1]):
            msg = "its newest manifest does not stand in the topic, or not any more"
            raise CacheError(msg)
        partition = self._where.partition
        records = chain(
            [claim_record(partition, kept.fence, self._tables)],  # it was seen to count
            kept.records,
            ((record.key, record.value) for record in later),
        )
        found = newest_checkpoint(partition, records, read, self._tables, linked=True)
        if found.checkpoint is None or found.faults:
            msg = "; ".join(found.faults) or "none of it counts"
            raise CacheError(msg)
        return replace(found, keys=(*found.keys, *kept.obsolete))

    def _keys(self, reader: LogReader, gaps: Iterable[tuple[int, int]]) -> list[bytes | None]:
        return [
            record.key
            for start, stop in gaps
            for batch in reader.read(*self._where, start, stop)
            for record in batch
        ]

    @property
    def _signed(self) -> tuple[str, Tables]:
        return self._fence, self._tables

    def _fenced(self, by: str | None) -> FencedError:
        return FencedError(
            f"{self._where}: the state was claimed by another worker ({by}) after this one "
            f"({self._fence})"
        )

    async def _send(self, record: StateRecord) -> Awaitable[Acknowledged]:
        topic, partition = self._where
        return await self._outside.send(topic, record.key, record.value, partition, [])

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await in_thread(self._outside, call)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Say what it was that a broker did not take: its client's error only says why."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        msg = f"{what} was not taken by a broker: {error!r}"
        raise EngineError(msg) from error


@asynccontextmanager
async def reading(outside: Outside) -> AsyncIterator[LogReader]:
    """A reader for this use alone; closed afterwards where something failed."""
    taking = asyncio.ensure_future(in_thread(outside, outside.readers.take))
    try:
        reader = await asyncio.shield(taking)
    except asyncio.CancelledError:  # it will be taken all the same
        taking.add_done_callback(_close_late)
        raise
    try:
        yield reader
    except BaseException:
        await in_thread(outside, reader.close)
        raise
    await in_thread(outside, lambda: outside.readers.give(reader))


def _close_late(taking: asyncio.Task[LogReader]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        taking.result().close()


async def in_thread(outside: Outside, call: Callable[[], T]) -> T:
    """Run what blocks, or computes for long, beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(outside.threads, call)
