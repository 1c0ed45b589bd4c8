"""What people try first, on the very same events: detectors have to be better than these.

Each reads the decoded columns, learns from the history as ours do, and says which sender it finds
remarkable. What one says again about a sender within an hour is one alert, so that nobody is judged
by the number of his repetitions.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt
from typing import Any, Final, Protocol

import numpy.typing as npt

from detectors.event import HOUR, MINUTE, REJECTED

SPOOF: Final = "spoofed-source"
REPLAY: Final = "replay-burst"
FAILURES: Final = "signature-failure-spike"
VOLUME: Final = "payload-volume"
QUIET_FOR: Final = HOUR


@dataclass(frozen=True)
class Said:
    """An opinion: when, about which sender (its key), and which of our detectors would say it."""

    at: int
    sender: int
    detector: str
    event: int
    """Place in the batch of the event that it was said about."""


class Naive(Protocol):
    """One naive detector with its memory."""

    name: str
    covers: frozenset[str]

    def walk(self, events: npt.NDArray[Any]) -> Iterator[Said]:
        """Reads events in order, and says what it finds."""


def fresh() -> list[Naive]:
    """All naive detectors, knowing nothing."""
    return [FixedThreshold(), ZScore(), ExactAddress(), SameSignature(), River()]


def merged(said: Iterator[Said], last: dict[tuple[int, str], int]) -> Iterator[Said]:
    """Opinions without their repetitions; ``last`` remembers when each was voiced."""
    for one in said:
        key = (one.sender, one.detector)
        before = last.get(key)
        last[key] = one.at
        if before is None or one.at - before > QUIET_FOR:
            yield one


def _plain(events: npt.NDArray[Any], *names: str) -> Iterator[tuple[int, ...]]:
    return zip(*(events[name].tolist() for name in names), strict=True)


class FixedThreshold:
    """Ten refused calls in ten minutes, a thousand calls in an hour, a body of a megabyte."""

    name = "fixed threshold"
    covers = frozenset({FAILURES, VOLUME})

    def __init__(self) -> None:
        self._refused: dict[int, deque[int]] = defaultdict(deque)
        self._hour: dict[int, tuple[int, int]] = {}

    def walk(self, events: npt.NDArray[Any]) -> Iterator[Said]:
        """Counts."""
        columns = _plain(events, "t", "sender", "verdict", "body_bytes")
        for n, (t, sender, verdict, size) in enumerate(columns):
            if verdict == REJECTED:
                times = self._refused[sender]
                times.append(t)
                while times[0] < t - 10 * MINUTE:
                    times.popleft()
                if len(times) >= 10:
                    yield Said(t, sender, FAILURES, n)
            hour, count = self._hour.get(sender, (0, 0))
            count = count + 1 if hour == t // HOUR else 1
            self._hour[sender] = (t // HOUR, count)
            if count == 1000 or size >= 1_000_000:
                yield Said(t, sender, VOLUME, n)


class _Moments:
    """Mean and deviation of everything so far (Welford)."""

    __slots__ = ("count", "mean", "sum")

    def __init__(self) -> None:
        self.count, self.mean, self.sum = 0, 0.0, 0.0

    def z(self, x: float, least: int) -> float:
        """Deviations above the mean; 0 before there are enough values."""
        if self.count < least:
            return 0.0
        spread = sqrt(self.sum / self.count)
        return (x - self.mean) / spread if spread > 0 else 0.0

    def add(self, x: float) -> None:
        self.count += 1
        step = x - self.mean
        self.mean += step / self.count
        self.sum += step * (x - self.mean)


class ZScore:
    """Three deviations above the sender's mean: size of a body, calls and refusals of an hour."""

    name = "z-score"
    covers = frozenset({FAILURES, VOLUME})

    def __init__(self) -> None:
        self._sizes: dict[int, _Moments] = defaultdict(_Moments)
        self._calls: dict[int, _Moments] = defaultdict(_Moments)
        self._refusals: dict[int, _Moments] = defaultdict(_Moments)
        self._hour: dict[int, list[int]] = {}

    def walk(self, events: npt.NDArray[Any]) -> Iterator[Said]:
        """Compares with all that came before."""
        columns = _plain(events, "t", "sender", "verdict", "body_bytes")
        for n, (t, sender, verdict, size) in enumerate(columns):
            sizes = self._sizes[sender]
            if sizes.z(size, 30) > 3:
                yield Said(t, sender, VOLUME, n)
            sizes.add(size)
            hour = self._hour.setdefault(sender, [t // HOUR, 0, 0])
            while hour[0] < t // HOUR:  # hours without calls count as well
                self._calls[sender].add(hour[1])
                self._refusals[sender].add(hour[2])
                hour[:] = [hour[0] + 1, 0, 0]
            hour[1] += 1
            hour[2] += verdict == REJECTED
            if self._calls[sender].z(hour[1], 24) > 3:
                yield Said(t, sender, VOLUME, n)
            if verdict == REJECTED and self._refusals[sender].z(hour[2], 24) > 3:
                yield Said(t, sender, FAILURES, n)


class ExactAddress:
    """An address from which the sender has never called."""

    name = "exact-IP novelty"
    covers = frozenset({SPOOF})

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()

    def walk(self, events: npt.NDArray[Any]) -> Iterator[Said]:
        """Remembers every address."""
        for n, (t, sender, address) in enumerate(_plain(events, "t", "sender", "address")):
            if sender and (sender, address) not in self._known:
                self._known.add((sender, address))
                yield Said(t, sender, SPOOF, n)


class SameSignature:
    """A signature that was seen before is a replay."""

    name = "same signature = replay"
    covers = frozenset({REPLAY})

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def walk(self, events: npt.NDArray[Any]) -> Iterator[Said]:
        """Remembers every signature."""
        for n, (t, sender, unit) in enumerate(_plain(events, "t", "sender", "unit")):
            if not unit:
                continue
            if (sender, unit) in self._seen:
                yield Said(t, sender, REPLAY, n)
            self._seen.add((sender, unit))


class River:
    """river's own: a Gaussian scorer on sizes and on calls an hour, Page-Hinkley on refusals."""

    name = "river"
    covers = frozenset({FAILURES, VOLUME})

    def __init__(self) -> None:
        self._of: dict[int, tuple[Any, Any, Any, list[int]]] = {}

    def walk(self, events: npt.NDArray[Any]) -> Iterator[Said]:
        """Scores each value before it is learned; 0.9999 is the scorer's two-sided tail."""
        from river import anomaly, drift

        columns = _plain(events, "t", "sender", "verdict", "body_bytes")
        for n, (t, sender, verdict, size) in enumerate(columns):
            mine = self._of.get(sender)
            if mine is None:
                mine = self._of[sender] = (
                    anomaly.GaussianScorer(window_size=None, grace_period=100),
                    anomaly.GaussianScorer(window_size=None, grace_period=24),
                    drift.PageHinkley(mode="up"),
                    [t // HOUR, 0],
                )
            sizes, calls, refusals, hour = mine
            value = log(1 + size)
            if sizes.score_one(None, value) > 0.9999:
                yield Said(t, sender, VOLUME, n)
            sizes.learn_one(None, value)
            while hour[0] < t // HOUR:
                calls.learn_one(None, hour[1])
                hour[:] = [hour[0] + 1, 0]
            hour[1] += 1
            if calls.score_one(None, hour[1]) > 0.9999:
                yield Said(t, sender, VOLUME, n)
            refusals.update(float(verdict == REJECTED))
            if refusals.drift_detected:
                yield Said(t, sender, FAILURES, n)
