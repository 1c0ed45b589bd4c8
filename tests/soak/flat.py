"""Whether a series stays level: its slope by Theil and Sen, with what it is uncertain by.

The slope is the median of the slopes between all pairs, so single peaks (a snapshot that is being
copied) do not move it. Its interval is Sen's (1968): the pairs' slopes whose ranks lie around the
median by 1.96 standard deviations of Kendall's S.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final, NamedTuple

import numpy as np

NORMAL_95: Final = 1.96


class Slope(NamedTuple):
    """Units per hour; the true one lies between `low` and `high` in 95 of 100 cases."""

    middle: float
    low: float
    high: float


def slope(hours: Sequence[float], values: Sequence[float]) -> Slope:
    """The slope of values over hours.

    >>> slope([0, 1, 2, 3, 4], [5, 7, 9, 100, 13]).middle
    2.0
    """
    x, y = np.asarray(hours, np.float64), np.asarray(values, np.float64)
    first, second = np.triu_indices(len(x), 1)
    if not len(first):
        msg = f"a slope needs two values or more (got {len(x)})"
        raise ValueError(msg)
    found = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    n = len(x)
    half = NORMAL_95 * sqrt(n * (n - 1) * (2 * n + 5) / 18) / 2
    middle = (len(found) - 1) / 2
    low, high = max(int(middle - half), 0), min(int(middle + half) + 1, len(found) - 1)
    return Slope(float(np.median(found)), float(found[low]), float(found[high]))


def least_of_each(
    hours: Sequence[float], values: Sequence[float], every: float
) -> tuple[list[float], list[float]]:
    """The least value of each stretch of `every` hours, with its time: what is held, not lent.

    >>> least_of_each([0.0, 0.4, 1.1, 1.2], [3, 2, 9, 8], every=1.0)
    ([0.4, 1.2], [2, 8])
    """
    kept: dict[int, tuple[float, float]] = {}
    for hour, value in zip(hours, values, strict=True):
        stretch = int((hour - hours[0]) / every)
        if stretch not in kept or value < kept[stretch][1]:
            kept[stretch] = (hour, value)
    return [hour for hour, _ in kept.values()], [value for _, value in kept.values()]
