"""Rows of a table as JSON lines, the form in which every event is judged.

Only the representation is mended, never a value: nulls are left out, times become RFC 3339, a
UUID of 16 bytes becomes text, and a whole number or a flag that a missing neighbour turned into a
float becomes itself again.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import UUID

from .errors import SourceError
from .rfc3339 import format_time
from .schema import CallbackEvent

if TYPE_CHECKING:
    import pandas as pd

_BATCH_ROWS: Final = 8_192
_INTEGERS: Final = frozenset(
    field.alias or name
    for name, field in CallbackEvent.model_fields.items()
    if field.annotation is int or int in get_args(field.annotation)
)
_BOOLEANS: Final = frozenset(
    name
    for name, field in CallbackEvent.model_fields.items()
    if field.annotation is bool or bool in get_args(field.annotation)
)
_WHOLE: Final = _INTEGERS | _BOOLEANS
_MISSING: Final = object()


def json_lines(columns: Mapping[str, Sequence[Any]], rows: int, *, nan_is_missing: bool) -> bytes:
    """The rows of some columns, one JSON object a line."""
    names = list(columns)
    lines = []
    for values in zip(*columns.values(), strict=True) if names else [()] * rows:
        row = {}
        for name, value in zip(names, values, strict=True):
            kept = _plain(value, nan_is_missing=nan_is_missing)
            if kept is _MISSING:
                continue
            if isinstance(kept, float) and name in _WHOLE:
                if math.isnan(kept):
                    continue  # pandas has no other way to say that a flag or a count is missing
                kept = _whole(name, kept)
            elif name == "id" and isinstance(value, bytes) and len(value) == 16:
                kept = str(UUID(bytes=value))
            row[name] = kept
        lines.append(json.dumps(row, ensure_ascii=True, separators=(",", ":")))
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _whole(name: str, value: float) -> Any:
    """The integer or flag that a missing neighbour turned into a float; others stay as they are."""
    if name in _BOOLEANS:
        return bool(value) if value in (0.0, 1.0) else value
    return int(value) if value.is_integer() else value


def frame_columns(frame: "pd.DataFrame") -> dict[str, list[Any]]:
    """The columns of a DataFrame as lists of objects, by name."""
    if not frame.columns.is_unique:
        msg = "frame: allowed are columns with different names"
        raise SourceError(msg)
    return {str(name): frame[name].tolist() for name in frame.columns}


def parquet_batches(path: str) -> Iterator[tuple[dict[str, list[Any]], int]]:
    """The columns of a Parquet file, some thousand rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                columns = {
                    name: _in_microseconds(column).to_pylist()
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                }
                yield columns, batch.num_rows
    except pa.ArrowException as error:
        msg = f"{path}: no readable Parquet: {' '.join(str(error).split())[:200]}"
        raise SourceError(msg) from None


def _in_microseconds(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column


def _plain(value: Any, *, nan_is_missing: bool) -> Any:
    if value is None or type(value).__name__ in {"NaTType", "NAType"}:
        return _MISSING
    if hasattr(value, "tolist"):
        value = value.tolist()  # a scalar or an array of numpy
    match value:
        case bool() | int() | str():
            return str(value) if isinstance(value, str) else value
        case float():
            return _MISSING if nan_is_missing and math.isnan(value) else value
        case datetime():
            return format_time(value) if value.tzinfo else value.isoformat()
        case bytes():
            return value.decode("utf-8", "replace")
        case UUID() | date():
            return str(value)
        case Mapping():
            kept = {str(k): _plain(v, nan_is_missing=nan_is_missing) for k, v in value.items()}
            return {name: item for name, item in kept.items() if item is not _MISSING}
        case list() | tuple() if value and all(_is_pair(item) for item in value):
            return _plain(dict(value), nan_is_missing=nan_is_missing)  # a map column of Arrow
        case list() | tuple():
            return [_plain(item, nan_is_missing=nan_is_missing) for item in value]
    return str(value)


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
