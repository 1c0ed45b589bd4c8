"""What `callwatch size` says, against what the tables really take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from detectors.config import Config
from detectors.core import Core
from detectors.engines.faust_settings import SESSION_SECONDS
from detectors.engines.faust_transport import Fetching
from detectors.size_cli import SESSION_S, size
from detectors.sizing import (
    BASE_BYTES,
    COMPILING_BYTES,
    CORE_BYTES,
    DAY_S,
    GATHER_BYTES,
    GATHER_S,
    PER_WORKER,
    SPEEDS,
    Stream,
    sized,
)
from tests.bench import delay
from tests.bench.traffic import batches
from tests.docs.bench import KEPT, speeds

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


def test_speeds_are_those_that_were_measured() -> None:
    """What it reckons with follows from the kept figures of the bench."""
    wanted = speeds(json.loads(KEPT.read_text("utf-8")))
    assert {name: getattr(SPEEDS, name) for name in wanted} == wanted


def test_brokers_are_asked_as_it_is_reckoned() -> None:
    """The constants of the reckoning are those of the worker."""
    asked = Fetching()
    assert (asked.gather_seconds, asked.gather_bytes) == (GATHER_S, GATHER_BYTES)
    assert SESSION_SECONDS == SESSION_S


def test_the_share_of_a_core_is_that_of_the_bench_and_near_that_of_the_soak() -> None:
    """At the bench's pace it is what was measured; an hour at another was measured by itself."""
    figures = json.loads(KEPT.read_text("utf-8"))["figures"]
    pace = f"worker, at {delay.PER_SECOND:,} events a second"
    measured = next(one["value"] for one in figures if one["name"] == pace)
    found = sized(replace(BUSY, events_per_second=delay.PER_SECOND), SPEEDS)
    assert 100 * (found.events_share + found.answers_share) == pytest.approx(measured, rel=0.01)
    soak = json.loads(Path("docs/soak.json").read_text("utf-8"))
    cpu = next(one["value"] for one in soak["figures"] if one["name"] == "CPU")
    found = sized(replace(BUSY, events_per_second=soak["run"]["rate"]), SPEEDS)
    assert 100 * (found.events_share + found.answers_share) == pytest.approx(cpu, rel=0.35)


def test_answers_give_way_to_events() -> None:
    """They cost much where few events come, nearly nothing without any, the rest where many do."""
    none, few, many = (
        sized(replace(BUSY, events_per_second=n), SPEEDS) for n in (0.1, 1e3, SPEEDS.worker / 2)
    )
    assert none.answers_share < 0.001
    assert few.answers_share > 10 * few.events_share
    assert many.events_share + many.answers_share == pytest.approx(1)
    assert many.workers == 1


def test_what_takes_how_long_follows_the_stream() -> None:
    """An hour away at a third of the core takes half an hour; a rebuild walks all days."""
    third = replace(BUSY, events_per_second=SPEEDS.worker / 3)
    found = sized(third, SPEEDS)
    assert found.catch_up_s == pytest.approx(1800)
    walked = third.events_per_second * 7 * DAY_S / SPEEDS.rebuild
    assert found.rebuild_s == pytest.approx(walked * 1.5)
    assert sized(replace(third, retention_days=1), SPEEDS).rebuild_s == found.rebuild_s / 7
    twice = sized(third, SPEEDS.of(2 * SPEEDS.worker))
    assert twice.rebuild_s == pytest.approx(walked / 2 * 1.2)
    assert twice.restore_s == found.restore_s / 2


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (["100", "--senders", "1000000000"], "stream.max_senders keeps 1,048,576: the oldest are"),
        (["1e9", "--busiest", "0"], "replicas: more than a cluster bears easily"),
        (["1000000", "--busiest", "0"], "a rebuild takes longer than events are kept"),
        (["100000", "--busiest", "1", "--worker-speed", "1e5"], "is too much for one worker"),
    ],
)
def test_what_will_not_go_is_said(given: list[str], word: str) -> None:
    """A line for people, and the same for programs; none where nothing is wrong."""
    told = CliRunner().invoke(size, given).output.splitlines()
    (line,) = [each for each in told if word in each]
    assert line in json.loads(CliRunner().invoke(size, [*given, "--json"]).output)["warnings"]
    fine = CliRunner().invoke(size, ["2000", "--json"]).output
    assert json.loads(fine)["warnings"] == []


def test_the_partitions_that_are_named_keep_all_senders() -> None:
    """Who makes as many as the warning says is not warned again."""
    told = CliRunner().invoke(size, ["100", "--senders", "1000000000"]).output
    named = int(told.split("or make ")[1].split(" partitions")[0].replace(",", ""))
    assert 1e9 * 1.3 / named <= Config().stream.max_senders < 1e9 * 1.3 / (named - 1)


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
        ["5", "--worker-speed", "0.001"],
        ["5", "--worker-speed", "1e9"],
    ],
)
def test_impossible_streams_are_refused(wrong: list[str]) -> None:
    """Usage errors end with 2 and say what is allowed."""
    done = CliRunner().invoke(size, wrong)
    assert done.exit_code == 2
    assert "Invalid value" in done.output
