"""The core of one partition: a batch of records through the clock, the tables and all detectors.

A pure function of its state and the records, in their order. It reads no clock and draws no chance;
how the records are cut into batches changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import Alert
from detectors import health
from detectors.base import (
    CLOSE_REASONS,
    KEPT,
    PASSING,
    Baseline,
    Described,
    Detector,
    Table,
    close,
    described_of,
    minute_of,
)
from detectors.batch import Decoded, Decoder, EventBatch, Rejected, ReportAt, no_events
from detectors.clock import NO_TIMES, PartitionClock, Times
from detectors.compile import walk_for
from detectors.config import Config
from detectors.controls import Controls, said_by
from detectors.errors import StateError
from detectors.event import DAY, HOUR, MINUTE, REDIRECT
from detectors.health import Health
from detectors.health_parts import Passage, Scored
from detectors.hot import HotSenders
from detectors.incidents import Happening, Incidents, Slot
from detectors.keys import KeyColumns, combine
from detectors.long_names import LongNames
from detectors.observer import Observation, Observer
from detectors.renumber import renumber
from detectors.roster import Roster
from detectors.snapshot import Copied, State, copy_of, pack, unpack, written
from detectors.spanned import Spanned
from detectors.tables import KeyedTable, Located, TableSpec
from detectors.tuning import Tuning
from detectors.walk import RECORD, WRITTEN, record_dtype
from ingest.control import Control, VerdictControl

SENDER = ("sender",)
SENDER_SOURCE = ("sender", "source")
REDIRECTS = ("sender", "kind")
"""Of redirect callbacks only: the code of a webhook is 0, and no key has a 0 in it."""
DELIVERY = ("sender", "delivery")
_JUDGED = ("reason", "severity", "score", "confidence", "count", "since")
"""What each step writes, beside its evidence."""
ROOM = 256
"""Records that a walk may write before it is called again."""


@dataclass(frozen=True)
class Outcome:
    """What a batch brought to light."""

    alerts: list[Alert] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    """What concerns more senders than this partition's, for ``detectors.shared``."""

    def then(self, later: Outcome) -> Outcome:
        """Return this and what came after it."""
        return Outcome(
            self.alerts + later.alerts,
            self.rejected + later.rejected,
            self.observations + later.observations,
        )


@dataclass(frozen=True)
class SenderBaselines:
    """What a partition knows of a sender."""

    sender: str
    provider: str
    events: int
    age_days: float
    baselines: Mapping[str, Baseline]
    open_incidents: list[str]
    """Detectors that hold an open incident of this sender."""


@dataclass(frozen=True)
class _Runner:
    """A detector with what its walk needs."""

    detector: Detector
    walk: Callable[..., tuple[int, int]]
    params: NDArray[Any]
    model: tuple[NDArray[Any], ...]
    tables: tuple[tuple[KeyedTable, NDArray[Any]], ...]
    """Each with a row that starts afresh."""
    clock: NDArray[np.int64]
    room: NDArray[Any]
    """Where a walk writes its records."""
    read: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Takes from a record, as a tuple, what makes a happening."""
    shown: tuple[tuple[str, int], ...]
    """Names of the evidence, and where in a record they are."""


class Core:
    """Detection for one partition: of the events, or of what several senders share."""

    def __init__(
        self,
        config: Config,
        partition: int = 0,
        *,
        shared: bool = False,
        partitions: int | None = None,
    ) -> None:
        self.config = config
        self.partition = partition
        self.shared = shared
        self.next_offset: int | None = None
        self.counters: dict[str, int] = {}
        self._decoder = Decoder(config)
        self._clock = PartitionClock(
            late=int(config.stream.late_hours * HOUR), ahead=int(config.stream.ahead_minutes * 6e7)
        )
        self._pauses = self._clock.paused
        self._nowhere = Located(*(np.zeros(0, kind) for kind in ("i8", "i1", "i8")))
        self._tables: dict[tuple[str, ...], KeyedTable] = {}
        self._ids = KeyedTable(
            TableSpec(("id",), ttl=HOUR // MINUTE, limit=1 << 20, refresh=False, growth=2.0)
        )
        detectors = config.shared if shared else config.detectors
        self._runners = [self._runner(detector) for detector in detectors]
        self._roster = Roster(self.table(SENDER), config.facts)
        self._is_renumbered = False  # since the last copy: then changes do not build on it
        self._hot = HotSenders()  # told, and no part of the state
        self.table(DELIVERY)
        self._observer = None if shared else Observer(self.table(SENDER_SOURCE), partition)
        tuning = Tuning(config.measures)
        self.controls = Controls(tuning)
        self.health = None if shared else self._watch(partitions)
        told: tuple[Described, ...] = detectors if shared else (*detectors, described_of(health))
        self.incidents = Incidents(told, config.hash, tuning=tuning, count=self.count)
        self._gatherer = KeyColumns(self._tables, ("sender", "t", "who"))

    @property
    def stream_time_us(self) -> int | None:
        """The newest accepted time, microseconds; None before the first record."""
        return self._clock.now

    def table(self, key: tuple[str, ...]) -> KeyedTable:
        """Return the table of these key columns; all detectors share it."""
        if key not in self._tables:
            self._tables[key] = KeyedTable(_spec(key, self.config))
        return self._tables[key]

    def _watch(self, partitions: int | None) -> Health | None:
        if self.config.health is None:
            return None
        return Health(
            self.config.health,
            self.config.profile_of_class,
            which=len(self._runners),
            partition=self.partition,
            partitions=partitions,
        )

    def rebuilt(self, why: str) -> None:
        """Let it be told with the next record that the state was made anew, and why."""
        if self.health is not None:
            self.health.rebuilt(why)

    def lost(self, records: int, stop: int) -> None:
        """Count records of the log before this offset, none of which can be read.

        They are a damaged batch, and count by its offsets, since nothing else of it is to be
        believed: so the count does not depend on where a worker began to read it.
        """
        self.count("consumed", records)
        self.count("rejected.batch_damaged", records)
        self.next_offset = stop
        if self.health is not None:
            self.health.lost(records)

    def _runner(self, detector: Detector) -> _Runner:
        for table in detector.tables:
            self.table(table.key).add_rows(detector.id, table.row)
        room = np.zeros(ROOM, record_dtype(detector))
        names = list(room.dtype.names or ())
        return _Runner(
            detector,
            walk_for(detector),
            self.config.params(detector),
            self.config.model(detector),
            tuple((self.table(table.key), np.zeros(1, table.row)) for table in detector.tables),
            np.zeros(3, np.int64),
            room,
            itemgetter(*map(names.index, (*(name for name, _ in RECORD), *_JUDGED))),
            tuple((name, names.index(name)) for name, _ in detector.evidence),
        )

    def count(self, name: str, more: int = 1) -> None:
        """Add to a counter."""
        if more:
            self.counters[name] = self.counters.get(name, 0) + more

    def feed_log(
        self,
        values: Sequence[bytes],
        offsets: Sequence[int] | NDArray[np.int64],
        broker_times_us: Sequence[int] | NDArray[np.int64],
    ) -> Outcome:
        """Take records of a log, in log order; `Spanned` values are not made one by one."""
        if not values:
            return Outcome()
        if isinstance(values, Spanned):
            decoded = self._decoder.buffer(values.buffer, values.spans)
        else:
            decoded = self._decoder.values(values)
        times = np.asarray(broker_times_us, np.int64)
        outcome = self._feed(decoded, times)
        self.next_offset = int(offsets[-1]) + 1
        rejected = [
            Rejected(r.index, r.code, r.message, int(offsets[r.index])) for r in outcome.rejected
        ]
        self.count("consumed", len(values))
        told = [o._replace(place=int(offsets[o.place])) for o in outcome.observations]
        return replace(outcome, rejected=rejected, observations=told)

    def feed_sorted(
        self,
        batch: EventBatch,
        controls: Sequence[tuple[int, Control]] = (),
        reports: Sequence[ReportAt] = (),
    ) -> Outcome:
        """Take events that were decoded and sorted by time before (files, frames).

        ``controls`` are control records, each with the place of the event before which it stands;
        so stand ``reports`` of receivers.
        """
        first = self.counters.get("consumed", 0)
        self.count("consumed", len(batch) + len(reports))
        in_order = replace(batch, index=2 * np.arange(len(batch)) + 1)  # not that of the lines
        said = [(2 * place, control) for place, control in controls]
        heard = [one._replace(place=2 * one.place) for one in reports]
        outcome = self._feed(Decoded(in_order, controls=said, reports=heard), None)
        told = [o._replace(place=first + o.place // 2) for o in outcome.observations]
        return replace(outcome, observations=told)

    def feed_merged(self, batch: EventBatch, now: Sequence[int]) -> Outcome:
        """Take events of several partitions, and for each the stream time of its own partition."""
        self.count("consumed", len(batch))
        clock = [ReportAt(2 * place, time, None) for place, time in enumerate(now)]
        in_order = replace(batch, index=2 * np.arange(len(batch)) + 1)  # each after its time
        return self._feed(Decoded(in_order, reports=clock), None)

    def finish(self, until_us: int | None = None) -> Outcome:
        """Let ticks run to the end of a finite input: its last event, or ``until_us``."""
        now = self._clock.now
        if now is None:
            return Outcome()
        if until_us is not None and until_us > now:
            self._pauses = self._clock.advance(until_us)
            now = until_us
        passage = Passage(np.array([now]), [], [])
        return self._advance(no_events(), NO_TIMES, now, passage)

    def _feed(self, decoded: Decoded, broker_times: NDArray[np.int64] | None) -> Outcome:
        batch = decoded.batch
        rejected = list(decoded.rejected)
        reports = np.array([(r.place, r.t) for r in decoded.reports], np.int64).reshape(-1, 2)
        self.count("newer_schema", decoded.newer_schema)
        self.count("controls", len(decoded.controls))
        marks = [place for place, _ in decoded.controls]
        pass_ = self._clock.admit(
            batch.columns["t"], batch.index, reports[:, 1], reports[:, 0], broker_times, marks
        )
        for index, message in pass_.refused:
            rejected.append(Rejected(index, "time_out_of_range", message))
        self._pauses = pass_.pauses
        self.count("reports", len(pass_.reports))
        times = pass_.of_kept
        if len(pass_.kept) < len(batch):
            batch = batch.take(pass_.kept)
        seen = self._ids.locate(batch.ids, times.minutes)
        if (again := len(batch) - int(np.count_nonzero(seen.fresh))) > 0:
            self.count("duplicates", again)
            first = np.flatnonzero(seen.fresh)
            batch, times = batch.take(first), times.take(first)
        self.count("scored", len(batch))
        for fault in rejected:
            self.count(f"rejected.{fault.code}")
        rejected.sort(key=lambda fault: fault.index)
        heard = [(at, decoded.reports[which].report) for which, at in pass_.reports]
        faults = [(pass_.passed(one.index), one.code) for one in rejected]
        passage = Passage(pass_.times, [(at, r) for at, r in heard if r is not None], faults)
        done = Outcome(rejected=rejected)
        start = walked = 0
        for (place, control), at in zip(decoded.controls, pass_.marks.tolist(), strict=True):
            cut = int(np.searchsorted(batch.index, place))
            before = batch.take(slice(start, cut))
            passed, passage = passage.split(pass_.passed(place) - walked)
            walked += len(passed.times)
            done = done.then(self._advance(before, times.take(slice(start, cut)), at, passed))
            told = self._obey(control, at)
            self.count("alerts", len(told))
            done = done.then(Outcome(told))
            start = cut
        if self._clock.now is None:
            if self.health is not None:
                self.health.note(passage.faults)
            return done
        if start:
            batch, times = batch.take(slice(start, None)), times.take(slice(start, None))
        return done.then(self._advance(batch, times, self._clock.now, passage))

    def _advance(self, batch: EventBatch, times: Times, until: int, passage: Passage) -> Outcome:
        """Score a stretch of the log up to a stream time; what people held ends in between."""
        done = Outcome()
        while 0 < (end := self.incidents.next_thaw) <= until:
            cut = int(np.searchsorted(times.now, end))
            passed, passage = passage.split(int(np.searchsorted(passage.times, end)))
            past = slice(0, cut)
            done = done.then(self._score(batch.take(past), times.take(past), end, passed))
            for slot in self.incidents.thaw(end):
                row, _ = self._row(slot)
                row["opened_at"] = abs(int(row["opened_at"]))
            batch, times = batch.take(slice(cut, None)), times.take(slice(cut, None))
        return done.then(self._score(batch, times, until, passage))

    def _obey(self, control: Control, now: int) -> list[Alert]:
        """Let a control record take effect, at its place in the log."""
        if ignored := self.controls.take(control, now):
            self.count(f"controls.{ignored}")
            return []
        if not isinstance(control, VerdictControl):
            return []
        slot = self.incidents.find(control.alert)
        if slot is None:
            self.count("controls.no_incident")
            return []
        note = f"{control.verdict}: {said_by(control)}"
        if slot[0] == len(self._runners):
            return self._obey_about_health(slot, control, now, note)
        row, table = self._row(slot)
        if control.verdict == "benign":
            (table.release or close)(row)
            return self.incidents.release(slot, now, note)
        until = minute_of(control.expires_us)
        row["opened_at"] = -abs(int(row["opened_at"]))
        row["open_until"] = max(until, int(row["open_until"]))
        return self.incidents.freeze(slot, now, until * MINUTE, note)

    def _obey_about_health(
        self, slot: Slot, control: VerdictControl, now: int, note: str
    ) -> list[Alert]:
        """End an incident of the pipeline; there is no baseline that an attack could spoil."""
        if control.verdict != "benign" or self.health is None:
            self.count("controls.nothing_to_keep")
            return []
        self.health.release(slot[2])
        return self.incidents.release(slot, now, note)

    def _row(self, slot: Slot) -> tuple[Any, Table]:
        which, number, position = slot
        detector = self._runners[which].detector
        table = detector.tables[number]
        keyed = self._tables[table.key]
        keyed.dirty[position] = 1
        return keyed.rows[detector.id][position], table

    def _score(self, batch: EventBatch, times: Times, until: int, passage: Passage) -> Outcome:
        events = batch.columns
        self.controls.mark(events)
        located: dict[tuple[str, ...], Located] = {}
        minutes = times.minutes
        ticks = minutes * MINUTE
        gathered = self._gatherer.of(events)
        for key, table in self._tables.items():
            wanted = gathered.keys[key]
            located[key] = (
                self._none(len(batch)) if wanted is None else table.locate(wanted, minutes)
            )
        repeats = located[DELIVERY].before  # 0 where there is no delivery
        self._roster.meet(batch, located[SENDER], times, repeats)
        self._hot.see(gathered.columns["sender"])
        final = max(until - until % MINUTE, 0)
        happenings: list[tuple[tuple[int, ...], Happening]] = []
        pauses = self._pauses
        if self.health is not None:  # first: who is not heard is not silent
            where = located[SENDER]
            scored = Scored(
                events,
                gathered.columns["t"],
                gathered.columns["who"],
                times.now,
                where.position,
                where.fresh,
                batch.sender,
            )
            happenings += self.health.walk(passage, scored)
            if len(unheard := self.health.unheard):
                pauses = np.concatenate([pauses, unheard])  # of the stream first: in order
        for which, runner in enumerate(self._runners):
            for records in self._walk(runner, events, located, ticks, final, pauses):
                self._collect(which, runner, records, batch, happenings)
        happenings.sort(key=lambda item: item[0])
        alerts: list[Alert] = []
        for _, happening in happenings:
            alerts += self.incidents.flush(happening.now)
            alerts += self.incidents.take(happening)
        alerts += self.incidents.flush(final)
        self._roster.forget_replaced()
        self.count("alerts", len(alerts))
        if self._observer is None:
            return Outcome(alerts)
        observations = self._observer.look(batch, located[SENDER_SOURCE])
        self.count("observations", len(observations))
        return Outcome(alerts, observations=observations)

    def _none(self, count: int) -> Located:
        """Return where the rows of so many null keys are: nowhere."""
        if len(self._nowhere.position) != count:
            none = np.zeros(count, np.int64)
            self._nowhere = Located(np.full(count, -1), none.astype(np.int8), none)
        return self._nowhere

    def load_walks(self) -> None:
        """Compile the walks, or load them from the cache, and nothing else of the core."""
        located = dict.fromkeys(self._tables, self._none(0))
        for runner in self._runners:
            self._walk(runner, no_events().columns, located, np.zeros(0, np.int64), 0, self._pauses)

    def _walk(
        self,
        runner: _Runner,
        events: NDArray[Any],
        located: Mapping[tuple[str, ...], Any],
        ticks: NDArray[np.int64],
        final: int,
        pauses: NDArray[np.int64],
    ) -> list[NDArray[Any]]:
        """Run a detector over the batch; again from where it stopped when the room was used up."""
        arguments: list[Any] = [pauses, *runner.model]
        for keyed, blank in runner.tables:
            found = located[keyed.spec.key]
            rows = keyed.rows[runner.detector.id]
            arguments += [found.position, found.fresh, rows, blank, keyed.dirty[: keyed.used]]
        written = []
        first = 0
        while first >= 0:
            room = runner.room
            n, first = runner.walk(
                events, first, ticks, final, runner.clock, runner.params, room, *arguments
            )
            if n:
                written.append(room[:n].copy())
                room[:n] = 0
        runner.clock[WRITTEN] = 0  # belongs to one call; equal states have equal bytes
        return written

    def _collect(
        self,
        which: int,
        runner: _Runner,
        records: NDArray[Any],
        batch: EventBatch,
        happenings: list[tuple[tuple[int, ...], Happening]],
    ) -> None:
        """Turn a walk's records into happenings that can be put in order.

        In an attack most events write one: so all of them are read at once, and made little of.
        """
        tables = runner.detector.tables
        nobody = np.zeros(len(records), np.int64)
        events = batch.columns
        places = np.minimum(records["at"], len(events) - 1)  # a timer's may be behind the last
        sources, senders = (
            events[name][places] if len(events) else nobody for name in ("source", "sender")
        )
        for row, source, known in zip(
            records.tolist(), sources.tolist(), senders.tolist(), strict=True
        ):
            (
                at, timed, when, now, who, code, table, position,
                reason, severity, score, confidence, count, since,
            ) = runner.read(row)  # fmt: skip
            closes = code in CLOSE_REASONS
            named = timed and not closes and tables[table].key == SENDER
            happening = Happening(
                (which, table, position),
                code,
                when,
                now,
                reason,
                severity,
                score,
                confidence,
                count,
                since,
                {} if closes else {name: row[place] for name, place in runner.shown},
                0 if timed else source,
                0 if timed else known,
                None if timed else partial(batch.value, at),
                self._roster.name(position, at) if named else None,
                self.config.provider(who),
            )
            happenings.append(((at, 1 - timed, now, when, which, table, position), happening))

    def baselines(self) -> Iterator[SenderBaselines]:
        """Tell what is known of each sender, in the order in which they were first seen."""
        table = self._tables[SENDER]
        senders = np.ascontiguousarray(table.slots["key"][: table.used])
        of = {r.detector.id: self._first_rows(r.detector, senders) for r in self._runners}
        for position in range(table.used):
            pace = table.rows["pace"][position]
            events = int(table.slots[position]["hits"])
            age = ((self._clock.now or 0) / MINUTE - int(pace["first"])) / (DAY // MINUTE)
            known, open_ = {}, []
            for runner in self._runners:
                detector = runner.detector
                at = int(of[detector.id][position])
                if at < 0:
                    continue
                row = self._tables[detector.tables[0].key].rows[detector.id][at]
                known[detector.id] = detector.baseline(row, events, age)
                if int(row["opened_at"]) != 0:
                    open_.append(detector.id)
            name = self._roster.name(position, 0)
            provider = self.config.provider(int(pace["who"]))
            yield SenderBaselines(name, provider, events, age, known, open_)

    def busiest(self, most: int) -> tuple[int, dict[str, int]]:
        """Tell which senders most events came from since the last call, of how many looked at."""
        seen, found = self._hot.take(most)
        positions = self._tables[SENDER].find(np.array([key for key, _ in found], np.int64))
        return seen, {
            self._roster.name(position, 0): count
            for position, (_, count) in zip(positions.tolist(), found, strict=True)
            if position >= 0  # else it has had to go meanwhile
        }

    def sender_days(self) -> NDArray[np.float64]:
        """Return for how many days each sender has been known."""
        table = self._tables[SENDER]
        first = table.rows["pace"]["first"][: table.used].astype(np.float64)
        return ((self._clock.now or 0) / MINUTE - first) / (DAY // MINUTE)

    def _first_rows(self, detector: Detector, senders: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the senders' rows of a detector's first table are; -1 where there is none.

        Only two kinds of tables hold one row for each sender: of senders, and of their redirects.
        """
        key = detector.tables[0].key
        if key == SENDER:
            return np.arange(len(senders))
        if key != REDIRECTS:
            return np.full(len(senders), -1)
        return self._tables[key].find(combine([senders, np.full(len(senders), REDIRECT)]))

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of state by table; names, indexes and all rows included."""
        sizes = {"+".join(key): table.nbytes for key, table in self._tables.items()}
        sizes["id"] = self._ids.nbytes
        sizes["names"] = self._roster.long.nbytes
        return sizes

    @property
    def events_tables(self) -> Mapping[tuple[str, ...], KeyedTable]:
        """All tables that events are looked up in, that of their ids included."""
        return {**self._tables, ("id",): self._ids}

    @property
    def evicted(self) -> dict[str, int]:
        """Rows taken from live keys because of a limit, by table."""
        return {"+".join(key): t.evicted for key, t in self._tables.items() if t.evicted}

    def _kept(self) -> dict[str, KeyedTable | LongNames]:
        """Return all tables, and the long names, by what they are called in a snapshot."""
        observed = {} if self._observer is None else self._observer.tables
        tables = {**self._tables, ("id",): self._ids, **observed}
        named = {"+".join(key): table for key, table in tables.items()}
        return {**named, "names": self._roster.long}

    def snapshot(self) -> bytes:
        """Return the whole state as bytes, with a checksum; the same state gives the same bytes."""
        return pack(self._header(), self._arrays())

    def copied(self, *, whole: bool) -> Copied:
        """Return a copy of the state, or of what has changed since the last that was taken.

        ``snapshot.merge`` makes one of them. It may be whole although changes were asked for.
        """
        kept = self._kept()
        if whole := whole or self._roster.long.is_new or self._is_renumbered:
            arrays = {name: copy_of(array) for name, array in self._arrays().items()}
        else:
            arrays = self._always()
            for name, one in kept.items():
                arrays |= {f"{name}/{part}": a for part, a in one.changes().items()}
        for one in kept.values():
            one.clean()
        self._is_renumbered = False
        return Copied(written(self._header()), arrays, whole)

    def _header(self) -> dict[str, Any]:
        return {
            "config": self.config.state_hash,
            "partition": self.partition,
            "next_offset": self.next_offset,
            "clock": self._clock.snapshot(),
            "counters": dict(sorted(self.counters.items())),
            "incidents": self.incidents.snapshot(),
            "controls": self.controls.snapshot(),
            "shared": self.shared,
            "health": None if self.health is None else self.health.snapshot(),
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        classes = np.frombuffer(self.config.classes, np.uint8)
        arrays = self._always() | {"classes/told": classes}
        for name, one in self._kept().items():
            arrays |= {f"{name}/{part}": a for part, a in one.snapshot().items()}
        return arrays

    def _always(self) -> dict[str, NDArray[Any]]:
        """Return copies of what each checkpoint holds whole."""
        clocks = {f"clock/{r.detector.id}": r.clock[:WRITTEN].copy() for r in self._runners}
        texts = self.incidents.texts()
        told = {f"incidents/{name}": np.frombuffer(text, np.uint8) for name, text in texts.items()}
        return clocks | told

    @staticmethod
    def restore(config: Config, data: bytes | State, *, partitions: int | None = None) -> Core:
        """Return the core that made the snapshot; StateError where it does not fit.

        It goes on under this configuration, as if it had taken its place after the last record.
        The arrays of a ``State`` become the core's own.
        """
        header, arrays = unpack(data)
        if header["config"] != config.state_hash:
            made, mine = header["config"], config.state_hash
            msg = f"snapshot: made with configuration {made} (in force: {mine})"
            raise StateError(msg)
        core = Core(config, header["partition"], shared=header["shared"], partitions=partitions)
        core.next_offset = header["next_offset"]
        core.counters = dict(header["counters"])
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in arrays.items():
            table, _, part = name.partition("/")
            parts.setdefault(table, {})[part] = array
        try:
            core._clock.restore(header["clock"])
            core._pauses = core._clock.paused
            learned = frozenset(r.detector.id for r in core._runners if r.detector.is_learned)
            for name, one in core._kept().items():
                one.restore(parts[name], learned)
            told, now = parts["classes"]["told"].tobytes(), core._clock.now
            core._is_renumbered = renumber(core._tables[SENDER], config, told, now)
            for runner in core._runners:
                if runner.detector.id in learned - parts["clock"].keys():
                    continue  # its first model was named since: it begins now
                runner.clock[:WRITTEN] = parts["clock"][runner.detector.id]
            texts = {name: array.tobytes() for name, array in parts["incidents"].items()}
            core.incidents.restore(header["incidents"], texts)
            core.controls.restore(header["controls"])
            if core.health is not None:
                core.health.restore(header["health"])
        except (KeyError, ValueError, TypeError) as error:
            msg = f"snapshot: does not fit this version's rows: {error!r}"
            raise StateError(msg) from None
        return core

    def digest(self) -> str:
        """Return a hash of the whole state, for comparing two cores."""
        return hashlib.sha256(self.snapshot()).hexdigest()[:16]


def _spec(key: tuple[str, ...], config: Config) -> TableSpec:
    if key[-1] in PASSING:
        remembered = config.stream.max_deliveries
        limit = min(config.stream.max_exact_deliveries, remembered)
        return TableSpec(
            key, ttl=3 * DAY // MINUTE, limit=limit, refresh=False, growth=2.0,
            remembered=remembered,
        )  # fmt: skip
    senders = key == SENDER
    limit = config.stream.max_senders if senders else 2 * config.stream.max_senders
    return TableSpec(key, ttl=KEPT // MINUTE, limit=limit, counted=senders)
