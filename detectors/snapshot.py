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
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.errors import StateError

MAGIC = b"CALLWATCH-STATE-1\n"
CHECK_BYTES = 16
PATCH = "@"
RUNS = "@runs"


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
        check = blake2b(digest_size=CHECK_BYTES)
        head: list[bytes | memoryview] = [MAGIC, len(text).to_bytes(8, "big"), text]
        for piece in (*head, *map(_bytes_of, arrays.values())):
            check.update(piece)
            yield piece
        yield check.digest()


def written(header: Mapping[str, Any]) -> str:
    """Return a header as JSON; the order of its keys changes nothing."""
    return json.dumps(header, separators=(",", ":"), sort_keys=True)


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return header and arrays as bytes; the order of their keys changes nothing."""
    return b"".join(Copied(written(header), arrays).pieces())


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return header and arrays; StateError where the bytes are no whole snapshot."""
    body, check = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    if not body.startswith(MAGIC):
        msg = "snapshot: these bytes are no snapshot of this version"
        raise StateError(msg)
    if blake2b(body, digest_size=CHECK_BYTES).digest() != check:
        msg = "snapshot: checksum does not match"
        raise StateError(msg)
    start = len(MAGIC) + 8
    end = start + int.from_bytes(body[len(MAGIC) : start], "big")
    parsed = json.loads(body[start:end])
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


def merge(base: bytes, changes: Sequence[bytes]) -> bytes:
    """Return the snapshot that changes make of an earlier one, applied in their order.

    An array ``table/name@`` holds what is to stand in ``table/name`` at the runs ``table/@runs``;
    any other array, and the header, is whole. StateError where they do not belong together.
    """
    if not changes:
        return base
    header, arrays = unpack(base)
    later = [unpack(one) for one in changes]
    try:
        length = {
            name.partition("/")[0]: int(array[0])  # rows are never given back: the last is the most
            for _, parts in later
            for name, array in parts.items()
            if name.endswith(RUNS)
        }
        for header, parts in later:  # noqa: B007 - the last one counts
            for name, array in parts.items():
                if name.endswith(RUNS):
                    continue
                if not name.endswith(PATCH):
                    arrays[name] = array
                    continue
                table, target = name.partition("/")[0], name.removesuffix(PATCH)
                arrays[target] = _roomy(arrays[target], length[table])
                _apply(arrays[target], array, parts[f"{table}/{RUNS}"])
    except (KeyError, IndexError, ValueError) as error:
        msg = f"snapshot: changes do not fit what they change: {error!r}"
        raise StateError(msg) from None
    return pack(header, arrays)


def _roomy(array: NDArray[Any], length: int) -> NDArray[Any]:
    if len(array) == length and array.flags.writeable:
        return array
    roomy = np.zeros(length, array.dtype)
    roomy[: len(array)] = array
    return roomy


def _apply(array: NDArray[Any], values: NDArray[Any], runs: NDArray[np.int64]) -> None:
    starts, lengths = runs[1::2], runs[2::2]
    before = np.cumsum(lengths) - lengths
    places = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    if array.dtype != values.dtype or len(places) != len(values) or np.any(places < 0):
        msg = "other rows, or another number of them"
        raise ValueError(msg)
    array[places] = values


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data


def _kind(dtype: np.dtype[Any]) -> Any:
    return dtype.descr if dtype.names else dtype.str


def _dtype(kind: Any) -> np.dtype[Any]:
    if isinstance(kind, str):
        return np.dtype(kind)
    return np.dtype([tuple(tuple(x) if isinstance(x, list) else x for x in f) for f in kind])
