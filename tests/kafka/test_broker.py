"""How the tests get their broker, proven without Docker, Java or a network."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.kafka import broker, container, java


class _Engine:
    """Stands in for Docker: remembers what was created, started and copied."""

    def __init__(self) -> None:
        self.created: dict[str, object] = {}
        self.files: dict[str, bytes] = {}

    def create(self, image: str, **settings: object) -> SimpleNamespace:
        self.created = {"image": image, **settings}
        return SimpleNamespace(short_id="c", put_archive=self._put, status="running")

    def start(self, container: object) -> None:
        assert self.created

    def _put(self, folder: str, data: bytes) -> bool:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for entry in tar:
                file = tar.extractfile(entry)
                assert file is not None
                self.files[f"{folder}/{entry.name}"] = file.read()
        return True


@pytest.fixture
def kafka_container(monkeypatch: pytest.MonkeyPatch) -> container.KafkaContainer:
    """A started container on an engine that is not there, mapped to port 49153."""
    engine = _Engine()
    monkeypatch.setattr("testcontainers.core.container.DockerClient", lambda **_: engine)
    monkeypatch.setattr("testcontainers.core.container.Reaper.get_instance", lambda: None)
    kafka = container.KafkaContainer()
    monkeypatch.setattr(kafka, "get_container_host_ip", lambda: "docker.test")
    monkeypatch.setattr(kafka, "get_exposed_port", lambda port: {9092: 49153}[port])
    return kafka.start()


def test_container_advertises_its_mapped_port(kafka_container: container.KafkaContainer) -> None:
    """Clients outside are told the mapped port, and the container starts only after that."""
    engine = kafka_container._docker
    script = engine.files[container.SCRIPT].decode()

    assert kafka_container.servers() == "docker.test:49153"
    assert "CLIENT://docker.test:49153,INNER://localhost:9093" in script
    assert script.rstrip().endswith("exec /etc/kafka/docker/run")
    assert container.SCRIPT in str(engine.created["command"])


def test_container_settings_are_complete(kafka_container: container.KafkaContainer) -> None:
    """Every listener has a protocol and an address, and one node suffices for all topics."""
    environ = kafka_container._docker.created["environment"]
    listeners = {part.split("://")[0] for part in environ["KAFKA_LISTENERS"].split(",")}
    protocols = environ["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")

    assert {part.split(":")[0] for part in protocols} == listeners
    assert environ["KAFKA_CONTROLLER_LISTENER_NAMES"] in listeners
    assert environ["KAFKA_INTER_BROKER_LISTENER_NAME"] in listeners
    assert environ["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert environ["KAFKA_CONTROLLER_QUORUM_VOTERS"].startswith(environ["KAFKA_NODE_ID"] + "@")
    factors = [value for name, value in environ.items() if "REPLICATION_FACTOR" in name]
    assert factors == ["1", "1", "1"]


def test_given_broker_that_is_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was promised and does not answer is an error with its address, soon."""
    monkeypatch.setattr(broker, "answers", lambda servers: False)
    with pytest.raises(broker.BrokerUnavailableError, match=r"h:1 does not answer .* within 0 s"):
        broker.wait_until_it_answers("h:1", seconds=0, what="h:1")


def test_missing_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Java the message says what is missing and how to get it, in one line."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(broker.BrokerUnavailableError, match="java is not in PATH") as caught,
        java.running_kafka(tmp_path),
    ):
        pass
    assert "CALLWATCH_TEST_KAFKA" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_maven_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Maven and without cached jars the message says what is missing."""
    monkeypatch.setattr(java, "JARS", tmp_path / "absent")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(broker.BrokerUnavailableError, match="mvn is not in PATH"):
        java.cached_jars()


def test_failing_download_leaves_no_jars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Maven that fails is quoted, and no half-filled folder is taken for a cache later."""
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho no route to host\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/usr/bin:/bin")
    monkeypatch.setattr(java, "JARS", tmp_path / "cache" / "jars")
    with pytest.raises(broker.BrokerUnavailableError, match="no route to host"):
        java.cached_jars()
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["lock"]


def test_free_ports_differ() -> None:
    """A broker and its controller never get the same port."""
    assert len(set(java.free_ports(5))) == 5


def test_cluster_id_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id never starts with a dash, which Kafka's tool would take for an option."""
    drawn = iter([bytes([0xF8]) + bytes(15), bytes(16)])
    monkeypatch.setattr(java.os, "urandom", lambda _: next(drawn))
    assert java.cluster_id() == "A" * 22


def test_stop_kills_what_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores the request to end is killed, so that no broker is left behind."""
    monkeypatch.setattr(java, "STOP_SECONDS", 0.2)
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    java.stop(process)
    process.stdout.close()
    assert process.returncode == -9


@pytest.mark.parametrize(("value", "required"), [("1", True), ("0", False), (None, False)])
def test_broker_is_required_only_where_said(value: str | None, required: bool) -> None:
    """Only CALLWATCH_REQUIRE_BROKER=1 turns a missing broker into a failure."""
    environ = {} if value is None else {"CALLWATCH_REQUIRE_BROKER": value}
    assert broker.broker_required(environ) is required
