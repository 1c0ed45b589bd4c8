"""More partitions on a real Kafka: no event is lost, no alert told again, no baseline cold."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from alerts.alert import Alert
from detectors.config import Config
from detectors.engines.errors import EngineError
from detectors.engines.local import run_local
from detectors.engines.log_reader import LogRecord
from detectors.engines.repartition import Done, Repartition
from detectors.engines.repartition_cluster import RepartitionCluster
from detectors.engines.repartition_plan import CLOSED, TIME, Shape
from ingest.errors import TopicError
from ingest.partition import partition_for
from ingest.publisher import Publisher
from ingest.sources import read_events
from ingest.topics import NAMES, REPARTITION, before
from ingest.transports import KafkaTransport
from tests.integration.conftest import Traffic
from tests.integration.pipeline import (
    EVENTS,
    PARTITIONS,
    SOURCES,
    STATE,
    Pipeline,
    delete_topics,
    existing_topics,
    wait_until,
)

pytestmark = pytest.mark.integration
NEW = 7
HALF = 5000
"""Of the traffic's events before anything happens; both sides of the switch have alerts."""
REPORT = b'{"report": {}}'


class StoppedError(Exception):
    """Stands for whatever may end a run."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in this process is alone with the topics: nothing is under way for long."""
    monkeypatch.setattr("detectors.engines.repartition.STILL_SECONDS", 0.3)


@contextmanager
def _repartition(
    made: Pipeline,
    fail_at: str = "",
    count: int = NEW,
    cluster: type[RepartitionCluster] = RepartitionCluster,
) -> Iterator[Repartition]:
    """One that fails when it says this."""

    def say(text: str) -> None:
        if fail_at and fail_at in text:
            raise StoppedError(text)

    keywords = {"bootstrap_servers": [made.servers]}
    with closing(cluster(keywords)) as asked:
        yield Repartition(asked, keywords, made.group, count, say, patience=20, hold=0.1)


def _run(made: Pipeline, fail_at: str = "") -> Done:
    with _repartition(made, fail_at) as work:
        return work.run()


def _interrupt(made: Pipeline, at: str) -> None:
    with pytest.raises(StoppedError):
        _run(made, at)


def _alter(made: Pipeline, settings: Mapping[str, str]) -> None:
    with closing(RepartitionCluster({"bootstrap_servers": [made.servers]})) as cluster:
        cluster.alter(EVENTS, settings)


def _fill(made: Pipeline, events: Sequence[tuple[str, bytes]]) -> None:
    """Put records onto the events, and a report onto all partitions, and say all were told."""
    with closing(KafkaProducer(bootstrap_servers=made.servers)) as producer:
        for key, value in events:
            at = partition_for(key.encode(), PARTITIONS)
            headers = [("ce_id", value)]
            producer.send(EVENTS, value, key=key.encode(), partition=at, headers=headers)
        for partition in range(PARTITIONS):
            producer.send(EVENTS, REPORT, partition=partition)
        producer.flush(30)
    _all_told(made)


def _all_told(made: Pipeline) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=made.servers)) as admin:
        ends = {
            TopicPartition(EVENTS, each): OffsetAndMetadata(len(made.records(EVENTS, each)), "", -1)
            for each in range(PARTITIONS)
        }
        admin.alter_group_offsets(made.group, ends)


def _by_key(logs: Sequence[Sequence[LogRecord]]) -> dict[bytes, list[tuple[object, ...]]]:
    found: dict[bytes, list[tuple[object, ...]]] = defaultdict(list)
    for each in (record for log in logs for record in log):
        if each.key is not None:
            found[each.key].append((each.value, each.time_us, each.headers))
    return found


def _log(made: Pipeline, topic: str, partitions: int) -> list[list[LogRecord]]:
    return [made.records(topic, each) for each in range(partitions)]


def test_a_running_pipeline_is_repartitioned(
    pipeline: Pipeline, traffic: Traffic, config: Config, tmp_path: Path
) -> None:
    """While a receiver publishes, 4 partitions become 7: the alerts of one undisturbed process."""
    worker = pipeline.worker()
    events = traffic.events[: HALF + 5000]
    pipeline.publish(events[:HALF])
    pipeline.wait_until_done(worker)
    transport = KafkaTransport(pipeline.servers)
    publisher = Publisher(transport, receiver="test/1@here", report_every=None)
    switched = threading.Event()

    def receive() -> None:
        for event in events[HALF : HALF + 3000]:
            assert publisher.publish(event), publisher.stats()
            switched.wait(0.002)

    receiver = threading.Thread(target=receive)
    receiver.start()
    arguments = ["repartition", "--group", pipeline.group, "--partitions", str(NEW)]
    command = pipeline.topics(*arguments, "--hold", "1", "--yes")
    wait_until("all is told", lambda: "stop the workers now" in command.text())
    assert publisher.stats().sent < 3000
    assert worker.terminate() == 0, worker.text()
    assert command.ended(60) == 0, command.text()
    switched.set()
    receiver.join(30)
    assert publisher.flush(60)
    publisher.close(5)
    assert (publisher.stats().sent, publisher.stats().dropped) == (3000, {})

    first = len(pipeline.alerts())
    with pipeline.away():  # it knows the old partitions
        pass
    worker = pipeline.worker()
    pipeline.publish(events[HALF + 3000 :])
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert worker.text().count("reason=repartitioned") > 1
    assert worker.text().count("reason=") == worker.text().count("reason=repartitioned")
    found = pipeline.alerts()
    assert len(found) == len(set(found)) > first > 0
    others = [value for value in found if Alert.from_json(value).detector != "pipeline-health"]
    told = [Alert.from_json(value).reason for value in found if value not in others]
    assert told == ["state_rebuilt"] * len(told)
    assert sorted(others) == sorted(_reference(events, config, tmp_path))
    for partition, log in enumerate(_log(pipeline, EVENTS, NEW)):
        assert {partition_for(each.key or b"", NEW) for each in log} <= {partition}
    assert before(NEW) in existing_topics(pipeline.servers)


def _reference(events: Sequence[dict[str, Any]], config: Config, folder: Path) -> list[bytes]:
    file = folder / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return [a.to_json() for a in run_local(read_events([file]), config, partitions=NEW).alerts]


def test_an_interrupted_run_goes_on(pipeline: Pipeline) -> None:
    """Interrupted at every step, it ends with every record where its key leads, in order."""
    sent = [
        (f"s{n % 50}", b'{"received_at": "2026-01-01T00:00:00Z", "n": %d}' % n) for n in range(2000)
    ]
    _fill(pipeline, sent)
    _interrupt(pipeline, "copying")
    _alter(pipeline, CLOSED)  # as one that is killed leaves it
    given_up = pipeline.topics("repartition", "--give-up")
    assert given_up.ended(60) == 0, given_up.text()
    assert existing_topics(pipeline.servers) == sorted(NAMES)
    assert pipeline.existing()[EVENTS].settings[TIME] == "LogAppendTime"
    _interrupt(pipeline, "copying")
    _alter(pipeline, CLOSED)
    _interrupt(pipeline, "is closed")
    there = pipeline.existing()[EVENTS]
    assert (there.partitions, there.settings[TIME]) == (PARTITIONS, "LogAppendTime")
    assert pipeline.ends(EVENTS) == len(sent) + PARTITIONS

    _interrupt(pipeline, "making")
    refused, checked = pipeline.worker(), pipeline.topics("check")
    assert (refused.ended(60), checked.ended(60)) == (1, 1)
    assert "callwatch.events: a repartitioning is under way" in refused.text()
    assert "callwatch.repartition: a repartitioning is under way" in checked.text()
    with pytest.raises(TopicError, match="interrupted"):
        pipeline.make()
    with _repartition(pipeline, count=5) as other, pytest.raises(EngineError, match="one to 7"):
        other.run()

    _alter(pipeline, {TIME: "LogAppendTime"})  # by hand, and events come: all is copied anew
    _fill(pipeline, [("s1", b"late")])
    old = _log(pipeline, EVENTS, PARTITIONS)
    _others_make_the_events(pipeline)
    for step in ("making", "stays closed", "is open"):
        _interrupt(pipeline, step)
    _run(pipeline)
    assert pipeline.topics("check").ended(60) == 0
    there = pipeline.existing()[EVENTS]
    assert (there.partitions, there.settings[TIME]) == (NEW, "LogAppendTime")
    assert pipeline.existing()[STATE].partitions == NEW
    with pipeline.away():  # it knows the old partitions
        pass
    copied = _log(pipeline, before(NEW), NEW)
    for partition, log in enumerate(copied):
        assert {partition_for(each.key, NEW) for each in log if each.key} <= {partition}
        assert [each.value for each in log if not each.key] == [REPORT, REPORT]
    assert _by_key(copied) == _by_key(old)
    assert pipeline.ends(EVENTS) == pipeline.left() == pipeline.left(SOURCES) == 0


def _others_make_the_events(made: Pipeline) -> None:
    """As a broker does for a client, while they are away: what is in them is not thrown away."""

    class Interfering(RepartitionCluster):
        def delete(self, names: Iterable[str]) -> None:
            wanted = list(names)
            super().delete(wanted)
            if EVENTS in wanted:
                self.make(EVENTS, Shape(PARTITIONS, 1, {}))
                raise StoppedError

    with _repartition(made, cluster=Interfering) as work, pytest.raises(StoppedError):
        work.run()
    made.produce(0, [b"theirs"])
    with pytest.raises(EngineError, match="somebody made it while it was deleted, and 1 records"):
        _run(made)
    delete_topics(made.servers, [EVENTS])


def test_it_refuses_what_would_lose_something(pipeline: Pipeline) -> None:
    """Neither as many partitions as there are, nor what no worker has told, or can see yet."""
    with (
        _repartition(pipeline, count=PARTITIONS) as same,
        pytest.raises(EngineError, match="it has 4 partitions already"),
    ):
        same.run()
    with closing(
        KafkaProducer(bootstrap_servers=pipeline.servers, transactional_id=pipeline.group)
    ) as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(EVENTS, b"{}", partition=0).get(30)
        pipeline.produce(0, [b"{}"])
        assert pipeline.left() == 0
        with (
            _repartition(pipeline) as unseen,
            pytest.raises(EngineError, match="a producer's transaction is open"),
        ):
            unseen.run()
        producer.abort_transaction()
    wait_until("its end", lambda: pipeline.left() > 0)
    with (
        _repartition(pipeline) as untold,
        pytest.raises(EngineError, match=r"\d records of .* are not told, and no worker runs"),
    ):
        untold.run()
    assert REPARTITION not in existing_topics(pipeline.servers)


def test_closed_takes_nothing_and_opens_again(pipeline: Pipeline) -> None:
    """A command that is ended while it waits for a worker to stop leaves the topic open."""
    _fill(pipeline, [("a", b"1")])
    with closing(
        KafkaConsumer(EVENTS, bootstrap_servers=pipeline.servers, group_id=pipeline.group)
    ) as member:
        wait_until("a member", lambda: member.poll(100) is not None and member.assignment())
        arguments = ["repartition", "--group", pipeline.group, "--partitions", str(NEW), "--yes"]
        command = pipeline.topics(*arguments)
        wait_until("closed", lambda: "stop the workers now, 1" in command.text())
        for codec in (None, "gzip", "snappy", "lz4", "zstd"):
            _is_refused(pipeline, codec)
        assert command.terminate() == 1
    assert command.text().endswith(
        "Error: interrupted; nothing is lost: the same command goes on\n"
    )
    assert pipeline.ends(EVENTS) == 1 + PARTITIONS
    pipeline.produce(0, [b"2"])


def _is_refused(made: Pipeline, codec: str | None) -> None:
    """A batch of events, packed like this."""
    with closing(
        KafkaProducer(bootstrap_servers=made.servers, compression_type=codec, linger_ms=50)
    ) as producer:
        for each in [producer.send(EVENTS, b"{}", key=b"k") for _ in range(20)]:
            with pytest.raises(KafkaError):
                each.get(10)


def test_it_is_repartitioned_again(pipeline: Pipeline) -> None:
    """What was copied once is copied again, before what came since; an older copy is deleted."""
    _fill(pipeline, [("a", b"1"), ("b", b"2"), ("a", b"3")])
    _run(pipeline)
    at = partition_for(b"a", NEW)
    with closing(KafkaProducer(bootstrap_servers=pipeline.servers)) as producer:
        producer.send(EVENTS, b"4", key=b"a", partition=at).get(30)
    with closing(KafkaAdminClient(bootstrap_servers=pipeline.servers)) as admin:
        admin.alter_group_offsets(
            pipeline.group, {TopicPartition(EVENTS, at): OffsetAndMetadata(1, "", -1)}
        )
    _alter(pipeline, {"retention.bytes": "1000000"})
    with _repartition(pipeline, count=3) as again:
        assert "each with retention.bytes=3000000 instead of 1000000" in again.outlook()[2]
        again.run()
    kept = pipeline.existing([EVENTS, before(3)])
    assert {each.settings["retention.bytes"] for each in kept.values()} == {"3000000"}
    with pipeline.away():
        pass
    log = pipeline.records(before(3), partition_for(b"a", 3))
    assert [record.value for record in log if record.key == b"a"] == [b"1", b"3", b"4"]
    assert before(NEW) not in existing_topics(pipeline.servers)
