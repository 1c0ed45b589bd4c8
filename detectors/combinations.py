"""What columns have in common: their distinct combinations.

Rows repeat their words, so a combination is looked at once and all its rows take over the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.config import Config
from detectors.tuning import NEVER
from ingest.rfc3339 import to_us

_MOST: Final = 2**62
_FEW: Final = 4
"""Possible combinations for each row that a table may have a place for."""


def combinations(codes: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each combination, and the combination of each row.

    >>> first, group = combinations([np.array([5, 5, 9, 5]), np.array([-1, 0, 0, -1])])
    >>> first.tolist(), group.tolist()
    ([0, 1, 2], [0, 1, 2, 0])
    """
    n = len(codes[0])
    key, count = np.zeros(n, np.int64), 1
    for code in codes if n else ():
        low = int(code.min())
        width = int(code.max()) - low + 1
        if count * width > _MOST:
            first, key = _distinct(key, count)
            count = len(first)
        shifted = code.astype(np.int64) - low if low else code
        key = key * width + shifted if count > 1 else shifted.astype(np.int64)
        count *= width
    return _distinct(key, count)


def _distinct(key: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the same for numbers below ``count``; by a table of them where they are few."""
    import pyarrow as pa

    if count <= _FEW * len(key) and not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        group, firsts = np.empty(len(key), np.int64), np.empty(min(count, len(key)), np.int64)
        found = _number(key, np.full(count, -1, np.int64), group, firsts)
        return firsts[:found], group
    encoded = pa.array(key).dictionary_encode()  # by hash, in the order in which they come
    group = np.asarray(encoded.indices.to_numpy(), np.int64)
    first = np.zeros(len(encoded.dictionary), np.int64)
    first[group[::-1]] = np.arange(len(key))[::-1]  # what is written last stays
    return first, group


@lean
def _number(key: Any, numbers: Any, group: Any, firsts: Any) -> int:
    """Number the keys in the order in which they come; return how many there are."""
    found = 0
    for e in range(len(key)):
        number = int(numbers[int(key[e])])
        if number < 0:
            number = found
            numbers[int(key[e])] = number
            firsts[found] = e
            found += 1
        group[e] = number
    return found


def edges_of(config: Config) -> NDArray[np.int64]:
    """Return the times at which a configuration reads an event's words differently."""
    times = {override.expires for override in config.overrides}
    for plan in config.inventory.planned:
        times |= {to_us(plan.start), to_us(plan.end)}
    return np.array(sorted(times - {NEVER}), np.int64)
