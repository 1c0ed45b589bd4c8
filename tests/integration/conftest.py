"""A pipeline on a real broker, and simulated traffic that holds attacks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config
from detectors.config_file import load_config
from detectors.core import Core
from detectors.engines.local import run_local
from ingest.sources import read_events
from tests.integration.pipeline import PARTITIONS, Pipeline, existing_topics
from tests.kafka.broker import Broker


@pytest.fixture(scope="session")
def servers(kafka_broker: Broker) -> str:
    """The broker's address; the tests delete callwatch's topics there, so none may be in use."""
    if found := existing_topics(kafka_broker.servers):
        pytest.fail(f"{kafka_broker} has {', '.join(found)}, which these tests would delete")
    return kafka_broker.servers


@pytest.fixture
def pipeline(servers: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Empty topics, and processes that end with the test."""
    with Pipeline(servers, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def config() -> Config:
    """The default configuration; compiled here once, so that no worker waits for it."""
    found = load_config(None)
    Core(found, 0).feed_log([b"{}"], [0], [0])
    return found


@dataclass(frozen=True)
class Traffic:
    """Events in order of time, and the alerts that the local engine raises on them."""

    events: list[dict[str, Any]]
    alerts: list[bytes]

    def thirds(self) -> tuple[list[dict[str, Any]], ...]:
        """The events in three parts."""
        size = len(self.events) // 3
        return self.events[:size], self.events[size : 2 * size], self.events[2 * size :]


@pytest.fixture(scope="session")
def traffic(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    """Half of a simulated day with attacks; split into partitions as Kafka does."""
    day = labelled_day(seed=7, history_days=3)
    lines = b"".join(render(day.day[8_000:24_000], day.world.words))
    file = tmp_path_factory.mktemp("traffic") / "events.jsonl"
    file.write_bytes(lines)
    result = run_local(read_events([file]), config, partitions=PARTITIONS)
    assert result.accepted == 16_000
    assert {"payload-volume", "replay-burst", "signature-failure-spike", "spoofed-source"} == {
        alert.detector for alert in result.alerts
    }
    return Traffic(
        [json.loads(line) for line in lines.splitlines()],
        [alert.to_json() for alert in result.alerts],
    )
