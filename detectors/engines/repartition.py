"""More or fewer partitions of the events, with the baselines and without losing or repeating any.

While receivers publish and workers work, the events are copied to where their keys lead among the
new partitions, in a topic that workers walk in silence before the events when they rebuild a state.
Then, for a minute or two, nobody can publish: workers tell what is left and are stopped, the rest
is copied, and the topics are made anew and opened. What is never touched before the copy is whole
are the old topics; what is done afterwards can be done again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from threading import Event
from time import monotonic
from typing import Any, Final

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogReader
from detectors.engines.ports import TopicPartition
from detectors.engines.repartition_cluster import RepartitionCluster, where_of
from detectors.engines.repartition_copy import Copying
from detectors.engines.repartition_looks import ANEW, IN_TRANSACTION, Looks, of_events
from detectors.engines.repartition_plan import (
    BYTES,
    CLOSED,
    OPEN,
    TOPICS,
    Plan,
    Shape,
    anew,
    history,
)
from detectors.errors import DetectorError
from ingest.errors import IngestError
from ingest.topics import REPARTITION, before

STILL_SECONDS: Final = 2.0
"""Without a new record for so long after it was closed, nothing is under way any more."""
ROUND_SECONDS: Final = 5.0
"""A copy of what came meanwhile that takes no longer than this is the last one before closing."""
MOST_UNTOLD: Final = 50_000
"""Workers that have more to walk would keep the topic closed for long."""
LOOK_SECONDS: Final = 0.25
TELL_SECONDS: Final = 10.0
AGAIN: Final = "nothing is lost: the same command goes on"
SHUT: Final = (
    f"{TOPICS.events} is closed, or not there, and receivers fill up: run the same command again "
    "now, it goes on"
)


@dataclass(frozen=True)
class Done:
    """What a repartitioning has done."""

    records: int
    """Copied by this run."""
    damaged: int
    seconds: float
    closed_seconds: float


class Repartition:
    """One repartitioning, from wherever an earlier run left it.

    patience: seconds for which the events may be closed until all of them are told and the workers
    are stopped; hold: for which they stay closed afterwards, until producers know the partitions.
    """

    def __init__(
        self,
        cluster: RepartitionCluster,
        keywords: Mapping[str, Any],
        group: str,
        partitions: int,
        say: Callable[[str], None],
        patience: float = 120.0,
        hold: float = 90.0,
    ) -> None:
        self._cluster = cluster
        self._keywords = keywords
        self._group = group
        self._partitions = partitions
        self._say = say
        self._patience = patience
        self._hold = hold
        self._looks = Looks(cluster, group, partitions)
        self._records = self._damaged = 0
        self._notes: str | None = None  # Kafka's id of the topic of this run's notes
        self._is_shut = False
        self._told = -TELL_SECONDS

    def outlook(self) -> list[str]:
        """What `run` will do, for a person to agree; raises `EngineError` where it would refuse."""
        with self._telling():
            return self._outlook()

    def _outlook(self) -> list[str]:
        plan = self._plan()
        if plan is not None and plan.phase != "copying":
            self._same(plan)
            step = f"go on with the repartitioning to {plan.partitions} partitions ({plan.phase}); "
            return [f"{step}{TOPICS.events} is closed, or not there, until it is done"]
        if plan is None:
            self._refuse_to_begin()
        events = self._cluster.shape(TOPICS.events)
        size = self._cluster.size(TOPICS.events)
        room = "of a size that is not told" if size is None else f"{size / 1e6:,.0f} MB"
        target, names = before(self._partitions), ", ".join(ANEW)
        copy = f"copy {TOPICS.events} ({events.partitions} partitions, {room}) into {target}, "
        copy += "which takes about as much again for as long as events are kept"
        close = (
            f"close {TOPICS.events}: receivers keep what comes; wait up to {self._patience:g} s "
        )
        close += f"until all is told and you have stopped the workers of group {self._group}"
        switch = f"delete {names}; make them anew for {self._partitions} partitions"
        if (kept := events.bytes_for(self._partitions)) != events.bytes_kept:
            switch += (
                f", each with {BYTES}={kept} instead of {events.bytes_kept}, as they are fewer"
            )
        steps = [copy, close, f"{switch}; open after {self._hold:g} s"]
        if plan is None and self._cluster.makes_topics() is None:
            say = "auto.create.topics.enable of the brokers may not be read. Make sure that it is "
            steps.append(f"{say}false: else any client makes {TOPICS.events} while it is deleted")
        return steps

    def run(self) -> Done:
        """Do it, or what is left of it. After any failure another run goes on."""
        with self._telling():
            return self._run()

    def give_up(self) -> str:
        """Take back what an unfinished one has done, where it has not switched; what was done."""
        with self._telling():
            plan = self._plan()
            if plan is None:
                if self._looks.is_closed():
                    self._cluster.alter(TOPICS.events, OPEN)
                    self._say(f"{TOPICS.events} was closed, and is open")
                self._cluster.delete([REPARTITION])
                return "no repartitioning is under way"
            self._is_shut = plan.phase != "copying"
            if self._is_shut and not self._is_opened(plan):
                msg = f"--give-up: allowed is it before the switch; given one that is {plan.phase}"
                raise EngineError(msg)
            self._take_back(plan)
            return f"given up: {TOPICS.events} is open, and what was copied is deleted"

    def _plan(self) -> Plan | None:
        with self._reader() as reader:
            return self._cluster.plan(reader)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Whatever ends it while nobody can publish, that is told with it."""
        from kafka.errors import KafkaError

        try:
            yield
        except KeyboardInterrupt:
            msg = f"interrupted; {SHUT if self._is_shut else AGAIN}"
            raise EngineError(msg) from None
        except (IngestError, DetectorError, KafkaError) as error:
            told = str(error)
            if isinstance(error, KafkaError):
                told = f"kafka: {type(error).__name__}: {' '.join(told.split())[:200]}"
            elif not self._is_shut:
                raise
            msg = f"{told}; {SHUT if self._is_shut else AGAIN}"
            raise EngineError(msg) from None
        except BaseException:
            if self._is_shut:
                self._say(SHUT)
            raise

    def _run(self) -> Done:
        begun = monotonic()
        with self._reader() as reader:
            plan = self._cluster.plan(reader)
            self._is_shut = plan is not None and plan.phase != "copying"
            if plan is None:
                self._refuse_to_begin()
            elif self._is_opened(plan):
                plan = replace(plan, phase="copying")
            if plan is None or plan.phase == "copying":
                plan = self._begin(plan)
                closed, plan = self._copy(plan, reader)
            else:
                self._same(plan)
                closed = begun
        # No consumer is open while topics are away: it could make the broker create them.
        if plan.phase == "switching":
            plan = self._switch(plan)
        self._open(plan)
        now = monotonic()
        return Done(self._records, self._damaged, now - begun, now - closed)

    def _is_opened(self, plan: Plan) -> bool:
        """Whether the old events are there and took more, after all was copied."""
        return plan.phase == "switching" and self._looks.was_opened(plan)

    def _same(self, plan: Plan) -> None:
        if plan.partitions != self._partitions:
            msg = (
                f"--partitions: one to {plan.partitions} is unfinished, which must come to its "
                f"end first; given {self._partitions}"
            )
            raise EngineError(msg)

    def _refuse_to_begin(self) -> None:
        with self._reader() as reader:
            self._looks.refuse_to_begin(reader)

    def _begin(self, found: Plan | None) -> Plan:
        """A plan, with what an earlier run left taken back."""
        if found is not None:
            self._say(
                "an earlier run has not copied all: it is begun anew, and ends if it still runs"
            )
            self._take_back(found)
            self._refuse_to_begin()
        events_id = self._cluster.identity(TOPICS.events) or ""
        target = before(self._partitions)
        self._cluster.delete([REPARTITION, target])
        shapes = {name: self._cluster.shape(name) for name in ANEW}
        plan = Plan("copying", self._partitions, shapes, events_id, {})
        events = shapes[TOPICS.events]
        self._cluster.make(REPARTITION, Shape(1, events.replication, {"retention.ms": "-1"}))
        self._notes = self._cluster.identity(REPARTITION)
        self._cluster.write_plan(plan)
        try:
            self._cluster.make(target, history(events, self._partitions))
        except (DetectorError, IngestError):  # refused by a policy, or for want of permission
            with suppress(DetectorError, IngestError):
                self._cluster.delete([REPARTITION])
            raise
        return plan

    def _insist_on_being_alone(self) -> None:
        """Raise `EngineError` where another run has begun: it has deleted what this one copied."""
        if self._cluster.identity(REPARTITION) != self._notes:
            msg = "another run of this command has begun meanwhile: it goes on, and this one ends"
            raise EngineError(msg)

    def _take_back(self, plan: Plan) -> None:
        """Open the events, and forget the plan and what was copied; the old events have it all."""
        self._is_shut = self._looks.is_closed()
        self._looks.refuse_another(plan)
        self._open_as(plan)
        self._cluster.delete([before(plan.partitions)])
        self._cluster.delete([REPARTITION])

    def _copy(self, plan: Plan, reader: LogReader) -> tuple[float, Plan]:
        """Copy all; when nobody could publish any more, and the plan to go on with."""
        events = plan.shapes[TOPICS.events]
        older = before(events.partitions)
        topics = [*(self._cluster.partitions([older])), TOPICS.events]
        target = before(plan.partitions)
        self._say(f"copying {' and '.join(topics)} into {target}")
        wheres = [where for topic in topics for where in where_of(topic, events.partitions)]
        with Copying(
            topics, target, events.partitions, plan.partitions,
            self._make_reader, self._keywords, self._say,
        ) as copying:  # fmt: skip
            self._catch_up(copying, wheres, reader)
            with self._closed(plan):
                closed = monotonic()
                ends = self._await_told(wheres, reader)
                copying.copy(ends)
                copying.check()
                self._cluster.alter(target, events.kept(plan.partitions))
                plan = replace(plan, phase="switching", ends=of_events(ends))
                self._insist_on_being_alone()
                self._cluster.write_plan(plan)
                if self._looks.was_opened(plan):
                    msg = f"{TOPICS.events}: somebody published although it is closed; run it again"
                    raise EngineError(msg)
            self._records, self._damaged = copying.records, copying.damaged
        self._say(f"{copying.records:,} records are copied, all of them")
        return closed, plan

    def _catch_up(
        self, copying: Copying, wheres: Sequence[TopicPartition], reader: LogReader
    ) -> None:
        """Copy until only little is left, and workers are about level: then closing is short."""
        while True:
            self._insist_on_being_alone()
            whole = self._looks.is_whole(reader)
            ends = reader.ends(wheres)
            begun = monotonic()
            copying.copy(ends)
            slow = monotonic() - begun > ROUND_SECONDS
            untold = self._looks.untold(reader)
            if untold and not self._cluster.members(self._group):
                self._now_and_then(self._looks.nobody_tells(untold))
            elif untold > MOST_UNTOLD:
                self._now_and_then(f"waiting for the workers: {untold:,} records are not told yet")
            elif not whole:
                self._now_and_then(f"waiting: {IN_TRANSACTION}")
            elif not slow:
                return
            Event().wait(LOOK_SECONDS)

    @contextmanager
    def _closed(self, plan: Plan) -> Iterator[None]:
        """Nobody can publish; what fails meanwhile opens the topic again."""
        self._is_shut = True
        try:
            self._cluster.alter(TOPICS.events, CLOSED)
            self._say(f"{TOPICS.events} is closed: receivers keep what comes")
            yield
        except BaseException:
            try:
                self._open_as(plan)
            except (DetectorError, IngestError) as error:  # what ended it is told at last
                self._say(f"{TOPICS.events} cannot be opened: {error}")
            raise

    def _open_as(self, plan: Plan) -> None:
        settings = plan.shapes[TOPICS.events].settings
        self._cluster.alter(TOPICS.events, {name: settings.get(name) for name in CLOSED})
        self._is_shut = False

    def _await_told(
        self, wheres: Sequence[TopicPartition], reader: LogReader
    ) -> dict[TopicPartition, int]:
        """The ends, when all is told, nobody publishes, and the workers are stopped."""
        begun = since = monotonic()
        last: dict[TopicPartition, int] = {}
        self._told = -TELL_SECONDS
        while True:
            self._insist_on_being_alone()
            ends = reader.ends(wheres)
            if ends != last:
                last, since = ends, monotonic()
            untold = self._looks.untold(reader)
            members = self._cluster.members(self._group)
            still = monotonic() - since >= STILL_SECONDS
            if not self._looks.is_whole(reader):
                raise EngineError(IN_TRANSACTION)
            if still and not untold and not members:
                return ends
            if untold and not members:
                raise EngineError(self._looks.nobody_tells(untold))
            if untold:
                what = f"{untold:,} records are not told yet"
            elif members:
                what = f"all is told: stop the workers now, {members} in group {self._group}"
            else:
                what = "somebody publishes all the same"
            if still or monotonic() - begun > TELL_SECONDS:
                self._now_and_then(what)
            if monotonic() - begun > self._patience:
                msg = (
                    f"{TOPICS.events}: after {self._patience:g} s still: {what}; nothing is lost, "
                    "and this command begins anew"
                )
                raise EngineError(msg)
            Event().wait(LOOK_SECONDS)

    def _switch(self, plan: Plan) -> Plan:
        """Delete the old topics and make the new ones, closed."""
        if members := self._cluster.members(self._group):
            msg = f"group {self._group}: stop its {members} workers, and run this again"
            raise EngineError(msg)
        self._looks.refuse_to_delete(plan)
        self._say(f"making {', '.join(ANEW)} anew")
        self._cluster.delete(ANEW)
        shapes = {name: anew(name, shape, plan.partitions) for name, shape in plan.shapes.items()}
        for name, shape in shapes.items():
            self._cluster.make(name, shape)
        read = (TOPICS.events, TOPICS.sources)
        self._cluster.begin_anew(self._group, {name: shapes[name].partitions for name in read})
        plan = replace(plan, phase="switched")
        self._cluster.write_plan(plan)
        return plan

    def _open(self, plan: Plan) -> None:
        """Let receivers in, when none counts the old partitions any more; and forget the plan."""
        if self._hold:
            self._say(
                f"{TOPICS.events} stays closed for {self._hold:g} s, until all producers have "
                "heard of its partitions"
            )
        try:
            Event().wait(self._hold)
        except KeyboardInterrupt:
            self._say("interrupted: it is opened now, whatever producers have heard")
        self._open_as(plan)
        self._say(f"{TOPICS.events} is open")
        self._cluster.delete([before(plan.shapes[TOPICS.events].partitions)])
        self._cluster.delete([REPARTITION])

    def _now_and_then(self, text: str) -> None:
        if monotonic() - self._told >= TELL_SECONDS:
            self._told = monotonic()
            self._say(text)

    def _make_reader(self) -> LogReader:
        return LogReader(self._keywords, self._group)

    @contextmanager
    def _reader(self) -> Iterator[LogReader]:
        with closing(self._make_reader()) as reader:
            yield reader
