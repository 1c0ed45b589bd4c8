"""State as bytes: a header of JSON, arrays as they are, a checksum. Nothing is pickled.

What comes block by block (``read``) is never held as bytes: its arrays are filled as it comes, and
tables take them over as they are (``roomy``). So a restore needs little more memory than the state.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from crc32c import crc32c
from numpy.typing import NDArray

from detectors.errors import OtherVersionError, StateError

MAGIC = b"CALLWATCH-STATE-2\n"
CHECK_BYTES = 4
"""CRC-32C: against damage, and ten times faster than any hash. Where a state travels, its carrier
has a hash of its own (``detectors.engines.state_topic``)."""
PATCH = "@"
RUNS = "@runs"
STEPS = "@steps"
"""Like ``RUNS``, for places that lie apart."""
_ALIGNED: Final = 128
"""Bytes: arrays that are read begin at two cache lines, as buckets do (``detectors.memory``)."""
_ROOM: Final = 8
"""An array that was read can grow by one in so many, as its table would let it (``growth``)."""


class State(NamedTuple):
    """A state that was read, or what has changed in one."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())


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


def unpack(data: bytes | memoryview | State) -> State:
    """Return header and arrays, views of the bytes; StateError where they are no snapshot.

    What was read already is returned as it is.
    """
    if isinstance(data, State):
        return data
    whole = memoryview(data).toreadonly()
    body, check = whole[:-CHECK_BYTES], whole[-CHECK_BYTES:]
    if body[: len(MAGIC)] != MAGIC:
        raise OtherVersionError(_OTHER)
    if crc32c(body).to_bytes(CHECK_BYTES, "big") != check:
        raise StateError(_DAMAGED)
    start = len(MAGIC) + 8
    end = start + int.from_bytes(body[len(MAGIC) : start], "big")
    parsed = json.loads(bytes(body[start:end]))
    arrays = {}
    for name, (kind, length) in parsed["arrays"].items():
        dtype = _dtype(kind)
        arrays[name] = np.frombuffer(body, dtype, length, end)
        end += length * dtype.itemsize
    return State(parsed["header"], arrays)


def read(blocks: Iterable[bytes | memoryview], length: int) -> State:
    """Return what ``unpack`` does, of so many bytes that come in blocks; no block is kept.

    Its arrays may be written, begin at two cache lines where they hold anything, and have room to
    grow: see ``roomy``. OtherVersionError where another version of callwatch wrote it.
    """
    stream = _Stream(blocks)
    if stream.take(len(MAGIC)) != MAGIC:
        raise OtherVersionError(_OTHER)
    size = int.from_bytes(stream.take(8), "big")
    rest = length - len(MAGIC) - 8 - size - CHECK_BYTES
    try:
        parsed = json.loads(stream.take(size if rest >= 0 else 0))
        kinds = {name: (_dtype(kind), int(n)) for name, (kind, n) in parsed["arrays"].items()}
        header = parsed["header"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise StateError(_DAMAGED) from None
    sizes = [n * dtype.itemsize for dtype, n in kinds.values()]
    plain = all(n >= 0 and kind.itemsize > 0 and not kind.hasobject for kind, n in kinds.values())
    if sum(sizes) != rest or not plain:
        raise StateError(_DAMAGED)
    arrays = {}
    for name, (dtype, n) in kinds.items():
        arrays[name] = _array_with_room(dtype, n)
        stream.fill(arrays[name].view(np.uint8))
    check = stream.check.to_bytes(CHECK_BYTES, "big")
    if stream.take(CHECK_BYTES) != check or stream.more:
        raise StateError(_DAMAGED)
    return State(header, arrays)


_OTHER: Final = "snapshot: these bytes are no snapshot of this version"
_DAMAGED: Final = "snapshot: checksum does not match"


class _Stream:
    """Bytes that come in blocks, and the checksum of those that were taken."""

    def __init__(self, blocks: Iterable[bytes | memoryview]) -> None:
        self.check = 0
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        while not self._rest and (block := next(self._blocks, None)) is not None:
            self._rest = memoryview(block)
        return bool(self._rest)

    def take(self, size: int) -> bytes:
        """Return the next bytes; StateError where there are not so many."""
        found = bytearray()
        while len(found) < size:
            found += self._some(size - len(found))
        return bytes(found)

    def fill(self, room: NDArray[np.uint8]) -> None:
        """Write the next bytes where they belong; StateError where there are too few.

        By numpy, which lets other threads go on: new memory is slow at its first touch.
        """
        at = 0
        while at < len(room):
            some = self._some(len(room) - at)
            room[at : at + len(some)] = np.frombuffer(some, np.uint8)
            at += len(some)

    def _some(self, most: int) -> memoryview:
        if not self.more:
            raise StateError(_DAMAGED)
        some, self._rest = self._rest[:most], self._rest[most:]
        self.check = crc32c(some, self.check)
        return some


def _array_with_room(dtype: np.dtype[Any], length: int) -> NDArray[Any]:
    size = length * dtype.itemsize
    room = np.zeros(size + size // _ROOM + 2 * (_ALIGNED + dtype.itemsize), np.uint8)
    start = -room.ctypes.data % _ALIGNED
    return room[start : start + size].view(dtype)


def roomy(array: NDArray[Any], length: int) -> NDArray[Any]:
    """Return an array that begins with this one: longer, zeros behind, and free to be written.

    It is the same memory where the array may be written: it was made by ``read``, and is nobody
    else's. There is room in it as a rule; where not, and for a view that may not be written, it is
    a copy, with room. ValueError where it is too long.
    """
    if length < len(array):
        msg = f"{len(array)} rows, of which {length} are to be there"
        raise ValueError(msg)
    if length == len(array) and array.flags.writeable:
        return array
    owner = array.base
    if isinstance(owner, np.ndarray) and owner.dtype == np.uint8 and array.flags.writeable:
        start = array.ctypes.data - owner.ctypes.data
        stop = start + length * array.dtype.itemsize
        if stop <= owner.nbytes:
            return owner[start:stop].view(array.dtype)
    longer = _array_with_room(array.dtype, length)
    in_one_piece(longer)[: len(array)] = in_one_piece(array)
    return longer


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


def merge(base: State, changes: Sequence[State]) -> State:
    """Return the state that changes make of an earlier one, which may be written, in their order.

    An array ``table/name@`` holds what is to stand in ``table/name`` at the runs ``table/@runs``,
    or at the places ``table/@steps``; any other array, and the header, is whole. StateError where
    they do not belong together.
    """
    header, arrays = base  # an array that is replaced there is not kept
    try:
        length = {  # rows are never given back: the last is the most
            name.rpartition("/")[0]: int(array[0])
            for _, parts in changes
            for name, array in parts.items()
            if name.endswith((RUNS, STEPS))
        }
        for header, parts in changes:  # noqa: B007 - the last one counts
            for name, array in parts.items():
                if name.endswith((RUNS, STEPS)):
                    continue
                if not name.endswith(PATCH):
                    arrays[name] = array
                    continue
                table, target = name.rpartition("/")[0], name.removesuffix(PATCH)
                arrays[target] = roomy(arrays[target], length[table])
                _apply(arrays[target], array, _places(parts, table))
    except (KeyError, IndexError, ValueError) as error:
        msg = f"snapshot: changes do not fit what they change: {error!r}"
        raise StateError(msg) from None
    return State(header, arrays)


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


def locked(view: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array that somebody goes on to use: it cannot be written."""
    kept = view[:]
    kept.flags.writeable = False
    return kept


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
