"""How many calls an hour of the week brings at least, in 55 bytes: for telling that none come.

A mean for each hour of the day and a factor for each day of the week, on a logarithmic scale in one
byte each, and one bit for each hour of the week: whether it was empty when it came last. An hour
counts only where its neighbours were not empty either, and then with the least of the three: clocks
change by an hour twice a year, and nobody's morning begins on the minute. Nothing is expected
before a day has been seen; what a week brings is known after one.

>>> import numpy as np
>>> row = np.zeros(1, np.dtype(FIELDS))[0]
>>> for hour in range(24 * 14):  # working days from 8 to 18, 60 calls an hour
...     learn(row, hour, 60.0 if hour // 24 % 7 < 5 and 8 <= hour % 24 < 18 else 0.0)
>>> round(least(row, 24 * 14 + 12)), round(least(row, 24 * 14 + 3)), round(least(row, 24 * 19 + 12))
(59, 0, 0)
>>> is_empty(row, 24 * 14 + 3), is_empty(row, 24 * 14 + 12), empty_hours(row)
(1, 0, 118)
"""

from __future__ import annotations

from typing import Any

from models import guard
from models.kernel import kernel

FIELDS: list[Any] = [
    ("hours", "i1", 24),  # 10 * ln(1 + mean)
    ("days", "i1", 7),  # 20 * ln(factor)
    ("empty", "i1", 24),  # 7 hours of the week in each
    ("learned", "i2"),  # hours
]
HOUR_STEP, DAY_STEP = 10.0, 20.0
DAY_HOURS, WEEK_HOURS = 24, 168
HALF = -14
"""A day's factor of a half, as it is kept."""
SETTLE = 4.0
"""A mean moves a quarter of the way: the bytes hold no smaller steps."""


@kernel
def is_empty(row: Any, hour: int) -> int:
    """Return 1 where this hour of the week was empty when it came last."""
    slot = hour % WEEK_HOURS
    return (int(row["empty"][slot // 7]) >> (slot % 7)) & 1


@kernel
def note_empty(row: Any, hour: int, empty: bool) -> None:
    """Note whether this hour of the week was empty."""
    slot = hour % WEEK_HOURS
    bit = 1 << (slot % 7)
    kept = int(row["empty"][slot // 7]) & (127 - bit)
    row["empty"][slot // 7] = kept + bit if empty else kept


@kernel
def empty_hours(row: Any) -> int:
    """Return how many hours of the week were empty."""
    found = 0
    for hour in range(WEEK_HOURS):
        found += is_empty(row, hour)
    return found


@kernel
def expected(row: Any, hour: int) -> float:
    """Return the mean of an hour, counted from a Monday."""
    cell = float(int(row["hours"][hour % 24]))
    day = guard.exp(int(row["days"][hour // 24 % 7]) / DAY_STEP)
    return max(guard.exp(cell / HOUR_STEP) - 1.0, 0.0) * day


@kernel
def least(row: Any, hour: int) -> float:
    """Return what an hour brings at least on a usual day; 0 where nothing can be expected."""
    if int(row["learned"]) < DAY_HOURS:
        return 0.0
    found = 1e30
    for beside in range(hour - 1, hour + 2):
        if is_empty(row, beside) > 0:
            return 0.0
        found = min(found, expected(row, beside))
    return found


@kernel
def towards(cell: int, wanted: float, share: float) -> int:
    """Return a cell moved by this share of the way, one step at least, within a byte."""
    step = int((wanted - cell) / share)
    if step == 0 and abs(wanted - cell) >= 1.0:
        step = 1 if wanted > cell else -1
    return int(guard.clip(float(cell + step), -127.0, 127.0))


@kernel
def learn(row: Any, hour: int, count: float) -> None:
    """Learn an hour that has ended."""
    learned = int(row["learned"])
    was_empty = is_empty(row, hour) > 0
    note_empty(row, hour, count <= 0.0)
    row["learned"] = guard.count_up16(learned)
    if was_empty and count <= 0.0:
        return  # nobody expected anything
    day = guard.exp(int(row["days"][hour // 24 % 7]) / DAY_STEP)
    wanted = HOUR_STEP * guard.log(1.0 + guard.ratio(max(count, 0.0), day, count))
    cell = int(row["hours"][hour % 24])
    if learned < DAY_HOURS:
        row["hours"][hour % 24] = int(guard.clip(wanted + 0.5, 0.0, 127.0))
    elif learned < WEEK_HOURS and wanted < cell:
        row["hours"][hour % 24] = max(cell - 1, 0)  # perhaps its day of week is a quiet one
    else:
        row["hours"][hour % 24] = max(towards(cell, wanted, SETTLE), 0)


@kernel
def learn_day(row: Any, hour: int, ratio: float) -> None:
    """Learn what a day brought, as a ratio to what was expected of it; ``hour`` is one of it."""
    at = hour // 24 % 7
    cell = int(row["days"][at])
    wanted = cell + DAY_STEP * guard.log(guard.clip(ratio, 0.01, 100.0))
    first = int(row["learned"]) <= WEEK_HOURS
    cell = towards(cell, wanted, 1.0 if first else 2.0)
    row["days"][at] = int(guard.clip(float(cell), -80.0, 80.0))


@kernel
def is_even(row: Any) -> bool:
    """Tell whether every day of the week brings half the usual calls at least."""
    least_day = 127
    for at in range(len(row["days"])):
        least_day = min(least_day, int(row["days"][at]))
    return least_day >= HALF


@kernel
def quietest(row: Any, hour: int) -> float:
    """Return the level of the week's quietest day against that of the hour's day, 1 at most."""
    today = int(row["days"][hour // 24 % 7])
    least_day = today
    for at in range(len(row["days"])):
        least_day = min(least_day, int(row["days"][at]))
    return guard.exp((least_day - today) / DAY_STEP)


@kernel
def is_low(row: Any, hour: int) -> bool:
    """Tell whether an hour of the day brings about a third of the busiest one at most."""
    top = 0
    for at in range(len(row["hours"])):
        top = max(top, int(row["hours"][at]))
    return int(row["hours"][hour % 24]) < top - int(HOUR_STEP)


@kernel
def forget(row: Any) -> None:
    """Forget the course: what comes then is new."""
    for i in range(len(row["hours"])):
        row["hours"][i] = 0
    for i in range(len(row["days"])):
        row["days"][i] = 0
    for i in range(len(row["empty"])):
        row["empty"][i] = 0
    row["learned"] = 0
