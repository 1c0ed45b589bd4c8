"""A partition while this worker owns it: restored, walked, saved, let go.

It is one of the events, or one of the sources: what senders share, told by the former. The order is
what makes it exact. Alerts and observations of all records before an offset are acknowledged, then
the checkpoint that reflects this offset is, and only then the group's offset is committed: so it
never is beyond the checkpoint. Whoever owns the partition next restores the checkpoint and
continues from *its* offset. Records are taken strictly by offset: what was walked before is
skipped, and where the stream leaps ahead the log itself is read, so that no fault of the transport
above loses one.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import thread_time
from typing import NamedTuple

from detectors.batch import Rejected
from detectors.engines import memory
from detectors.engines.accounts import missing
from detectors.engines.errors import EngineError, FencedError
from detectors.engines.journal import note
from detectors.engines.log_reader import LogReader, LogRecord
from detectors.engines.outbox import Outbox
from detectors.engines.ports import Outside, PartitionCore, TopicPartition
from detectors.engines.seen import Place, Standing
from detectors.engines.state_log import StateLog, in_thread, named, reading
from detectors.engines.state_topic import Found
from detectors.engines.stretch import Stretch
from detectors.errors import StateError
from detectors.snapshot import Copied, State, merge


class Copy(NamedTuple):
    """The state at an offset, and what must be acknowledged before it may be written."""

    offset: int
    state: Copied
    waiting: list[Awaitable[object]]
    seconds: float
    """Of CPU that copying took."""


class Assigned:
    """The state of one partition from its assignment to its revocation."""

    def __init__(self, where: TopicPartition, outside: Outside) -> None:
        self.where = where
        self.closed = False
        self.broken = False
        """Whether something failed half-way: then this state must never become a checkpoint."""
        self.cost = 0.0
        """Seconds of CPU for copying and packing the last checkpoint."""
        self.took_much = False
        """Whether the last checkpoint left much free memory in the heaps."""
        self._outside = outside
        self._cores, tables = outside.role(where.topic)
        self._state = StateLog(where.partition, tables, outside)
        self._core: PartitionCore | None = None
        self._next = 0  # the offset of the record to walk next
        self._handed = 0  # the offset after the last that the stream has handed over
        self._saved = 0  # the offset that the newest acknowledged checkpoint reflects
        self.aside: list[Stretch] = []
        """What was handed over before the state was restored."""
        self.ahead: int | None = None
        """The offset of the checkpoint that was found, where the group's is not as far."""
        self._outbox = Outbox(where, outside)
        self._restored = 0  # bytes of the snapshot
        self._tally = outside.tally
        self._before: Mapping[str, int] = {}  # the accounts that it began with
        self._time_us: int | None = None  # the broker's, of the last record
        self._is_restored = False

    @property
    def place(self) -> Place:
        """How far it is."""
        return Place(self.where, self._next, self._saved)

    @property
    def accounts(self) -> Mapping[str, int]:
        """What has become of the records; nothing where nobody counts."""
        return {} if self._core is None else self._core.accounts

    @property
    def walked(self) -> Counter[str]:
        """What has become of the records that were walked here, not of those before."""
        if not self._is_restored:
            return Counter()
        return Counter({n: k - self._before.get(n, 0) for n, k in self.accounts.items()})

    @property
    def standing(self) -> Standing:
        """How it stands, for those who watch; a state that is rebuilt is seen to come nearer."""
        place = None if self._core is None else self.place
        lost = missing(self.accounts)
        return Standing(self.where, place, self._is_restored, self._time_us, lost)

    def busiest(self, most: int) -> tuple[int, Mapping[str, int]]:
        """Its busiest senders since the last call, and of how many events."""
        return (0, {}) if self._core is None else self._core.busiest(most)

    async def restore(self) -> None:
        """Take over: the newest checkpoint, or the events that the topic still holds."""
        try:
            found = await self._state.take_over()
        except FencedError:
            if self.closed:  # it is the next owner who claimed
                return
            raise
        async with reading(self._outside) as reader:
            bounds = await in_thread(self._outside, lambda: reader.bounds(*self.where))
            committed = bounds.begin if bounds.committed is None else bounds.committed
            if committed > bounds.end:  # the topic was made anew: none of these was seen before
                committed = bounds.begin
            reason = await self._take(found, bounds.end)
            del found  # its arrays are the core's now, or nobody's
            if self.closed:
                return
            older = 0
            if reason is None:
                # The group may be ahead, where a stalled owner wrote its checkpoint late.
                await self._walk(reader, self._next, committed, emit=True)
            else:
                # Walked again in silence: the alerts of committed records are acknowledged.
                self._core = self._cores.new(self.where.partition)
                self._next = self._saved = bounds.begin
                older = await self._walk_before(reader)
                await self._walk(reader, bounds.begin, committed, emit=False)
                self._before = dict(self.accounts)
        if self.closed:
            self._core = None
            return
        if reason is not None and older and committed == bounds.begin:
            reason = "repartitioned"  # nothing else was to be expected
        elif reason is not None and committed == bounds.begin > 0 and self._core is not None:
            self._core.rebuilt("cold_start")
        if reason is not None and (older or committed > bounds.begin):
            self._tally.rebuilt[reason] += 1
            if self._core is not None:
                self._core.rebuilt(reason)
            note(
                "state.rebuilt",
                level=logging.WARNING,
                partition=self.where,
                reason=reason,
                start=bounds.begin,
                stop=committed,
                **({"before": older} if older else {}),
            )
        if reason is None and (bounds.committed is None or bounds.committed < self._saved):
            self.ahead = self._saved
        self._is_restored = True
        note("partition.ready", partition=self.where, offset=self._next)
        if self._restored >= memory.MUCH:
            await in_thread(self._outside, memory.give_back)

    async def feed(self, stretch: Stretch) -> int:
        """Walk the records that were not walked yet, and those that are missing before them.

        How many observations were told. Raises `EngineError` where the log has lost its newest.
        """
        with self._all_or_broken():
            if stretch.start < self._handed:
                await self._look_whether_it_went_back(stretch)
            self._handed = stretch.stop
            if stretch.stop <= self._next:
                return 0
            if stretch.start > self._next:
                await self._fill(stretch.start)
            records = stretch.since(self._next)
            self._next = stretch.stop
            return await self._apply(records, emit=True)

    def copy(self) -> Copy | None:
        """What a checkpoint is to hold; None when nothing has happened since the last.

        Of a broken state there is none either: alerts may be missing on the topic that are in it.
        """
        if self._core is None or self._next == self._saved or self.broken:
            return None
        waiting = self._outbox.taken()
        started = thread_time()
        state = self._core.copied(whole=self._state.wants_whole)
        return Copy(self._next, state, waiting, thread_time() - started)

    async def write(self, copy: Copy) -> int:
        """Write a checkpoint of it; the offset to commit. Records may be walked meanwhile."""
        with self._all_or_broken():  # nobody else waits for these
            packed = await self._state.pack(copy.offset, self._cores.config_hash, copy.state)
            self.cost = copy.seconds + packed.seconds
            with named(f"{self.where}: an alert, a rejected record or an observation of it"):
                await asyncio.gather(*copy.waiting)
        await self._state.write(packed)
        self._saved = copy.offset
        self.took_much = packed.is_whole and packed.size >= memory.MUCH
        self._tally.checkpoints += 1
        self._tally.checkpoint_seconds += self.cost
        self._tally.checkpoint_bytes += packed.size
        return copy.offset

    async def save(self) -> int | None:
        """Write a checkpoint; the offset to commit, or None when nothing has happened since."""
        copy = self.copy()
        return None if copy is None else await self.write(copy)

    def close(self) -> None:
        """Forget the core: the partition is another's, and a stale core must never be used."""
        self.closed = True
        self._core = None
        self._outbox.taken()
        self.aside.clear()

    @contextmanager
    def _all_or_broken(self) -> Iterator[None]:
        """Whatever ends this half-way, being cancelled too, leaves a broken state."""
        try:
            yield
        except BaseException:
            self.broken = True
            raise

    async def _take(self, found: Found[State], end: int) -> str | None:
        """Continue from the checkpoint; or the reason why there is none to continue from."""
        for fault in found.faults:
            (self._tell_unfit if found.other_version else self._tell_damaged)(fault)
        checkpoint = found.checkpoint
        if checkpoint is None:
            if found.other_version:
                return "not_fitting"
            return "damaged" if found.faults else "no_checkpoint"
        if checkpoint.offset > end:
            return "beyond_the_log"
        try:
            state = await in_thread(
                self._outside, lambda: merge(checkpoint.snapshot, checkpoint.changes)
            )
        except StateError as error:
            self._tell_damaged(error)
            return "damaged"
        if self.closed:  # meanwhile it has become another's
            return None
        try:
            core = self._cores.restore(self.where.partition, state)
        except StateError as error:
            self._tell_unfit(error)
            return "not_fitting"
        self._core, self._restored = core, state.nbytes
        self._before = dict(self.accounts)
        self._next = self._saved = checkpoint.offset
        return None

    def _tell_damaged(self, fault: object) -> None:
        note("state.damaged", level=logging.ERROR, partition=self.where, fault=fault)

    def _tell_unfit(self, fault: object) -> None:
        """Tell of other parameters or another version: that was meant, and nothing is broken."""
        note("state.unfit", level=logging.WARNING, partition=self.where, fault=fault)

    async def _look_whether_it_went_back(self, stretch: Stretch) -> None:
        """A client that asks for what is not there any more begins anew, with the oldest record.

        Then the log was cut off (one broker had all of it and lost power, or an unclean election),
        or the topic was made anew. Those that came since would be passed over for long ago walked.
        """
        note(
            "partition.went_back",
            level=logging.WARNING,
            partition=self.where,
            start=stretch.start,
            reached=self._handed,
        )
        async with reading(self._outside) as reader:
            end = (await in_thread(self._outside, lambda: reader.bounds(*self.where))).end
        if end < self._next:
            msg = (
                f"{self.where}: the log ends at offset {end}, and {self._next} was reached before: "
                "its newest records were lost, or the topic was made anew"
            )
            raise EngineError(msg)

    async def _fill(self, stop: int) -> None:
        """Walk what the log holds before `stop` and the stream did not hand over."""
        start = self._next
        async with reading(self._outside) as reader:
            count = await self._walk(reader, start, stop, emit=True)
        note("partition.gap", partition=self.where, start=start, stop=stop, records=count)

    async def _walk(self, reader: LogReader, start: int, stop: int, *, emit: bool) -> int:
        """Feed the records of the log with `start <= offset < stop`; how many there were."""
        begin = (await in_thread(self._outside, lambda: reader.bounds(*self.where))).begin
        if emit and start < min(begin, stop):
            self._tell_gone(start, min(begin, stop))
        count = await self._read(reader, self.where, max(start, begin), stop, emit=emit)
        if not self.closed:
            self._next = max(self._next, stop)
        return count

    async def _walk_before(self, reader: LogReader) -> int:
        """Walk what its senders sent before the events had so many partitions; how many records.

        In silence: the events are repartitioned only when all of it was told.
        """
        topic = self._outside.before
        if topic is None or self.where.topic != self._outside.topics.events:
            return 0
        where = TopicPartition(topic, self.where.partition)
        bounds = await in_thread(self._outside, lambda: reader.bounds(*where))
        return await self._read(reader, where, bounds.begin, bounds.end, emit=False)

    async def _read(
        self, reader: LogReader, where: TopicPartition, start: int, stop: int, *, emit: bool
    ) -> int:
        count = 0
        batches = reader.read(*where, start, stop)
        while batch := await in_thread(self._outside, lambda: next(batches, None)):
            if self.closed:
                return count
            await self._apply(batch, emit=emit)
            count += len(batch)
            if where == self.where:  # whoever watches a rebuild sees it come nearer
                self._next = max(self._next, batch[-1].offset + 1)
        return count

    def _tell_gone(self, start: int, stop: int) -> None:
        """Retention was faster than this worker, or whatever kept it away."""
        note(
            "partition.records_gone",
            level=logging.ERROR,
            partition=self.where,
            start=start,
            stop=stop,
        )
        if self._core is not None:
            self._core.rebuilt("records_gone")

    async def _apply(self, records: Sequence[LogRecord], *, emit: bool) -> int:
        core = self._core
        if not records or core is None:
            return 0
        if isinstance(records, list) and any(each.damage for each in records):
            at = next(n for n, each in enumerate(records) if each.damage)
            before = await self._apply(records[:at], emit=emit)
            await self._pass_over(core, records[at], emit=emit)
            return before + await self._apply(records[at + 1 :], emit=emit)
        outcome = core.feed(records)
        self._time_us = records[-1].time_us
        if not emit:
            return 0
        for alert in outcome.alerts:
            await self._outbox.alert(alert)
        for rejected in outcome.rejected:
            await self._outbox.rejected(rejected, records[rejected.index])
        for observation in outcome.observations:
            await self._outbox.observation(observation)
        await self._outbox.mark(self._saved, core.stream_time_us)
        return len(outcome.observations)

    async def _pass_over(self, core: PartitionCore, record: LogRecord, *, emit: bool) -> None:
        """Set a whole batch aside that cannot be read: it counts by its offsets."""
        assert record.damage is not None
        stop, why = record.damage
        core.lost(stop - record.offset, stop)
        if not emit:
            return
        note(
            "batch.damaged",
            level=logging.ERROR,
            partition=self.where,
            start=record.offset,
            stop=stop,
            why=why,
        )
        told = Rejected(0, "batch_damaged", why, record.offset)
        await self._outbox.rejected(told, record, [("last", str(stop - 1).encode())])
