"""Decoded events of a whole input, in memory while it is small and on disk when it is not."""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, ReportAt
from detectors.event import EVENT
from ingest.schema import dump_report, parse_report

MEMORY_BYTES = 512 * 1024 * 1024
ROW = np.dtype([("id", "i8"), ("place", "i8"), ("start", "i8"), ("end", "i8"), ("event", EVENT)])


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
            ReportAt(place, t, parse_report(bytes(self.buffer[start : start + length])))
            for place, (t, _, start, length) in zip(places, chosen, strict=True)
        ]


class Spool:
    """Takes batches in the order of reading and gives them back as one batch.

    Two files hold what is too much for memory: the JSON of the events, and their columns. Both are
    unnamed and vanish with the process.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._values = tempfile.SpooledTemporaryFile(max_size=memory_bytes // 2)  # noqa: SIM115
        self._rows = tempfile.SpooledTemporaryFile(max_size=memory_bytes // 2)  # noqa: SIM115
        self._reports = array("q")  # time, place, start and length of each: they are few
        self._end = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, batch: EventBatch, first_place: int) -> None:
        """Append a batch; ``first_place`` is the place of its index 0 among all lines."""
        n = len(batch)
        if n == 0:
            return
        rows = np.zeros(n, ROW)
        lengths = batch.spans[:, 1] - batch.spans[:, 0]
        rows["id"], rows["place"], rows["event"] = batch.ids, batch.index, batch.columns
        rows["place"] += first_place
        rows["end"] = self._end + np.cumsum(lengths)
        rows["start"] = rows["end"] - lengths
        self._values.write(b"".join(batch.value(i) for i in range(n)))
        self._rows.write(rows.tobytes())
        self._end = int(rows["end"][-1])
        self._count += n

    def add_reports(self, reports: Sequence[ReportAt], first_place: int) -> None:
        """Append reports of receivers; places as with ``add``."""
        for one in reports:
            if one.report is None:
                continue
            value = dump_report(one.report)
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
        buffer = _mapped(self._values, self._end)
        rows: NDArray[Any] = np.frombuffer(_mapped(self._rows, self._count * ROW.itemsize), ROW)
        spans = np.stack([rows["start"], rows["end"]], axis=1)
        return EventBatch(rows["event"], rows["id"], rows["place"], buffer, spans)

    def close(self) -> None:
        """Give memory and disk back."""
        self._values.close()
        self._rows.close()


def _mapped(file: Any, size: int) -> Any:
    if size == 0:
        return b""
    file.flush()
    file.seek(0)
    if file._rolled:  # it has become a real file
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return file.read()
