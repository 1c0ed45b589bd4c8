"""What senders share, through the topic of the sources: exact, in order, and nearly free."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from alerts.alert import Alert
from alerts.pipeline import fold
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config
from detectors.engines.assigned import Assigned
from detectors.engines.cores import IDLE, ConfiguredCores, ConfiguredSources, SourcesCore
from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogRecord
from detectors.engines.ports import TopicPartition
from detectors.engines.sources_topic import Mark, mark_record, observation_record, read_record
from detectors.engines.told import MOST, Told
from detectors.errors import StateError
from detectors.event import DAY, HOUR, MINUTE
from detectors.observer import Observation
from tests.unit.detectors.streams import TUESDAY, Event, at, encode, event
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, one_fetch, run
from tests.unit.engines.search import SEARCHED, found_locally, search, searches, split

CONFIG = Config()
PARTITIONS = 4
SOURCES = 2
DAY_EVENTS = 20_000


class Pipeline:
    """Partitions of events and sources on a fake Kafka, with the real cores, in lock step."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.kafka = FakeKafka()
        self.kafka.time_us = TUESDAY + DAY
        for partition, mine in enumerate(split(events, PARTITIONS)):
            for value in encode(mine):
                self.kafka.append(TOPICS.events, partition, value)
        cores, shared = ConfiguredCores(CONFIG), ConfiguredSources(CONFIG, PARTITIONS)
        self._outside = self.kafka.outside(cores, shared, SOURCES)
        self.events = [TopicPartition(TOPICS.events, each) for each in range(PARTITIONS)]
        self.sources = [TopicPartition(TOPICS.sources, each) for each in range(SOURCES)]
        self.held: dict[TopicPartition, Assigned] = {}

    async def own(self, *places: TopicPartition) -> None:
        """Take these over, whoever had them."""
        for where in places:
            self.held[where] = Assigned(where, self._outside)
            await self.held[where].restore()

    async def walk(self, where: TopicPartition, *, share: float = 1.0) -> None:
        """Feed what there is of a partition, from its beginning on, up to this share of it."""
        log = self.kafka.logs[where]
        await self.held[where].feed(one_fetch(log[: int(len(log) * share)]))

    async def save(self, *places: TopicPartition) -> None:
        """Write checkpoints, then commit."""
        for where in places:
            offset = await self.held[where].save()
            if offset is not None:
                await self.kafka.commit({where: offset})

    def told(self) -> list[tuple[int, int]]:
        """Partition and place of every observation, in the order of the logs."""
        read = [read_record(r, PARTITIONS) for at in self.sources for r in self.kafka.logs[at]]
        return [(each.partition, each.place) for each in read if isinstance(each, Observation)]

    def alerts(self) -> list[Alert]:
        """All alerts that were sent."""
        log = self.kafka.logs[TOPICS.alerts, 0]
        return [Alert.from_json(record.value or b"") for record in log]


def test_a_search_over_partitions_is_found_as_the_local_engine_finds_it() -> None:
    """One incident, equal to that of one partition and of eight in one process, closed in time."""
    stream = search()
    expected = found_locally(stream, CONFIG, 1)
    assert expected == found_locally(stream, CONFIG, 8)
    assert [each[:2] for each in expected] == [("203.0.113.0/24", "sender_enumeration")]

    async def work() -> Pipeline:
        made = Pipeline(stream)
        await made.own(*made.events, *made.sources)
        for share in (0.1, 0.3, 0.9, 1.0):
            for where in (*made.events, *made.sources):
                await made.walk(where, share=share if where in made.events else 1.0)
        return made

    made = run(work, 60)
    assert searches(made.alerts()) == expected
    assert [each.status for each in fold(made.alerts()).values() if each.sources] == ["closed"]


def test_crashes_lose_nothing_and_count_nothing_twice() -> None:
    """Owners die anywhere between two checkpoints; what they tell again is skipped."""
    stream = search()
    expected = found_locally(stream, CONFIG, PARTITIONS)
    chance = random.Random(5)

    async def work() -> Pipeline:
        made = Pipeline(stream)
        places = [*made.events, *made.sources]
        await made.own(*places)
        for share in (0.1, 0.2, 0.24, 0.3, 0.5, 0.9, 1.0):
            for where in places:
                await made.walk(where, share=share if where in made.events else 1.0)
                if chance.random() < 0.5:
                    await made.save(where)
                if chance.random() < 0.5:
                    await made.own(where)  # another worker, which knows only what was saved
        for where in places:
            await made.walk(where)
        return made

    made = run(work, 60)
    told = made.told()
    assert len(set(told)) == SEARCHED
    assert len(told) > SEARCHED, "no owner died at the right moment to prove anything"
    assert searches(made.alerts()) == expected


def test_an_observation_that_was_lost_on_the_way_is_taken_when_it_comes_again() -> None:
    """Where the producer lost one and delivered the next, the repeat of the lost one counts."""
    log = list(_log(_attempts(30)))
    lost, rest = log[7], log[:7] + log[8:]
    whole, again = SourcesCore(CONFIG, 1), SourcesCore(CONFIG, 1)
    expected = whole.feed(log).alerts
    found = again.feed(_numbered([*rest[:12], lost, *rest[3:]])).alerts
    assert [each.count for each in found] == [each.count for each in expected]


def test_checkpoints_wait_for_observations() -> None:
    """State waits until the brokers have what was told; when they refuse it, it fails loudly."""

    async def work() -> None:
        made = Pipeline(search(0.7, others=1))
        busy = made.events[0]
        await made.own(busy)
        made.kafka.journal.clear()  # the claim
        made.kafka.held = []
        await made.walk(busy)
        assert TOPICS.sources in made.kafka.journal
        saving = asyncio.ensure_future(made.save(busy))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert TOPICS.state not in made.kafka.journal
        for each in made.kafka.held:
            each()
        made.kafka.held = None
        await saving
        assert made.kafka.journal[-1] == "commit"
        later = made.kafka.append(TOPICS.events, 0, encode([event(TUESDAY + HOUR)])[0])
        await made.walk(busy)
        mark = read_record(made.kafka.logs[made.sources[1]][-1], PARTITIONS)
        assert mark == Mark(0, later, TUESDAY + HOUR), "what was told before the checkpoint is over"

        await made.own(busy)
        made.kafka.broken = TOPICS.sources
        for value in encode([event(TUESDAY + 2 * HOUR)]):
            made.kafka.append(TOPICS.events, 0, value)
        await made.walk(busy)
        with pytest.raises(EngineError, match=r"not taken by a broker: .*refuses"):
            await made.save(busy)

    run(work, 60)


def test_checkpoints_of_events_and_sources_are_told_apart() -> None:
    """Both lie in the same partition of the state; each owner finds and deletes its own."""

    async def work() -> None:
        kafka, cores, shared = FakeKafka(), FakeCores(), FakeCores()
        outside = kafka.outside(cores, shared)
        for round_ in range(3):
            for topic, value in ((TOPICS.events, f"e{round_}"), (TOPICS.sources, f"s{round_}")):
                where = TopicPartition(topic, 0)
                kafka.append(topic, 0, value.encode())
                owner = Assigned(where, outside)
                await owner.restore()
                await owner.feed(one_fetch(kafka.logs[where]))
                await kafka.commit({where: await owner.save() or 0})
        assert cores.made[-1].fed == ["e0", "e1", "e2"]
        assert shared.made[-1].fed == ["s0", "s1", "s2"]
        standing = {record.key: record.value for record in kafka.logs[TOPICS.state, 0]}
        assert len([value for value in standing.values() if value is not None]) == 6

    run(work)


def _attempts(count: int, partition: int = 0, *, start: int = TUESDAY) -> list[Observation]:
    """One network tries so many names, one a second."""
    events = [
        event(start + n * 1_000_000, f"t-{partition}-{n}", rejected="signature_missing",
              source_ip="203.0.113.9")
        for n in range(count)
    ]  # fmt: skip
    values = encode(events)
    return [
        Observation(start + n * 1_000_000, partition, 10 * n, "203.0.113.0/24", values[n])
        for n in range(count)
    ]


def _log(told: Sequence[Observation | Mark], *, at: int = TUESDAY) -> Iterator[LogRecord]:
    """The records of what is told, at one time of the broker."""
    for offset, each in enumerate(told):
        made = mark_record(each) if isinstance(each, Mark) else observation_record(each)
        yield LogRecord(offset, at, made.key, made.value, tuple(made.headers))


def _numbered(records: Sequence[LogRecord]) -> list[LogRecord]:
    return [record._replace(offset=offset) for offset, record in enumerate(records)]


def test_cuts_and_restores_between_any_two_records_change_nothing() -> None:
    """The log alone decides: late partitions, idle ones and marks among observations included."""
    first, second = _attempts(25), _attempts(25, 1, start=TUESDAY - 5 * MINUTE)
    log = list(_log([first[0], Mark(2, 0, TUESDAY + HOUR), *first[1:]]))
    log += _log(second, at=TUESDAY + 4 * MINUTE)
    log += _log([Mark(0, 0, TUESDAY + 2 * HOUR)], at=TUESDAY + IDLE + MINUTE)
    log += _log([*second[:3], *_attempts(5, 2)], at=TUESDAY + IDLE + 2 * MINUTE)
    log += _log([Mark(p, 0, TUESDAY + 3 * HOUR) for p in range(3)], at=TUESDAY + 2 * IDLE)
    log = _numbered(log)
    whole = SourcesCore(CONFIG, 4)
    expected = [alert.to_json() for alert in whole.feed(log).alerts]
    assert len(expected) > 1
    for cuts in ([*range(len(log) + 1)], [0, 9, 40, len(log)]):
        core, found = SourcesCore(CONFIG, 4), []
        for start, stop in pairwise(cuts):
            found += [alert.to_json() for alert in core.feed(log[start:stop]).alerts]
            core = SourcesCore.restore(CONFIG, 4, core.snapshot())
        assert found == expected
        assert core.snapshot() == whole.snapshot()


def test_partitions_are_waited_for_until_they_are_idle() -> None:
    """A partition that was never heard of is waited for, five minutes of the broker's time."""
    core = SourcesCore(CONFIG, 2)
    done = Mark(0, 0, TUESDAY + HOUR)
    assert core.feed([*_log([*_attempts(20), done])]).alerts == []
    assert core.feed([*_log([done], at=TUESDAY + IDLE)]).alerts == []
    found = core.feed([*_log([done], at=TUESDAY + IDLE + 1)]).alerts
    assert {each.reason for each in found} == {"sender_enumeration"}


def test_a_record_that_says_nothing_is_rejected_and_hurts_nothing() -> None:
    """Missing, wrong and foreign headers, and values that are no events, are named by offset."""
    good = [*_log([*_attempts(20), Mark(0, 0, TUESDAY + HOUR)])]
    base = good[0]
    bad = [
        base._replace(headers=()),
        base._replace(headers=(("partition", b"0"), ("place", b"1"))),
        base._replace(headers=(("partition", b"1"), ("place", b"1"), ("now", b"1"))),
        base._replace(headers=(("partition", b"0"), ("place", b"-1"), ("now", b"1"))),
        base._replace(headers=(("partition", b"0"), ("place", b"0" * 99), ("now", b"1"))),
        base._replace(headers=(("partition", b"0"), ("place", b"1"), ("now", b"9" * 19))),
        base._replace(key=b"\xff"),
        base._replace(value=b"\xff"),
        base._replace(value=b"[]"),
    ]
    core = SourcesCore(CONFIG, 1)
    outcome = core.feed(_numbered([*bad, *good]))
    assert [each.offset for each in outcome.rejected] == list(range(len(bad)))
    assert [each.code for each in outcome.rejected] == [*["source_invalid"] * 7, "not_json",
                                                        "not_object"]  # fmt: skip
    assert {each.reason for each in outcome.alerts} == {"sender_enumeration"}


def test_what_is_told_can_be_read_again() -> None:
    """Observations and marks come back as they were."""
    told = [_attempts(1)[0], Mark(0, 17, -5)]
    assert [read_record(record, 1) for record in _log(told)] == told


def test_a_damaged_state_of_sources_does_not_fit() -> None:
    """Another snapshot than that of sources is an error with one line, not a wrong state."""
    with pytest.raises(StateError, match="state of sources"):
        SourcesCore.restore(CONFIG, 1, SourcesCore(CONFIG, 1).shared.snapshot())


def test_memory_of_what_was_told_is_bounded() -> None:
    """Beyond 65,536 places the older half counts as settled; the newer ones are still known."""
    told = Told()
    assert all(told.take(place, place) for place in range(0, 2 * MOST + 2, 2))
    assert not told.take(2, 2)
    assert told.take(2 * MOST - 1, 5)
    assert len(Told.restore(told.snapshot()).snapshot()[2]) <= MOST // 2 + 3


def test_a_log_made_anew_is_heard() -> None:
    """Offsets that begin again with later times are no repeats."""
    told = Told()
    told.settle(1000)
    assert told.take(1000, 500)
    assert not told.take(3, 500)
    assert told.take(3, 501)
    assert told.take(4, 501)
    assert not told.take(3, 501)


def test_benign_traffic_costs_next_to_nothing() -> None:
    """Of a benign day not one event in a thousand is passed on; marks come once a minute each."""
    day = labelled_day(seed=3, history_days=3)
    values = b"".join(render(day.history[-DAY_EVENTS:], day.world.words)).splitlines()
    made = Pipeline([json.loads(value) for value in values])

    async def work() -> None:
        await made.own(*made.events)
        for where in made.events:
            log = made.kafka.logs[where]
            for start in range(0, len(log), 25):  # as it comes when nothing has piled up
                await made.held[where].feed(one_fetch(log[start : start + 25]))

    run(work, 60)
    records = [record for where in made.sources for record in made.kafka.logs[where]]
    marks = len([record for record in records if record.value is None])
    span = at(json.loads(values[-1])) - at(json.loads(values[0]))
    assert len(records) - marks <= len(values) / 1000
    assert 0 < marks <= PARTITIONS * SOURCES * (span / MINUTE + 1)


def test_a_flood_is_told_within_bounds() -> None:
    """However many calls one network makes, each partition tells of 64 in five minutes."""
    flood = [
        event(TUESDAY + n * 10_000, f"tenant-{n}", rejected="signature_missing",
              source_ip="203.0.113.9")
        for n in range(4000)
    ]  # fmt: skip
    made = Pipeline(flood)

    async def work() -> None:
        await made.own(*made.events)
        for where in made.events:
            await made.walk(where)

    run(work, 60)
    assert len(made.told()) == 64 * PARTITIONS
