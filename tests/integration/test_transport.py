"""What a real broker hands over in every packing, and what producers take back."""

import json
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from kafka import KafkaProducer

from detectors.config import Config
from detectors.engines.log_reader import LogReader
from tests.integration.conftest import Traffic
from tests.integration.pipeline import EVENTS, PARTITIONS, Pipeline, wait_until
from tests.integration.test_pipeline import _assert_same, _assigned, _parts
from tests.kafka.broker import Broker
from tests.kafka.java import Kafka

pytestmark = pytest.mark.integration
CODECS = (None, "gzip", "snappy", "lz4", "zstd")


def _values(traffic: Traffic, count: int) -> list[bytes]:
    return [json.dumps(event).encode() for event in traffic.events[:count]]


def _compressed(servers: str, codec: str | None, values: Sequence[bytes]) -> None:
    """Put values onto partition 0 in batches of many, packed like this."""
    with closing(
        KafkaProducer(bootstrap_servers=servers, compression_type=codec, linger_ms=50)
    ) as producer:
        sent = [
            producer.send(EVENTS, each, key=b"k", partition=0, headers=[("ce_id", b"1")])
            for each in values
        ]
        for each in sent:
            each.get(30)


def test_every_compression_gives_the_same_state(
    pipeline: Pipeline, traffic: Traffic, config: Config
) -> None:
    """Events packed in five ways are all scored, live and read again from the log."""
    values = _values(traffic, 1000)
    for number, codec in enumerate(CODECS):
        _compressed(pipeline.servers, codec, values[200 * number : 200 * number + 200])
    worker = pipeline.worker()
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert pipeline.rejected() == []
    core = pipeline.undisturbed(config)[0]
    assert core.counters["scored"] == 1000
    assert _parts(pipeline.checkpoint(0).snapshot) == _parts(core.snapshot())


def test_what_a_producer_takes_back_is_no_event(pipeline: Pipeline, traffic: Traffic) -> None:
    """Of transactions only the committed are scored, and the offsets go past all of them."""
    values = _values(traffic, 60)
    worker = pipeline.worker()
    with closing(
        KafkaProducer(
            bootstrap_servers=pipeline.servers, transactional_id=pipeline.group, acks="all"
        )
    ) as producer:
        producer.init_transactions()
        for number in range(6):
            producer.begin_transaction()
            for each in values[10 * number : 10 * number + 10]:
                producer.send(EVENTS, each, key=b"k", partition=0)
            producer.flush()
            (producer.commit_transaction if number % 2 else producer.abort_transaction)()
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert "partition.gap" not in worker.text()
    header = _parts(pipeline.checkpoint(0).snapshot)
    assert header["counters"]["consumed"] == header["counters"]["scored"] == 30


def test_killed_neighbour_is_replaced(pipeline: Pipeline, traffic: Traffic, config: Config) -> None:
    """Of two workers one is killed amid events: the other goes on, and no alert is lost."""
    first, second, third = traffic.thirds()
    stays, dies = pipeline.worker(), pipeline.worker()
    wait_until("a half for each", lambda: len(_assigned(stays)) == len(_assigned(dies)) == 2)
    pipeline.publish(first)
    pipeline.wait_until_done(stays, dies)
    pipeline.publish(second)
    dies.kill()
    pipeline.publish(third)
    wait_until("all partitions", lambda: _assigned(stays) == list(range(PARTITIONS)))
    pipeline.wait_until_done(stays)
    assert stays.terminate(number=signal.SIGTERM) == 0, stays.text()
    assert "state.rebuilt" not in stays.text()
    _assert_same(pipeline.alerts(), traffic, pipeline, config)


def ends(servers: str, group: str, asking: Path) -> int:
    """Where a partition ends; in a process of its own, whose sockets are not our tests'."""
    asking.touch()
    reader = LogReader({"bootstrap_servers": servers}, group)
    found = reader.bounds(EVENTS, 0).end
    reader.close()
    return found


def test_told_to_stop_without_a_broker_it_ends(
    traffic: Traffic, tmp_path: Path, kafka_broker: Broker
) -> None:
    """While nothing can be saved, SIGTERM ends a worker within seconds, with 1 and a reason."""
    if kafka_broker.origin != "java":
        pytest.skip(f"cannot kill the broker ({kafka_broker.origin})")
    broker = Kafka(tmp_path / "kafka")
    broker.start()
    try:
        with Pipeline(broker.servers, tmp_path) as made:
            worker = made.worker(checkpoint_every=60)
            made.publish(traffic.events[:1000])
            wait_until("ready", lambda: "worker.ready" in worker.check().text())
            with made.away():
                broker.kill()
                wait_until("the worker noticed", lambda: "ERROR" in worker.check().text())
                assert worker.terminate(within=20) == 1
                assert "checkpoint.too_late" in worker.text()
                assert "worker.stopped saved=false" in worker.text()
                broker.start()
    finally:
        broker.stop()


def test_broker_that_dies_is_waited_for(
    traffic: Traffic, config: Config, tmp_path: Path, kafka_broker: Broker
) -> None:
    """A broker is killed amid events and started again: the worker goes on, and says little.

    So does whoever begins to read the log while it is away, as a worker that restores.
    """
    if kafka_broker.origin != "java":
        pytest.skip(f"cannot kill the broker ({kafka_broker.origin})")
    first, second, third = traffic.thirds()
    broker = Kafka(tmp_path / "kafka")
    broker.start()
    try:
        apart = ProcessPoolExecutor(1, get_context("spawn"))
        with Pipeline(broker.servers, tmp_path) as made, apart:
            ready = tmp_path / "ready"
            worker = made.worker("--ready-file", str(ready))
            wait_until("ready", ready.exists)
            made.publish(first)
            made.wait_until_done(worker)
            made.publish(second)
            with made.away():
                broker.kill()
                asking = tmp_path / "asking"
                asked = apart.submit(ends, broker.servers, made.group, asking)
                wait_until("the worker noticed", lambda: "ERROR" in worker.check().text())
                wait_until("somebody asks", asking.exists)
                broker.start()
            assert asked.result(30) > 0
            made.publish(third)
            made.wait_until_done(worker)
            assert worker.terminate() == 0, worker.text()
            assert not ready.exists()
            _assert_same(made.alerts(), traffic, made, config)
            assert len(worker.text().splitlines()) < 100
    finally:
        broker.stop()
