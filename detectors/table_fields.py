"""The columns of one table, read whole, and which of its rows are plainly valid up to now.

Whatever has another type or is out of range only loses its row the fast way; nothing is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.keys import id_keys
from detectors.plain_fields import bounds
from detectors.texts import fingerprints, first_halves, halves_of_bytes, moments, uuids
from ingest.schema import FIELDS
from ingest.tables import REPEATED, Table

TIMES: Final = ("received_at", "signed_at", "event_created_at")
FINGERPRINTS: Final = ("delivery_fp", "signature_fp", "body_fp", "path_fp")
NUMBERS: Final = ("schema", "body_bytes", "status", "attempt", "asn", "duration_ms", "sample_rate")
FLAGS: Final = ("signature_ok", "duplicate")
KNOWN: Final = {*REPEATED, *TIMES, *FINGERPRINTS, *NUMBERS, *FLAGS, "id"}
NEEDED: Final = {name for name, field in FIELDS.items() if field.is_required()}
_ZERO: Final = np.zeros(1, np.int64)
_NO_FLAG: Final = np.full(1, -1, np.int64)
_LAST_TIME: Final = 253_370_764_800_000_000
"""The year 9999 begins: later times may be none in another zone."""
_PER_SECOND: Final[Mapping[str, int]] = {"s": 1_000_000, "ms": 1_000, "us": 1}

Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
"""Of each row, or one for all where all are alike: see ``detectors.table_rows``."""


class Fields:
    """The columns of one table, and which of its rows are plainly valid up to now."""

    def __init__(self, table: Table, ok: Flags) -> None:
        self.ok = ok
        self._table = table
        self._names = set(table.names())

    def may_be(self) -> bool:
        """Mark rows with other fields; tell whether any row may be valid."""
        if not self._names >= NEEDED:
            self.ok[:] = False
            return False
        for name in self._names - KNOWN:
            column = self._table.column(name)
            self.ok &= False if column is None else ~_there(column)
        return bool(self.ok.any())

    def _column(self, name: str) -> Any:
        """Return a column, None where it is of no use: absent, or of no one type."""
        if name not in self._names:
            return None
        column = self._table.column(name)
        if column is None:
            self.ok[:] = False
        elif column.null_count == len(column):
            column = None
        if column is None and name in NEEDED:
            self.ok[:] = False
        return column

    def _other_type(self, there: Flags, name: str) -> None:
        """What is there has a type that others must judge."""
        self.ok &= ~there if name not in NEEDED else False

    def text(self, name: str) -> tuple[Any, NDArray[np.int32], bool]:
        """Return a column as a dictionary and codes, and whether one says that nothing is there.

        That code is the first beyond the dictionary.
        """
        import pyarrow as pa

        column = self._column(name)
        nothing = pa.array([], pa.string()), np.zeros(1, np.int32), True
        if column is None:
            return nothing
        if not pa.types.is_dictionary(column.type):
            if not _is_text(column.type):
                self._other_type(_there(column), name)
                return nothing
            column = column.dictionary_encode()
        dictionary = column.dictionary
        if not _is_text(dictionary.type) or dictionary.null_count:
            self._other_type(_there(column), name)
            return nothing
        codes, has_missing = column.indices, column.null_count > 0
        if has_missing:
            codes = codes.cast(pa.int32()).fill_null(len(dictionary))
        found = codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
        return dictionary, found, has_missing

    def time(self, name: str) -> Numbers:
        """Return times in microseconds, 0 where there is none."""
        import pyarrow as pa

        column = self._column(name)
        if column is None:
            return _ZERO
        there = _there(column)
        column = _decoded(column)
        if _is_text(column.type):
            found = moments(column, there, self.ok)
        elif pa.types.is_timestamp(column.type) and column.type.tz is not None:
            unit = column.type.unit
            column = column.view(pa.int64())
            column = column.fill_null(0) if column.null_count else column
            found = column.to_numpy(zero_copy_only=False)
            most = _LAST_TIME // _PER_SECOND[unit] if unit != "ns" else np.iinfo(np.int64).max
            if not _within(found, 0, most - 1):
                self.ok &= (found >= 0) & (found < most)
            if unit != "us":
                found = found // 1_000 if unit == "ns" else found * _PER_SECOND[unit]
        else:
            self._other_type(there, name)
            return _ZERO
        if name in NEEDED:
            self.ok &= there
        return np.asarray(found, np.int64)

    def number(self, name: str, missing: float) -> NDArray[Any]:
        """Return numbers in the range of the model: of int64 or float64, as ``missing`` is."""
        import pyarrow as pa

        column = self._column(name)
        wanted: type[np.generic] = np.int64 if isinstance(missing, int) else np.float64
        nothing = np.full(1, missing, wanted)
        if column is None:
            return nothing
        column = _decoded(column)
        whole = wanted is np.int64
        floating = column.type in (pa.float32(), pa.float64())
        if not floating and not pa.types.is_integer(column.type):
            self._other_type(_there(column), name)
            return nothing
        filled = column.fill_null(0) if column.null_count else column
        found = filled.to_numpy(zero_copy_only=False)
        low, high, above = bounds(name)
        if not floating and not column.null_count and above is None and _within(found, low, high):
            return np.asarray(found, wanted)
        there = _there(column)
        if floating and (whole or self._table.nan_is_missing):
            there = there & ~np.isnan(found)
        if floating:
            found = found.astype(np.float64)
        fits = (found >= low) & (found <= high)
        if above is not None:
            fits &= found > above
        if floating and whole:
            fits &= found == np.floor(found)
        self.ok &= fits | ~there
        if name in NEEDED:
            self.ok &= there
        return np.asarray(np.where(there & fits, found, missing), wanted)

    def flag(self, name: str) -> Numbers:
        """Return flags, -1 where there is none."""
        import pyarrow as pa

        column = self._column(name)
        if column is None:
            return _NO_FLAG
        there = _there(column)
        column = _decoded(column)
        if column.type in (pa.float32(), pa.float64()):  # as pandas has them beside missing ones
            found = column.fill_null(0.0).to_numpy(zero_copy_only=False)
            there = there & ~np.isnan(found)
            self.ok &= (found == 0.0) | (found == 1.0) | ~there
        elif pa.types.is_integer(column.type):  # as its convert_dtypes makes of them
            found = column.fill_null(0).to_numpy(zero_copy_only=False)
            self.ok &= (found == 0) | (found == 1) | ~there
        elif pa.types.is_boolean(column.type):
            column = column.fill_null(False) if column.null_count else column
            found = column.to_numpy(zero_copy_only=False)
        else:
            self._other_type(there, name)
            return _NO_FLAG
        flags: Numbers = (found == 1).astype(np.int64)
        if not there.all():
            flags[~there] = -1
        return flags

    def id(self) -> Numbers:
        """Return the keys of the ids, one for each row."""
        import pyarrow as pa

        column = self._column("id")
        if column is None:
            return np.zeros(len(self.ok), np.int64)
        there = _there(column)
        column = column.storage if column.type == pa.uuid() else _decoded(column)
        if column.type == pa.binary(16):
            self.ok &= there
            return id_keys(halves_of_bytes(column, there))
        if not _is_text(column.type):
            self._other_type(there, "id")
            return np.zeros(len(self.ok), np.int64)
        return uuids(column, there, self.ok)

    def fingerprint(self, name: str) -> Numbers:
        """Return the keys of fingerprints, 0 where there is none."""
        import pyarrow as pa

        column = self._column(name)
        if column is None:
            return _ZERO
        there = _there(column)
        column = _decoded(column)
        if column.type == pa.binary(16):
            keys = first_halves(column)
            if not keys.all():
                keys[keys == 0] = 1
            if not there.all():
                keys[~there] = 0
            return keys
        if not _is_text(column.type):
            self._other_type(there, name)
            return _ZERO
        return fingerprints(column, there, self.ok)


def _within(found: NDArray[Any], low: float, high: float) -> bool:
    return bool(len(found) and found.min() >= low and found.max() <= high)


def _there(column: Any) -> Flags:
    """Return which values are there."""
    if not column.null_count:
        return np.ones(len(column), np.bool_)
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _decoded(column: Any) -> Any:
    """Return a column without its dictionary."""
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
