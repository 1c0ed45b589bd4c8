"""Read events back: JSON lines (plain or gzip), Parquet, standard input, a DataFrame.

Lines are cut here and judged elsewhere: a broken line is the decoder's to name, by file and line.
Memory stays at a few chunks, whatever the size of the input or of its longest line.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISFIFO
from typing import IO, TYPE_CHECKING, Any, Final, cast

from .errors import SourceError
from .outlook import PARQUET, Later, of_files
from .wire import MAX_EVENT_BYTES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from .tables import Table

CHUNK_BYTES: Final = 4 * 1024 * 1024
_ROWS_AT_ONCE: Final = 8_192
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Some lines of one input.

    place: the file's name, `-` or `frame`.
    first_line: number of the line (from 1; of the row in Parquet) with which `buffer` starts.
    spans: int64 [n, 2], start and end of every line that is not blank, without its line end.
    """

    place: str
    first_line: int
    buffer: bytes
    spans: "np.ndarray[Any, np.dtype[np.int64]]"

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def earliest_after(self) -> None:
        """Of lines nobody knows what time comes next."""

    def line_of(self, index: int) -> int:
        """The number of the line that span `index` covers; blank lines count."""
        return self.first_line + self.buffer.count(b"\n", 0, int(self.spans[index, 0]))

    def where(self, index: int) -> str:
        """`place:line` of span `index`."""
        return f"{self.place}:{self.line_of(index)}"


def read_events(paths: Iterable[str | Path], *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Lines]:
    """The lines of all inputs, as `read_pieces` has them; rows of tables become JSON lines."""
    for piece in read_pieces(paths, chunk_bytes=chunk_bytes):
        if isinstance(piece, Lines):
            yield piece
        else:
            yield from table_lines(piece)


def read_pieces(
    paths: Iterable[str | Path], *, chunk_bytes: int = CHUNK_BYTES
) -> "Iterator[Lines | Table]":
    """The lines or rows of all inputs, in order and a chunk at a time; `-` is standard input.

    A line longer than an event may be that also exceeds a chunk is cut one byte over the limit,
    so that the decoder refuses it as too large. SourceError of one line names an input that
    cannot be read; the lines before the fault were handed out.
    """
    names = [str(path) for path in paths]
    for name in names:
        _look_for(name)
    outlook = of_files(names)
    for which, path in enumerate(names):
        try:
            yield from _read(path, chunk_bytes, outlook(which))
        except (gzip.BadGzipFile, zlib.error):
            msg = f"{path}: gzip data is damaged"
            raise SourceError(msg) from None
        except EOFError:
            msg = f"{path}: gzip data ends early: the file is truncated"
            raise SourceError(msg) from None
        except OSError as error:
            raise _unreadable(path, error) from None


def _look_for(path: str) -> None:
    """Raise SourceError where there is no such file: before hours are spent on those before it."""
    if path == "-":
        return
    try:
        found = Path(path).stat() if path else None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if found is None:
        msg = "'': allowed is the name of a file, or - for standard input"
        raise SourceError(msg)
    if S_ISFIFO(found.st_mode):
        return  # to open it would take something out of it
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError | ValueError) -> SourceError:
    told = error.strerror if isinstance(error, OSError) else None
    return SourceError(f"{path}: cannot be read: {(told or str(error)).lower()}")


def frame_lines(frame: "pd.DataFrame") -> Lines:
    """The rows of a DataFrame as JSON lines; missing values are left out."""
    from .rows import frame_columns, json_lines, with_index

    columns = frame_columns(with_index(frame))
    return cut("frame", 1, json_lines(columns, len(frame), nan_is_missing=True))


def table_lines(table: "Table") -> Iterator[Lines]:
    """The rows of a table as JSON lines, some thousand at a time."""
    for start in range(0, len(table), _ROWS_AT_ONCE):
        values = table.values(range(start, min(start + _ROWS_AT_ONCE, len(table))))
        yield cut(table.place, table.first_row + start, b"\n".join(values) + b"\n")


def cut(place: str, first_line: int, buffer: bytes) -> Lines:
    """A buffer of whole lines with the spans of those that are not blank."""
    import numpy as np

    data = np.frombuffer(buffer, np.uint8)
    ends = np.flatnonzero(data == 10)
    if len(buffer) and buffer[-1] != 10:
        ends = np.append(ends, len(buffer))
    if not len(ends):
        return Lines(place, first_line, buffer, np.empty((0, 2), np.int64))
    starts = np.concatenate(([0], ends[:-1] + 1))
    solid = np.concatenate(
        ([0], np.cumsum((data != 32) & (data != 9) & (data != 13) & (data != 10)))
    )
    kept = solid[np.minimum(ends, len(buffer))] > solid[starts]
    starts, ends = starts[kept], ends[kept]
    ends = ends - (data[ends - 1] == 13)
    return Lines(place, first_line, buffer, np.column_stack((starts, ends)).astype(np.int64))


def _read(path: str, chunk_bytes: int, later: Later) -> "Iterator[Lines | Table]":
    with ExitStack() as stack:
        file: IO[bytes]
        file = sys.stdin.buffer if path == "-" else stack.enter_context(Path(path).open("rb"))
        head = file.read(len(PARQUET))
        if head == PARQUET:
            from .tables import parquet_tables

            if path == "-":
                msg = (
                    "-: Parquet needs a file that can seek; standard input takes JSON lines or gzip"
                )
                raise SourceError(msg)
            yield from parquet_tables(path, later)
            return
        whole: IO[bytes] = io.BufferedReader(_Rejoined(head, file), 1 << 16)
        if head.startswith(_GZIP):
            packed = stack.enter_context(gzip.GzipFile(fileobj=whole))
            if packed.peek(len(PARQUET)).startswith(PARQUET):
                msg = f"{path}: is Parquet inside of gzip; unpack it, since its end is read first"
                raise SourceError(msg)
            whole = cast("IO[bytes]", packed)
        elif path.endswith(".gz") and head:
            msg = f"{path}: is no gzip data, though it is named so"
            raise SourceError(msg)
        elif path.endswith(".parquet"):
            msg = f"{path}: is no Parquet file, though it is named so"
            raise SourceError(msg)
        yield from _chunks(path, whole, chunk_bytes)


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already; works for pipes, which cannot seek."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head or self._rest.read(len(buffer))
        data, self._head = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _chunks(path: str, stream: IO[bytes], chunk_bytes: int) -> Iterator[Lines]:
    line, carry, cut_off, first = 1, b"", False, True
    while data := stream.read(max(chunk_bytes, len(_BOM))):
        data, first = data.removeprefix(_BOM) if first else data, False
        if cut_off:  # inside a line that was too long: drop the rest of it
            end = data.find(b"\n")
            if end < 0:
                continue
            data, cut_off = data[end:], False
        data = carry + data
        end = data.rfind(b"\n") + 1
        carry = data[end:]
        if len(carry) > max(chunk_bytes, MAX_EVENT_BYTES):
            carry, cut_off = carry[: MAX_EVENT_BYTES + 1], True
        if end:
            yield cut(path, line, data[:end])
            line += data.count(b"\n", 0, end)
    if carry:
        yield cut(path, line, carry)
