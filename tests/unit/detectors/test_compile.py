"""The cache of compiled code: it sees every edit, is used again, and never is in the way."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from detectors.compile import PACKAGES, _imported
from tests.unit.detectors.test_first_start import stopped

ROOT = Path(__file__).parents[3]
TINY = """
import numpy as np
from detectors.compile import cache_folder, walk_of
from detectors.keys import place_of
walk = walk_of("tiny", '''from numba import njit

from models import cusum
from ingest.schema import Reason

WORD = list(Reason).index(Reason.SIGNATURE_INVALID)


@njit(cache=True)
def walk(x):
    return cusum.step(x, 1.0, 100.0) + 1000 * WORD
''')
print(walk(1.0), sum(walk.stats.cache_hits.values()), cache_folder())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources, to be edited."""
    for name in ("detectors", "models", "alerts", "ingest"):
        shutil.copytree(
            ROOT / name, tmp_path / "src" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path / "src"


def run(source: Path, cache: Path, code: str = TINY) -> list[str]:
    """Run code against a copy of the sources; return the words that it prints."""
    env = {**os.environ, "CALLWATCH_CACHE_DIR": str(cache), "PYTHONPATH": str(source)}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=source,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def edit(path: Path, old: str, new: str) -> None:
    """Replace text in a file that must hold it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def files(folder: Path) -> set[Path]:
    """Return all files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


def test_an_edited_statistic_is_seen_and_an_unedited_one_is_not_compiled_again(
    copy: Path, tmp_path: Path
) -> None:
    """The second start reads machine code and leaves no new file; an edit elsewhere compiles."""
    cache = tmp_path / "cache"
    first, hits, _ = run(copy, cache)
    there = files(cache)
    again, more_hits, _ = run(copy, cache)
    assert (first, hits, again, more_hits) == (first, "0", first, "1")
    assert files(cache) == there
    edit(
        copy / "models" / "cusum.py", "return guard.clip(s + llr", "return guard.clip(s + 5.0 * llr"
    )
    edited, hits, _ = run(copy, cache)
    assert (float(edited), hits) == (float(first) + 4.0, "0")
    edit(copy / "ingest" / "vocabulary.py", '    OTHER = "other"', '    OTHER = "other"  # last')
    assert run(copy, cache)[1] == "0"


def test_a_changed_order_of_reasons_is_seen(copy: Path, tmp_path: Path) -> None:
    """Constants that steps take from the event's vocabulary are part of what is compiled."""
    cache = tmp_path / "cache"
    first = float(run(copy, cache)[0])
    edit(
        copy / "ingest" / "vocabulary.py",
        "class Reason(StrEnum):\n",
        'class Reason(StrEnum):\n    BRAND_NEW = "brand_new"\n',
    )
    assert float(run(copy, cache)[0]) == first + 1000


def test_an_edited_rule_compiles_that_rule_alone(copy: Path, tmp_path: Path) -> None:
    """The name of a walk changes with its own rule and what that imports, not with other rules."""
    code = """
from detectors.compile import walk_name
from detectors.registry import detectors_found
from detectors.walk import walk_source
for d in detectors_found(): print(d.id, walk_name(d.id, walk_source(d)), sep="=")
"""
    before = set(run(copy, tmp_path, code))
    edit(copy / "detectors" / "rules" / "replay_burst.py", "SAME_AGE_S = 60", "SAME_AGE_S = 61")
    after = set(run(copy, tmp_path, code))
    assert {line.partition("=")[0] for line in before ^ after} == {"replay-burst"}
    edit(copy / "models" / "lognormal.py", "HELD = 3.5", "HELD = 3.6")
    changed = {line.partition("=")[0] for line in after ^ set(run(copy, tmp_path, code))}
    assert changed == {"payload-volume"}


def test_old_versions_of_a_walk_are_removed(copy: Path, tmp_path: Path) -> None:
    """At most three versions of one detector stay in the folder."""
    for n in range(5):
        run(copy, tmp_path / "cache", TINY.replace("1000 *", f"{n} *"))
    (folder,) = (tmp_path / "cache").iterdir()
    assert len(list(folder.glob("walk_tiny_*.py"))) == 3
    assert len({path.name.split(".")[0] for path in folder.rglob("walk_tiny_*.nbi")}) == 3


def test_old_caches_are_removed(copy: Path, tmp_path: Path) -> None:
    """At most three versions stay on disk."""
    cache = tmp_path / "cache"
    for n in range(6):
        old = cache / f"numba-{n:016x}"
        old.mkdir(parents=True)
        os.utime(old, (n, n))
    run(copy, cache)
    assert len(list(cache.iterdir())) == 3


def test_code_with_checks_of_bounds_is_kept_apart(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What numba is told to compile differently has a folder of its own; plain runs have none."""
    code = "from detectors.compile import cache_folder; print(cache_folder())"
    usual = run(copy, tmp_path / "cache", code)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert run(copy, tmp_path / "cache", code) == usual
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    assert run(copy, tmp_path / "cache", code) != usual


@pytest.mark.parametrize("blocked", ["a file", "below a file"])
def test_a_cache_that_cannot_be_written_is_no_hindrance(
    copy: Path, tmp_path: Path, blocked: str
) -> None:
    """Then compiled code goes to a temporary folder, which is gone after the run."""
    cache = tmp_path / "cache"
    cache.write_text("in the way")
    result, _, folder = run(copy, cache if blocked == "a file" else cache / "deep" / "er")
    assert float(result) > 0
    assert cache.read_text() == "in the way"
    assert not folder.startswith(str(cache))
    assert not Path(folder).exists()
    assert not Path(folder).parent.exists()


def test_processes_that_are_started_share_the_temporary_cache(copy: Path, tmp_path: Path) -> None:
    """A helper that compiles for its parent writes where the parent reads."""
    cache = tmp_path / "cache"
    cache.write_text("in the way")
    code = """
import subprocess, sys
from detectors.compile import cache_folder
print(cache_folder(), flush=True)
child = "from detectors.compile import cache_folder; print(cache_folder())"
subprocess.run([sys.executable, "-c", child], check=True)
"""
    mine, childs = run(copy, cache, code)
    assert mine == childs
    assert not Path(mine).exists()


def test_a_start_whose_code_is_not_kept_says_why_and_what_helps(tmp_path: Path) -> None:
    """One line: each start compiles, the folder, the reason, and what names another."""
    cache = tmp_path / "cache"
    cache.write_text("in the way")
    code = """
from detectors import warm
from detectors.config import Config
warm._helper = lambda share: exit()
warm.warm_up(Config())
"""
    env = {**os.environ, "CALLWATCH_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True, text=True
    )
    assert re.fullmatch(
        rf"compiling \d+ detectors, as at each start: {re.escape(str(cache))} cannot be written "
        r"\(Not a directory\); CALLWATCH_CACHE_DIR names another folder\n",
        done.stderr,
    )


def test_a_machine_without_a_home_is_no_hindrance(copy: Path) -> None:
    """Where nobody knows a home, compiled code goes to a temporary folder too."""
    code = """
import os, pathlib
def no_home(): raise RuntimeError("Could not determine home directory.")
pathlib.Path.home = no_home
for name in ("CALLWATCH_CACHE_DIR", "XDG_CACHE_HOME"): os.environ.pop(name, None)
from detectors.compile import cache_folder
print(cache_folder())
"""
    (folder,) = run(copy, copy, code)
    assert "callwatch-numba-" in folder


WARM = """
from detectors.compile import walk_of
from detectors.config import Config
from detectors.event import EVENT
from detectors.warm import warm_up
from detectors.walk import walk_source
config = Config(disabled=frozenset({DISABLED}))
print(warm_up(config), warm_up(config))
print(*(len(walk_of(d.id, walk_source(d)).stats.cache_hits) for d in config.detectors))
from detectors.core import Core
from detectors.warm import load
load(Core(config))
print(*(sum(walk_of(d.id, walk_source(d)).stats.cache_hits.values()) for d in config.detectors))
"""


def test_a_warm_up_leaves_nothing_to_compile(tmp_path: Path) -> None:
    """After a warm-up every walk comes from the cache, and a second warm-up has nothing to do.

    So it is behind one that was killed: what it compiled is used, what was cut short is no harm. A
    detector that is disabled, or has no model, is not compiled at all.
    """
    from detectors.registry import detectors_found

    others = {d.id for d in detectors_found()} - {"clock-skew", "unregistered", "behaviour-outlier"}
    code = WARM.replace("DISABLED", ", ".join(map(repr, sorted(others))))
    assert stopped(code, tmp_path, signal.SIGKILL)[1] == ""
    assert run(ROOT, tmp_path, code)[:2] == ["True", "False"]
    again = run(ROOT, tmp_path, code)
    assert again == ["False", "False", "0", "0", "1", "1"]
    walks = {path.name.rpartition("_")[0] for path in tmp_path.rglob("walk_*.py")}
    assert walks == {"walk_clock_skew", "walk_unregistered"}


def _by_syntax(text: str, folder: Path) -> set[Path]:
    """What a parser finds that is imported."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            places = [(0, alias.name, [""]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            places = [(node.level, node.module or "", [alias.name for alias in node.names])]
        else:
            continue
        for level, module, names in places:
            if level or module.partition(".")[0] in PACKAGES:
                at = (ROOT, folder, folder.parent)[level].joinpath(*module.split("."))
                found |= {at.with_suffix(".py"), at / "__init__.py"}
                found |= {at / f"{name}.py" for name in names}
    return {path for path in found if path.is_file()}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_seen_without_parsing(package: str) -> None:
    """One that was missed would leave machine code of an older version in use."""
    for path in sorted((ROOT / package).rglob("*.py")):
        text = path.read_text()
        missed = _by_syntax(text, path.parent) - set(_imported(text, path.parent))
        assert not missed, (path, missed)


@pytest.mark.parametrize(
    "text",
    [
        "if True: import detectors.core",
        "import os; import detectors.core",
        "from detectors import clock, \\\n    core",
        "from detectors import (  # a comment with )\n    clock as c,\n    core,\n)",
        "    from detectors import core as other",
        "import os, detectors.core as other",
    ],
)
def test_an_import_is_seen_however_it_is_written(text: str) -> None:
    """Whatever Python allows, though nobody writes so here."""
    assert ROOT / "detectors" / "core.py" in _imported(text, ROOT / "models")


def test_what_only_looks_like_an_import_does_no_harm() -> None:
    """Texts may hold anything behind these words."""
    for text in ("from ... import that", "from detectors import (" + "x" * 5000, "import ,, "):
        assert _imported(text, ROOT / "models") in ((), (ROOT / "detectors" / "__init__.py",))


def test_what_becomes_of_a_helper_is_told() -> None:
    """One that fails says why, ends with another code, and holds no lock of its parent's."""
    code = """
import fcntl, os, tempfile
from detectors import warm
def broken(names):
    raise ZeroDivisionError(os.path.exists(f"/proc/self/fd/{lock.fileno()}"))
lock = tempfile.TemporaryFile()
warm.compile_share = broken
print(warm._helper(["x"]).wait())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    if sys.platform == "linux":
        assert done.stdout.strip() == "1"
        assert "ZeroDivisionError: False" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="helpers are other processes there")
def test_an_interrupted_start_ends_its_helpers() -> None:
    """Whatever interrupts the parent, what compiled for it is gone when it goes on."""
    code = """
import os, time
from detectors import warm
from detectors.config import Config
ended = warm._Copy.wait
def interrupted(helper):
    warm._Copy.wait = ended
    raise KeyboardInterrupt
children = []
forked = os.fork
def fork():
    children.append(forked())
    return children[-1]
os.fork = fork
os.cpu_count = lambda: 2
warm.compile_share = lambda names: time.sleep(600)
warm._Copy.wait = interrupted
try:
    warm.warm_up(Config())
except KeyboardInterrupt:
    print(len(children), [os.path.exists(f"/proc/{child}") for child in children])
"""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True,
            env={**os.environ, "CALLWATCH_CACHE_DIR": cache},
        )  # fmt: skip
    assert done.stdout.strip() == "2 [False, False]"
