"""Exponentially weighted mean and variance that start as plain averages.

The weight of a new value is ``1 / min(n, horizon)``: exact averages up to ``horizon`` values, then
forgetting with that horizon (West 1979's update; Finch 2009, "Incremental calculation of weighted
mean and variance", section 9). Values far from the mean can be held at a number of deviations
before they are learned, so that one outlier moves the mean by a bounded step.

>>> mean, var, n = 0.0, 0.0, 0.0
>>> for x in (2.0, 4.0, 6.0):
...     mean, var, n = update(mean, var, n, x, 1000.0)
>>> round(mean, 6), round(var, 6), n
(4.0, 2.666667, 3.0)
>>> held(100.0, 4.0, 2.0, 3.0)
10.0
"""

from __future__ import annotations

from models import guard
from models.kernel import kernel


@kernel
def update(
    mean: float, var: float, n: float, x: float, horizon: float
) -> tuple[float, float, float]:
    """Return mean, variance and count after one more value x; ``horizon`` >= 1, in values."""
    n = min(n + 1.0, max(horizon, 1.0))
    share = 1.0 / n
    diff = x - mean
    step = share * diff
    return mean + step, (1.0 - share) * (var + diff * step), n


@kernel
def held(x: float, mean: float, deviation: float, limit: float) -> float:
    """Return x, held within ``limit`` deviations of the mean (winsorised)."""
    return guard.clip(x, mean - limit * deviation, mean + limit * deviation)


@kernel
def decay(dt: float, half_life: float) -> float:
    """Return the weight in [0, 1] that is left after dt, in the unit of ``half_life``."""
    if dt <= 0.0:
        return 1.0
    return guard.exp(-0.6931471805599453 * guard.ratio(dt, half_life, 1000.0))
