"""How a worker starts, fails and ends on a real Kafka."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from detectors.config import Config
from detectors.core import Core, Outcome
from detectors.engines.cores import ConfiguredCores, ConfiguredSources, EventsCore
from detectors.engines.faust_app import run_worker
from detectors.engines.faust_settings import WorkerSettings
from ingest.kafka_config import kafka_config
from tests.integration.pipeline import (
    PARTITIONS,
    STATE,
    Pipeline,
    delete_topics,
    wait_until,
)

pytestmark = pytest.mark.integration


class _PoisonedCore(Core):
    """A core with a fault that one event brings out."""

    def feed_log(
        self, values: Sequence[bytes], offsets: Sequence[int], broker_times_us: Sequence[int]
    ) -> Outcome:
        if b"poison" in values:
            msg = "a fault in a detector"
            raise ZeroDivisionError(msg)
        return super().feed_log(values, offsets, broker_times_us)


class _PoisonedCores(ConfiguredCores):
    def new(self, partition: int) -> EventsCore:
        return EventsCore(_PoisonedCore(self.config, partition))


def _settings(pipeline: Pipeline, config: Config, cores: ConfiguredCores) -> WorkerSettings:
    kafka = kafka_config(pipeline.servers, environ={})
    shared = ConfiguredSources(config, PARTITIONS)
    return WorkerSettings(kafka, cores, shared, sources=1, group=pipeline.group)


def test_fault_ends_the_worker_and_commits_nothing(
    pipeline: Pipeline, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in processing is no silent restart: exit code 1, and the event is still due."""
    pipeline.produce(0, [b"poison"])
    settings = _settings(pipeline, config, _PoisonedCores(config))
    code = asyncio.run(asyncio.wait_for(run_worker(settings), 60))
    assert code == 1
    assert pipeline.left() == 1
    assert "worker.failed" in caplog.text
    assert "a fault in a detector" in caplog.text


def test_missing_topics_are_named_in_one_line(pipeline: Pipeline) -> None:
    """Without its topics a worker does not start, and says which command makes them."""
    delete_topics(pipeline.servers)
    worker = pipeline.worker()
    assert worker.ended(60) == 1
    last = worker.text().splitlines()[-1]
    assert last.startswith(f"Error: kafka {pipeline.servers}: callwatch.events, ")
    assert last.endswith("are missing; `callwatch topics create` makes them")


def test_differing_partitions_are_named(pipeline: Pipeline) -> None:
    """State and events must be partitioned alike, and as the operator expects."""
    worker = pipeline.worker("--partitions", "7")
    assert worker.ended(60) == 1
    assert f"partitions must be 7 by --partitions (got {PARTITIONS})" in worker.text()
    delete_topics(pipeline.servers, [STATE])
    pipeline.make(partitions=2)
    worker = pipeline.worker()
    assert worker.ended(60) == 1
    assert "callwatch.state: partitions: allowed are those of callwatch.events" in worker.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_ends_at_any_moment(pipeline: Pipeline, number: signal.Signals) -> None:
    """Told to stop as soon as it can hear it, before Faust has joined, it ends in order."""
    worker = pipeline.worker()
    wait_until("worker started", lambda: "worker.started" in worker.check().text())
    assert worker.terminate(number=number) == 0, worker.text()
    assert "worker.stopped" in worker.text()


def test_worker_ends_while_it_compiles(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a minute of compiling keeps nobody waiting: it had not joined, and all is well."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("CALLWATCH_CACHE_DIR", str(cache))
    worker = pipeline.worker()
    wait_until("a walk is compiled", lambda: worker.check() and any(cache.rglob("walk_*.py")))
    assert worker.terminate() == 0, worker.text()
    compiling, stopped = worker.text().splitlines()
    assert "compiling" in compiling
    assert stopped.endswith("worker.stopped saved=true")


def test_log_is_quiet(pipeline: Pipeline) -> None:
    """A healthy run writes a few lines of known events, no banner and nothing of the libraries."""
    worker = pipeline.worker()
    pipeline.produce(0, [b"one"])
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0
    lines = worker.text().splitlines()
    assert {line.split()[3].split(".")[0] for line in lines} == {
        "worker",
        "partitions",
        "partition",
    }
    assert len(lines) < 20


def test_refused_login_shows_no_password(servers: str, tmp_path: Path) -> None:
    """A worker that cannot log in says so soon, and never shows its password, not even verbose."""
    environ = {
        **os.environ,
        "CALLWATCH_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "CALLWATCH_KAFKA_SASL_MECHANISM": "PLAIN",
        "CALLWATCH_KAFKA_SASL_USERNAME": "canary-user",
        "CALLWATCH_KAFKA_SASL_PASSWORD": "canary-password",
    }
    command = [sys.executable, "-m", "callwatch", "worker", "--verbose"]
    done = subprocess.run(
        [*command, "--bootstrap-servers", servers],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "canary-password" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: kafka ")


def test_nothing_is_left_behind(pipeline: Pipeline, config: Config) -> None:
    """A worker that ended leaves no thread in the process that ran it."""

    async def briefly() -> int:
        running = asyncio.ensure_future(
            run_worker(_settings(pipeline, config, ConfiguredCores(config)))
        )
        pipeline_done = asyncio.get_running_loop().run_in_executor(None, wait_for_events)
        await pipeline_done
        os.kill(os.getpid(), signal.SIGTERM)
        return await asyncio.wait_for(running, 30)

    def wait_for_events() -> None:
        wait_until("the event committed", lambda: pipeline.left() == 0)

    pipeline.produce(0, [b"one"])
    before = set(threading.enumerate())
    assert asyncio.run(briefly()) == 0
    after = [each for each in threading.enumerate() if each not in before and not each.daemon]
    assert after == []
