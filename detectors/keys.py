"""64-bit keys of names and of combinations, and where a key's look-up starts.

A name's key is BLAKE2b-64 of its UTF-8 bytes: the same in every process and run, and finding a
second name for a given key takes 2^63 tries. The place where a look-up starts is mixed with a
number that is drawn once per process, so that senders cannot choose names that collide in the
table; results never depend on places.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

PLACE_BITS = 31
_SECRET = np.uint64(secrets.randbits(64) | 1)
_M1 = np.uint64(0xBF58476D1CE4E5B9)  # SplitMix64's constants (Steele, Lea, Flood 2014)
_M2 = np.uint64(0x94D049BB133111EB)
_S1, _S2, _S3 = np.uint64(30), np.uint64(27), np.uint64(31)
_ODD = np.uint64(0x9E3779B97F4A7C15)


def name_key(name: str) -> int:
    """Return the key of a name: a signed 64-bit number, never 0."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True) or 1


def hex_key(digits: str) -> int:
    """Return the key of a fingerprint: its first 64 bits, never 0; ValueError where not hex."""
    return int.from_bytes(bytes.fromhex(digits)[:8], "big", signed=True) or 1


def _mix(x: NDArray[np.uint64], scratch: NDArray[np.uint64]) -> None:
    """Mix every number in place."""
    for shift, factor in ((_S1, _M1), (_S2, _M2), (_S3, None)):
        np.right_shift(x, shift, out=scratch)
        np.bitwise_xor(x, scratch, out=x)
        if factor is not None:
            np.multiply(x, factor, out=x)


def combine(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return one key for each row of several key columns; 0 where any of them is 0."""
    if len(columns) == 1:
        return np.ascontiguousarray(columns[0])
    null = columns[0] == 0
    for column in columns[1:]:
        null |= column == 0
    if null.all():  # tables of redirects, in most batches
        return np.zeros(len(null), np.int64)
    key = columns[0].astype(np.uint64)  # a copy
    scratch = np.empty_like(key)
    for column in columns[1:]:
        key *= _ODD
        key += column.view(np.uint64)
        _mix(key, scratch)
    key[key == 0] = 1
    key[null] = 0
    return key.view(np.int64)


def places(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each key's look-up starts, before the table's size is applied: 31 bits.

    Multiply-shift hashing with a secret odd factor (Dietzfelbinger et al. 1997): two keys that
    were chosen without knowing it share a place no more often than chance has it, times two.
    """
    return ((keys.view(np.uint64) * _SECRET) >> np.uint64(64 - PLACE_BITS)).view(np.int64)
