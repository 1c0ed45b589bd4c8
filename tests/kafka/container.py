"""The `apache/kafka` image as a test container: one KRaft node, advertised at its mapped port.

testcontainers' own Kafka class knows other vendors' images only.
"""

import gc
import io
import shlex
import tarfile
import warnings
from typing import Self

import docker
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

IMAGE = "apache/kafka:4.3.1"
CLIENT_PORT = 9092
INNER_PORT = 9093
CONTROLLER_PORT = 9094
SCRIPT = "/tmp/start-callwatch-kafka.sh"  # inside the container

ENVIRONMENT = {
    # The image drops all of its defaults as soon as one setting is given: so these are complete.
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{CONTROLLER_PORT}",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INNER",
    "KAFKA_LISTENERS": (
        f"CLIENT://0.0.0.0:{CLIENT_PORT},INNER://localhost:{INNER_PORT},"
        f"CONTROLLER://localhost:{CONTROLLER_PORT}"
    ),
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
        "CLIENT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT"
    ),
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
}


def start_script(host: str, port: int) -> str:
    """What the container runs once its mapped port is known: the image's own start.

    >>> start_script("localhost", 49153).splitlines()[1]
    'export KAFKA_ADVERTISED_LISTENERS=CLIENT://localhost:49153,INNER://localhost:9093'
    """
    advertised = f"CLIENT://{host}:{port},INNER://localhost:{INNER_PORT}"
    return (
        "#!/bin/sh\n"
        f"export KAFKA_ADVERTISED_LISTENERS={shlex.quote(advertised)}\n"
        "exec /etc/kafka/docker/run\n"
    )


def waiting_command() -> str:
    """The container's command: wait for the script, then become it."""
    return f"sh -c 'while [ ! -f {SCRIPT} ]; do sleep 0.1; done; exec sh {SCRIPT}'"


class KafkaContainer(DockerContainer):
    """One Kafka node; `servers()` is where clients outside of Docker reach it."""

    def __init__(self, image: str = IMAGE) -> None:
        super().__init__(image)
        self.with_exposed_ports(CLIENT_PORT)
        self.with_envs(**ENVIRONMENT)
        self.with_command(waiting_command())

    def servers(self) -> str:
        """`host:port` of the mapped port."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(CLIENT_PORT)}"

    def start(self) -> Self:
        """Start the container, then hand it the script with its advertised listener."""
        super().start()
        host = self.get_container_host_ip()
        script = start_script(host, int(self.get_exposed_port(CLIENT_PORT))).encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(SCRIPT.rpartition("/")[2])
            entry.size, entry.mode = len(script), 0o755
            tar.addfile(entry, io.BytesIO(script))
        self.get_wrapped_container().put_archive(SCRIPT.rpartition("/")[0], archive.getvalue())
        return self


def engine_answers() -> bool:
    """Whether a Docker engine answers here, within five seconds."""
    with warnings.catch_warnings():
        # docker's client leaves its socket to the garbage collector when nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        answered = _ping()
        gc.collect()
    return answered


def _ping() -> bool:
    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()
