"""What the detectors promise of a single sender, measured: `python -m tests.bench.bounds`.

Payloads of ten times the usual size at the first delivery, and the false alarms that this costs;
how soon a spike of failures is found, and how seldom one is found by chance. The result is kept in
docs/bounds.json, from which the documents' tables are written.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import t as student

from detectors import checks
from detectors.base import FINDING
from detectors.benchmark.sizes import table
from models import cusum
from tests.docs.kept import keep
from tests.unit.detectors.test_run_length import (
    QUIET_DAYS,
    SPIKE,
    changed,
    false_alarms,
    history,
)
from tests.unit.detectors.test_sizes import VOLUME, deliveries, found

KEPT = Path("docs/bounds.json")
SPREADS = (0.3, 0.4, 0.5, 0.55, 0.6)
LEARNED = (30, 100, 300, 1000, 3000, 10_000)
FALSE_ALARM = 1e-4
SIZES = tuple(size for types in table().values() for _, size in types if 9 * size >= 1024)
"""Of the size table, what is ten times as large by 1 KiB at least: less harms nobody."""


def sizes(streams: int) -> dict[str, Any]:
    """Return how many payloads of ten times the median are found, and how many usual ones."""
    rng = np.random.Generator(np.random.PCG64(11))
    rows = []
    for spread in (*SPREADS, 0.8, 1.0):
        hits, alarms = np.zeros(len(LEARNED)), 0
        for seed in range(streams):
            size = float(rng.choice(SIZES))
            usual = deliveries(size, spread, LEARNED[-1] + 1, seed)
            state, begin = checks.rows_of(VOLUME), 0
            for place, learned in enumerate(LEARNED):
                alarms += found(usual[begin:learned], state)
                begin = learned
                large = usual[learned : learned + 1].copy()
                large["body_bytes"] = 10 * size
                hits[place] += found(large, [row.copy() for row in state]) > 0
        rows.append(
            {
                "spread": spread,
                "found": [round(float(share), 4) for share in hits / streams],
                "possible": [round(possible(spread, learned), 4) for learned in LEARNED],
                "alarms_in_10000": round(1e4 * alarms / (streams * LEARNED[-1]), 3),
            }
        )
    return {"streams": streams, "learned": list(LEARNED), "rows": rows}


def possible(spread: float, learned: int, draws: int = 200_000) -> float:
    """Return which share any test could find that makes one false alarm in 10,000.

    Student's, of a new value against mean and variance of so many: of all tests whose false alarms
    do not depend on either, none finds more.
    """
    rng = np.random.Generator(np.random.PCG64(3))
    mean = rng.normal(size=draws) / math.sqrt(learned)
    deviation = np.sqrt(rng.chisquare(learned - 1, draws) / (learned - 1))
    limit = student.isf(FALSE_ALARM, learned - 1) * math.sqrt(1.0 + 1.0 / learned)
    return float(np.mean(math.log(10.0) / spread - mean >= limit * deviation))


def spikes(runs: int) -> list[dict[str, Any]]:
    """Return the median call by which a spike is found, for usual shares, paces and failures."""
    rows = []
    for usual in (0.0, 0.001, 0.005):
        for per_day in (100, 300, 1000):
            told = {share: [delay(usual, per_day, share, seed) for seed in range(runs)]
                    for share in (1.0, 0.5)}  # fmt: skip
            row = {"usual": usual, "per_day": per_day}
            rows.append(row | {f"at_{share:g}": median(told[share]) for share in told})
    return rows


def delay(usual: float, per_day: int, share: float, seed: int) -> int:
    """Return which call of a spike is found, after a month of usual calls; 999 = none of them."""
    state = checks.rows_of(SPIKE)
    checks.run(SPIKE, history(usual, per_day, 0, 30, seed), state)
    calls = history(share, per_day, 30, 1, 1000 + seed)[:200]
    records, _ = checks.run(SPIKE, calls, state)
    begun = records["at"][records["code"] == FINDING]
    return int(begun[0]) + 1 if len(begun) else 999


def quiet() -> list[dict[str, Any]]:
    """Return the false alarms in 1,000 sender-days in control, of both charts together."""
    rows = []
    for per_day in (100.0, 1000.0, 86_400.0, 50.0 * 86_400.0):
        for usual in (0.003, 0.02, 0.1):
            top = cusum.threshold(per_day, QUIET_DAYS, 2.0)
            rate = sum(false_alarms(usual, p1, top, 4000, 5) for p1 in changed(usual))
            rows.append({"per_day": per_day, "usual": usual,
                         "in_1000_days": round(1000 * rate * per_day, 4)})  # fmt: skip
    return rows


def run(streams: int) -> dict[str, Any]:
    """Return everything that is kept."""
    return {"sizes": sizes(streams), "spikes": spikes(max(streams // 10, 11)), "quiet": quiet()}


if __name__ == "__main__":
    given = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    keep(KEPT, run(given))
