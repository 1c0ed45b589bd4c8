"""What detects in a partition of Kafka: the core of the events, or that of what senders share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from detectors.batch import Decoder, Rejected
from detectors.config import Config
from detectors.core import Core, Outcome
from detectors.engines.errors import SourceRecordError
from detectors.engines.log_reader import LogRecord
from detectors.engines.record_batches import RawRecords
from detectors.engines.sources_topic import Mark, read_record
from detectors.engines.told import Told
from detectors.errors import StateError
from detectors.event import MINUTE
from detectors.shared import EVER, SharedCore
from detectors.snapshot import Copied, State, unpack, written

IDLE: Final = 5 * MINUTE
"""By the broker's time; a partition of the events that tells nothing for longer is not waited for.
Marks come once a minute, and so do the reports of receivers that keep an idle partition's clock."""


class EventsCore:
    """A core, fed with the records of a partition of the events."""

    def __init__(self, core: Core) -> None:
        self.core = core

    @property
    def stream_time_us(self) -> int | None:
        """The newest accepted time, microseconds; None before the first record."""
        return self.core.stream_time_us

    @property
    def accounts(self) -> Mapping[str, int]:
        """The counters of the core."""
        return self.core.counters

    def busiest(self, most: int) -> tuple[int, Mapping[str, int]]:
        """The busiest senders since the last call."""
        return self.core.busiest(most)

    def feed(self, records: Sequence[LogRecord]) -> Outcome:
        """Walk events of the log, in order."""
        if isinstance(records, RawRecords):
            return self.core.feed_log(records.values, records.offsets, records.times_us)
        return self.core.feed_log(
            [record.value or b"" for record in records],
            [record.offset for record in records],
            [record.time_us for record in records],
        )

    def lost(self, records: int, stop: int) -> None:
        """Count records that cannot be read."""
        self.core.lost(records, stop)

    def rebuilt(self, why: str) -> None:
        """Let it be told with the next record that the state was made anew."""
        self.core.rebuilt(why)

    def copied(self, *, whole: bool) -> Copied:
        """A copy of the state, or of what has changed since the last."""
        return self.core.copied(whole=whole)


class SourcesCore:
    """A shared core, fed with the records of a partition of `callwatch.sources`.

    Every partition of the events is waited for from the first record on, until it is idle. What the
    log holds decides, and no clock: whoever walks it finds the same.
    """

    stream_time_us: int | None = None
    accounts: Mapping[str, int] = MappingProxyType({})

    def busiest(self, most: int) -> tuple[int, Mapping[str, int]]:  # noqa: ARG002 - see below
        """None: what comes here is no sender's traffic."""
        return 0, {}

    def __init__(self, config: Config, partitions: int, shared: SharedCore | None = None) -> None:
        self.shared = shared or SharedCore(config)
        self._decoder = Decoder(config)
        self._partitions = partitions
        self._told: dict[int, Told] = {}
        self._heard: dict[int, int] = {}  # of each partition of the events: when it was, last
        self._look = -EVER  # the broker's time at which the next may have become idle

    def feed(self, records: Sequence[LogRecord]) -> Outcome:
        """Take what the partitions tell, in the order of the log."""
        invalid = self._invalid(records)
        rejected: list[Rejected] = []
        for index, record in enumerate(records):
            try:
                told = read_record(record, self._partitions)
            except SourceRecordError as error:
                invalid[index] = ("source_invalid", str(error))
            if index in invalid:
                rejected.append(Rejected(index, *invalid[index], record.offset))
                continue
            self._hear(told.partition, record.time_us)
            if isinstance(told, Mark):
                self._told_by(told.partition).settle(told.settled)
                self.shared.reach(told.partition, told.now)
            elif self._told_by(told.partition).take(told.place, told.now):
                self.shared.add(told)
        return Outcome(self.shared.flush(), rejected)

    def _invalid(self, records: Sequence[LogRecord]) -> dict[int, tuple[str, str]]:
        """Of the records that hold a value, those whose value is no event, with the reason."""
        places = [place for place, record in enumerate(records) if record.value is not None]
        decoded = self._decoder.values([records[place].value or b"" for place in places])
        events = {places[at] for at in decoded.batch.index.tolist()}
        others = dict.fromkeys(places, ("source_invalid", "value: allowed is an event"))
        faults = {places[each.index]: (each.code, each.message) for each in decoded.rejected}
        return {at: fault for at, fault in (others | faults).items() if at not in events}

    def _told_by(self, partition: int) -> Told:
        return self._told.setdefault(partition, Told())

    def _hear(self, partition: int, now: int) -> None:
        """Note that a partition is alive, and wait no more for those that are idle."""
        for each in range(len(self._heard), self._partitions):  # at first, or there are more now
            self._heard[each] = now
            self.shared.reach(each, -EVER)
        self._heard[partition] = max(now, self._heard[partition])
        if now < self._look:
            return
        for each, heard in self._heard.items():
            if now - heard > IDLE:
                self.shared.forget(each)
        self._look = min((h for h in self._heard.values() if now - h <= IDLE), default=now) + IDLE

    def lost(self, records: int, stop: int) -> None:
        """Told by the journal alone, too: records are not counted here."""

    def rebuilt(self, why: str) -> None:
        """Told by the journal alone: what senders share is remembered for hours, not weeks."""

    def snapshot(self) -> bytes:
        """All of the state, with a checksum."""
        return b"".join(self.copied().pieces())

    def copied(self, *, whole: bool = True) -> Copied:  # noqa: ARG002 - it always is: it is small
        """A copy of the state."""
        header = {
            "told": [
                [partition, told.snapshot()] for partition, told in sorted(self._told.items())
            ],
            "heard": sorted(self._heard.items()),
            "look": self._look,
        }
        shared = np.frombuffer(self.shared.snapshot(), np.uint8)
        return Copied(written(header), {"shared": shared})

    @staticmethod
    def restore(config: Config, partitions: int, data: bytes | State) -> "SourcesCore":
        """The core that made the snapshot; StateError where it does not fit."""
        header, arrays = unpack(data)
        try:
            shared = SharedCore.restore(config, arrays["shared"].tobytes())
            found = SourcesCore(config, partitions, shared)
            found._told = {partition: Told.restore(told) for partition, told in header["told"]}
            found._heard = dict(header["heard"])
            found._look = header["look"]
        except (KeyError, ValueError, TypeError) as error:
            msg = f"snapshot: does not fit this version's state of sources: {error!r}"
            raise StateError(msg) from None
        return found


@dataclass(frozen=True)
class ConfiguredCores:
    """Cores of the partitions of the events, under one configuration."""

    config: Config
    partitions: int | None = None
    """How many there are; None: what is in the wrong one is not looked for."""

    @property
    def config_hash(self) -> str:
        """The configuration's hash, written into checkpoints."""
        return self.config.hash

    def new(self, partition: int) -> EventsCore:
        """An empty core."""
        return EventsCore(Core(self.config, partition, partitions=self.partitions))

    def restore(self, partition: int, state: State) -> EventsCore:  # noqa: ARG002 - it knows it
        """The core that made the snapshot."""
        return EventsCore(Core.restore(self.config, state, partitions=self.partitions))


@dataclass(frozen=True)
class ConfiguredSources:
    """Cores of the partitions of the sources, under one configuration."""

    config: Config
    partitions: int
    """Of the events."""

    @property
    def config_hash(self) -> str:
        """The configuration's hash, written into checkpoints."""
        return self.config.hash

    def new(self, partition: int) -> SourcesCore:  # noqa: ARG002 - all are alike
        """An empty core."""
        return SourcesCore(self.config, self.partitions)

    def restore(self, partition: int, state: State) -> SourcesCore:  # noqa: ARG002
        """The core that made the snapshot."""
        return SourcesCore.restore(self.config, self.partitions, state)
