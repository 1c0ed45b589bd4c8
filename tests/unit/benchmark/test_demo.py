"""The demo's files and what it shows, with an engine made by hand."""

import gzip
import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from alerts.alert import Alert, Severity, Status, alert_id
from detectors.benchmark import demo
from detectors.benchmark.day import MIDNIGHT
from detectors.benchmark.demo_cli import commands
from detectors.benchmark.demo_view import OnTerminal, Plain, verdict_lines
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.fleet import FLEET
from detectors.benchmark.inventory_file import inventory_toml
from detectors.benchmark.labels import read_labels
from detectors.benchmark.whole_files import GzipWriter, staged
from ingest.inventory import load_inventory

HOSTILE = "acme\x1b[2J[red]\u202e"


class HandMade:
    """An engine that raises one alert at its end, or stops as told."""

    def __init__(self, config, stop=None):
        self.fed, self.stop = 0, stop

    def feed(self, lines):
        """Count the lines."""
        self.fed += len(lines)
        if self.stop is not None:
            raise self.stop
        return []

    def finish(self):
        """Raise the alert."""
        at = MIDNIGHT + 1
        return [Alert(
            id=alert_id("replay-burst", [HOSTILE], at), detector="replay-burst", reason="x",
            severity=Severity.LOW, score=1.0, confidence=0.5, status=Status.OPEN, sender=HOSTILE,
            senders=(HOSTILE,), sender_count=1, first_seen=at, last_seen=at, opened_at=at,
            updated_at=at, count=2, summary=f"seen {HOSTILE}", runbook="r", config="0" * 12,
        )]  # fmt: skip


@pytest.fixture
def by_hand(monkeypatch):
    """The demo runs with the engine made by hand; the engines that it made are returned."""
    made = []
    monkeypatch.setattr(demo, "local_engine", lambda c: made.append(HandMade(c)) or made[-1])
    return made


def test_a_run_writes_every_file_and_feeds_every_event(by_hand, tmp_path):
    """Events, alerts, labels and inventory are complete and readable; nothing else is left."""
    run = demo.run_demo(tmp_path, history_days=3, with_report=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(demo.FILES)
    history = gzip.decompress((tmp_path / "history.jsonl.gz").read_bytes()).splitlines()
    today = (tmp_path / "day.jsonl").read_bytes().splitlines()
    assert (len(history), len(today)) == (len(run.day.history), len(run.day.day))
    assert by_hand[0].fed == len(history) + len(today)
    assert read_labels((tmp_path / "labels.json").read_bytes()) == run.day.labels
    assert len((tmp_path / "alerts.jsonl").read_bytes().splitlines()) == 1
    assert load_inventory(tmp_path / "inventory.toml").senders["agent-tasks"].mtls
    assert set(run.seconds) == {"simulate", "detect"}
    json.dumps(run.record(), default=str)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), BenchmarkError("full")])
def test_a_run_that_stops_leaves_nothing(stop, monkeypatch, tmp_path):
    """Interrupted or failed, the folder holds what it held before."""
    monkeypatch.setattr(demo, "local_engine", lambda c: HandMade(c, stop))
    (tmp_path / "alerts.jsonl").write_text("older")
    with pytest.raises(type(stop)):
        demo.run_demo(tmp_path, history_days=3)
    assert [path.name for path in tmp_path.iterdir()] == ["alerts.jsonl"]
    assert (tmp_path / "alerts.jsonl").read_text() == "older"


def test_an_interrupt_is_one_line_on_the_command_line(monkeypatch, tmp_path):
    """Ctrl-C ends with one line and the exit code of an interrupt."""
    monkeypatch.setattr(demo, "local_engine", lambda c: HandMade(c, KeyboardInterrupt()))
    done = CliRunner().invoke(commands[0], ["--out", str(tmp_path), "--days", "3", "--json"])
    assert done.exit_code == 130
    assert done.output.splitlines() == [f"interrupted: nothing new was written to {tmp_path}"]


def test_json_prints_one_object_and_nothing_else(by_hand, tmp_path):
    """With --json the output is one object with the verdict on every label."""
    done = CliRunner().invoke(
        commands[0], ["--out", str(tmp_path), "--days", "3", "--json", "--no-report"]
    )
    assert done.exit_code == 0
    record = json.loads(done.output)
    assert {one["label"] for one in record["judged"]} >= {"S01", "S02", "S04", "S05", "S10", "S15"}
    assert record["alerts"] == 1


def test_plain_lines_are_safe_and_end_with_the_verdict(by_hand, tmp_path):
    """Without a terminal there are lines without control characters or markup."""
    done = CliRunner().invoke(commands[0], ["--out", str(tmp_path), "--days", "3", "--no-report"])
    assert done.exit_code == 0
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
    assert "[red]" in done.output
    assert "attacks caught in time" in done.output
    assert "missed    S01" in done.output


def test_the_live_table_shows_hostile_names_literally():
    """On a terminal names neither move the cursor nor become markup."""
    out = io.StringIO()
    view = OnTerminal(Console(file=out, force_terminal=True, width=160, color_system=None))
    view.phase("the labelled day", 10)
    view.alerts(HandMade(None).finish())
    view.advance(5)
    Console(file=out, width=160).print(view._draw())
    assert "acme\\u001b[2J[red]" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


def test_a_plain_view_says_each_alert_once():
    """Updates of an alert are no further lines."""
    out = io.StringIO()
    view = Plain(Console(file=out, width=200))
    (one,) = HandMade(None).finish()
    view.alerts([one, one.model_copy(update={"status": Status.UPDATED})])
    assert len(out.getvalue().splitlines()) == 1


def test_files_appear_whole_or_not_at_all(tmp_path):
    """A block that fails leaves no file; one that ends well moves all of them."""
    with pytest.raises(FileNotFoundError), staged(tmp_path / "out") as folder:
        (folder / "a").write_text(str((folder / "missing").stat()))
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="cannot write"), staged(tmp_path / "file" / "out"):
        pass
    with staged(tmp_path / "out") as folder, GzipWriter(folder / "a.gz") as out:
        for n in range(20):
            out.write(b"%d\n" % n)
    assert gzip.decompress((tmp_path / "out" / "a.gz").read_bytes()).split() == [
        b"%d" % n for n in range(20)
    ]


def test_the_inventory_of_the_fleet_is_valid(tmp_path):
    """Every webhook sender is registered; the fixed range belongs to the agent platform."""
    path = tmp_path / "inventory.toml"
    path.write_text(inventory_toml(FLEET))
    senders = load_inventory(path).senders
    assert set(senders) == {one.name for one in FLEET if one.kind == "webhook"}
    assert [name for name, one in senders.items() if one.ranges] == ["agent-tasks"]


def test_the_verdict_counts_attacks_and_traps(by_hand, tmp_path):
    """The last line sums up, and every label has a line of its own."""
    run = demo.run_demo(tmp_path, history_days=3, with_report=False)
    lines = [line.plain for line in verdict_lines(run.score)]
    assert len(lines) == len(run.day.labels) + 1
    assert lines[-1].startswith("0 of 9 attacks caught in time")
    assert "unexpected: 1 low" in lines[-1]
