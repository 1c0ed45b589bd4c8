"""The topics that callwatch needs, and how an existing cluster differs from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from .errors import TopicError

_DAY_MS: Final = 24 * 60 * 60 * 1000
BROKER_TIMEOUT_MS: Final = 5_000


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


def before(partitions: int) -> str:
    """The topic of the events from before there were so many partitions.

    >>> before(12)
    'callwatch.events.before.12'
    """
    return f"{BEFORE}.{partitions}"


# retention is the operator's choice; these decide whether callwatch works
_MUST_AGREE: Final = ("cleanup.policy", "message.timestamp.type")


@dataclass(frozen=True, slots=True)
class Existing:
    """A topic as the cluster has it."""

    partitions: int
    settings: Mapping[str, str]


class Cluster(Protocol):
    """What the two functions below need of a cluster."""

    def existing(self) -> dict[str, Existing]:
        """The topics of callwatch that exist, by name."""

    def create(self, topic: Topic, partitions: int, replication: int) -> bool:
        """Create a topic; False when somebody else just did."""


def create(cluster: Cluster, partitions: int, replication: int) -> dict[str, bool]:
    """Create what is missing; by name, whether this call created it. Existing ones are kept.

    Raises `TopicError` while a repartitioning is unfinished: what is missing then is its to make.
    """
    there = cluster.existing()
    if REPARTITION in there:
        raise TopicError(_unfinished(REPARTITION))
    return {
        topic.name: topic.name not in there
        and cluster.create(topic, partitions if topic.spread else 1, replication)
        for topic in TOPICS
    }


def faults(existing: Mapping[str, Existing]) -> list[str]:
    """One line for each way in which existing topics keep callwatch from working."""
    found = []
    events = existing.get("callwatch.events")
    unfinished = REPARTITION in existing
    if unfinished:
        found.append(_unfinished(REPARTITION))
    for topic in TOPICS:
        there = existing.get(topic.name)
        if there is None:
            missing = f"{topic.name}: is missing; `callwatch topics create` makes it"
            found.append(_unfinished(topic.name) if unfinished else missing)
            continue
        for name in _MUST_AGREE:
            wanted, given = topic.settings.get(name), there.settings.get(name)
            if wanted is not None and wanted != given:
                wrong = f"{topic.name}: {name}: allowed is {wanted}; given {given}"
                found.append(_unfinished(topic.name) if unfinished else wrong)
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


def _unfinished(name: str) -> str:
    return (
        f"{name}: a repartitioning is under way or was interrupted; "
        "`callwatch topics repartition` again goes on with it"
    )


class KafkaCluster:
    """A cluster behind kafka-python's admin client."""

    def __init__(self, bootstrap_servers: Sequence[str], **options: Any) -> None:
        from kafka import KafkaAdminClient

        self._where = f"kafka {','.join(bootstrap_servers)}"
        try:
            self._admin = KafkaAdminClient(
                bootstrap_servers=list(bootstrap_servers),
                bootstrap_timeout_ms=BROKER_TIMEOUT_MS,
                request_timeout_ms=2 * BROKER_TIMEOUT_MS,
                **options,
            )
        except Exception as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def existing(self) -> dict[str, Existing]:
        """The topics of callwatch that exist, by name."""
        from kafka.admin import ConfigResource, ConfigResourceType

        wanted = {topic.name for topic in TOPICS} | {REPARTITION}
        try:
            there = self._admin.list_topics()
            names = sorted(n for n in there if n in wanted or n.startswith(f"{BEFORE}."))
            if not names:
                return {}
            described = self._admin.describe_topics(names)
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
            configs = self._admin.describe_configs(resources, config_filter="all")["topic"]
        except Exception as error:
            raise self._error(error) from None
        return {
            topic["name"]: Existing(
                len(topic["partitions"]),
                {name: str(entry["value"]) for name, entry in configs[topic["name"]].items()},
            )
            for topic in described
        }

    def create(self, topic: Topic, partitions: int, replication: int) -> bool:
        """Create a topic; False when somebody else just did."""
        from kafka.errors import TopicAlreadyExistsError

        wanted = {
            "num_partitions": partitions,
            "replication_factor": replication,
            "configs": dict(topic.settings),
        }
        try:
            self._admin.create_topics({topic.name: wanted}, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return False
        except Exception as error:
            raise self._error(error, topic.name) from None
        return True

    def _error(self, error: Exception, topic: str = "") -> TopicError:
        """One line without the client's options, which may hold a password."""
        from kafka.errors import BrokerResponseError, KafkaTimeoutError

        where = f"{self._where} {topic}".strip()
        if isinstance(error, KafkaTimeoutError | OSError):
            return TopicError(f"{where}: no broker answers within {BROKER_TIMEOUT_MS / 1000:g} s")
        if isinstance(error, BrokerResponseError):
            return TopicError(f"{where}: the broker refuses: {' '.join(str(error).split())[:200]}")
        return TopicError(f"{where}: {type(error).__name__}")
