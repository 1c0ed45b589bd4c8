"""Checkpoints take a bounded share of a core, and never wait for longer than was said."""

import asyncio
from dataclasses import dataclass, field

import pytest

from detectors.engines.log_reader import LogRecord
from detectors.engines.pace import Pace
from detectors.engines.ports import TopicPartition
from detectors.engines.share import Share
from detectors.engines.stretch import Fetched
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, one_fetch, run


@dataclass
class _Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_checkpoint_may_begin_at_once() -> None:
    """Nothing was spent yet."""
    assert Pace(clock=_Clock()).left == 0


def test_a_cheap_checkpoint_changes_nothing() -> None:
    """40 ms every 5 s are less than a share of 2 %."""
    clock = _Clock()
    pace = Pace(share=0.02, most=15, clock=clock)
    pace.begin()
    clock.now += 0.3
    pace.end(0.04)
    clock.now += 4.7
    assert pace.left == 0


def test_a_worker_spends_its_share_on_checkpoints_as_long_as_they_may_wait() -> None:
    """By the shipped numbers: 30 ms wait for 4 s, 75 ms for 10 s, nothing for more than 15 s."""
    clock = _Clock()
    waits = []
    for cost in (0.03, 0.075, 0.5):
        pace = Pace(clock=clock)
        pace.begin()
        pace.end(cost)
        waits.append(round(pace.left, 6))
    assert waits == [4.0, 10.0, 15.0]


@pytest.mark.parametrize("cost", [0.05, 0.1, 0.25])
def test_costs_stay_below_the_share_however_they_come(cost: float) -> None:
    """A dear one waits for longer."""
    clock = _Clock()
    pace = Pace(share=0.02, most=15, clock=clock)
    began, spent = clock.now, 0.0
    for _ in range(20):
        pace.begin()
        clock.now += cost
        pace.end(cost)
        spent += cost
        clock.now += pace.left
    assert spent / (clock.now - began) <= 0.02 + 1e-9


def test_what_is_walked_again_is_bounded() -> None:
    """However dear the last was: the time counts from its beginning."""
    clock = _Clock()
    pace = Pace(share=0.02, most=15, clock=clock)
    pace.begin()
    clock.now += 4
    pace.end(60.0)
    assert pace.left == pytest.approx(11)


@dataclass
class _Steered(Pace):
    """Says when; remembers what it was told."""

    wait: float = 0.0
    costs: list[float] = field(default_factory=list)

    def begin(self) -> None:
        pass

    def end(self, cost: float) -> None:
        self.costs.append(cost)

    @property
    def left(self) -> float:
        return self.wait


def test_many_events_wait_for_the_pace() -> None:
    """While a checkpoint would be too dear none begins; the next event after that brings one."""

    async def work() -> None:
        kafka, pace = FakeKafka(), _Steered(wait=1.0)
        where = TopicPartition(TOPICS.events, 0)
        errors: list[BaseException] = []
        share = Share(
            kafka.outside(FakeCores()), kafka.commit, errors.append, save_events=2, pace=pace
        )
        share.assign([where], generation=1)

        async def feed(*values: str) -> None:
            records: list[LogRecord] = kafka.events(0, *values)
            await share.feed(Fetched(where, 1, one_fetch(records)))

        await feed("a", "b")
        await feed("c", "d", "e")
        assert share._early is None
        assert kafka.committed == {}
        pace.wait = 0.0
        await feed("f")
        assert share._early is not None
        await share._early
        assert kafka.committed == {where: 6}
        assert len(pace.costs) == 1
        assert pace.costs[0] > 0
        assert not errors

    run(work)


def test_partitions_are_copied_one_by_one() -> None:
    """Between the copies of two partitions what was fetched meanwhile is walked."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        share = Share(kafka.outside(cores), kafka.commit, lambda _: None, save_events=1000)
        wheres = [TopicPartition(TOPICS.events, n) for n in range(4)]
        share.assign(wheres, generation=1)
        for where in wheres:
            records = kafka.events(where.partition, "a")
            await share.feed(Fetched(where, 1, one_fetch(records)))
        copied: list[int] = []
        for core in cores.made:
            make = core.copied

            def copy(*, whole: bool, make=make, core=core):
                copied.append(core.partition)
                return make(whole=whole)

            core.copied = copy
        saving = asyncio.ensure_future(share.save())
        while not copied:
            await asyncio.sleep(0)
        more = kafka.events(3, "b")
        await share.feed(Fetched(wheres[3], 1, one_fetch(more)))
        assert len(copied) < 4
        await saving
        assert kafka.committed == dict.fromkeys(wheres[:3], 1) | {wheres[3]: 2}

    run(work)
