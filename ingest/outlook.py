"""How early in time what is still to come of an input can be: what is earlier may go on at once.

Known of tables with times as numbers, by a look at that column alone; whoever sorts events by time
need not hold all of them then. An input whose times are texts has no outlook, nor has one that
holds anything but events.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .schema import FIELDS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET: Final = b"PAR1"
"""With these a file begins."""
TIME: Final = "received_at"
EVER: Final = 2**62
"""Microseconds; no event is so late."""
_INDEX: Final = re.compile(r"__index_level_[0-9]+__")
_ROWS: Final = 1 << 13
"""Of a stretch: where a table ends within one, the rest of it has to wait."""
_NANOSECONDS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
Later = Callable[[int], int | None]
"""The earliest time from a row (from 0) on, microseconds; None where it is unknown."""


@dataclass(frozen=True)
class Outlook:
    """The earliest times of rows by stretches, each with all that is behind it.

    >>> ahead = outlook_of([(3, 50), (6, 20), (9, 70)], beyond=60)
    >>> [ahead.after(row) for row in (0, 3, 5, 6, 9)]
    [20, 20, 20, 60, 60]
    """

    ends: Sequence[int]
    least: Sequence[int]
    """One more than there are ends: the last is of what follows all rows."""

    def after(self, row: int) -> int:
        """Return the earliest time from a row on; of a stretch that has begun all rows count."""
        return self.least[bisect_right(self.ends, row)]


def outlook_of(stretches: Iterable[tuple[int, int]], beyond: int = EVER) -> Outlook:
    """Return the outlook on stretches of rows, each with its end and its earliest time."""
    known = list(stretches)
    behind = accumulate((least for _, least in reversed(known)), min, initial=beyond)
    return Outlook([end for end, _ in known], list(behind)[::-1])


def are_events(names: Sequence[str]) -> bool:
    """Tell whether columns can hold nothing but events, each with its time."""
    return FIELDS.keys() >= set(names) and TIME in names and len(set(names)) == len(names)


def names_in(schema: "pa.Schema") -> list[str]:
    """The names of a file's columns, but for an index without a name that pandas wrote along."""
    try:
        index = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
        unnamed = {name for name in index if isinstance(name, str) and _INDEX.fullmatch(name)}
    except (ValueError, KeyError, TypeError, RecursionError):
        unnamed = set()  # whatever wrote this, it was not pandas
    return [name for name in schema.names if name not in unnamed]


def is_clear(kind: "pa.DataType") -> bool:
    """Tell whether a column's times can be compared without reading texts."""
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) and kind.tz is not None)


def stretches_of(columns: "Iterable[pa.Array]") -> Iterator[tuple[int, int]]:
    """The end of each array among all rows, and the earliest of its times."""
    import pyarrow.compute as pc

    end = 0
    for column in columns:
        end += len(column)
        least: Any = pc.min(column).value
        time = EVER if least is None else least * _NANOSECONDS[column.type.unit] // 1_000
        yield end, max(-EVER, min(time, EVER))


def of_files(paths: Sequence[str]) -> "Callable[[int], Later]":
    """The outlook from each of some files on all that is read after; looked for when asked."""

    @cache
    def found() -> list[Outlook] | None:
        if not all(map(_is_parquet, paths)):
            return None
        known: list[Outlook] = []
        beyond = EVER
        for path in reversed(paths):
            stretches = _stretches_of_file(path)
            if stretches is None:
                return None
            known.append(outlook_of(stretches, beyond))
            beyond = known[-1].least[0]
        return known[::-1]

    def of(which: int) -> Later:
        def later(row: int) -> int | None:
            outlooks = found()
            return None if outlooks is None else outlooks[which].after(row)

        return later

    return of


def open_parquet(path: str, **options: Any) -> "pq.ParquetFile":
    """Open a file that is read piece by piece.

    Arrow would read all of it ahead otherwise: gigabytes of new memory, which takes longer to have
    than to fill.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, pre_buffer=False, **options)


def _is_parquet(path: str) -> bool:
    try:
        if path == "-" or not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            return file.read(len(PARQUET)) == PARQUET
    except OSError:
        return False  # who reads it says what is wrong


def _stretches_of_file(path: str) -> list[tuple[int, int]] | None:
    """Look at a file's times; None where others than events may be in it, or it is damaged."""
    import pyarrow as pa

    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            if not are_events(names_in(schema)) or not is_clear(schema.field(TIME).type):
                return None
            batches = file.iter_batches(columns=[TIME], batch_size=_ROWS, use_threads=False)
            return list(stretches_of(batch.column(0) for batch in batches))
    except (pa.ArrowException, OSError):
        return None  # who reads it says what is wrong
