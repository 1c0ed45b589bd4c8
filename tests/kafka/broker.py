"""A real Kafka broker for tests: one that is given, one in Docker, or one started by Java.

In this order: `CALLWATCH_TEST_KAFKA=host:port`; the `apache/kafka` image where a Docker engine
answers; Apache Kafka from Maven Central, started in KRaft mode by Java. Nothing here waits
without a limit, and whoever cannot get a broker is told in one line what is missing.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

GIVEN = "CALLWATCH_TEST_KAFKA"
REQUIRED = "CALLWATCH_REQUIRE_BROKER"


class BrokerUnavailableError(Exception):
    """No broker can be had here; the text says what is missing and how to get it."""


@dataclass(frozen=True)
class Broker:
    """Where the broker answers, and where it came from."""

    servers: str
    origin: str


@contextmanager
def running_broker(data: Path, environ: Mapping[str, str] | None = None) -> Iterator[Broker]:
    """A broker that answers, until the block ends; raises `BrokerUnavailableError`."""
    environ = os.environ if environ is None else environ
    if servers := environ.get(GIVEN):
        wait_until_it_answers(servers, seconds=15, what=f"{GIVEN}={servers}")
        yield Broker(servers, "given")
        return
    from tests.kafka import container, java

    if container.engine_answers():
        with container.KafkaContainer() as kafka:
            wait_until_it_answers(kafka.servers(), seconds=60, what=container.IMAGE)
            yield Broker(kafka.servers(), "docker")
        return
    with java.running_kafka(data) as servers:
        yield Broker(servers, "java")


def broker_required(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a missing broker is a failure rather than a reason to skip."""
    return (os.environ if environ is None else environ).get(REQUIRED) == "1"


def wait_until_it_answers(servers: str, seconds: float, what: str) -> None:
    """Return when the broker tells its cluster id; raises `BrokerUnavailableError`."""
    deadline = monotonic() + seconds
    while not answers(servers):
        if monotonic() > deadline:
            msg = f"{what} does not answer as a Kafka broker within {seconds:g} s"
            raise BrokerUnavailableError(msg)
        sleep(0.05)


def answers(servers: str) -> bool:
    """Whether a Kafka broker answers a metadata request there, within two seconds."""
    try:
        # kafka-python leaks a socket for each refused connection: ask the port itself first.
        host, _, port = servers.split(",", maxsplit=1)[0].rpartition(":")
        socket.create_connection((host, int(port)), timeout=2).close()
        admin = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=2000)
    except (KafkaError, OSError, ValueError):
        return False
    try:
        return bool(admin.describe_cluster().get("brokers"))
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()
