"""How many different values were seen, in the bits of one integer.

Linear counting (Whang, Vander-Zanden, Taylor 1990): each value sets one of 62 bits; ``k`` set bits
of ``m`` mean about ``-m * ln(1 - k / m)`` values. Exact enough up to some 200: that many suffice to
tell a few sources from a spread attack.

>>> import random
>>> draw, bits = random.Random(5), 0
>>> for _ in range(40):
...     bits = add(bits, draw.getrandbits(62))
>>> 28 <= estimate(bits) <= 55
True
>>> estimate(0), round(estimate(add(0, 7)))
(0.0, 1)
"""

from __future__ import annotations

from models import guard
from models.kernel import kernel

BITS = 62


@kernel
def add(bits: int, key: int) -> int:
    """Return the bits after one more value; ``key`` must be well mixed (a hash)."""
    return bits | (1 << ((key & 0x7FFFFFFF) % BITS))


@kernel
def estimate(bits: int) -> float:
    """Return about how many different values were added; at most some 260."""
    k = 0
    for i in range(BITS):
        k += (bits >> i) & 1
    if k >= BITS:
        return BITS * guard.log(float(BITS))
    return BITS * guard.log(BITS / (BITS - k))
