"""What fails half-way becomes no checkpoint, what nobody can see any more is said."""

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from detectors.engines.assigned import Assigned
from detectors.engines.errors import EngineError
from detectors.engines.faust_app import Worker
from detectors.engines.log_reader import LogRecord
from detectors.engines.ports import TopicPartition
from detectors.engines.share import Share
from detectors.engines.stretch import Fetched
from detectors.engines.watchdog import Stall
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, FakeReader, one_fetch, run

EVENTS = TopicPartition(TOPICS.events, 0)
OTHERS = TopicPartition(TOPICS.events, 1)
NEVER = 10**9


class Setting:
    """A share over a Kafka in memory, whose sends to one topic go where a test wants them to."""

    def __init__(self, kafka: FakeKafka | None = None, save_events: int = NEVER) -> None:
        self.kafka = kafka or FakeKafka()
        self.cores = FakeCores()
        self.errors: list[BaseException] = []
        self.outside = self.kafka.outside(self.cores)
        self.share = Share(self.outside, self.kafka.commit, self.errors.append, save_events)

    def sends(self, topic: str, act: Callable[..., Any]) -> None:
        """Let sends to this topic do that instead, given what they would call and its arguments."""
        real = self.kafka.send

        async def send(to: str, *rest: Any) -> Any:
            return await act(real, to, *rest) if to == topic else await real(to, *rest)

        object.__setattr__(self.outside, "send", send)

    async def own(self, *partitions: TopicPartition, generation: int = 1) -> None:
        self.share.assign(partitions, generation)
        await until(lambda: not self.share.restoring())

    async def feed(
        self, where: TopicPartition, records: list[LogRecord], generation: int = 1
    ) -> None:
        await self.share.feed(Fetched(where, generation, one_fetch(records)))


async def until(holds: Callable[[], object]) -> None:
    """Let others go on until it holds."""
    while not holds():
        await asyncio.sleep(0.001)


async def successor(kafka: FakeKafka) -> list[str]:
    """What another worker has walked that restores the partition and gets the log again."""
    other = Setting(kafka)
    await other.own(EVENTS, generation=99)
    await other.feed(EVENTS, kafka.logs[EVENTS], generation=99)
    assert other.errors == []
    return other.cores.made[-1].fed


@pytest.mark.parametrize("early", [False, True])
def test_a_stop_behind_a_checkpoint_whose_alert_was_refused_saves_nothing(early: bool) -> None:
    """The alert is no more among those that the next checkpoint waits for; it must come again."""

    async def work() -> None:
        one, refused = Setting(), asyncio.get_running_loop().create_future()

        async def hold(*_: Any) -> Any:
            return refused

        one.sends(TOPICS.alerts, hold)
        await one.own(EVENTS)
        await one.feed(EVENTS, one.kafka.events(0, "a", "!b"))
        state = one.share._held[EVENTS].state
        assert state._outbox._waiting
        saving = asyncio.ensure_future(one.share.save())
        if early:
            one.share._early = saving
            saving.add_done_callback(one.share._saved_early)
        await until(lambda: not state._outbox._waiting)  # the copy has them
        releasing = asyncio.ensure_future(one.share.release(None, 5))
        await until(lambda: one.share._releases)
        refused.set_exception(OSError("the alert is too large"))
        assert await releasing is False
        await asyncio.wait({saving})
        assert isinstance(saving.exception(), EngineError)
        assert EVENTS not in one.kafka.committed
        assert await successor(one.kafka) == ["a", "!b"]
        assert one.kafka.alerts() == [("!b", 2)]

    run(work)


def test_a_stop_while_an_alert_cannot_be_sent_saves_nothing() -> None:
    """A batch is half told when the stop comes: the next owner tells all of it."""

    async def work() -> None:
        one, sending, gate = Setting(), asyncio.Event(), asyncio.Event()

        async def refuse(*_: Any) -> Any:
            sending.set()
            await gate.wait()
            msg = "no room in the producer"
            raise OSError(msg)

        one.sends(TOPICS.alerts, refuse)
        await one.own(EVENTS)
        feeding = asyncio.ensure_future(one.feed(EVENTS, one.kafka.events(0, "a", "!b")))
        await sending.wait()
        releasing = asyncio.ensure_future(one.share.release(None, 5))
        await until(lambda: one.share._releases)
        gate.set()
        with pytest.raises(OSError, match="no room"):
            await feeding
        assert await releasing is False
        assert await successor(one.kafka) == ["a", "!b"]
        assert one.kafka.alerts() == [("!b", 2)]

    run(work)


def test_a_walk_that_is_cancelled_saves_nothing() -> None:
    """As where the transport ends its agent: what was walked is not what was told."""

    async def work() -> None:
        one, sending = Setting(), asyncio.Event()

        async def wait_for_ever(*_: Any) -> Any:
            sending.set()
            await asyncio.Event().wait()

        one.sends(TOPICS.alerts, wait_for_ever)
        await one.own(EVENTS)
        feeding = asyncio.ensure_future(one.feed(EVENTS, one.kafka.events(0, "!a")))
        await sending.wait()
        feeding.cancel()
        await asyncio.wait({feeding})
        assert await one.share.release(None, 5) is False
        assert await successor(one.kafka) == ["!a"]
        assert one.kafka.alerts() == [("!a", 1)]

    run(work)


def test_a_core_that_fails_while_a_stop_waits_saves_nothing_more() -> None:
    """The checkpoint that was under way counts; what the core made half of after it does not."""

    async def work() -> None:
        one = Setting()
        await one.own(EVENTS)
        await one.feed(EVENTS, one.kafka.events(0, "a"))
        core = one.cores.made[-1]
        real = core.feed

        def feed(records: Any) -> Any:
            real(records[:1])
            msg = "a fault in a detector"
            raise ZeroDivisionError(msg)

        setattr(core, "feed", feed)  # noqa: B010
        one.kafka.held = []
        saving = asyncio.ensure_future(one.share.save())
        await until(lambda: one.kafka.held)
        releasing = asyncio.ensure_future(one.share.release(None, 5))
        await until(lambda: one.share._releases)
        with pytest.raises(ZeroDivisionError):
            await one.feed(EVENTS, one.kafka.events(0, "!b", "!c"))
        await one.kafka.acknowledge(releasing)
        await saving
        assert await releasing is False
        assert one.kafka.committed[EVENTS] == 1
        one.kafka.held = None
        assert await successor(one.kafka) == ["a", "!b", "!c"]

    run(work)


def test_a_gap_that_cannot_be_read_to_its_end_saves_nothing() -> None:
    """Some of it was walked: an older offset with a newer state would walk that twice."""

    async def work() -> None:
        one = Setting()
        await one.own(EVENTS)
        await one.feed(EVENTS, one.kafka.events(0, "a"))
        one.kafka.events(0, "b", "c")
        last = one.kafka.events(0, "d")
        real = FakeReader.read

        def read(self: FakeReader, topic: str, *rest: int) -> Any:
            for number, batch in enumerate(real(self, topic, *rest)):
                if topic == TOPICS.events and number == 1:
                    msg = "nothing more comes"
                    raise EngineError(msg)
                yield batch

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeReader, "read", read)
            with pytest.raises(EngineError):
                await one.feed(EVENTS, last)
            assert await one.share.release(None, 5) is False
        assert await successor(one.kafka) == ["a", "b", "c", "d"]

    run(work)


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_late_checkpoint_of_what_was_given_up_ends_nobody(comes_back: bool) -> None:
    """It meets the next owner's claim, or the worker's own: it does not count, and that is all."""

    async def work() -> None:
        one, sending, slow = Setting(save_events=1), asyncio.Event(), asyncio.Event()

        async def wait(real: Any, *rest: Any) -> Any:
            sending.set()
            await slow.wait()
            return await real(*rest)

        await one.own(EVENTS)
        one.sends(TOPICS.state, wait)
        await one.feed(EVENTS, one.kafka.events(0, "a"))
        await sending.wait()
        assert await one.share.release([EVENTS], 0.05) is False
        one.share.assign([], 2)
        heir = Setting(one.kafka)
        await heir.own(EVENTS, generation=3)
        slow.set()
        if comes_back:
            await one.own(EVENTS, generation=4)
        assert one.share._early is not None
        await asyncio.wait({one.share._early})
        await asyncio.sleep(0)
        assert one.errors == []

    run(work)


def test_no_other_checkpoint_comes_before_one_that_is_to_be_handed_over() -> None:
    """Of many partitions those that are not begun wait, since a release has seconds alone."""

    async def work() -> None:
        one = Setting()
        many = [TopicPartition(TOPICS.events, number) for number in range(6)]
        await one.own(*many)
        for where in many:
            await one.feed(where, one.kafka.events(where.partition, "a"))
        one.kafka.held = []
        saving = asyncio.ensure_future(one.share.save())
        await until(lambda: one.kafka.held)
        releasing = asyncio.ensure_future(one.share.release(many[:1], 5))
        await one.kafka.acknowledge(releasing)
        await saving
        assert await releasing
        assert len(one.kafka.committed) < len(many)
        one.kafka.held = None
        await one.share.save()
        assert len(one.kafka.committed) == len(many)

    run(work)


def test_a_long_restore_of_one_partition_is_no_stall_of_another() -> None:
    """The agent leaves what rests to the log; the watchdog sees the others move for an hour."""

    async def work() -> None:
        one = Setting()
        one.kafka.events(1, *"abc")
        one.kafka.committed[OTHERS] = 3  # no state of it: it is rebuilt
        hour = asyncio.Event()
        real = Assigned._walk

        async def slow(self: Assigned, *rest: Any, **named: Any) -> int:
            if self.where == OTHERS:
                await hour.wait()
            return await real(self, *rest, **named)

        async def stream() -> Any:
            for number in range(100):
                for where in (OTHERS, EVENTS):
                    came = one.kafka.events(where.partition, f"{number}")
                    yield Fetched(where, 1, one_fetch(came))
                    await asyncio.sleep(0)

        worker: Any = object.__new__(Worker)
        worker._share, worker._failure = one.share, asyncio.get_running_loop().create_future()
        worker._app = SimpleNamespace(consumer=SimpleNamespace(landed=lambda _: None))
        stall, said = Stall(save_seconds=5), None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Assigned, "_walk", slow)
            one.share.assign([EVENTS, OTHERS], 1)
            await until(lambda: one.share.places)
            assert one.share.restoring() == {OTHERS}
            agent = asyncio.ensure_future(worker._detect(SimpleNamespace(noack=stream)))
            for now in range(0, 3600, 5):
                await asyncio.sleep(0)
                await one.share.save()
                ends = {EVENTS: len(one.kafka.logs[EVENTS])}
                said = said or stall.look(float(now), one.share.places, ends, member=True)
            await agent
            hour.set()
            await until(lambda: not one.share.restoring())
        assert said is None
        assert not worker._failure.done()
        assert one.cores.made[-1].fed == [*"abc", *map(str, range(100))]

    run(work)


def test_what_came_while_a_partition_was_restored_is_walked_though_nothing_follows() -> None:
    """It is walked when the state is there, some of it from the log; nothing need remind of it."""

    async def work() -> None:
        one = Setting()
        one.share.assign([EVENTS], 1)
        for value in "abcdef":
            came = Fetched(EVENTS, 1, one_fetch(one.kafka.events(0, value)))
            assert one.share.pass_over(came)
        assert len(one.share._held[EVENTS].state.aside) == 3
        await until(lambda: not one.share.restoring())
        assert one.cores.made[-1].fed == [*"abcdef"]
        assert not one.share.pass_over(came)
        await one.share.save()
        assert one.kafka.committed == {EVENTS: 6}

    run(work)


def test_what_retention_took_before_it_was_walked_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """The worker was away for longer than events are kept: an error, and told by its core."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = Assigned(EVENTS, kafka.outside(cores))
        await first.restore()
        await first.feed(one_fetch(kafka.events(0, "a", "b")))
        offset = await first.save()
        assert offset is not None
        await kafka.commit({EVENTS: offset})
        kafka.events(0, "!lost", "!lost", "!lost")
        kafka.begin[EVENTS] = 5
        second = Assigned(EVENTS, kafka.outside(cores))
        await second.restore()
        await second.feed(one_fetch(kafka.events(0, "c")))
        assert cores.made[-1].fed == ["a", "b", "c"]
        assert cores.made[-1].told_of == ["records_gone"]

    run(work)
    said = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert [each.getMessage() for each in said] == [
        "partition.records_gone partition=callwatch.events/0 start=2 stop=5"
    ]


def test_a_log_that_lost_its_newest_records_ends_the_worker() -> None:
    """The client begins anew with the oldest: new records would be taken for those of before."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        state = Assigned(EVENTS, kafka.outside(cores))
        await state.restore()
        await state.feed(one_fetch(kafka.events(0, *"abcd")))
        del kafka.logs[EVENTS][2:]
        kafka.events(0, "!new")
        with pytest.raises(EngineError, match=r"the log ends at offset 3, and 4 was reached"):
            await state.feed(one_fetch(kafka.logs[EVENTS]))

    run(work)


def test_a_stretch_that_comes_again_is_no_fault() -> None:
    """Where the log still holds all that was walked, only what is new is walked."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        state = Assigned(EVENTS, kafka.outside(cores))
        await state.restore()
        await state.feed(one_fetch(kafka.events(0, *"ab")))
        kafka.events(0, "c")
        await state.feed(one_fetch(kafka.logs[EVENTS]))
        assert cores.made[-1].fed == [*"abc"]

    run(work)


def test_a_ready_file_that_cannot_be_written_ends_the_worker(tmp_path: Any) -> None:
    """A probe that never turns green is no way to hear of a missing folder."""

    async def work() -> None:
        worker: Any = object.__new__(Worker)
        worker._failure = asyncio.get_running_loop().create_future()
        worker._is_ready, worker._share = False, SimpleNamespace(places=[])
        worker._settings = SimpleNamespace(ready_file=tmp_path / "missing" / "ready")
        worker._tell_ready(True)
        with pytest.raises(EngineError, match=r"--ready-file .*ready: No such file or directory"):
            await worker._failure

    run(work)


def test_a_reader_that_is_made_too_late_is_closed() -> None:
    """A release that has no time left leaves no connection behind."""

    async def work() -> None:
        one, made = Setting(), asyncio.Event()
        loop = asyncio.get_running_loop()
        await one.own(EVENTS)
        await one.feed(EVENTS, one.kafka.events(0, "a"))
        one.kafka.append(TOPICS.state, 0, b"x", b'[0,"other",1,"core",0]')  # a gap to be read
        waits = one.outside.readers
        waits.close()
        waits._closed = False
        make, slow = waits._make, asyncio.Event()

        def late() -> Any:
            asyncio.run_coroutine_threadsafe(slow.wait(), loop).result(10)
            loop.call_soon_threadsafe(made.set)
            return make()

        waits._make = late
        assert await one.share.release(None, 0.05) is False
        slow.set()
        await made.wait()
        await until(lambda: not one.kafka.open_readers)

    run(work)
