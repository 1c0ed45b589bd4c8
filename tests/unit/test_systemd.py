"""The units of examples/deploy/systemd fit systemd, and the code that they run."""

import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from detectors.engines.faust_app import SAVE_SECONDS, STOP_SECONDS
from detectors.sizing import COMPILING_BYTES
from ingest.control import control_key
from ingest.kafka_config import kafka_config
from tests.unit.deployed import accepted, known_variables

FOLDER = Path(__file__).parents[2] / "examples" / "deploy" / "systemd"
UNITS = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.service")}
PROGRAM = "/opt/callwatch/bin/callwatch"
ANALYZE = shutil.which("systemd-analyze") or ""
needs_systemd = pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
PLACES = {"%d": "CREDENTIALS", "%C": "CACHE", "%t": "RUN", "%L": "LOGS", "%i": "1"}
HARDENED = [
    "NoNewPrivileges",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "LockPersonality",
]


def settings(name: str) -> dict[str, list[str]]:
    """The keys of a unit, each with its values in order."""
    found = defaultdict(list)
    for line in UNITS[name].replace("\\\n", " ").splitlines():
        if not line.startswith(("#", "[")) and line.strip():
            key, _, value = line.partition("=")
            found[key].append(value.strip())
    return dict(found)


def placed(text: str, folder: Path) -> str:
    """A text whose specifiers and /etc are folders of a test."""
    for specifier, name in PLACES.items():
        text = text.replace(specifier, name if specifier == "%i" else str(folder / name))
    assert "%" not in text
    return text.replace("/etc", str(folder / "etc"))


def environ(name: str, folder: Path) -> dict[str, str]:
    """What a unit's process finds in its environment, with its credentials as files."""
    unit = settings(name)
    (file,) = unit["EnvironmentFile"]
    lines = [*(FOLDER / Path(file).name).read_text("utf-8").splitlines(), *unit["Environment"]]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    (folder / "CREDENTIALS").mkdir()
    for one in unit["LoadCredential"]:
        (folder / "CREDENTIALS" / one.partition(":")[0]).write_text("ab" * 16)
    return {name: placed(value, folder) for name, _, value in pairs}


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    """No key is unknown and no value wrong: it would be passed over with a line in a log."""
    unit = tmp_path / name.replace("@", "@1")

    def said(text: str) -> str:
        unit.write_text(text.replace(PROGRAM, "/bin/true"))
        done = subprocess.run(
            [ANALYZE, "verify", "--man=no", str(unit)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return "\n".join(line for line in done.stderr.splitlines() if unit.name in line)

    assert said(UNITS[name]) == ""
    assert "Unknown key" in said(UNITS[name].replace("PrivateTmp=", "PrivatTmp="))


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_little_is_exposed(name: str, tmp_path: Path) -> None:
    """Systemd's own score is below 2 of 10: a network is needed, and no more."""
    unit = tmp_path / name.replace("@", "@1")
    unit.write_text(UNITS[name])
    command = [ANALYZE, "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-200:]


@pytest.mark.parametrize("name", UNITS)
def test_commands_and_places_exist(name: str, tmp_path: Path) -> None:
    """The command has these options, and writes only where the unit gives it a folder."""
    unit = settings(name)
    (tmp_path / "etc" / "callwatch").mkdir(parents=True)
    for file in ("detectors.toml", "inventory.toml"):
        (tmp_path / "etc" / "callwatch" / file).touch()
    (line,) = unit["ExecStart"]
    program, *words = shlex.split(placed(line, tmp_path))
    assert program == PROGRAM
    given = accepted(words).params
    written = [Path(given[key]) for key in ("out", "ready_file", "cache_dir") if given.get(key)]
    assert len(written) == 2
    owned = [
        tmp_path / place / placed(unit[key][0], tmp_path)
        for key, place in (
            ("RuntimeDirectory", "RUN"), ("CacheDirectory", "CACHE"), ("LogsDirectory", "LOGS"))
        if key in unit
    ]  # fmt: skip
    assert all(any(folder in path.parents for folder in owned) for path in written)


@pytest.mark.parametrize("name", UNITS)
def test_variables_and_secrets_are_what_the_code_reads(name: str, tmp_path: Path) -> None:
    """Every variable is known and accepted; secrets are in files alone, and each is used."""
    variables = environ(name, tmp_path)
    assert variables.keys() <= known_variables()
    config = kafka_config(environ=variables)
    assert (config.security_protocol, config.sasl_password) == ("SASL_SSL", "ab" * 16)
    assert not {"CALLWATCH_KAFKA_SASL_PASSWORD", "CALLWATCH_CONTROL_KEY"} & variables.keys()
    files = {Path(value).name for key, value in variables.items() if key.endswith("_FILE")}
    assert files == {one.partition(":")[0] for one in settings(name)["LoadCredential"]}
    if "worker" in name:
        assert control_key(variables) == bytes.fromhex("ab" * 16)
        assert variables["CALLWATCH_CACHE_DIR"] == str(tmp_path / "CACHE/callwatch/worker-1")


@pytest.mark.parametrize("name", UNITS)
def test_units_can_do_little_and_are_started_again(name: str) -> None:
    """No root, nothing to write but their own folders, bounded; only wrong usage is given up on."""
    unit = settings(name)
    assert all(unit[key] == ["yes"] for key in HARDENED)
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit.get("DynamicUser") == ["yes"] or unit["User"] == ["callwatch-router"]
    assert (unit["Restart"], unit["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert int(unit["TimeoutStopSec"][0]) >= 2 * (SAVE_SECONDS + STOP_SECONDS)
    memory = int(unit["MemoryMax"][0].removesuffix("M")) << 20
    if "worker" in name:
        assert memory > COMPILING_BYTES
        assert "MemoryDenyWriteExecute" not in unit  # it compiles
    user = re.search(r"^u (\S+)", (FOLDER / "callwatch.sysusers").read_text(), re.MULTILINE)
    assert user is not None
    assert unit.get("User", [user[1]]) == [user[1]]
