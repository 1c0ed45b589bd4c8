"""Decoded events of a whole input, in memory while it is small and on disk when it is not."""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, ReportAt
from detectors.errors import SpoolError
from detectors.event import EVENT
from detectors.reports import read_report
from ingest.schema import dump_report
from ingest.tables import ArrowTable, Table, from_bytes

MEMORY_BYTES = 512 * 1024 * 1024
_WHOLE = np.dtype((np.void, EVENT.itemsize))  # copied at once, and not field by field
ROW = np.dtype([("id", "i8"), ("start", "i8"), ("end", "i8"), ("event", _WHOLE)])


@dataclass(frozen=True)
class Reports:
    """Reports of receivers in order of time; each is decoded when it is its turn."""

    rows: NDArray[np.int64]
    buffer: Any

    @property
    def times(self) -> NDArray[np.int64]:
        """When each was made."""
        return self.rows[:, 0]

    def take(self, first: int, last: int, places: Sequence[int]) -> list[ReportAt]:
        """Return some of them, each at the place that is given for it."""
        chosen = self.rows[first:last].tolist()
        return [
            ReportAt(place, t, read_report(bytes(self.buffer[start : start + length])))
            for place, (t, _, start, length) in zip(places, chosen, strict=True)
        ]


NO_REPORTS = Reports(np.zeros((0, 4), np.int64), b"")


class Spool:
    """Takes batches in the order of reading and gives them back as one batch.

    Three files hold what is too much for memory: the JSON of the events, their columns, and the
    tables that some came from. All are unnamed and vanish with the process.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._values = tempfile.SpooledTemporaryFile(max_size=memory_bytes // 2)  # noqa: SIM115
        self._rows = tempfile.SpooledTemporaryFile(max_size=memory_bytes // 2)  # noqa: SIM115
        self._tables = _Tables(memory_bytes // 2)
        self._reports = array("q")  # time, place, start and length of each: they are few
        self._end = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, batch: EventBatch) -> None:
        """Append a batch."""
        n = len(batch)
        if n == 0:
            return
        with _on_disk():
            self._add(batch, n)

    def _add(self, batch: EventBatch, n: int) -> None:
        rows = np.zeros(n, ROW)
        rows["id"] = batch.ids
        rows["event"] = batch.columns.view(_WHOLE)
        rows["start"], rows["end"] = batch.spans[:, 0], batch.spans[:, 1]
        of_table = rows["start"] < 0
        rows["start"][of_table] -= len(self._tables)
        for table in batch.tables:
            self._tables.add(table)
        lines = np.flatnonzero(~of_table)
        if len(lines):
            lengths = rows["end"][lines] - rows["start"][lines]
            ends = self._end + np.cumsum(lengths)
            rows["end"][lines], rows["start"][lines] = ends, ends - lengths
            self._values.write(b"".join(batch.value(i) for i in lines.tolist()))
            self._end = int(ends[-1])
        self._rows.write(rows.view(np.uint8).data)
        self._count += n

    def add_reports(self, reports: Sequence[ReportAt], first_place: int) -> None:
        """Append reports; ``first_place`` is the place of the first value among all lines."""
        for one in reports:
            if one.report is None:
                continue
            value = dump_report(one.report)
            with _on_disk():
                self._values.write(value)
            self._reports.extend((one.t, first_place + one.place, self._end, len(value)))
            self._end += len(value)

    def reports(self, buffer: Any) -> Reports:
        """Return all reports, by time and then by place; ``buffer`` is that of the batch."""
        rows = np.frombuffer(self._reports.tobytes(), np.int64).reshape(-1, 4)
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        return Reports(rows, buffer)

    def batch(self) -> EventBatch:
        """Return everything as one batch, in the order of reading."""
        with _on_disk():
            buffer = _mapped(self._values, self._end)
            written = _mapped(self._rows, self._count * ROW.itemsize)
            tables = self._tables.all()
        rows: NDArray[Any] = np.frombuffer(written, ROW)
        spans = np.stack([rows["start"], rows["end"]], axis=1)
        return EventBatch(
            rows["event"].view(EVENT),
            rows["id"],
            np.arange(len(rows)),
            buffer,
            spans,
            tables=tables,
        )

    def close(self) -> None:
        """Give memory and disk back."""
        for each in (self._values, self._rows, self._tables):
            with suppress(OSError):  # what could not be written is no loss any more
                each.close()


class _Written(NamedTuple):
    """Where in the file a table is."""

    place: str
    first_row: int
    start: int
    end: int


class _Tables:
    """Tables, of which the first stay in memory and others go to a file."""

    def __init__(self, memory_bytes: int) -> None:
        self._left = memory_bytes
        self._kept: list[Table | _Written] = []
        self._file: Any = None
        self._end = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, table: Table) -> None:
        """Keep a table; one of a frame is the caller's memory."""
        if not isinstance(table, ArrowTable):
            self._kept.append(table)
            return
        self._left -= table.batch.get_total_buffer_size()
        if self._left >= 0:
            self._kept.append(table)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed with the spool
        data = table.to_bytes()
        self._file.write(data)
        end = self._end + len(data)
        self._kept.append(_Written(table.place, table.first_row, self._end, end))
        self._end = end

    def all(self) -> tuple[Table, ...]:
        """Return all tables; those of the file are read where they are, when they are needed."""
        whole = memoryview(b"")
        if self._file is not None:
            self._file.flush()
            whole = memoryview(mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ))
        return tuple(
            from_bytes(one.place, one.first_row, whole[one.start : one.end])
            if isinstance(one, _Written)
            else one
            for one in self._kept
        )

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()


@contextmanager
def _on_disk() -> Iterator[None]:
    """Let an error of the disk say which folder it is about."""
    try:
        yield
    except OSError as error:
        where = tempfile.tempdir or "no temporary folder"
        msg = (
            f"{where}: events that are not in order are sorted there, but: "
            f"{(error.strerror or str(error)).lower()}; TMPDIR can name another folder"
        )
        raise SpoolError(msg) from None


def _mapped(file: Any, size: int) -> Any:
    if size == 0:
        return b""
    file.flush()
    file.seek(0)
    if file._rolled:  # it has become a real file
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return file.read()
