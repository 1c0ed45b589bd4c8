"""docs/import.md, done: fifteen days of a log become events, and detection finds the attack."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import callwatch
from ingest.importers.mapping import load_mapping
from tests.unit.ingest.importers.access_log import ATTACK, ATTACKER, month

PAGE = (Path(__file__).parents[4] / "docs" / "import.md").read_text("utf-8")
README = (Path(__file__).parents[4] / "README.md").read_text("utf-8")


def commands(page: str) -> list[str]:
    """The commands of the walk-through, in their order."""
    steps = page.partition("## Five minutes")[2].partition("\n## ")[0]
    return re.findall(r"^\$ (.+)$", steps, re.MULTILINE)


def run(line: str) -> str:
    """Do as a shell does with a shown command; return what it wrote."""
    bare, _, target = line.partition(" > ")
    done = CliRunner().invoke(callwatch.cli, shlex.split(bare)[1:])
    assert done.exit_code == 0, done.output
    if target:
        Path(target).write_text(done.stdout, "utf-8")
    return done.output


def walk(folder: Path, monkeypatch: pytest.MonkeyPatch, *, attack: bool) -> list[dict[str, Any]]:
    """The whole page on a log; returns the last state of each alert that is low or graver."""
    monkeypatch.chdir(folder)
    Path("access.log").write_text("".join(f"{line}\n" for _, line in month(attack=attack)))
    said = [run(f"{line} --now 2026-11-01" if " detect " in line else line)
            for line in commands(PAGE)]  # fmt: skip
    Path("said").write_text("\n".join(said), "utf-8")
    states = [json.loads(line) for line in Path("alerts.jsonl").read_text().splitlines()]
    last = {state["id"]: state for state in states}
    return [alert for alert in last.values() if alert["severity"] != "info"]


def test_the_walk_through_finds_the_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guess, import, detect: forged calls are found within seconds, and nothing else is."""
    found = walk(tmp_path, monkeypatch, attack=True)
    assert {(alert["detector"], alert["reason"]) for alert in found} == {
        ("spoofed-source", "forged_from_new_network"),
        ("signature-failure-spike", "forgery"),
    }
    for alert in found:
        assert alert["sender"] == "github"
        assert f"{ATTACK:%Y-%m-%dT%H:%M}" <= alert["opened_at"] < f"{ATTACK:%Y-%m-%dT%H:}01"
        assert alert["sources"] == [ATTACKER.rpartition(".")[0] + ".0/24"]


def test_the_page_shows_what_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that the page shows as output is one, but for the seconds that it took."""
    found = walk(tmp_path, monkeypatch, attack=True)
    told = " ".join((tmp_path / "said").read_text("utf-8").split())
    told += " ".join(alert["summary"] for alert in found)
    steps = PAGE.partition("## Five minutes")[2].partition("\n## ")[0]
    draft, output = re.findall(r"```text\n(.*?)```", steps, re.DOTALL)
    assert " ".join(draft.split()) in told
    summary, alert = " ".join(output.split()).split(" in 1.6 s ")
    assert summary in told
    assert alert.partition("github: ")[0].split()[1:] == [
        "medium", "open", "spoofed-source", "forged_from_new_network:",
    ]  # fmt: skip
    states = (tmp_path / "alerts.jsonl").read_text("utf-8").splitlines()
    assert alert.partition("network: ")[2] in {json.loads(state)["summary"] for state in states}


def test_a_benign_log_stays_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same traffic without the attack brings nothing that is low or graver."""
    assert walk(tmp_path, monkeypatch, attack=False) == []
    assert load_mapping(tmp_path / "mapping.toml", "nginx").routes[0].provider == "stripe"


def test_the_readme_shows_the_same_commands() -> None:
    """README's short form is the walk-through."""
    section = README.partition("## Try it on last month's logs")[2].partition("\n## ")[0]
    assert re.findall(r"^\$ (.+)$", section, re.MULTILINE) == commands(PAGE)


def test_the_examples_of_the_page_load(tmp_path: Path) -> None:
    """Every mapping that the page shows is a valid one of the format named before it."""
    found = re.findall(r"<!-- mapping: (\S+) -->\n\n```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) >= 3
    for format_name, text in found:
        path = tmp_path / "mapping.toml"
        path.write_text(text, "utf-8")
        assert load_mapping(path, format_name).routes
