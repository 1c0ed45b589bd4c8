"""The whole core runs as plain Python too, and gives the same alerts and the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from detectors.config import Config
from detectors.core import Core
from tests.property.hostile import hostile

ROOT = Path(__file__).parents[2]
SEEDS = range(6)
SIZE = 1500


def computed() -> dict[str, list[object]]:
    """Return alerts, digest and counters of some hostile logs."""
    found: dict[str, list[object]] = {}
    for seed in SEEDS:
        log, core = hostile(seed, SIZE), Core(Config())
        alerts = core.feed_log(*log.part(0, len(log))).alerts
        found[str(seed)] = [
            [alert.to_json().decode() for alert in alerts],
            core.digest(),
            core.counters,
        ]
    return found


def test_compiled_and_plain_cores_agree() -> None:
    """Tables, clock, walks and detectors: compiled and plain runs differ in no bit."""
    code = (
        "import json; from tests.property.test_plain import computed;"
        "import numba; assert numba.config.DISABLE_JIT;"
        "print(json.dumps(computed()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    plain, compiled = json.loads(done.stdout), computed()
    assert sum(len(alerts) for alerts, _, _ in compiled.values()) > 50  # type: ignore[arg-type, misc]
    for seed in map(str, SEEDS):
        assert plain[seed] == json.loads(json.dumps(compiled[seed]))
