"""Arithmetic that behaves the same compiled and plain, also at the edges.

Compiled code wraps, saturates or answers inf where Python raises. Every logarithm, exponential,
division and counter of a detector goes through these.

>>> log(0.0) == log(1e-300)
True
>>> exp(1e9) == exp(700.0)
True
>>> ratio(1.0, 0.0, 7.0)
7.0
>>> count_up(2147483647)
2147483647
"""

from __future__ import annotations

import math

from models.kernel import kernel

INT32_MAX = 2**31 - 1
INT16_MAX = 2**15 - 1
INT8_MAX = 2**7 - 1


@kernel
def real(x: float) -> float:
    """Return a field as a 64-bit float: ``float()`` alone keeps 32 bits where it is compiled."""
    return 1.0 * float(x)


@kernel
def clip(x: float, low: float, high: float) -> float:
    """Return x held within [low, high]; NaN becomes low."""
    if x > high:
        return high
    if x >= low:
        return x
    return low


@kernel
def log(x: float) -> float:
    """Return the natural logarithm of x, of 1e-300 for anything smaller (or NaN)."""
    if x > 1e-300:
        return math.log(min(x, 1e300))
    return math.log(1e-300)


@kernel
def exp(x: float) -> float:
    """Return e to the x, with x held within [-700, 700]."""
    return math.exp(clip(x, -700.0, 700.0))


@kernel
def sqrt(x: float) -> float:
    """Return the square root of x, of 1e300 at most; 0 for anything below 0 (or NaN)."""
    if x > 0.0:
        return math.sqrt(min(x, 1e300))
    return 0.0


@kernel
def ratio(a: float, b: float, otherwise: float) -> float:
    """Return a / b, or ``otherwise`` where b is not above 0."""
    if b > 1e-300:
        return a / b
    return otherwise


@kernel
def count_up(n: int) -> int:
    """Return n + 1, staying at the largest 32-bit number."""
    if n < 0:
        return 0
    if n >= INT32_MAX:
        return INT32_MAX
    return n + 1


@kernel
def count_up16(n: int) -> int:
    """Return n + 1, staying at the largest 16-bit number."""
    if n < 0:
        return 0
    if n >= INT16_MAX:
        return INT16_MAX
    return n + 1


@kernel
def small(x: float) -> float:
    """Return x held within what a 32-bit float field can hold; NaN becomes 0."""
    if x > 1e30:
        return 1e30
    if x < -1e30:
        return -1e30
    if x == x:  # false for NaN only
        return x
    return 0.0
