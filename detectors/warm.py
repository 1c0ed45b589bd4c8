"""Compiles all detectors before the first event, once for each version of the sources.

Compilation takes most of the first start. Detectors compile independently of each other, so some of
them are compiled by a second process that shares the cache folder.
"""

from __future__ import annotations

import subprocess
import sys

from detectors.compile import cache_folder
from detectors.config import Config
from detectors.core import Core
from detectors.registry import detectors_found

READY = "compiled"
"""Name of the file that says that this cache folder is complete."""


def warm_up() -> bool:
    """Compile what is not in the cache; return whether anything had to be compiled."""
    ready = cache_folder() / READY
    if ready.exists():
        return False
    names = [detector.id for detector in detectors_found()]
    mine, others = names[: len(names) // 4], names[len(names) // 4 :]
    with subprocess.Popen(  # noqa: S603 -- this program itself
        [sys.executable, "-m", "detectors.warm", *others], stdin=subprocess.DEVNULL
    ) as helper:
        _compile(mine)
        helper.wait()
    _compile(names)
    ready.touch()
    return True


def _compile(names: list[str]) -> None:
    """Run an empty batch through these detectors: that compiles them and fills the cache."""
    others = frozenset(detector.id for detector in detectors_found()) - frozenset(names)
    core = Core(Config(disabled=others))
    core.feed_log([b"{}"], [0], [0])


if __name__ == "__main__":
    _compile(sys.argv[1:])
