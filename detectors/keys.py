"""64-bit keys of names and of combinations, and where a key's look-up starts.

A name's key is BLAKE2b-64 of its UTF-8 bytes: the same in every process and run, and finding a
second name for a given key takes 2^63 tries. The place where a look-up starts is mixed with a
number that is drawn once per process, so that senders cannot choose names that collide in the
table; results never depend on places.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from models.kernel import kernel

PLACE_BITS = 31
PLACE_MASK = (1 << PLACE_BITS) - 1
SECRET = 2 * secrets.randbits(63) + 1 - 2**63
_M1 = np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64's constants (Steele, Lea, Flood 2014)
_M2 = np.uint64(0x94D049BB133111EB)
_S1, _S2, _S3 = np.uint64(30), np.uint64(27), np.uint64(31)
_ODD = np.uint64(0x9E3779B97F4A7C15)
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


class KeyColumns:
    """The columns of a batch as keys of rows, each gathered and mixed once."""

    def __init__(self, columns: NDArray[Any]) -> None:
        self._columns = columns
        self._gathered: dict[str, NDArray[np.int64]] = {}
        self._combined: dict[tuple[str, ...], NDArray[np.int64] | None] = {}

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        """Return a column's values, one after the other in memory."""
        if name not in self._gathered:
            self._gathered[name] = np.ascontiguousarray(self._columns[name], np.int64)
        return self._gathered[name]

    def of(self, names: tuple[str, ...]) -> NDArray[np.int64] | None:
        """Return one key for each row of several key columns; 0 where any of them is 0.

        None where all are 0 since a short column is: the kind, where all are webhooks.
        """
        if len(names) == 1:
            return self[names[0]]
        if names not in self._combined:
            before, column = self.of(names[:-1]), self._columns[names[-1]]
            short = column.itemsize < np.int64().itemsize
            if before is None or (short and not column.any()):
                self._combined[names] = None
            else:
                self._combined[names] = _joined(before, column)
        return self._combined[names]


def combine(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return one key for each row of several key columns; 0 where any of them is 0."""
    key = np.ascontiguousarray(columns[0])
    for column in columns[1:]:
        key = joined_by_columns(key, column)
    return key


def _joined(key: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the keys of pairs; 0 where one of a pair is 0. The column is one of an event's."""
    if column.dtype != key.dtype or numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return joined_by_columns(key, column)
    joined = np.empty(len(key), np.uint64)
    _join(key.view(np.uint64), column.view(np.uint64), joined)
    return joined.view(np.int64)


@lean
def _join(key: Any, column: Any, joined: Any) -> None:
    """Mix each pair in one go: a number that numpy mixes goes through memory for every step."""
    for e in range(len(key)):
        if key[e] == _NULL or column[e] == _NULL:
            joined[e] = _NULL
            continue
        x = key[e] * _ODD + column[e]
        x = (x ^ (x >> _S1)) * _M1
        x = (x ^ (x >> _S2)) * _M2
        x ^= x >> _S3
        joined[e] = x if x != _NULL else _ONE


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
    were chosen without knowing it share a place no more often than chance has it, times two. It is
    handed in: as a constant it would be compiled into what other processes load.
    """
    return (key * secret) >> (64 - PLACE_BITS) & PLACE_MASK
