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
"""

from __future__ import annotations

from models.kernel import kernel


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
