"""The topics that callwatch needs, and how an existing cluster differs from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from .errors import TopicError

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and the settings that matter.

    spread: whether it has as many partitions as asked for; the others have one.
    """

    name: str
    spread: bool
    settings: Mapping[str, str] = field(default_factory=dict)


TOPICS: Final = (
    Topic(
        "callwatch.events",
        spread=True,
        settings={
            "cleanup.policy": "delete",
            "retention.ms": str(7 * _DAY_MS),
            # a receiver's clock must not decide what the broker keeps or what is judged as late
            "message.timestamp.type": "LogAppendTime",
        },
    ),
    Topic(
        "callwatch.events.rejected",
        spread=False,
        settings={"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)},
    ),
    Topic(
        "callwatch.sources",
        # Benign traffic brings next to nothing there, and every partition of the events tells each
        # of these once a minute how far it is.
        spread=False,
        settings={
            "cleanup.policy": "delete",
            # the longest window of a shared detector (a day), and a weekend without workers
            "retention.ms": str(3 * _DAY_MS),
            "message.timestamp.type": "LogAppendTime",  # decides who is idle
        },
    ),
    Topic("callwatch.state", spread=True, settings={"cleanup.policy": "compact"}),
    Topic(
        "callwatch.alerts",
        spread=True,
        settings={"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)},
    ),
    Topic(
        "callwatch.alerts.dead",
        spread=False,
        settings={"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)},
    ),
)

BEFORE: Final = "callwatch.events.before"
"""What the events were before they were repartitioned, so far as they are still kept: of each
number of partitions a topic."""
REPARTITION: Final = "callwatch.repartition"
"""Exists while a repartitioning is unfinished, and holds how far it is."""
NAMES: Final = tuple(topic.name for topic in TOPICS)
LOOKED_AT: Final = (*NAMES, REPARTITION)


def before(partitions: int) -> str:
    """The topic of the events from before there were so many partitions.

    >>> before(12)
    'callwatch.events.before.12'
    """
    return f"{BEFORE}.{partitions}"


LARGEST_BATCH: Final = 1 << 20
"""Bytes; clients pack so many into a batch. Kafka's own limit is a little more."""

# retention is the operator's choice; these decide whether callwatch works
_MUST_AGREE: Final = ("cleanup.policy", "message.timestamp.type")


@dataclass(frozen=True, slots=True)
class Existing:
    """A topic as the cluster has it."""

    partitions: int
    settings: Mapping[str, str]


class Cluster(Protocol):
    """What the two functions below need of a cluster."""

    def existing(self, names: Sequence[str] = LOOKED_AT) -> dict[str, Existing]:
        """Those of these topics that exist, by name."""

    def create(self, topic: Topic, partitions: int, replication: int) -> bool:
        """Create a topic; False when somebody else just did."""


def create(cluster: Cluster, partitions: int, replication: int) -> dict[str, bool]:
    """Create what is missing; by name, whether this call created it. Existing ones are kept.

    Raises `TopicError` while a repartitioning is unfinished: what is missing then is its to make.
    """
    there = cluster.existing()
    if REPARTITION in there:
        raise TopicError(_unfinished([REPARTITION]))
    return {
        topic.name: topic.name not in there
        and cluster.create(topic, partitions if topic.spread else 1, replication)
        for topic in TOPICS
    }


def faults(existing: Mapping[str, Existing], names: Sequence[str] = NAMES) -> list[str]:
    """One line for each way in which these topics keep callwatch from working."""
    missing = [name for name in names if name not in existing]
    events = existing.get("callwatch.events")
    unfinished = REPARTITION in existing
    found = [_unfinished([REPARTITION])] if unfinished else []
    if missing:
        found.append(_unfinished(missing) if unfinished else missing_topics(missing))
    for topic in TOPICS:
        there = existing.get(topic.name)
        if there is None or topic.name not in names:
            continue
        for name in _MUST_AGREE:
            wanted, given = topic.settings.get(name), there.settings.get(name)
            if wanted is not None and wanted != given:
                wrong = f"{topic.name}: {name}: allowed is {wanted}; given {given}"
                found.append(_unfinished([topic.name]) if unfinished else wrong)
        largest = there.settings.get("max.message.bytes", "")
        if largest.isdecimal() and int(largest) < LARGEST_BATCH:
            found.append(
                f"{topic.name}: max.message.bytes: allowed from {LARGEST_BATCH} on; given {largest}"
            )
        if topic.name == "callwatch.state" and events and there.partitions != events.partitions:
            found.append(
                f"{topic.name}: partitions: allowed are those of callwatch.events, "
                f"{events.partitions}; given {there.partitions}"
            )
        if topic.name == "callwatch.sources" and events and there.partitions > events.partitions:
            found.append(  # their checkpoints would have no place
                f"{topic.name}: partitions: allowed are up to those of callwatch.events, "
                f"{events.partitions}; given {there.partitions}"
            )
    return found


def _unfinished(names: Sequence[str]) -> str:
    return (
        f"{', '.join(names)}: a repartitioning is under way or was interrupted; "
        "`callwatch topics repartition` again goes on with it"
    )


def missing_topics(names: Sequence[str]) -> str:
    """One line about topics that are not there.

    >>> missing_topics(["callwatch.state"])
    'callwatch.state: is missing; `callwatch topics create` makes it'
    """
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return f"{', '.join(names)}: {are} missing; `callwatch topics create` makes {them}"


def kept(existing: Mapping[str, Existing], created: Mapping[str, bool], partitions: int) -> str:
    """That topics which were there keep another number of partitions; empty where none does."""
    others = {
        there.partitions
        for topic in TOPICS
        if topic.spread
        and not created.get(topic.name, False)
        and (there := existing.get(topic.name)) is not None
        and there.partitions != partitions
    }
    if not others:
        return ""
    return (
        f"--partitions {partitions} is for topics that it makes: those that exist keep their "
        f"{' or '.join(map(str, sorted(others)))}; `callwatch topics repartition` changes them"
    )
