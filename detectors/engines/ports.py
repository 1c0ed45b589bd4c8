"""What a partition needs of the world around it, as small interfaces: tests put their own there."""

from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from detectors.core import Outcome
from detectors.engines import state_topic
from detectors.engines.log_reader import LogRecord, Readers
from detectors.engines.state_cache import StateCache
from detectors.engines.tally import Tally
from detectors.snapshot import Copied, State


@dataclass(frozen=True)
class Topics:
    """The topics of one pipeline."""

    events: str = "callwatch.events"
    rejected: str = "callwatch.events.rejected"
    sources: str = "callwatch.sources"
    alerts: str = "callwatch.alerts"
    state: str = "callwatch.state"


class TopicPartition(NamedTuple):
    """A partition of a topic.

    >>> str(TopicPartition("callwatch.events", 3))
    'callwatch.events/3'
    """

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class PartitionCore(Protocol):
    """What detects in one partition; `detectors.engines.cores` has them."""

    @property
    def stream_time_us(self) -> int | None:
        """The stream time that the shared cores are to be told; None: they need not know it."""

    @property
    def accounts(self) -> Mapping[str, int]:
        """What has become of all records since the first; empty where they are not counted."""

    def busiest(self, most: int) -> tuple[int, Mapping[str, int]]:
        """Senders with most events since the last call, and how many events were looked at."""

    def feed(self, records: Sequence[LogRecord]) -> Outcome:
        """Walk records of the log, in order."""

    def lost(self, records: int, stop: int) -> None:
        """Count records up to this offset that stand in the log and cannot be read."""

    def rebuilt(self, why: str) -> None:
        """Let it be told with the next record that the state was made anew."""

    def copied(self, *, whole: bool) -> Copied:
        """A copy of the state, or of what has changed since the last: or whole all the same."""


class Cores(Protocol):
    """Makes the cores of a topic's partitions, always under the same configuration."""

    @property
    def config_hash(self) -> str:
        """The hash of that configuration."""

    def new(self, partition: int) -> PartitionCore:
        """An empty core."""

    def restore(self, partition: int, state: State) -> PartitionCore:
        """A core that takes over that state; raises `StateError` when it does not fit."""


class Acknowledged(Protocol):
    """What the broker says of a record that it has."""

    @property
    def offset(self) -> int:
        """Where it stands; -1 where the broker does not say."""


class Send(Protocol):
    """Hands a record to the producer; what it returns is done when the broker has it."""

    async def __call__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]],
    ) -> Awaitable[Acknowledged]:
        """See above."""


@dataclass(frozen=True)
class Outside:
    """Everything that a partition needs of the world: the producer, readers, and threads."""

    topics: Topics
    cores: Cores
    shared: Cores
    sources: int
    """Partitions of the topic of the sources."""
    send: Send
    readers: Readers
    threads: Executor
    cache: StateCache | None = None
    """Checkpoints on the local disk; None: the topic alone."""
    tally: Tally = field(default_factory=Tally)
    before: str | None = None
    """The topic that holds the events from before they were repartitioned, if there is one."""

    def role(self, topic: str) -> tuple[Cores, state_topic.Tables]:
        """What detects in this topic's partitions, and how its checkpoints are told from others."""
        if topic == self.topics.sources:
            return self.shared, state_topic.SOURCES
        return self.cores, state_topic.EVENTS
