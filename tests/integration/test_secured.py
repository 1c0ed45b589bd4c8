"""A broker with TLS, logins and permissions: why it is not reached, and what each role needs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from alerts.alert import Alert
from ingest.errors import TopicError
from ingest.kafka_cluster import KafkaCluster
from ingest.kafka_config import kafka_config
from ingest.kafka_fault import fault_line
from ingest.publisher import Publisher
from ingest.topics import Topic, create
from ingest.transports import KafkaTransport
from tests.integration.pipeline import EVENTS, Process, wait_until
from tests.integration.receivers.certificates import KEY_PASSWORD
from tests.integration.secured import PASSWORD, Secured, grant, granted, prepared
from tests.kafka.broker import BrokerUnavailableError, broker_required
from tests.unit.detectors.streams import MONDAY, calls

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ROLES = ("operator", "receiver", "worker", "router", "analyst")
VERDICT = ("benign", "--reason", "a test of ours", "--expires", "2026-12-31", "--at", "2026-06-01")
COMMANDS = (
    ("topics", "check"),
    ("topics", "create"),
    ("worker",),
    ("route", "--stdout"),
    ("verdict", "an-alert", *VERDICT),
    ("doctor",),
)
KEY = "ab" * 32
PROTOCOL = "CALLWATCH_KAFKA_SECURITY_PROTOCOL"
SENT_ON = "answers, and sends its clients to {} (advertised.listeners of the broker); there: "


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One with the table of permissions for users with the roles' names; the operator's topics."""
    try:
        made = prepared(tmp_path_factory.mktemp("secured"))
    except BrokerUnavailableError as error:
        if broker_required():
            pytest.fail(f"CALLWATCH_REQUIRE_BROKER=1, but {error}", pytrace=False)
        pytest.skip(str(error))
    try:
        made.kafka.start()
        page = ROOT / "docs" / "kafka.md"
        grant(made.kafka.servers, [each for role in ROLES for each in granted(page, role)])
        with closing(KafkaCluster(**_keywords(made.variables("SCRAM", "operator")))) as cluster:
            assert all(create(cluster, partitions=1, replication=1).values())
        yield made
    finally:
        made.kafka.stop()


def _environ(variables: Mapping[str, str | None]) -> dict[str, str]:
    return {f"CALLWATCH_KAFKA_{name}": value for name, value in variables.items() if value}


def _keywords(variables: Mapping[str, str | None]) -> dict[str, Any]:
    return kafka_config(environ=_environ(variables)).keywords()


def _line(variables: Mapping[str, str | None]) -> str:
    """What is told after a client's time was over."""
    options = _keywords(variables)
    return fault_line(KafkaTimeoutError("x"), options["bootstrap_servers"], options)


CASES = (
    ("TLS", {"SSL_CAFILE": None}, "its certificate is not trusted (unable to get local issuer"),
    ("TLS", {"BOOTSTRAP_SERVERS": "localhost:{TLS}"}, "its certificate is for another name"),
    ("EXPIRED", {}, "its certificate has expired"),
    ("MTLS", {}, "it wants a client certificate that it trusts (bad certificate)"),
    ("TLS", {"BOOTSTRAP_SERVERS": "127.0.0.1:{PLAIN}"}, "the port speaks no TLS"),
    ("SCRAM", {"BOOTSTRAP_SERVERS": "127.0.0.1:{PLAIN}"}, "the port speaks no TLS"),
    ("AWAY", {"BOOTSTRAP_SERVERS": "127.0.0.1:{TLS}"},
     f"the port speaks TLS: {PROTOCOL} must be SSL (it is PLAINTEXT)"),
    ("PLAIN", {"BOOTSTRAP_SERVERS": "127.0.0.1:{SCRAM}"},
     f"the port speaks TLS: {PROTOCOL} must be SASL_SSL (it is SASL_PLAINTEXT)"),
    ("AWAY", {"BOOTSTRAP_SERVERS": "127.0.0.1:{PLAIN}"},
     f"the port wants a login: {PROTOCOL} must be SASL_PLAINTEXT"),
    ("TLS", {"BOOTSTRAP_SERVERS": "127.0.0.1:{SCRAM}"},
     f"the port wants a login: {PROTOCOL} must be SASL_SSL"),
    ("SCRAM", {"BOOTSTRAP_SERVERS": "127.0.0.1:{TLS}"}, "the port takes no login"),
    ("SCRAM", {"SASL_PASSWORD": "wr0ng-c4n4ry"},
     'it refuses the SCRAM-SHA-512 login of "worker": CALLWATCH_KAFKA_SASL_USERNAME, or'),
    ("PLAIN", {"SASL_USERNAME": "mallory"}, 'it refuses the SCRAM-SHA-512 login of "mallory"'),
    ("SCRAM", {"SASL_MECHANISM": "PLAIN"},
     "it offers no login by PLAIN: CALLWATCH_KAFKA_SASL_MECHANISM must be SCRAM-SHA-512"),
    ("PLAINTEXT", {"BOOTSTRAP_SERVERS": "127.0.0.1:{CONTROLLER}"}, "it is a controller's port"),
    ("AWAY", {}, SENT_ON.format("127.0.0.1:1") + "connection refused"),
    ("LOST", {}, SENT_ON.format("broker.invalid:9092") + 'the name "broker.invalid" is not resol'),
    ("SCRAM", {}, "it did not do its part in time (KafkaTimeoutError), though connections to it "),
)  # fmt: skip


@pytest.mark.parametrize(("listener", "other", "reason"), CASES)
def test_each_way_to_fail_has_its_reason(
    listener: str, other: Mapping[str, str | None], reason: str, broker: Secured
) -> None:
    """The line says at which step it ended and which setting decides there, and no secret."""
    given = {
        name: value and value.format(**broker.ports)
        for name, value in {**broker.variables(listener, "worker"), **other}.items()
    }
    line = _line(given)
    assert line.startswith(f"kafka {given['BOOTSTRAP_SERVERS']}: {reason}")
    assert line.isprintable()
    assert not [each for each in (PASSWORD, KEY_PASSWORD, "c4n4ry") if each in line]


def test_a_client_certificate_is_shown(broker: Secured) -> None:
    """Where it is trusted the way is free: the probe uses it as the clients do."""
    given = broker.variables("MTLS") | {
        "SSL_CERTFILE": str(broker.folder / "client.pem"),
        "SSL_KEYFILE": str(broker.folder / "client.key"),
        "SSL_KEY_PASSWORD": KEY_PASSWORD,
    }
    assert "though connections to it work now" in _line(given)


Asked = tuple[Mapping[str, str], Sequence[str]]


def _said(*asked: Asked) -> list[str]:
    """What commands with these settings say on their way out, all at once; a doctor its errors."""
    environ = {key: value for key, value in os.environ.items() if "CALLWATCH_KAFKA" not in key}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "callwatch", *command],
            env=environ | _environ(variables) | {"CALLWATCH_CONTROL_KEY": KEY},
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for variables, command in asked
    ]  # fmt: skip
    texts = [process.communicate(timeout=120)[0] for process in running]
    codes = [process.returncode for process in running]
    assert codes == [int(command != ("doctor",)) for _, command in asked], texts
    return [
        "\n".join(re.findall(r"^error   kafka: (.*)", text, re.MULTILINE))
        if command == ("doctor",)
        else text.removeprefix("Error: ").rstrip("\n")
        for (_, command), text in zip(asked, texts, strict=True)
    ]


def test_every_command_says_why_in_one_line(broker: Secured) -> None:
    """All that talk to Kafka tell it alike, and nothing of a library beside it."""
    away = broker.variables("AWAY")
    wrong = broker.variables("SCRAM", "worker", "wr0ng-c4n4ry")
    *lines, login = _said(*[(away, command) for command in COMMANDS], (wrong, COMMANDS[0]))
    sent_on = SENT_ON.format("127.0.0.1:1")
    refused = "connection refused, since nothing listens on port 1 there: start the broker, or"
    told = f"kafka {broker.server('AWAY')}: {sent_on}{refused} correct the port"
    assert lines == len(COMMANDS) * [told]
    assert login == (
        f"kafka {broker.server('SCRAM')}: it refuses the SCRAM-SHA-512 login of "
        '"worker": CALLWATCH_KAFKA_SASL_USERNAME, or CALLWATCH_KAFKA_SASL_PASSWORD (or its '
        "_FILE), is wrong"
    )


def test_every_command_says_what_it_may_not(broker: Secured) -> None:
    """Who, on what, and which operation; a group at the start, where a client would wait for it."""
    nobody = broker.variables("SCRAM", "nobody")
    other = ("--group", "another")
    worker, router, *lines = _said(
        (broker.variables("SCRAM", "worker"), ("worker", *other)),
        (broker.variables("SCRAM", "router"), ("route", "--stdout", *other)),
        *[(nobody, command) for command in COMMANDS if command[0] != "doctor"],
    )
    where = f"kafka {broker.server('SCRAM')}: user"
    page = "docs/kafka.md#permissions lists what each role needs"
    assert worker == f'{where} "worker" has no permission on group another: {page}'
    assert router == f'{where} "router" has no permission on group another: {page}'
    for line in lines:
        topics = r"topics? callwatch\.[a-z., ]+ \(DESCRIBE\)"
        assert re.fullmatch(rf'{where} "nobody" has no permission on {topics}: {page}', line)


def test_too_many_copies_are_refused_in_the_brokers_words(broker: Secured) -> None:
    """The reason stands in the line, not the request that it answers."""
    options = _keywords(broker.variables("SCRAM", "operator"))
    with closing(KafkaCluster(**options)) as cluster, pytest.raises(TopicError) as caught:
        cluster.create(Topic("callwatch.more", spread=True), 1, replication=3)
    (server,) = options["bootstrap_servers"]
    line = f"kafka {server} callwatch.more: the broker refuses, INVALID_REPLICATION_FACTOR: "
    assert str(caught.value).startswith(line)
    assert "only 1 broker(s) are registered" in str(caught.value)


@contextmanager
def _as(broker: Secured, role: str) -> Iterator[None]:
    """The environment of a role, for what is started meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _environ(broker.variables("SCRAM", role)).items():
            patch.setenv(name, value)
        yield


def test_the_permissions_suffice(
    broker: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those of the table, and no others, each role does its part of the whole way."""
    monkeypatch.setenv("CALLWATCH_CONTROL_KEY", KEY)

    def start(role: str, *command: str) -> Process:
        with _as(broker, role):
            return Process(command[0], command[1:], tmp_path / f"{role}-{command[0]}.log")

    operator = start("operator", "topics", "check")
    out = tmp_path / "alerts.jsonl"
    worker = start("worker", "worker", "--checkpoint-every", "0.5")
    router = start("router", "route", "--out", str(out))
    try:
        transport = KafkaTransport(**_keywords(broker.variables("SCRAM", "receiver")))
        publisher = Publisher(transport, receiver="test/1@here", report_every=None)
        for event in calls(8, 5, MONDAY, provider="stripe", signature_fp="ab" * 16):
            assert publisher.publish(event)
        assert publisher.flush(30)
        publisher.close(5)
        with closing(KafkaProducer(bootstrap_servers=broker.kafka.servers)) as producer:
            producer.send(EVENTS, b"no event", partition=0).get(30)

        def told() -> list[Alert]:
            worker.check()
            router.check()
            lines = out.read_bytes().splitlines() if out.exists() else []
            return [Alert.from_json(line) for line in lines]

        (opened,) = wait_until("an alert", told)
        assert operator.ended(60) == 0, operator.text()
        analyst = start("analyst", "verdict", opened.id, *VERDICT)
        assert analyst.ended(60) == 0, analyst.text()
        wait_until("it closed", lambda: [each for each in told() if each.status == "closed"])
        assert (router.terminate(20), worker.terminate(20)) == (0, 0)
    finally:
        router.stop()
        worker.stop()
    assert "saved=true" in worker.text()
    accounts = re.findall(r"partitions\.accounts .*", worker.text())
    assert [line for line in accounts if "rejected=1" in line], worker.text()
