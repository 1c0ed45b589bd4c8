"""A share (failures of all calls) that is learned, leans on a prior, and forgets.

Beta-binomial: with ``a`` prior failures in ``a + b`` prior calls the estimate after ``n`` calls
with ``f`` failures is ``(a + f) / (a + b + n)``. Forgetting halves both counts whenever n reaches a
cap.

>>> mean(0.0, 0.0, 1.0, 19.0)
0.05
>>> n, f = learn(300.0, 0.0, 1.0, 0.0, 10000.0)
>>> round(mean(n, f, 1.0, 19.0), 5)
0.00312
>>> learn(10000.0, 50.0, 1.0, 0.0, 10000.0)
(5000.5, 25.0)
>>> round(lower(4.0, 4.0), 2), round(lower(200.0, 10.0), 3)  # four of four; 5 % of 200
(0.31, 0.02)
>>> round(raised(0.004, 0.05, 4.0), 3), round(raised(0.5, 0.05, 4.0), 3)
(0.05, 0.8)
"""

from __future__ import annotations

from models import guard
from models.kernel import kernel

Z = 3.0
"""One-sided 99.9 %: whoever looks at the moment of an alarm looks at the best moment."""


@kernel
def mean(n: float, f: float, a: float, b: float) -> float:
    """Return the posterior mean of the share; ``a``, ``b`` > 0."""
    return (a + max(f, 0.0)) / (a + b + max(n, 0.0))


@kernel
def learn(n: float, f: float, dn: float, df: float, cap: float) -> tuple[float, float]:
    """Return the counts after ``dn`` more calls with ``df`` failures."""
    n = max(n, 0.0) + max(dn, 0.0)
    f = max(f, 0.0) + max(df, 0.0)
    if n > cap:
        return 0.5 * n, 0.5 * f
    return n, f


@kernel
def lower(n: float, f: float) -> float:
    """Return the share that f of n prove at 99.9 % (Wilson's score interval, its lower end)."""
    n = max(n, 1.0)
    p = guard.clip(f / n, 0.0, 1.0)
    middle = p + Z * Z / (2.0 * n)
    half = Z * guard.sqrt(p * (1.0 - p) / n + Z * Z / (4.0 * n * n))
    return max((middle - half) / (1.0 + Z * Z / n), 0.0)


@kernel
def raised(p: float, least: float, times: float) -> float:
    """Return the share with ``times`` the odds of p, at least ``least``; above p, below 1."""
    odds = times * guard.ratio(p, 1.0 - p, 1e6)
    return max(least, odds / (1.0 + odds))
