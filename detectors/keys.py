"""64-bit keys of names and of combinations, and where a key's look-up starts.

A name's key is BLAKE2b-64 of its UTF-8 bytes: the same in every process and run, and finding a
second name for a given key takes 2^63 tries. The place where a look-up starts is mixed with a
number that is drawn once per process, so that senders cannot choose names that collide in the
table; results never depend on places.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.event import EVENT
from models.kernel import kernel
from models.prefetch import prefetch

_WORD_BYTES = 8
_BLOCK = 128
"""Events that are gathered together."""
_EVENT_WORDS = EVENT.itemsize // _WORD_BYTES
PLACE_BITS = 31
PLACE_MASK = (1 << PLACE_BITS) - 1
SECRET = 2 * secrets.randbits(63) + 1 - 2**63
_M1 = np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64's constants (Steele, Lea, Flood 2014)
_M2 = np.uint64(0x94D049BB133111EB)
_S1, _S2, _S3 = np.uint64(30), np.uint64(27), np.uint64(31)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FINAL, _HALF = 0xFF51AFD7ED558CCD - 2**64, (1 << 32) - 1
_NULL, _ONE, _TOP = np.uint64(0), np.uint64(1), np.uint64(1 << 63)


def name_key(name: str) -> int:
    """Return the key of a name: a signed 64-bit number, never 0."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True) or 1


def hex_key(digits: str) -> int:
    """Return the key of a fingerprint: its first 64 bits, never 0; ValueError where not hex."""
    return int.from_bytes(bytes.fromhex(digits)[:8], "big", signed=True) or 1


def id_key(text: str) -> int:
    """Return the key of a UUID: both halves mixed, never 0.

    >>> halves = np.array([[hex_key("0123456789abcdef"), hex_key("fedcba9876543210")]])
    >>> id_key("01234567-89ab-cdef-fedc-ba9876543210") == int(id_keys(halves)[0])
    True
    """
    digits = text.replace("-", "")
    mixed = hex_key(digits) * int(_ODD) + hex_key(digits[16:])
    return (mixed & 2**64 - 1) - 2**63 or 1


def id_keys(halves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the keys of UUIDs from their halves, two signed numbers each."""
    parts = halves.view(np.uint64)
    if not parts.all():
        parts = np.where(parts == 0, _ONE, parts)  # as ``hex_key`` has it
    mixed = parts[:, 0] * _ODD
    mixed += parts[:, 1]
    mixed ^= _TOP
    if not mixed.all():
        mixed[mixed == 0] = 1
    return mixed.view(np.int64)


def _mix(x: NDArray[np.uint64]) -> None:
    """Mix every number in place."""
    scratch = np.empty_like(x)
    for shift, factor in ((_S1, _M1), (_S2, _M2), (_S3, None)):
        np.right_shift(x, shift, out=scratch)
        np.bitwise_xor(x, scratch, out=x)
        if factor is not None:
            np.multiply(x, factor, out=x)


@dataclass(frozen=True)
class Gathered:
    """What was gathered from a batch's events."""

    keys: Mapping[tuple[str, ...], NDArray[np.int64] | None]
    """Of each event's row, by key columns: 0 where any of them is 0.

    None where no event has a key: most streams have no redirects.
    """
    columns: Mapping[str, NDArray[np.int64]]


class KeyColumns:
    """Keys of rows and columns of events: all are gathered in one pass over a batch.

    Each event is five lines of memory; to fetch them once for every column took three times as
    long.
    """

    def __init__(self, keys: Iterable[tuple[str, ...]], columns: Iterable[str] = ()) -> None:
        self._keys, self._columns = tuple(keys), tuple(columns)
        self._steps: dict[tuple[str, ...], int] = {}
        program: list[tuple[int, int, int, int]] = []
        for key in (*self._keys, *((name,) for name in self._columns)):
            for end in range(1, len(key) + 1):
                if key[:end] not in self._steps:
                    self._steps[key[:end]] = len(program)
                    program.append((self._steps.get(key[: end - 1], -1), *_place_of(key[end - 1])))
        self._program = np.array(program, np.int64).reshape(-1, 4)

    def of(self, events: NDArray[Any]) -> Gathered:
        """Gather from a batch's events."""
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            found = [combine([events[name] for name in key]) for key in self._steps]
            some = [bool(column.any()) for column in found]
        else:
            events = np.ascontiguousarray(events)
            words = events.view(np.uint64).reshape(-1, _EVENT_WORDS)
            made = np.empty((len(self._program), len(events)), np.uint64)
            seen = np.zeros(len(self._program), np.uint64)
            _gather(events, words, self._program, made, seen)
            found, some = list(made.view(np.int64)), (seen != 0).tolist()
        steps = [(key, self._steps[key]) for key in self._keys]
        return Gathered(
            {key: found[at] if some[at] else None for key, at in steps},
            {name: found[self._steps[name,]] for name in self._columns},
        )


def _place_of(name: str) -> tuple[int, int, int]:
    """Return in which word of an event a column is, and how far to shift it left and then right."""
    kind, offset = EVENT.fields[name][:2]  # type: ignore[index]
    word, byte = divmod(offset, _WORD_BYTES)
    return word, 8 * (_WORD_BYTES - byte - kind.itemsize), 8 * (_WORD_BYTES - kind.itemsize)


@lean
def _gather(events: Any, words: Any, program: Any, keys: Any, some: Any) -> None:
    """Take the steps one after the other, over so few events that these stay in the cache."""
    for start in range(0, len(words), _BLOCK):
        stop = min(start + _BLOCK, len(words))
        for e in range(start, stop):
            prefetch(events, e + _BLOCK)
        for s in range(len(program)):
            before, at = int(program[s, 0]), int(program[s, 1])
            up, down = np.uint64(program[s, 2]), int(program[s, 3])
            seen = _NULL
            for e in range(start, stop):
                x = np.uint64(np.int64(words[e, at] << up) >> down)
                if before >= 0:
                    key = keys[before, e]
                    x = _mixed(key, x) if key != _NULL and x != _NULL else _NULL
                keys[s, e] = x
                seen |= x
            some[s] |= seen


@kernel
def _mixed(key: Any, more: Any) -> Any:
    """Return the key of a pair, never 0."""
    x = key * _ODD + more
    x = (x ^ (x >> _S1)) * _M1
    x = (x ^ (x >> _S2)) * _M2
    x ^= x >> _S3
    return x if x != _NULL else _ONE


def combine(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return one key for each row of several key columns; 0 where any of them is 0."""
    key = np.ascontiguousarray(columns[0], np.int64)
    for column in columns[1:]:
        key = joined_by_columns(key, column)
    return key


def joined_by_columns(key: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the same without compiled code, which alone multiplies modulo 2^64 unasked."""
    joined = key.view(np.uint64) * _ODD
    joined += np.ascontiguousarray(column, np.int64).view(np.uint64)
    _mix(joined)
    joined[joined == 0] = 1
    joined[(key == 0) | (column == 0)] = 0
    return joined.view(np.int64)


@kernel
def place_of(key: int, secret: int) -> int:
    """Return where a key's look-up starts, before the table's size is applied: 31 bits.

    Multiply-shift hashing with a secret odd factor (Dietzfelbinger et al. 1997): two keys that
    were chosen without knowing it share a place no more often than chance has it, times two. Its
    upper bits are mixed into the lower ones and multiplied once more (as MurmurHash ends): else
    keys in a row would lie in rows, and such as differ in their upper bits only would share the
    lower bits of their place. It is handed in: as a constant it would be compiled into what other
    processes load.
    """
    product = key * secret
    return ((product ^ product >> 32 & _HALF) * _FINAL) >> (64 - PLACE_BITS) & PLACE_MASK
