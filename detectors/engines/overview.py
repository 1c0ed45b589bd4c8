"""What the watchdog asks a broker, over connections of its own that wait for nothing."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogReader
from detectors.engines.ports import TopicPartition
from ingest.kafka_client import FINE, UNKNOWN, opened
from ingest.kafka_config import KafkaConfig

ANSWER_MS: Final = 5_000


class Overview:
    """Ends of partitions, and how many there are; raises what its clients do."""

    def __init__(self, kafka: KafkaConfig, group: str, topics: Sequence[str]) -> None:
        from kafka import KafkaAdminClient

        self._topics = list(topics)
        self._admin = opened(
            KafkaAdminClient,
            bootstrap_timeout_ms=ANSWER_MS,
            request_timeout_ms=ANSWER_MS,
            **kafka.keywords(),
        )
        try:
            self._reader = LogReader(kafka.keywords(), group, away_seconds=0)
        except BaseException:
            self._admin.close()
            raise

    def partitions(self) -> dict[str, int | None]:
        """Of each of the topics how many it has; None where that is not told, as without leave.

        Those that are not there are left out.
        """
        if not self._topics:
            return {}
        return {
            topic["name"]: len(topic["partitions"]) if topic["error_code"] == FINE else None
            for topic in self._admin.describe_topics(self._topics)
            if topic["error_code"] != UNKNOWN
        }

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last of each; none while one of them has no leader."""
        from kafka.errors import LeaderNotAvailableError

        try:
            return self._reader.ends(partitions)
        except EngineError as error:  # a broker has answered: it is not away
            if not isinstance(error.__cause__, LeaderNotAvailableError):
                raise
            return {}

    def close(self) -> None:
        """End the connections."""
        with suppress(Exception):  # the other is to be closed all the same
            self._reader.close()
        self._admin.close()
