"""What a worker runs is compiled before it gets its first event."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
CODE = """
import gc
import numpy as np
from numba.core.dispatcher import Dispatcher
from detectors.config import Config
from detectors.core import Core
from detectors.batch import Decoder
from detectors.warm import load
from tests.bench.engine import values

def signatures():
    every = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {f"{d.py_func.__module__}.{d.py_func.__qualname__}": len(d.signatures) for d in every}

events = [value for _, value in values(3_000, 50, 100)]
config = Config()
core = Core(config)
load(core)
Decoder(config).values([b"{}"])
before, at = signatures(), 0
while at < len(events):
    for size in (1, 2, 3, 400):
        part = events[at : at + size]
        at += len(part)
        if part:
            core.feed_log(part, range(at, at + len(part)), [2**60] * len(part))
later = signatures()
print(sorted(name for name in later if later[name] != before.get(name)), core.counters["scored"])
"""


def test_nothing_is_compiled_in_the_midst() -> None:
    """Batches of one, two and many events find all that they run compiled by then."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[] 3000"
