"""Detection of what several senders share, over all partitions: a core fed with observations.

It is a core like the others, with detectors whose tables are keyed by a network instead of a
sender. Observations of the partitions are merged in the order of stream time (then partition, then
place), and one is fed only when no partition can still bring an earlier one: so neither the cuts of
batches nor the pace of workers changes what is found. Its clock is the least of theirs. Between
different partitionings the same incidents are found, not the same opening event.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from alerts.alert import Alert
from alerts.correlate import Correlator
from detectors.batch import Decoder, EventBatch, ReportAt
from detectors.config import Config
from detectors.core import Core, Outcome
from detectors.errors import StateError
from detectors.observer import Observation
from detectors.snapshot import pack, unpack
from ingest.control import Control

MOST_WAITING: Final = 1 << 18
"""Observations that wait for a slower partition; beyond it the earliest go on without it."""
MOST_BYTES: Final = 1 << 27
"""The same for the bytes of their events."""
CHUNK: Final = 1 << 13
"""Observations that are walked at a time."""
EVER: Final = 2**62


class SharedCore:
    """The shared detectors, with the observations that wait for their turn.

    ``add``, ``reach`` and ``forget`` say what is told, in its order; ``flush`` walks what they have
    made ready. When it is flushed changes nothing.
    """

    def __init__(self, config: Config, core: Core | None = None) -> None:
        self.core = core or Core(config, shared=True)
        self._decoder = Decoder(config)
        self._waiting: list[Observation] = []
        self._bytes = 0  # of what is waiting
        self._ready: list[Observation] = []
        self._marks: dict[int, int] = {}
        """Of each partition of events: the stream time that it has reached."""

    def add(self, one: Observation) -> None:
        """Take an observation; its partition tells nothing earlier from now on."""
        heapq.heappush(self._waiting, one)
        self._bytes += len(one.value)
        self.reach(one.partition, one.now)

    def reach(self, partition: int, now: int) -> None:
        """Let a partition come so far. One that never did is not waited for."""
        self._marks[partition] = max(now, self._marks.get(partition, now))
        self._release(min(self._marks.values()))

    def forget(self, partition: int) -> None:
        """Do not wait for this partition until it is heard of again."""
        self._marks.pop(partition, None)
        self._release(min(self._marks.values(), default=-EVER))

    def flush(self) -> list[Alert]:
        """Walk what is ready, then let time run to where all partitions have come."""
        alerts: list[Alert] = []
        ready, self._ready = self._ready, []
        for start in range(0, len(ready), CHUNK):
            chunk = ready[start : start + CHUNK]
            batch = self._decoder.values([one.value for one in chunk]).batch
            times = [chunk[place].now for place in batch.index]
            alerts += self.core.feed_merged(batch, times).alerts
        reached, now = min(self._marks.values(), default=-EVER), self.core.stream_time_us
        if now is not None and reached > now:
            alerts += self.core.finish(reached).alerts
        return alerts

    def take(
        self, observations: Iterable[Observation], marks: Mapping[int, int] | None = None
    ) -> list[Alert]:
        """Take observations, let partitions reach stream times; return what that brings to light.

        ``marks`` must name every partition that may still bring something.
        """
        reached = dict(marks or {})
        for partition in reached:
            self._marks.setdefault(partition, -EVER)  # it may bring something earlier than these
        for one in observations:
            self.add(one)
        for partition, now in reached.items():
            self.reach(partition, now)
        return self.flush()

    def finish(self, until_us: int | None = None) -> list[Alert]:
        """Nothing more comes: feed what waits, and let ticks run to the end."""
        self._release(EVER)
        alerts = self.flush()
        last = max(self._marks.values(), default=None)
        ends = [t for t in (last, until_us) if t is not None]
        return alerts + self.core.finish(max(ends) if ends else None).alerts

    def _release(self, before: int) -> None:
        """Make ready what is earlier than ``before``; at that time others may still come."""
        while self._waiting and (
            self._waiting[0].now < before
            or len(self._waiting) > MOST_WAITING
            or self._bytes > MOST_BYTES
        ):
            one = heapq.heappop(self._waiting)
            self._bytes -= len(one.value)
            self._ready.append(one)

    def snapshot(self) -> bytes:
        """Return the whole state as bytes, with a checksum; after a flush."""
        header = {
            "waiting": [
                [one.now, one.partition, one.place, one.key, one.value.decode()]
                for one in sorted(self._waiting)
            ],
            "marks": sorted(self._marks.items()),
        }
        return pack(header, {"core": np.frombuffer(self.core.snapshot(), np.uint8)})

    @staticmethod
    def restore(config: Config, data: bytes) -> SharedCore:
        """Return the shared core that made the snapshot; StateError where it does not fit."""
        header, arrays = unpack(data)
        try:
            shared = SharedCore(config, Core.restore(config, arrays["core"].tobytes()))
            shared._waiting = [
                Observation(now, partition, place, key, value.encode())
                for now, partition, place, key, value in header["waiting"]
            ]
            shared._bytes = sum(len(one.value) for one in shared._waiting)
            shared._marks = dict(header["marks"])
        except (KeyError, ValueError, TypeError) as error:
            msg = f"snapshot: does not fit this version's shared state: {error!r}"
            raise StateError(msg) from None
        return shared


class Partitions:
    """All partitions of a stream in one process, and what they share."""

    def __init__(self, config: Config, count: int = 1) -> None:
        self.config = config
        self.cores = [Core(config, p) for p in range(count)]
        self.shared = SharedCore(config)
        self.correlator = Correlator()
        """For who shows alerts to people: it takes them by time, of all partitions together."""

    def feed_log(
        self,
        partition: int,
        values: Sequence[bytes],
        offsets: Sequence[int],
        broker_times_us: Sequence[int],
    ) -> Outcome:
        """Take records of one partition's log, in log order."""
        return self._shared(self.cores[partition].feed_log(values, offsets, broker_times_us))

    def feed_sorted(
        self,
        partition: int,
        batch: EventBatch,
        controls: Sequence[tuple[int, Control]] = (),
        reports: Sequence[ReportAt] = (),
    ) -> Outcome:
        """Take records of one partition that were decoded and sorted by time before."""
        return self._shared(self.cores[partition].feed_sorted(batch, controls, reports))

    def _shared(self, outcome: Outcome) -> Outcome:
        reached = {core.partition: core.stream_time_us for core in self.cores}
        marks = {p: -EVER if now is None else now for p, now in reached.items()}
        found = self.shared.take(outcome.observations, marks)
        return replace(outcome, alerts=outcome.alerts + found) if found else outcome

    def finish(self, until_us: int | None = None) -> list[Alert]:
        """Let ticks run to the end of a finite input: its last event, or ``until_us``."""
        alerts = [alert for core in self.cores for alert in core.finish(until_us).alerts]
        return alerts + self.shared.finish(until_us)

    def snapshot(self) -> bytes:
        """Return the whole state as bytes, with a checksum."""
        states = {f"core{core.partition}": core.snapshot() for core in self.cores}
        states["shared"] = self.shared.snapshot()
        states["correlator"] = json.dumps(self.correlator.snapshot()).encode()
        arrays = {name: np.frombuffer(state, np.uint8) for name, state in states.items()}
        return pack({"partitions": len(self.cores)}, arrays)

    @staticmethod
    def restore(config: Config, data: bytes) -> Partitions:
        """Return what made the snapshot; StateError where it does not fit."""
        header, arrays = unpack(data)
        states = {name: array.tobytes() for name, array in arrays.items()}
        cores = {f"core{p}" for p in range(header.get("partitions", -1))}
        if set(states) != {"shared", "correlator"} | cores:
            msg = "snapshot: not of all partitions of a local run"
            raise StateError(msg)
        found = Partitions(config, 0)
        found.cores = [
            Core.restore(config, states[f"core{p}"]) for p in range(header["partitions"])
        ]
        found.shared = SharedCore.restore(config, states["shared"])
        found.correlator.restore(json.loads(states["correlator"]))
        return found
