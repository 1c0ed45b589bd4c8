"""What `callwatch size` says, against what the tables really take."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from detectors.config import Config
from detectors.core import Core
from detectors.size_cli import size
from detectors.sizing import (
    BASE_BYTES,
    COMPILING_BYTES,
    CORE_BYTES,
    PER_WORKER,
    SPEEDS,
    Stream,
    sized,
)
from tests.bench.traffic import batches

BUSY = Stream(events_per_second=20_000, senders=50_000)


def test_rows_take_what_was_reckoned() -> None:
    """The bytes of senders in a filled core are at most those reckoned, and at least half."""
    config, senders = Config(), 3000
    core = Core(config)
    for variant in range(5):
        for batch in batches(config, senders, 0, seed=variant, variant=variant):
            core.feed_sorted(batch)
    kept = ("sender", "sender+source", "sender+event_type")
    real = sum(core.nbytes[name] for name in kept)
    alone = replace(BUSY, senders=senders, events_per_second=1e-9)
    found = sized(alone, SPEEDS, config)
    reckoned = found.rows_bytes / 1.3
    assert 0.5 * reckoned <= real <= reckoned


def test_a_small_stream_still_compiles() -> None:
    """No worker is said to need less than its first start takes; a large one's rows decide."""
    small = sized(replace(BUSY, senders=10, events_per_second=1.0), SPEEDS)
    assert small.worker_bytes == COMPILING_BYTES
    large = sized(replace(BUSY, senders=10**7), SPEEDS)
    assert large.worker_bytes == BASE_BYTES + PER_WORKER * CORE_BYTES + large.rows_bytes


def test_twice_the_stream_needs_twice_the_workers() -> None:
    """Workers follow the stream and their speed; partitions follow workers."""
    slow = replace(SPEEDS, worker=100_000)  # a million events fill whole workers: no rounding up
    one, two = (sized(replace(BUSY, events_per_second=n * 1e6), slow) for n in (1, 2))
    assert two.workers == 2 * one.workers
    assert one.partitions == PER_WORKER * one.workers
    fast = sized(replace(BUSY, events_per_second=1e6), replace(slow, worker=2 * slow.worker))
    assert 2 * fast.workers == one.workers


def test_a_sender_that_is_too_busy_for_a_worker_is_named() -> None:
    """More workers do not help the busiest sender, and it is said."""
    limit = SPEEDS.worker * BUSY.load
    assert sized(replace(BUSY, events_per_second=limit, busiest_share=1.0), SPEEDS).busiest_fits
    assert not sized(
        replace(BUSY, events_per_second=1.01 * limit, busiest_share=1.0), SPEEDS
    ).busiest_fits
    told = CliRunner().invoke(size, [str(int(2 * limit)), "--busiest", "1"]).output
    assert "the busiest sender is too much for one worker" in told


def test_memory_is_bounded_whatever_the_stream() -> None:
    """More senders than the tables hold take no more memory."""
    config = Config()
    most = config.stream.max_senders * PER_WORKER
    full, beyond = (
        sized(replace(BUSY, senders=n * most * 100), SPEEDS, config).worker_bytes for n in (1, 10)
    )
    assert full == beyond


def test_the_answer_for_programs_holds_what_it_was_reckoned_with() -> None:
    """With --json there is one object with stream, speeds and sizes."""
    done = CliRunner().invoke(size, ["100", "--worker-speed", "50000", "--json"])
    found = json.loads(done.output)
    assert found["speeds"]["worker"] == 50_000
    assert found["stream"]["events_per_second"] == 100
    assert found["workers"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ["0"],
        ["many"],
        ["nan"],
        ["5", "--load", "1"],
        ["5", "--types", "inf"],
        ["5", "--senders", "0"],
    ],
)
def test_impossible_streams_are_refused(wrong: list[str]) -> None:
    """Usage errors end with 2 and say what is allowed."""
    done = CliRunner().invoke(size, wrong)
    assert done.exit_code == 2
    assert "Invalid value" in done.output
