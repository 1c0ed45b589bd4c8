"""callwatch says when it sees less than it should, and is quiet about what only looks like it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NoReturn
from uuid import UUID

import pytest

from alerts.alert import Alert, to_rfc3339
from alerts.pipeline import fold
from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.event import DAY, HOUR, MINUTE, SECOND
from detectors.health import STILL
from detectors.keys import name_key
from detectors.receivers import MOST_RECEIVERS, Instance, Receivers
from detectors.registry import alerting_found, detectors_found
from ingest.control import VerdictControl, dump_control
from ingest.partition import partition_for
from ingest.profiles import load_profiles
from ingest.schema import parse_report
from models.novelty import short_tag
from tests.unit.detectors.streams import MONDAY, Event, at, encode, event

Record = tuple[int, bytes]
ONLY = frozenset(one.id for one in detectors_found())
"""The rules are another matter: only what is tested here runs."""


def report(t: int, receiver: str = "hooks/1.4@a", **fields: Any) -> Record:
    """A receiver's report that reaches the stream when it is made."""
    made = {
        "receiver": receiver, "process": f"{receiver} 1", "started_at": to_rfc3339(MONDAY - DAY),
        "at": to_rfc3339(t), "offered": 0, "sent": 0, "dropped": {}, "version": "1",
        "sampling": 1.0,
    }  # fmt: skip
    return t, json.dumps({"schema": 1, "report": made | fields}).encode()


def reports(receiver: str, first: float, last: float, **fields: Any) -> list[Record]:
    """Reports once a minute, from a minute to another; their seconds differ by receiver."""
    offset = sum(receiver.encode()) % 60 * SECOND
    minutes = range(int(first), int(last))
    return [report(MONDAY + n * MINUTE + offset, receiver, **fields) for n in minutes]


def of(events: Iterable[Event]) -> list[Record]:
    """Events that reach the stream when they are received."""
    made = list(events)
    return [(at(one), value) for one, value in zip(made, encode(made), strict=True)]


def steady(minutes: float, every_s: float = 60, **fields: Any) -> list[Record]:
    """A sender's calls, evenly."""
    times = range(0, int(minutes * MINUTE), int(every_s * SECOND))
    return of(event(MONDAY + t, **fields) for t in times)


def core_of(
    *, partition: int = 0, partitions: int | None = None, limit: int = 1 << 20, **settings: float
) -> Core:
    """A core without rules."""
    config = Config(
        {"pipeline-health": settings}, stream=StreamSettings(max_senders=limit), disabled=ONLY
    )
    return Core(config, partition, partitions=partitions)


def feed(core: Core, *streams: Sequence[Record]) -> list[Alert]:
    """All states of the alerts that these streams bring, read as one log."""
    records = sorted((one for stream in streams for one in stream), key=lambda one: one[0])
    return feed_in_order(core, records)


def feed_in_order(core: Core, records: Sequence[Record]) -> list[Alert]:
    """The same, in this order: times are those of the broker."""
    values, times = [value for _, value in records], [t for t, _ in records]
    first = core.next_offset or 0
    outcome = core.feed_log(values, range(first, first + len(values)), times)
    return outcome.alerts


def short(alerts: Iterable[Alert]) -> list[tuple[str, str, str]]:
    """The last state of each incident: reason, severity, status."""
    return [(a.reason, a.severity.value, a.status.value) for a in fold(list(alerts)).values()]


# --- receivers ---------------------------------------------------------------------------------


def test_a_service_that_stops_reporting_while_others_go_on_is_silent() -> None:
    """After five minutes without a report it is told, and closed by its next report."""
    core = core_of()
    other = reports("other/1@x", 0, 60)
    opened = feed(core, reports("hooks/1.4@a", 0, 20), other[:40])
    assert short(opened) == [("receiver_silent", "medium", "open")]
    (alert,) = opened
    silent_from = MONDAY + 19 * MINUTE + sum(b"hooks/1.4@a") % 60 * SECOND
    assert alert.first_seen == silent_from
    assert 5 * MINUTE <= alert.opened_at - silent_from <= 7 * MINUTE
    assert alert.sender is None
    assert alert.summary == (
        "receiver hooks has stopped reporting (1 instance): its senders are not seen"
    )
    closed = feed(core, reports("hooks/1.5@a", 41, 60), other[40:])
    assert [(a.id, a.status, a.close_reason) for a in closed] == [
        (alert.id, "closed", "contradicted")
    ]


def test_silent_services_are_known_in_every_partition_and_told_in_the_first() -> None:
    """Each partition hears all receivers, so that any can ask; one tells."""
    core = core_of(partition=3)
    assert feed(core, reports("hooks/1@a", 0, 20), reports("other/1@x", 0, 40)) == []
    assert core.health is not None
    assert core.health.silent_services == {"hooks"}


@pytest.mark.parametrize("cut", [10**6, 997])
def test_senders_of_a_silent_service_are_not_silent(cut: int) -> None:
    """Sx1: who is not heard is not judged; who stays away after the service is back is told."""
    minutes, stop, back = 9 * 1440, 8 * 1440, 8 * 1440 + 180
    blind = range(MONDAY + stop * MINUTE, MONDAY + back * MINUTE)
    hooks = [r for r in reports("hooks/1@a", 0, minutes) if r[0] not in blind]
    streams = [hooks, reports("other/1@x", 0, minutes)]
    for name, receiver, until in [
        ("returns", "hooks/1@a", minutes), ("stays", "hooks/1@a", stop), ("gone", "other/1@x", stop)
    ]:  # fmt: skip
        calls = steady(until, 40, sender=name, receiver=receiver)
        streams.append([r for r in calls if r[0] not in blind or receiver == "other/1@x"])
    core = Core(Config({}, disabled=ONLY - {"sender-silence"}))
    records = sorted((one for stream in streams for one in stream), key=lambda one: one[0])
    alerts = []
    for start in range(0, len(records), cut):
        alerts += feed_in_order(core, records[start : start + cut])
    told = fold(alerts).values()
    silent = {a.sender: a.opened_at for a in told if a.detector == "sender-silence"}
    assert set(silent) == {"stays", "gone"}
    assert 0 < silent["gone"] - blind.start <= 15 * MINUTE
    assert 0 < silent["stays"] - blind.stop <= 15 * MINUTE


def test_hundreds_of_silent_services_are_remembered_while_their_silence_lasts() -> None:
    """Of five hundred each has one entry through hundreds of ticks, however the log is cut."""
    names = {short_tag(name_key(f"svc{n}")): f"svc{n}" for n in range(520)}  # a tag is short
    many = len(names)
    assert many > 500
    streams = [reports(f"{name}/1@a", 8, 20) for name in names.values()]
    records = sorted(one for stream in streams for one in stream)
    later = [record for n in range(300) for record in reports("other/1@x", n + 20, n + 21)]
    whole, parts = core_of(partition=1), core_of(partition=1)
    for core in (whole, parts):
        feed_in_order(core, records)
    feed_in_order(whole, later)
    for record in later:
        feed_in_order(parts, [record])
    for core in (whole, parts, Core.restore(whole.config, whole.snapshot())):
        assert core.health is not None
        assert core.digest() == whole.digest()
        assert core.health.silent_services == set(names.values())
        assert len(core.health.snapshot()["unheard"]) == many
    assert whole.health is not None
    assert len(whole.health.unheard) == many
    assert {end for _, end, _ in whole.health.unheard.tolist()} == {STILL}


def test_a_service_that_is_silent_again_and_again_has_one_entry() -> None:
    """What a batch is told of each of its silences is in order; the last of them is remembered."""
    core = core_of(partition=1)
    spells = [reports("hooks/1@a", first, first + 15) for first in range(0, 240, 40)]
    feed(core, *spells, reports("other/1@x", 0, 240))
    assert core.health is not None
    told = core.health.unheard.tolist()
    assert len(told) == 6
    assert told == sorted(told)
    assert all(a[1] < b[0] for a, b in pairwise(told))
    assert core.health.snapshot()["unheard"] == told[-1:]


def test_senders_of_one_silent_service_among_hundreds_are_not_silent() -> None:
    """Where four hundred services fell silent before it, a service's sender is not judged."""
    minutes, stop = 8 * 1440 + 240, 8 * 1440
    many = [f"svc{n}/1@a" for n in range(400)]
    first = MONDAY + (stop - 40) * MINUTE
    streams = [
        reports("hooks/1@a", 0, stop),
        reports("other/1@x", 0, minutes),
        [report(first + n * MINUTE, name) for name in many for n in range(12)],
    ]
    for name, receiver in [("unheard", "hooks/1@a"), ("gone", "other/1@x")]:
        streams.append(steady(stop, 40, sender=name, receiver=receiver))
    core = Core(Config({}, disabled=ONLY - {"sender-silence"}), 1)
    told = fold(feed(core, *streams)).values()
    assert {a.sender for a in told if a.detector == "sender-silence"} == {"gone"}
    assert core.health is not None
    assert len(core.health.silent_services) == 401


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("restart", [reports("hooks/1@a", 0, 20), reports("hooks/1@a", 23, 60, process="2")]),
        ("another version", [reports("hooks/1@a", 0, 20), reports("hooks/2@a", 21, 60)]),
        ("replaced before", [reports("hooks/1@a", 0, 20), reports("hooks/2@b", 18, 60)]),
        ("replaced after", [reports("hooks/1@a", 0, 20), reports("hooks/2@b", 23, 60)]),
        ("a short job", [reports("job/1@a", 0, 8)]),
        ("everybody pauses", [reports("hooks/1@a", 0, 20), reports("hooks/1@a", 3000, 3010)]),
    ],
)
def test_what_only_looks_like_silence(name: str, streams: list[list[Record]]) -> None:
    """Restarts, deployments, short jobs and a pause of the whole stream are told by nobody."""
    pauses = name == "everybody pauses"
    later = (3000, 3010) if pauses else (20, 60)
    other = reports("other/1@x", 0, 20) + reports("other/1@x", *later)
    assert feed(core_of(), *streams, other) == []


def test_a_rolling_deployment_is_quiet() -> None:
    """Eight instances are replaced, one every two minutes, each new one before its old one goes."""
    streams = [reports(f"hooks/1@old{n}", 0, 30 + 2 * n) for n in range(8)]
    streams += [reports(f"hooks/2@new{n}", 29 + 2 * n, 90) for n in range(8)]
    assert feed(core_of(), *streams) == []


def test_a_scale_down_is_worth_knowing_and_expires() -> None:
    """One of three instances goes for good: info, over after an hour, and never told again."""
    streams = [reports(f"hooks/1@{n}", 0, 600) for n in "ab"]
    alerts = feed(core_of(), *streams, reports("hooks/1@c", 0, 100))
    assert short(alerts) == [("receiver_silent", "info", "closed")]
    assert alerts[-1].close_reason == "expired"
    assert alerts[-1].updated_at - alerts[0].opened_at == HOUR
    assert alerts[0].summary == (
        "1 instance of receiver hooks has stopped reporting; 2 still report"
    )


def test_the_last_instance_that_goes_makes_it_grave() -> None:
    """The incident of the first instance becomes medium when none is left."""
    streams = [reports("hooks/1@a", 0, 100), reports("hooks/1@b", 0, 110)]
    alerts = feed(core_of(), *streams, reports("other/1@x", 0, 150))
    assert [(a.severity, a.status) for a in alerts] == [("info", "open"), ("medium", "updated")]
    assert len({a.id for a in alerts}) == 1


def test_late_reports_are_signs_of_life() -> None:
    """Reports that come ten minutes late, one after the other, are no silence."""
    late = [(t + 10 * MINUTE, value) for t, value in reports("hooks/1@a", 0, 100)]
    assert feed(core_of(), late, reports("other/1@x", 0, 110)) == []


def test_receivers_are_bounded() -> None:
    """Of more instances than can be remembered the one that was heard longest ago is forgotten."""
    known = Receivers()
    for n in range(MOST_RECEIVERS + 100):
        made = parse_report(report(MONDAY + n * SECOND, f"svc{n % 7}/1@{n}")[1])
        known.hear(made, MONDAY + n * SECOND, n * SECOND)
    assert len(known.live) == len(known.totals) == MOST_RECEIVERS
    assert known.forgotten == 100
    assert "svc1@1" not in known.live
    assert len(known.newcomers) <= 7
    assert max(map(len, known.newcomers.values())) <= 64
    again = Receivers()
    again.restore(json.loads(json.dumps(known.snapshot())))
    assert vars(again) == vars(known)


class Unscanned(dict[str, Instance]):
    """Receivers of which one may ask for the first, or by name, but not for all."""

    def items(self) -> NoReturn:
        raise AssertionError

    values = items


def test_a_new_receiver_is_not_looked_for_among_all() -> None:
    """Whether it replaces a silent one, or is one more, is known of its service alone."""
    known = Receivers()
    for name in ("hooks/1@a", "hooks/1@b", "hooks/1@c"):
        for n in range(12):
            known.hear(parse_report(report(MONDAY, name)[1]), MONDAY, n * MINUTE)
    known.miss(HOUR, 5 * MINUTE, 10)
    known.hear(parse_report(report(MONDAY, "other/1@x")[1]), MONDAY, HOUR)
    assert list(known.silent) == ["hooks@a", "hooks@b", "hooks@c"]
    known.live, known.silent = Unscanned(known.live), Unscanned(known.silent)
    for name in ("hooks/2@d", "other/1@y", "new/1@z"):
        known.hear(parse_report(report(MONDAY, name)[1]), MONDAY, HOUR)
    assert list(known.silent) == ["hooks@b", "hooks@c"]
    assert list(known.live) == ["other@x", "hooks@d", "other@y", "new@z"]
    assert known.newcomers == {"other": [HOUR]}


@pytest.mark.parametrize("seed", range(5))
def test_receivers_are_known_by_service_as_they_are_one_by_one(seed: int) -> None:
    """Whoever reports, falls silent or is forgotten: what is kept by service is what is counted."""
    chance, known, active = random.Random(seed), Receivers(), 0
    kept = Receivers()
    for _ in range(400):
        active += chance.randrange(3 * MINUTE)
        name = f"svc{chance.randrange(4)}/1@{chance.randrange(6)}"
        for each in (known, kept):
            each.hear(parse_report(report(MONDAY + active, name)[1]), MONDAY + active, active)
            each.miss(active, 9 * MINUTE, 2)
        if chance.random() < 0.05:
            service = f"svc{chance.randrange(4)}"
            known.forget(service)
            kept.forget(service)
            assert all(one.service != service for one in known.silent.values())
        expected: dict[str, tuple[int, int, int]] = {}
        for one in known.silent.values():
            mine = [each for each in known.silent.values() if each.service == one.service]
            live = [each for each in known.live.values() if each.service == one.service]
            expected[one.service] = (len(mine), len(live), min(each.heard for each in mine))
        assert list(known.silences().items()) == list(expected.items())
        again, written = Receivers(), json.loads(json.dumps(kept.snapshot()))
        again.restore(written)
        kept = again
        assert kept.snapshot() == known.snapshot()
        assert vars(kept) == vars(known)


def losing(share: float, **dropped: float) -> list[Record]:
    """A receiver that is offered a hundred events a minute, and drops a share of them by reason."""
    return [
        report(
            MONDAY + n * MINUTE + 7 * SECOND,
            offered=100 * n,
            dropped={why: int(100 * n * share * part) for why, part in dropped.items()},
        )
        for n in range(60)
    ]


def test_what_receivers_lose_is_told() -> None:
    """Three of a hundred events that are dropped are low, thirty are medium; one incident each."""
    few = feed(core_of(), losing(0.03, queue_full=1.0))
    assert short(few) == [("events_lost", "low", "updated")]
    alerts = feed(core_of(), losing(0.3, queue_full=0.5, invalid=0.5))
    assert short(alerts) == [("events_lost", "medium", "updated")]
    assert len({a.id for a in alerts}) == 1
    assert alerts[0].summary.startswith("receiver hooks lost ")


@pytest.mark.parametrize("why", ["hook_refused", "disabled"])
def test_what_somebody_wanted_dropped_is_no_loss(why: str) -> None:
    """A hook that keeps events off the stream, or publishing that is switched off, is a choice."""
    assert feed(core_of(), losing(0.5, **{why: 1.0})) == []


def test_totals_of_long_ago_are_no_loss_of_today() -> None:
    """The first report of an old process, repeated and older reports add nothing."""
    old = report(MONDAY, offered=10**6, dropped={"queue_full": 10**5})
    stream = [(MONDAY + n * MINUTE, old[1]) for n in range(30)]
    assert feed(core_of(), stream, steady(30)) == []


# --- records -----------------------------------------------------------------------------------


def delayed(share: float, by: int, minutes: int = 30, per_minute: int = 60) -> list[Record]:
    """Calls of which every so-manieth reaches the stream late."""
    step = MINUTE // per_minute
    every = round(1 / share) if share else 10**9
    return [
        (t + (by if n % every == 0 else 0), value)
        for n, (t, value) in enumerate(steady(minutes, step / SECOND))
    ]


def test_records_that_come_late_are_told_once() -> None:
    """A fifth of the calls, ten minutes late: one low incident that closes after an hour."""
    alerts = feed(core_of(), delayed(0.2, 10 * MINUTE), steady(200))
    assert short(alerts) == [("late_data", "low", "closed")]
    assert alerts[0].count >= 100


def test_refused_records_are_graver_than_late_ones() -> None:
    """What is a day late is refused, so it is not seen at all."""
    stream = steady(26 * 60)
    stale = [(t + 25 * HOUR, value) for t, value in steady(30, 5)]
    alerts = feed(core_of(), stream, stale)
    assert short(alerts)[0][:2] == ("late_data", "medium")


@pytest.mark.parametrize(("share", "by"), [(0.03, 10 * MINUTE), (0.2, 4 * MINUTE), (0.0, 0)])
def test_a_few_late_records_or_slightly_late_ones_are_usual(share: float, by: int) -> None:
    """Less than a twentieth, or less than five minutes, is no trouble."""
    assert feed(core_of(), delayed(share, by)) == []


def test_records_that_are_no_events_are_told() -> None:
    """A receiver whose events are invalid is a receiver that is not seen."""
    broken = [(t + 1, b'{"schema": 1, "id": "no"}') for t, _ in steady(30, 5)]
    found = feed(core_of(), steady(31, 1), broken)
    assert short(found) == [("invalid_data", "medium", "updated")]
    assert feed(core_of(), steady(31, 1), broken[:99]) == []


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_damaged_batch_is_told_at_once(cut: int) -> None:
    """Ten records are enough, all are counted, and how the log is cut changes nothing."""
    core, alerts = core_of(), list[Alert]()
    stream = steady(62)
    before, after = stream[:31], stream[31:]
    for part in (before, after):
        for start in range(0, len(part), cut):
            piece = part[start : start + cut]
            values, times = [value for _, value in piece], [t for t, _ in piece]
            alerts += core.feed_log(values, list(range(len(piece))), times).alerts
        if part is before:
            core.lost(10, len(before) + 10)
    assert short(alerts) == [("batch_damaged", "medium", "open")]
    assert alerts[0].summary.startswith("partition 0: 10 records in 15 min stood in batches")
    counters = core.counters
    assert counters["rejected.batch_damaged"] == 10
    assert counters["consumed"] == counters["scored"] + counters.get("duplicates", 0) + 10
    again = Core.restore(core.config, core.snapshot())
    assert again.digest() == core.digest()


def said(alert: Alert, verdict: str, key: bytes, n: int = 1) -> bytes:
    """A person's verdict on an incident, signed."""
    made = VerdictControl(
        id=str(UUID(int=n)), at=datetime.fromtimestamp(MONDAY / 1e6, UTC),
        by="ana", sender="acme", reason="known", alert=alert.id, detector=alert.detector,
        expires=datetime.fromtimestamp((MONDAY + DAY) / 1e6, UTC), finding=alert.reason,
        verdict=verdict, severity=alert.severity.value,
    )  # fmt: skip
    return dump_control(made, key)


def test_verdicts_on_it_and_wrong_signatures_among_them() -> None:
    """A forged verdict is told and does nothing; a right one ends the incident it names."""
    key = bytes(range(32))
    core = Core(Config(disabled=ONLY, control_key=key))
    (silent,) = feed(core, reports("hooks/1@a", 0, 20), reports("other/1@x", 0, 40))
    forged = (MONDAY + 41 * MINUTE, said(silent, "benign", bytes(32)))
    alerts = feed(core, [forged], reports("other/1@x", 41, 60))
    assert short(alerts) == [("control_invalid", "medium", "open")]
    kept = (MONDAY + 61 * MINUTE, said(silent, "attack", key))
    assert feed(core, [kept], reports("other/1@x", 61, 70)) == []
    assert core.counters["controls.nothing_to_keep"] == 1
    ended = (MONDAY + 71 * MINUTE, said(silent, "benign", key, n=2))
    closed = feed(core, [ended], reports("other/1@x", 71, 90))
    assert [(a.id, a.status.value) for a in closed] == [(silent.id, "closed")]


def test_records_without_a_key_to_hold_them_against_are_no_forgeries() -> None:
    """A worker without a control key says so, and not that the signature is wrong; the count is
    in its snapshot.
    """
    core = Core(Config(disabled=ONLY))
    (silent,) = feed(core, reports("hooks/1@a", 0, 20), reports("other/1@x", 0, 40))
    judged = (MONDAY + 41 * MINUTE, said(silent, "benign", bytes(32)))
    alerts = feed(core, [judged], reports("other/1@x", 41, 43))
    assert short(alerts) == [("control_key_missing", "medium", "open")]
    assert "1 control record in 15 min, and no control key to hold" in alerts[0].summary
    again = Core.restore(core.config, core.snapshot())
    more = [(MONDAY + 46 * MINUTE + n, said(silent, "benign", bytes(32), n)) for n in (2, 3)]
    told = feed(again, more, reports("other/1@x", 44, 60))
    assert [a.id for a in told] == [alerts[0].id] * len(told)
    assert "3 control records in 15 min" in told[-1].summary


# --- senders -----------------------------------------------------------------------------------


def newcomers(n: int, start: int, every_us: int, **fields: Any) -> list[Record]:
    """Calls of senders that nobody has seen before."""
    return of(event(start + i * every_us, f"s-{i}-{start}", **fields) for i in range(n))


def test_a_flood_of_sender_names_is_one_incident_and_names_none() -> None:
    """Random names fill the table: one alert with updates, evictions counted, no harm to others."""
    core = core_of(limit=512)
    real = steady(600)
    flood = newcomers(6000, MONDAY + 300 * MINUTE, SECOND, rejected="sender_unknown")
    alerts = feed(core, real, flood)
    assert len({a.id for a in alerts}) == 1
    first = alerts[0]
    assert (first.reason, first.severity, first.sender) == ("cardinality", "medium", None)
    assert 2 < len(alerts) < 12
    told = max(a.observed["evicted"].value for a in alerts)
    assert told > 1000
    assert core.evicted["sender"] > 5000
    assert not any("s-" in a.summary for a in alerts)
    assert "100 % of their first calls were rejected" in first.summary
    acme = next(one for one in core.baselines() if one.sender == "acme")
    assert acme.events == 600


def test_many_new_senders_are_told_before_the_table_is_full() -> None:
    """After a usual day an hour with thousands of new names is low."""
    flood = newcomers(3000, MONDAY + 30 * HOUR, SECOND)
    assert short(feed(core_of(), steady(32 * 60), flood)) == [("cardinality", "low", "closed")]


def test_a_beginning_and_daily_newcomers_are_usual() -> None:
    """The first day brings everybody; a batch of new senders every morning is learned."""
    first_day = newcomers(5000, MONDAY, 4 * SECOND)
    mornings = [newcomers(1500, MONDAY + d * DAY + 9 * HOUR, SECOND) for d in range(1, 6)]
    alerts = feed(core_of(), steady(6 * 24 * 60, 600), first_day, *mornings)
    assert [a for a in alerts if a.reason == "cardinality"] == []


def test_senders_in_the_wrong_partition_are_told_where_the_number_is_known() -> None:
    """A publisher with another partitioner splits baselines; what belongs here is no fault."""
    names = [f"sender-{n}" for n in range(60)]
    at_home = [name for name in names if partition_for(name.encode(), 4) == 2]
    everybody = of(event(MONDAY + i * SECOND, name) for i, name in enumerate(names))
    mine = of(event(MONDAY + i * SECOND, name) for i, name in enumerate(at_home))
    alerts = feed(core_of(partition=2, partitions=4), everybody, steady(10, sender=at_home[0]))
    assert short(alerts) == [("misplaced", "low", "open")]
    assert alerts[0].observed["misplaced"].value == len(names) - len(at_home)
    quiet = [mine, steady(10, sender=at_home[0])]
    assert feed(core_of(partition=2, partitions=4), *quiet) == []
    assert feed(core_of(partition=2), everybody, quiet[1]) == []


# --- what is remembered ------------------------------------------------------------------------


def test_a_rebuilt_state_is_told_once_with_the_next_minute() -> None:
    """It survives a snapshot, says why, and closes after an hour."""
    core = core_of(partition=5)
    feed(core, steady(3))
    core.rebuilt("damaged")
    core = Core.restore(core.config, core.snapshot())
    alerts = feed(core, steady(120)[4:])
    assert short(alerts) == [("state_rebuilt", "low", "closed")]
    assert alerts[0].summary.startswith(
        "partition 5: the state was made anew, because its checkpoint was damaged"
    )
    gone = core_of(partition=5)
    gone.rebuilt("records_gone")
    (alert,) = feed(gone, steady(5))
    assert (alert.reason, alert.severity) == ("state_rebuilt", "medium")
    assert alert.summary == (
        "partition 5: records were deleted from the log before they were read, and were not seen"
    )
    fresh = core_of()
    fresh.rebuilt("not_fitting")
    assert short(feed(fresh, steady(5))) == [("state_rebuilt", "info", "open")]


def stale_after(days: float, provider: str = "stripe") -> list[Alert]:
    """What is told of calls that come so long after the profile's ranges were read."""
    profiles = load_profiles()
    read = profiles["stripe"].facts["ranges"].day
    start = (read.toordinal() - 719_163) * DAY + int(days * DAY)
    core = core_of()
    made = of(event(start + n * HOUR, provider=provider) for n in range(24 * 60))
    return feed(core, made)


def test_old_facts_of_a_provider_in_use_are_told_once() -> None:
    """Address ranges that are more than half a year old: one info, while the provider is used."""
    assert short(stale_after(100)) == []
    alerts = stale_after(200)
    assert [(a.reason, a.severity, a.status) for a in alerts] == [("facts_stale", "info", "open")]
    assert alerts[0].provider == "stripe"
    assert stale_after(200, provider="generic") == []


# --- as a part of the core ---------------------------------------------------------------------


def everything() -> list[Record]:
    """A log in which all of it happens at once."""
    streams = [
        reports("hooks/1@a", 0, 90), reports("hooks/1@b", 0, 40), reports("other/1@x", 0, 300),
        losing(0.2, queue_full=1.0), delayed(0.3, 11 * MINUTE, minutes=60),
        newcomers(2000, MONDAY + 60 * MINUTE, SECOND // 2), steady(300, 20),
        [(t + 3, b"{") for t, _ in steady(40, 4)],
        [(MONDAY + 30 * HOUR, value) for _, value in steady(3, 1)],
        [(MONDAY + 30 * HOUR, value) for _, value in steady(3, 1)],
    ]  # fmt: skip
    late = of(event(MONDAY + 30 * HOUR + n * SECOND) for n in range(900))
    return sorted((one for stream in [*streams, late] for one in stream), key=lambda one: one[0])


@pytest.mark.parametrize("size", [1, 37, 1000])
def test_cuts_and_restarts_change_nothing(size: int) -> None:
    """Fed one by one, in pieces, or whole, with restarts: the same alerts and the same state."""
    settings = {"least_evicted": 10.0}
    records = everything()
    whole = core_of(limit=256, partitions=4, **settings)
    expected = feed_in_order(whole, records)
    core, found = core_of(limit=256, partitions=4, **settings), []
    for n, start in enumerate(range(0, len(records), size)):
        found += feed_in_order(core, records[start : start + size])
        if n % 50 == 20:
            core = Core.restore(core.config, core.snapshot(), partitions=4)
    assert [a.to_json() for a in found] == [a.to_json() for a in expected]
    assert {a.reason for a in expected} >= {"cardinality", "late_data", "misplaced"}
    assert core.digest() == whole.digest()


def test_it_can_be_switched_off_and_is_about_no_sender() -> None:
    """Without it nothing is watched; it is found where everything that alerts is listed."""
    config = Config(disabled=ONLY | {"pipeline-health"})
    core = Core(config)
    core.rebuilt("damaged")
    assert feed(core, reports("hooks/1@a", 0, 20), reports("other/1@x", 0, 40)) == []
    assert "pipeline-health" in {one.id for one in alerting_found()}
    assert "pipeline-health" not in {one.id for one in detectors_found()}
    assert config.state_hash != Config(disabled=ONLY).state_hash


def test_reading_a_fact_again_changes_what_is_told_and_no_state() -> None:
    """The day of a fact is part of the alerts' hash, not of the state's."""
    profiles = load_profiles()
    stripe = profiles["stripe"]
    newer = {name: replace(fact, as_of="2030-01-01") for name, fact in stripe.facts.items()}
    config = Config(profiles=profiles | {"stripe": replace(stripe, facts=newer)})
    assert config.state_hash == Config().state_hash
    assert config.hash != Config().hash
