"""The worked example of CONTRIBUTING.md is a detector: its files work as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FILE = re.compile(r"^`([\w./-]+)`\n\n```(?:python|markdown)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES: dict[str, str] = dict(FILE.findall(PAGE))
RULE = "detectors/rules/slow_answer.py"
TEST = "tests/unit/detectors/test_slow_answer.py"
RUNBOOK = "docs/runbooks/slow-answer.md"

FIND_IT = """
import detectors.rules
detectors.rules.__path__.append({folder!r})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's files, in a folder that the detectors' registry is told of."""
    made = tmp_path_factory.mktemp("example")
    (made / "rules").mkdir()
    (made / "rules" / "slow_answer.py").write_text(FILES[RULE], "utf-8")
    (made / "test_slow_answer.py").write_text(FILES[TEST], "utf-8")
    (made / "conftest.py").write_text(FIND_IT.format(folder=str(made / "rules")), "utf-8")
    (made / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", "utf-8")
    return made


def run(folder: Path, *arguments: str, given: str = "", **environment: str) -> str:
    """What Python prints; compiled code is kept apart, so that an edit here is always noticed."""
    kept = {"PYTHONPATH": str(ROOT), "CALLWATCH_CACHE_DIR": str(folder / "cache"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=kept | environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_has_three_files() -> None:
    """The page shows a rule, a test and a runbook, and they are no part of the project yet."""
    assert list(FILES) == [RULE, TEST, RUNBOOK]
    assert not any((ROOT / name).exists() for name in FILES)


def test_its_test_passes(folder: Path) -> None:
    """The example's own test finds the attack and keeps quiet about the trap."""
    pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_slow_answer.py")
    out = run(folder, *pytest_, NUMBA_DISABLE_JIT="1")  # plain, which is faster for so few events
    assert "2 passed" in out


def test_it_keeps_the_contract(folder: Path) -> None:
    """It passes every check that the project's own detectors pass."""
    pytest.importorskip("detectors.checks")
    script = """
import conftest
from detectors.checks import checks_for
from detectors.registry import detectors_found
(detector,) = [one for one in detectors_found() if one.id == "slow-answer"]
checks = list(checks_for(detector))
for check in checks:
    check()
print(len(checks), "checks")
"""
    assert int(run(folder, "-c", script).split()[0]) > 5


def test_its_runbook_covers_its_reasons() -> None:
    """A heading for each reason, with the parts that every runbook has."""
    (reasons,) = re.findall(r"^REASONS = \((.*)\)", FILES[RULE], re.MULTILINE)
    headings = re.findall(r"^## (\w+)", FILES[RUNBOOK], re.MULTILINE)
    assert headings == re.findall(r'"(\w+)"', reasons)
    for part in ("What it means.", "First checks.", "Benign when", "When it is an attack."):
        assert f"**{part}" in FILES[RUNBOOK]


@pytest.mark.parametrize("name", [RULE, TEST])
def test_it_follows_the_house_style(name: str) -> None:
    """Nothing is left for ruff to say about the example."""
    named = ("--no-cache", "--stdin-filename", name, "-")
    run(ROOT, "-m", "ruff", "check", *named, given=FILES[name])
    assert run(ROOT, "-m", "ruff", "format", *named, given=FILES[name]) == FILES[name]
