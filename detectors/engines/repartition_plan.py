"""What a repartitioning has in mind: its notes, and how the topics are to be that it makes."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

from detectors.engines.ports import Topics
from detectors.engines.repartition_copy import LARGEST

TOPICS: Final = Topics()
TIME: Final = "message.timestamp.type"
OLDEST: Final = "message.timestamp.before.max.ms"
NEWEST: Final = "message.timestamp.after.max.ms"
BYTES: Final = "retention.bytes"
CLOSED: Final = {TIME: "CreateTime", OLDEST: "0", NEWEST: "0"}
"""Nobody can publish: an event that comes is older than its arrival. The broker answers with an
error of time, after which callwatch's receivers keep what they have and try again."""
OPEN: Final = {TIME: "LogAppendTime", OLDEST: None, NEWEST: None}
"""As `topics create` makes it."""
_EVER: Final = str(2**63 - 1)

Phase = Literal["copying", "switching", "switched"]


@dataclass(frozen=True)
class Shape:
    """A topic as it is: what is needed to make it again."""

    partitions: int
    replication: int
    settings: dict[str, str]
    """Those given to the topic itself."""
    bytes_kept: int = -1
    """The `retention.bytes` of each partition, a broker's default too; -1 without a bound."""

    def bytes_for(self, partitions: int) -> int:
        """What each of so many partitions must keep, so that all keep no less than now.

        >>> Shape(4, 1, {}, 100).bytes_for(3), Shape(4, 1, {}, 100).bytes_for(7)
        (200, 100)
        """
        factor = -(-self.partitions // partitions)
        return self.bytes_kept * factor if self.bytes_kept > 0 else self.bytes_kept

    def kept(self, partitions: int) -> dict[str, str | None]:
        """The settings of retention for so many partitions; None is the cluster's default."""
        kept = {name: self.settings.get(name) for name in ("retention.ms", BYTES)}
        if self.bytes_for(partitions) != self.bytes_kept:
            kept[BYTES] = str(self.bytes_for(partitions))
        return kept


@dataclass(frozen=True)
class Plan:
    """What a repartitioning is about, and how far it is; kept as a record of its own topic.

    copying: all topics are as they were, and what was copied counts for nothing.
    switching: everything is copied, up to `ends`; the old topics are deleted and made anew.
    switched: the new topics are there; what is left is to open them.
    """

    phase: Phase
    partitions: int
    shapes: dict[str, Shape]
    """The topics that are made anew, as they were."""
    events_id: str
    """Kafka's id of the old events: one of the same name may be made while they are away."""
    ends: dict[str, int]
    """The offsets after the last of the old events, by partition; of open transactions too."""

    @staticmethod
    def read(value: bytes) -> "Plan":
        """The plan of a record."""
        found = json.loads(value)
        shapes = {name: Shape(**shape) for name, shape in found["shapes"].items()}
        events_id = found.get("events_id", "")
        return Plan(found["phase"], found["partitions"], shapes, events_id, found["ends"])

    def record(self) -> bytes:
        """The value of a record."""
        return json.dumps(asdict(self)).encode()


def history(events: Shape, partitions: int) -> Shape:
    """The topic of the copy: with the old times, and kept whole until all of it is there."""
    settings = {
        **events.settings,
        TIME: "CreateTime",
        OLDEST: _EVER,
        NEWEST: _EVER,
        "cleanup.policy": "delete",
        "max.message.bytes": str(LARGEST),
        "retention.ms": "-1",
        BYTES: "-1",
    }
    return Shape(partitions, events.replication, settings)


def anew(name: str, old: Shape, partitions: int) -> Shape:
    """The new topic of that name: the events closed, of the sources no more than of the events."""
    if name == TOPICS.sources:
        partitions = min(old.partitions, partitions)
    kept = {each: value for each, value in old.kept(partitions).items() if value is not None}
    closed = CLOSED if name == TOPICS.events else {}
    return replace(old, partitions=partitions, settings={**old.settings, **kept, **closed})
