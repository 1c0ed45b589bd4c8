"""Compiles detectors, and keeps what was compiled on disk until any source changes.

Numba's own cache looks at the file of the cached function only: a changed statistic in another file
would keep its old machine code. So the cache folder is named by a hash of the sources in
``detectors``, ``detectors/rules``, ``models`` and ``ingest``, of numba, numpy, Python and the
processor. A walk
that takes the step as an argument never hits the cache either; so each detector gets a small module
of its own, written into that folder, in which its step is a global.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from llvmlite import binding

from detectors.base import Detector
from detectors.walk import walk_source

KEPT_CACHES = 3
HERE = Path(__file__).resolve().parent


SOURCES = (HERE, HERE.parent / "models", HERE.parent / "ingest")
"""Steps hold constants of the event's vocabulary, so that counts as a source too."""


def source_hash(folders: tuple[Path, ...] = SOURCES) -> str:
    """Return 16 hex digits that change with any source, numba, numpy, Python or processor."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted([*folder.glob("*.py"), *folder.glob("rules/*.py")]):
            digest.update(str(path.relative_to(folder.parent)).encode())
            digest.update(path.read_bytes())
    features = binding.get_host_cpu_features().flatten()
    for part in (numba.__version__, np.__version__, sys.version, binding.get_host_cpu_name()):
        digest.update(part.encode())
    digest.update(features.encode())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """Return where compiled code is kept: CALLWATCH_CACHE_DIR, or the user's cache folder."""
    given = os.environ.get("CALLWATCH_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "callwatch"


@cache
def cache_folder() -> Path:
    """Return this version's folder, made writable; a temporary one where that is impossible."""
    name = f"numba-{source_hash()}"
    try:
        folder = cache_root() / name
        folder.mkdir(parents=True, exist_ok=True)
        probe = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 -- closed on the next line
        probe.close()
        folder.touch()
        _remove_old(folder)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        root = tempfile.mkdtemp(prefix="callwatch-numba-")
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        os.environ["CALLWATCH_CACHE_DIR"] = root  # for processes that this one starts
        folder = Path(root) / name
        folder.mkdir()
    setattr(numba.config, "CACHE_DIR", str(folder))  # noqa: B010 -- unknown to its types
    os.environ["NUMBA_CACHE_DIR"] = str(folder)  # numba reads it again at every compilation
    return folder


def _remove_old(current: Path) -> None:
    others = [path for path in current.parent.glob("numba-*") if path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEPT_CACHES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with the cache on disk."""
    cache_folder()
    compiled: Callable[..., Any] = numba.njit(function, cache=True, error_model="python")
    return compiled


@cache
def walk_of(name: str, source: str) -> Callable[..., Any]:
    """Return the walk of a generated module, which is written once and then read from the cache."""
    path = cache_folder() / f"walk_{name.replace('-', '_')}.py"
    if not path.exists() or path.read_text() != source:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
            draft.write(source)
        Path(draft.name).replace(path)
    module = _load(f"callwatch_{path.stem}", path)
    walk: Callable[..., Any] = module.walk
    return walk


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba imports it by name when it reads its cache
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def walk_for(detector: Detector) -> Callable[..., Any]:
    """Return the detector's compiled walk (``detectors.walk`` has its text)."""
    return walk_of(detector.id, walk_source(detector))
