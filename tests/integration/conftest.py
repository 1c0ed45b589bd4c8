"""A pipeline on a real broker, and simulated traffic that holds attacks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config, load_config
from detectors.core import Core
from tests.integration.pipeline import Pipeline, existing_topics
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


@pytest.fixture(scope="session")
def traffic() -> list[dict[str, Any]]:
    """The first hours of a simulated day with attacks, in order of time."""
    day = labelled_day(seed=7, history_days=3)
    lines = b"".join(render(day.day[:16_000], day.world.words)).splitlines()
    return [json.loads(line) for line in lines]
