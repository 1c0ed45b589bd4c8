"""The order and the place of records that are copied to other partitions."""

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest

from detectors.engines.log_reader import LogRecord
from detectors.engines.repartition_copy import merged, targets
from detectors.engines.repartition_plan import Plan, Shape
from detectors.event import MINUTE
from ingest.partition import partition_for

NOON = 1_767_268_800_000_000
"""2026-01-01T12:00:00Z."""


def _event(minute: float, key: str = "a", broker: float | None = None) -> LogRecord:
    seconds = round(60 * minute)
    text = f"2026-01-01T{12 + seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"
    value = b'{"schema": 1, "received_at": "%s"}' % text.encode()
    at = NOON + round((minute if broker is None else broker) * MINUTE)
    return LogRecord(0, at, key.encode(), value)


def _report(minute: int) -> LogRecord:
    value = b'{"schema": 1, "report": {"at": "2026-01-01T12:%02d:00Z"}}' % minute
    return LogRecord(0, NOON + minute * MINUTE, None, value)


def _order(*partitions: Sequence[LogRecord]) -> list[LogRecord]:
    return [each.record for each in merged(partitions)]


def test_all_partitions_go_on_together() -> None:
    """Of several logs, each in order, comes one in order; within a key it is that of its log."""
    chance = random.Random(3)
    logs: list[list[LogRecord]] = [[] for _ in range(4)]
    times: list[float] = sorted(chance.uniform(0, 300) for _ in range(500))
    for number, minute in enumerate(times):
        key = f"s{chance.randrange(30)}"
        log = logs[partition_for(key.encode(), 4)]
        log.append(_event(minute, key)._replace(offset=number))
    found = _order(*logs)
    assert len(found) == 500
    shown = [record.value or b"" for record in found]
    assert shown == sorted(shown)
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    for record in found:
        by_key[record.key].append(record.offset)
    assert all(a < b for offsets in by_key.values() for a, b in pairwise(offsets))


def test_the_order_is_of_the_events_times_where_the_broker_had_them_later() -> None:
    """An archive that was published in one go is in the order in which it happened."""
    first = [_event(1, broker=300), _event(3, broker=300)]
    second = [_event(2, broker=301), _event(4, broker=301)]
    assert _order(first, second) == [first[0], second[0], first[1], second[1]]


@pytest.mark.parametrize(
    "odd",
    [
        LogRecord(0, NOON, b"x", b"no JSON \xff"),
        LogRecord(0, NOON, b"x", None),
        LogRecord(0, NOON, b"x", b"[" * 100_000),
        LogRecord(0, NOON, b"x", b'{"received_at": "2026-01-01T12:00:00"}'),
        _event(200, broker=1),  # ahead of the broker: workers refuse it
        _event(5.5, broker=1),  # a clock that is a little ahead
    ],
    ids=["garbage", "none", "deep", "no zone", "ahead", "clock"],
)
def test_nothing_odd_holds_its_partition_up(odd: LogRecord) -> None:
    """What has no time, or a wrong one, comes with the record before it, and those behind it do."""
    first = [_event(1), odd, _event(2)]
    second = [_event(0.5), _event(1.5), _event(2.5)]
    found = [record for record in _order(first, second) if record is not odd]
    assert found == [second[0], first[0], second[1], first[2], second[2]]


def test_a_quiet_partitions_reports_come_in_their_time() -> None:
    """Reports move the clock of their partition, so they are in order too."""
    first = [_report(1), _report(2), _report(3)]
    second = [_event(1.5), _event(2.5)]
    assert _order(first, second) == [first[0], second[0], first[1], second[1], first[2]]


def test_each_record_goes_where_workers_look_for_it() -> None:
    """Events by their key; of a report's copies the first to all partitions, the others to none."""
    one, other = merged([[_report(1)], []]), merged([[], [_report(1)]])
    assert [list(targets(each, 5)) for each in one] == [[0, 1, 2, 3, 4]]
    assert [list(targets(each, 5)) for each in other] == [[]]
    for key in ("acme-stripe", "2001:db8::/48", "x"):
        (placed,) = merged([[], [_event(1, key)]])
        assert list(targets(placed, 5)) == [partition_for(key.encode(), 5)]
    (keyless,) = merged([[], [], [_event(1)._replace(key=None)]])
    assert list(targets(keyless, 2)) == [0]


def test_a_plan_is_read_as_it_was_written() -> None:
    """A later run knows what an earlier one was about."""
    shape = Shape(4, 3, {"retention.ms": "1"}, 1 << 30)
    plan = Plan("switching", 7, {"callwatch.events": shape}, "an id", {"0": 5})
    assert Plan.read(plan.record()) == plan
