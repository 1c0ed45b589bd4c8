"""More or fewer partitions of the events, with the baselines and without losing or repeating any.

While receivers publish and workers work, the events are copied to where their keys lead among the
new partitions, in a topic that workers walk in silence before the events when they rebuild a state.
Then, for a minute or two, nobody can publish: workers tell what is left and are stopped, the rest
is copied, and the topics are made anew and opened. What is never touched before the copy is whole
are the old topics; what is done afterwards can be done again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from threading import Event
from time import monotonic
from typing import Any, Final

from detectors.engines.errors import EngineError
from detectors.engines.log_reader import LogReader
from detectors.engines.ports import TopicPartition, Topics
from detectors.engines.repartition_cluster import (
    CLOSED,
    NEWEST,
    OLDEST,
    TIME,
    Plan,
    RepartitionCluster,
    Shape,
    where_of,
)
from detectors.engines.repartition_copy import LARGEST, Copying
from ingest.topics import REPARTITION, before, faults

TOPICS: Final = Topics()
ANEW: Final = (TOPICS.events, TOPICS.state, TOPICS.sources)
STILL_SECONDS: Final = 2.0
"""Without a new record for so long after it was closed, nothing is under way any more."""
ROUND_SECONDS: Final = 5.0
"""A copy of what came meanwhile that takes no longer than this is the last one before closing."""
MOST_UNTOLD: Final = 50_000
"""Workers that have more to walk would keep the topic closed for long."""
LOOK_SECONDS: Final = 0.25
TELL_SECONDS: Final = 10.0
_KEPT: Final = ("retention.ms", "retention.bytes")
_EVER: Final = str(2**63 - 1)


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
        self._records = self._damaged = 0
        self._told = -TELL_SECONDS

    def outlook(self) -> list[str]:
        """What `run` will do, for a person to agree; raises `EngineError` where it would refuse."""
        with self._reader() as reader:
            plan = self._cluster.plan(reader)
        if plan is not None and plan.phase != "copying":
            self._same(plan)
            return [f"go on with the repartitioning to {plan.partitions} partitions ({plan.phase})"]
        if plan is None:
            self._look()
        old = self._cluster.shape(TOPICS.events).partitions
        size = self._cluster.size(TOPICS.events)
        room = "of a size that is not told" if size is None else f"{size / 1e6:,.0f} MB"
        target, anew = before(self._partitions), ", ".join(ANEW)
        copy = f"copy {TOPICS.events} ({old} partitions, {room}) into {target}, which takes "
        copy += "about as much again for as long as events are kept"
        close = (
            f"close {TOPICS.events}: receivers keep what comes; wait up to {self._patience:g} s "
        )
        close += f"until all is told and you have stopped the workers of group {self._group}"
        switch = f"delete {anew}; make them anew for {self._partitions} partitions; open after "
        return [copy, close, f"{switch}{self._hold:g} s"]

    def run(self) -> Done:
        """Do it, or what is left of it. After any failure another run goes on."""
        begun = monotonic()
        with self._reader() as reader:
            plan = self._cluster.plan(reader)
            if plan is None:
                self._look()
            elif plan.phase == "switching" and not self._is_as_copied(plan, reader):
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

    def _same(self, plan: Plan) -> None:
        if plan.partitions != self._partitions:
            msg = (
                f"--partitions: one to {plan.partitions} is unfinished, which must come to its "
                f"end first; given {self._partitions}"
            )
            raise EngineError(msg)

    def _look(self) -> None:
        """Raise `EngineError` unless a new one may begin."""
        existing = self._cluster.existing()
        existing.pop(REPARTITION, None)  # without a plan in it: nothing was begun
        if wrong := faults(existing, ANEW):
            raise EngineError("; ".join(wrong))
        given = existing[TOPICS.events].partitions
        if given == self._partitions:
            msg = f"{TOPICS.events}: it has {given} partitions already"
            raise EngineError(msg)
        with self._reader() as reader:
            untold = self._untold(reader)
        if untold and not self._cluster.members(self._group):
            raise EngineError(self._nobody_tells(untold))

    def _nobody_tells(self, untold: int) -> str:
        return (
            f"group {self._group}: {untold:,} records of {TOPICS.events} and {TOPICS.sources} are "
            "not told, and no worker runs; start its workers, or name their group with --group: "
            "they run on until this command asks to stop them"
        )

    def _begin(self, found: Plan | None) -> Plan:
        """A plan, with what an earlier run left taken back."""
        if found is not None:
            self._say("an earlier run was interrupted while it copied: it is begun anew")
            self._open_as(found)
            self._cluster.delete([before(found.partitions)])
        self._cluster.delete([REPARTITION])
        if found is not None:
            self._look()
        shapes = {name: self._cluster.shape(name) for name in ANEW}
        plan = Plan("copying", self._partitions, shapes, {})
        notes = Shape(1, shapes[TOPICS.events].replication, {"retention.ms": "-1"})
        self._cluster.make(REPARTITION, notes)
        self._cluster.write_plan(plan)
        return plan

    def _copy(self, plan: Plan, reader: LogReader) -> tuple[float, Plan]:
        """Copy all; when nobody could publish any more, and the plan to go on with."""
        events = plan.shapes[TOPICS.events]
        older = before(events.partitions)
        topics = [*(self._cluster.partitions([older])), TOPICS.events]
        target = before(plan.partitions)
        self._cluster.delete([target])
        self._cluster.make(target, _history(events, plan.partitions))
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
                kept = {name: events.settings.get(name) for name in _KEPT}
                self._cluster.alter(target, kept)
                plan = replace(plan, phase="switching", ends=_of_events(ends))
                self._cluster.write_plan(plan)
                if not self._is_as_copied(plan, reader):
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
            ends = reader.ends(wheres)
            begun = monotonic()
            copying.copy(ends)
            slow = monotonic() - begun > ROUND_SECONDS
            untold = self._untold(reader)
            if untold and not self._cluster.members(self._group):
                self._now_and_then(self._nobody_tells(untold))
            elif untold > MOST_UNTOLD:
                self._now_and_then(f"waiting for the workers: {untold:,} records are not told yet")
            elif not slow:
                return
            Event().wait(LOOK_SECONDS)

    @contextmanager
    def _closed(self, plan: Plan) -> Iterator[None]:
        """Nobody can publish; what fails meanwhile opens the topic again."""
        self._cluster.alter(TOPICS.events, CLOSED)
        try:
            self._say(f"{TOPICS.events} is closed: receivers keep what comes")
            yield
        except BaseException:
            try:
                self._open_as(plan)
            except EngineError as error:
                self._say(f"{TOPICS.events} is still closed, run this again: {error}")
            raise

    def _open_as(self, plan: Plan) -> None:
        settings = plan.shapes[TOPICS.events].settings
        self._cluster.alter(TOPICS.events, {name: settings.get(name) for name in CLOSED})

    def _await_told(
        self, wheres: Sequence[TopicPartition], reader: LogReader
    ) -> dict[TopicPartition, int]:
        """The ends, when all is told, nobody publishes, and the workers are stopped."""
        begun = since = monotonic()
        last: dict[TopicPartition, int] = {}
        self._told = -TELL_SECONDS
        while True:
            ends = reader.ends(wheres)
            if ends != last:
                last, since = ends, monotonic()
            untold = self._untold(reader)
            members = self._cluster.members(self._group)
            still = monotonic() - since >= STILL_SECONDS
            if still and not untold and not members:
                return ends
            if untold and not members:
                raise EngineError(self._nobody_tells(untold))
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
                    f"{TOPICS.events}: after {self._patience:g} s still: {what}; it is open again, "
                    "nothing is lost, and this command begins anew"
                )
                raise EngineError(msg)
            Event().wait(LOOK_SECONDS)

    def _switch(self, plan: Plan) -> Plan:
        """Delete the old topics and make the new ones, closed."""
        if members := self._cluster.members(self._group):
            msg = f"group {self._group}: stop its {members} workers, and run this again"
            raise EngineError(msg)
        self._say(f"making {', '.join(ANEW)} anew")
        self._cluster.delete(ANEW)
        shapes = {name: _anew(name, shape, plan.partitions) for name, shape in plan.shapes.items()}
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
        Event().wait(self._hold)
        self._open_as(plan)
        self._say(f"{TOPICS.events} is open")
        self._cluster.delete([before(plan.shapes[TOPICS.events].partitions)])
        self._cluster.delete([REPARTITION])

    def _is_as_copied(self, plan: Plan, reader: LogReader) -> bool:
        """Whether the old events, if they are still there, were closed all the time."""
        if (there := self._cluster.existing().get(TOPICS.events)) is None:
            return True
        if there.partitions == plan.partitions:
            return True  # they are the new ones
        ends = _of_events(reader.ends(where_of(TOPICS.events, there.partitions)))
        return there.settings[TIME] == CLOSED[TIME] and ends == plan.ends

    def _untold(self, reader: LogReader) -> int:
        """How many records the group has yet to tell or to judge."""
        untold = 0
        for topic in (TOPICS.events, TOPICS.sources):
            for where in where_of(topic, reader.partitions(topic) or 0):
                found = reader.bounds(*where)
                at = found.committed
                untold += found.end - (found.begin if at is None or at > found.end else at)
        return untold

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


def _history(events: Shape, partitions: int) -> Shape:
    """The topic of the copy: with the old times, and kept whole until all of it is there."""
    settings = {
        **events.settings,
        TIME: "CreateTime",
        OLDEST: _EVER,
        NEWEST: _EVER,
        "cleanup.policy": "delete",
        "max.message.bytes": str(LARGEST),
        **dict.fromkeys(_KEPT, "-1"),
    }
    return Shape(partitions, events.replication, settings)


def _anew(name: str, old: Shape, partitions: int) -> Shape:
    """The new topic of that name: the events closed, of the sources no more than of the events."""
    if name == TOPICS.sources:
        return replace(old, partitions=min(old.partitions, partitions))
    settings = {**old.settings, **CLOSED} if name == TOPICS.events else old.settings
    return replace(old, partitions=partitions, settings=settings)


def _of_events(ends: Mapping[TopicPartition, int]) -> dict[str, int]:
    return {str(at.partition): end for at, end in ends.items() if at.topic == TOPICS.events}
