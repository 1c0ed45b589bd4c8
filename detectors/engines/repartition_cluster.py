"""What repartitioning asks of a cluster beside the records: topics, settings, groups, its notes."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from threading import Event
from time import monotonic
from typing import Any, Final, TypeVar
from uuid import UUID

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogReader
from detectors.engines.ports import TopicPartition
from detectors.engines.repartition_plan import BYTES, Plan, Shape
from ingest.errors import TopicError
from ingest.kafka_client import UNKNOWN
from ingest.kafka_cluster import KafkaCluster
from ingest.topics import REPARTITION, Topic

T = TypeVar("T")

GONE_SECONDS: Final = 60.0
"""A topic that is deleted is gone by then."""
AGAIN_SECONDS: Final = 0.25


class RepartitionCluster(KafkaCluster):
    """A cluster whose topics are made anew."""

    def __init__(self, keywords: Mapping[str, Any]) -> None:
        super().__init__(**keywords)
        self._keywords = dict(keywords)

    def shape(self, name: str) -> Shape:
        """How a topic is made."""
        from kafka.admin import ConfigResource, ConfigResourceType

        def ask() -> Shape:
            (topic,) = self._admin.describe_topics([name])
            resource = ConfigResource(ConfigResourceType.TOPIC, name)
            found = self._admin.describe_configs([resource], config_filter="all")
            settings = found["topic"][name]
            return Shape(
                len(topic["partitions"]),
                len(topic["partitions"][0]["replica_nodes"]),
                {
                    each: str(entry["value"])
                    for each, entry in sorted(settings.items())
                    if entry["config_source"] == "DYNAMIC_TOPIC_CONFIG"
                    and not each.endswith(".throttled.replicas")  # names old partitions
                },
                int(settings[BYTES]["value"]),
            )

        return self._ask(ask, name)

    def identity(self, name: str) -> str | None:
        """The id that Kafka gave to a topic; empty where it gives none, None without the topic."""
        (topic,) = self._ask(lambda: self._admin.describe_topics([name]), name)
        if topic["error_code"] == UNKNOWN:
            return None
        if topic["error_code"]:
            raise self._refused(name, topic["error_code"])
        found = str(topic.get("topic_id") or "")
        return found if found and UUID(found).int else ""

    def ends(self, name: str, partitions: int) -> dict[TopicPartition, int]:
        """The offsets after the last, of transactions that are open too."""
        from kafka import TopicPartition as Where
        from kafka.admin import OffsetSpec

        asked: Any = {Where(name, each): OffsetSpec.LATEST for each in range(partitions)}
        found = self._ask(lambda: self._admin.list_partition_offsets(asked), name)
        return {TopicPartition(*where): told.offset for where, told in found.items()}

    def makes_topics(self) -> bool | None:
        """Whether a broker makes what a client asks for; None where that may not be read."""
        from kafka.admin import ConfigResource, ConfigResourceType

        try:
            brokers = self._admin.describe_cluster()["brokers"]
            asked = [
                ConfigResource(ConfigResourceType.BROKER, str(each["broker_id"]))
                for each in brokers
            ]
            found = self._admin.describe_configs(asked, config_filter="all")["broker"]
            told = {str(each["auto.create.topics.enable"]["value"]) for each in found.values()}
        except Exception:
            return None
        return "true" in told if told else None

    def size(self, name: str) -> int | None:
        """The bytes of a topic on all brokers; None where that is not told."""
        try:
            found = self._admin.describe_log_dirs([name])
            return sum(
                int(partition["partition_size"])
                for broker in found
                for folder in broker["log_dirs"]
                for topic in folder["topics"]
                for partition in topic["partitions"]
            )
        except Exception:  # it is only for a person to know
            return None

    def make(self, name: str, shape: Shape) -> None:
        """Create a topic, where one of this name may just have been deleted."""
        topic = Topic(name, spread=True, settings=shape.settings)
        made = self.create(topic, shape.partitions, shape.replication)
        until = monotonic() + GONE_SECONDS
        while not made:
            if monotonic() > until:
                msg = f"{name}: somebody else has made it meanwhile"
                raise EngineError(msg)
            Event().wait(AGAIN_SECONDS)
            made = self.create(topic, shape.partitions, shape.replication)

    def delete(self, names: Iterable[str]) -> None:
        """Delete those that exist, and wait until they are gone."""
        from kafka.errors import UnknownTopicOrPartitionError

        wanted = set(names)

        def step() -> list[str]:
            there = sorted(wanted & set(self._admin.list_topics()))
            if there:
                with suppress(UnknownTopicOrPartitionError):
                    self._admin.delete_topics(there)
            return there

        until = monotonic() + GONE_SECONDS
        while there := self._ask(step):
            if monotonic() > until:
                msg = f"{', '.join(there)}: not gone {GONE_SECONDS:g} s after it was deleted"
                raise EngineError(msg)
            Event().wait(AGAIN_SECONDS)

    def alter(self, name: str, settings: Mapping[str, str | None]) -> None:
        """Change some settings of a topic; None takes one back."""
        from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType

        given: Any = {
            each: (AlterConfigOp.DELETE if value is None else AlterConfigOp.SET, value)
            for each, value in settings.items()
        }
        resource = ConfigResource(ConfigResourceType.TOPIC, name, given)
        answer = self._ask(lambda: self._admin.alter_configs([resource]), name)
        if (said := answer["topic"][name]) != "OK":
            msg = f"{name}: its settings cannot be changed: {' '.join(str(said).split())[:200]}"
            raise EngineError(msg)

    def members(self, group: str) -> int:
        """How many members a consumer group has."""
        return self._ask(lambda: len(self._admin.describe_groups([group])[group]["members"]))

    def begin_anew(self, group: str, topics: Mapping[str, int]) -> None:
        """Let a group without members be at the beginning of these topics."""
        from kafka import TopicPartition as Where
        from kafka.errors import NoError
        from kafka.structs import OffsetAndMetadata

        offsets = {
            Where(topic, each): OffsetAndMetadata(0, "", -1)
            for topic, count in topics.items()
            for each in range(count)
        }
        answer = self._ask(lambda: self._admin.alter_group_offsets(group, offsets))
        if wrong := [error for error in answer.values() if error is not NoError]:
            msg = f"group {group}: its offsets cannot be set: {wrong[0].__name__}"
            raise EngineError(msg)

    def write_plan(self, plan: Plan) -> None:
        """Keep how far it is."""
        from kafka import KafkaProducer

        def send() -> None:
            with closing(KafkaProducer(**self._keywords, acks="all")) as producer:
                sent: Any = producer.send(REPARTITION, plan.record(), partition=0)
                sent.get(GONE_SECONDS)

        self._ask(send, REPARTITION)

    def plan(self, reader: LogReader) -> Plan | None:
        """How far it is; None where none is under way."""
        if REPARTITION not in self.partitions([REPARTITION]):
            return None
        bounds = reader.bounds(REPARTITION, 0)
        found = [
            each.value or b""
            for batch in reader.read(REPARTITION, 0, bounds.begin, bounds.end)
            for each in batch
        ]
        return Plan.read(found[-1]) if found else None

    def _ask(self, ask: Callable[[], T], topic: str = "") -> T:
        """Ask, a few times where that may help; what fails is told in one line."""
        until = monotonic() + GONE_SECONDS
        while True:
            try:
                return ask()
            except Exception as error:
                from kafka.errors import KafkaError

                if not (isinstance(error, KafkaError) and error.retriable) or monotonic() > until:
                    told = self._error(error)
                    raise (TopicError(f"{topic}: {told}") if topic else told) from None
            Event().wait(AGAIN_SECONDS)


def where_of(topic: str, count: int) -> list[TopicPartition]:
    """All partitions of a topic."""
    return [TopicPartition(topic, each) for each in range(count)]
