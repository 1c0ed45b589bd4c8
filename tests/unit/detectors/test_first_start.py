"""A first start that is stopped while it compiles: at once, in order, and without a trace.

Each test stops it early, in a cache folder of its own: to compile all takes half a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).parents[3]
WORKER = """
from detectors.config import Config
from detectors.engines.ending import ended_by_signals
from detectors.engines.worker_cli import set_up_logging
from detectors.warm import warm_up
set_up_logging(verbose=False)
with ended_by_signals():
    warm_up(Config())
print("joins")
"""
DETECT = """
import sys
import callwatch
sys.exit(callwatch.main(["detect", sys.argv[1]]))
"""
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
"""Then helpers are started, not copied."""
DEADLINE = 60.0
"""For what takes a second or two where the machine is idle."""


INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests' shell ignores it
"""


def stopped(code: str, cache: Path, number: signal.Signals) -> tuple[int, str, str]:
    """Start it, send the signal when helpers compile; its exit code and all that was said.

    Helpers write to the same pipes: they end only when none of them is left.
    """
    events = cache / "events.jsonl"
    events.write_text("nonsense\n")
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE + code, str(events)],
        cwd=ROOT,
        env={**os.environ, "CALLWATCH_CACHE_DIR": str(cache)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            until_it_compiles(started, cache)
            started.send_signal(number)
            out, err = started.communicate(timeout=DEADLINE)
        finally:
            started.kill()
    return started.returncode, out, err


def until_it_compiles(started: subprocess.Popen[str], cache: Path) -> None:
    """A helper writes down a walk before it compiles it, and code when it has."""
    deadline = monotonic() + DEADLINE
    while not (any(cache.rglob("walk_*.py")) and any(cache.rglob("*.nbc"))):
        assert monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            started.wait(0.05)
        assert started.returncode is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_stopped_before_it_joins_ends_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    """There is nothing to save: the signal has done what it was to do."""
    code, out, err = stopped(WORKER, tmp_path, number)
    assert (code, out) == (0, "")
    compiling, last = err.splitlines()
    assert "once for this version of the code" in compiling
    assert last.endswith("worker.stopped saved=true")


@pytest.mark.parametrize("start", ["", THREADED], ids=["copied", "started"])
def test_ctrl_c_ends_other_commands_with_130(tmp_path: Path, start: str) -> None:
    """In one word, whatever is compiled."""
    code, out, err = stopped(start + DETECT, tmp_path, signal.SIGINT)
    assert (code, out) == (130, "")
    assert err.split("\n", 1)[1].strip() == "stopped"


@pytest.mark.parametrize(
    ("start", "number"), [("", signal.SIGTERM), (THREADED, signal.SIGKILL)],
    ids=["copied", "started"],
)  # fmt: skip
def test_helpers_end_with_a_parent_that_cannot_end_them(
    tmp_path: Path, start: str, number: signal.Signals
) -> None:
    """However it ended, nothing goes on compiling, and nothing is said of it."""
    code, out, err = stopped(start + DETECT, tmp_path, number)
    assert (code, out) == (-number, "")
    assert len(err.splitlines()) == 1
