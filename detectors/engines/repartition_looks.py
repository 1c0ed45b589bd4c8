"""What must hold before each step of a repartitioning, and what stands against it."""

from collections.abc import Mapping
from typing import Final

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogReader
from detectors.engines.ports import TopicPartition
from detectors.engines.repartition_cluster import RepartitionCluster, where_of
from detectors.engines.repartition_plan import CLOSED, OLDEST, TIME, TOPICS, Plan
from ingest.topics import REPARTITION, before, faults

ANEW: Final = (TOPICS.events, TOPICS.state, TOPICS.sources)
IN_TRANSACTION: Final = (
    f"a producer's transaction is open on {TOPICS.events}, and none can end while it is closed: "
    "stop that producer"
)
"""What stands behind its first record cannot be read. The broker refuses the marker of its end for
its time as well, and does not try again before the transaction's coordinator restarts."""


class Looks:
    """Looks at a cluster; `refuse_...` raises `EngineError` where it would lose something."""

    def __init__(self, cluster: RepartitionCluster, group: str, partitions: int) -> None:
        self._cluster = cluster
        self._group = group
        self._partitions = partitions

    def refuse_to_begin(self, reader: LogReader) -> None:
        """A new one may begin where this raises nothing."""
        existing = self._cluster.existing()
        existing.pop(REPARTITION, None)  # without a plan in it: nothing was begun
        if wrong := faults(existing, ANEW):
            raise EngineError("; ".join(wrong))
        given = existing[TOPICS.events].partitions
        if given == self._partitions:
            msg = f"{TOPICS.events}: it has {given} partitions already"
            raise EngineError(msg)
        self._refuse_brokers(existing[TOPICS.events].settings)
        target = before(self._partitions)
        if any(self._ends(target).values()):
            msg = (
                f"{target}: has records already, and may be the only copy of them; where they are "
                "not needed, delete it"
            )
            raise EngineError(msg)
        if not self.is_whole(reader):
            raise EngineError(IN_TRANSACTION)
        untold = self.untold(reader)
        if untold and not self._cluster.members(self._group):
            raise EngineError(self.nobody_tells(untold))

    def _refuse_brokers(self, settings: Mapping[str, str]) -> None:
        """They must be able to close a topic, and must not make one that is deleted."""
        if OLDEST not in settings or not self._cluster.identity(TOPICS.events):
            msg = (
                f"{TOPICS.events}: {OLDEST}, which closes it, and the ids of topics are those of "
                "Kafka 3.6 or newer, with a metadata version that is no older"
            )
            raise EngineError(msg)
        if self._cluster.makes_topics():
            msg = (
                "auto.create.topics.enable: allowed is false on all brokers; given true, so any "
                f"client would make {TOPICS.events} while it is deleted"
            )
            raise EngineError(msg)

    def refuse_another(self, plan: Plan) -> None:
        """The events are those of the plan."""
        if self._cluster.identity(TOPICS.events) != plan.events_id:
            msg = (
                f"{TOPICS.events}: is not the topic that was copied; {before(plan.partitions)} may "
                f"be the only copy of that one, and is kept: when you know what you need of it, "
                f"delete {REPARTITION}"
            )
            raise EngineError(msg)

    def refuse_to_delete(self, plan: Plan) -> None:
        """The events are those of the plan, or nothing is in them."""
        found = self._cluster.identity(TOPICS.events)
        if found is None or found == plan.events_id:
            return
        self._cluster.alter(TOPICS.events, CLOSED)  # as one that an earlier run made is
        if count := sum(self._ends(TOPICS.events).values()):
            msg = (
                f"{TOPICS.events}: somebody made it while it was deleted, and {count:,} records "
                "are in it, which would be lost: keep what you need of them, and delete it; the "
                f"events from before are in {before(plan.partitions)}"
            )
            raise EngineError(msg)

    def was_opened(self, plan: Plan) -> bool:
        """Whether the old events are still there, and took more than was copied."""
        if self._cluster.identity(TOPICS.events) != plan.events_id:
            return False  # they are gone, and the copy is all that there is
        time = self._cluster.existing([TOPICS.events])[TOPICS.events].settings[TIME]
        return time != CLOSED[TIME] or of_events(self._ends(TOPICS.events)) != plan.ends

    def is_closed(self) -> bool:
        """Whether an earlier run has left the events closed."""
        there = self._cluster.existing([TOPICS.events]).get(TOPICS.events)
        return there is not None and there.settings.get(OLDEST) == CLOSED[OLDEST]

    def is_whole(self, reader: LogReader) -> bool:
        """Whether all events can be read: none stands behind the first of an open transaction."""
        ends = self._ends(TOPICS.events)
        seen = reader.ends(list(ends))  # later, and so no less where nothing is open
        return all(seen[where] >= end for where, end in ends.items())

    def untold(self, reader: LogReader) -> int:
        """How many records the group has yet to tell or to judge."""
        untold = 0
        for topic in (TOPICS.events, TOPICS.sources):
            for where in where_of(topic, reader.partitions(topic) or 0):
                found = reader.bounds(*where)
                at = found.committed
                untold += found.end - (found.begin if at is None or at > found.end else at)
        return untold

    def nobody_tells(self, untold: int) -> str:
        """That no worker runs, and what to do."""
        return (
            f"group {self._group}: {untold:,} records of {TOPICS.events} and {TOPICS.sources} are "
            "not told, and no worker runs; start its workers, or name their group with --group: "
            "they run on until this command asks to stop them"
        )

    def _ends(self, topic: str) -> Mapping[TopicPartition, int]:
        return self._cluster.ends(topic, self._cluster.partitions([topic]).get(topic, 0))


def of_events(ends: Mapping[TopicPartition, int]) -> dict[str, int]:
    """The ends of the events, as a plan holds them."""
    return {str(at.partition): end for at, end in ends.items() if at.topic == TOPICS.events}
