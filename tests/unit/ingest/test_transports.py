"""Transports: Kafka without a broker, a file, memory; and the CloudEvents headers they carry."""

import errno
import json
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from ingest.errors import TransportError
from ingest.kafka_transport import KafkaTransport, reachable
from ingest.partition import partition_for
from ingest.publisher import Publisher
from ingest.records import Outcome, Record, event_record
from ingest.schema import CallbackEvent, parse_event
from ingest.transports import JsonLinesTransport, MemoryTransport

Make = Callable[..., Publisher]
CANARY = "canary-7f3a"


def _event(event: dict[str, Any], **changes: Any) -> CallbackEvent:
    return parse_event(json.dumps(event | changes))


def test_a_record_is_a_cloudevent(event: dict[str, Any]) -> None:
    """The official library reads our headers as a valid CloudEvents 1.0 event in binary mode."""
    found = event_record(_event(event, receiver="shop a/1%é@shop:1"))
    message = KafkaMessage(headers=dict(found.headers), key=found.key, value=found.value)
    cloud = from_binary_event(message)
    assert cloud.get_specversion() == "1.0"
    assert cloud.get_id() == event["id"]
    assert cloud.get_type() == "callwatch.callback.v1"
    assert cloud.get_source() == "shop%20a/1%25%C3%A9@shop%3A1"
    assert cloud.get_datacontenttype() == "application/json"
    time = cloud.get_time()
    assert time is not None
    assert time.isoformat() == "2026-11-20T08:30:00+00:00"
    data = cloud.get_data()
    assert isinstance(data, dict)
    assert data["sender"] == "acme-stripe"


def test_memory_places_records_as_kafka_does(event: dict[str, Any]) -> None:
    """A key chooses its partition, unless one is given; a record without a key keeps none."""
    memory = MemoryTransport(partitions=6)
    records = [
        event_record(_event(event)),
        Record(b"acme-stripe", b"{}", partition=5),
        Record(None, b"{}"),
    ]
    assert memory.send(records) == [Outcome.SENT] * 3
    assert [record.partition for record in memory.records] == [
        partition_for(b"acme-stripe", 6),
        5,
        None,
    ]
    memory.after_fork()
    assert memory.records == []


def test_json_lines_are_appended(tmp_path: Path) -> None:
    """Every value becomes a line of a file that only its owner may read."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"old\n")
    path.chmod(0o600)
    transport = JsonLinesTransport(path)
    assert transport.send([Record(None, b"{1}"), Record(b"k", b"{2}")]) == [Outcome.SENT] * 2
    transport.close(0)
    assert transport.send([Record(None, b"{3}")]) == [Outcome.SENT]
    transport.close(0)
    transport.close(0)
    assert path.read_bytes() == b"old\n{1}\n{2}\n{3}\n"
    new = JsonLinesTransport(tmp_path / "new.jsonl")
    new.send([Record(None, b"{1}")])
    new.close(0)
    assert stat.S_IMODE((tmp_path / "new.jsonl").stat().st_mode) == 0o600
    assert (transport.partitions(), repr(transport)) == (1, f"JsonLinesTransport({str(path)!r})")


def test_a_full_disk_takes_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a full disk took is sent; a line that was cut stands alone and is tried again."""
    path = tmp_path / "events.jsonl"
    transport = JsonLinesTransport(path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:6]))
    batch = [Record(None, b"{1}"), Record(None, b"{2}"), Record(None, b"{3}")]
    assert transport.send(batch) == [Outcome.SENT, Outcome.RETRY, Outcome.RETRY]
    monkeypatch.undo()
    assert transport.send(batch[1:]) == [Outcome.SENT] * 2
    transport.close(0)
    assert path.read_bytes() == b"{1}\n{2\n{2}\n{3}\n"


def test_a_disk_that_is_full_to_the_last_byte_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even the end of a cut line fits, what was taken is known all the same."""
    path = tmp_path / "events.jsonl"
    transport = JsonLinesTransport(path)
    write = os.write
    room = 6

    def full(file: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(file, data[:room])
        room -= taken
        return taken

    monkeypatch.setattr(os, "write", full)
    batch = [Record(None, b"{1}"), Record(None, b"{2}"), Record(None, b"{3}")]
    assert transport.send(batch) == [Outcome.SENT, Outcome.RETRY, Outcome.RETRY]
    assert transport.send(batch[1:]) == [Outcome.RETRY] * 2
    monkeypatch.undo()
    assert transport.send(batch[1:]) == [Outcome.SENT] * 2
    transport.close(0)
    assert path.read_bytes() == b"{1}\n{2\n{2}\n{3}\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error is one line with the path."""
    with pytest.raises(TransportError, match="cannot be written: is a directory"):
        JsonLinesTransport(tmp_path).send([Record(None, b"{}")])


@pytest.fixture
def closed_port() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module", autouse=True)
def _kafka_is_imported() -> None:
    """kafka-python warns of a deprecated call while it is imported, not while it runs."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import kafka.producer  # noqa: F401


def test_without_a_broker_publishing_costs_nothing(closed_port: str) -> None:
    """With the port closed publish never touches the network, and the counters add up."""
    script = Path(__file__).with_name("without_broker.py")
    done = subprocess.run(
        [sys.executable, str(script), closed_port],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    account = {
        "offered": 60,
        "sent": 0,
        "dropped": {"queue_full": 10},
        "waiting": 50,
        "reports_sent": 0,
        "circuit": "closed",
        "failures": 0,
        "judging": 0,
        "unjudged": {},
    }
    found = json.loads(done.stdout)
    assert found["waiting"].pop("waiting_bytes") > 0
    assert found == {
        "published": 50,
        "failed": True,
        "tried": True,
        "host_connected": False,
        "waiting": account,
        "closed": False,
        "after": account
        | {
            "waiting": 0,
            "waiting_bytes": 0,
            "dropped": {"queue_full": 10, "not_sent_at_close": 50},
        },
    }


def test_secrets_reach_no_text(
    publish_with: Make, event: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Passwords stay out of repr, errors and logs, also where kafka-python repeats its options."""
    transport = KafkaTransport("localhost:1", sasl_plain_password=CANARY, no_such_option=CANARY)
    with caplog.at_level(logging.DEBUG), pytest.raises(TransportError) as caught:
        transport.send([event_record(_event(event))])
    assert str(caught.value) == "kafka localhost:1: ValueError"
    assert CANARY not in repr(transport) + repr(caught.value) + caplog.text
    assert caught.value.__cause__ is None
    publisher = publish_with(transport)
    publisher.publish(event)
    with publisher._courier.changed:
        assert publisher._courier.changed.wait_for(lambda: publisher._courier.failures > 0, 20)
    assert CANARY not in repr(publisher) + caplog.text


class FakeFuture:
    """What a producer returns for a record."""

    def __init__(self, error: Exception | None = None, *, done: bool = True) -> None:
        self.is_done = done
        self.exception = error

    def succeeded(self) -> bool:
        return self.is_done and self.exception is None


class FakeProducer:
    """A producer whose answers are given in advance."""

    made: ClassVar[list["FakeProducer"]] = []
    answers: ClassVar[list[Any]] = []
    partitions = 6

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        FakeProducer.made.append(self)

    def partitions_for(self, topic: str) -> set[int]:
        assert topic == "callwatch.events"
        return set(range(self.partitions))

    def send(self, topic: str, **record: Any) -> Any:
        self.sent.append(record)
        answer = self.answers.pop(0) if self.answers else FakeFuture()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def flush(self, timeout: float) -> None:
        assert timeout > 30

    def close(self, timeout: float) -> None:
        self.closed = True


@contextmanager
def _replaced(name: str, value: object) -> Iterator[None]:
    module: ModuleType = sys.modules["kafka"]
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@pytest.fixture
def producer() -> Iterator[type[FakeProducer]]:
    """Puts a fake in the place of KafkaProducer."""
    FakeProducer.made, FakeProducer.answers = [], []
    with _replaced("KafkaProducer", FakeProducer):
        yield FakeProducer


def test_the_producer_is_lazy_and_cannot_block_long(
    producer: type[FakeProducer], event: dict[str, Any]
) -> None:
    """Options that bound every wait are set, ours can be overridden, and the partition is ours."""
    transport = KafkaTransport("a:1, b:2", linger_ms=50)
    assert producer.made == []
    assert transport.partitions() == 6
    assert transport.send([event_record(_event(event)), Record(None, b"{}", partition=3)]) == [
        Outcome.SENT,
        Outcome.SENT,
    ]
    (made,) = producer.made
    assert made.options["bootstrap_servers"] == ["a:1", "b:2"]
    assert made.options["api_version"] == (3, 0)
    assert made.options["max_block_ms"] <= 1_000
    assert made.options["allow_auto_create_topics"] is False
    assert made.options["linger_ms"] == 50
    assert [record["partition"] for record in made.sent] == [partition_for(b"acme-stripe", 6), 3]
    transport.close(1)
    assert made.closed


@pytest.mark.parametrize(
    ("topic", "at"), [("callwatch.events", 1_790_000_000_000 - 86_400_000), ("other", None)]
)
def test_an_event_does_not_carry_the_present(
    topic: str, at: int | None, producer: type[FakeProducer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events take the broker's time; closed to all but the present, they let no event pass."""
    monkeypatch.setattr("ingest.kafka_transport.time", lambda: 1_790_000_000.0)
    monkeypatch.setattr(producer, "partitions_for", lambda *_: {0})
    KafkaTransport(["a:1"], topic=topic).send([Record(b"k", b"{}")])
    assert [record["timestamp_ms"] for record in producer.made[0].sent] == [at]


def test_each_kafka_error_has_its_outcome(
    producer: type[FakeProducer], event: dict[str, Any]
) -> None:
    """Too large is refused for good; what failed is tried again, on a new producer."""
    from kafka.errors import (
        InvalidRecordError,
        KafkaTimeoutError,
        MessageSizeTooLargeError,
        NotLeaderForPartitionError,
    )

    closed = "Timestamp 5 of message with offset 0 is out of range. The timestamp should be within"
    producer.answers = [
        FakeFuture(),
        MessageSizeTooLargeError(),
        FakeFuture(MessageSizeTooLargeError()),
        AssertionError(),
        KafkaTimeoutError(),
        FakeFuture(NotLeaderForPartitionError()),
        FakeFuture(done=False),
        FakeFuture(InvalidRecordError("a record without a key")),
        FakeFuture(InvalidRecordError(f"{closed} [6, 6]")),  # while the topic is repartitioned
    ]
    transport = KafkaTransport(["a:1"])
    found = transport.send([event_record(_event(event))] * 9)
    sent, refused, retry = Outcome.SENT, Outcome.REFUSED, Outcome.RETRY
    assert found == [sent, refused, refused, refused, retry, retry, retry, refused, retry]
    assert producer.made[0].closed
    assert transport.send([event_record(_event(event))]) == [sent]
    assert len(producer.made) == 2


def test_a_missing_crc32c_is_said(
    producer: type[FakeProducer],
    event: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without crc32c everything works, slowly, and the log says so."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    KafkaTransport("a:1").send([event_record(_event(event))])
    assert "crc32c is not installed" in caplog.text


def test_a_long_outage_leaves_no_files_open() -> None:
    """After the first refusal, which is told, a closed port is only knocked at."""
    code = """
import gc, logging, os, sys
from ingest.errors import TransportError
from ingest.kafka_transport import KafkaTransport, reachable
from ingest.records import Record
gc.disable()
transport = KafkaTransport(sys.argv[1], max_block_ms=50)
counts = []
for _ in range(8):
    try:
        transport.send([Record(b"k", b"{}")])
    except TransportError as error:
        counts.append((len(os.listdir("/proc/self/fd")), str(error)))
print(counts[1][0] == counts[-1][0], len(counts), counts[-1][1])
print(counts[0][1])
"""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, server],
            cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False,
        )  # fmt: skip
    text = f"kafka {server} callwatch.events: no broker takes connections"
    knocked, first = done.stdout.splitlines()
    assert knocked == f"True 8 {text}", done.stderr
    assert first.startswith(f"kafka {server}: connection refused, since nothing listens on port")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_broker_that_is_back_is_noticed(host: str) -> None:
    """Any of the servers that takes connections is enough; behind a proxy nobody knocks."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert reachable(["127.0.0.1:1", f"{host}:{port}"], {})
    assert not reachable(["127.0.0.1:1", "[::1]:1", f"{host}:{port}"], {})
    assert reachable(["127.0.0.1:1"], {"proxy_url": "http://proxy:3128"})
