"""The fixed stream that every case plays: a simulated fleet with attacks on every day.

It depends on the seed and the number of events alone. When it is published is as fixed: a steady
pace, and every few seconds a burst.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import msgspec
import numpy as np

from detectors.benchmark import attacks
from detectors.benchmark.arrivals import DAY, HOUR, Span
from detectors.benchmark.columns import Rows, in_order
from detectors.benchmark.day import MIDNIGHT
from detectors.benchmark.jsonl import render
from detectors.benchmark.staged_attacks import ATTACKS, hard_rotation
from detectors.benchmark.staged_traps import changes, redelivery
from detectors.benchmark.traffic import benign
from detectors.benchmark.world import World
from ingest.partition import record_key_of
from ingest.prefix import source_prefix
from ingest.schema import UNKNOWN_SENDER

PER_DAY: Final = 22_000
"""Less than the fleet sends in a day: so many days are made that there are enough events."""
CALM_DAYS: Final = 1
"""Without attacks, at the start: there is nothing to stand out from before."""
PIECE: Final = 2_000
SEARCHER: Final = attacks.Attacker(("198.51.100.0/25",), (64509,), used=1)
TRIED: Final = 40
"""Senders that are tried one after the other: seen by what the partitions share alone."""


class _Named(msgspec.Struct):
    sender: str
    source_ip: str


class Record(NamedTuple):
    """What a receiver would have published."""

    key: bytes
    value: bytes


@dataclass(frozen=True)
class Stream:
    """Events in order of time."""

    rows: Rows
    world: World

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Record]:
        decoder = msgspec.json.Decoder(_Named)
        for piece in render(self.rows, self.world.words, chunk=PIECE):
            for line in piece.splitlines():
                yield Record(_key(decoder.decode(line)), line)


def stream(events: int, seed: int) -> Stream:
    """The last `events` of as many days as it takes, the attacks of each drawn anew."""
    days = CALM_DAYS + 1 + events // PER_DAY
    span = Span(MIDNIGHT - days * DAY, MIDNIGHT + DAY)
    world = World(seed, span, changes=changes(MIDNIGHT))
    rows = benign(world)
    # A rotation adds nothing to the benign rows, and happens on the last day alone.
    stages = [stage for stage in (*ATTACKS, redelivery) if stage is not hard_rotation]
    added = [
        stage(replace(world, seed=seed + day), rows, MIDNIGHT + (day - days) * DAY)[0]
        for day in range(CALM_DAYS, days + 1)
        for stage in stages
    ]
    added += [
        _search(
            replace(world, seed=seed + day + 1000 * hour),
            MIDNIGHT + (day - days) * DAY + hour * HOUR,
        )
        for day in range(CALM_DAYS, days + 1)
        for hour in (2, 12, 22)
    ]
    everything = in_order(np.concatenate([rows, *added]))
    everything = everything[everything["at"] < span.end]
    if len(everything) < events:
        msg = f"the fleet makes {len(everything)} events in {days + 1} days (wanted: {events})"
        raise ValueError(msg)
    return Stream(everything[-events:], world)


def _search(world: World, start: int) -> Rows:
    """One network tries one sender after the other."""
    when = attacks.paced(world.chance("search", str(start)), start, TRIED, 5.0)
    tried = [sender.name for sender in world.fleet if sender.name != UNKNOWN_SENDER][:TRIED]
    return np.concatenate(
        [
            attacks.forged(world, name, SEARCHER, when[place : place + 1])
            for place, name in enumerate(tried)
        ]
    )


@dataclass(frozen=True)
class Pace:
    """When which event is due: `rate` a second, and in each tenth of a cycle `burst` times that."""

    rate: float
    burst: float = 5.0
    cycle: float = 10.0

    def due(self, seconds: float) -> int:
        """How many events are due after so many seconds.

        >>> Pace(1000).due(1), Pace(1000).due(10), Pace(1000).due(20)
        (5000, 14000, 28000)
        """
        whole, into = divmod(seconds, self.cycle)
        loud = min(into, self.cycle / 10)
        each = self.rate * self.cycle * (1 + (self.burst - 1) / 10)
        return int(whole * each + self.rate * (into + (self.burst - 1) * loud))


def _key(named: _Named) -> bytes:
    if named.sender == UNKNOWN_SENDER:
        return source_prefix(named.source_ip).encode()
    return record_key_of(named.sender)
