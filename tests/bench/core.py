"""The detector core: events per CPU-second and bytes per sender, beside plain Python and river."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from time import process_time

from tests.bench.figures import Figure
from tests.bench.river_way import EVENTS, TURNS, calls, four_statistics, speed
from tests.bench.traffic import batches

SIZES = (1_000, 100_000, 1_000_000)
SENDERS = 100_000
PLAIN_EVENTS = 6_000
MISSION = ("payload-volume", "replay-burst", "signature-failure-spike", "spoofed-source")
PER_EVENT = ("sender+unit", "sender+delivery", "id")
"""Tables whose size depends on deliveries, not on senders."""


def run(
    senders: int,
    events: int,
    size: int = 20_000,
    *,
    everything: bool = False,
    learned: bool = False,
    variants: int = 1,
) -> dict[str, float]:
    """Feed every sender ``variants`` times, then ``events`` events; measure the second part.

    ``everything``: all detectors that run without a model, not only the four that the project
    began with; ``learned``: the one with a model, too.
    """
    from detectors.config import Config
    from detectors.core import Core
    from detectors.learned import SHIPPED, read_model
    from detectors.registry import detectors_found

    others = {detector.id for detector in detectors_found()} - set(MISSION)
    models = {"behaviour-outlier": read_model(SHIPPED)} if learned else {}
    config = Config(disabled=frozenset() if everything else frozenset(others), models=models)
    core = Core(config)
    for variant in range(variants):
        for batch in batches(config, senders, 0, size=size, seed=2 + variant, variant=variant):
            core.feed_sorted(batch)
    prepared = list(batches(config, senders, events, size=size, first=senders))
    started = process_time()
    for batch in prepared:
        core.feed_sorted(batch)
    seconds = process_time() - started
    kept = {name: n for name, n in core.nbytes.items() if name not in PER_EVENT}
    return {
        "per_second": events / seconds,
        "bytes_per_sender": sum(kept.values()) / senders,
        "alerts": core.counters.get("alerts", 0),
    }


def best(senders: int, *, everything: bool = False, learned: bool = False) -> dict[str, float]:
    """Return the best of three runs: memory that the machine hands out first costs it most."""
    found = [run(senders, 2_000_000, everything=everything, learned=learned) for _ in range(3)]
    return max(found, key=lambda one: one["per_second"])


def plain() -> dict[str, float]:
    """Run the same steps uncompiled, in a process of their own."""
    code = (
        "import json; from tests.bench.core import run, PLAIN_EVENTS;"
        "print(json.dumps(run(1000, PLAIN_EVENTS, 2000)))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _river(senders: int) -> float:
    """Return events per CPU-second of river for the same traffic, every sender known before."""
    from detectors.config import Config

    told = calls(batches(Config(), senders, 0), senders)
    more = TURNS * EVENTS
    told += calls(batches(Config(), senders, more, first=senders), more)
    return speed(four_statistics, told, senders)


def figures() -> list[Figure]:
    """Measure everything in one go."""
    uncompiled = plain()["per_second"]
    found = []
    four = 0.0
    for senders in SIZES:
        river = _river(senders) if senders <= SENDERS else None
        run(1000, 20_000, everything=True)  # compile or load
        result = best(senders)
        unit = "events per CPU-second"
        four = result["per_second"] if senders == SENDERS else four
        name = f"core, {senders:,} senders, four detectors"
        if river is not None:  # a million senders take it gigabytes
            found.append(Figure(name, result["per_second"], unit, "river, four statistics", river))
        found.append(Figure(name, result["per_second"], unit, "the same, uncompiled", uncompiled))
        found.append(
            Figure(f"state, {senders:,} senders", result["bytes_per_sender"], "bytes per sender")
        )
    whole = best(SENDERS, everything=True)
    name = f"core, {SENDERS:,} senders, all detectors"
    found.append(Figure(name, whole["per_second"], "events per CPU-second", "the four", four))
    run(1000, 20_000, everything=True, learned=True)
    modelled = best(SENDERS, everything=True, learned=True)
    name = f"core, {SENDERS:,} senders, all detectors, and a model"
    found.append(Figure(name, modelled["per_second"], "events per CPU-second", "the four", four))
    bytes_each = "bytes per sender"
    found.append(Figure(f"state, {SENDERS:,} senders, all", whole["bytes_per_sender"], bytes_each))
    varied = run(SENDERS, 20_000, everything=True, variants=5)
    name = f"state, {SENDERS:,} senders, all detectors, 3 types, 2 keys, 5 networks each"
    found.append(Figure(name, varied["bytes_per_sender"], "bytes per sender"))
    return found
