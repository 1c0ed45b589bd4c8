"""Large blocks go back to the system when they are freed."""

import subprocess
import sys

import pytest

from detectors.engines.memory import Turn

RESIDENT = """
from pathlib import Path
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
"""
LARGE = """
from detectors.engines.memory import settle
if not settle():
    raise SystemExit("no glibc")
import numpy as np
np.ones(1 << 20)
kept = []
before = resident()
for size in (8, 16, 24, 31):  # each freed block would raise what the next is held against
    np.ones(size << 17)
    kept.append(bytes(100_000))
    large = [np.ones(size << 17) for _ in range(4)]
    kept.append(bytes(100_000))
    del large
assert resident() - before < 16 << 20, resident() - before
"""


def _holds(code: str) -> None:
    """Run code that asserts something of the resident memory in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "no glibc" in done.stderr or "statm" in done.stderr:
        pytest.skip("neither glibc nor Linux")
    assert done.returncode == 0, done.stderr


def test_large_blocks_are_given_back() -> None:
    """Small blocks between large ones do not keep those: in a process of its own, on glibc."""
    _holds(LARGE)


SMALL = """
from detectors.engines.memory import give_back
before = resident()
small = [bytes(20_000) for _ in range(4_000)]
kept = small[::100] + [bytes(100)]
del small
if not give_back():
    raise SystemExit("no glibc")
assert resident() - before < 8 << 20, resident() - before
"""


def test_what_lies_free_between_small_blocks_is_given_back() -> None:
    """Of 80 MB in small blocks one in a hundred is kept: in a process of its own, on glibc."""
    _holds(SMALL)


def test_it_is_given_back_after_much_and_now_and_then() -> None:
    """What took much memory is followed at once; what took little, 20 s after the last time."""
    times = iter([100.0, 119.0, 120.0, 121.0, 140.0, 141.0])
    turn = Turn(lambda: next(times))
    much = (False, False, True, False, False)
    assert [turn.has_come(took_much=each) for each in much] == [False, True, True, False, True]
