"""The same records give the same alerts, whichever way they come and however they are cut."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from functools import cache

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert import Alert, to_rfc3339
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config
from detectors.core import Core
from detectors.engines.local import detect_frame, run_local
from detectors.event import DAY, MINUTE, SECOND
from ingest.partition import partition_for, record_key
from ingest.rfc3339 import to_us
from ingest.schema import parse_event, parse_report
from ingest.sources import cut
from tests.property.hostile import Log, cuts, hostile, with_controls

KEY = bytes(range(32))
CONFIG = Config(control_key=KEY)
DAYS = 3
ATTACKS = {"spoofed-source", "replay-burst", "signature-failure-spike", "payload-volume"}


def in_one_piece(log: Log) -> tuple[list[Alert], list[tuple[int | None, str]], str]:
    """Return alerts, rejected records and the state's digest of a log fed in one call."""
    core = Core(CONFIG)
    outcome = core.feed_log(*log.part(0, len(log)))
    return outcome.alerts, [(r.offset, r.code) for r in outcome.rejected], core.digest()


def in_pieces(
    log: Log, pieces: Sequence[tuple[int, int]], restarts: float = 0.0, seed: int = 0
) -> tuple[list[Alert], list[tuple[int | None, str]], str]:
    """Return the same of a log fed in pieces, with a restart from a snapshot now and then."""
    chance = random.Random(seed)
    core = Core(CONFIG)
    alerts: list[Alert] = []
    rejected = []
    for start, end in pieces:
        outcome = core.feed_log(*log.part(start, end))
        alerts += outcome.alerts
        rejected += [(r.offset, r.code) for r in outcome.rejected]
        assert core.next_offset == log.offsets[end - 1] + 1
        if chance.random() < restarts:
            data = core.snapshot()
            core = Core.restore(CONFIG, data)
            assert core.snapshot() == data
    return alerts, rejected, core.digest()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), cutting=st.integers(0, 2**32 - 1))
def test_cuts_and_restarts_change_nothing_in_a_hostile_log(seed: int, cutting: int) -> None:
    """Late, repeated, garbled and lying records: batches and restarts change no alert or byte."""
    log = hostile(seed, 400)
    whole = in_one_piece(log)
    assert whole[0]
    assert whole == in_pieces(log, cuts(cutting, len(log)))
    assert whole == in_pieces(log, cuts(cutting + 1, len(log)), restarts=0.1, seed=cutting)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), cutting=st.integers(0, 2**32 - 1))
def test_control_records_take_effect_at_their_place_however_the_log_is_cut(
    seed: int, cutting: int
) -> None:
    """Verdicts, plans, trials, copies, forgeries of them: batches and restarts change nothing."""
    plain = hostile(seed, 400)
    log = with_controls(plain, in_one_piece(plain)[0], seed, KEY)
    whole = in_one_piece(log)
    assert whole == in_pieces(log, cuts(cutting, len(log)))
    assert whole == in_pieces(log, cuts(cutting + 1, len(log)), restarts=0.1, seed=cutting)


def test_the_control_records_of_the_test_have_an_effect() -> None:
    """Among them are incidents that a verdict closes, ones that it freezes, and some forgeries."""
    alerts: list[Alert] = []
    rejected = []
    for seed in range(12):
        plain = hostile(seed, 400)
        whole = in_one_piece(with_controls(plain, in_one_piece(plain)[0], seed, KEY))
        alerts += whole[0]
        rejected += [code for _, code in whole[1]]
    assert {a.verdict for a in alerts} == {"benign", "attack", None}
    assert "verdict" in {a.close_reason for a in alerts}
    assert any(a.shadow for a in alerts)
    assert any(a.summary.startswith("planned ") for a in alerts)
    assert any(a.suppressed for a in alerts)
    assert "control_invalid" in rejected


@pytest.mark.parametrize("seed", [1, 49])
def test_a_report_or_a_repeat_is_a_place_to_cut(seed: int) -> None:
    """Where the clock moves without an event, a cut after it changes no order and no words."""
    log = hostile(seed)
    assert in_one_piece(log) == in_pieces(log, cuts(seed, len(log)))


@cache
def day() -> list[bytes]:
    """A labelled day after three days of history."""
    simulated = labelled_day(11, history_days=DAYS)
    return b"".join(render(simulated.rows, simulated.world.words)).splitlines()


@cache
def day_log() -> Log:
    """The day as a partition's log, published without delay."""
    times = [parse_event(value).received_at_us for value in day()]
    return Log(day(), list(range(len(times))), times)


@cache
def of_the_log() -> list[Alert]:
    """The alerts of the day, fed as a log in one call."""
    return in_one_piece(day_log())[0]


def texts(alerts: Iterable[Alert]) -> list[bytes]:
    """Alerts as JSON, by time and text: files order equal times differently from logs."""
    return sorted(alert.to_json() for alert in alerts)


def test_the_day_gives_alerts_of_every_detector() -> None:
    """What the other tests compare is not nothing."""
    assert {alert.detector for alert in of_the_log()} == ATTACKS
    assert {alert.status.value for alert in of_the_log()} == {"open", "updated", "closed"}


def test_the_day_in_random_batches_with_restarts() -> None:
    """Random batches and restarts give the same alerts, in the same order, and the same state."""
    log = day_log()
    pieces = [(start, min(start + 4999, len(log))) for start in range(0, len(log), 4999)]
    assert in_one_piece(log)[0::2] == in_pieces(log, pieces, restarts=0.5)[0::2]


def test_the_day_as_lines_of_files_that_are_out_of_order() -> None:
    """Files are sorted by time as one: two shuffled halves give what the log gave."""
    times = day_log().times
    assert len(set(times)) == len(times)  # equal times would keep the order of the files
    shuffled = list(day())
    random.Random(3).shuffle(shuffled)
    half = len(shuffled) // 2
    parts = [cut("a", 1, b"\n".join(shuffled[:half])), cut("b", 1, b"\n".join(shuffled[half:]))]
    result = run_local(parts, CONFIG)
    assert texts(result.alerts) == texts(of_the_log())
    assert result.accepted == len(shuffled)


def reports() -> list[bytes]:
    """Reports of three receivers over the last day; one stops for an hour, and then for good."""
    first = parse_event(day()[-1]).received_at_us // DAY * DAY
    return [
        report_of(name, first + minute * MINUTE + n * SECOND + 1, minute)
        for n, name in enumerate(("hooks/1@a", "hooks/2@b", "billing/7@c"))
        for minute in range(24 * 60)
        if n < 2 or not (600 <= minute < 660 or minute > 1200)
    ]


def report_of(receiver: str, t: int, minute: int) -> bytes:
    """One report; a receiver loses a twentieth of what it is offered."""
    body = {
        "receiver": receiver, "process": receiver[-1], "at": to_rfc3339(t),
        "started_at": to_rfc3339(t - minute * MINUTE), "offered": 100 * minute,
        "sent": 95 * minute, "version": "1", "dropped": {"queue_full": 5 * minute}, "sampling": 1.0,
    }  # fmt: skip
    return json.dumps({"schema": 1, "report": body}).encode()


def test_the_day_with_reports_in_four_partitions() -> None:
    """Shuffled lines of files, with reports between them, give what four logs gave."""
    events = [(parse_event(value).received_at_us, value) for value in day()]
    told = [(parse_report(value).at, value) for value in reports()]
    of_reports = [(to_us(at), value) for at, value in told]
    alerts: list[Alert] = []
    for p in range(4):
        mine = [
            (t, value) for t, value in events
            if partition_for(record_key(parse_event(value)), 4) == p
        ]  # fmt: skip
        times, values = zip(*sorted(mine + of_reports), strict=True)
        part = Log(list(values), list(range(len(values))), list(times))
        core = Core(CONFIG, p)
        alerts += core.feed_log(*part.part(0, len(part))).alerts
    lines = [value for _, value in events + of_reports]
    random.Random(5).shuffle(lines)
    result = run_local([cut("all", 1, b"\n".join(lines))], CONFIG, partitions=4)
    health = {(a.reason, a.severity.value) for a in alerts if a.detector == "pipeline-health"}
    assert {("receiver_silent", "medium"), ("events_lost", "low")} <= health
    assert texts(result.alerts) == texts(alerts)
    assert result.counts["reports"] == len(of_reports)


def test_the_day_as_a_frame() -> None:
    """A DataFrame gives what the log gave."""
    frame = pd.DataFrame([json.loads(line) for line in day()])
    assert texts(detect_frame(frame, CONFIG)) == texts(of_the_log())


def test_the_day_in_four_partitions() -> None:
    """Four partitions of files are Kafka's four: each gives the same alerts, ids included."""
    log = day_log()
    of = [partition_for(record_key(parse_event(value)), 4) for value in log.values]
    alerts: list[Alert] = []
    for p in range(4):
        mine = [i for i, partition in enumerate(of) if partition == p]
        assert mine
        part = Log([log.values[i] for i in mine], mine, [log.times[i] for i in mine])
        core = Core(CONFIG, p)
        alerts += core.feed_log(*part.part(0, len(part))).alerts
    result = run_local([cut("all", 1, b"\n".join(log.values))], CONFIG, partitions=4)
    assert alerts
    assert texts(result.alerts) == texts(alerts)
    assert [a.updated_at for a in result.alerts] == sorted(a.updated_at for a in alerts)


def test_states_of_an_incident_never_go_back() -> None:
    """In the sorted output of a file each incident opens, is updated, and closes, in this order."""
    for seed in range(6):
        log = hostile(seed, 500, late=False)
        result = run_local([cut("f", 1, b"\n".join(log.values))], CONFIG)
        states: dict[str, list[Alert]] = {}
        for alert in result.alerts:
            states.setdefault(alert.id, []).append(alert)
        assert states
        for incident in states.values():
            assert [a.status.value for a in incident[:1]] == ["open"]
            assert all(a.status.value == "updated" for a in incident[1:-1])
            assert [a.count for a in incident] == sorted(a.count for a in incident)
            assert [a.severity.rank for a in incident] == sorted(a.severity.rank for a in incident)
