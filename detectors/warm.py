"""Compiles detectors before the first event, once for each version of the sources.

Compilation takes most of the first start. Detectors compile independently of each other, so each
processor takes a share of them, in processes that share the cache folder. This process only waits:
compiling is calls into LLVM of up to many seconds, in which Python handles no signal. So Ctrl-C and
SIGTERM act at once, whatever they do, and helpers end when their parent does, however it ended.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numba
import numpy as np

from detectors import buckets, memory, octets, passing, scan, tables, words
from detectors.base import Detector
from detectors.batch import Decoder, ReportAt, no_events
from detectors.compile import cache_fault, cache_folder, reached, walk_name
from detectors.config import Config
from detectors.core import Core
from detectors.event import DAY
from detectors.registry import detectors_found
from detectors.tables import KeyedTable, TableSpec
from detectors.walk import walk_source
from detectors.words import NAME, Words
from models.store import StoredModel

LOGGER = logging.getLogger("callwatch.start")
"""Without a handler of its own, a program's first start says on standard error why it waits."""
READY = "compiled"
"""Name of the file that says which walks this cache folder has."""
COMMON = (scan, octets, words, tables, passing, buckets, memory)
"""What is compiled for the decoder and the tables, mostly."""
PARTS = "(parts)"
"""In a share: what all detectors need, too."""
FEW = 2
MOST_PROCESSES = 4
"""Each compiles the tables' code for itself, so more of them gain little."""


def warm_up(config: Config) -> bool:
    """Compile what a configuration needs and the cache has not; return whether there was any."""
    wanted = {walk_name(d.id, walk_source(d)): d for d in (*config.detectors, *config.shared)}
    ready = cache_folder() / READY
    there = set(ready.read_text().split()) if ready.exists() else set()
    missing = {d.id: d for name, d in wanted.items() if name not in there}
    if not missing:
        return False
    what = f"{len(missing)} detector{'s' * (len(missing) > 1)}"
    if (fault := cache_fault()) is None:
        LOGGER.warning("compiling %s, once for this version of the code", what)
    else:
        way_out = "CALLWATCH_CACHE_DIR names another folder"
        LOGGER.warning("compiling %s, as at each start: %s; %s", what, fault, way_out)
    helpers: list[_Helper] = []
    try:
        with _no_collector():
            first: Any = numba.njit(_nothing)
            first()  # what numba loads for its first function all helpers have then, too
            divided = shares(missing.values(), min(os.cpu_count() or 1, MOST_PROCESSES))
            helpers.extend(map(_helper, filter(None, divided)))
        for helper in helpers:
            helper.wait()
    finally:  # as by Ctrl-C: nobody waits for what they compile
        for helper in helpers:
            helper.stop()
    for shared in (False, True):
        load(Core(config, shared=shared))  # and what a helper failed to
    Decoder(config).values([b"{}"])
    found = [
        name for name in sorted(there | set(wanted)) if (cache_folder() / f"{name}.py").exists()
    ]
    ready.write_text("\n".join(found))
    return True


def _nothing() -> None:
    """Stands for any function."""


class _Helper(Protocol):
    """A process that compiles."""

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""

    def stop(self) -> None:
        """End it, if it is still there."""


class _Copy:
    """A copy of this process: it has the pipe's other end, and `alive` is held by us alone."""

    def __init__(self, pid: int, alive: int) -> None:
        self._pid, self._alive = pid, alive
        self._code: int | None = None

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            os.close(self._alive)
        return self._code

    def stop(self) -> None:
        if self._code is None:  # else its number may be another process's by now
            os.kill(self._pid, signal.SIGKILL)
            self.wait()


class _Started(subprocess.Popen[bytes]):
    """The program itself, started once more."""

    def stop(self) -> None:
        self.kill()
        self.communicate()


def _helper(share: list[str]) -> _Helper:
    """Let a process compile this share; it ends when its standard input does, so with its parent.

    It is a copy of this one where that can be had safely: what has been imported is there then. A
    process with threads is not copied, nor one on a system whose libraries do not bear it.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return _Started(
            # What the parent imports from, and nothing of the folder that it happens to be in.
            [sys.executable, "-P", "-m", "detectors.warm", *share],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            process_group=0,  # the terminal's Ctrl-C is for its parent
        )
    given, alive = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy's threads, which are idle
        child = os.fork()
    if child:
        os.close(given)
        return _Copy(child, alive)
    code = 1
    try:
        signal.set_wakeup_fd(-1)  # an event loop's, of the parent
        os.close(alive)
        os.dup2(given, 0)
        os.closerange(3, 1 << 16)  # its sockets, and locks that would outlive it
        _compile_for_parent(share)
        code = 0
    except Exception:  # the parent compiles what is missing, and somebody should know why
        traceback.print_exc()
    finally:
        os._exit(code)  # nothing of the parent's is to be flushed or cleaned up twice


def _compile_for_parent(share: Collection[str]) -> None:
    """Compile a share of the work, for as long as there is somebody who waits for it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # to a group of processes: the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compile_share(share)


def _end_with_parent() -> None:
    """LLVM lets other threads run: this one is on time, whatever is compiled meanwhile."""
    while os.read(0, 1):
        pass
    os._exit(1)


def compile_share(share: Collection[str]) -> None:
    """Compile the walks of these detectors, and with `PARTS` what all of them need."""
    with _no_collector():
        for core in _cores([name for name in share if name != PARTS]):
            if PARTS in share:
                load(core)
            else:
                core.load_walks()
        if PARTS in share:
            Decoder(Config()).values([b"{}"])


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Compiling makes millions of objects that stay: looking for garbage takes an eighth of it."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def shares(detectors: Iterable[Detector], processes: int) -> list[list[str]]:
    """Divide the detectors so that no share is much more work: longer files take longer.

    Those count that hardly another one reads, since what all read is compiled by every process. The
    first process compiles the decoder and the tables, too.
    """
    reach = {d.id: reached([Path(d.module.__file__ or "")]) for d in detectors}
    readers = Counter(path for paths in reach.values() for path in paths)
    work = {name: _bytes(p for p in paths if readers[p] <= FEW) for name, paths in reach.items()}
    divided: list[list[str]] = [[PARTS], *([] for _ in range(processes - 1))]
    load = [_bytes(Path(str(of.__file__)) for of in COMMON)] + [0] * (processes - 1)
    for name in sorted(work, key=lambda name: -work[name]):
        least = load.index(min(load))
        divided[least].append(name)
        load[least] += work[name]
    return divided


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _cores(names: Collection[str]) -> list[Core]:
    """Return new cores with these detectors alone: of the events, and of what senders share."""
    found = {detector.id: detector for detector in detectors_found()}
    models = {
        name: StoredModel(found[name].module.example_model())
        for name in names
        if found[name].is_learned
    }
    config = Config(disabled=frozenset(found) - frozenset(names), models=models)
    return [Core(config, shared=shared) for shared in (False, True)]


def fill(table: KeyedTable) -> None:
    """Let a small table grow as far as it can: what that needs must not be compiled in the midst.

    >>> table = KeyedTable(TableSpec(("delivery",), ttl=1, limit=2, refresh=False, remembered=64))
    >>> fill(table)
    >>> table.used, table.memory.live >= 20, len(table.memory.slots)
    (2, True, 64)
    """
    table.locate(np.arange(1, 201), np.zeros(200, np.int64))


def load(core: Core) -> None:
    """Compile or load all that a core runs, before it gets events.

    A moment without events passes for it, new tables grow, and texts are learned.
    """
    core.feed_sorted(no_events(), reports=[ReportAt(0, DAY, None)])
    fill(KeyedTable(TableSpec(("delivery",), ttl=1, limit=2, refresh=False, remembered=64)))
    fill(KeyedTable(TableSpec(("sender",), ttl=1, limit=200)))
    nothing = np.zeros(0, np.int64)
    for table in core.events_tables.values():
        table.locate(nothing, nothing)
    Words().add(NAME, ["text"], (1, 0, 0))


if __name__ == "__main__":
    if sys.argv[1:]:
        _compile_for_parent(sys.argv[1:])
    else:
        try:
            warm_up(Config())
        except KeyboardInterrupt:
            sys.exit(130)
