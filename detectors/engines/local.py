"""The local engine: events of files, pipes and frames, in one process.

Such input has no log order. So events are walked in the order of their times (stable, all inputs
together): no single bad time can blind the rest. Partitions split events as Kafka does.
"""

from __future__ import annotations

import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import Alert, to_rfc3339
from detectors.batch import EventBatch, ReportAt
from detectors.clock import LATEST
from detectors.columnar import ColumnDecoder
from detectors.config import Config
from detectors.engines.in_order import Alone, InOrder, Ordered
from detectors.engines.spool import NO_REPORTS, Reports, Spool
from detectors.event import HOUR, MINUTE
from detectors.naming import remember
from detectors.shared import Partitions
from detectors.warm import warm_up
from ingest.control import Control
from ingest.partition import partition_for, record_key, record_key_of
from ingest.sources import Lines
from ingest.tables import Table, frame_tables

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 20_000


@dataclass(frozen=True)
class BadLine:
    """A line that was not accepted."""

    where: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.code}: {self.message}"


@dataclass
class LocalResult:
    """What a run brought to light."""

    alerts: list[Alert] = field(default_factory=list)
    rejected: list[BadLine] = field(default_factory=list)
    """The first bad lines, at most ``MAX_BAD_LINES``; ``counts`` has all."""
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    read: int = 0
    seconds: float = 0.0
    state: Partitions | None = None
    """The detectors' memory at the end of the run."""

    @property
    def accepted(self) -> int:
        """Events that were scored."""
        return self.counts.get("scored", 0)

    @property
    def refused(self) -> int:
        """Lines and rows that were not accepted."""
        return sum(n for name, n in self.counts.items() if name.startswith("rejected."))


MAX_BAD_LINES = 100_000
Progress = Callable[[str, int], None]
"""Told the phase ("read", "detect") and how many events of it are done."""


def run_local(
    lines: Iterable[Lines | Table],
    config: Config,
    *,
    partitions: int = 1,
    now_us: int | None = None,
    until_us: int | None = None,
    state: Partitions | None = None,
    controls: Iterable[Control] = (),
    on_bad: Callable[[BadLine], None] | None = None,
    on_progress: Progress | None = None,
) -> LocalResult:
    """Find alerts in finite input.

    Args:
        lines: The input, in pieces: of one call of ``read_pieces`` or ``frame_tables``, since
            tables tell what comes after them.
        config: The configuration.
        partitions: Into how many partitions senders are split.
        now_us: Events later than this plus ``stream.ahead_minutes`` are refused; None: no limit.
        until_us: Let time run on to here after the last event.
        state: Go on from here; it has as many partitions. After an error it is of no use: some
            events may have been walked.
        controls: Control records beside those of the input, merged by their time ``at``: after the
            events of that time.
        on_bad: Told of each bad line at once.
        on_progress: Told how far it is.
    """
    started = time.perf_counter()
    warm_up(config)
    state = state or Partitions(config, partitions)
    result = LocalResult(state=state)
    before = [dict(core.counters) for core in (*state.cores, state.shared.core)]
    said = [*controls]
    result.read += len(said)
    walk = _Walk(state, partitions, said, on_progress)
    spool, alone = Spool(), Alone()
    try:
        events = InOrder(spool)
        for batch, piece in _read(
            lines, config, now_us, spool, state, result, on_bad, on_progress, said
        ):
            ready = events.add(batch, piece)
            alone.see(ready)
            walk.take(ready)
        rest = events.rest()
        alone.see(rest)
        result.warnings += alone.warnings()
        walk.finish(rest, spool.reports(rest.batch.buffer))
        found = walk.found() + state.finish(until_us)
        reached = [core.stream_time_us for core in state.cores]
        result.warnings += config.expired(max((t for t in reached if t is not None), default=0))
    finally:
        spool.close()
    _count(result, state, before)
    if result.refused and result.refused + len(said) == result.read:
        result.warnings.append("nothing of what was read is a valid event")
    found.sort(key=lambda alert: alert.updated_at)
    result.alerts = state.correlator.take(found)
    result.seconds = time.perf_counter() - started
    return result


def detect_frame(frame: pd.DataFrame, config: Config | None = None, **options: Any) -> list[Alert]:
    """Return the alerts of a frame whose columns are the fields of an event.

    ``options`` are those of ``run_local``, which also tells the counts. Rows that are no valid
    events are left out with a UserWarning that names the first.
    """
    return frame_result(frame, config, options, callers=2).alerts


def frame_result(
    frame: pd.DataFrame, config: Config | None, options: dict[str, Any], *, callers: int = 1
) -> LocalResult:
    """Return all that a run over a frame brought to light; see ``detect_frame``.

    A warning names the line so many callers above this function.
    """
    result = run_local(frame_tables(frame), config or Config(), **options)
    if result.rejected:
        bad = f"{result.refused:,} of {result.read:,} rows were rejected"
        text = f"{bad}; the first: {result.rejected[0]}"
        warnings.warn(text, stacklevel=callers + 1)
    return result


class _Walk:
    """Feeds the partitions with events by time, and with the control records that are due."""

    def __init__(
        self,
        state: Partitions,
        partitions: int,
        said: list[Control],
        on_progress: Progress | None,
    ) -> None:
        self._found: list[list[Alert]] = [[] for _ in range(len(state.cores) + 1)]
        """Of each partition, and of what they share: so it is no matter who came first."""
        self._shared = {detector.id for detector in state.config.shared}
        self._homes: dict[int, int] = {}
        self._state = state
        self._partitions = partitions
        self._said = said
        self._placed = 0
        """So many of ``_said``, which grows while input is read, are in a partition's list."""
        self._waiting: list[list[tuple[int, Control]]] = [[] for _ in range(partitions)]
        """Control records of each partition that are not due yet, in the order of their times."""
        self._on_progress = on_progress
        self._done = 0

    def take(self, events: Ordered) -> None:
        """Walk events after which others come."""
        if len(events):
            self._walk(events, NO_REPORTS, last=False)

    def finish(self, events: Ordered, reports: Reports) -> None:
        """Walk the last events, and with them all reports and the control records that are left."""
        self._walk(events, reports, last=True)

    def _walk(self, events: Ordered, reports: Reports, *, last: bool) -> None:
        where = self._partition_of(events)
        self._place()
        for p in range(len(self._state.cores)):
            mine = events if self._partitions == 1 else events.where(where == p)
            times = mine.times
            placed = self._due(p, times, last=last)
            for start, end, told in _chunks(times, reports):
                ends = end == len(times)
                here = [(n - start, c) for n, c in placed if start <= n and (ends or n < end)]
                placed = placed[len(here) :]
                chunk = mine.take(start, end)
                for alert in self._state.feed_sorted(p, chunk, here, told).alerts:
                    self._found[-1 if alert.detector in self._shared else p].append(alert)
                self._done += len(chunk)
                if self._on_progress is not None:
                    self._on_progress("detect", self._done)

    def found(self) -> list[Alert]:
        """Return all alerts, by partition."""
        return [alert for alerts in self._found for alert in alerts]

    def _partition_of(self, events: Ordered) -> NDArray[np.int64]:
        """Return the partition of each event: by sender; by source for those without one."""
        if self._partitions == 1:
            return np.zeros(len(events), np.int64)
        sender = events.column("sender")
        keys = np.where(sender != 0, sender, events.column("source"))
        distinct, first, member = np.unique(keys, return_index=True, return_inverse=True)
        homes = []
        for key, i in zip(distinct.tolist(), first.tolist(), strict=True):
            if (home := self._homes.get(key)) is None:
                event = events.take(i, i + 1).event(0)
                home = remember(
                    self._homes, key, partition_for(record_key(event), self._partitions)
                )
            homes.append(home)
        return np.array(homes, np.int64)[member]

    def _place(self) -> None:
        """Put the control records that were read since the last time where they belong."""
        of: dict[int, list[tuple[int, Control]]] = {}
        for control in self._said[self._placed :]:
            home = partition_for(record_key_of(control.sender), self._partitions)
            of.setdefault(home, []).append((control.at_us, control))
        self._placed = len(self._said)
        for home, more in of.items():
            self._waiting[home] = sorted(self._waiting[home] + more, key=itemgetter(0))

    def _due(
        self, partition: int, times: NDArray[np.int64], *, last: bool
    ) -> list[tuple[int, Control]]:
        """Return control records that are due, each with the event before which it takes effect.

        One for whose time another event may still come waits.
        """
        waiting = self._waiting[partition]
        due = len(waiting)
        if not last:
            due = bisect_left(waiting, times[-1], key=itemgetter(0)) if len(times) else 0
        taken, self._waiting[partition] = waiting[:due], waiting[due:]
        at = np.array([at for at, _ in taken], np.int64)
        places = np.searchsorted(times, at, side="right").tolist()
        return [(place, control) for place, (_, control) in zip(places, taken, strict=True)]


def _chunks(
    times: NDArray[np.int64], reports: Reports
) -> Iterator[tuple[int, int, list[ReportAt]]]:
    """Yield a partition's events in pieces, from where to where, and the reports in each.

    Every receiver reports to every partition, so each partition gets all reports.
    """
    n = len(times)
    if len(reports.rows) == 0:
        yield from ((e, min(e + CHUNK, n), []) for e in range(0, max(n, 1), CHUNK))
        return
    before = np.searchsorted(times, reports.times, side="right")
    of_event = np.arange(n) + np.searchsorted(before, np.arange(n), side="right")
    of_report = before + np.arange(len(before))  # where each is, were they one sequence
    for start in range(0, n + len(before), CHUNK):
        ends = (start, start + CHUNK)
        (e, to_e), (r, to_r) = (np.searchsorted(of, ends).tolist() for of in (of_event, of_report))
        yield e, to_e, reports.take(r, to_r, (before[r:to_r] - e).tolist())


def _read(
    lines: Iterable[Lines | Table],
    config: Config,
    now_us: int | None,
    spool: Spool,
    state: Partitions,
    result: LocalResult,
    on_bad: Callable[[BadLine], None] | None,
    on_progress: Progress | None,
    said: list[Control],
) -> Iterator[tuple[EventBatch, Lines | Table]]:
    """Decode everything, and name what is not accepted; yield events with their piece."""
    decoder = ColumnDecoder(config)
    last = LATEST if now_us is None else now_us + int(config.stream.ahead_minutes * MINUTE)
    seen = [core.stream_time_us for core in state.cores if core.stream_time_us is not None]
    first = min(seen) - HOUR if seen else -LATEST

    numbers: list[NDArray[np.int64]] = []  # of the piece's lines, once one of them is bad

    def refuse(piece: Lines | Table, index: int, code: str, message: str) -> None:
        name = f"rejected.{code}"
        result.counts[name] = result.counts.get(name, 0) + 1
        if not numbers:
            numbers.append(_line_numbers(piece))
        bad = BadLine(f"{piece.place}:{numbers[0][index]}", code, message)
        if len(result.rejected) < MAX_BAD_LINES:
            result.rejected.append(bad)
        if on_bad is not None:
            on_bad(bad)

    for piece in lines:
        numbers.clear()
        decoded = decoder.piece(piece)
        batch = decoded.batch
        for fault in decoded.rejected:
            refuse(piece, fault.index, fault.code, fault.message)
        ahead = batch.columns["t"] > last
        for i in np.flatnonzero(ahead):
            given = to_rfc3339(min(int(batch.columns["t"][i]), LATEST))
            message = f"received_at: allowed up to {to_rfc3339(last)} (see --now); given {given}"
            refuse(piece, int(batch.index[i]), "time_out_of_range", message)
        past = batch.columns["t"] < first
        for i in np.flatnonzero(past):
            given = to_rfc3339(max(int(batch.columns["t"][i]), -LATEST))
            message = (
                f"received_at: allowed from {to_rfc3339(first)} on, an hour before what the state "
                f"has seen; given {given}"
            )
            refuse(piece, int(batch.index[i]), "time_out_of_range", message)
        said += [control for _, control in decoded.controls]
        outside = ahead | past
        reports = [one for one in decoded.reports if first <= one.t <= last]
        for one in decoded.reports:
            if not first <= one.t <= last:
                message = f"report.at: allowed as of events; given {to_rfc3339(one.t)}"
                refuse(piece, one.place, "time_out_of_range", message)
        spool.add_reports(reports, result.read)
        result.read += len(piece)
        for name, more in (
            ("reports", len(reports)),
            ("newer_schema", decoded.newer_schema),
        ):
            if more:
                result.counts[name] = result.counts.get(name, 0) + more
        if on_progress is not None:
            on_progress("read", result.read)
        yield batch.take(~outside) if outside.any() else batch, piece


def _line_numbers(piece: Lines | Table) -> NDArray[np.int64]:
    """Return the number of each line or row of a piece, in one go: millions may be bad."""
    if not isinstance(piece, Lines):
        return piece.first_row + np.arange(len(piece))
    newlines = np.flatnonzero(np.frombuffer(piece.buffer, np.uint8) == ord("\n"))
    return piece.first_line + np.searchsorted(newlines, piece.spans[:, 0])


def _count(result: LocalResult, state: Partitions, before: list[dict[str, int]]) -> None:
    """Add what this run has scored; a restored core counts on from the runs before."""
    cores = [*state.cores, state.shared.core]
    for core, earlier in zip(cores, before, strict=True):
        held = {n for n in core.counters if n.startswith(("suppressed.", "controls."))}
        told = {"scored", "duplicates", "controls"} if core is not state.shared.core else set()
        for name in sorted(told | held):
            more = core.counters.get(name, 0) - earlier.get(name, 0)
            result.counts[name] = result.counts.get(name, 0) + more
