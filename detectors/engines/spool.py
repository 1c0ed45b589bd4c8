"""Decoded events of a whole input, in memory while it is small and on disk when it is not."""

from __future__ import annotations

import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch
from detectors.event import EVENT

MEMORY_BYTES = 512 * 1024 * 1024
ROW = np.dtype([("id", "i8"), ("place", "i8"), ("start", "i8"), ("end", "i8"), ("event", EVENT)])


class Spool:
    """Takes batches in the order of reading and gives them back as one batch.

    Two files hold what is too much for memory: the JSON of the events, and their columns. Both are
    unnamed and vanish with the process.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._values = tempfile.SpooledTemporaryFile(max_size=memory_bytes // 2)  # noqa: SIM115
        self._rows = tempfile.SpooledTemporaryFile(max_size=memory_bytes // 2)  # noqa: SIM115
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
