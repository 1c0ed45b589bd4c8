"""Incidents: one id each, updates that matter, bounded lists, and what happens at the limits."""

from __future__ import annotations

import datetime as dt
import json
import random
import secrets
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from alerts.alert import Alert, alert_id
from detectors.base import CHRONIC, CONTRIBUTES, EVICTED, EXPIRED, FINDING
from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.errors import StateError
from detectors.event import DAY, HOUR, MINUTE, SECOND
from detectors.incidents import Happening, Incidents
from tests.property.hostile import cuts, hostile
from tests.unit.detectors.streams import MONDAY, calls, encode, event, traffic

CONFIG = Config()
REPLAY = next(n for n, d in enumerate(CONFIG.detectors) if d.id == "replay-burst")
EVIDENCE = {name: 1.0 for name, _ in CONFIG.detectors[REPLAY].evidence}


def happening(n: int, t: int, **fields: Any) -> Happening:
    """Return a finding of replay-burst about row n."""
    made = event(t, f"s{n}", source_ip=fields.pop("ip", "192.0.2.1"))
    value = json.dumps(made).encode()
    base = Happening(
        slot=(REPLAY, 0, n), code=FINDING, when=t, now=t, reason=1, severity=3, score=50.0,
        confidence=0.9, count=1, since=t, evidence=EVIDENCE, source_key=hash(made["source_ip"]),
        sender_key=n,
        value=lambda: value, sender=None, provider="stripe",
    )  # fmt: skip
    return base._replace(**fields)


def incidents(limit: int = 10_000) -> Incidents:
    """Return a table of incidents."""
    return Incidents(CONFIG.detectors, "c0ffee", limit)


def states(alerts: list[Alert]) -> list[tuple[str, str, int]]:
    """Return status, severity and count of each."""
    return [(a.status.value, a.severity.value, a.count) for a in alerts]


def test_an_incident_opens_at_once_and_rises_at_once() -> None:
    """Opening and a higher severity are told at once, anything else at the next minute."""
    table = incidents()
    t = MONDAY + 10 * SECOND
    assert states(table.take(happening(1, t))) == [("open", "medium", 1)]
    assert table.take(happening(1, t + 1, count=2)) == []
    assert states(table.take(happening(1, t + 2, severity=5, count=3))) == [
        ("updated", "critical", 3)
    ]
    assert table.take(happening(1, t + 3, severity=3, count=4)) == []  # never falls


def test_a_changed_reason_or_a_doubled_count_waits_for_the_minute() -> None:
    """Between two full minutes there is one update, with the state at the minute."""
    table = incidents()
    t = MONDAY + 10 * SECOND
    table.take(happening(1, t))
    for n in range(2, 40):
        assert table.take(happening(1, t + n, count=n, reason=2)) == []
    assert table.flush(MONDAY + MINUTE - 1) == []
    (update,) = table.flush(MONDAY + MINUTE)
    assert (update.reason, update.count, update.updated_at) == (
        "off_schedule",
        39,
        MONDAY + MINUTE,
    )
    assert table.flush(MONDAY + 2 * MINUTE) == []
    table.take(happening(1, t + MINUTE, count=60, reason=2))
    assert table.flush(MONDAY + 3 * MINUTE) == []  # neither doubled nor changed


@pytest.mark.parametrize(
    ("code", "reason"), [(EXPIRED, "expired"), (CHRONIC, "chronic"), (EVICTED, "evicted")]
)
def test_a_closing_says_why(code: int, reason: str) -> None:
    """The last state carries the reason; what comes after it opens another incident."""
    table = incidents()
    (opened,) = table.take(happening(1, MONDAY))
    (closed,) = table.take(happening(1, MONDAY + HOUR, code=code, value=None))
    assert (closed.id, closed.status.value, closed.close_reason) == (opened.id, "closed", reason)
    assert closed.updated_at == MONDAY + HOUR
    assert table.open == {}
    assert table.take(happening(1, MONDAY + 2 * HOUR, code=code, value=None)) == []
    (again,) = table.take(happening(1, MONDAY + 2 * HOUR))
    assert again.id != opened.id


def test_a_closed_incident_forgets_its_waiting_update() -> None:
    """No update comes after the closing."""
    table = incidents()
    table.take(happening(1, MONDAY))
    table.take(happening(1, MONDAY + 1, count=9, code=CONTRIBUTES))
    table.take(happening(1, MONDAY + 2, code=EXPIRED, value=None))
    assert table.flush(MONDAY + HOUR) == []


def test_the_same_detector_key_and_time_get_a_number() -> None:
    """Two incidents of one key at one time have different ids, the same in every run."""
    table = incidents()
    (first,) = table.take(happening(1, MONDAY))
    table.take(happening(1, MONDAY, code=EXPIRED, value=None))
    (second,) = table.take(happening(1, MONDAY))
    assert first.id == alert_id("replay-burst", ["s1"], MONDAY)
    assert second.id == alert_id("replay-burst", ["s1"], MONDAY, 1)


def test_lists_are_bounded_and_counts_are_not() -> None:
    """20 events and 20 sources are named; the sources are counted up to 4,096."""
    table = incidents()
    for n in range(300):
        table.take(
            happening(1, MONDAY + n, count=n + 1, ip=f"10.{n // 200}.{n % 200}.1", source_key=n + 1)
        )
    (closed,) = table.take(happening(1, MONDAY + HOUR, code=EXPIRED, value=None))
    assert (len(closed.events), len(closed.sources), closed.source_count) == (20, 20, 300)
    assert closed.count == 300
    for n in range(5000):
        table.take(happening(2, MONDAY + n, source_key=n + 1))
    (closed,) = table.take(happening(2, MONDAY + HOUR, code=EXPIRED, value=None))
    assert closed.source_count == 4096


def test_at_the_limit_nothing_opens_and_what_is_open_stays_whole() -> None:
    """More findings are counted, not told; room that a closing makes is used again."""
    table = incidents(limit=10)
    for n in range(10):
        assert states(table.take(happening(n, MONDAY + n))) == [("open", "medium", 1)]
    for n in range(10, 25):
        assert table.take(happening(n, MONDAY + n)) == []
    assert (len(table.open), table.overflowed) == (10, 15)
    assert len(table.last_opened) <= 10
    assert states(table.take(happening(3, MONDAY + HOUR, severity=5, count=2))) == [
        ("updated", "critical", 2)
    ]
    table.take(happening(3, MONDAY + 2 * HOUR, code=EXPIRED, value=None))
    assert states(table.take(happening(24, MONDAY + 3 * HOUR))) == [("open", "medium", 1)]


def test_what_was_refused_at_the_limit_is_told_when_there_is_room() -> None:
    """The next event that contributes to it opens it, also where nothing about it has changed."""
    table = incidents(limit=1)
    table.take(happening(1, MONDAY))
    assert table.take(happening(2, MONDAY + 1, severity=5)) == []
    assert table.take(happening(2, MONDAY + 2, severity=5, code=CONTRIBUTES, count=2)) == []
    table.take(happening(1, MONDAY + HOUR, code=EXPIRED, value=None))
    (told,) = table.take(happening(2, MONDAY + HOUR + 1, severity=5, code=CONTRIBUTES, count=3))
    assert (told.status.value, told.severity.value, told.count) == ("open", "critical", 3)
    assert table.overflowed == 2


def test_a_late_event_may_open_an_incident() -> None:
    """Where the opening event is older than the first contributing one, both times are said."""
    table = incidents()
    (opened,) = table.take(happening(1, MONDAY, since=MONDAY + HOUR, now=MONDAY + HOUR))
    assert opened.first_seen <= opened.last_seen
    (rose,) = table.take(
        happening(1, MONDAY - HOUR, since=MONDAY + HOUR, now=MONDAY + HOUR, severity=5)
    )
    assert rose.updated_at >= opened.updated_at


def test_incidents_survive_a_snapshot() -> None:
    """What a restart restores goes on as if nothing had been."""
    tables = [incidents(), incidents()]
    for n in range(30):
        happened = happening(n % 3, MONDAY + n * 7 * SECOND, count=n + 1)
        for table in tables:
            table.take(happened)
        tables[1].restore(json.loads(json.dumps(tables[1].snapshot())), tables[1].texts())
    assert tables[0].snapshot() == tables[1].snapshot()
    assert tables[0].texts() == tables[1].texts()
    late = MONDAY + HOUR
    assert tables[0].flush(late) == tables[1].flush(late)


def test_eviction_of_a_sender_closes_its_incident() -> None:
    """The sender whose row is taken by another one has its incident closed, under its own name."""
    core = Core(Config(stream=StreamSettings(max_senders=16)))
    name = "the-victim-whose-name-is-longer-than-24-bytes"
    same = {"provider": "stripe", "signature_fp": "ab" * 16, "sender": name}
    values = encode(calls(5, 10, MONDAY, **same))
    opened = core.feed_log(values, range(5), [MONDAY + MINUTE] * 5).alerts
    assert opened[0].sender == name
    values = encode(event(MONDAY + 2 * MINUTE + n * SECOND, f"flood-{n}") for n in range(200))
    flood = core.feed_log(values, range(5, 205), [MONDAY + HOUR] * 200).alerts
    closed = [alert for alert in flood if alert.status == "closed"]
    assert [(a.sender, a.close_reason) for a in closed] == [(name, "evicted")]
    assert core.evicted["sender"] > 100
    left = [incident.key for incident in core.incidents.open.values()]
    assert left == [["cardinality", "partition 0"]]  # which tells of the evictions


def test_a_snapshot_that_does_not_fit_is_refused() -> None:
    """Another configuration, a flipped bit, half a file and no file at all: one line each."""
    core = Core(CONFIG)
    core.feed_log(encode(traffic(days=0.5)), range(10**6), [MONDAY + DAY] * 10**4)
    data = core.snapshot()
    assert Core.restore(CONFIG, data).digest() == core.digest()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    other = Config({"replay-burst": {"threshold": 8.0}})
    for config, broken in (
        (CONFIG, bytes(flipped)), (CONFIG, data[:-5]), (CONFIG, b""), (CONFIG, b"x" * 100),
        (other, data),
    ):  # fmt: skip
        with pytest.raises(StateError) as caught:
            Core.restore(config, broken)
        assert "\n" not in str(caught.value)


@pytest.fixture
def no_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every source of time and chance raise."""

    def never(*_: Any, **__: Any) -> Any:
        msg = "detection read a clock or drew a number"
        raise AssertionError(msg)

    class NoClock(dt.datetime):
        now = utcnow = today = never

    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"):
        monkeypatch.setattr(time, name, never)
    for name in ("random", "randrange", "getrandbits", "choice"):
        monkeypatch.setattr(random, name, never)
    monkeypatch.setattr(secrets, "randbits", never)
    monkeypatch.setattr(secrets, "token_bytes", never)
    monkeypatch.setattr(np.random, "default_rng", never)
    monkeypatch.setattr(dt, "datetime", NoClock)
    yield
    monkeypatch.undo()


def test_detection_reads_no_clock_and_draws_no_number(request: pytest.FixtureRequest) -> None:
    """With every clock and every source of chance raising, a log gives the same alerts."""
    log = hostile(5, 500)
    pieces = cuts(2, len(log))
    expected = Core(CONFIG).feed_log(*log.part(0, len(log))).alerts
    assert {alert.detector for alert in expected} >= {"replay-burst", "spoofed-source"}
    core = Core(CONFIG)
    request.getfixturevalue("no_outside")
    with pytest.raises(AssertionError, match="read a clock"):
        time.time()
    found = [
        alert for start, end in pieces for alert in core.feed_log(*log.part(start, end)).alerts
    ]
    core.finish()
    core = Core.restore(CONFIG, core.snapshot())
    assert found == expected
