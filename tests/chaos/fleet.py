"""The workers of a case, as a supervisor runs them, and what their lines say of who owned what."""

import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import time
from typing import Final, NamedTuple

from tests.integration.pipeline import EVENTS, PARTITIONS, SOURCES, Pipeline, Process, wait_until

LINE: Final = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) [A-Z]+ ([a-z]+\.[a-z_]+)(.*)$")
FIELD: Final = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
ALL: Final = frozenset({f"{EVENTS}/{each}" for each in range(PARTITIONS)} | {f"{SOURCES}/0"})

STOPPED_SECONDS: Final = 20.0
SAVE_SECONDS: Final = (0.5, 5.0)
"""Checkpoints of one worker and the next: so kills fall into them, and find much to walk again."""


class Line(NamedTuple):
    """A line that a worker wrote, and when."""

    at: float
    what: str
    fields: dict[str, str]

    @property
    def partitions(self) -> list[str]:
        """The partitions that it names."""
        named = self.fields.get("partitions") or self.fields.get("partition") or "none"
        return [] if named == "none" else named.split(",")


def lines_of(text: str) -> Iterator[Line]:
    """The worker's own lines; tracebacks and what libraries say are left out."""
    for each in text.splitlines():
        if found := LINE.match(each):
            at = datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007
            yield Line(at, found[2], dict(FIELD.findall(found[3])))


@dataclass
class Member:
    """One worker process from its start to its end."""

    process: Process
    started: float
    ended: float | None = None

    def lines(self) -> list[Line]:
        """What it has said."""
        return list(lines_of(self.process.text()))

    def holds(self) -> tuple[set[str], set[str]]:
        """What it was given last, and what of that it has restored."""
        given: set[str] = set()
        ready: set[str] = set()
        for line in self.lines():
            if line.what == "partitions.assigned":
                given, ready = set(line.partitions), set()
            elif line.what == "partitions.released":
                given -= set(line.partitions)
                ready -= set(line.partitions)
            elif line.what == "partition.ready":
                ready |= set(line.partitions) & given
        return given, ready

    def owned(self) -> Iterator[tuple[str, float, float]]:
        """Partitions with from when to when it worked on them."""
        since: dict[str, float] = {}
        last = self.started
        for line in self.lines():
            last = line.at
            if line.what == "partition.ready":
                since.setdefault(line.partitions[0], line.at)
                continue
            going: Iterable[str] = ()
            if line.what == "partitions.assigned":
                going = list(since)
            elif line.what == "partitions.released":
                going = line.partitions
            for each in going:
                if each in since:
                    yield each, since.pop(each), line.at
        end = self.ended if self.ended is not None else last
        for each, begin in since.items():
            yield each, begin, end


@dataclass
class Fleet:
    """Workers of one group; those that were killed are remembered for their lines."""

    pipeline: Pipeline
    members: list[Member] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    """More options of each worker."""

    @property
    def live(self) -> list[Member]:
        """Those that have not been ended."""
        return [each for each in self.members if each.ended is None]

    def start(self, count: int = 1) -> None:
        """Start so many more."""
        for _ in range(count):
            every = SAVE_SECONDS[len(self.members) % len(SAVE_SECONDS)]
            process = self.pipeline.worker(*self.arguments, checkpoint_every=every)
            self.members.append(Member(process, time()))

    def kill(self, which: int) -> None:
        """End one as a power cut would."""
        member = self.live[which % len(self.live)]
        member.process.kill()
        member.ended = time()

    def stop(self, which: int = 0) -> None:
        """End one in order; fails unless it says that it has saved everything.

        One that has not started yet, and so holds nothing, may end as any program does.
        """
        member = self.live[which % len(self.live)]
        code = member.process.terminate(within=STOPPED_SECONDS, number=signal.SIGTERM)
        member.ended = time()
        is_early = code == -signal.SIGTERM and "worker.started" not in member.process.text()
        if code != 0 and not is_early:
            msg = f"a worker ended with code {code}:\n{member.process.text()[-4000:]}"
            raise AssertionError(msg)

    def stop_all(self) -> None:
        """End all in order."""
        while self.live:
            self.stop()

    def check(self) -> bool:
        """Fail if one has ended by itself."""
        for each in self.live:
            each.process.check()
        return True

    def replace_ended(self) -> list[str]:
        """Start those again that have ended by themselves, as a supervisor does; their messages."""
        said = []
        for each in self.live:
            if (code := each.process.poll()) is not None:
                each.ended = time()
                failed = [line for line in each.lines() if line.what == "worker.failed"]
                message = failed[-1].fields.get("error", "") if failed else ""
                if code != 1 or not message:
                    each.process.check()
                said.append(message)
                self.start()
        return said

    def wait_until_settled(self, seconds: float = 90.0) -> float:
        """Wait until all partitions are restored, each by one, and all have a share; seconds."""
        begin = time()
        wait_until(f"all partitions restored by {len(self.live)} workers", self._settled, seconds)
        return time() - begin

    def _settled(self) -> bool:
        self.check()
        held = [member.holds() for member in self.live]
        every = [each for given, _ in held for each in given]
        return (
            sorted(every) == sorted(ALL)
            and all(given == ready for given, ready in held)
            and all(given for given, _ in held)
        )

    def said(self, what: str) -> list[Line]:
        """The lines of that name, of all workers that ever ran."""
        return [line for member in self.members for line in member.lines() if line.what == what]


def absences(members: Sequence[Member]) -> list[float]:
    """For how long partitions had no worker, between their first and their last; seconds."""
    spells: dict[str, list[tuple[float, float]]] = {}
    for member in members:
        for where, begin, end in member.owned():
            spells.setdefault(where, []).append((begin, end))
    found = []
    for owned in spells.values():
        reached = None
        for begin, end in sorted(owned):
            if reached is not None and begin > reached:
                found.append(begin - reached)
            reached = end if reached is None else max(reached, end)
    return found
