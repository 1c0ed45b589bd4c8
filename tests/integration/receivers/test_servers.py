"""Real servers keep answering whatever happens to Kafka, and account for every event."""

import json
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from ingest.kafka_cluster import KafkaCluster
from ingest.topics import create
from tests.integration.receivers.conftest import Server
from tests.kafka.broker import BrokerUnavailableError, broker_required
from tests.kafka.java import Kafka

SMALL = {"CALLWATCH_QUEUE_EVENTS": "60", "CALLWATCH_QUEUE_BYTES": "400000"}


def _sum(accounts: list[dict[str, Any]], name: str) -> int:
    return sum(int(account[name]) for account in accounts)


def _lost(accounts: list[dict[str, Any]]) -> dict[str, int]:
    lost: dict[str, int] = {}
    for account in accounts:
        for reason, count in account["dropped"].items():
            lost[reason] = lost.get(reason, 0) + count
    return lost


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kafka"),
    [
        ("uvicorn", "nowhere"),
        ("uvicorn", "black_hole"),
        ("gunicorn", "nowhere"),
        ("gunicorn --preload", "black_hole"),
        ("gunicorn, Django", "nowhere"),
    ],
)
def test_without_kafka_every_call_is_answered(
    name: str, kafka: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Away from the start or black-holed: nothing is slowed, grows, or goes missing uncounted."""
    with Server(name, request.getfixturevalue(kafka), tmp_path, SMALL) as server:
        assert server.post(400) == {204: 400}
        server.until("a hand-over failed", lambda: all(one["failures"] for one in server.stats()))
        before = server.stats()
        assert server.post(400, size=7_000) == {204: 400}
        assert server.post(200, signed=False, size=20_000) == {401: 200}
        after = server.stats()
        assert _sum(after, "offered") == 1_000
        assert _sum(after, "sent") == 0
        for one, two in zip(before, after, strict=True):
            assert two["waiting"] <= 60
            assert two["waiting_bytes"] <= 400_000
            assert two["threads"] <= one["threads"] + 1  # kafka-python's own may be there or not
            assert two["files"] <= one["files"] + 4
            assert two["memory"] <= one["memory"] + 30_000_000
        last = server.stop()
    lost = _lost(last)
    assert (_sum(last, "offered"), _sum(last, "sent"), _sum(last, "waiting")) == (1_000, 0, 0)
    assert sum(lost.values()) == 1_000
    assert set(lost) == {"queue_full", "not_sent_at_close"}


@pytest.mark.integration
@pytest.mark.slow
def test_a_broker_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    """Calls are answered before, while and after; what waited arrives, and the account is exact."""
    try:
        kafka = Kafka(tmp_path / "kafka")
    except BrokerUnavailableError as error:
        if broker_required():
            pytest.fail(f"CALLWATCH_REQUIRE_BROKER=1, but {error}", pytrace=False)
        pytest.skip(str(error))
    try:
        kafka.start()
        _create_topics(kafka.servers)
        with Server("gunicorn --preload", kafka.servers, tmp_path, {}) as server:
            assert server.post(200) == {204: 200}
            server.until("all is sent", lambda: _sum(server.stats(), "sent") == 200)
            kafka.kill()
            assert server.post(200) == {204: 200}
            server.until("it is noticed", lambda: _sum(server.stats(), "failures"), 60)
            kafka.start()
            assert server.post(200) == {204: 200}
            server.until("all is sent", lambda: _sum(server.stats(), "sent") == 600, 90)
            last = server.stop()
        assert (_sum(last, "offered"), _sum(last, "sent"), _lost(last)) == (600, 600, {})
        assert _events(kafka.servers) == 600
    finally:
        kafka.stop()


def _create_topics(servers: str) -> None:
    cluster = KafkaCluster([servers])
    try:
        create(cluster, partitions=2, replication=1)
    finally:
        cluster.close()


def _events(servers: str) -> int:
    """How many different events the topic holds; one may be there twice."""
    consumer = KafkaConsumer(
        "callwatch.events", bootstrap_servers=servers, auto_offset_reset="earliest",
        group_id=None, consumer_timeout_ms=3_000, enable_auto_commit=False,
    )  # fmt: skip
    found = set()
    for record in consumer:
        value = json.loads(record.value)
        if "id" in value:
            assert value["verdict"] == "verified"
            found.add(value["id"])
    consumer.close()
    return len(found)
