"""How long a start takes: with an empty cache, and with a filled one that must not grow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter

from tests.bench.core import MISSION
from tests.bench.figures import Figure

CODE = """
import sys
from time import perf_counter
from detectors.config import Config
from detectors.core import Core
from detectors.registry import detectors_found
from detectors.warm import warm_up
from tests.bench.traffic import batches

others = {detector.id for detector in detectors_found()} - set(sys.argv[1:])
config = Config(disabled=frozenset(others if sys.argv[1:] else ()))
started = perf_counter()
warm_up(config)
print(perf_counter() - started)
core = Core(config)
for batch in batches(config, 10, 100):
    core.feed_sorted(batch)
core.finish()
"""


def start(cache: str, detectors: Iterable[str] = ()) -> tuple[float, float]:
    """Return the wall seconds of a process that scores its first events, and of its compiling.

    All detectors run where none are named.
    """
    command = [sys.executable, "-c", CODE, *detectors]
    environment = {**os.environ, "CALLWATCH_CACHE_DIR": cache}
    started = perf_counter()
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return perf_counter() - started, float(done.stdout)


def figures() -> list[Figure]:
    """Measure a first and a second start."""
    with tempfile.TemporaryDirectory() as cache:
        four, compiling = start(cache, MISSION)
    with tempfile.TemporaryDirectory() as cache:
        cold, _ = start(cache)
        before = sum(1 for path in Path(cache).rglob("*") if path.is_file())
        warm, _ = start(cache)
        after = sum(1 for path in Path(cache).rglob("*") if path.is_file())
    return [
        Figure("first start, four detectors", four, "s"),
        Figure("first start, four detectors: compiling", compiling, "s"),
        Figure("first start, compilation included", cold, "s"),
        Figure("later start", warm, "s", "first start", cold),
        Figure("cache files that a later start leaves", after - before, "files"),
    ]
