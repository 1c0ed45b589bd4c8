"""Expected count of an hour: mean of its hour of day, times the factor of its day of week.

24 hourly means and seven factors: 64 bytes, where a full hour-of-week profile takes 336 and sees
each cell only twice in a fortnight. Factors stay out below 14 days (hour of day only). A mean is
kept as ``ln(1 + mean)`` in steps of 1/2000: exact to 0.05 %. ``factors`` holds the seven factors,
then the number of hours learned.

>>> import numpy as np
>>> hours, factors = np.zeros(24, np.int16), np.zeros(8, np.int16)
>>> for d in range(56):            # 20 calls an hour on working days, 5 at weekends
...     for h in range(24):
...         learn(hours, factors, d, h, 5.0 if d % 7 >= 5 else 20.0)
>>> round(expected(hours, factors, 56, 9)), round(expected(hours, factors, 61, 9))
(20, 5)
>>> hours_learned(factors)
1344
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models import guard
from models.kernel import kernel

STEP = 2000.0
DAYS_WITHOUT_FACTORS = 14
MEMORY_DAYS = 21.0
"""Days after which a value of an hour weighs a third: three of each weekday."""
LEAST_FACTOR, MOST_FACTOR = 0.02, 7.0


@kernel
def pack(mean: float) -> int:
    """Return the 16-bit form of a mean >= 0."""
    return int(guard.clip(guard.log(1.0 + max(mean, 0.0)) * STEP + 0.5, 0.0, 32767.0))


@kernel
def unpack(cell: int) -> float:
    """Return the mean of its 16-bit form."""
    return guard.exp(cell / STEP) - 1.0


@kernel
def hours_learned(factors: NDArray[np.int16]) -> int:
    """Return how many hours have been learned."""
    return int(factors[7])


@kernel
def factor_of(factors: NDArray[np.int16], day: int) -> float:
    """Return the factor of a day of week; 1 where it is not known."""
    cell = int(factors[day % 7])
    if cell == 0:
        return 1.0
    return guard.clip(unpack(cell), LEAST_FACTOR, MOST_FACTOR)


@kernel
def expected(hours: NDArray[np.int16], factors: NDArray[np.int16], day: int, hour: int) -> float:
    """Return the expected count of an hour; ``day`` counts from a Monday, ``hour`` 0..23."""
    mean = unpack(int(hours[hour]))
    if int(factors[7]) < 24 * DAYS_WITHOUT_FACTORS:
        return mean
    return mean * factor_of(factors, day)


@kernel
def learn(
    hours: NDArray[np.int16], factors: NDArray[np.int16], day: int, hour: int, count: float
) -> None:
    """Move the hour's mean and the day's factor towards the count."""
    learned = int(factors[7])
    days = learned // 24
    mean = unpack(int(hours[hour]))
    factor = factor_of(factors, day) if days >= DAYS_WITHOUT_FACTORS else 1.0
    rate = guard.clip(guard.ratio(1.0, days + 1.0, 1.0), 1.0 / MEMORY_DAYS, 1.0)
    hours[hour] = pack(mean + rate * (guard.ratio(count, factor, count) - mean))
    factors[7] = min(learned + 1, 32767)
    if days >= 1 and mean > 0.0:
        old = factor_of(factors, day)
        seen = guard.clip(guard.ratio(count, mean, 1.0), 0.0, MOST_FACTOR)
        weight = guard.clip(mean / 50.0, 0.002, 0.02)  # an hour of few calls says little
        factors[day % 7] = max(pack(old + weight * (seen - old)), 1)


@kernel
def rescale(hours: NDArray[np.int16], scale: float) -> None:
    """Multiply every hour's mean: a new level with the old daily course."""
    for i in range(len(hours)):
        hours[i] = pack(unpack(int(hours[i])) * scale)
