"""A level that may rise by a few per cent a week at most: what a slow ramp is held against.

A baseline that follows its sender follows an attacker as well, if he is slow: 3 % more a day is
never news, and in a month it is 2.4 times as much. Here the level of whole weeks is compared with
one that rises by ``RISE`` a week at most (and falls by ``FALL``): what is ``FAR`` times as high has
drifted. Then the level is taken over, so the next drift is told when it has gone as far again.

>>> level = 100.0
>>> for day in (3, 10, 17):           # the middles of three weeks
...     week = 100.0 * 1.03 ** day
...     print(round(week), has_drifted(week, level))
...     level = follow(level, week)
109 False
134 False
165 True
"""

from __future__ import annotations

from models import guard
from models.kernel import kernel

RISE, FALL = 0.05, 0.1
FAR = 1.5
WEEK_HOURS = 168
ENOUGH_HOURS = 126
"""Hours of a week that must have been judged as usual for the week to count."""


@kernel
def has_drifted(week: float, level: float) -> bool:
    """Tell whether a week's level is far above the long one."""
    return level > 0.0 and week >= FAR * level


@kernel
def follow(level: float, week: float) -> float:
    """Return the long level after one more week."""
    if level <= 0.0:
        return max(week, 0.0)
    return level + guard.clip(0.5 * (week - level), -FALL * level, RISE * level)
