"""Records to a Kafka topic by kafka-python, which is imported only when something is sent.

kafka-python blocks where a receiver must not: its constructor for 30 s without a broker unless
`api_version` is given, and every `send` for `max_block_ms` while it has no metadata. So all of it
lives in the publisher's thread, which also gives it the bound on memory that it lacks.
"""

import atexit
import importlib.util
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any, Final

from .errors import TransportError
from .kafka_address import Address
from .partition import partition_for
from .records import Outcome, Record

if TYPE_CHECKING:
    from kafka import KafkaProducer

EVENTS_TOPIC: Final = "callwatch.events"
MAX_BLOCK_MS: Final = 1_000
DELIVERY_TIMEOUT_MS: Final = 30_000
REQUEST_TIMEOUT_MS: Final = 10_000

_log = logging.getLogger("callwatch.publisher")
_DEFAULTS: Final[dict[str, Any]] = {
    "api_version": (3, 0),  # given, the constructor returns at once; brokers from 3.0 on
    "acks": "all",
    "linger_ms": 5,
    "reconnect_backoff_max_ms": 5_000,  # events wait no longer than that after an outage
    "max_block_ms": MAX_BLOCK_MS,
    "delivery_timeout_ms": DELIVERY_TIMEOUT_MS,
    "request_timeout_ms": REQUEST_TIMEOUT_MS,
    "allow_auto_create_topics": False,  # a topic made in passing would have the wrong policy
}
_REFUSED: Final = frozenset(
    {"MessageSizeTooLargeError", "RecordListTooLargeError", "InvalidRecordError"}
)
_OUT_OF_TIME: Final = "is out of range. The timestamp"
"""So a broker says of every record of a batch, and kafka-python calls it an invalid record, while
the topic is closed to be repartitioned. At other times it takes whatever time a record has."""

_BACK_MS: Final = 24 * 60 * 60 * 1000
"""An event claims to be a day old. The broker puts its own time in place of that
(`message.timestamp.type=LogAppendTime`), and while the topic is closed, which is by time, nothing
passes for having come in the broker's very millisecond. A topic that was wrongly made with
`CreateTime` keeps it all the same."""


class KafkaTransport:
    """Sends to a topic of Kafka.

    options: anything that KafkaProducer takes (security_protocol, ssl_cafile, sasl_mechanism,
        sasl_plain_password, ...). They are kept out of every text that leaves this object.
    """

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str = EVENTS_TOPIC,
        **options: Any,
    ) -> None:
        servers = bootstrap_servers.split(",") if isinstance(bootstrap_servers, str) else None
        self._servers = [server.strip() for server in servers or bootstrap_servers]
        self._topic = topic
        self._options = {**_DEFAULTS, **options}
        self._producer: KafkaProducer | None = None
        self._inherited: list[KafkaProducer] = []
        self._away = False
        self._why = ""

    def __repr__(self) -> str:
        return f"KafkaTransport({','.join(self._servers)!r}, topic={self._topic!r})"

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        """Send some records and wait for the broker's word on each."""
        from kafka.errors import KafkaError

        producer = self._open()
        partitions = self._count(producer)
        futures: list[Any] = []
        for record in batch:
            try:
                futures.append(self._send_one(producer, record, partitions))
            except KafkaError as error:
                futures.append(_outcome(error))
            except (AssertionError, TypeError, ValueError):  # this record cannot be encoded
                futures.append(Outcome.REFUSED)
        with suppress(KafkaError):  # what is not decided is told below, record by record
            producer.flush(timeout=(DELIVERY_TIMEOUT_MS + 1_000) / 1000)
        outcomes = [
            future if isinstance(future, Outcome) else _outcome_of(future) for future in futures
        ]
        if Outcome.RETRY in outcomes:
            self._discard()
        return outcomes

    def partitions(self) -> int | None:
        """How many partitions the topic has."""
        return self._count(self._open())

    def close(self, timeout: float) -> None:
        """Close the producer."""
        self._discard(timeout)

    def after_fork(self) -> None:
        """The parent's producer has no thread here: keep it from closing itself, and forget it."""
        if self._producer is not None:
            vars(self._producer)["_closed"] = True  # its finalizer asks this before it waits
            self._inherited.append(self._producer)
            self._producer = None

    def _open(self) -> "KafkaProducer":
        if self._producer is not None:
            return self._producer
        if self._away and not reachable(self._servers, self._options):
            msg = f"{self._where()}: no broker takes connections"
            raise TransportError(msg)
        from kafka import KafkaProducer

        if importlib.util.find_spec("crc32c") is None:
            _log.warning("crc32c is not installed: sending costs much more CPU; pip install crc32c")
        try:
            producer = KafkaProducer(bootstrap_servers=self._servers, **self._options)
        except Exception as error:
            raise self._error(error) from None
        # its own exit handler would close it before the publisher has sent what waits
        atexit.unregister(getattr(producer, "_cleanup", _nothing))
        self._producer = producer
        return producer

    def _count(self, producer: "KafkaProducer") -> int:
        try:
            found = producer.partitions_for(self._topic)
        except Exception as error:
            self._discard()
            raise self._error(error) from None
        self._away = False
        return len(found)

    def _send_one(self, producer: "KafkaProducer", record: Record, partitions: int) -> Any:
        at = record.partition
        if at is None and record.key is not None:
            at = partition_for(record.key, partitions)
        return producer.send(
            self._topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=at,
            timestamp_ms=self._time_ms(),
        )

    def _time_ms(self) -> int | None:
        return int(time() * 1000) - _BACK_MS if self._topic == EVENTS_TOPIC else None

    def _discard(self, timeout: float = 0.5) -> None:
        """Close the producer; the next hand-over makes a new one, which looks brokers up afresh."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=timeout)
            except Exception as error:  # it is thrown away anyway
                _log.debug("closing a producer failed: %s", type(error).__name__)

    def _error(self, error: Exception) -> TransportError:
        """The fault, looked for once in an outage, without any option's value."""
        from .kafka_fault import fault_line

        if not self._away:
            self._why = fault_line(
                error, self._servers, self._options, otherwise=f"is topic {self._topic} missing?"
            )
        self._away = True
        return TransportError(self._why)

    def _where(self) -> str:
        return f"kafka {','.join(self._servers)} {self._topic}"


def reachable(servers: Sequence[str], options: dict[str, Any]) -> bool:
    """Whether a server takes connections; asked after a failure, before a new producer.

    kafka-python leaves two sockets to the garbage collector for each attempt that is refused. In a
    long outage they would add up in a process that seldom collects.
    """
    if options.get("proxy_url") or options.get("socks5_proxy"):
        return True  # a proxy's to say
    for server in servers:
        with suppress(OSError), socket.create_connection(Address.of(server), 1.0):
            return True
    return False


def _outcome_of(future: Any) -> Outcome:
    if not future.is_done:
        return Outcome.RETRY
    return Outcome.SENT if future.succeeded() else _outcome(future.exception)


def _outcome(error: BaseException | None) -> Outcome:
    if type(error).__name__ not in _REFUSED or _OUT_OF_TIME in str(error):
        return Outcome.RETRY
    return Outcome.REFUSED


def _nothing() -> None:
    """Stands for an exit handler that is not there."""
