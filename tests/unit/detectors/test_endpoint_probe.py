"""Searches for endpoints and names are found whatever the partitioning; own faults are not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from alerts.alert import Alert
from alerts.pipeline import fold
from detectors.batch import Decoder
from detectors.config import Config
from detectors.event import DAY, HOUR, MINUTE, SECOND
from detectors.observer import PER_SOURCE
from detectors.shared import Partitions, SharedCore
from ingest.partition import partition_for
from tests.unit.detectors.streams import (
    ELSEWHERE,
    HOME,
    TUESDAY,
    Event,
    encode,
    event,
    fp,
    sort,
    traffic,
)

CONFIG = Config()


def partitioned(events: Iterable[Event], count: int, *, cut: int = 1000) -> list[Alert]:
    """Feed events in order of time to so many partitions, ``cut`` of them at a time."""
    state = Partitions(CONFIG, count)
    decoder = Decoder(CONFIG)
    ordered = sort(events)
    alerts: list[Alert] = []
    for start in range(0, len(ordered), cut):
        piece = ordered[start : start + cut]
        for p in range(count):
            mine = [e for e in piece if partition_for(e["sender"].encode(), count) == p]
            if mine:
                alerts += state.feed_sorted(p, decoder.values(encode(mine)).batch).alerts
    return alerts + state.finish(TUESDAY + 2 * DAY)


def probes(alerts: Iterable[Alert]) -> list[Alert]:
    """Return the incidents of this detector."""
    return [a for a in fold(alerts).values() if a.detector == "endpoint-probe"]


def senders(n: int, *, ip: str = ELSEWHERE, gap: int = 2 * SECOND) -> list[Event]:
    """One network names n senders, one after the other."""
    return [
        event(
            TUESDAY + i * gap, f"tenant-{i}", rejected="signature_missing", source_ip=ip,
            endpoint="/hooks/tenant", status=401,
        )
        for i in range(n)
    ]  # fmt: skip


def paths(n: int, *, ip: str = ELSEWHERE, gap: int = 2 * SECOND) -> list[Event]:
    """One network asks for n paths that nobody has registered."""
    return [
        event(
            TUESDAY + i * gap, "(unknown)", rejected="endpoint_unknown", source_ip=ip,
            endpoint="(unmatched)", path_fp=fp(i), status=404,
        )
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("search", [senders, paths])
def test_a_search_is_found_by_its_fifteenth_attempt(search: Callable[[int], list[Event]]) -> None:
    """Fifteen names or paths within a minute are one incident that names the network."""
    (found,) = probes(partitioned(search(15), 4))
    assert found.source == "203.0.113.0/24"
    assert found.reason.endswith("_enumeration")
    assert found.sender is None


def test_members_of_a_search_are_named() -> None:
    """The incident counts the senders, and names the first twenty that came with it."""
    (found,) = probes(partitioned(senders(40), 1))
    assert found.reason == "sender_enumeration"
    assert found.severity == "medium"
    assert len(found.senders) == 20
    assert found.sender_count > 20


def test_a_search_that_takes_a_day_is_found() -> None:
    """Thirty paths, one every twenty minutes, are a search too."""
    (found,) = probes(partitioned(paths(30, gap=20 * MINUTE), 1))
    assert found.reason == "endpoint_enumeration"


def test_partitioning_and_cuts_change_no_incident() -> None:
    """One partition and eight, in one piece or in many: the same network, reason and count."""
    stream = [*traffic(days=0.3, per_hour=60, ips=HOME), *senders(40), *paths(40, ip="198.18.0.7")]

    def seen(alerts: list[Alert]) -> list[tuple[object, ...]]:
        return [(a.source, a.reason, a.severity, a.count, a.opened_at) for a in probes(alerts)]

    expected = seen(partitioned(stream, 1))
    assert len(expected) == 2
    assert seen(partitioned(stream, 8)) == expected
    assert seen(partitioned(stream, 8, cut=7)) == expected
    assert seen(partitioned(stream, 1, cut=3)) == expected


def test_calls_that_fail_from_where_they_verified_are_no_search() -> None:
    """A provider whose forty customers all fail after a deploy is not searching for anything."""
    first = [event(TUESDAY + i * SECOND, f"tenant-{i}") for i in range(40)]
    broken = [
        event(TUESDAY + HOUR + i * SECOND, f"tenant-{i}", rejected="signature_invalid")
        for i in range(40)
    ]
    assert probes(partitioned([*first, *broken], 4)) == []


def test_browsers_that_fail_and_a_few_wrong_calls_are_no_search() -> None:
    """Redirect callbacks of many users, and an integrator's five tries, stay quiet."""
    browsers = [
        event(TUESDAY + i * SECOND, f"app-{i}", kind="redirect", rejected="state_missing")
        for i in range(40)
    ]
    assert probes(partitioned([*browsers, *paths(5), *senders(5)], 2)) == []


def test_a_flood_is_passed_on_within_bounds() -> None:
    """One network is passed on at most 64 times in five minutes, and repeats are not at all."""
    state = Partitions(CONFIG)
    flood = [*senders(500, gap=SECOND // 10), *senders(500, gap=SECOND // 10)]
    decoded = Decoder(CONFIG).values(encode(sort(flood)))
    outcome = state.feed_sorted(0, decoded.batch)
    assert len(outcome.observations) == PER_SOURCE
    pattern = paths(1)[0]
    kept = ("sender", "endpoint", "path_fp", "source_ip", "verdict", "reason", "status")
    repeated = {name: pattern[name] for name in kept}
    again = [event(TUESDAY + HOUR + i, **repeated) for i in range(50)]
    outcome = state.feed_sorted(0, Decoder(CONFIG).values(encode(again)).batch)
    assert len(outcome.observations) == 1


def test_a_restored_shared_core_goes_on_as_if_nothing_had_been() -> None:
    """With a snapshot and a restore in between, what waits included, the same is found."""
    state = Partitions(CONFIG)
    batch = Decoder(CONFIG).values(encode(sort(senders(40), paths(40)))).batch
    told = state.cores[0].feed_sorted(batch).observations
    assert len(told) > 40
    whole, broken = SharedCore(CONFIG), SharedCore(CONFIG)
    expected = whole.take(told, {0: told[-1].now + 1})
    cut = random.Random(3).randrange(10, 30)
    found = broken.take(told[:cut], {0: told[cut].now})
    again = SharedCore.restore(CONFIG, broken.snapshot())
    assert again.snapshot() == broken.snapshot()
    found += again.take(told[cut:], {0: told[-1].now + 1})
    assert [a.to_json() for a in found] == [a.to_json() for a in expected]
    assert again.core.digest() == whole.core.digest()


def test_a_slow_partition_is_waited_for() -> None:
    """What one partition passes on is not judged before what an earlier one still may bring."""
    told = (
        Partitions(CONFIG)
        .cores[0]
        .feed_sorted(Decoder(CONFIG).values(encode(senders(20))).batch)
        .observations
    )
    shared = SharedCore(CONFIG)
    assert shared.take(told, {0: told[-1].now + 1, 1: TUESDAY - HOUR}) == []
    shared.forget(1)
    assert shared.take([], {0: told[-1].now + 2}) != []
