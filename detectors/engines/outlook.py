"""What the watchdog asks a broker, over connections of its own that wait for nothing."""

from collections.abc import Sequence
from contextlib import suppress

from detectors.engines.log_reader import LogReader
from detectors.engines.ports import TopicPartition
from ingest.kafka_cluster import KafkaCluster
from ingest.kafka_config import KafkaConfig


class Outlook:
    """Ends of partitions, and how many there are; raises whatever its clients do."""

    def __init__(self, kafka: KafkaConfig, group: str, topics: Sequence[str]) -> None:
        self._topics = topics
        self._cluster = KafkaCluster(**kafka.keywords())
        try:
            self._reader = LogReader(kafka.keywords(), group, away_seconds=0)
        except BaseException:
            self._cluster.close()
            raise

    def partitions(self) -> dict[str, int]:
        """Of each of the topics that is there, how many it has."""
        return self._cluster.partitions(self._topics)

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last of each."""
        return self._reader.ends(partitions)

    def close(self) -> None:
        """End the connections."""
        with suppress(Exception):  # the other is to be closed all the same
            self._reader.close()
        self._cluster.close()
