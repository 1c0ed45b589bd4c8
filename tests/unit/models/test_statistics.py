"""The statistics against oracles: numpy, exact formulas, and what they promise."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil
import random

import numpy as np
import pytest
from numba import njit

import models
from models import cusum, distinct, ewma, guard, novelty, seasonal, share

NAMES = [module.name for module in pkgutil.iter_modules(models.__path__)]
EDGES = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, 1e300, 1.7e308, -1.7e308, math.inf, -math.inf,
         math.nan]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_hold(name: str) -> None:
    """The numbers in the docstrings are executed."""
    tried = doctest.testmod(importlib.import_module(f"models.{name}"))
    assert tried.failed == 0


def test_every_statistic_has_an_example() -> None:
    """Each file shows what it computes, but the two that only compile."""
    for name in set(NAMES) - {"kernel", "linked"}:
        assert ">>>" in (importlib.import_module(f"models.{name}").__doc__ or ""), name


@pytest.mark.parametrize("function", [guard.log, guard.exp, guard.sqrt, guard.small])
def test_guards_answer_finite_numbers_at_every_edge(function: object) -> None:
    """Whatever goes in, what comes out is finite, compiled and plain alike."""
    compiled = njit(function)
    for x in EDGES:
        found = compiled(x)
        assert math.isfinite(found)
        assert found == function(x)  # type: ignore[operator]


def test_guards_of_two_numbers() -> None:
    """No division by nothing, no value outside its limits."""
    for a in EDGES:
        assert guard.ratio(a, 0.0, 7.0) == 7.0
        assert guard.ratio(1.0, -1.0, 7.0) == 7.0
        assert 0.0 <= guard.clip(a, 0.0, 1.0) <= 1.0
    assert guard.count_up(-5) == 0
    assert guard.count_up(2**31 - 1) == 2**31 - 1
    assert guard.count_up16(2**15 - 1) == 2**15 - 1


def test_mean_and_variance_are_exact_up_to_the_horizon() -> None:
    """At every prefix they equal numpy's, and then they forget."""
    values = np.random.default_rng(1).lognormal(3, 1, 500)
    mean, var, n = 0.0, 0.0, 0.0
    for i, x in enumerate(values, start=1):
        mean, var, n = ewma.update(mean, var, n, float(x), 1000.0)
        assert math.isclose(mean, values[:i].mean(), rel_tol=1e-12)
        assert math.isclose(var, values[:i].var(), rel_tol=1e-9, abs_tol=1e-9)
    for _ in range(20_000):
        mean, var, n = ewma.update(mean, var, n, 5.0, 1000.0)
    assert (round(mean, 3), round(var, 3), n) == (5.0, 0.0, 1000.0)


def test_half_is_left_after_a_half_life() -> None:
    """Decay is exponential, never above 1, never below 0."""
    assert ewma.decay(0.0, 10.0) == 1.0
    assert ewma.decay(-5.0, 10.0) == 1.0
    assert math.isclose(ewma.decay(10.0, 10.0), 0.5)
    assert math.isclose(ewma.decay(30.0, 10.0), 0.125)
    assert 0.0 <= ewma.decay(1e9, 10.0) < 1e-9


def test_false_alarms_of_the_chart_are_as_rare_as_promised() -> None:
    """At threshold h the mean run to a false alarm is at least e^h events (Lorden's bound)."""
    chance = random.Random(7)
    p0, p1, h = 0.02, 0.2, math.log(200.0)
    runs = []
    for _ in range(300):
        s, n = 0.0, 0
        while s < h:
            s = cusum.step(s, cusum.bernoulli(int(chance.random() < p0), p0, p1), 1e9)
            n += 1
        runs.append(n)
    assert np.mean(runs) >= 200


def test_a_chart_stays_within_its_limits() -> None:
    """Never below 0, never above its top, not even for what is no number."""
    for s in EDGES:
        for llr in EDGES:
            assert 0.0 <= cusum.step(s, llr, 10.0) <= 10.0


def test_distinct_counts_are_near_the_truth() -> None:
    """Up to 100 different values the estimate is within a third; repeats add nothing."""
    chance = random.Random(3)
    for true in (1, 5, 20, 50, 100):
        errors = []
        for _ in range(40):
            bits = 0
            for key in [chance.getrandbits(62) for _ in range(true)] * 2:
                bits = distinct.add(bits, key)
            errors.append(distinct.estimate(bits) / true - 1)
        assert abs(np.mean(errors)) < 0.15
        assert np.quantile(np.abs(errors), 0.9) < 0.4
    assert math.isfinite(distinct.estimate(2**62 - 1))


def test_small_sets_keep_the_latest() -> None:
    """The least recently used tag falls out, as in an ordered list."""
    chance = random.Random(5)
    tags, oracle = np.zeros(4, np.int32), [0, 0, 0, 0]
    for _ in range(2000):
        tag = chance.randrange(1, 8)
        known = int(tag in oracle)
        assert novelty.knows(tags, tag) == known
        assert novelty.remember(tags, tag) == known
        oracle.remove(tag if known else oracle[-1])
        oracle.insert(0, tag)
        assert tags.tolist() == oracle
    assert novelty.tag(0) == novelty.tag(2**31) == 1
    assert novelty.tag(-1) == 2**31 - 1


def test_a_new_value_is_less_and_less_likely() -> None:
    """The probability lies within (0, 1], falls with draws and rises with novelty."""
    assert novelty.new_value(0.0, 0.0, 1.0, 0.2) == 1.0
    for n in range(1, 1000, 50):
        assert (
            0.0 < novelty.new_value(n + 50.0, 3.0, 1.0, 0.2) < novelty.new_value(n, 3.0, 1.0, 0.2)
        )
        assert novelty.new_value(n, 1.0, 1.0, 0.2) < novelty.new_value(n, 9.0, 1.0, 0.2)


def test_a_share_leans_on_its_prior_and_forgets() -> None:
    """Without calls it is the prior; the counts never exceed the cap by more than one step."""
    assert share.mean(0.0, 0.0, 1.0, 19.0) == 0.05
    n, f = 0.0, 0.0
    for i in range(5000):
        n, f = share.learn(n, f, 1.0, float(i % 10 == 0), 1000.0)
        assert 0.0 <= f <= n <= 1001.0
    assert math.isclose(share.mean(n, f, 1.0, 19.0), 0.1, rel_tol=0.1)


def test_hours_learn_a_day_and_a_week() -> None:
    """After eight weeks every hour's expectation is within a tenth of the truth."""
    hours, factors = np.zeros(24, np.int16), np.zeros(8, np.int16)
    chance = np.random.default_rng(2)

    def truth(day: int, hour: int) -> float:
        return (10 + 8 * math.sin(hour / 24 * 2 * math.pi)) * 5 * (0.3 if day % 7 >= 5 else 1.0)

    for day in range(56):
        for hour in range(24):
            seasonal.learn(hours, factors, day, hour, float(chance.poisson(truth(day, hour))))
    errors = [
        seasonal.expected(hours, factors, 56 + d, h) / truth(d, h) - 1
        for d in range(7)
        for h in range(24)
    ]
    assert np.quantile(np.abs(errors), 0.9) < 0.25
    assert abs(np.mean(errors)) < 0.1


def test_hours_stay_finite_whatever_they_learn() -> None:
    """Huge and tiny counts saturate the cells; nothing overflows or becomes negative."""
    hours, factors = np.zeros(24, np.int16), np.zeros(8, np.int16)
    chance = random.Random(1)
    for day in range(400):
        for hour in range(24):
            seasonal.learn(
                hours, factors, day, hour, chance.choice((0.0, 1.0, 1e6, 1e30, math.nan))
            )
            assert seasonal.expected(hours, factors, day, hour) >= 0.0
    assert (hours >= 0).all()
    assert (factors >= 0).all()
    assert math.isfinite(seasonal.expected(hours, factors, 1, 1))
