"""The demo with the real detectors: what it promises on its default seed."""

import json

import pytest
from click.testing import CliRunner

from detectors.benchmark.demo import run_demo
from detectors.benchmark.demo_cli import commands
from detectors.benchmark.labels import SEVERITIES
from detectors.config_file import load_config
from detectors.engines.local import run_local
from ingest.inventory import load_inventory
from ingest.sources import read_events

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder and the result of the demo as `callwatch demo` runs it."""
    out = tmp_path_factory.mktemp("demo")
    return out, run_demo(out)


def test_attacks_are_caught_and_traps_stay_quiet(run):
    """Every label of the default day comes out well, and nothing of medium or above is false."""
    _, done = run
    assert [(one.label.id, str(one.outcome)) for one in done.score.judged if not one.good] == []
    grave = set(done.score.unexpected_by_severity()) & set(SEVERITIES[2:])
    assert grave == set()


def test_the_files_give_the_same_alerts_again(run):
    """History and day, read back by the local engine, give the demo's alerts byte for byte."""
    out, _ = run
    config = load_config(None, inventory=load_inventory(out / "inventory.toml"))
    again = run_local(read_events([out / "history.jsonl.gz", out / "day.jsonl"]), config)
    assert again.rejected == []
    written = (out / "alerts.jsonl").read_bytes()
    assert b"".join(one.to_json() + b"\n" for one in again.alerts) == written


def test_the_command_runs_on_a_short_history(tmp_path):
    """`callwatch demo --days 3 --json` ends with one object and every file in place."""
    done = CliRunner().invoke(commands[0], ["--out", str(tmp_path), "--days", "3", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["events"]["day"] > 10_000
    assert (tmp_path / "report.html").stat().st_size > 100_000
