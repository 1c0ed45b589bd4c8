"""When simulated senders call."""

import numpy as np

from detectors.benchmark.arrivals import DAY, HOUR, SLICE, Span, arrivals, expected_rates
from detectors.benchmark.senders import BUSINESS, CONSUMER, FLAT, NIGHT_BATCH

MONDAY = 4 * DAY  # 1970-01-05
WEEK = Span(MONDAY, MONDAY + 7 * DAY)


def rng(seed=1):
    """Return a seeded generator."""
    return np.random.Generator(np.random.PCG64(seed))


def test_a_week_holds_the_daily_rate_on_average():
    """Every rhythm's week has seven times the daily events, within two per cent."""
    starts = np.arange(WEEK.start, WEEK.end, SLICE)
    for rhythm in (FLAT, BUSINESS, CONSUMER, NIGHT_BATCH):
        total = expected_rates(rhythm, 1000.0, starts).sum()
        assert abs(total / 7000.0 - 1.0) < 0.02, rhythm.name


def test_business_senders_rest_at_night_and_on_sunday():
    """Business hours hold many times the calls of the night, and Monday many times Sunday's."""
    starts = np.arange(WEEK.start, WEEK.end, SLICE)
    rates = expected_rates(BUSINESS, 1000.0, starts).reshape(7, 144)
    assert rates[0, 60:72].sum() > 10 * rates[0, 12:24].sum()
    assert rates[0].sum() > 5 * rates[6].sum()


def test_counts_are_over_dispersed_and_times_sorted_within_the_span():
    """Counts vary more than a Poisson process's, and no time leaves the span."""
    span = Span(MONDAY, MONDAY + 60 * DAY)
    times = arrivals(rng(), FLAT, 2880.0, span, noise=0.3)
    counts = np.bincount((times - span.start) // SLICE, minlength=60 * 144)
    assert counts.var() > 2.0 * counts.mean()
    assert (np.diff(times) >= 0).all()
    assert span.holds(times).all()


def test_a_factor_multiplies_the_rate_within_its_span_only():
    """Eight times the rate for six hours gives about eight times the calls there."""
    boosted = Span(MONDAY + 6 * HOUR, MONDAY + 12 * HOUR)
    plain = arrivals(rng(), FLAT, 9600.0, WEEK, noise=0.0)
    more = arrivals(rng(), FLAT, 9600.0, WEEK, noise=0.0, factors=((boosted, 8.0),))
    ratio = boosted.holds(more).sum() / boosted.holds(plain).sum()
    assert 7.0 < ratio < 9.0
    assert abs((~boosted.holds(more)).sum() / (~boosted.holds(plain)).sum() - 1.0) < 0.05
