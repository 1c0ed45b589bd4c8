"""The transport against the Faust and aiokafka that are installed, without a broker."""

import asyncio
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.drivers import aiokafka, by_url
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from detectors.engines import faust_transport, hooks
from detectors.engines.errors import EngineError
from detectors.engines.faust_settings import WorkerSettings, new_app
from detectors.engines.faust_transport import (
    FETCH_BYTES,
    FLYING_BYTES,
    MOST_GROWTH,
    PARTITION_BYTES,
    Consumer,
    Fetching,
    FetchThread,
    Gathering,
    Transport,
)
from detectors.engines.log_reader import LogRecord
from detectors.engines.ports import TopicPartition
from detectors.engines.stretch import Fetched, Stretch
from detectors.engines.unpacking import FACTOR
from ingest.kafka_config import KafkaConfig
from tests.unit.engines.fakes import FakeCores, run

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
WHERE = TopicPartition("t", 0)


def test_hooks_are_as_expected() -> None:
    """All that the transport uses of Faust and aiokafka without a promise is where it was."""
    assert hooks.broken_hooks() == []
    hooks.check_hooks()


def test_changed_hook_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that takes other arguments, or is gone, is named before anything is fetched."""
    from aiokafka.consumer.fetcher import Fetcher
    from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

    monkeypatch.delattr(AIOKafkaConsumerThread, "_create_worker_consumer")
    monkeypatch.setattr(Fetcher, "_proc_fetch_request", lambda self, request: None)
    with pytest.raises(EngineError) as caught:
        hooks.check_hooks()
    assert str(caught.value) == (
        "Faust, aiokafka or kafka-python was changed: not as expected: "
        "AIOKafkaConsumerThread._create_worker_consumer, Fetcher._proc_fetch_request, "
        "MemoryRecords in Fetcher._proc_fetch_request, "
        "PartitionRecords in Fetcher._proc_fetch_request"
    )


def test_other_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that nobody has tested is refused with the range that was."""
    monkeypatch.setattr(hooks, "version", lambda name: "0.16.0")
    with pytest.raises(EngineError) as caught:
        hooks.check_hooks()
    assert str(caught.value) == (
        "faust-streaming: allowed are versions >=0.15.3,<0.16 (installed: 0.16.0)"
    )


def test_versions_are_those_of_the_project() -> None:
    """What a worker insists on is what its package asks for."""
    wanted = {each.name: each.specifier for each in map(Requirement, PROJECT["dependencies"])}
    for name, allowed in hooks.VERSIONS.items():
        assert wanted[name] == SpecifierSet(allowed)


def test_transport_is_registered() -> None:
    """The scheme names it in a checkout, and the entry point does where callwatch is installed."""
    assert by_url("callwatch://broker:9092") is Transport
    [(name, value)] = PROJECT["entry-points"]["faust.transports"].items()
    assert name == faust_transport.SCHEME
    assert EntryPoint(name, value, "faust.transports").load() is Transport


def _app(**changes: Any) -> Any:
    settings = WorkerSettings(
        KafkaConfig(("a:9092", "b:9093")), FakeCores(), FakeCores(), 1, group="g", **changes
    )
    return new_app(settings)


def test_fetches_wait_shortly_and_for_what_is_committed() -> None:
    """The client is told both brokers, 50 ms instead of 1.5 s, and to leave out rollbacks."""
    made = _consumer(_app())
    servers = made._client._bootstrap_servers
    assert servers == ["a:9092", "b:9093"]
    assert (made._fetch_max_wait_ms, made._isolation_level) == (50, "read_committed")
    assert made._enable_auto_commit is False


def test_waiting_time_can_be_set() -> None:
    """The setting of the worker reaches the consumer."""
    app = _app(fetching=Fetching(wait_seconds=0.2))
    assert _consumer(app)._fetch_max_wait_ms == 200


def test_brokers_gather_only_while_events_come() -> None:
    """A moment after the last ones a first byte is answered at once again."""
    now = [0.0]
    asked = []
    fetcher = SimpleNamespace(_get_actions_per_node=asked.append)
    gathering = Gathering(fetcher, Fetching(0.05, 0.01, 1000, 0.1), clock=lambda: now[0])

    def ask() -> tuple[int, int]:
        fetcher._get_actions_per_node("assignment")
        return fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes

    assert ask() == (50, 1)
    gathering.found(1.0)
    now[0] = 0.09
    assert ask() == (10, 1000)
    now[0] = 0.11
    assert ask() == (50, 1)
    assert asked == ["assignment"] * 3


def test_brokers_gather_no_longer_than_they_may_wait() -> None:
    """Who set a shorter wait gets it, whether events come or not."""
    fetcher = SimpleNamespace(_get_actions_per_node=id)
    gathering = Gathering(fetcher, Fetching(wait_seconds=0.005), clock=lambda: 0.0)
    gathering.found(1.0)
    fetcher._get_actions_per_node("assignment")
    assert fetcher._fetch_max_wait_ms == 5


def test_less_is_asked_for_of_what_is_packed() -> None:
    """What comes unpacks to as much whatever the codec saves; what is learned is unlearned."""
    fetcher = SimpleNamespace(_get_actions_per_node=id)
    gathering = Gathering(fetcher, Fetching(), clock=lambda: 0.0)

    def ask() -> tuple[int, int]:
        fetcher._get_actions_per_node("assignment")
        return fetcher._fetch_max_bytes, fetcher._max_partition_fetch_bytes

    def share() -> float:
        of_all, of_one = ask()
        assert of_all * PARTITION_BYTES == pytest.approx(of_one * FETCH_BYTES)
        return of_one / PARTITION_BYTES

    assert share() == pytest.approx(1 / FACTOR)  # nothing is known yet
    for _ in range(100):
        gathering.found(1.0)
    assert share() == pytest.approx(1, rel=1e-3)
    gathering.found(5.0)
    assert share() == pytest.approx(1 / 5)
    gathering.found(1e9)  # one batch that was made to swell
    assert share() == pytest.approx(1 / MOST_GROWTH)


class _Thread(FetchThread):
    """Gets this from aiokafka, as far as it asks for it; logs end at offset 1."""

    def __init__(self, answer: dict[Any, Any], resting: frozenset[Any] = frozenset()) -> None:
        self.answer, self.asked = answer, list[set[Any]]()
        self.learned: list[float] = []
        self.app = SimpleNamespace(resting=lambda: resting)
        self._gathering: Any = SimpleNamespace(found=self.learned.append)

    def fetch(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """What it hands over of all partitions."""

        async def fetched(_: Any, __: Any, active: set[Any], **___: Any) -> Any:
            self.asked.append(active)
            return {where: one for where, one in self.answer.items() if where in active}

        monkeypatch.setattr(aiokafka.AIOKafkaConsumerThread, "_fetch_records", fetched)
        monkeypatch.setattr(faust_transport, "RESTING_SECONDS", 0.0)
        consumer = SimpleNamespace(
            _coordinator=SimpleNamespace(generation=3), highwater=lambda _: 1
        )
        return run(lambda: self._fetch_records(consumer, set(self.answer)))


@pytest.mark.parametrize("growths", [(1.0,), (1.0, 7.5)])
def test_what_an_answer_grew_by_is_learned(
    monkeypatch: pytest.MonkeyPatch, growths: tuple[float, ...]
) -> None:
    """The one that is packed best counts; sizes go to back-pressure."""
    stretch = Stretch(0, 1, [])
    answer = {TopicPartition("t", n): [(stretch, 10 + n, g)] for n, g in enumerate(growths)}
    thread = _Thread(answer)
    found = thread.fetch(monkeypatch)
    assert thread.learned == [max(growths)]
    assert [each.size for each in found.values()] == [10 + n for n in range(len(growths))]


def test_nothing_is_taken_of_a_partition_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others go on; where all rest nothing is asked, since none at all would mean every one."""
    one, other = TopicPartition("t", 0), TopicPartition("t", 1)
    answer = {where: [(Stretch(0, 1, []), 1, 1.0)] for where in (one, other)}
    thread = _Thread(answer, frozenset({one}))
    assert set(thread.fetch(monkeypatch)) == {other}
    thread = _Thread(answer, frozenset({one, other}))
    assert (thread.fetch(monkeypatch), thread.asked) == ({}, [])


def test_offsets_beyond_the_end_of_the_log_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checksum covers where a batch stands: believed, it would pass over all that follows."""
    thread = _Thread({TopicPartition("t", 0): [(Stretch(0, 2**40, []), 1, 1.0)]})
    with pytest.raises(
        EngineError, match=r"t/0: .* to offset 1099511627775, but the log ends at 1"
    ):
        thread.fetch(monkeypatch)


def _consumer(app: Any) -> Any:
    """The aiokafka consumer that a worker would use, not started."""

    async def work() -> Any:
        thread = app.consumer._thread
        try:
            made = thread._create_worker_consumer(app.transport)
            await made.stop()
        finally:
            thread.thread_loop.close()
        return made

    return run(work)


def _fetched(generation: int, size: int = 1, start: int = 0) -> Fetched:
    return Fetched(
        WHERE, generation, Stretch(start, start + 1, [LogRecord(start, 0, b"", b"")]), size
    )


class _Consumer(Consumer):
    """The transport's consumer with answers given to it, on no broker."""

    def __init__(self, app: Any, answers: list[dict[TopicPartition, Fetched]]) -> None:
        super().__init__(
            app.transport, callback=_nothing, on_partitions_revoked=_nothing,
            on_partitions_assigned=_nothing, loop=asyncio.get_running_loop(),
        )  # fmt: skip
        self._thread.thread_loop.close()  # it is never started
        self.asked = 0
        self.flow_active = True
        self._answers = answers

    async def _wait_next_records(self, timeout: float) -> Any:
        self.asked += 1
        return self._answers.pop(0), set()


async def _nothing(*_: object) -> None: ...


async def _next(consumer: Consumer) -> list[Fetched]:
    return [message.value async for _, message in consumer.getmany(1.0)]


def test_one_message_holds_a_whole_fetch() -> None:
    """A stretch becomes one message with its generation; Faust's memory of offsets is not asked."""

    async def work() -> None:
        app = _app()
        app.consumer_generation_id = 4
        given = _fetched(4, start=17)
        consumer = _Consumer(app, [{WHERE: given}])
        consumer._read_offset[WHERE] = 1000
        [(where, message)] = [each async for each in consumer.getmany(1.0)]
        assert (where, message.value, message.offset) == (WHERE, given, 17)
        assert message.generation_id == 4
        assert consumer._read_offset[WHERE] is None

    run(work)


def test_nothing_of_another_generation_is_handed_over() -> None:
    """What was fetched before a rebalance does not reach the agent after it."""

    async def work() -> None:
        app = _app()
        app.consumer_generation_id = 5
        consumer = _Consumer(app, [{WHERE: _fetched(4)}, {WHERE: _fetched(5)}])
        assert await _next(consumer) == []
        assert [each.generation for each in await _next(consumer)] == [5]

    run(work)


def test_fetching_pauses_while_the_agent_is_behind() -> None:
    """With so many bytes in flight nothing more is asked for until some have landed."""

    async def work() -> None:
        app = _app()
        app.consumer_generation_id = 1
        big = _fetched(1, FLYING_BYTES)
        consumer = _Consumer(app, [{WHERE: big}, {WHERE: _fetched(1)}])
        assert await _next(consumer) == [big]
        waiting = asyncio.ensure_future(_next(consumer))
        for _ in range(20):
            await asyncio.sleep(0)
        assert consumer.asked == 1
        consumer.landed(big)
        assert len(await waiting) == 1

    run(work)


@pytest.mark.parametrize("how", ["rebalance", "dropped"])
def test_nothing_stays_in_flight_for_ever(how: str) -> None:
    """What Faust drops on its way, or a rebalance makes void, blocks no later fetch."""

    async def work() -> None:
        app = _app()
        app.consumer_generation_id = 1
        answers = [{WHERE: _fetched(1, FLYING_BYTES)}]
        consumer = _Consumer(app, answers)
        kept = await _next(consumer)
        answers.append({WHERE: _fetched(2 if how == "rebalance" else 1)})
        if how == "rebalance":
            app.consumer_generation_id = 2
        else:
            kept.clear()
        assert len(await _next(consumer)) == 1

    run(work)


def test_only_one_fetcher_is_hooked() -> None:
    """The names are exchanged for the worker's fetcher alone; aiokafka itself stays as it is."""
    from aiokafka.consumer import fetcher as module

    before = (module.MemoryRecords, module.PartitionRecords)
    one: Any = SimpleNamespace()
    faust_transport.hook_fetcher(one)
    names = one._proc_fetch_request.__func__.__globals__
    assert names["PartitionRecords"] is faust_transport.WholeFetch
    assert (module.MemoryRecords, module.PartitionRecords) == before
    assert names["log"] is module.log
