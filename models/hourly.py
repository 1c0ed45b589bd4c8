"""What a sender's hours usually bring: expectation, bound, learning, and a new level.

The expectation comes from ``models.seasonal``. Counts of real senders are over-dispersed: the
variance of an hour is ``mu + phi * mu^2`` (negative binomial), and phi (``spread``) is learned. An
hour is compared with the largest expectation of itself and its neighbours, because clocks change by
an hour twice a year. A sampled call stands for ``weight`` calls: the variance of a Poisson count is
``weight * mu`` then, and less than five of them are no surge. Calls that were expected and did not
come (an outage) are a debt that may be paid later. A week without a call ends the course: what
comes then is new.

>>> import numpy as np
>>> row = np.zeros(1, np.dtype(FIELDS))[0]
>>> for h in range(24 * 21):
...     learn(row, (h + 1) * HOUR + FIRST_MONDAY, 50.0, 1e9)
>>> round(expectation(row, HOUR + FIRST_MONDAY), 1)
50.0
>>> [round(bound(50.0, 0.02, 6.0, 3.0, 20.0, weight), 1) for weight in (1.0, 10.0)]
[150.0, 190.7]
"""

from __future__ import annotations

from typing import Any

from models import ewma, guard, seasonal
from models.guard import real
from models.kernel import kernel

HOUR = 3_600_000_000
DAY = 24 * HOUR
FIRST_MONDAY = 4 * DAY
"""1970-01-05: days are counted from a Monday. All times in microseconds."""

FIELDS: list[Any] = [
    ("hours", "i2", 24),
    ("factors", "i2", 8),
    ("spread", "f4"),  # phi: variance beyond Poisson, as a share of the squared expectation
    ("debt", "f4"),  # calls that were expected lately and did not come
    ("expected", "f4"),  # calls in this hour; -1 while no daily course is known
    ("limit", "f4"),  # calls in this hour that are still usual
    ("weight", "f4"),  # usual weight of a call: above 1 where calls are sampled
    ("idle", "i2"),  # hours in a row without any call
    ("peaks", "i4"),  # bit h: the hour h has gone beyond its limit once
    ("peaks_again", "i4"),  # bit h: twice, on different days
    ("peaked", "i4"),  # the last hour beyond its limit, counted from a Monday
    ("peak", "f4"),  # calls of the largest one within a day
    ("weekly", "i1"),  # 1 = there was such an hour a week or two before as well
    ("new_level", "f4"),  # candidate: mean log ratio to the expectation, and its variance
    ("new_spread", "f4"),
    ("new_hours", "f4"),
]
FIRST_SPREAD, LEAST_SPREAD, MOST_SPREAD = 0.25, 0.02, 4.0
DORMANT_HOURS = 168
WEEK_HOURS = 168
MOST_PEAKS = 6
"""Hours of the day that a batch may take."""
LEAST_SAMPLED = 5.0
STEADY = 0.7
"""Variance of the log ratio within which a new level counts as steady."""


@kernel
def expectation(row: Any, end: int) -> float:
    """Return the expected count of the hour that ends at ``end``."""
    start = end - HOUR - FIRST_MONDAY
    return seasonal.expected(row["hours"], row["factors"], start // DAY, (start % DAY) // HOUR)


@kernel
def busiest(row: Any, end: int) -> float:
    """Return the largest expectation of the hour that ends at ``end`` and its neighbours."""
    beside = max(expectation(row, end - HOUR), expectation(row, end + HOUR))
    return max(expectation(row, end), beside)


@kernel
def idlest(row: Any, end: int) -> float:
    """Return the smallest expectation of the hour that ends at ``end`` and its neighbours."""
    beside = min(expectation(row, end - HOUR), expectation(row, end + HOUR))
    return min(expectation(row, end), beside)


@kernel
def bound(
    expected: float, spread: float, deviations: float, ratio: float, least: float, weight: float
) -> float:
    """Return the largest count that is still usual: by deviations, by ratio, and by number."""
    high = expected + deviations * guard.sqrt(weight * expected + spread * expected * expected)
    return max(high, ratio * expected, expected + max(least, LEAST_SAMPLED * weight))


@kernel
def limit_of(
    row: Any, end: int, deviations: float, ratio: float, least: float, weight: float
) -> float:
    """Return the bound of the hour that ends at ``end``, for calls that weigh so much."""
    high = bound(busiest(row, end), real(row["spread"]), deviations, ratio, least, weight)
    return high + real(row["debt"])


@kernel
def begin(row: Any, end: int, known: float, deviations: float, ratio: float, least: float) -> None:
    """Work out, once an hour, what is expected in it; ``known`` hours must have been learned."""
    row["expected"] = -1.0
    row["limit"] = 0.0
    if seasonal.hours_learned(row["factors"]) >= known:
        row["expected"] = expectation(row, end)
        weight = max(real(row["weight"]), 1.0)
        row["limit"] = limit_of(row, end, deviations, ratio, least, weight)


@kernel
def learn(row: Any, end: int, count: float, most: float) -> None:
    """Learn the count of the hour that ended; not more than ``most`` of it."""
    held = min(count, most)
    expected = real(row["expected"])
    if expected >= 0.0:
        learn_spread(row, held, expected, max(real(row["weight"]), 1.0))
        debt = 0.9 * real(row["debt"]) + expected - count
        row["debt"] = guard.clip(debt, 0.0, 24.0 * expected) if debt > 0.5 * expected else 0.0
    start = end - HOUR - FIRST_MONDAY
    seasonal.learn(row["hours"], row["factors"], start // DAY, (start % DAY) // HOUR, held)


@kernel
def recurs(row: Any, end: int, count: float) -> bool:
    """Note an hour beyond its limit; return True from its third time on: a batch.

    Only where most hours stay within their limits: a higher level of all hours is not taken for
    granted after two days, it is adopted after a week.
    """
    expected = real(row["expected"])
    if expected < 0.0:
        if count > real(row["peak"]):  # nothing is known yet but that it came
            row["peak"] = count
            row["peaked"] = (end - FIRST_MONDAY) // HOUR
        return False
    if count <= real(row["limit"]):
        return False
    hour = ((end - HOUR) % DAY) // HOUR
    bit = 1 << hour
    once, twice = int(row["peaks"]), int(row["peaks_again"])
    row["peaks"] = once | bit
    row["weekly"] = 1 if is_weekly(row, end, count) else 0
    number = (end - FIRST_MONDAY) // HOUR
    row["peak"] = count if number - int(row["peaked"]) > 24 else max(count, real(row["peak"]))
    row["peaked"] = number
    if once & bit:
        row["peaks_again"] = twice | bit
    peaks = 0
    for h in range(24):
        peaks += (once >> h) & 1
    return (twice & bit) != 0 and peaks <= MOST_PEAKS


@kernel
def is_batch(row: Any, end: int) -> bool:
    """Return whether this hour of the day has gone beyond its limit again and again."""
    hour = ((end - HOUR) % DAY) // HOUR
    return (int(row["peaks_again"]) >> hour) & 1 != 0


@kernel
def is_weekly(row: Any, end: int, count: float) -> bool:
    """Return whether so large an hour came a week or two ago at this time; or the one just before.

    Half as much again is as large; two hours earlier or later are the same time.
    """
    since = (end - FIRST_MONDAY) // HOUR - int(row["peaked"])
    if int(row["peaked"]) == 0 or count > 1.5 * real(row["peak"]):
        return False
    beside = (since + 2) % WEEK_HOURS
    again = beside <= 4 and 1 <= (since + 2) // WEEK_HOURS <= 2
    return again or (since <= 2 and int(row["weekly"]) > 0)


@kernel
def learn_peak(row: Any, end: int, count: float) -> None:
    """Learn an hour that comes again and again: half of what it brought, whatever it was before."""
    hour = ((end - HOUR) % DAY) // HOUR
    mean = seasonal.unpack(int(row["hours"][hour]))
    row["hours"][hour] = seasonal.pack(mean + 0.5 * (count - mean))


@kernel
def learn_spread(row: Any, count: float, expected: float, weight: float) -> None:
    """Move phi towards what this hour says; hours of a few calls say nothing."""
    if expected < 5.0 * weight:
        return
    error = count - expected
    beyond = (error * error - weight * expected) / (expected * expected)
    seen = guard.clip(beyond, 0.0, MOST_SPREAD)
    spread = real(row["spread"])
    row["spread"] = guard.clip(spread + 0.01 * (seen - spread), LEAST_SPREAD, MOST_SPREAD)


@kernel
def weigh(row: Any, weight: float) -> float:
    """Learn the weight of one more call; return what its hour's bound must reckon with."""
    usual = max(real(row["weight"]), 1.0)
    row["weight"] = usual + 0.05 * (weight - usual)
    return max(usual, weight)


@kernel
def rest(row: Any, count: float) -> bool:
    """Count hours without a call; after a week of them forget the course and return True."""
    row["idle"] = 0 if count > 0.0 else min(int(row["idle"]) + 1, DORMANT_HOURS)
    if int(row["idle"]) < DORMANT_HOURS:
        return False
    row["idle"] = 0
    row["debt"] = 0.0
    row["spread"] = FIRST_SPREAD
    row["peaks"] = 0
    row["peaks_again"] = 0
    for i in range(len(row["hours"])):
        row["hours"][i] = 0
    for i in range(len(row["factors"])):
        row["factors"][i] = 0
    return True


@kernel
def forget_candidate(row: Any) -> None:
    """Begin to learn a new level afresh."""
    row["new_level"] = 0.0
    row["new_spread"] = 0.0
    row["new_hours"] = 0.0


@kernel
def adopts(row: Any, count: float) -> bool:
    """Learn an hour of an open incident; take its level over once it was steady for a week."""
    expected = real(row["expected"])
    if expected < 1.0:
        return False
    x = guard.log(max(count, 0.5) / expected)
    mean, var, hours = ewma.update(
        real(row["new_level"]), real(row["new_spread"]), real(row["new_hours"]), x, 168.0
    )
    row["new_level"] = mean
    row["new_spread"] = guard.small(var)
    row["new_hours"] = hours
    if hours < 167.0 or var > STEADY:
        return False
    seasonal.rescale(row["hours"], guard.exp(mean))
    return True
