"""Numbers in two bytes: what they can tell, and what happens at the ends of their ranges."""

from __future__ import annotations

import math

import pytest
from numba import njit

from models import packed
from models.packed import FIRST_SECOND, HOUR, LATE_HOURS, ROUND, SECOND

EDGES = [0.0, 1e-9, 5e-4, 1.0, 250.0, 1.7e14, 1e30, 1e300, math.inf, -1.0, -math.inf, math.nan]


@pytest.mark.parametrize("x", [10.0**power for power in range(-2, 15)])
def test_a_level_is_exact_to_a_twentieth_of_a_per_cent(x: float) -> None:
    """From 0.01 to 1e14 what comes back is off by 0.05 % of 1 + x at most."""
    assert abs(packed.unlevel(packed.level(x)) - x) <= 0.0005002 * (1.0 + x)


def test_cells_stay_within_two_bytes_compiled_and_plain_alike() -> None:
    """Whatever goes in, compiled and plain code give the same number that a field can hold."""
    level, part, unlevel = njit(packed.level), njit(packed.part), njit(packed.unlevel)
    for x in EDGES:
        assert level(x) == packed.level(x)
        assert 0 <= packed.level(x) <= ROUND
        assert part(x, 8.0) == packed.part(x, 8.0)
        assert abs(packed.part(x, 8.0)) <= ROUND
    for held in (-32768, -1, 0, 1, 32767):
        assert unlevel(held) == packed.unlevel(held)


def test_a_moving_average_ends_close_to_what_it_follows() -> None:
    """With a weight of 2 % a level comes as close as 2.5 %, from below and from above."""
    for start in (100.0, 10_000.0):
        held = packed.level(start)
        for _ in range(2000):
            mean = packed.unlevel(held)
            held = packed.level(mean + 0.02 * (1000.0 - mean))
        assert abs(packed.unlevel(held) - 1000.0) <= 26.0


def test_stamps_tell_earlier_from_later_until_they_come_round() -> None:
    """Up to 42 days before a stamp is earlier, up to 3.6 years after it is later; 0 is no stamp."""
    since = njit(packed.hours_since)
    for hour in (0, 1, ROUND - 1, ROUND, 500_000):
        at = packed.stamp(hour * HOUR)
        assert 1 <= at <= ROUND
        for away in (-LATE_HOURS, -1, 0, 1, 168, ROUND - LATE_HOURS - 1):
            t = (hour + away) * HOUR + HOUR // 2
            assert since(at, t) == packed.hours_since(at, t) == away
    assert packed.hours_since(packed.stamp(HOUR), HOUR + ROUND * HOUR) == 0


def test_a_stamp_of_an_end_is_seen_equally_far_from_both_sides() -> None:
    """For 1.8 years before and after it what is left is told to the hour."""
    left = njit(packed.hours_left)
    for hour in (0, ROUND, 500_000):
        at = packed.stamp(hour * HOUR)
        for away in (-ROUND // 2 + 1, -168, -1, 0, 1, 1440, ROUND // 2 - 1):
            t = (hour - away) * HOUR
            assert left(at, t) == packed.hours_left(at, t) == away


def test_seconds_come_back_within_a_second_from_1951_to_2088() -> None:
    """A time that is kept in 32 bits is never later than it was, nor by more than a second."""
    keep, give = njit(packed.second), njit(packed.at_second)
    for t in (-569_000_000, 0, FIRST_SECOND, 1_772_323_200, 3_700_000_000):
        for part in (0, 1, SECOND - 1):
            held = packed.second(t * SECOND + part)
            assert held == keep(t * SECOND + part) != 0
            late = t * SECOND + part - packed.at_second(held)
            assert give(held) == packed.at_second(held)
            assert (-SECOND if t == FIRST_SECOND else 0) <= late < SECOND
    for far in (-(2**62), 2**62):
        assert abs(packed.second(far)) == keep(abs(far)) == 2**31 - 1
    assert packed.at_second(0) == 0
