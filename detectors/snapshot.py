"""State as bytes: a header of JSON, arrays as they are, a checksum. Nothing is pickled.

>>> import numpy as np
>>> data = pack({"a": 1}, {"x": np.arange(3)})
>>> header, arrays = unpack(data)
>>> header["a"], arrays["x"].tolist()
(1, [0, 1, 2])
>>> unpack(data[:-1] + bytes([data[-1] ^ 1]))
Traceback (most recent call last):
    ...
detectors.errors.StateError: snapshot: checksum does not match
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from detectors.errors import StateError

MAGIC = b"CALLWATCH-STATE-2\n"
CHECK_BYTES = 4
"""CRC-32C: against damage, and ten times faster than any hash. Where a state travels, its carrier
has a hash of its own (``detectors.engines.state_topic``)."""
PATCH = "@"
RUNS = "@runs"
STEPS = "@steps"
"""Like ``RUNS``, for places that lie apart."""


@dataclass(frozen=True)
class Copied:
    """A consistent copy of a state, or of what has changed in it; packed in any thread."""

    header: str
    """JSON, as ``written`` gives it."""
    arrays: Mapping[str, NDArray[Any]]
    whole: bool = True
    """Whether it is all of the state, and not only changes."""

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Give what ``pack`` returns piece by piece, without another copy of the arrays."""
        arrays = dict(sorted(self.arrays.items()))
        kinds = written({name: [_kind(a.dtype), len(a)] for name, a in arrays.items()})
        text = f'{{"arrays":{kinds},"header":{self.header}}}'.encode()
        check = 0
        head: list[bytes | memoryview] = [MAGIC, len(text).to_bytes(8, "big"), text]
        for piece in (*head, *map(_bytes_of, arrays.values())):
            check = crc32c(piece, check)
            yield piece
        yield check.to_bytes(CHECK_BYTES, "big")


def written(header: Mapping[str, Any]) -> str:
    """Return a header as JSON; the order of its keys changes nothing."""
    return json.dumps(header, separators=(",", ":"), sort_keys=True)


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return header and arrays as bytes; the order of their keys changes nothing."""
    return b"".join(Copied(written(header), arrays).pieces())


def unpack(data: bytes | memoryview) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return header and arrays; StateError where the bytes are no whole snapshot.

    Arrays are views: a copy of each would be as much memory again, that is new.
    """
    whole = memoryview(data).toreadonly()
    body, check = whole[:-CHECK_BYTES], whole[-CHECK_BYTES:]
    if body[: len(MAGIC)] != MAGIC:
        msg = "snapshot: these bytes are no snapshot of this version"
        raise StateError(msg)
    if crc32c(body).to_bytes(CHECK_BYTES, "big") != check:
        msg = "snapshot: checksum does not match"
        raise StateError(msg)
    start = len(MAGIC) + 8
    end = start + int.from_bytes(body[len(MAGIC) : start], "big")
    parsed = json.loads(bytes(body[start:end]))
    arrays = {}
    for name, (kind, length) in parsed["arrays"].items():
        dtype = _dtype(kind)
        arrays[name] = np.frombuffer(body, dtype, length, end)
        end += length * dtype.itemsize
    return parsed["header"], arrays


def runs_of(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return rising places as pairs of start and length, behind the length of the whole.

    >>> runs_of(np.array([3, 4, 5, 9]), 20).tolist()
    [20, 3, 3, 9, 1]
    """
    first = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    lengths = np.diff(first, append=len(places))
    pairs = np.stack([places[first], lengths], axis=1)
    return np.concatenate([np.array([length]), pairs.reshape(-1)]).astype(np.int64)


def steps_of(places: NDArray[np.int64], length: int) -> NDArray[np.uint32]:
    """Return rising places as the steps from each to the next, behind the length of the whole.

    Single places in four bytes, most of which are zero and pack well.

    >>> steps_of(np.array([3, 4, 9]), 20).tolist()
    [20, 3, 1, 5]
    """
    return np.concatenate([np.array([length]), np.diff(places, prepend=0)]).astype(np.uint32)


def merge(base: bytes | memoryview, changes: Sequence[bytes | memoryview]) -> bytes | memoryview:
    """Return the snapshot that changes make of an earlier one, applied in their order.

    An array ``table/name@`` holds what is to stand in ``table/name`` at the runs ``table/@runs``,
    or at the places ``table/@steps``; any other array, and the header, is whole. StateError where
    they do not belong together.
    """
    if not changes:
        return base
    header, arrays = unpack(base)
    later = [unpack(one) for one in changes]
    try:
        length = {  # rows are never given back: the last is the most
            name.rpartition("/")[0]: int(array[0])
            for _, parts in later
            for name, array in parts.items()
            if name.endswith((RUNS, STEPS))
        }
        for header, parts in later:  # noqa: B007 - the last one counts
            for name, array in parts.items():
                if name.endswith((RUNS, STEPS)):
                    continue
                if not name.endswith(PATCH):
                    arrays[name] = array
                    continue
                table, target = name.rpartition("/")[0], name.removesuffix(PATCH)
                arrays[target] = _roomy(arrays[target], length[table])
                _apply(arrays[target], array, _places(parts, table))
    except (KeyError, IndexError, ValueError) as error:
        msg = f"snapshot: changes do not fit what they change: {error!r}"
        raise StateError(msg) from None
    return pack(header, arrays)


def _roomy(array: NDArray[Any], length: int) -> NDArray[Any]:
    if len(array) == length and array.flags.writeable:
        return array
    roomy = np.zeros(length, array.dtype)
    in_one_piece(roomy)[: len(array)] = in_one_piece(array)
    return roomy


def _places(parts: Mapping[str, NDArray[Any]], table: str) -> NDArray[np.int64]:
    """Return where the values of a table's changes belong."""
    steps = parts.get(f"{table}/{STEPS}")
    if steps is not None:
        return np.cumsum(steps[1:].astype(np.int64))
    runs = parts[f"{table}/{RUNS}"]
    starts, lengths = runs[1::2], runs[2::2]
    before = np.cumsum(lengths) - lengths
    places: NDArray[np.int64] = np.repeat(starts - before, lengths)
    return places + np.arange(int(lengths.sum()))


def _apply(array: NDArray[Any], values: NDArray[Any], places: NDArray[np.int64]) -> None:
    if array.dtype != values.dtype or len(places) != len(values) or np.any(places < 0):
        msg = "other rows, or another number of them"
        raise ValueError(msg)
    in_one_piece(array)[places] = in_one_piece(values)


def in_one_piece(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a view of rows that numpy copies as they are: else it copies field by field.

    >>> in_one_piece(np.zeros(2, [("a", "i8"), ("b", "i4")])).dtype.itemsize
    12
    """
    return rows.view(np.dtype((np.void, rows.dtype.itemsize)))


def copy_of(rows: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of rows."""
    found: NDArray[Any] = in_one_piece(rows).copy().view(rows.dtype)
    return found


def picked(rows: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Return a copy of the rows at these places."""
    # Places are never out of range; with any other mode numpy goes through a buffer.
    found: NDArray[Any] = in_one_piece(rows).take(places, mode="clip").view(rows.dtype)
    return found


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data


def _kind(dtype: np.dtype[Any]) -> Any:
    return dtype.descr if dtype.names else dtype.str


def _dtype(kind: Any) -> np.dtype[Any]:
    if isinstance(kind, str):
        return np.dtype(kind)
    return np.dtype([tuple(tuple(x) if isinstance(x, list) else x for x in f) for f in kind])
