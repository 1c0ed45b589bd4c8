"""Every detector keeps the contract; compiled and plain code compute the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from detectors import checks
from detectors.base import FINDING, Detector, Explanation, Found, detector_of
from detectors.checks import Check, checks_for, dump, source_faults
from detectors.errors import ContractError
from detectors.registry import detectors_found

ROOT = Path(__file__).parents[3]
DETECTORS = detectors_found()
SEEDS = (3, 4)
ALL = [
    pytest.param(check, id=f"{detector.id}:{check}")
    for detector in DETECTORS
    for check in checks_for(detector)
]


@pytest.mark.parametrize("check", ALL)
def test_contract(check: Check) -> None:
    """A detector keeps this point of the contract."""
    check()


def test_the_mission_is_covered() -> None:
    """The four detectors of the mission are found by listing the folder."""
    found = {detector.id for detector in DETECTORS}
    assert found >= {"payload-volume", "replay-burst", "signature-failure-spike", "spoofed-source"}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.id)
def test_the_checks_reach_findings(detector: Detector) -> None:
    """The events of the checks make every detector find something, so that they prove something."""
    records, _ = checks.run(detector, checks.random_events(1), checks.rows_of(detector))
    assert FINDING in set(records["code"].tolist())


@pytest.fixture(scope="module")
def plain() -> dict[str, list[str]]:
    """What plain Python computes, in a process of its own; there an index outside is an error."""
    code = (
        "import json; from detectors.checks import dump;"
        "from detectors.registry import detectors_found;"
        f"print(json.dumps({{d.id: [dump(d, s) for s in {SEEDS}] for d in detectors_found()}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.id)
def test_compiled_equals_plain(detector: Detector, plain: dict[str, list[str]]) -> None:
    """Compiled steps and timers give the bits of plain ones, on ordinary and on extreme rows.

    So they stay inside their arrays as well, which nothing but plain Python looks after.
    """
    assert [dump(detector, seed) for seed in SEEDS] == plain[detector.id]


PARTS = [*sorted(ROOT.glob("models/*.py")), ROOT / "detectors" / "payload_sizes.py"]


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_models_keep_the_rules_of_kernels(path: Path) -> None:
    """Statistics and parts of rules use nothing that compiled code computes differently."""
    assert list(source_faults(path)) == []


def test_faults_of_a_source_are_named(tmp_path: Path) -> None:
    """What compiled code would do differently is named with file and line."""
    bad = tmp_path / "bad.py"
    bad.write_text(
        "@kernel\n"
        "def step(a, event, params, out):\n"
        '    x = a["n"] + 1\n'
        "    y = x**2\n"
        "    z = np.log1p(y)\n"
        "    return math.lgamma(z)\n"
    )
    assert sorted(source_faults(bad)) == [
        "bad.py:3: a field is read without int(), float() or real()",
        "bad.py:4: powers differ when compiled: write products",
        "bad.py:5: np.log1p: kernels use no numpy",
        "bad.py:6: math.lgamma is not among the tested functions",
    ]


def test_only_the_sender_has_a_class_of_parameters() -> None:
    """A row of another key that named one could not be looked up again, so there is none."""
    rule = next(one for one in DETECTORS if one.id == "sender-silence").module
    (table,) = rule.TABLES
    changed = ModuleType("rule")
    vars(changed).update(vars(rule), TABLES=(replace(table, key=("sender", "source")),))
    with pytest.raises(ContractError, match="JUDGING: allowed where the key is sender; given send"):
        detector_of(changed)


def test_the_checks_can_fail() -> None:
    """A detector whose words name no sender breaks the contract."""
    detector = next(one for one in DETECTORS if one.id == "replay-burst")

    def unexplained(found: Found) -> Explanation:
        return Explanation(summary="something", expected={}, observed={})

    broken = Detector(**{**vars(detector), "explain": unexplained})
    with pytest.raises(checks.ContractError, match="the summary names no sender"):
        checks.every_reason_is_explained(broken)
