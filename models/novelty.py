"""How surprising is a value not seen before, and small sets of what was seen lately.

Pitman-Yor predictive probability of a new value after n draws with k distinct ones:
``(alpha + d * k) / (alpha + n)``. With d > 0 it admits the power laws of network traffic (Sanna
Passino and Heard 2019, "Modelling dynamic network evolution as a Pitman-Yor process").

>>> round(new_value(10_000.0, 12.0, 1.0, 0.2), 5)
0.00034
>>> import numpy as np
>>> seen = np.zeros(3, dtype=np.int32)
>>> [remember(seen, tag) for tag in (7, 7, 8, 9, 5)], seen.tolist()
([0, 1, 0, 0, 0], [5, 9, 8])
>>> knows(seen, 8), knows(seen, 7)
(1, 0)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.kernel import kernel


@kernel
def new_value(n: float, k: float, alpha: float, d: float) -> float:
    """Return the probability that the next value is a new one; alpha > 0, 0 <= d < 1."""
    return (alpha + d * max(k, 0.0)) / (alpha + max(n, 0.0))


@kernel
def tag(key: int) -> int:
    """Return a 31-bit tag, never 0, of a 64-bit key: what the small sets hold."""
    short = key & 0x7FFFFFFF
    if short == 0:
        return 1
    return short


@kernel
def short_tag(key: int) -> int:
    """Return a 15-bit tag, never 0, of a 64-bit key, where one in 32,767 may be mistaken."""
    short = (key >> 31) & 0x7FFF
    if short == 0:
        return 1
    return short


@kernel
def knows(tags: NDArray[np.int32], wanted: int) -> int:
    """Return 1 when the tag is among the remembered ones, else 0."""
    for i in range(len(tags)):
        if int(tags[i]) == wanted:
            return 1
    return 0


@kernel
def remember(tags: NDArray[np.int32], wanted: int) -> int:
    """Put a tag in front, the least recently used one falls out; return 1 if it was known."""
    last = len(tags) - 1
    found = 0
    for i in range(len(tags)):
        if int(tags[i]) == wanted:
            last = i
            found = 1
            break
    for i in range(last, 0, -1):
        tags[i] = int(tags[i - 1])
    tags[0] = wanted
    return found
