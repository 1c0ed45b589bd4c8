"""What the worker asks of Faust, checked against the Faust that is installed."""

import logging
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detectors.engines.faust_app import Worker
from detectors.engines.faust_settings import WorkerSettings, credentials, new_app
from detectors.engines.ports import TopicPartition
from ingest.kafka_config import KafkaConfig, kafka_config
from tests.unit.engines.fakes import FakeCores, run

PLAIN = KafkaConfig(("a:9092", "b:9093"))
CANARY = "canary-password"


def test_app_does_nothing_of_its_own() -> None:
    """No web server, no topics, no standby tables, no waiting for acknowledgements."""
    app = new_app(WorkerSettings(PLAIN, FakeCores(), FakeCores(), 1, group="g"))
    conf = app.conf
    assert [str(url) for url in conf.broker] == ["callwatch://a:9092", "callwatch://b:9093"]
    assert (conf.id, conf.web_enabled, conf.topic_allow_declare) == ("g", False, False)
    assert (conf.stream_wait_empty, conf.table_standby_replicas) == (False, 0)
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.broker_session_timeout == 10.0
    assert conf.broker_heartbeat_interval < conf.broker_session_timeout / 3


def test_faust_makes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it starts it would make one for tables, which a worker that is killed leaves there."""

    async def work() -> None:
        monkeypatch.chdir(tmp_path)
        app = new_app(WorkerSettings(PLAIN, FakeCores(), FakeCores(), 1, group="g"))
        await app.on_first_start()
        assert not app.conf.datadir.exists()
        assert list(tmp_path.iterdir()) == []

    run(work)


def test_plain_connection_has_no_credentials() -> None:
    """Without security settings Faust is given none."""
    assert credentials(PLAIN) is None


def _environ(**values: str) -> dict[str, str]:
    return {f"CALLWATCH_KAFKA_{name}": value for name, value in values.items()}


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_login_reaches_faust(protocol: str, mechanism: str) -> None:
    """User, password, mechanism and encryption are handed on, and nothing prints the password."""
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

    environ = _environ(
        SECURITY_PROTOCOL=protocol,
        SASL_MECHANISM=mechanism,
        SASL_USERNAME="worker",
        SASL_PASSWORD=CANARY,
    )
    kafka = kafka_config("a:9092", environ)
    found = credentials(kafka)
    settings = dict(credentials_to_aiokafka_auth(found))
    context = settings.pop("ssl_context")
    assert settings == {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "worker",
        "sasl_plain_password": CANARY,
    }
    assert isinstance(context, ssl.SSLContext) is (protocol == "SASL_SSL")
    assert CANARY not in repr(found) + repr(kafka) + repr(
        WorkerSettings(kafka, FakeCores(), FakeCores(), 1)
    )


def test_encryption_checks_the_broker() -> None:
    """With SSL the broker's certificate and name are verified."""
    found = credentials(kafka_config("a:9092", _environ(SECURITY_PROTOCOL="SSL")))
    assert found.context.verify_mode == ssl.CERT_REQUIRED
    assert found.context.check_hostname


@pytest.mark.parametrize("accepted", [True, False])
def test_refused_commit_is_said(accepted: bool, caplog: pytest.LogCaptureFixture) -> None:
    """An offset that the group refuses, since it has rebalanced, is no failure and no secret."""
    asked: list[dict[Any, int]] = []

    async def commit(offsets: dict[Any, int]) -> bool:
        asked.append(offsets)
        return accepted

    worker: Any = object.__new__(Worker)
    worker._app = SimpleNamespace(consumer=SimpleNamespace(_commit=commit))
    with caplog.at_level(logging.WARNING):
        run(lambda: worker._commit({TopicPartition("t", 3): 70}))
    assert asked == [{("t", 3): 70}]
    said = ["commit.refused partitions=t/3"]
    assert [each.getMessage() for each in caplog.records] == ([] if accepted else said)
