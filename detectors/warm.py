"""Compiles all detectors before the first event, once for each version of the sources.

Compilation takes most of the first start. Detectors compile independently of each other, so each
processor takes a share of them, in processes that share the cache folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from detectors.compile import cache_folder, walk_name
from detectors.config import Config
from detectors.core import Core
from detectors.registry import detectors_found
from detectors.walk import walk_source

READY = "compiled"
"""Name of the file that says which detectors this cache folder has."""
MOST_PROCESSES = 4
"""Each compiles the tables' code for itself, so more of them gain little."""


def warm_up() -> bool:
    """Compile what is not in the cache; return whether anything had to be compiled."""
    ready = cache_folder() / READY
    wanted = "\n".join(walk_name(d.id, walk_source(d)) for d in detectors_found())
    if ready.exists() and ready.read_text() == wanted:
        return False
    mine, *others = shares(min(os.cpu_count() or 1, MOST_PROCESSES))
    helpers = [
        subprocess.Popen(  # noqa: S603 -- this program itself
            [sys.executable, "-m", "detectors.warm", *share], stdin=subprocess.DEVNULL
        )
        for share in others
        if share
    ]
    _compile(mine)
    for helper in helpers:
        helper.wait()
    _compile([detector.id for detector in detectors_found()])
    ready.write_text(wanted)
    return True


def shares(processes: int) -> list[list[str]]:
    """Divide the detectors so that no share is much more work; a longer file takes longer."""
    work = {d.id: Path(d.module.__file__ or "").stat().st_size for d in detectors_found()}
    divided: list[list[str]] = [[] for _ in range(processes)]
    for name in sorted(work, key=lambda name: -work[name]):
        min(divided, key=lambda share: sum(work[n] for n in share)).append(name)
    return divided


def _compile(names: list[str]) -> None:
    """Run an empty batch through these detectors: that compiles them and fills the cache."""
    others = frozenset(detector.id for detector in detectors_found()) - frozenset(names)
    config = Config(disabled=others)
    for shared in (False, True):
        Core(config, shared=shared).feed_log([b"{}"], [0], [0])


if __name__ == "__main__":
    _compile(sys.argv[1:])
