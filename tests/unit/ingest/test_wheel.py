"""The small wheel: what a receiver installs is complete, light, and typed."""

import os
import shutil
import subprocess
import sys
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from ingest.version import __version__

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "ingest" / "pyproject.toml").read_text())
FRAMEWORKS = {"receivers.fastapi"}
"""Modules that need a web framework when they are imported, and so are imported by hosts only."""
COMMANDS = {"cli"}
"""They belong to the application `callwatch`, which has what they need."""

ALONE = """
import importlib, sys
wheel, *modules = sys.argv[1:]
sys.path.insert(0, wheel)

class Absent:
    allowed = {"callwatch_ingest", "pydantic", "pydantic_core", "annotated_types", "kafka",
               "crc32c", "typing_extensions", "typing_inspection", *sys.stdlib_module_names}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed and name[0] != "_":
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, Absent())
for module in modules:
    importlib.import_module(module)
import callwatch_ingest
assert callwatch_ingest.__file__.startswith(wheel), callwatch_ingest.__file__
from callwatch_ingest import MemoryTransport, Publisher, profiles
from callwatch_ingest.receivers import describe, record
assert "stripe" in profiles.load_profiles()
memory = MemoryTransport()
publisher = Publisher(memory, receiver="shop/1@a")
assert record(describe("verified", source_ip="192.0.2.7"), publisher)
assert publisher.close(20)
assert [event.verdict for event in memory.events()] == ["verified"]
print("kafka" in sys.modules)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of the folder."""
    made = tmp_path_factory.mktemp("wheel")
    source = made / "source"
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(ROOT / "ingest", source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "-q", "-w", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but what is in the wheel."""
    target = tmp_path_factory.mktemp("installed")
    ZipFile(wheel).extractall(target)
    return target


def _modules(installed: Path) -> list[str]:
    package = installed / "callwatch_ingest"
    names = [path.relative_to(package).with_suffix("") for path in package.rglob("*.py")]
    dotted = [".".join(name.parts).removesuffix("__init__").removesuffix(".") for name in names]
    skipped = FRAMEWORKS | COMMANDS
    return sorted(f"callwatch_ingest.{name}".rstrip(".") for name in dotted if name not in skipped)


def test_it_holds_the_folder_and_its_licence(wheel: Path) -> None:
    """Every module that a receiver can use, the profiles, `py.typed`; no importer of old logs."""
    names = set(ZipFile(wheel).namelist())
    folder = ROOT / "ingest"
    files = [*folder.rglob("*.py"), *folder.glob("profiles/*.toml"), folder / "py.typed"]
    expected = {
        f"callwatch_ingest/{path.relative_to(folder).as_posix()}"
        for path in files
        if path.relative_to(folder).parts[0] not in {"importers", "examples", "build"}
    }
    assert expected - names == set()
    rest = names - expected
    assert all(".dist-info/" in name for name in rest), rest
    assert any(name.endswith("licenses/LICENSE") for name in rest)


def test_it_needs_little(wheel: Path) -> None:
    """Two packages, cryptography only as an extra, the application's own versions."""
    (name,) = (name for name in ZipFile(wheel).namelist() if name.endswith("METADATA"))
    metadata = HeaderParser().parsestr(ZipFile(wheel).read(name).decode())
    needs = [need.partition(">")[0].partition("<")[0] for need in metadata.get_all("Requires-Dist")]
    assert needs == ["pydantic", "kafka-python[crc32c]", "cryptography"]
    assert 'extra == "asymmetric"' in metadata.get_all("Requires-Dist")[2]
    assert metadata["Version"] == __version__ == PROJECT["project"]["version"]
    application = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = dict(_bounds(need) for need in application["dependencies"])
    for need in PROJECT["project"]["dependencies"]:
        name, bound = _bounds(need)
        assert ours[name] == bound


def _bounds(need: str) -> tuple[str, str]:
    """A package without its extras, and its bounds."""
    name, _, bound = need.partition(">=")
    return name.partition("[")[0], bound


def test_it_works_alone(installed: Path, tmp_path: Path) -> None:
    """With everything else of callwatch and all frameworks absent, all of it can be imported."""
    environ = {name: value for name, value in os.environ.items() if "CALLWATCH" not in name}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(installed), *_modules(installed)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"  # Kafka is imported when something is sent


@pytest.mark.slow
def test_its_api_is_typed(installed: Path, tmp_path: Path) -> None:
    """A program of the public API passes mypy --strict; one with a wrong option does not."""
    program = ROOT / "tests" / "data" / "typing" / "receiver.py"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        program.read_text().replace("sample_rate=0.5", 'sample_rate="half"')
        + '\nrecord(5)\ndescribe("verified", source_ip=None, body="text")\n'
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent",
               "--config-file=", "--cache-dir", str(tmp_path / "cache")]  # fmt: skip
    environ = {**os.environ, "MYPYPATH": str(installed)}
    done = [
        subprocess.run([*command, str(path)], capture_output=True, text=True, check=False,
                       cwd=tmp_path, env=environ).stdout
        for path in (program, wrong)
    ]  # fmt: skip
    assert done[0] == "Success: no issues found in 1 source file\n"
    faults = [line for line in done[1].splitlines() if ": error:" in line]
    assert len(faults) == 3, done[1]
    assert "[arg-type]" in done[1]
