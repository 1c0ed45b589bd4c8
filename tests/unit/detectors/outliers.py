"""Senders as arrays of decoded events, and the walk of `behaviour-outlier` over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import FINDING, detector_of
from detectors.checks import default_params
from detectors.compile import walk_for
from detectors.event import DAY, EVENT, HOUR, MINUTE, REASONS, REJECTED, VERIFIED
from detectors.rules import behaviour_outlier
from detectors.training import Windows
from detectors.walk import record_dtype
from ingest.schema import Reason
from models import features, forest

DETECTOR = detector_of(behaviour_outlier)
MONDAY = 1_748_822_400_000_000


def sender(
    seed: int,
    days: float,
    *,
    changed_at: float = 1e9,
    pace: float = 1.0,
    size: float = 1.0,
    slower: float = 1.0,
    fails: float = 0.0,
    fresh: float = 0.0,
    types: float = 0.0,
) -> NDArray[Any]:
    """Return a sender's calls: a course of the day, heavy tails, habits of its own by the seed.

    From day ``changed_at`` on: pace, size and time to answer by these factors, and these shares of
    failures, of calls from fresh networks and of fresh event types on top of the usual ones.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    per_hour = float(np.exp(rng.uniform(np.log(15), np.log(120))))
    swing, phase, shape = rng.uniform(0, 0.8), rng.uniform(0, 24), rng.uniform(3, 20)
    networks, kinds = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    usual_fails, usual_fresh = rng.choice([0.0, 0.003, 0.02]), rng.choice([0.0, 0.0, 0.01])
    mu, sigma, pause = rng.uniform(5, 9), rng.uniform(0.1, 0.8), rng.uniform(2, 5)
    hours = np.arange(int(days * 24))
    is_late = hours >= changed_at * 24
    rate = per_hour * (1 + swing * np.sin(2 * np.pi * (hours + phase) / 24))
    rate = rate * rng.gamma(shape, 1 / shape, len(hours)) * np.where(is_late, pace, 1.0)
    count = rng.poisson(rate)
    at = np.repeat(hours, count) * HOUR + rng.integers(0, HOUR, count.sum())
    events = np.zeros(len(at), EVENT)
    events["t"] = events["now"] = MONDAY + np.sort(at)
    late = events["t"] >= MONDAY + int(min(changed_at, 1e5) * DAY)
    n = len(events)
    unseen = 1 << 40 | rng.integers(0, 1 << 40, n)
    events["sender"] = 1
    events["weight"] = 1.0
    events["source"] = (1 + rng.zipf(2.0, n) % networks) << 31
    is_fresh = rng.random(n) < usual_fresh + np.where(late, fresh, 0.0)
    events["source"] = np.where(is_fresh, unseen, events["source"])
    events["client"] = 7 << 31
    events["event_type"] = (1 + rng.integers(0, kinds, n)) << 31
    strange = rng.random(n) < np.where(late, types, 0.0)
    events["event_type"] = np.where(strange, 99 << 31, events["event_type"])
    events["body_bytes"] = np.exp(rng.normal(mu, sigma, n)) * np.where(late, size, 1.0)
    milliseconds = np.exp(rng.normal(pause, 0.4, n))
    events["duration_ms"] = milliseconds * np.where(late, slower, 1.0)
    failed = rng.random(n) < usual_fails + np.where(late, fails, 0.0)
    events["verdict"] = np.where(failed, REJECTED, VERIFIED)
    events["reason"] = np.where(failed, REASONS[Reason.SIGNATURE_INVALID], 0)
    return events


def walk(
    events: NDArray[Any], model: Any, row: NDArray[Any] | None = None, **params: float
) -> NDArray[Any]:
    """Return what the detector writes over a sender's events; ``row`` is left as it ends."""
    n = len(events)
    row = np.zeros(1, behaviour_outlier.SENDER) if row is None else row
    numbers = default_params(DETECTOR).copy()
    for name, value in params.items():
        numbers[name] = value
    numbers.flags.writeable = False  # as a core has them: nothing is compiled anew
    ticks = events["now"] - events["now"] % MINUTE
    records = np.zeros(n + 5_000, record_dtype(DETECTOR))
    clock, pauses = np.zeros(3, np.int64), np.zeros((0, 3), np.int64)
    place, fresh, blank = np.zeros(n, np.int64), np.zeros(n, np.int8), np.zeros(1, row.dtype)
    written, left = walk_for(DETECTOR)(
        events, 0, ticks, int(ticks[-1]) + HOUR, clock, numbers, records, pauses,
        model.reshape(1), place, fresh, row, blank, np.zeros(1, np.uint8),
    )  # fmt: skip
    assert left == -1
    return records[:written]


def told(records: NDArray[Any]) -> NDArray[Any]:
    """Return the records that open or tell more of an incident."""
    return records[records["code"] == FINDING]


def collecting() -> Any:
    """Return the model that has every window told."""
    record = np.zeros((), forest.MODEL)
    record["trees"] = forest.COLLECT
    return record


def windows_of(seeds: range, days: float) -> Windows:
    """Return the windows of many senders, as training collects them."""
    found = [(seed, told(walk(sender(seed, days), collecting()))) for seed in seeds]
    records = np.concatenate([of for _, of in found])
    order = np.argsort(records["when"], kind="stable")
    numbers = np.stack([records[name] for name in features.NAMES], axis=1).astype(np.float32)
    who = np.concatenate([np.full(len(of), seed) for seed, of in found])
    return Windows(numbers[order], records["when"][order], who[order])
