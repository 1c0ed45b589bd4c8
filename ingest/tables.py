"""Tables of events, some ten thousand rows at a time: from Parquet files and DataFrames.

A table hands out its columns as Arrow holds them, for whoever reads whole columns at once, and any
of its rows as the JSON value that it stands for, which is what decides.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import SourceError
from .outlook import (
    TIME,
    Later,
    are_events,
    is_clear,
    names_in,
    open_parquet,
    outlook_of,
    stretches_of,
)
from .rows import EQUAL_NAMES, arrow_columns, frame_columns, json_values, with_index

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MOST_ROWS: Final = 1 << 16
MOST_BYTES: Final = 1 << 26
"""Of a table, as the file's own account of its rows has it."""
LEAST_ROWS: Final = 64
"""Whatever that account says."""
REPEATED: Final = (
    "receiver", "endpoint", "kind", "sender", "verdict", "source_ip", "source_ip_from", "provider",
    "reason", "key_id", "event_type", "content_type", "method", "country", "user_agent", "tls_fp",
    "client_cert_fp",
)  # fmt: skip
"""Texts that repeat: they are read as codes of a dictionary."""


class Table(Protocol):
    """Some rows of one input."""

    place: str
    """The file's name, or `frame`."""
    first_row: int
    """The number of the first row, from 1."""
    nan_is_missing: bool
    """Whether NaN says that a value is missing, and not that it is wrong."""

    def __len__(self) -> int:
        """How many rows."""

    @property
    def earliest_after(self) -> int | None:
        """The earliest time of all that is read after this table, microseconds, where known."""

    @property
    def nbytes(self) -> int:
        """Bytes that nobody else holds."""

    def names(self) -> list[str]:
        """The names of the columns; the last of equal ones counts."""

    def column(self, name: str) -> "pa.Array | None":
        """A column, or None where Arrow has no one type for its values."""

    def text(self, name: str, row: int) -> str | None:
        """A text as it stands in a column, None where something else stands there."""

    def values(self, rows: Sequence[int]) -> list[bytes]:
        """Some rows as JSON values."""


class _Columns(ABC):
    """What all tables have in common."""

    first_row: int
    _later: Later | None

    @abstractmethod
    def __len__(self) -> int:
        """How many rows."""

    @property
    def earliest_after(self) -> int | None:
        """The earliest time of all that is read after this table, microseconds, where known."""
        return None if self._later is None else self._later(self.first_row - 1 + len(self))

    @abstractmethod
    def column(self, name: str) -> "pa.Array | None":
        """A column."""

    def text(self, name: str, row: int) -> str | None:
        """A text as it stands in a column, None where something else stands there."""
        column = self.column(name)
        value = None if column is None else column[row].as_py()
        return value if isinstance(value, str) else None


class ArrowTable(_Columns):
    """A batch of Arrow."""

    nan_is_missing = False

    def __init__(
        self, place: str, first_row: int, batch: "pa.RecordBatch", later: Later | None = None
    ) -> None:
        self.place = place
        self._later = later
        self.first_row = first_row
        self.batch = batch
        self._places = {name: i for i, name in enumerate(batch.schema.names)}

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the batch."""
        return int(self.batch.get_total_buffer_size())

    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._places)

    def column(self, name: str) -> "pa.Array | None":
        """A column."""
        return self.batch.column(self._places[name])

    def values(self, rows: Sequence[int]) -> list[bytes]:
        """Some rows as JSON values."""
        import pyarrow as pa

        if len(rows) == 1:
            columns = arrow_columns(self.batch.slice(rows[0], 1))
        else:
            try:
                columns = arrow_columns(self.batch.take(pa.array(rows, pa.int64())))
            except pa.ArrowNotImplementedError:  # Arrow cannot choose among values of every type
                whole = arrow_columns(self.batch)
                columns = {name: [whole[name][row] for row in rows] for name in whole}
        return json_values(columns, len(rows), nan_is_missing=False)

    def to_bytes(self) -> bytes:
        """The rows in Arrow's own format."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.batch.schema) as stream:
            stream.write_batch(self.batch)
        return bytes(sink.getvalue().to_pybytes())


class FrameTable(_Columns):
    """Some rows of a DataFrame."""

    nan_is_missing = True
    nbytes = 0
    place = "frame"

    def __init__(
        self,
        first_row: int,
        frame: "pd.DataFrame",
        whole: "dict[str, Any]",
        later: Later | None = None,
    ) -> None:
        self.first_row = first_row
        self._later = later
        self.frame = frame
        self._whole = whole

    def __len__(self) -> int:
        return len(self.frame)

    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._whole)

    def column(self, name: str) -> "pa.Array | None":
        """A column, or None where its objects are of different types."""
        found = self._whole[name]
        return None if found is None else found.slice(self.first_row - 1, len(self.frame))

    def values(self, rows: Sequence[int]) -> list[bytes]:
        """Some rows as JSON values."""
        part = self.frame.iloc[list(rows)]
        return json_values(frame_columns(part), len(rows), nan_is_missing=True)


def from_bytes(place: str, first_row: int, data: memoryview) -> ArrowTable:
    """The table of `ArrowTable.to_bytes`, whose rows are not copied."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
        return ArrowTable(place, first_row, stream.read_next_batch())


def parquet_tables(path: str, later: Later | None = None) -> Iterator[ArrowTable]:
    """The rows of a Parquet file, some ten thousand at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(ImportError):  # Arrow would import it later, and swallow a Ctrl-C meanwhile
        import pandas as pd  # noqa: F401

    row = 1
    try:
        known = pq.read_metadata(path)
        leaves = {known.schema.column(i).path for i in range(len(known.schema))}
        texts = [name for name in REPEATED if name in leaves]
        with open_parquet(path, metadata=known, read_dictionary=texts) as file:
            names = names_in(file.schema_arrow)
            if len(set(names)) < len(names):
                msg = f"{path}: {EQUAL_NAMES}"
                raise SourceError(msg)
            wanted = None if len(names) == len(file.schema_arrow) else names
            size = _rows_at_once(file.metadata)
            batches = file.iter_batches(batch_size=size, columns=wanted, use_threads=False)
            for batch in _ahead(batches):
                yield ArrowTable(path, row, batch, later)
                row += batch.num_rows
    except pa.ArrowException as error:
        msg = f"{path}: no readable Parquet: {' '.join(str(error).split())[:200]}"
        raise SourceError(msg) from None


def _ahead(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Hand out batches, of which the next is read while one is used.

    By one thread: threads for each column take a quarter more of the processor for the same.
    """
    with ThreadPoolExecutor(1, "callwatch-read") as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _rows_at_once(metadata: Any) -> int:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return max(LEAST_ROWS, min(MOST_ROWS, MOST_BYTES // max(widest, 1)))


def frame_tables(frame: "pd.DataFrame") -> Iterator[FrameTable]:
    """The rows of a DataFrame, some ten thousand at a time; row 1 is the first.

    Raises TypeError for anything else: of files too tables are made, by ``ingest.sources``.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        given = type(frame).__name__
        msg = f"frame: allowed is a DataFrame (given {given}); files: ingest.sources.read_pieces"
        raise TypeError(msg)
    return _frame_tables(frame)


def _frame_tables(frame: "pd.DataFrame") -> Iterator[FrameTable]:
    frame = with_index(frame)
    frame_columns(frame.iloc[:0])  # names that repeat are refused
    whole = {str(name): _arrow(frame[name]) for name in frame.columns}
    later = _later_in(whole)
    for start in range(0, len(frame), MOST_ROWS):
        yield FrameTable(start + 1, frame.iloc[start : start + MOST_ROWS], whole, later)


def _later_in(whole: "dict[str, Any]") -> Later | None:
    times = whole.get(TIME)
    if times is None or not are_events(list(whole)) or not is_clear(times.type):
        return None
    starts = range(0, len(times), MOST_ROWS)
    return outlook_of(stretches_of(times.slice(start, MOST_ROWS) for start in starts)).after


def _arrow(column: "pd.Series[Any]") -> "pa.Array | None":
    """A column of a frame as Arrow holds it, None where that could change what a value means."""
    import pandas as pd
    import pyarrow as pa

    try:
        if isinstance(column.dtype, pd.CategoricalDtype):
            words = _arrow(column.cat.categories.to_series())
            codes = column.cat.codes.to_numpy()
            if words is None or words.null_count or pa.types.is_dictionary(words.type):
                return None
            indices = pa.array(codes.astype("int32"), mask=codes < 0)
            return pa.DictionaryArray.from_arrays(indices, words)
        if column.dtype == object and not _is_of_one_type(column):
            return None
        found = pa.array(column, from_pandas=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
        found = found.chunk(0) if isinstance(found, pa.ChunkedArray) else found
    return found


def _is_of_one_type(column: "pd.Series[Any]") -> bool:
    """Whether objects are all text, all flags, all integers or all floats, or missing."""
    kinds = {kind: kind.__name__ for kind in set(map(type, column))}
    kept = [kind for kind, name in kinds.items() if name not in {"NoneType", "NaTType", "NAType"}]
    if float in kept and len(kept) > 1:  # missing text is NaN in most frames
        kept.remove(float)
        if any(value == value for value in column if type(value) is float):
            return False
    return kept in ([], [str], [bool], [int], [float])
