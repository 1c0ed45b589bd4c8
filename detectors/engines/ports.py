"""What a partition needs of the world around it, as small interfaces: tests put their own there."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from detectors.core import Outcome
from detectors.engines.log_reader import LogReader


@dataclass(frozen=True)
class Topics:
    """The topics of one pipeline."""

    events: str = "callwatch.events"
    rejected: str = "callwatch.events.rejected"
    alerts: str = "callwatch.alerts"
    state: str = "callwatch.state"


class PartitionCore(Protocol):
    """What is used of `detectors.core.Core`."""

    @property
    def next_offset(self) -> int | None:
        """The offset after the last record that was fed."""

    def feed_log(
        self, values: Sequence[bytes], offsets: Sequence[int], broker_times_us: Sequence[int]
    ) -> Outcome:
        """Walk records of the log, in order."""

    def snapshot(self) -> bytes:
        """All of the state."""


class Cores(Protocol):
    """Makes the cores of partitions, always under the same configuration."""

    @property
    def config_hash(self) -> str:
        """The hash of that configuration."""

    def new(self, partition: int) -> PartitionCore:
        """An empty core."""

    def restore(self, partition: int, snapshot: bytes) -> PartitionCore:
        """A core with that state; raises `StateError` when it does not fit."""


class Send(Protocol):
    """Hands a record to the producer; what it returns is done when the broker has it."""

    async def __call__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]],
    ) -> Awaitable[object]:
        """See above."""


@dataclass(frozen=True)
class Outside:
    """Everything that a partition needs of the world: the producer, readers, and threads."""

    topics: Topics
    cores: Cores
    send: Send
    reader: Callable[[], LogReader]
    threads: Executor
