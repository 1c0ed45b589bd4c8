"""Apache Kafka from Maven Central, run by Java in KRaft mode: one node, its own ports and files."""

import base64
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from tests.kafka.broker import BrokerUnavailableError, answers

POM = Path(__file__).with_name("pom.xml")
JARS = Path(__file__).parents[2] / ".cache" / "kafka" / "4.3.1"
COPY_GOAL = "dependency:copy-dependencies"
DOWNLOAD_SECONDS = 300
START_SECONDS = 60
STOP_SECONDS = 15

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class Kafka:
    """A broker with its own ports and files, which may be killed and started again.

    settings: more properties, which win; users: as `kafka-storage --add-scram` takes them.
    """

    def __init__(self, data: Path, settings: str = "", users: Sequence[str] = ()) -> None:
        java = _program("java", "a Java 17 runtime, as Debian's openjdk-17-jre-headless")
        jars = cached_jars()
        data.mkdir(parents=True, exist_ok=True)
        port, controller = free_ports(2)
        self.servers = f"127.0.0.1:{port}"
        self.controller = controller
        self._settings = data / "server.properties"
        properties = PROPERTIES.format(port=port, controller=controller, data=data)
        settings = settings.format(port=port, controller=controller, data=data)
        self._settings.write_text(properties + settings)
        self._base = [java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        self._base += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]
        self._log = data / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        named = ["-t", cluster_id(), "-c", str(self._settings)]
        named += [part for user in users for part in ("--add-scram", user)]
        _run(
            [*self._base, "kafka.tools.StorageTool", "format", *named],
            seconds=START_SECONDS,
            what="formatting Kafka's storage",
        )

    def start(self) -> None:
        """Start it, and return when it answers."""
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [*self._base, "kafka.Kafka", str(self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        _wait_until_up(self._process, self.servers, self._log)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            stop(self._process)


@contextmanager
def running_kafka(data: Path) -> Iterator[str]:
    """`host:port` of a broker that answers, until the block ends."""
    kafka = Kafka(data)
    try:
        kafka.start()
        yield kafka.servers
    finally:
        kafka.stop()


def cached_jars() -> Path:
    """The folder of Kafka's jars; the first call lets Maven fetch and verify them."""
    if JARS.is_dir():
        return JARS
    maven = _program("mvn", "Maven, as Debian's maven")
    JARS.parent.mkdir(parents=True, exist_ok=True)
    with JARS.with_name("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of tests: one of them fetches
        if JARS.is_dir():
            return JARS
        # Into a folder of its own, then renamed: a broken download is never taken for a whole one.
        with tempfile.TemporaryDirectory(dir=JARS.parent) as folder:
            _run(
                [maven, "-q", "-B", "-f", str(POM), f"-DoutputDirectory={folder}/jars", COPY_GOAL],
                seconds=DOWNLOAD_SECONDS,
                what="fetching Kafka with Maven",
            )
            Path(folder, "jars").rename(JARS)
    return JARS


def cluster_id() -> str:
    """A random id as Kafka writes it: 16 bytes in URL-safe base64, never like an option."""
    while (made := base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")).startswith("-"):
        pass
    return made


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on at the moment, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End that one process: asked first, killed when it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _wait_until_up(process: subprocess.Popen[bytes], servers: str, log: Path) -> None:
    deadline = monotonic() + START_SECONDS
    while not answers(servers):
        if process.poll() is not None:
            msg = f"Kafka ended with code {process.returncode}: {_tail(log.read_text())}"
            raise BrokerUnavailableError(msg)
        if monotonic() > deadline:
            msg = f"Kafka did not answer at {servers} within {START_SECONDS} s: "
            raise BrokerUnavailableError(msg + _tail(log.read_text()))
        sleep(0.1)


def _program(name: str, what: str) -> str:
    found = shutil.which(name)
    if found is None:
        msg = (
            f"no Kafka for the integration tests: {name} is not in PATH; install {what}, "
            "or start Docker, or set CALLWATCH_TEST_KAFKA=host:port"
        )
        raise BrokerUnavailableError(msg)
    return found


def _run(command: list[str], seconds: float, what: str) -> None:
    environ = {**os.environ, "MAVEN_OPTS": os.environ.get("MAVEN_OPTS", "-Xmx256m")}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        msg = f"no Kafka for the integration tests: {what} took longer than {seconds:g} s"
        raise BrokerUnavailableError(msg) from None
    if done.returncode:
        msg = f"no Kafka for the integration tests: {what} failed: "
        raise BrokerUnavailableError(msg + _tail(done.stdout + done.stderr))


def _tail(text: str) -> str:
    """The last lines of an output, as one line."""
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())[-600:]
