"""Sequential tests, one step per event: CUSUM charts of log-likelihood ratios.

Page's CUSUM adds the log-likelihood ratio of "changed" against "as usual" and never falls below 0.
By Lorden (1971) and Moustakides (1986) the mean number of events to a false alarm at threshold h is
at least e^h, whatever the stream looks like in control; e-detectors (Shin, Ramdas, Rinaldo 2024)
show the same bound without asymptotics. So ``threshold`` turns "at most one false alarm in so many
sender-days" into h, and a busy sender gets a higher one.

>>> round(bernoulli(1, 0.002, 0.2), 3), round(bernoulli(0, 0.002, 0.2), 3)
(4.605, -0.221)
>>> s = 0.0
>>> for _ in range(3):
...     s = step(s, bernoulli(1, 0.002, 0.2), 100.0)
>>> s > 13.8  # three failures in a row at usual 0.2 %: beyond ln(1e6)
True
>>> round(threshold(1000.0, 1000.0, 2.0), 2)
14.51
"""

from __future__ import annotations

from models import guard
from models.kernel import kernel


@kernel
def bernoulli(failed: int, p0: float, p1: float) -> float:
    """Return the log-likelihood ratio of one call: share p1 against share p0, 0 < p0 < p1 < 1."""
    if failed > 0:
        return guard.log(guard.ratio(p1, p0, 1.0))
    return guard.log(guard.ratio(1.0 - p1, 1.0 - p0, 1.0))


@kernel
def poisson_gap(dt: float, r0: float, r1: float) -> float:
    """Return the log-likelihood ratio of no event for dt: rate r1 against r0, same time unit."""
    return -(r1 - r0) * max(dt, 0.0)


@kernel
def poisson_event(r0: float, r1: float) -> float:
    """Return the log-likelihood ratio of one event: rate r1 against rate r0."""
    return guard.log(guard.ratio(r1, r0, 1.0))


@kernel
def step(s: float, llr: float, top: float) -> float:
    """Return the chart after one more log-likelihood ratio, held within [0, top].

    The top lets an open incident's chart come down again as soon as traffic is as usual.
    """
    return guard.clip(s + llr, 0.0, top)


@kernel
def threshold(events_per_day: float, days: float, charts: float) -> float:
    """Return h for at most one false alarm in ``days`` sender-days over ``charts`` charts."""
    return guard.log(max(events_per_day, 1.0) * max(days, 1.0) * max(charts, 1.0))
