"""Rows of a table as JSON lines, the form in which every event is judged.

Only the representation is mended, never a value: nulls are left out, times become RFC 3339, a
UUID or a fingerprint of 16 bytes becomes text, a decimal a number, and a whole number or a flag
that a missing neighbour turned into a float becomes itself again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import UUID

from .errors import SourceError
from .rfc3339 import format_time
from .schema import FIELDS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_INTEGERS: Final = frozenset(
    name
    for name, field in FIELDS.items()
    if field.annotation is int or int in get_args(field.annotation)
)
_BOOLEANS: Final = frozenset(
    name
    for name, field in FIELDS.items()
    if field.annotation is bool or bool in get_args(field.annotation)
)
_WHOLE: Final = _INTEGERS | _BOOLEANS
EQUAL_NAMES: Final = "allowed are columns with different names"
_SIXTEEN: Final = frozenset({"id", "delivery_fp", "signature_fp", "body_fp", "path_fp"})
_MISSING: Final = object()
_DIGITS: Final = 40
"""Before or after the point of a decimal: no number of an event has more."""


def json_lines(columns: Mapping[str, Sequence[Any]], rows: int, *, nan_is_missing: bool) -> bytes:
    """The rows of some columns, one JSON object a line."""
    lines = json_values(columns, rows, nan_is_missing=nan_is_missing)
    return b"\n".join(lines) + b"\n" if lines else b""


def json_values(
    columns: Mapping[str, Sequence[Any]], rows: int, *, nan_is_missing: bool
) -> list[bytes]:
    """The rows of some columns, each as a JSON object."""
    names = list(columns)
    found = []
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
            elif name in _BOOLEANS and type(kept) is int and kept in (0, 1):
                kept = bool(kept)  # pandas' convert_dtypes makes integers of such floats
            elif isinstance(value, bytes) and len(value) == 16 and name in _SIXTEEN:
                kept = str(UUID(bytes=value)) if name == "id" else value.hex()
            row[name] = kept
        found.append(json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode())
    return found


def _whole(name: str, value: float) -> Any:
    """The integer or flag that a missing neighbour turned into a float; others stay as they are."""
    if name in _BOOLEANS:
        return bool(value) if value in (0.0, 1.0) else value
    return int(value) if value.is_integer() else value


def with_index(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A DataFrame with a column for each level of its index that has the name of a field."""
    taken = {str(name) for name in frame.columns}
    levels = []
    for level, name in enumerate(frame.index.names):
        if isinstance(name, str) and name in FIELDS and name not in taken:
            levels.append(level)
            taken.add(name)
    return frame.reset_index(level=levels) if levels else frame


def frame_columns(frame: "pd.DataFrame") -> dict[str, list[Any]]:
    """The columns of a DataFrame as lists of objects, by name."""
    if not frame.columns.is_unique:
        msg = f"frame: {EQUAL_NAMES}"
        raise SourceError(msg)
    return {str(name): frame[name].tolist() for name in frame.columns}


def arrow_columns(batch: "pa.RecordBatch") -> dict[str, list[Any]]:
    """The columns of a batch of Arrow as lists of objects, by name."""
    return {
        name: _objects(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _objects(column: Any) -> list[Any]:
    """A column's values; text that is no UTF-8 keeps its bytes, as JSON can never hold them."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # of a text, or of a time that Python does not have
        return [_object(column, i) for i in range(len(column))]


def _object(column: Any, i: int) -> Any:
    import pyarrow as pa

    value = column[i]
    try:
        return value.as_py()
    except UnicodeDecodeError:
        if pa.types.is_dictionary(value.type):
            value = value.value
        try:
            return value.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
        except AttributeError:  # deep inside of something else
            return str(value.type)
    except (ValueError, OverflowError):
        return str(value.type)


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
        case Decimal():
            return _number(value)
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


def _number(value: Decimal) -> Any:
    """The number that a decimal is, or its text where there is none that is exactly it."""
    if not value.is_finite() or not -_DIGITS < value.adjusted() < _DIGITS:
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    nearest = float(value)
    return nearest if Decimal(repr(nearest)) == value else str(value)


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
