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

from models import ewma, guard, packed, seasonal
from models.guard import real
from models.kernel import kernel

HOUR = 3_600_000_000
DAY = 24 * HOUR
FIRST_MONDAY = 4 * DAY
"""1970-01-05: days are counted from a Monday. All times in microseconds."""

FIELDS: list[Any] = [
    ("hours", "i2", 24),
    ("factors", "i2", 8),
    ("limit", "f4"),  # calls in this hour that are still usual; -1 while no daily course is known
    ("spread", "i2"),  # phi: variance beyond Poisson, a share of the squared expectation, 1/8,000
    ("debt", "i2"),  # calls that were expected lately and did not come, a level
    ("weight", "i2"),  # log of the usual weight of a call: above 0 where calls are sampled
    ("idle", "i2"),  # hours in a row without any call
    ("peaks", "i4"),  # bit h: the hour h has gone beyond its limit once; WEEKLY; SURGE and above
    ("peaks_again", "i4"),  # bit h: twice, on different days
    ("peaked", "i2"),  # stamp of the last hour beyond its limit
    ("peak", "i2"),  # calls of the largest one within a day, a level
    ("new_level", "i2"),  # candidate: mean log ratio to the expectation, 1/2,000, and its variance
    ("new_spread", "i2"),  # 1/1,000
    ("new_hours", "i2"),
]
"""The cells of ``models.packed``: what is moved once an hour needs no more than two bytes. Peaks
that came 3.7 years apart look as if they came together."""
WEEKLY = 1 << 24
"""Bit of ``peaks``: there was such an hour a week or two before the last one as well."""
SURGE, MOST_SURGES = 1 << 25, 15
"""Above: how many surges there were, each a day or more after the one before and within
SURGES_WITHIN of it. From BURSTY on they are the sender's habit, up to twice as large."""
SURGES_WITHIN, BURSTY = 14 * 24, 3
FADES = 0.7
"""Of the largest hour of the last surge, at the next one: bursts are not all alike."""
SPREAD_UNIT, RATIO_UNIT, VARIANCE_UNIT = 8000.0, 2000.0, 1000.0
FIRST_SPREAD, LEAST_SPREAD, MOST_SPREAD = 0.25, 0.02, 4.0
ALL_HOURS = (1 << 24) - 1
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
def expected_now(row: Any, end: int) -> float:
    """Return the expectation of the row's own hour, which ends at ``end``; -1 while unknown."""
    if real(row["limit"]) < 0.0:
        return -1.0
    return expectation(row, end)


@kernel
def spread_of(row: Any) -> float:
    """Return phi."""
    return int(row["spread"]) / SPREAD_UNIT


@kernel
def debt_of(row: Any) -> float:
    """Return the calls that were expected lately and did not come."""
    return packed.unlevel(int(row["debt"]))


@kernel
def weight_of(row: Any) -> float:
    """Return the usual weight of a call, at least 1: no logarithm where nothing is sampled."""
    held = int(row["weight"])
    return guard.exp(held / packed.STEPS) if held > 0 else 1.0


@kernel
def settle(row: Any) -> None:
    """Begin with what is taken for granted of a new sender."""
    row["spread"] = packed.part(FIRST_SPREAD, SPREAD_UNIT)


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
    high = bound(busiest(row, end), spread_of(row), deviations, ratio, least, weight)
    return high + debt_of(row)


@kernel
def begin(row: Any, end: int, known: float, deviations: float, ratio: float, least: float) -> None:
    """Work out, once an hour, what is expected in it; ``known`` hours must have been learned."""
    row["limit"] = -1.0
    if seasonal.hours_learned(row["factors"]) >= known:
        row["limit"] = guard.small(limit_of(row, end, deviations, ratio, least, weight_of(row)))


@kernel
def learn(row: Any, end: int, count: float, most: float) -> None:
    """Learn the count of the hour that ended; not more than ``most`` of it."""
    held = min(count, most)
    expected = expected_now(row, end)
    if expected >= 0.0:
        learn_spread(row, held, expected, weight_of(row))
        debt = 0.9 * debt_of(row) + expected - count
        owed = guard.clip(debt, 0.0, 24.0 * expected) if debt > 0.5 * expected else 0.0
        row["debt"] = packed.level(owed)
    start = end - HOUR - FIRST_MONDAY
    seasonal.learn(row["hours"], row["factors"], start // DAY, (start % DAY) // HOUR, held)


@kernel
def recurs(row: Any, end: int, count: float) -> bool:
    """Note an hour beyond its limit; return True from its third time on: a batch.

    Only where most hours stay within their limits: a higher level of all hours is not taken for
    granted after two days, it is adopted after a week.
    """
    limit = real(row["limit"])
    if limit < 0.0:
        if count > packed.unlevel(int(row["peak"])):  # nothing is known yet but that it came
            row["peak"] = packed.level(count)
            row["peaked"] = packed.stamp(end)
        return False
    if count <= limit:
        return False
    hour = ((end - HOUR) % DAY) // HOUR
    bit = 1 << hour
    once, twice = int(row["peaks"]) & ALL_HOURS, int(row["peaks_again"])
    known = surges(row, end)
    weekly = WEEKLY if is_weekly(row, end, count) else 0
    row["peaks"] = once | bit | weekly
    recent = int(row["peaked"]) != 0 and packed.hours_since(int(row["peaked"]), end) <= 24
    if known > 0:
        count = max(count, (1.0 if recent else FADES) * packed.unlevel(int(row["peak"])))
    known = max(known, 1) if recent else min(known + 1, MOST_SURGES)
    row["peaks"] = int(row["peaks"]) + known * SURGE
    row["peak"] = packed.level(count)
    row["peaked"] = packed.stamp(end)
    if once & bit:
        row["peaks_again"] = twice | bit
    peaks = 0
    for h in range(24):
        peaks += (once >> h) & 1
    return (twice & bit) != 0 and peaks <= MOST_PEAKS


@kernel
def surges(row: Any, end: int) -> int:
    """Return how many surges there were lately, each within two weeks of the one before."""
    if int(row["peaked"]) == 0 or packed.hours_since(int(row["peaked"]), end) > SURGES_WITHIN:
        return 0
    return min(max(int(row["peaks"]) // SURGE, 0), MOST_SURGES)


@kernel
def is_bursty(row: Any, end: int, count: float) -> bool:
    """Return whether surges come again and again at any hour, and none is much larger."""
    return surges(row, end) >= BURSTY and count <= 2.0 * packed.unlevel(int(row["peak"]))


@kernel
def is_batch(row: Any, end: int) -> bool:
    """Return whether this hour of the day has gone beyond its limit again and again."""
    hour = ((end - HOUR) % DAY) // HOUR
    return (int(row["peaks_again"]) >> hour) & 1 != 0


@kernel
def is_weekly(row: Any, end: int, count: float) -> bool:
    """Return whether so large an hour came a week, two or a month ago at this time; or just before.

    Half as much again is as large; two hours earlier or later are the same time.
    """
    if int(row["peaked"]) == 0 or count > 1.5 * packed.unlevel(int(row["peak"])):
        return False
    since = packed.hours_since(int(row["peaked"]), end)
    beside = (since + 2) % WEEK_HOURS
    again = beside <= 4 and 1 <= (since + 2) // WEEK_HOURS <= 2
    monthly = (since + 2) % 24 <= 4 and 28 <= (since + 2) // 24 <= 31
    return again or monthly or (since <= 2 and int(row["peaks"]) & WEEKLY != 0)


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
    spread = spread_of(row)
    moved = guard.clip(spread + 0.01 * (seen - spread), LEAST_SPREAD, MOST_SPREAD)
    row["spread"] = packed.part(moved, SPREAD_UNIT)


@kernel
def weigh(row: Any, weight: float) -> float:
    """Learn the weight of one more call; return what its hour's bound must reckon with."""
    if weight <= 1.0 and int(row["weight"]) <= 0:
        return 1.0
    usual = weight_of(row)
    row["weight"] = packed.part(guard.log(max(usual + 0.05 * (weight - usual), 1.0)), packed.STEPS)
    return max(usual, weight)


@kernel
def rest(row: Any, count: float) -> bool:
    """Count hours without a call; after a week of them forget the course and return True."""
    row["idle"] = 0 if count > 0.0 else min(int(row["idle"]) + 1, DORMANT_HOURS)
    if int(row["idle"]) < DORMANT_HOURS:
        return False
    row["idle"] = 0
    row["debt"] = 0
    settle(row)
    row["peaks"] = int(row["peaks"]) & WEEKLY
    row["peaks_again"] = 0
    for i in range(len(row["hours"])):
        row["hours"][i] = 0
    for i in range(len(row["factors"])):
        row["factors"][i] = 0
    return True


@kernel
def forget_candidate(row: Any) -> None:
    """Begin to learn a new level afresh."""
    row["new_level"] = 0
    row["new_spread"] = 0
    row["new_hours"] = 0


@kernel
def adopts(row: Any, end: int, count: float) -> bool:
    """Learn an hour of an open incident; take its level over once it was steady for a week."""
    expected = expected_now(row, end)
    if expected < 1.0:
        return False
    x = guard.log(max(count, 0.5) / expected)
    mean, var, hours = ewma.update(
        int(row["new_level"]) / RATIO_UNIT,
        int(row["new_spread"]) / VARIANCE_UNIT,
        float(int(row["new_hours"])),
        x,
        168.0,
    )
    row["new_level"] = packed.part(mean, RATIO_UNIT)
    row["new_spread"] = packed.part(var, VARIANCE_UNIT)
    row["new_hours"] = packed.cell(hours)
    if hours < 167.0 or var > STEADY:
        return False
    seasonal.rescale(row["hours"], guard.exp(mean))
    return True
