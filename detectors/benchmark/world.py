"""The world that a simulated fleet lives in: seed, span of time, changes, and shared words."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from detectors.benchmark.arrivals import Span
from detectors.benchmark.changes import Change
from detectors.benchmark.columns import Vocabulary
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.fleet import FLEET
from detectors.benchmark.providers import BEHAVIOURS, Behaviour
from detectors.benchmark.senders import Sender


@dataclass(frozen=True)
class World:
    """Everything that decides the traffic; equal worlds give equal bytes.

    Attributes:
        seed: what all chance comes from.
        span: the stretch of time whose traffic is made.
        fleet: who calls.
        changes: what befalls them.
        calendar: the time over which addresses, builds and deploys run, where it is longer than
            the span: a history and what follows it are two worlds with one calendar.
        phase: tells such worlds apart, so that the second does not draw what the first has drawn.
    """

    seed: int
    span: Span
    fleet: tuple[Sender, ...] = FLEET
    changes: tuple[Change, ...] = ()
    calendar: Span | None = None
    phase: str = ""
    words: Vocabulary = field(default_factory=Vocabulary, compare=False)

    def __post_init__(self) -> None:
        if self.span.end <= self.span.start:
            msg = f"world: the span must end after {self.span.start}, given {self.span.end}"
            raise BenchmarkError(msg)
        names = {sender.name for sender in self.fleet}
        for change in self.changes:
            if change.sender not in names:
                msg = (
                    f"world: a change names the sender {change.sender!r}, which is not in the fleet"
                )
                raise BenchmarkError(msg)

    def chance(self, *purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose: a new sender does not change the others."""
        return self.lasting(*purpose, *([self.phase] if self.phase else []))

    def lasting(self, *purpose: str) -> np.random.Generator:
        """The same for what outlives a phase: addresses, builds, deploys."""
        names = [zlib.crc32(text.encode()) for text in purpose]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, *names])))

    @property
    def years(self) -> Span:
        """The calendar; without one of its own, the span."""
        return self.calendar or self.span

    def sender(self, name: str) -> Sender:
        """The sender of that name."""
        return self.fleet[self.place(name)]

    def place(self, name: str) -> int:
        """The place of a sender in the fleet, as rows name it."""
        for place, sender in enumerate(self.fleet):
            if sender.name == name:
                return place
        msg = f"world: no sender {name!r} in the fleet"
        raise BenchmarkError(msg)


def behaviour(sender: Sender) -> Behaviour:
    """What the sender's provider does with a delivery."""
    found = BEHAVIOURS.get(sender.provider)
    if found is None:
        msg = (
            f"sender {sender.name}: provider must be one of {', '.join(sorted(BEHAVIOURS))}, "
            f"given {sender.provider!r}"
        )
        raise BenchmarkError(msg)
    return found
