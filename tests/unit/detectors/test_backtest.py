"""Backtests: what a configuration says of archived events, and what another says differently."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import callwatch
from detectors.backtest import diff, run
from detectors.config import Config
from detectors.engines.local import detect_frame
from tests.unit.detectors.streams import HOUR, encode, event, traffic
from tests.unit.test_cli import ATTACK, stream

STRICT = "[detectors.signature-failure-spike]\nenabled = false\n"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Five days of a sender with a replay and forged calls at their end."""
    return pd.DataFrame(stream())


@pytest.fixture
def parquet(frame: pd.DataFrame, tmp_path: Path) -> Path:
    """The same as a file."""
    path = tmp_path / "events.parquet"
    frame.to_parquet(path)
    return path


def invoke(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(callwatch.cli, ["backtest", *map(str, arguments)])


def test_equal_configurations_differ_in_nothing(frame: pd.DataFrame) -> None:
    """The same events under the same configuration are the same alerts."""
    alerts = run(frame)
    assert len(alerts) > 1
    assert diff(alerts, run(frame.sample(frac=1.0, random_state=1), Config())).empty


def test_what_a_switched_off_detector_said_is_missing(frame: pd.DataFrame) -> None:
    """Alerts of a detector that one of both has not are only in the other."""
    without = run(frame, Config(disabled=frozenset({"signature-failure-spike"})))
    found = diff(run(frame), without)
    assert set(found["only"]) == {"a"}
    assert set(found["detector"]) == {"signature-failure-spike"}
    assert set(found["sender"]) == {"acme"}
    assert diff(without, run(frame))["only"].tolist() == ["b"] * len(found)


def test_an_incident_that_opens_elsewhere_is_still_one(frame: pd.DataFrame) -> None:
    """Another threshold opens an incident at another event: it is told differently, not twice."""
    later = run(frame, Config({"signature-failure-spike": {"least_failures": 20.0}}))
    (found,) = diff(run(frame), later).to_dict("records")
    assert (found["only"], found["detector"]) == ("both", "signature-failure-spike")
    assert found["opened_at"] < found["opened_at_b"]
    assert found["severity"] == found["severity_b"]


def row(**fields: object) -> dict[str, object]:
    """An incident as a row of a frame."""
    at = pd.Timestamp("2026-01-01T12:00Z")
    return {
        "id": "1", "detector": "d", "sender": "s", "source": None, "severity": "low",
        "reason": "r", "opened_at": at, "first_seen": at, "last_seen": at + pd.Timedelta("1h"),
        "count": 1, "summary": "-",
    } | fields  # fmt: skip


def frame_of(*rows: dict[str, object]) -> pd.DataFrame:
    """Rows as a frame."""
    return pd.DataFrame(list(rows), columns=list(row()))


def test_incidents_are_paired_by_id_and_then_by_what_they_are_about_and_when() -> None:
    """Of several incidents of one sender each meets the one whose time overlaps its own."""
    day = pd.Timedelta("1D")
    one = row()
    later = {name: one[name] + day for name in ("opened_at", "first_seen", "last_seen")}  # type: ignore[operator]
    a = frame_of(one, row(id="2", **later), row(id="5", sender="t"))
    b = frame_of(row(id="3", **later), row(id="4", severity="high"), row(id="5", sender="t"))
    found = diff(a, b)
    assert found[["only", "id", "severity", "severity_b"]].to_dict("records") == [
        {"only": "both", "id": "1", "severity": "low", "severity_b": "high"}
    ]
    apart = diff(frame_of(one), frame_of(row(id="3", **later)))
    assert apart["only"].tolist() == ["a", "b"]
    other = diff(frame_of(one), frame_of(row(id="3", sender="u")))
    assert other["only"].tolist() == ["a", "b"]
    assert diff(frame_of(), frame_of()).empty


def test_a_configuration_is_told_by_detector_and_severity(parquet: Path) -> None:
    """The command counts what `detect` finds, for each sender and day."""
    done = invoke(parquet, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["config"]
    other = CliRunner().invoke(callwatch.cli, ["detect", str(parquet), "--json"])
    assert told["alerts"] == json.loads(other.stdout)["alerts"]
    total = sum(n for by in told["alerts"].values() for n in by.values())
    assert told["per_sender_day"] == pytest.approx(total / told["sender_days"], rel=1e-3)
    assert 5.0 < told["sender_days"] < 6.0
    text = invoke(parquet).stdout
    assert "replay-burst" in text
    assert "1 sender, 5 sender-days" in text


def test_rejected_rows_are_warned_of_where_the_caller_is(frame: pd.DataFrame) -> None:
    """The warning of a frame's bad rows names the line that asked, here as for the frame itself."""
    bad = frame.assign(verdict="perhaps").head(2)
    for ask in (run, detect_frame):
        with pytest.warns(UserWarning, match=r"^2 of 2 rows were rejected; the first: ") as told:
            ask(bad)
        assert [one.filename for one in told] == [__file__]


def test_what_is_no_frame_is_named() -> None:
    """A file's name where a DataFrame belongs is answered in a line that says what reads files."""
    with pytest.raises(TypeError, match=r"^frame: allowed is a DataFrame \(given str\); files: "):
        detect_frame("events.parquet")  # type: ignore[arg-type]


def test_events_of_a_newer_schema_are_counted(tmp_path: Path) -> None:
    """Both commands tell how many events had fields that this version may not know."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(encode([{**event(0), "schema": 2, "colour": "red"}, event(1)])))
    assert json.loads(invoke(path, "--json").stdout)["config"]["newer_schema"] == 1
    assert "2 scored, 1 of a newer schema, 1 sender" in invoke(path).stdout
    other = CliRunner().invoke(callwatch.cli, ["detect", str(path), "--json"])
    assert json.loads(other.stdout)["newer_schema"] == 1
    assert "1 of a newer schema" in CliRunner().invoke(callwatch.cli, ["detect", str(path)]).stderr


def test_two_configurations_are_told_apart(parquet: Path, tmp_path: Path) -> None:
    """What only one of both says is named with its sender; --fail-on asks for what is new."""
    strict = tmp_path / "strict.toml"
    strict.write_text(STRICT)
    told = json.loads(invoke(parquet, "--config", strict, "--against", "defaults", "--json").stdout)
    assert {one["only"] for one in told["difference"]} == {"b"}
    assert {one["detector"] for one in told["difference"]} == {"signature-failure-spike"}
    text = invoke(parquet, "--config", strict, "--against", "defaults").stdout
    assert f"only with --against: {len(told['difference'])}" in text
    assert "signature-failure-spike" in text.split("only with --against")[1]
    less = invoke(parquet, "--config", strict, "--against", "defaults", "--fail-on", "info")
    assert less.exit_code == 0
    assert invoke(parquet, "--against", strict, "--fail-on", "low").exit_code == 3
    assert "no difference" in invoke(parquet, "--against", "defaults").stdout


def test_bad_rows_are_named_once(tmp_path: Path) -> None:
    """Both configurations read the same lines; a bad one is told of once."""
    path = tmp_path / "events.jsonl"
    lines = [json.dumps(one) for one in traffic(days=1)]
    path.write_text("\n".join([*lines, "{", json.dumps(event(ATTACK + HOUR))]) + "\n")
    done = invoke(path, "--against", "defaults")
    assert done.exit_code == 0
    assert done.stderr.count("not_json") == 1
    assert done.stdout.count(f"{len(lines) + 1:,} scored, 1 rejected, 1 sender") == 2
    again = json.loads(invoke(path, path, "--json").stdout)["config"]
    assert (again["rejected"], again["duplicates"]) == (2, len(lines) + 1)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-", "--against", "defaults"], 2, "--against reads EVENTS twice"),
        (["no-such-file"], 1, "no-such-file: cannot be read"),
        (["{events}", "--against", "no-such.toml"], 1, "no-such.toml"),
        ([], 2, "EVENTS"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    parquet: Path, arguments: list[str], code: int, words: str
) -> None:
    """Usage is 2, and what cannot be read 1."""
    done = invoke(*(one.format(events=parquet) for one in arguments))
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
