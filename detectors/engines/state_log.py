"""The state of one partition in `callwatch.state`, as its owner sees and writes it.

An owner claims before it reads, and deletes only what a checkpoint has made obsolete of which it
has *seen* that it counts: no other claim stands before its manifest. The broker says where each
record stands, so between its own records it sees where others wrote, and reads only those. A
checkpoint that counts once counts until a later one does: whatever a stalled owner still has under
way afterwards hurts nobody.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from detectors.engines.errors import FencedError
from detectors.engines.log_reader import LogReader
from detectors.engines.ports import Acknowledged, Outside, TopicPartition
from detectors.engines.state_topic import (
    Checkpoint,
    Found,
    StateRecord,
    Tables,
    checkpoint_records,
    claim_record,
    newest_checkpoint,
    own_key,
    tombstones,
)

T = TypeVar("T")


class StateLog:
    """The checkpoints of one partition, in the hands of one owner."""

    def __init__(self, partition: int, tables: Tables, outside: Outside) -> None:
        self._where = TopicPartition(outside.topics.state, partition)
        self._tables = tables
        self._outside = outside
        self._fence = secrets.token_hex(8)
        self._epoch = 0
        self._obsolete: list[bytes] = []  # keys that the next checkpoint replaces
        self._deleting: list[Awaitable[Acknowledged]] = []
        self._seen = 0  # what others wrote before this offset is known
        self._own: set[int] = set()  # offsets of own records from there on

    async def take_over(self) -> Found:
        """Claim the partition, then read what stands there; no other's checkpoint counts now."""
        claim = await (await self._send(claim_record(self._where.partition, *self._signed)))
        async with reading(self._outside) as reader:
            found, self._seen = await self._in_thread(lambda: self._read(reader, claim.offset + 1))
        if found.owner != self._fence:
            raise self._fenced(found.owner)
        mine = claim_record(self._where.partition, *self._signed).key
        self._obsolete = [key for key in found.keys if key != mine]
        return found

    async def pack(self, checkpoint: Checkpoint) -> list[StateRecord]:
        """The records of the next checkpoint."""
        self._epoch += 1
        partition, epoch = self._where.partition, self._epoch
        return await self._in_thread(
            lambda: checkpoint_records(partition, self._fence, epoch, checkpoint, self._tables)
        )

    async def write(self, records: Sequence[StateRecord]) -> None:
        """Write a checkpoint, and delete what it replaces.

        Raises `FencedError` where it does not count because another worker has claimed since.
        """
        *chunks, manifest = records
        deleting, self._deleting = self._deleting, []
        self._landed(await asyncio.gather(*deleting))
        self._landed(await asyncio.gather(*[await self._send(each) for each in chunks]))
        self._landed([await (await self._send(manifest))])
        self._obsolete += await self._look_around()
        deletions = tombstones(self._obsolete)
        self._obsolete = [each.key for each in records]
        self._deleting = [await self._send(each) for each in deletions]

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

    def _read(self, reader: LogReader, end: int) -> tuple[Found, int]:
        bounds = reader.bounds(*self._where)
        end = max(end, bounds.end)
        records = (
            (record.key, record.value)
            for batch in reader.read(*self._where, bounds.begin, end)
            for record in batch
        )
        return newest_checkpoint(self._where.partition, records, self._tables), end

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


@asynccontextmanager
async def reading(outside: Outside) -> AsyncIterator[LogReader]:
    """A reader of its own, closed afterwards."""
    reader = await in_thread(outside, outside.reader)
    try:
        yield reader
    finally:
        await in_thread(outside, reader.close)


async def in_thread(outside: Outside, call: Callable[[], T]) -> T:
    """Run what blocks, or computes for long, beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(outside.threads, call)
