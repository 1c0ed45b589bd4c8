"""The cluster's topics, seen and made by kafka-python's admin client."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from .errors import TopicError
from .kafka_client import DENIED, EXISTS, FINE, UNKNOWN, opened
from .kafka_fault import fault_line, no_permission, refusal
from .topics import LOOKED_AT, Existing, Topic, missing_topics

BROKER_TIMEOUT_MS: Final = 5_000


class KafkaCluster:
    """A cluster behind kafka-python's admin client."""

    def __init__(self, bootstrap_servers: Sequence[str], **options: Any) -> None:
        from kafka import KafkaAdminClient

        self._servers = list(bootstrap_servers)
        self._options = options
        try:
            self._admin = opened(
                KafkaAdminClient,
                bootstrap_servers=self._servers,
                bootstrap_timeout_ms=BROKER_TIMEOUT_MS,
                request_timeout_ms=2 * BROKER_TIMEOUT_MS,
                **options,
            )
        except Exception as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        """How many partitions those of these topics have that exist; needs DESCRIBE on each."""
        try:
            described = self._admin.describe_topics(list(names))
        except Exception as error:
            raise self._error(error) from None
        codes = {topic["name"]: topic["error_code"] for topic in described}
        self._refuse_denied([name for name in names if codes.get(name) == DENIED], "DESCRIBE")
        for name, code in codes.items():
            if code not in (FINE, UNKNOWN):
                raise self._refused(name, code)
        return {
            topic["name"]: len(topic["partitions"])
            for topic in described
            if topic["error_code"] == FINE
        }

    def existing(self, names: Sequence[str] = LOOKED_AT) -> dict[str, Existing]:
        """Those of these topics that exist, by name; needs DESCRIBE_CONFIGS on them, too."""
        from kafka.admin import ConfigResource, ConfigResourceType

        counts = self.partitions(names)
        if not counts:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]
        try:
            configs = self._admin.describe_configs(resources, config_filter="all")["topic"]
        except Exception as error:
            raise self._error(error) from None
        # kafka-python passes over the code of an answer; every topic has settings
        self._refuse_denied([name for name in counts if not configs.get(name)], "DESCRIBE_CONFIGS")
        return {
            name: Existing(
                count, {key: str(entry["value"]) for key, entry in configs[name].items()}
            )
            for name, count in counts.items()
        }

    def create(self, topic: Topic, partitions: int, replication: int) -> bool:
        """Create a topic; False when somebody else just did."""
        wanted = {
            "num_partitions": partitions,
            "replication_factor": replication,
            "configs": dict(topic.settings),
        }
        try:
            answer = self._admin.create_topics({topic.name: wanted}, raise_errors=False)
        except Exception as error:
            raise self._error(error) from None
        made = answer["topics"][0]
        if made["error_code"] == EXISTS:
            return False
        if made["error_code"] == DENIED:
            self._refuse_denied([topic.name], "CREATE")
        if made["error_code"] != FINE:
            raise self._refused(topic.name, made["error_code"], made["error_message"])
        try:
            self._admin.wait_for_topics([topic.name])
        except Exception as error:
            raise self._error(error) from None
        return True

    def insist(self, needs: Mapping[str, Sequence[str]], group: str) -> None:
        """Nothing where this client may do that on these topics, and belong to the group.

        Else `TopicError`. Clients of a group may wait without end for what they are not allowed.
        """
        from kafka.errors import GroupAuthorizationFailedError, KafkaError

        try:
            described = self._admin.describe_topics(list(needs))
        except Exception as error:
            raise self._error(error) from None
        allowed = {topic["name"]: topic.get("authorized_operations") for topic in described}
        for operation in sorted({each for needed in needs.values() for each in needed}):
            self._refuse_denied(
                [
                    name
                    for name, needed in needs.items()
                    if operation in needed and operation not in (allowed.get(name) or [operation])
                ],
                operation,
            )
        with suppress(KafkaError):  # the group's coordinator may still have to come up
            try:
                self._admin.describe_groups([group])
            except GroupAuthorizationFailedError as error:
                raise self._error(error, group) from None

    def _refuse_denied(self, names: Sequence[str], operation: str) -> None:
        if names:
            topics = "topic" if len(names) == 1 else "topics"
            what = f"{topics} {', '.join(names)} ({operation})"
            msg = f"{self._where()}: {no_permission(what, self._options)}"
            raise TopicError(msg)

    def _refused(self, name: str, code: int, text: str | None = None) -> TopicError:
        return TopicError(f"{self._where()} {name}: {refusal(code, text)}")

    def _error(self, error: Exception, group: str = "") -> TopicError:
        return TopicError(fault_line(error, self._servers, self._options, group))

    def _where(self) -> str:
        return f"kafka {','.join(self._servers)}"


def insist_on(name: str, bootstrap_servers: Sequence[str], **options: Any) -> None:
    """Nothing where the topic is there and may be seen; else a `TopicError` that says why not."""
    cluster = KafkaCluster(bootstrap_servers, **options)
    try:
        there = cluster.partitions([name])
    finally:
        cluster.close()
    if name not in there:
        msg = f"kafka {','.join(bootstrap_servers)}: {missing_topics([name])}"
        raise TopicError(msg)
