"""The numbers of a window equal those that numpy reckons from its calls."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.training import oddities_of
from models import features
from models.features import FIELDS, add, add_failure, begin, deviations, learn, measure

SEEDS = range(8)


def test_numbers_equal_an_oracle() -> None:
    """Pace, shares, sizes, times and pauses of random windows, each from all calls at once."""
    for seed in SEEDS:
        rng = np.random.Generator(np.random.PCG64(seed))
        n, fails, minutes = int(rng.integers(10, 300)), int(rng.integers(0, 30)), 120
        sizes, times = np.exp(rng.normal(7, 1, n)), np.exp(rng.normal(3, 0.5, n))
        timed = rng.random(n) < 0.7
        at = np.sort(rng.integers(-7_000_000, -1, n))
        repeated, weights = rng.random(n) < 0.1, rng.choice([1.0, 4.0], n)
        networks, types = rng.integers(1, 4, n), rng.integers(1, 3, n)
        row = np.zeros(1, np.dtype(FIELDS))[0]
        row["networks"][:2] = (1, 2)
        row["types"][0] = 1
        row["clients"][0] = 5
        begin(row, minutes)
        for _ in range(fails):
            add_failure(row)
        for i in range(n):
            add(
                row, weights[i], sizes[i], times[i] if timed[i] else -1.0, int(at[i]),
                int(networks[i]), 5, int(types[i]), int(repeated[i]),
            )  # fmt: skip
        first = at[~repeated]
        gaps = np.log(np.diff(first) / 1000 + 0.01)
        expected = [
            np.log(60 * (weights[~repeated].sum() + 1) / minutes),
            np.sqrt(fails / (n + fails)),
            np.log1p(sizes).mean(),
            np.log(np.log1p(sizes).std() + 0.05),
            np.sqrt(np.mean(networks == 3)),
            np.sqrt(repeated.mean()),
            0.0,
            np.sqrt(np.mean(types == 2)),
            np.log1p(times[timed]).mean(),
            np.abs(np.diff(gaps)).sum() / len(first),
        ]
        assert list(measure(row)) == pytest.approx(expected, abs=2e-3)


def test_means_and_deviations_follow_their_window_numbers() -> None:
    """After many windows of one kind, a further one is as many deviations off as numpy says."""
    rng = np.random.Generator(np.random.PCG64(1))
    row = np.zeros(1, np.dtype(FIELDS))[0]
    seen = []
    for _ in range(160):
        begin(row, 60)
        for _ in range(100):
            add(row, 1.0, float(np.exp(rng.normal(7, 0.3))), 20.0, -1, 1, 1, 1, 0)
        numbers = measure(row)
        seen.append(numbers[features.SIZE])
        learn(row, numbers)
    begin(row, 60)
    for _ in range(100):
        add(row, 1.0, float(np.exp(7.2)), 20.0, -1, 1, 1, 1, 0)
    off = (measure(row)[features.SIZE] - np.mean(seen)) / np.std(seen)
    assert deviations(row, measure(row))[features.SIZE] == pytest.approx(off, rel=0.15)


def test_training_and_detection_reckon_oddities_alike() -> None:
    """What a forest is fitted to is to the last bit what it is asked about."""
    rng = np.random.Generator(np.random.PCG64(2))
    off = (rng.integers(-2048, 2049, (200, features.COUNT)) / 256).astype(np.float32)
    mine = [features.oddities(tuple(map(float, one))) for one in off]
    assert np.array_equal(oddities_of(off), np.array(mine, np.float32))


def test_a_network_is_new_for_the_whole_window() -> None:
    """It counts at each of its calls, and is known once the window was learned."""
    row = np.zeros(1, np.dtype(FIELDS))[0]
    row["networks"][0] = 1
    for expected in (0.5, 0.0):
        begin(row, 60)
        for i in range(20):
            add(row, 1.0, 100.0, 5.0, i, 1 + i % 2, 1, 1, 0)
        share = measure(row)[features.NETWORKS]
        assert share * share == pytest.approx(expected)
        learn(row, measure(row))
