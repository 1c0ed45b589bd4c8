"""What pipeline-health is set by, counts and remembers: plain records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import param
from ingest.schema import Report


@dataclass(frozen=True)
class Params:
    """Numbers that a configuration may set."""

    silent_s: float = param(
        300.0, unit="s", low=120.0, high=86400.0, why="five reports in a row are missing"
    )
    least_reports: float = param(
        10.0, unit="reports", low=1, high=1e4, why="a short job that ends is no silence"
    )
    lost_share: float = param(
        0.01, unit="share", low=0.0, high=1.0, why="baselines bear less than a hundredth"
    )
    least_lost: float = param(
        20.0, unit="events", low=1, high=1e9, why="single events are lost at every restart"
    )
    late_s: float = param(
        300.0, unit="s", low=1.0, high=86400.0, why="runs and windows are minutes long"
    )
    bad_share: float = param(
        0.05, unit="share", low=0.0, high=1.0, why="of records that are late, or no events"
    )
    least_bad: float = param(
        100.0, unit="records", low=1, high=1e9, why="a queue that drains once is no trouble"
    )
    least_new: float = param(
        1000.0, unit="senders", low=1, high=1e9, why="new senders in an hour; below, room is ample"
    )
    new_factor: float = param(
        3.0, unit="", low=1.0, high=1000.0, why="times the third largest hour of seven days"
    )
    known_share: float = param(
        0.2, unit="share", low=0.0, high=10.0, why="large fleets gain many senders in an hour"
    )
    least_evicted: float = param(
        100.0, unit="senders", low=1, high=1e9, why="a table that is just full turns few over"
    )
    misplaced_share: float = param(
        0.05, unit="share", low=0.0, high=1.0, why="a wrong partitioner misplaces most"
    )
    ranges_days: float = param(
        180.0, unit="days", low=1, high=36500, why="address lists change a few times a year"
    )
    facts_days: float = param(
        720.0, unit="days", low=1, high=36500, why="schemes and schedules change in years"
    )
    close_after_s: float = param(
        3600.0, unit="s", low=60.0, high=7 * 86400.0, why="longer than most faults pause"
    )


@dataclass
class Counts:
    """What passed in some stretch of stream time."""

    scored: int = 0
    late: int = 0
    refused: int = 0
    invalid: int = 0
    controls: int = 0
    new: int = 0
    evicted: int = 0
    new_rejected: int = 0
    checked: int = 0
    misplaced: int = 0
    damaged: int = 0
    unkeyed: int = 0
    """Control records that came while there was no control key."""

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = vars(self), vars(other)
        return Counts(*(mine[name] + theirs[name] for name in mine))


@dataclass(frozen=True)
class Passage:
    """What came by in a batch, in order, beside the events that are scored."""

    times: NDArray[np.int64]
    """Stream time at each record that was accepted or refused for its time."""
    reports: Sequence[tuple[int, Report]]
    """At which of ``times``, and what."""
    faults: Sequence[tuple[int, str]]
    """How many of ``times`` come before it, and its code."""

    def split(self, n: int) -> tuple[Passage, Passage]:
        """Return what came with the first n of ``times``, and the rest."""
        early = [one for one in self.reports if one[0] < n]
        late = [(at - n, report) for at, report in self.reports if at >= n]
        before = [one for one in self.faults if one[0] <= n]
        after = [(at - n, code) for at, code in self.faults if at > n]
        return Passage(self.times[:n], early, before), Passage(self.times[n:], late, after)


@dataclass(frozen=True)
class Scored:
    """The events of a batch that are scored, and their senders' rows."""

    columns: NDArray[Any]
    t: NDArray[np.int64]
    who: NDArray[np.int64]
    now: NDArray[np.int64]
    position: NDArray[np.int64]
    fresh: NDArray[np.int8]
    sender: Callable[[int], str]


@dataclass
class Open:
    """An incident, as far as it decides what is told next."""

    number: int
    until: int
    count: int = 0
    severity: int = 0


@dataclass
class SlotClock:
    """Where in stream time the watch is; microseconds."""

    slot: int = -1
    """The running slot; -1 before the first record."""
    now: int = 0
    active: int = 0
    """Stream time in which records came, at most a minute for each."""
    judged: int = 0
    soon: int = 0
    """A tick at which to judge before the slot ends; 0 = none."""
    day: int = 0
