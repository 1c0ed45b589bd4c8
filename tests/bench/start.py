"""How long a start takes: with an empty cache, and with a filled one that must not grow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from tests.bench.figures import Figure

CODE = (
    "from detectors.config import Config; from detectors.core import Core;"
    "from detectors.warm import warm_up; config = Config(); warm_up(config); core = Core(config);"
    "from tests.bench.traffic import batches;"
    "[core.feed_sorted(b) for b in batches(config, 10, 100)]; core.finish()"
)


def start(cache: str) -> float:
    """Return the wall seconds of a process that scores its first events."""
    environment = {**os.environ, "CALLWATCH_CACHE_DIR": cache}
    started = perf_counter()
    subprocess.run([sys.executable, "-c", CODE], env=environment, check=True)
    return perf_counter() - started


def figures() -> list[Figure]:
    """Measure a first and a second start."""
    with tempfile.TemporaryDirectory() as cache:
        cold = start(cache)
        before = sum(1 for path in Path(cache).rglob("*") if path.is_file())
        warm = start(cache)
        after = sum(1 for path in Path(cache).rglob("*") if path.is_file())
    return [
        Figure("first start, compilation included", cold, "s"),
        Figure("later start", warm, "s", "first start", cold),
        Figure("cache files that a later start leaves", after - before, "files"),
    ]
