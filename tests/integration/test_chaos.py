"""The short form of `make chaos`: what kills do to the stream, on a real Kafka."""

from pathlib import Path

import pytest

from detectors.config import Config
from detectors.engines.faust_settings import SESSION_SECONDS
from tests.chaos.play import play
from tests.chaos.publish import Publishing
from tests.chaos.reference import judge
from tests.chaos.stream import Pace, stream
from tests.integration.pipeline import PARTITIONS, Pipeline

pytestmark = pytest.mark.integration


def test_three_kills_change_nothing(servers: str, config: Config, tmp_path: Path) -> None:
    """100,000 events over three times kill -9: the alerts and rows of an undisturbed run."""
    events = stream(100_000, seed=6)
    found = play(
        "kill", servers, tmp_path, config, events, times=3, seed=6, pace=Pace(4000)
    )  # fmt: skip
    assert found.differences == []
    assert found.alerts >= 100
    absent = found.measured["a partition without a worker"]["max"]
    assert absent > SESSION_SECONDS / 2, "no kill hit the owner of a partition"


def test_what_is_missing_is_told(pipeline: Pipeline, config: Config) -> None:
    """Where no worker ran, every alert and every partition's rows are named as differing."""
    events = stream(30_000, seed=6)
    with Publishing(pipeline.servers, events, Pace(100_000)) as publishing:
        publishing.finish(60)
    found = judge(pipeline, config)
    assert found.events == 30_000
    missing = [each for each in found.differences if each.startswith("alert is missing")]
    assert len(missing) == found.alerts > 20
    assert len(found.differences) == found.alerts + PARTITIONS + 1
