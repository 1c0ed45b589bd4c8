"""How a repartitioning goes on from wherever it was left, on a cluster of dictionaries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pytest
from click.testing import CliRunner

from detectors.engines import repartition
from detectors.engines.errors import EngineError
from detectors.engines.log_reader import Bounds
from detectors.engines.ports import TopicPartition
from detectors.engines.repartition import SHUT, Repartition
from detectors.engines.repartition_plan import CLOSED, OLDEST, OPEN, Plan, Shape
from detectors.engines.topics_cli import repartition as repartition_command
from ingest.errors import TopicError
from ingest.topics import NAMES, REPARTITION, Existing, before

EVENTS = "callwatch.events"
WORKING = {
    "callwatch.events": {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"},
    "callwatch.sources": {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"},
    "callwatch.state": {"cleanup.policy": "compact"},
}
COPY = before(7)


@dataclass
class Topic:
    """A topic: who it is, how it is, and how many records are in each partition."""

    identity: str
    partitions: int
    settings: dict[str, str]
    records: int = 0


@dataclass
class FakeCluster:
    """What a repartitioning asks, answered from memory; `fails` raise when they are asked."""

    topics: dict[str, Topic] = field(default_factory=dict)
    noted: Plan | None = None
    makes: bool | None = False
    fails: dict[str, BaseException] = field(default_factory=dict)
    count: int = 0

    def _ask(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    def plan(self, _: object) -> Plan | None:
        return self.noted if REPARTITION in self.topics else None

    def write_plan(self, plan: Plan) -> None:
        self.noted = plan

    def existing(self, names: Sequence[str] = (*NAMES, REPARTITION)) -> dict[str, Existing]:
        unset = {OLDEST: "9223372036854775807", "message.timestamp.after.max.ms": "3600000"}
        return {
            name: Existing(there.partitions, {**unset, **there.settings})
            for name in names
            if (there := self.topics.get(name)) is not None
        }

    def partitions(self, names: Sequence[str]) -> dict[str, int]:
        return {name: self.topics[name].partitions for name in names if name in self.topics}

    def identity(self, name: str) -> str | None:
        return self.topics[name].identity if name in self.topics else None

    def ends(self, name: str, partitions: int) -> dict[TopicPartition, int]:
        return {TopicPartition(name, each): self.topics[name].records for each in range(partitions)}

    def makes_topics(self) -> bool | None:
        return self.makes

    def members(self, _: str) -> int:
        return 0

    def size(self, _: str) -> int | None:
        return None

    def shape(self, name: str) -> Shape:
        there = self.topics[name]
        return Shape(there.partitions, 1, dict(there.settings))

    def make(self, name: str, shape: Shape) -> None:
        self._ask(f"make {name}")
        assert name not in self.topics
        self.count += 1
        self.topics[name] = Topic(f"made {self.count}", shape.partitions, dict(shape.settings))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._ask(f"delete {name}")
            self.topics.pop(name, None)

    def alter(self, name: str, settings: Mapping[str, str | None]) -> None:
        self._ask(f"alter {name}")
        for each, value in settings.items():
            self.topics[name].settings.pop(each, None)
            if value is not None:
                self.topics[name].settings[each] = value

    def begin_anew(self, *_: object) -> None:
        """Nothing to do."""


class FakeReader:
    """Reads what is acknowledged of a fake cluster; `hidden` stands behind open transactions."""

    cluster: FakeCluster
    hidden = 0

    def __init__(self, *_: object) -> None:
        pass

    def ends(self, wheres: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.cluster.topics[each.topic].records - self.hidden for each in wheres}

    def partitions(self, topic: str) -> int:
        return self.cluster.topics[topic].partitions

    def bounds(self, topic: str, partition: int) -> Bounds:
        end = self.ends([TopicPartition(topic, partition)]).popitem()[1]
        return Bounds(0, end, end)

    def close(self) -> None:
        pass


class FakeCopying:
    """Copies nothing."""

    records = damaged = 0

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def copy(self, _: object) -> None:
        pass

    def check(self) -> None:
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """One with topics of 2 partitions, each with 5 events."""
    made = FakeCluster()
    for name, settings in WORKING.items():
        made.topics[name] = Topic(f"old {name}", 2, dict(settings))
    made.topics[EVENTS].records = 5
    monkeypatch.setattr(FakeReader, "cluster", made, raising=False)
    monkeypatch.setattr(repartition, "LogReader", FakeReader)
    monkeypatch.setattr(repartition, "Copying", FakeCopying)
    monkeypatch.setattr(repartition, "STILL_SECONDS", 0.0)
    return made


def _work(cluster: FakeCluster, said: list[str] | None = None, hold: float = 0.0) -> Repartition:
    say = [].append if said is None else said.append
    given: Any = cluster
    return Repartition(given, {}, "group", 7, say, patience=0.01, hold=hold)


def _left(cluster: FakeCluster, phase: Any) -> None:
    """As a run leaves it that is killed in this phase, the old topics still there."""
    shapes = {name: cluster.shape(name) for name in WORKING}
    ends = {} if phase == "copying" else {"0": 5, "1": 5}
    cluster.noted = Plan(phase, 7, shapes, cluster.topics[EVENTS].identity, ends)
    cluster.topics[REPARTITION] = Topic("notes", 1, {}, 1)
    cluster.topics[COPY] = Topic("the copy", 7, {}, 2)
    cluster.topics[EVENTS].settings.update(CLOSED)


def _is_done(cluster: FakeCluster) -> bool:
    names = {*WORKING, COPY}
    there = cluster.topics[EVENTS]
    return set(cluster.topics) == names and (there.partitions, there.settings) == (
        7,
        WORKING[EVENTS],
    )


def test_undisturbed_it_makes_the_topics_anew(cluster: FakeCluster) -> None:
    """Then the events are open, with their settings, and only the copy is there beside them."""
    _work(cluster).run()
    assert _is_done(cluster)


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_events_that_others_made_never_cost_the_copy(cluster: FakeCluster, partitions: int) -> None:
    """Made while the old ones are away, they are deleted when empty, and named otherwise."""
    _left(cluster, "switching")
    cluster.topics[EVENTS] = Topic("of others", partitions, {}, records=3)
    with pytest.raises(EngineError, match=f"{3 * partitions} records are in it.*{COPY}; .*run the"):
        _work(cluster).run()
    assert (cluster.identity(EVENTS), cluster.identity(COPY)) == ("of others", "the copy")
    assert cluster.noted is not None
    assert cluster.noted.phase == "switching"

    cluster.topics[EVENTS].records = 0
    _work(cluster).run()
    assert _is_done(cluster)
    assert cluster.identity(COPY) == "the copy"


def test_the_copy_is_kept_where_the_old_events_are_gone(cluster: FakeCluster) -> None:
    """Neither a run that would begin anew nor giving up deletes what may be the only copy."""
    _left(cluster, "copying")
    cluster.topics[EVENTS] = Topic("of others", 2, dict(WORKING[EVENTS]))
    for ask in (_work(cluster).run, _work(cluster).give_up):
        with pytest.raises(EngineError, match=f"is not the topic that was copied; {COPY} may be"):
            ask()
    del cluster.topics[REPARTITION]  # by hand, and then it begins as if nothing had been
    with pytest.raises(EngineError, match=f"{COPY}: has records already"):
        _work(cluster).run()
    assert cluster.identity(COPY) == "the copy"


@pytest.mark.parametrize("closed", [False, True])
def test_a_second_run_ends_the_first(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """Who starts it twice loses nothing: the first deletes nothing that the second has made."""
    copied: list[str] = []

    def copy(_: object, __: object) -> None:
        copied.append("")
        if len(copied) == 1 + closed:  # the last copy of the first is made while all is closed
            _work(cluster).run()

    monkeypatch.setattr(FakeCopying, "copy", copy)
    with pytest.raises(EngineError, match="another run of this command has begun meanwhile"):
        _work(cluster).run()
    assert _is_done(cluster)
    assert len(copied) == 3 + closed


@pytest.mark.parametrize("change", ["opened", "more came"])
def test_old_events_that_took_more_are_copied_anew(cluster: FakeCluster, change: str) -> None:
    """Where they are still there and were opened, the copy counts for nothing."""
    _left(cluster, "switching")
    if change == "opened":
        cluster.alter(EVENTS, OPEN)
    else:
        cluster.topics[EVENTS].records += 1
    _work(cluster).run()
    assert _is_done(cluster)
    assert cluster.identity(COPY) != "the copy"


def test_it_refuses_brokers_that_make_topics(cluster: FakeCluster) -> None:
    """A client that asks for a deleted topic would have it made; what is not told is said."""
    cluster.makes = True
    with pytest.raises(EngineError, match=r"auto.create.topics.enable: allowed is false"):
        _work(cluster).run()
    assert REPARTITION not in cluster.topics
    cluster.makes = None
    assert "auto.create.topics.enable of the brokers may not be read" in _work(cluster).outlook()[3]
    _work(cluster).run()
    assert _is_done(cluster)


def test_it_refuses_brokers_that_cannot_close_a_topic(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka before 3.6 has no such setting, and before 2.8 topics have no ids."""
    with monkeypatch.context() as patch:
        patch.setattr("detectors.engines.repartition_looks.OLDEST", "no.such.setting")
        with pytest.raises(EngineError, match=r"Kafka 3.6 or newer"):
            _work(cluster).run()
    cluster.topics[EVENTS].identity = ""
    with pytest.raises(EngineError, match=r"Kafka 3.6 or newer"):
        _work(cluster).run()
    assert set(cluster.topics) == set(WORKING)


def test_a_copy_that_cannot_be_made_leaves_nothing(cluster: FakeCluster) -> None:
    """A cluster that refuses the topic is told, and no repartitioning is unfinished then."""
    cluster.fails[f"make {COPY}"] = TopicError("a policy forbids it")
    with pytest.raises(TopicError, match=r"^a policy forbids it$"):
        _work(cluster).run()
    assert set(cluster.topics) == set(WORKING)


def test_what_stands_behind_an_open_transaction_is_not_lost(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledged events that cannot be read yet: it does not close, or opens again at once."""
    said: list[str] = []
    beginning = "copying"

    def say(text: str) -> None:
        said.append(text)
        if beginning in text:
            monkeypatch.setattr(FakeReader, "hidden", 2)

    given: Any = cluster
    monkeypatch.setattr(FakeReader, "hidden", 2)
    with pytest.raises(EngineError, match="a producer's transaction is open on"):
        Repartition(given, {}, "group", 7, say).run()
    assert REPARTITION not in cluster.topics

    monkeypatch.setattr(FakeReader, "hidden", 0)
    beginning = "is closed"
    with pytest.raises(EngineError, match="a producer's transaction is open on"):
        Repartition(given, {}, "group", 7, say).run()
    assert (cluster.topics[EVENTS].records, cluster.topics[EVENTS].settings) == (5, WORKING[EVENTS])

    monkeypatch.setattr(FakeReader, "hidden", 0)
    beginning = "copying"
    monkeypatch.setattr(repartition.Event, "wait", _interrupted)  # it waits for it to end
    with pytest.raises(EngineError, match="interrupted; nothing is lost"):
        Repartition(given, {}, "group", 7, say).run()
    assert said[-1].startswith("waiting: a producer's transaction is open")


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("at", "error"),
    [
        (f"delete {EVENTS}", TopicError("no broker")),
        (f"make {EVENTS}", KeyboardInterrupt()),
        (f"alter {EVENTS}", TopicError("no broker")),
    ],
)
def test_whoever_stops_it_while_nobody_can_publish_is_told(
    cluster: FakeCluster, at: str, error: BaseException
) -> None:
    """From the switch on it is not true that nothing is lost: receivers fill up."""
    _left(cluster, "switching")
    cluster.fails[at] = error
    told = f"{str(error) or 'interrupted'}; {SHUT}"
    with pytest.raises(EngineError) as found:
        _work(cluster).run()
    assert str(found.value) == told
    cluster.fails.clear()
    _work(cluster).run()
    assert _is_done(cluster)


def test_what_cannot_be_opened_again_is_told(cluster: FakeCluster) -> None:
    """What ended it is told, and that the events are still closed."""
    said: list[str] = []
    work = _work(cluster, said)

    def cut(text: str) -> None:
        said.append(text)
        if "is closed" in text:
            cluster.fails[f"alter {EVENTS}"] = TopicError("no broker")
            msg = "the first fault"
            raise EngineError(msg)

    vars(work)["_say"] = cut
    with pytest.raises(EngineError) as found:
        work.run()
    assert str(found.value) == f"the first fault; {SHUT}"
    assert said[-1] == "callwatch.events cannot be opened: no broker"


def test_an_interruption_ends_the_hold(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left then is to open, so it opens."""
    monkeypatch.setattr(repartition.Event, "wait", _interrupted)
    _left(cluster, "switched")
    said: list[str] = []
    del cluster.topics[EVENTS]
    cluster.make(EVENTS, Shape(7, 1, {**WORKING[EVENTS], **CLOSED}))
    _work(cluster, said, hold=90).run()
    assert "interrupted: it is opened now, whatever producers have heard" in said
    assert _is_done(cluster)


def test_giving_up_opens_and_deletes_the_copy(cluster: FakeCluster) -> None:
    """Killed while it was closed, it leaves a topic that takes nothing; giving up mends it."""
    _left(cluster, "copying")
    assert _work(cluster).give_up().startswith("given up: callwatch.events is open")
    assert (cluster.topics[EVENTS].records, cluster.topics[EVENTS].settings) == (5, WORKING[EVENTS])
    assert set(cluster.topics) == set(WORKING)

    cluster.topics[EVENTS].settings.update(CLOSED)  # and the notes were deleted by hand
    assert _work(cluster).give_up() == "no repartitioning is under way"
    assert cluster.topics[EVENTS].settings == WORKING[EVENTS]


def test_what_is_switching_is_not_given_up(cluster: FakeCluster) -> None:
    """The old topics may be gone in part; only one that was opened again is whole for sure."""
    _left(cluster, "switching")
    with pytest.raises(EngineError, match="--give-up: allowed is it before the switch"):
        _work(cluster).give_up()
    cluster.alter(EVENTS, OPEN)
    assert _work(cluster).give_up().startswith("given up")
    assert set(cluster.topics) == set(WORKING)


def test_partitions_are_to_be_given_but_for_giving_up() -> None:
    """Without a number there is nothing to do; usage, before a broker is asked."""
    found = CliRunner().invoke(repartition_command, ["--yes"])
    assert (found.exit_code, found.output.splitlines()[-1]) == (
        2,
        "Error: --partitions: how many there are to be; none is given",
    )


def test_a_bound_of_bytes_is_for_each_partition() -> None:
    """Fewer partitions keep as much in all, by a setting or a broker's default; more do no less."""
    old = Shape(4, 1, {"retention.bytes": "100", "retention.ms": "5"}, 100)
    assert old.kept(1) == {"retention.ms": "5", "retention.bytes": "400"}
    assert old.kept(3) == {"retention.ms": "5", "retention.bytes": "200"}
    assert old.kept(7) == {"retention.ms": "5", "retention.bytes": "100"}
    default = replace(old, settings={})
    assert default.kept(1) == {"retention.ms": None, "retention.bytes": "400"}
    assert default.kept(7) == {"retention.ms": None, "retention.bytes": None}
    assert Shape(4, 1, {}).kept(1) == {"retention.ms": None, "retention.bytes": None}
