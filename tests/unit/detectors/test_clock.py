"""The clock of a partition and the times of files: nothing far off blinds the rest."""

from __future__ import annotations

import json

import pytest

from alerts.alert import from_rfc3339, to_rfc3339
from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.engines.local import LocalResult, run_local
from detectors.errors import StateError
from detectors.snapshot import pack, unpack
from ingest.sources import cut
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    HOUR,
    MINUTE,
    MONDAY,
    SECOND,
    Event,
    calls,
    encode,
    event,
    traffic,
)

CONFIG = Config()
START = MONDAY + 5 * DAY
ATTACK = [
    event(START + i * SECOND, rejected="signature_invalid", source_ip=ELSEWHERE) for i in range(60)
]


def usual() -> list[Event]:
    """Return five days of a sender's calls, then an attack."""
    return [*traffic(days=5), *ATTACK]


def of_files(events: list[Event], **options: int) -> LocalResult:
    """Run events as lines of one file."""
    return run_local([cut("f", 1, b"\n".join(encode(events)))], CONFIG, **options)  # type: ignore[arg-type]


def told(result: LocalResult) -> set[tuple[str, int]]:
    """What was found of the usual sender in its year: whoever calls in another is new there."""
    mine = [alert for alert in result.alerts if alert.sender == "acme"]
    found = {(alert.detector, alert.opened_at) for alert in mine}
    return {(detector, at) for detector, at in found if abs(at - MONDAY) < 365 * DAY}


def report(t: int) -> bytes:
    """Return a receiver's report."""
    at = to_rfc3339(t)
    body = {"receiver": "r/1@a", "process": "p", "started_at": at, "at": at, "offered": 1,
            "sent": 1, "dropped": {}, "version": "1", "sampling": 1.0}  # fmt: skip
    return json.dumps({"schema": 1, "report": body}).encode()


def log(core: Core, *records: tuple[bytes, int]) -> list[tuple[int | None, str]]:
    """Feed (value, broker's time) pairs; return what was rejected."""
    values, times = [r[0] for r in records], [r[1] for r in records]
    outcome = core.feed_log(values, range(len(values)), times)
    return [(r.offset, r.code) for r in outcome.rejected]


def one(t: int) -> bytes:
    """Return an event as JSON."""
    return encode([event(t)])[0]


def test_a_log_refuses_what_is_ahead_of_its_broker() -> None:
    """Five minutes ahead is accepted; a microsecond more, and ten years, are not."""
    core = Core(CONFIG)
    limit = MONDAY + 5 * MINUTE
    ten_years = MONDAY + 3652 * DAY
    rejected = log(core, (one(limit), MONDAY), (one(limit + 1), MONDAY), (one(ten_years), MONDAY))
    assert rejected == [(1, "time_out_of_range"), (2, "time_out_of_range")]
    assert core.stream_time_us == limit
    assert core.counters["rejected.time_out_of_range"] == 2


def test_a_log_refuses_what_is_a_day_late() -> None:
    """24 h behind stream time is accepted and scored; a microsecond more is not."""
    core = Core(CONFIG)
    rejected = log(core, *((one(MONDAY + late), MONDAY) for late in (0, -DAY, -DAY - 1)))
    assert rejected == [(2, "time_out_of_range")]
    assert core.counters["scored"] == 2
    assert core.stream_time_us == MONDAY


def test_the_limits_are_settings() -> None:
    """late_hours and ahead_minutes move both limits."""
    core = Core(Config(stream=StreamSettings(late_hours=1, ahead_minutes=0)))
    times = (MONDAY, MONDAY + 1, MONDAY - HOUR, MONDAY - HOUR - 1)
    assert [offset for offset, _ in log(core, *((one(t), MONDAY) for t in times))] == [1, 3]


def test_a_report_two_days_fast_is_refused_and_blinds_nobody() -> None:
    """A receiver's wrong clock neither moves stream time nor makes the others late."""
    core = Core(CONFIG)
    fast = MONDAY + 2 * DAY
    rejected = log(core, (one(MONDAY), MONDAY), (report(fast), MONDAY), (one(fast), MONDAY),
                   (one(MONDAY + 1), MONDAY + 1))  # fmt: skip
    assert rejected == [(1, "time_out_of_range"), (2, "time_out_of_range")]
    assert core.counters["scored"] == 2
    assert core.stream_time_us == MONDAY + 1


def test_a_report_moves_the_clock_of_an_idle_partition() -> None:
    """Incidents close by reports alone."""
    core = Core(CONFIG)
    same = {"provider": "stripe", "signature_fp": "ab" * 16}
    values = encode(calls(9, 10, MONDAY, **same))
    opened = core.feed_log(values, range(9), [MONDAY + 90 * SECOND] * 9).alerts
    assert opened
    later = MONDAY + 3 * HOUR
    closed = core.feed_log([report(later)], [9], [later]).alerts
    assert [alert.status.value for alert in closed][-1] == "closed"
    assert core.counters["reports"] == 1
    assert core.stream_time_us == later


def test_times_at_the_ends_of_the_calendar_are_refused_by_name() -> None:
    """The years 1 and 9999 can be written, so they can be named."""
    core = Core(CONFIG)
    ends = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
    values = [encode([event(MONDAY, received_at=end)])[0] for end in ends]
    outcome = core.feed_log([one(MONDAY), *values], [0, 1, 2], [MONDAY] * 3)
    assert [r.code for r in outcome.rejected] == ["time_out_of_range"] * 2
    assert "0001-01-01" in outcome.rejected[0].message
    assert "9999-12-31" in outcome.rejected[1].message


def test_a_file_refuses_what_comes_after_now() -> None:
    """Later than --now plus five minutes is refused; the rest is scored as ever."""
    now = START + HOUR
    bad = [event(now + 5 * MINUTE + 1), event(now + 3652 * DAY), event(now + 5 * MINUTE)]
    result = of_files([*bad[:2], *usual(), bad[2]], now_us=now)
    assert [(bad.where, bad.code) for bad in result.rejected] == [
        ("f:1", "time_out_of_range"),
        ("f:2", "time_out_of_range"),
    ]
    assert result.accepted == len(usual()) + 1
    assert told(result) == told(of_files(usual(), now_us=now))


def test_a_far_off_line_of_a_file_is_named_and_blinds_nobody() -> None:
    """One event years before or after all others: the others give the same alerts."""
    expected = told(of_files(usual()))
    assert expected
    for far in ("1999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2035-06-02T00:00:00Z",
                "9999-01-01T00:00:00Z"):  # fmt: skip
        stray = event(MONDAY, "a stray sender", received_at=far)
        mine = event(MONDAY, received_at=far)
        for lines in ([stray, mine, *usual()], [*usual(), mine, stray]):
            result = of_files(lines)
            assert told(result) == expected
            assert result.accepted == len(lines)
            named = "\n".join(result.warnings)
            assert stray["id"] in named
            assert mine["id"] in named
            assert far[:4] in named


def test_a_receiver_two_days_fast_in_a_file() -> None:
    """Its events are scored at their time, after those of all others."""
    fast = [event(START + 2 * DAY + i * MINUTE, "fast") for i in range(100)]
    assert told(of_files([*fast, *usual()])) == told(of_files(usual()))


def test_late_calls_before_the_hours_tick_count_in_it() -> None:
    """The hour closes a minute after its end: what comes in between counts where it belongs."""
    found = []
    for wait in (30, 90):  # seconds after the hour
        core = Core(CONFIG)
        history = list(traffic(days=5, per_hour=30))
        hour = START + HOUR
        late = [event(hour - 5 * SECOND + i) for i in range(100)]
        after = [event(hour + wait * SECOND)]
        events = [*history, *calls(20, 60, START), *after, *late]
        values = encode(events)
        times = [from_rfc3339(e["received_at"]) for e in [*history, *calls(20, 60, START), *after]]
        times += [hour + wait * SECOND] * len(late)
        alerts = core.feed_log(values, range(len(values)), times).alerts
        found.append([alert.first_seen for alert in alerts if alert.detector == "payload-volume"])
    assert found[0]
    assert set(found[0]) == {START}


def test_ticks_run_up_to_the_last_event_or_until() -> None:
    """A finite input ends with its last event, unless --until lets time run on."""
    same = {"provider": "stripe", "signature_fp": "ab" * 16}
    events = calls(9, 10, MONDAY, **same)
    assert {a.status.value for a in of_files(events).alerts} <= {"open", "updated"}
    result = of_files(events, until_us=MONDAY + 3 * HOUR)
    assert result.alerts[-1].status.value == "closed"


def test_an_empty_input_is_no_problem() -> None:
    """No line, no event, no alert."""
    result = run_local([], CONFIG, until_us=MONDAY)
    assert (result.read, result.accepted, result.alerts, result.warnings) == (0, 0, [], [])
    core = Core(CONFIG)
    assert core.feed_log([], [], []).alerts == []
    assert core.next_offset is None
    assert core.finish(MONDAY).alerts == []


def test_a_clock_of_another_layout_is_an_error_of_the_state() -> None:
    """A state whose pauses have two columns is refused in words, and does not end the program."""
    core = Core(CONFIG)
    log(core, (one(MONDAY), MONDAY), (one(MONDAY + HOUR), MONDAY + HOUR))
    header, arrays = unpack(core.snapshot())
    assert header["clock"][2]
    header["clock"][2] = [pause[:2] for pause in header["clock"][2]]
    with pytest.raises(StateError, match="does not fit"):
        Core.restore(CONFIG, pack(header, arrays))
