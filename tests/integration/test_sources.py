"""What senders share, on a real Kafka: one search over all partitions is one incident."""

from collections import Counter
from contextlib import closing

import pytest
from kafka import KafkaAdminClient

from alerts.alert import Alert
from detectors.config import Config
from detectors.engines.sources_topic import read_record
from detectors.observer import Observation
from ingest.topics import TOPICS
from tests.integration.pipeline import (
    PARTITIONS,
    SOURCES,
    Pipeline,
    delete_topics,
    wait_until,
)
from tests.unit.engines.search import SEARCHED, Seen, found_locally, search, searches, split

pytestmark = pytest.mark.integration


def _found(pipeline: Pipeline) -> list[Seen]:
    return searches(Alert.from_json(each) for each in pipeline.alerts())


def _told(pipeline: Pipeline, partitions: int = 1) -> Counter[tuple[int, int]]:
    """How often each event was told to the shared cores."""
    records = [each for at in range(partitions) for each in pipeline.records(SOURCES, at)]
    read = [read_record(each, PARTITIONS) for each in records]
    return Counter((each.partition, each.place) for each in read if isinstance(each, Observation))


def test_a_search_is_one_incident_over_kills(pipeline: Pipeline, config: Config) -> None:
    """Killed twice in the middle of it, the worker finds what one process finds with 1 and 8."""
    stream = search()
    expected = found_locally(stream, config, 1)
    assert expected == found_locally(stream, config, 8)
    assert len(expected) == 1
    assert all(
        any(each["sender"].startswith("tenant") for each in mine)
        for mine in split(stream, PARTITIONS)
    )
    tried = [n for n, each in enumerate(stream) if each["sender"].startswith("tenant")]
    first, second = tried[SEARCHED // 3], tried[2 * SEARCHED // 3]

    worker = pipeline.worker()
    pipeline.publish(stream[:first])
    wait_until(
        "something committed",
        lambda: worker.check() and pipeline.left(SOURCES) < len(_told(pipeline)),
    )
    worker.kill()

    doomed = pipeline.worker(checkpoint_every=3600)  # whatever it does, it saves nothing
    pipeline.publish(stream[first:second])
    wait_until(
        "the second part told",
        lambda: doomed.check() and len(_told(pipeline)) == 2 * SEARCHED // 3,
    )
    doomed.kill()

    worker = pipeline.worker()
    pipeline.publish(stream[second:])
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert "state.rebuilt" not in worker.text()
    told = _told(pipeline)
    assert len(told) == SEARCHED
    assert max(told.values()) > 1, "the kills came too late to prove anything"
    assert _found(pipeline) == expected
    assert pipeline.rejected() == []


def test_sources_move_with_their_state(pipeline: Pipeline, config: Config) -> None:
    """With more partitions of the sources, and two workers of which one leaves, it is the same."""
    settings = next(topic.settings for topic in TOPICS if topic.name == SOURCES)
    delete_topics(pipeline.servers, [SOURCES])
    with closing(KafkaAdminClient(bootstrap_servers=pipeline.servers)) as admin:
        wanted = {"num_partitions": 3, "replication_factor": 1, "configs": dict(settings)}
        admin.create_topics({SOURCES: wanted})
    stream = search()
    half = next(n for n, each in enumerate(stream) if each["sender"] == f"tenant-{SEARCHED // 2}")

    stays, leaves = pipeline.worker(), pipeline.worker()
    wait_until("both at work", lambda: all(_owns(each.text()) for each in (stays, leaves)))
    pipeline.publish(stream[:half])
    assert leaves.terminate() == 0, leaves.text()
    pipeline.publish(stream[half:])
    pipeline.wait_until_done(stays)
    assert stays.terminate() == 0, stays.text()
    assert "state.rebuilt" not in stays.text()
    told = _told(pipeline, 3)
    assert len(told) == SEARCHED
    assert max(told.values()) == 1, "a hand-over must repeat nothing"
    assert _found(pipeline) == found_locally(stream, config, PARTITIONS)


def _owns(text: str) -> bool:
    """Whether the worker says last that it has been given some but not all partitions."""
    said = [line for line in text.splitlines() if "partitions.assigned" in line]
    return bool(said) and 0 < said[-1].count("/") < PARTITIONS + 3
