"""When a sender calls: a gamma-Poisson process whose mean follows hour of day and weekday.

A plain Poisson process is too even for real callbacks. Here every day and every ten minutes draw
their own level from a gamma distribution of mean 1, so that counts are over-dispersed at both
scales (negative binomial within a slice, days that are busy as a whole).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.benchmark.columns import Times
from detectors.benchmark.senders import Rhythm

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
SLICE: Final = 10 * MINUTE
DAY_NOISE: Final = 0.08  # coefficient of variation between whole days of the same weekday


@dataclass(frozen=True)
class Span:
    """A half-open stretch of event time in microseconds since 1970."""

    start: int
    end: int

    def holds(self, times: Times) -> npt.NDArray[np.bool_]:
        """Which of the times lie in the span."""
        return (times >= self.start) & (times < self.end)


def expected_rates(rhythm: Rhythm, daily: float, starts: Times) -> npt.NDArray[np.float64]:
    """Expected events of each ten-minute slice; a week's mean day has `daily` events.

    >>> from detectors.benchmark.senders import FLAT
    >>> expected_rates(FLAT, 144.0, np.array([0, SLICE]))
    array([1., 1.])
    """
    hours = np.array(rhythm.hours) / np.mean(rhythm.hours)
    weekdays = np.array(rhythm.weekdays) / np.mean(rhythm.weekdays)
    # Rates slide from one hour's level to the next: real traffic has no steps on the hour.
    place = (starts % DAY) / HOUR
    level = np.interp(place, np.arange(-0.5, 25.5), hours[np.arange(-1, 25) % 24])
    weekday = (starts // DAY + 3) % 7  # 1970-01-01 was a Thursday
    rates: npt.NDArray[np.float64] = daily * SLICE / DAY * level * weekdays[weekday]
    return rates


def arrivals(
    rng: np.random.Generator,
    rhythm: Rhythm,
    daily: float,
    span: Span,
    *,
    noise: float,
    factors: tuple[tuple[Span, float], ...] = (),
    shifts: tuple[tuple[int, int], ...] = (),
) -> Times:
    """Sorted times of first attempts.

    `factors` multiply the rate within their spans, by whole slices but for 0, which leaves out just
    its span; `shifts` move the rhythm's clock from a time on.
    """
    starts = np.arange(span.start // SLICE * SLICE, span.end, SLICE, dtype=np.int64)
    local = starts.copy()
    for at, by in shifts:
        local[starts >= at] -= by
    rates = expected_rates(rhythm, daily, local)
    days = starts // DAY - starts[0] // DAY
    rates *= _gamma(rng, DAY_NOISE, int(days[-1]) + 1)[days]
    rates *= _gamma(rng, noise, len(starts))
    for within, factor in factors:
        if factor > 0.0:
            rates[within.holds(starts)] *= factor
    counts = rng.poisson(rates)
    times = np.repeat(starts, counts) + rng.integers(0, SLICE, size=int(counts.sum()))
    times.sort()
    for within, factor in factors:
        if factor == 0.0:
            times = times[~within.holds(times)]
    return times[span.holds(times)]


def _gamma(rng: np.random.Generator, variation: float, count: int) -> npt.NDArray[np.float64]:
    if variation <= 0:
        return np.ones(count)
    shape = 1.0 / variation**2
    return rng.gamma(shape, 1.0 / shape, size=count)
