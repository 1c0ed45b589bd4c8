"""Expected count of an hour from its hour of day, kind of day, and day of week.

Two profiles of 24 hourly means (working days, weekends) and seven day factors: 114 bytes, where a
full hour-of-week profile takes 336 and sees each cell only twice in a fortnight. Below 14 days both
kinds of day are pooled (hour of day only). A mean is kept as ``ln(1 + mean)`` in steps of 1/2000:
exact to 0.05 %. ``factors`` holds the seven day factors, then the hours learned of each kind of day.

>>> import numpy as np
>>> cells, factors = np.zeros(48, np.int16), np.zeros(9, np.int16)
>>> for d in range(21):            # 20 calls an hour on working days, 5 at weekends
...     for h in range(24):
...         learn(cells, factors, d, h, 5.0 if d % 7 >= 5 else 20.0)
>>> round(expected(cells, factors, 21, 9), 1), round(expected(cells, factors, 26, 9), 1)
(20.0, 5.0)
>>> hours_learned(factors)
504
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import guard
from models.kernel import kernel

STEP = 2000.0
HOURS = 24
POOLED_HOURS = 14 * HOURS
"""Below so many learned hours both kinds of day share one profile."""


@kernel
def pack(mean: float) -> int:
    """Return the 16-bit form of a mean >= 0."""
    return int(guard.clip(guard.log(1.0 + max(mean, 0.0)) * STEP + 0.5, 0.0, 32767.0))


@kernel
def unpack(cell: int) -> float:
    """Return the mean of its 16-bit form."""
    return guard.exp(cell / STEP) - 1.0


@kernel
def weekend(day: int) -> int:
    """Return 1 on Saturdays and Sundays; ``day`` counts from a Monday."""
    return 1 if day % 7 >= 5 else 0


@kernel
def hours_learned(factors: NDArray[np.int16]) -> int:
    """Return how many hours have been learned, of both kinds of day."""
    return int(factors[7]) + int(factors[8])


@kernel
def expected(cells: NDArray[np.int16], factors: NDArray[np.int16], day: int, hour: int) -> float:
    """Return the expected count of an hour; ``day`` counts from a Monday, ``hour`` 0..23."""
    working = int(factors[7])
    free = int(factors[8])
    if free < HOURS:
        return unpack(int(cells[hour]))
    if working < HOURS:
        return unpack(int(cells[HOURS + hour]))
    if working + free < POOLED_HOURS:
        return (5.0 * unpack(int(cells[hour])) + 2.0 * unpack(int(cells[HOURS + hour]))) / 7.0
    mean = unpack(int(cells[weekend(day) * HOURS + hour]))
    if int(factors[day % 7]) == 0:
        return mean
    return mean * guard.clip(unpack(int(factors[day % 7])), 0.25, 4.0)


@kernel
def learn(
    cells: NDArray[np.int16], factors: NDArray[np.int16], day: int, hour: int, count: float
) -> None:
    """Move the hour's mean towards its count: an average at first, then a memory of weeks."""
    free = weekend(day)
    at = free * HOURS + hour
    hours = int(factors[7 + free])
    rate = guard.clip(guard.ratio(1.0, hours // HOURS + 1.0, 1.0), 0.08, 1.0)
    mean = unpack(int(cells[at]))
    cells[at] = pack(mean + rate * (count - mean))
    factors[7 + free] = min(hours + 1, 32767)
    if hours_learned(factors) >= POOLED_HOURS and mean > 0.0:
        old = unpack(int(factors[day % 7])) if int(factors[day % 7]) > 0 else 1.0
        seen = guard.clip(guard.ratio(count, mean, 1.0), 0.25, 4.0)
        factors[day % 7] = max(pack(old + 0.01 * (seen - old)), 1)


@kernel
def rescale(cells: NDArray[np.int16], scale: float) -> None:
    """Multiply every hour's mean: a new level with the old daily course."""
    for i in range(len(cells)):
        cells[i] = pack(unpack(int(cells[i])) * scale)
