"""A worker that stands still ends; what it did with its records adds up; libraries do not shout."""

import logging
import threading
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaError, KafkaTimeoutError, LeaderNotAvailableError

from detectors.config import Config
from detectors.core import Core
from detectors.engines import watchdog
from detectors.engines.accounts import settled
from detectors.engines.errors import EngineError
from detectors.engines.overview import Overview
from detectors.engines.ports import TopicPartition
from detectors.engines.seen import Place
from detectors.engines.share import Share
from detectors.engines.throttle import MOST_TEXTS, Throttle
from detectors.engines.watchdog import Stall, Topology, Watchdog
from tests.unit.detectors.streams import TUESDAY, encode, event
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, run

WHERE = TopicPartition("events", 3)


def _looks(*seen: tuple[float, int, int, int]) -> str | None:
    """What is said in the end of (seconds, end, walked, saved)."""
    stall, said = Stall(save_seconds=5), None
    for now, end, walked, saved in seen:
        said = stall.look(now, [Place(WHERE, walked, saved)], {WHERE: end}, member=True)
    return said


def test_standing_still_while_the_log_moves_is_found() -> None:
    """A partition with something left, and no step for 60 s, is named with its offsets."""
    still = [(float(t), 100 + t, 50, 50) for t in range(0, 61, 5)]
    assert _looks(*still[:-1]) is None
    assert _looks(*still) == "events/3: still at offset 50 of 160"


@pytest.mark.parametrize(
    "seen",
    [
        [(t, 100, 100, 100) for t in range(0, 300, 5)],  # nothing comes
        [(t, 10_000, t, t) for t in range(0, 300, 5)],  # far behind, but it goes on
        [(t, 100 if t < 250 else 101, 100, 100) for t in range(0, 300, 5)],  # idle until lately
        [(t, 10_000, t, t // 60 * 60) for t in range(0, 300, 5)],  # a checkpoint a minute
    ],
    ids=["idle", "behind", "woken", "slow-saves"],
)
def test_what_moves_or_has_nothing_to_do_is_left_alone(seen: list[tuple[int, ...]]) -> None:
    """Idle partitions, a long way to catch up and checkpoints now and then are no stall."""
    for last in range(1, len(seen) + 1):
        assert _looks(*seen[:last]) is None  # type: ignore[arg-type]


def test_missing_checkpoints_are_found() -> None:
    """Walking on without ever saving is a stall too, after the time between two checkpoints."""
    seen = [(float(t), 10_000, t + 1, 0) for t in range(0, 66, 5)]
    assert _looks(*seen[:-1]) is None
    said = "events/3: no checkpoint after that of offset 0, walked up to 66"
    assert _looks(*seen) == said


def test_membership_that_never_comes_is_found() -> None:
    """Without a share of the partitions for two minutes, a rebalance has not ended."""
    stall = Stall(save_seconds=5)
    assert stall.look(0, [], {}, member=False) is None
    assert stall.look(119, [], {}, member=False) is None
    assert stall.look(120, [], {}, member=False) == "no share of the partitions for 120 s"


def test_time_without_a_broker_does_not_count() -> None:
    """After the broker was away everything has its time again."""
    stall, place = Stall(save_seconds=5), Place(WHERE, 1, 1)
    assert stall.look(0, [place], {WHERE: 9}, member=True) is None
    stall.forget()
    assert stall.look(100, [place], {WHERE: 9}, member=True) is None
    assert stall.look(160, [place], {WHERE: 9}, member=True) is not None


class _Broker:
    """Ends that move, asked for over a connection that breaks at first."""

    def __init__(self, asked: list[Sequence[TopicPartition]]) -> None:
        self._asked = asked

    def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        self._asked.append(partitions)
        if len(self._asked) == 1:
            msg = "no broker"
            raise OSError(msg)
        return dict.fromkeys(partitions, 9)

    def partitions(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        msg = "already gone"
        raise OSError(msg)


@pytest.mark.parametrize("listens", [True, False])
def test_watchdog_tells_and_then_bites(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, listens: bool
) -> None:
    """It outlives a lost broker, tells the worker once, and ends a process that does not hear."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(watchdog, "END_SECONDS", 30.0 if listens else 0.001)
    asked: list[Sequence[TopicPartition]] = []
    told: list[str] = []
    codes: list[int] = []
    doors = chain([False], repeat(True))
    heard = threading.Event()

    def tell(what: str) -> None:
        told.append(what)
        heard.set()

    dog = Watchdog(
        Stall(0, seconds=0), Topology({}), lambda: ([Place(WHERE, 1, 1)], True), lambda: [WHERE],
        lambda: _Broker(asked), lambda: next(doors), str, "events", tell, codes.append,
    )  # fmt: skip
    dog.start()
    assert heard.wait(10)
    if not listens:
        dog.join(10)
    dog.stop()
    assert not dog.is_alive()
    assert told == ["nothing moves although the log does: events/3: still at offset 1 of 9"]
    assert codes == ([] if listens else [1])
    assert (dog.answered, dog.ends) == (True, {WHERE: 9})
    said = [each.getMessage().split()[0] for each in caplog.records]
    assert said[:2] == ["broker.away", "broker.back"], "once each, not at every look"


MORE = "partitions by now; this worker began with"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"events": 4, "state": 4, "alerts": 2}, None),
        (
            {"events": 6, "state": 4, "alerts": 2},
            "events: has 6 partitions by now; this worker began with 4",
        ),
        ({"events": 4, "alerts": 2}, "state: is gone; this worker began with it"),
        ({"events": 4, "state": 4}, "alerts: is gone; this worker began with it"),
        ({"events": None, "state": 4, "alerts": 9}, None),
    ],
    ids=["same", "more", "gone", "gone-without-state", "not-told"],
)
def test_topics_that_changed_are_named(now: dict[str, int | None], said: str | None) -> None:
    """More partitions or a deleted topic are told at the second look in a row.

    Not what no state depends on, nor what a broker does not tell.
    """
    topology = Topology({"events": 4, "state": 4, "alerts": None})
    assert [topology.look(now), topology.look(now)] == [None, said]


def test_topics_that_a_new_broker_does_not_know_yet_are_no_change() -> None:
    """What is missing once, as from a broker that has just started, is not told."""
    topology = Topology({"events": 4})
    looks: list[dict[str, int]] = [{}, {"events": 4}, {}, {"events": 4}]
    assert [topology.look(each) for each in looks] == [None] * 4
    assert topology.doubt is None


def test_a_topic_that_is_gone_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client would look for it for long, and its broker would be taken for away."""
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.001)
    asked: list[Sequence[TopicPartition]] = []
    told: list[str] = []
    heard = threading.Event()

    def tell(what: str) -> None:
        told.append(what)
        heard.set()

    dog = Watchdog(
        Stall(0), Topology({"events": 4}), lambda: ([Place(WHERE, 1, 1)], True), lambda: [WHERE],
        lambda: _Broker(asked), lambda: True, str, "events", tell, lambda _: None,
    )  # fmt: skip
    dog.start()
    assert heard.wait(10)
    dog.stop()
    assert told == ["events: is gone; this worker began with it"]
    assert (asked, caplog.messages) == ([], [])


def test_accounts_add_up_over_everything_that_comes() -> None:
    """Scored, rejected, twice published, reports and bad control records are all that there is."""
    config = Config()
    core = Core(config, 0)
    good = encode([event(TUESDAY, "a")])
    late = encode([event(TUESDAY - 10**12, "a")])
    bad = [b"", b"[]", b'{"schema": 1, "control": {}}', b'{"schema": 1, "report": {}}']
    values = [*good, *good, *bad, *late]
    core.feed_log(values, range(len(values)), [TUESDAY] * len(values))
    found = settled([(WHERE, core.counters)])
    assert found.differing == {}
    assert found.sums | {"alerts": 0} == {
        "consumed": 7, "scored": 1, "rejected": 5, "duplicates": 1, "reports": 0, "controls": 0,
        "alerts": 0,
    }  # fmt: skip


def test_missing_records_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Where the sum does not hold, the partition and the number are an error in the log."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        share = Share(kafka.outside(cores), kafka.commit, lambda _: None, 1000)
        share.assign([TopicPartition(TOPICS.events, each) for each in (0, 1)], 1)
        await share.end(5)
        share.assign([TopicPartition(TOPICS.events, each) for each in (0, 1)], 2)
        while len(share.places) < 2:
            await _turn()
        for core in cores.made:
            core.accounts = {"consumed": 7, "scored": 4 + core.partition, "rejected.not_json": 2}
        await share.release(None, 5)

    caplog.set_level(logging.INFO)
    run(work)
    lines = [text for text in caplog.messages if " consumed=" in text or "missing" in text]
    rest = "duplicates=0 reports=0 controls=0 alerts=0"
    assert lines == [
        "partition.differs partition=callwatch.events/0 missing=1",
        f"partitions.accounts partitions=2 consumed=14 scored=9 rejected=4 {rest}",
    ]


async def _turn() -> None:
    import asyncio

    await asyncio.sleep(0)


def test_ready_is_told_when_everything_is_restored() -> None:
    """Ready follows the last restored partition, ends with a revocation, and idle is ready."""
    told: list[bool] = []

    async def work() -> None:
        kafka = FakeKafka()
        share = Share(kafka.outside(FakeCores()), kafka.commit, lambda _: None, 1000, told.append)
        share.assign([TopicPartition(TOPICS.events, each) for each in (0, 1)], 1)
        assert told == [False]
        while len(share.places) < 2:
            await _turn()
        await _turn()
        assert told[-1]
        await share.release(None, 5)
        assert not told[-1]
        share.assign([], 2)
        assert told[-1]

    run(work)


def test_libraries_are_quoted_more_and_more_rarely() -> None:
    """The first line of a kind passes, the next says how many were held back meanwhile.

    One that goes on and on is let pass after 10, 20, 40 seconds and so on; after a pause, at once.
    """
    now = [0.0]
    throttle = Throttle(clock=lambda: now[0])

    def log(name: str, text: str, *args: object) -> str | None:
        record = logging.LogRecord(name, logging.ERROR, "", 0, text, args, None)
        return record.getMessage() if throttle.filter(record) else None

    assert log("aiokafka", "node %s is away", 1) == "node 1 is away"
    assert [log("aiokafka", "node %s is away", n) for n in range(3)] == [None] * 3
    assert log("aiokafka", "another thing") == "another thing"
    assert [log("callwatch.worker", "same") for _ in range(2)] == ["same", "same"]
    now[0] = 10.0
    assert log("aiokafka", "node %s is away", 7) == "node 7 is away (and 3 more like it)"
    passed = []
    for second in range(11, 2000):
        now[0] = float(second)
        if log("aiokafka", "node %s is away", 8) is not None:
            passed.append(second)
    assert passed == [30, 70, 150, 310, 630, 1230, 1830]
    now[0] = 9000.0
    assert log("aiokafka", "node %s is away", 9) == "node 9 is away (and 169 more like it)"
    now[0] = 9010.0
    assert log("aiokafka", "node %s is away", 9) == "node 9 is away"
    for number in range(3 * MOST_TEXTS):
        log("aiokafka", f"text {number}")
    assert len(throttle._passed) <= MOST_TEXTS


@pytest.mark.parametrize("why", [LeaderNotAvailableError(), KafkaTimeoutError()])
def test_partitions_without_a_leader_are_no_lost_broker(why: KafkaError) -> None:
    """Of topics that were only just made a broker has no ends to tell, and it is there."""

    def ends(_: object) -> dict[TopicPartition, int]:
        msg = "Kafka has not told"
        raise EngineError(msg) from why

    overview: Any = object.__new__(Overview)
    overview._reader = SimpleNamespace(ends=ends)
    if isinstance(why, LeaderNotAvailableError):
        assert overview.ends([WHERE]) == {}
    else:
        with pytest.raises(EngineError):
            overview.ends([WHERE])
