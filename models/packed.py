"""Numbers in two bytes, for rows of which a million are kept.

A level (a mean, a count, a size) is kept as ``ln(1 + x)`` in steps of 1/1000: up to 1.7e14, exact
to 0.05 %, and to 0.0005 near 0. A part (a share, a log ratio) is kept in steps of a unit that the
caller names. What lies beyond the range stays at its end. Moving averages get stuck where a step is
smaller than half of what the cell can tell: with a weight of 2 % that is 2.5 % of a level.

A time that is only compared with times close to it is kept as a stamp: hours since 1970 modulo
32,767, plus 1, so that 0 = none. It comes round after 3.7 years. Up to 42 days before the stamp a
time counts as earlier (events come late), else as later; ``hours_left`` looks equally far to both
sides. Other units than hours come round sooner. A time that must be told is kept in four bytes, in
seconds since 2020: from 1951 to 2088.

>>> [round(unlevel(level(x)), 4) for x in (0.0, 0.001, 1.0, 1e6)]
[0.0, 0.001, 0.9997, 1000488.5618]
>>> level(1e300), level(float("nan")), part(7.0, 8.0), part(-0.3, 1000.0), part(1e9, 8.0)
(32767, 0, 56, -300, 32767)
>>> at = stamp(500_000 * HOUR)
>>> [hours_since(at, hour * HOUR) for hour in (499_998, 500_000, 500_168)]
[-2, 0, 168]
>>> [hours_left(at, hour * HOUR) for hour in (498_000, 500_000, 500_168)]
[2000, 0, -168]
>>> at_second(second(1_772_323_200_500_000)), at_second(0), second(FIRST_SECOND * SECOND)
(1772323200000000, 0, 1)
"""

from __future__ import annotations

from models import guard
from models.kernel import kernel

SECOND = 1_000_000
HOUR = 3600 * SECOND
FIRST_SECOND = 1_577_836_800
"""2020-01-01, in seconds since 1970."""
STEPS = 1000.0
ROUND = 32767
"""Hours after which a stamp comes round, and the largest number of two bytes."""
LATE_HOURS = 1008
"""Events are at most 30 days late."""


@kernel
def cell(x: float) -> int:
    """Return the whole number next to x that two bytes can hold; NaN becomes 0."""
    x = guard.clip(guard.small(x), -32767.0, 32767.0)
    if x < 0.0:
        return -int(0.5 - x)
    return int(x + 0.5)


@kernel
def part(x: float, unit: float) -> int:
    """Return the cell of a number, in steps of 1 / unit."""
    return cell(x * unit)


@kernel
def level(x: float) -> int:
    """Return the cell of a number >= 0, on a logarithmic scale."""
    return cell(guard.log(1.0 + max(guard.small(x), 0.0)) * STEPS)


@kernel
def unlevel(held: int) -> float:
    """Return the number of a level's cell."""
    return guard.exp(held / STEPS) - 1.0


@kernel
def hour_stamp(hour: int) -> int:
    """Return the stamp of an hour since 1970."""
    return hour % ROUND + 1


@kernel
def stamp(t: int) -> int:
    """Return the stamp of a time's hour; microseconds."""
    return hour_stamp(t // HOUR)


@kernel
def hours_since(at: int, t: int) -> int:
    """Return the whole hours from a stamp to t; negative where t is earlier."""
    return units_since(at, t, HOUR, LATE_HOURS)


@kernel
def hours_left(at: int, t: int) -> int:
    """Return the hours from t to a stamp, up to 1.8 years; negative where it has passed."""
    return -units_since(at, t, HOUR, ROUND // 2)


@kernel
def unit_stamp(t: int, unit: int) -> int:
    """Return the stamp of a time in another unit than hours; microseconds."""
    return t // unit % ROUND + 1


@kernel
def units_since(at: int, t: int, unit: int, late: int) -> int:
    """Return the whole units from a stamp to t; up to ``late`` of them t may be earlier."""
    since = (t // unit - at + 1) % ROUND
    return since - ROUND if since >= ROUND - late else since


@kernel
def second(t: int) -> int:
    """Return a time in seconds since 2020, never 0, within 32 bits; microseconds."""
    since = t // SECOND - FIRST_SECOND
    if since == 0:
        return 1
    return max(min(since, guard.INT32_MAX), -guard.INT32_MAX)


@kernel
def at_second(held: int) -> int:
    """Return the microseconds of a time in seconds since 2020; 0 where there is none."""
    return (held + FIRST_SECOND) * SECOND if held != 0 else 0
