"""Columns of texts whose every value differs, read in place: UUIDs, fingerprints, times.

What is not in its usual form is marked, and decides nothing: such a row is left to the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.keys import id_keys
from detectors.octets import PAD, words_of
from detectors.scan import BAD, fingerprint, halves_of, time_of

Places = tuple[NDArray[Any], NDArray[np.int64]]
"""The bytes of a column by words, and where each text begins; last, where the last one ends."""


@lean
def _fingerprints(text: Any, begins: Any, there: Any, keys: Any, ok: Any) -> None:
    for e in range(len(there)):
        if there[e]:
            key = fingerprint(text, int(begins[e]), int(begins[e + 1]))
            if key == BAD:
                ok[e] = 0
            else:
                keys[e] = key


@lean
def _uuids(text: Any, begins: Any, there: Any, halves: Any, ok: Any) -> None:
    for e in range(len(there)):
        if not there[e] or not halves_of(text, int(begins[e]), int(begins[e + 1]), halves[e]):
            ok[e] = 0


@lean
def _moments(text: Any, begins: Any, there: Any, memo: Any, times: Any, ok: Any) -> None:
    for e in range(len(there)):
        if there[e]:
            time = time_of(text, int(begins[e]), int(begins[e + 1]), memo)
            if time == BAD:
                ok[e] = 0
            else:
                times[e] = time


def places_of(column: Any) -> Places:
    """Return where the texts of an Arrow column of (large) strings are."""
    import pyarrow as pa

    wide = pa.types.is_large_string(column.type)
    _, begins, data = column.buffers()
    whole: NDArray[Any] = np.frombuffer(begins, np.int64 if wide else np.int32)
    offsets = whole[column.offset : column.offset + len(column) + 1].astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    text = np.frombuffer(data or b"", np.uint8)[first:last]
    words = words_of(np.concatenate([text, np.zeros(PAD, np.uint8)]))
    words.flags.writeable = False  # one kind of array, so one compilation
    return words, offsets - first


def fingerprints(column: Any, there: NDArray[np.bool_], ok: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the keys of fingerprints, 0 where there is none."""
    keys = np.zeros(len(there), np.int64)
    _fingerprints(*places_of(column), there, keys, ok)
    return keys


def uuids(column: Any, there: NDArray[np.bool_], ok: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the keys of UUIDs, each of which must be there."""
    halves = np.zeros((len(there), 2), np.int64)
    _uuids(*places_of(column), there, halves, ok)
    return id_keys(halves)


def moments(column: Any, there: NDArray[np.bool_], ok: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return times in microseconds, 0 where there is none."""
    times = np.zeros(len(there), np.int64)
    _moments(*places_of(column), there, np.zeros(3, np.uint64), times, ok)
    return times


def halves_of_bytes(column: Any, there: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return both halves of values of 16 bytes as signed numbers, 0 where there is none."""
    halves = _halves(column).astype(np.int64)
    if not there.all():
        halves[~there] = 0
    return halves


def first_halves(column: Any) -> NDArray[np.int64]:
    """Return the first half of each value of 16 bytes, whatever it is where there is none."""
    return _halves(column)[:, 0].astype(np.int64)


def _halves(column: Any) -> NDArray[Any]:
    _, data = column.buffers()
    halves = np.frombuffer(data, ">i8").reshape(-1, 2)
    return halves[column.offset : column.offset + len(column)]
