"""The partitions of a worker through rebalances: nothing stale is used, nothing is saved late."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogRecord
from detectors.engines.ports import TopicPartition
from detectors.engines.share import Share
from detectors.engines.stretch import Fetched
from detectors.snapshot import State
from tests.unit.engines.fakes import TOPICS, FakeCore, FakeCores, FakeKafka, one_fetch, run


class _Setting:
    """A share over a fake Kafka, and the errors that it told of."""

    def __init__(self, save_events: int = 1000) -> None:
        self.kafka, self.cores = FakeKafka(), FakeCores()
        self.errors: list[BaseException] = []
        outside = self.kafka.outside(self.cores)
        self.share = Share(outside, self.kafka.commit, self.errors.append, save_events)

    def fed(self) -> list[list[str]]:
        return [core.fed for core in self.cores.made]


def _fetched(partition: int, generation: int, records: Sequence[LogRecord]) -> Fetched:
    return Fetched(_event(partition), generation, one_fetch(records))


def _event(partition: int) -> TopicPartition:
    return TopicPartition(TOPICS.events, partition)


def _events(*partitions: int) -> list[TopicPartition]:
    return [_event(partition) for partition in partitions]


def test_records_wait_for_the_state() -> None:
    """Records that come right after the assignment are walked after the restore, none is lost."""

    async def work() -> None:
        here = _Setting()
        records = here.kafka.events(1, "a", "b")
        here.share.assign(_events(1), generation=4)
        await here.share.feed(_fetched(1, 4, records))
        assert here.fed() == [["a", "b"]]

    run(work)


def test_records_of_another_generation_are_dropped() -> None:
    """What was fetched before a rebalance, or for a partition of another, is not walked."""

    async def work() -> None:
        here = _Setting()
        records = here.kafka.events(1, "a")
        here.share.assign(_events(1), generation=4)
        await here.share.feed(_fetched(1, 3, records))
        await here.share.feed(_fetched(2, 4, records))
        await here.share.feed(_fetched(1, 4, records))
        assert here.fed() == [["a"]]

    run(work)


def test_partition_that_stays_gets_a_new_state() -> None:
    """Over a rebalance the state goes through the topic, and continues as if nothing had been."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0, 1), generation=1)
        await here.share.feed(_fetched(1, 1, here.kafka.events(1, "a", "!b")))
        await here.share.release(_events(0, 1), seconds=5)
        here.share.assign(_events(1), generation=2)
        again = here.kafka.logs[TOPICS.events, 1]
        await here.share.feed(_fetched(1, 2, [*again, *here.kafka.events(1, "!c")]))
        assert here.fed()[-1] == ["a", "!b", "!c"]
        assert here.kafka.alerts() == [("!b", 2), ("!c", 3)]
        assert here.kafka.committed == {_event(1): 2}

    run(work)


def test_assignment_without_revocation_uses_no_old_state() -> None:
    """Where the group lost this worker without a word, what it had walked unsaved is forgotten."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        records = here.kafka.events(0, "a")
        await here.share.feed(_fetched(0, 1, records))
        here.share.assign(_events(0), generation=2)
        await here.share.feed(_fetched(0, 2, records))
        assert here.fed() == [["a"], ["a"]]
        assert here.kafka.committed == {}

    run(work)


def test_one_commit_for_all_partitions() -> None:
    """All checkpoints of a round are followed by one commit, and idle partitions are left out."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0, 1, 2), generation=1)
        for partition in (0, 2):
            await here.share.feed(_fetched(partition, 1, here.kafka.events(partition, "a")))
        await here.share.save()
        assert here.kafka.committed == {_event(0): 1, _event(2): 1}
        assert here.kafka.journal.count("commit") == 1
        assert here.kafka.journal[-1] == "commit"

    run(work)


def test_many_events_bring_a_checkpoint() -> None:
    """A checkpoint is written every `save_events` events, however fast they come."""

    async def work() -> None:
        here = _Setting(save_events=3)
        here.share.assign(_events(0), generation=1)
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "a", "b")))
        assert here.kafka.committed == {}
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "c")))
        assert here.share._early is not None
        await here.share._early
        assert here.kafka.committed == {_event(0): 3}

    run(work)


def test_release_ends_in_time() -> None:
    """When the broker does not acknowledge, partitions are given away unsaved, and say so."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "!a")))
        here.kafka.held = []
        assert await here.share.release(None, seconds=0.05) is False
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "!b")))
        assert here.fed() == [["!a"]]
        assert here.kafka.committed == {}

    run(work)


def test_nothing_is_walked_between_the_last_checkpoint_and_the_release() -> None:
    """Records that wait for their turn while a partition is saved for the last time are dropped."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "a")))
        here.kafka.held = []
        releasing = asyncio.ensure_future(here.share.release(None, seconds=5))
        while not here.kafka.held:
            await asyncio.sleep(0)
        feeding = asyncio.ensure_future(here.share.feed(_fetched(0, 1, here.kafka.events(0, "!b"))))
        await asyncio.sleep(0)
        await here.kafka.acknowledge(releasing)
        await feeding
        assert (here.fed(), here.kafka.alerts()) == ([["a"]], [])

    run(work)


def test_release_does_not_wait_for_a_restore() -> None:
    """A partition that is taken away while it is restored is dropped at once."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        assert await here.share.release(_events(0), seconds=5)
        here.share.assign(_events(0), generation=2)
        await here.share.feed(_fetched(0, 2, here.kafka.events(0, "a")))
        assert here.fed()[-1] == ["a"]

    run(work)


def test_releasing_nothing_keeps_the_rest() -> None:
    """The empty revocation at the first join of a group touches no partition."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        await here.share.release([], seconds=5)
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "a")))
        assert here.fed() == [["a"]]

    run(work)


def test_failing_restore_is_told() -> None:
    """A restore that fails is no silent partition: the worker is told."""

    async def work() -> None:
        here = _Setting()
        here.cores.new = _broken  # type: ignore[method-assign,assignment]
        here.share.assign(_events(0), generation=1)
        while not here.errors:
            await asyncio.sleep(0.001)
        assert [str(error) for error in here.errors] == ["no memory"]
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "b")))
        await here.share.save()
        assert here.kafka.journal == [TOPICS.state]  # the claim

    run(work)


def _broken(partition: int) -> None:
    msg = "no memory"
    raise MemoryError(msg)


def test_the_busiest_senders_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """One line, however many partitions and senders there are; none where nothing has come."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0, 1), generation=1)
        for each in (0, 1):
            await here.share.feed(_fetched(each, 1, here.kafka.events(each, "a")))
        here.share.look_back()
        first, second = here.cores.made
        first.busy = {f"s{number}": number for number in range(20)}
        second.busy = {"a name": 190}
        here.share.look_back()

    caplog.set_level(logging.INFO)
    run(work)
    lines = [text for text in caplog.messages if text.startswith("senders.busiest")]
    assert lines == ['senders.busiest senders="a name:0.50",s19:0.05,s18:0.05,s17:0.04,s16:0.04']


def test_what_is_counted_only_grows_while_partitions_come_and_go() -> None:
    """What an owner before has counted is not this worker's, and what is left stays counted."""

    async def work() -> list[int]:
        here = _Setting()
        restored = here.cores.restore

        def restore(partition: int, state: State) -> FakeCore:
            core = restored(partition, state)
            core.accounts = {"consumed": 1000, "scored": 1000}  # of the topic's whole life
            return core

        here.cores.restore = restore  # type: ignore[method-assign]
        seen = []
        for generation in range(3):
            here.share.assign(_events(0), generation=generation)
            await here.share.feed(_fetched(0, generation, here.kafka.events(0, "a", "!b")))
            core = here.cores.made[-1]
            core.accounts = {
                name: core.accounts.get(name, 0) + 2 for name in ("consumed", "scored")
            }
            seen.append(here.share.records["scored"])
            await here.share.release(_events(0), seconds=5)
            seen.append(here.share.records["scored"])
        tally = here.share.tally
        assert (tally.waiting, tally.failed, tally.alerts) == (0, 0, {("fake", "low"): 3})
        assert here.share.tally.checkpoints == 3
        return seen

    assert run(work) == [2, 2, 4, 4, 6, 6]


def test_an_alert_that_no_broker_took_waits_for_nothing() -> None:
    """Its partition may be another's by then: it has failed, and does not wait for ever."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        here.kafka.broken = TOPICS.alerts
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "!a")))
        await asyncio.sleep(0)
        tally = here.share.tally
        assert (tally.waiting, tally.failed, tally.alerts) == (0, 1, {})
        await here.share.release(_events(0), seconds=5)

    with pytest.raises(EngineError, match=r"an alert, .* not taken by a broker: "):
        run(work)


def test_accounts_are_told_and_checked_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """One line has the sums of all partitions; one of its own names a partition that differs."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0, 1), generation=1)
        for each in (0, 1):
            await here.share.feed(_fetched(each, 1, here.kafka.events(each, "a")))
        first, second = here.cores.made
        first.accounts = {"consumed": 3, "scored": 2, "rejected.not_json": 1}
        second.accounts = {"consumed": 3, "scored": 1}
        here.share.look_back()

    caplog.set_level(logging.INFO)
    run(work)
    rest = "duplicates=0 reports=0 controls=0 alerts=0"
    assert [text for text in caplog.messages if "accounts" in text or "differs" in text] == [
        f"worker.accounts partitions=2 consumed=6 scored=3 rejected=1 {rest}",
        "partition.differs partition=callwatch.events/1 missing=2",
    ]


def test_a_commit_that_was_lost_is_made_by_the_next() -> None:
    """An owner dies between its checkpoint and the commit: whoever restores it commits at once."""

    async def work() -> None:
        here = _Setting()
        here.share.assign(_events(0), generation=1)
        await here.share.feed(_fetched(0, 1, here.kafka.events(0, "a", "b")))
        await here.share.save()
        del here.kafka.committed[_event(0)]
        here.share.assign(_events(0), generation=2)
        await here.share.end(5)
        assert here.kafka.committed == {}  # it is another's by now
        here.share.assign(_events(0), generation=3)
        await asyncio.wait({held.ready for held in here.share._held.values()})
        assert here.kafka.committed == {_event(0): 2}

    run(work)
