"""Compiles detectors, and keeps what was compiled on disk until any source of it changes.

Numba's own cache looks at the file of the cached function only: a changed statistic in another file
would keep its old machine code. So what is compiled is named by a hash of all sources that it can
reach by imports, of numba, numpy, Python and the processor: the folder for the tables, and in it
one small module for each detector. (A walk that takes the step as an argument never hits the cache
either; in a module of its own the step is a global.) So an edited rule compiles that rule alone.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from llvmlite import binding

from alerts.explain import safe
from detectors.base import Detector
from detectors.walk import walk_source

KEPT_CACHES = 3
HERE = Path(__file__).resolve().parent


ROOT = HERE.parent
PACKAGES = ("detectors", "models", "alerts", "ingest")
MOST_NAME = 100
_COMMENT = re.compile(r"#[^\n]*|\\\n")
_IMPORT = re.compile(
    r"(?:^|[:;])[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n;]*)"
    r"|import[ \t]+([^\n;]*))",
    re.MULTILINE,
)
"""Every start looks at all sources: to parse them would take a quarter of a second. What looks like
an import in a text counts as one, which only lets more files count."""


@cache
def imports(path: Path) -> tuple[Path, ...]:
    """Return the files of this project that a file imports."""
    return _imported(path.read_text(), path.parent)


def _imported(text: str, folder: Path) -> tuple[Path, ...]:
    found: dict[Path, None] = {}
    for dots, module, names, plain in _IMPORT.findall(_COMMENT.sub("", text)):
        places = [(name, "") for name in _names(plain)] or [(module, names)]
        for path, taken in places:
            if len(dots) > 2 or (not dots and path.partition(".")[0] not in PACKAGES):
                continue
            at = (ROOT, folder, folder.parent)[len(dots)].joinpath(*filter(None, path.split(".")))
            inside = (at / f"{name}.py" for name in _names(taken))
            for candidate in (at.with_suffix(".py"), at / "__init__.py", *inside):
                if candidate.is_file():
                    found[candidate] = None
    return tuple(found)


def _names(text: str) -> list[str]:
    first = (one.split()[0] for one in text.strip("()").split(",") if one.strip())
    return [name for name in first if len(name) < MOST_NAME]  # texts have longer words


def reached(first: Iterable[Path]) -> list[Path]:
    """Return these files and all that they import, directly or not, in order of their names."""
    seen: set[Path] = set()
    waiting = list(first)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imports(path)
    return sorted(seen)


def source_hash(paths: Iterable[Path], *texts: str) -> str:
    """Return 16 hex digits that change with any of the sources and these texts."""
    digest = hashlib.sha256()
    for path in reached(paths):
        digest.update(str(path.relative_to(ROOT)).encode())
        digest.update(path.read_bytes())
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()[:16]


def _machine() -> str:
    """Return what machine code depends on beside its sources."""
    features = binding.get_host_cpu_features().flatten()
    versions = f"{numba.__version__} {np.__version__} {sys.version}"
    # numba does not tell code with checks of bounds, say, from code without.
    settings = sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith("NUMBA_") and name not in {"NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"}
    )
    return f"{versions} {binding.get_host_cpu_name()} {features} {settings}"


def cache_root() -> Path:
    """Return where compiled code is kept: CALLWATCH_CACHE_DIR, or the user's cache folder."""
    given = os.environ.get("CALLWATCH_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "callwatch"


def cache_folder() -> Path:
    """Return this version's folder, made writable; a temporary one where that is impossible."""
    return _cache()[0]


def cache_fault() -> str | None:
    """Return why the folder is a temporary one, gone after the run; None where it stays."""
    return _cache()[1]


@cache
def _cache() -> tuple[Path, str | None]:
    compiled = [path for path in HERE.glob("*.py") if "compile import" in path.read_text()]
    name = f"numba-{source_hash(compiled, _machine())}"
    fault = None
    try:
        folder = cache_root() / name
        folder.mkdir(parents=True, exist_ok=True)
        probe = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 -- closed on the next line
        probe.close()
        folder.touch()
        _remove_old(folder)
    except RuntimeError:
        folder, fault = _temporary(name), "there is no home folder"
    except OSError as error:
        where = safe(str(cache_root()), 200)
        folder, fault = _temporary(name), f"{where} cannot be written ({error.strerror})"
    setattr(numba.config, "CACHE_DIR", str(folder))  # noqa: B010 -- unknown to its types
    os.environ["NUMBA_CACHE_DIR"] = str(folder)  # numba reads it again at every compilation
    return folder, fault


def _temporary(name: str) -> Path:
    root = tempfile.mkdtemp(prefix="callwatch-numba-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    os.environ["CALLWATCH_CACHE_DIR"] = root  # for processes that this one starts
    folder = Path(root) / name
    folder.mkdir()
    return folder


def _remove_old(current: Path) -> None:
    others = [path for path in current.parent.glob("numba-*") if path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEPT_CACHES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


def lean(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that makes no arrays, with the cache on disk.

    Compiled code counts references to the arrays that it hands on, with locked instructions: in a
    loop over keys that took a fifth of the time. Whoever makes no array needs no counts.
    """
    cache_folder()
    options: dict[str, Any] = {"cache": True, "error_model": "python", "_nrt": False}
    compiled: Callable[..., Any] = numba.njit(**options)(function)
    return compiled


def walk_name(name: str, source: str) -> str:
    """Return the name of a generated module: it changes with everything that the module reaches."""
    digest = source_hash(_imported(source, HERE), source)
    return f"walk_{name.replace('-', '_')}_{digest}"


@cache
def walk_of(name: str, source: str) -> Callable[..., Any]:
    """Return the walk of a generated module, which is written once and then read from the cache."""
    stem = walk_name(name, source)
    path = cache_folder() / f"{stem}.py"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
            draft.write(source)
        Path(draft.name).replace(path)
        _remove_old_walks(path)
    module = _load(f"callwatch_{stem}", path)
    walk: Callable[..., Any] = module.walk
    return walk


def _remove_old_walks(current: Path) -> None:
    """Keep the newest versions of one detector's walk; ``stem`` and 16 digits name each."""
    kind = current.stem.rpartition("_")[0]
    others = [path for path in current.parent.glob(f"{kind}_{'?' * 16}.py") if path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[KEPT_CACHES - 1 :]:
        for part in current.parent.rglob(f"{old.stem}.*"):
            part.unlink(missing_ok=True)


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
