"""The command line: what comes in, what comes out, and the exit codes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import callwatch
from alerts.alert import Alert, to_rfc3339
from alerts.pipeline import fold
from detectors.compile import cache_folder
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    HOUR,
    MONDAY,
    SECOND,
    Event,
    calls,
    encode,
    event,
    traffic,
)

ROOT = Path(__file__).parents[2]
ATTACK = MONDAY + 5 * DAY


def stream() -> list[Event]:
    """Return five days of a sender's calls with a replay and forged calls at their end."""
    return [
        *traffic(days=5),
        *calls(8, 5, ATTACK, provider="stripe", signature_fp="ab" * 16),
        *calls(30, 1, ATTACK + HOUR, rejected="signature_invalid", source_ip=ELSEWHERE),
    ]


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file of JSON lines that holds attacks."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(encode(stream())) + b"\n")
    return path


def run(*arguments: object) -> int:
    """Run a command in this process; return its exit code."""
    try:
        return callwatch.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


def alerts_in(path: Path) -> list[Alert]:
    """Read a file of alerts."""
    return [Alert.from_json(line) for line in path.read_bytes().splitlines()]


def detect(tmp_path: Path, *arguments: object, out: str = "alerts.jsonl") -> list[Alert]:
    """Run detect, which must succeed; return the alerts that it wrote."""
    assert run("detect", *arguments, "--alerts", tmp_path / out) == 0
    return alerts_in(tmp_path / out)


def last_line(text: str) -> dict[str, Any]:
    """Read the JSON object at the end of a text."""
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


def test_json_lines_gzip_parquet_and_several_files_give_the_same_alerts(
    tmp_path: Path, events: Path
) -> None:
    """The form of the input makes no difference, nor in how many files it comes."""
    found = detect(tmp_path, events)
    assert {a.detector for a in found} >= {"replay-burst", "spoofed-source"}
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(events.read_bytes()))
    assert detect(tmp_path, packed) == found
    frame = tmp_path / "events.parquet"
    pd.DataFrame(stream()).to_parquet(frame)
    original = [json.loads(line) for line in events.read_bytes().splitlines()]
    pd.DataFrame(original).to_parquet(frame)
    assert detect(tmp_path, frame) == found
    lines = events.read_bytes().splitlines(keepends=True)
    parts = [tmp_path / "odd.jsonl", tmp_path / "even.jsonl"]
    for n, part in enumerate(parts):
        part.write_bytes(b"".join(lines[1 - n :: 2]))
    assert detect(tmp_path, *parts) == found


def test_a_profile_of_ones_own_decides_what_a_repeat_means(tmp_path: Path, events: Path) -> None:
    """Where retries are known to carry the same signature, none of the repeats is a replay."""
    own = tmp_path / "stripe.toml"
    own.write_text('[freshness]\nvalue = "body_only"\nas_of = "2026-11"\nsource = "our relay"\n')
    shipped, mine = detect(tmp_path, events), detect(tmp_path, events, "--profiles", own)
    severe = [
        {a.severity.value for a in of if a.detector == "replay-burst"} for of in (shipped, mine)
    ]
    assert "critical" in severe[0]
    assert "critical" not in severe[1]
    assert run("detect", events, "--profiles", tmp_path / "none") == 2


TUNED = """\
[detectors.spoofed-source]
shadow = true

[[allow]]
sender = "acme"
detector = "signature-failure-spike"
source = "203.0.113.0/24"
reason = "pentest"
expires = 2030-01-01

[[allow]]
sender = "beta"
reason = "long over"
expires = 2025-01-01
"""


def test_shadow_and_held_back_findings_are_counted_apart(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial and an allowlist leave the other alerts alone, and what they did is in the counts."""
    plain = detect(tmp_path, events)
    config = tmp_path / "c.toml"
    config.write_text(TUNED)
    tuned = detect(tmp_path, events, "--config", config)
    assert {a.detector: a.shadow for a in tuned} == {"replay-burst": False, "spoofed-source": True}
    assert {a.detector for a in plain} - {a.detector for a in tuned} == {"signature-failure-spike"}
    capsys.readouterr()
    assert run("detect", events, "--config", config, "--json") == 0
    told = last_line(capsys.readouterr().out)
    assert told["alerts"] == {"replay-burst": {"critical": 1}}
    assert told["shadow"] == {"spoofed-source": {"medium": 1}}
    assert list(told["suppressed"]) == ["allow.1"]
    assert told["warnings"] == [
        "allow.2 (long over) has expired at 2025-01-01T00:00Z: remove it",
    ]
    assert run("detect", events, "--config", config) == 0
    said = capsys.readouterr()
    assert "spoofed-source forged_from_new_network (shadow): acme: " in said.out
    assert "1 incident, 1 in shadow mode, " in said.err


def say(tmp_path: Path, *arguments: object) -> int:
    """Give a verdict on an alert of ``alerts.jsonl`` into ``control.jsonl``."""
    files = ("--alerts", tmp_path / "alerts.jsonl", "--out", tmp_path / "control.jsonl")
    return run("verdict", *arguments, *files)


def test_a_verdict_on_an_alert_takes_effect_in_a_replay(
    tmp_path: Path,
    events: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Said to be benign, the incident closes there, and the same replay gives the same again."""
    before = detect(tmp_path, events)
    spoofed = next(a for a in before if a.detector == "spoofed-source")
    why = ("--reason", "our own scanner, ticket 4711", "--by", "ana", "--expires", "2025-07-01")
    assert say(tmp_path, spoofed.id, "benign", *why) == 0
    assert "spoofed-source forged_from_new_network of acme: benign until 2025-07-01T00:00Z" in (
        capsys.readouterr().err
    )
    control = ("--control", tmp_path / "control.jsonl")
    after = detect(tmp_path, events, *control, out="after.jsonl")
    (closed,) = (a for a in after if a.id == spoofed.id and a.status == "closed")
    assert (closed.verdict, closed.close_reason) == ("benign", "verdict")
    assert closed.notes == (
        "benign: said by ana (our own scanner, ticket 4711; until 2025-07-01T00:00Z)",
    )
    assert detect(tmp_path, events, *control, out="again.jsonl") == after
    others = {a.id for a in before} - {spoofed.id}
    assert {a.id for a in after if a.detector != "spoofed-source"} == {
        a.id for a in before if a.id in others and a.detector != "spoofed-source"
    }
    capsys.readouterr()
    assert run("detect", events, *control, "--json") == 0
    told = last_line(capsys.readouterr().out)
    assert told["controls"] == 1
    monkeypatch.setenv("CALLWATCH_CONTROL_KEY", "ab" * 16)
    assert run("detect", events, *control) == 1
    assert "control.jsonl:1: control: mac: is missing" in capsys.readouterr().err
    (tmp_path / "control.jsonl").unlink()
    assert say(tmp_path, spoofed.id, "attack", *why) == 0
    held = detect(tmp_path, events, *control, out="held.jsonl")
    assert {a.detector for a in held if a.verdict == "attack"} == {"spoofed-source"}
    within = tmp_path / "within.jsonl"
    within.write_bytes(events.read_bytes() + (tmp_path / "control.jsonl").read_bytes())
    assert detect(tmp_path, within, out="in.jsonl") == held


def test_a_verdict_says_what_it_needs(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown alert, an end before its beginning, a wrong network, and no key: one line each."""
    found = detect(tmp_path, events)[0]
    why = ("--reason", "r", "--expires", "2025-07-01")
    nobody = "00000000-0000-4000-8000-000000000000"
    capsys.readouterr()
    for arguments, fault in (
        ((nobody, "benign", *why), f"alert {nobody}: is not in "),
        ((found.id, "benign", "--reason", "r", "--expires", "2025-01-01"), "expires: allowed is"),
        ((found.id, "benign", *why, "--source", "x"), "--source: allowed is a network"),
        ((found.id, "benign", "--reason", "", "--expires", "2025-07-01"), "reason: "),
    ):
        assert say(tmp_path, *arguments) == 1
        said = capsys.readouterr().err
        assert fault in said
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "control.jsonl").exists()
    alerts = ("--alerts", tmp_path / "alerts.jsonl")
    assert run("verdict", found.id, "attack", *why, *alerts) == 1
    assert "CALLWATCH_CONTROL_KEY: is missing" in capsys.readouterr().err
    assert say(tmp_path, found.id, "maybe", *why) == 2


def test_lines_for_people_name_each_incident(
    events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --alerts each incident is a line, and a summary ends standard error."""
    assert run("detect", events) == 0
    said = capsys.readouterr()
    assert "replay-burst same_signature: acme: 1 signed call presented again" in said.out
    assert said.err.splitlines()[-1].startswith(f"{len(stream()):,} read, {len(stream()):,} scored")


def test_broken_lines_are_named_and_the_rest_goes_on(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each broken line is named with file and line; blank lines are none; alerts stay the same."""
    found = detect(tmp_path, events)
    lines = events.read_bytes().splitlines()
    broken = tmp_path / "broken.jsonl"
    bad = [b"{", b"", b'{"schema":1}', b"\xff\xfe", b"[1]", lines[0].replace(b'"acme"', b"7")]
    broken.write_bytes(b"\n".join([*lines[:50], *bad, *lines[50:]]))
    capsys.readouterr()
    assert detect(tmp_path, broken) == found
    said = capsys.readouterr().err
    for n, code in ((51, "not_json"), (53, "schema_invalid"), (54, "not_json"),
                    (55, "not_object"), (56, "schema_invalid")):  # fmt: skip
        assert f"{broken}:{n}: {code}: " in said
    assert f"{broken}:52" not in said
    assert run("detect", broken, "--json") == 0
    assert last_line(capsys.readouterr().out)["rejected"] == {
        "not_json": 2,
        "not_object": 1,
        "schema_invalid": 2,
    }


def test_many_broken_lines_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty are named, the rest is a number."""
    path = tmp_path / "garbage"
    path.write_bytes(b"x\n" * 1020)
    assert run("detect", path) == 0
    said = capsys.readouterr().err.splitlines()
    assert sum(line.startswith(f"{path}:") for line in said) == 20
    assert "... and 1,000 more bad lines" in said


def test_the_json_object_counts_everything(
    events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read = accepted + rejected + duplicates + reports + controls; nothing else is on stdout."""
    extra = [encode([stream()[0]])[0], b'{"schema":1,"control":{}}', b"nonsense"]
    lines = events.read_bytes().splitlines()
    events.write_bytes(b"\n".join([*lines, lines[-1], *extra[1:]]))
    assert run("detect", events, "--json") == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    found = json.loads(out)
    assert found["read"] == len(lines) + 3
    rest = found["duplicates"] + found["reports"] + found["controls"]
    assert found["read"] == found["accepted"] + sum(found["rejected"].values()) + rest
    assert (found["duplicates"], found["controls"]) == (1, 0)
    assert found["rejected"] == {"control_key_missing": 1, "not_json": 1}
    assert found["alerts"]["replay-burst"] == {"critical": 1}
    assert isinstance(found["seconds"], float)


def test_fail_on(tmp_path: Path, events: Path) -> None:
    """Exit code 3 where an alert is so severe, 0 where none is."""
    assert run("detect", events, "--json", "--fail-on", "critical") == 3
    quiet = tmp_path / "quiet.jsonl"
    quiet.write_bytes(b"\n".join(encode(traffic(days=1))))
    assert run("detect", quiet, "--json", "--fail-on", "info") == 0


def test_state_continues_exactly(tmp_path: Path, events: Path) -> None:
    """Two halves with --state give the alerts of one run, at whatever line the cut is."""
    whole = detect(tmp_path, events)
    lines = events.read_bytes().splitlines(keepends=True)
    for at in (1, len(lines) // 2, len(lines) - 33, len(lines) - 10):
        state, found = tmp_path / f"state-{at}", []
        for n, part in enumerate((lines[:at], lines[at:])):
            path = tmp_path / f"part-{n}.jsonl"
            path.write_bytes(b"".join(part))
            found += detect(tmp_path, path, "--state", state)
        assert found == whole


def test_a_state_that_does_not_fit_is_an_error_of_one_line(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged state, and one of another configuration, stop before anything is written."""
    state = tmp_path / "state"
    state.write_bytes(b"nonsense")
    assert run("detect", events, "--state", state) == 1
    assert capsys.readouterr().err.startswith(f"Error: {state}: snapshot: ")
    state.unlink()
    config = tmp_path / "c.toml"
    config.write_text("[detectors.replay-burst]\nthreshold = 8\n")
    assert run("detect", events, "--json", "--state", state) == 0
    assert run("detect", events, "--json", "--state", state, "--config", config) == 1
    assert "made with configuration" in capsys.readouterr().err


def test_a_state_goes_on_under_another_inventory(tmp_path: Path, events: Path) -> None:
    """Whoever is registered between two runs, what was learned before is there in the second."""
    lines = events.read_bytes().splitlines(keepends=True)
    inventory, found = tmp_path / "inventory.toml", []
    for name, part in (("one", lines[: len(lines) // 2]), ("other", lines[len(lines) // 2 :])):
        inventory.write_text(f'[senders.{name}]\nprovider = "stripe"\nranges = ["192.0.2.0/24"]\n')
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"".join(part))
        state = ("--state", tmp_path / "state", "--inventory", inventory)
        found += detect(tmp_path, path, *state)
    inventory.write_text("[senders.one]\n")
    whole = detect(tmp_path, events, "--inventory", inventory)
    assert len({a.config for a in found + whole}) == 3
    assert [(a.id, a.summary) for a in found] == [(a.id, a.summary) for a in whole]


def test_partitions_find_the_same_attacks(tmp_path: Path, events: Path) -> None:
    """Four partitions give the same incidents of a sender."""
    one, four = detect(tmp_path, events), detect(tmp_path, events, "--partitions", 4)
    assert sorted(fold(one)) == sorted(fold(four))


def test_until_lets_time_run_on(tmp_path: Path, events: Path) -> None:
    """Incidents close when time runs on after the last event."""
    assert "closed" not in {a.status.value for a in fold(detect(tmp_path, events)).values()}
    found = detect(tmp_path, events, "--until", to_rfc3339(ATTACK + DAY))
    assert {a.status.value for a in fold(found).values()} == {"closed"}


def test_now_refuses_what_comes_after_it(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An event later than --now plus five minutes is named, and so is one of the far future."""
    future = encode([event(MONDAY, received_at="2999-01-01T00:00:00Z")])[0]
    events.write_bytes(events.read_bytes() + future + b"\n")
    assert run("detect", events, "--json") == 0
    assert last_line(capsys.readouterr().out)["rejected"] == {"time_out_of_range": 1}
    assert run("detect", events, "--json", "--now", "2025-06-02") == 0
    assert last_line(capsys.readouterr().out)["rejected"]["time_out_of_range"] > 2000


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "cannot be read: no such file or directory"),
        (lambda p: p.mkdir(), "cannot be read: is a directory"),
        (lambda p: p.write_bytes(gzip.compress(b"x\n" * 10**5)[:-20]), "truncated"),
        (lambda p: p.write_bytes(b"\x1f\x8b" + b"x" * 100), "damaged"),
        (lambda p: p.write_bytes(b"PAR1" + b"x" * 100), "Parquet"),
    ],
    ids=["missing", "directory", "truncated gzip", "damaged gzip", "damaged parquet"],
)
def test_an_input_that_cannot_be_read_is_an_error_of_one_line(
    tmp_path: Path, make: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and one line that names the file."""
    path = tmp_path / "input"
    make(path)
    assert run("detect", path) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    assert len(said) == 1
    assert str(path) in said[0]
    assert says.lower() in said[0].lower()


def test_a_file_of_something_else_is_said_to_be_one(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad lines are a result; that there is nothing else deserves a word."""
    word = "warning: nothing of what was read is a valid event"
    (tmp_path / "other").write_bytes(b"nonsense\n" * 3)
    for command in ("detect", "backtest"):
        assert run(command, tmp_path / "other") == 0
        assert word in capsys.readouterr().err
    assert run("detect", tmp_path / "other", events) == 0
    (tmp_path / "other").write_bytes(b"")
    assert run("detect", tmp_path / "other") == 0
    assert word not in capsys.readouterr().err


@pytest.mark.parametrize("events_", [12, 400])
def test_a_full_disk_is_said_with_its_folder(tmp_path: Path, events_: int) -> None:
    """What is sorted on disk names the folder and how to choose another one."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(encode(traffic(days=20))[:events_]) + b"\n")
    code = (
        "import callwatch, resource, sys; from detectors.engines import local, spool;"
        "from functools import partial; from detectors.config import Config;"
        "from detectors.warm import warm_up; warm_up(Config());"  # which may write files
        "local.Spool = partial(spool.Spool, 1 << 10);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, 1 << 20));"
        f"sys.exit(callwatch.main(['detect', {str(path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"Error: {tempfile.gettempdir()}: events that are not in order are sorted there, but: "
    )


def test_what_was_written_before_stays_where_nothing_could_be_read(
    tmp_path: Path, events: Path
) -> None:
    """A run that could not read its input leaves the alerts of the last one alone."""
    out = tmp_path / "alerts.jsonl"
    before = detect(tmp_path, events)
    assert run("detect", tmp_path / "missing", "--alerts", out) == 1
    assert alerts_in(out) == before


def test_the_input_is_not_written_over(tmp_path: Path, events: Path) -> None:
    """Alerts cannot be written into a file that is read."""
    before = events.read_bytes()
    for same in (events, tmp_path / "." / "events.jsonl"):
        assert run("detect", events, "--alerts", same) == 2
    link = tmp_path / "link"
    link.symlink_to(events)
    assert run("detect", events, "--alerts", link) == 2
    assert events.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("detect",),
        ("detect", "x", "--partitions", "0"),
        ("detect", "x", "--no-such"),
        ("detect", "x", "--fail-on", "nonsense"),
        ("detect", "x", "--until", "tomorrow"),
        ("detect", "x", "--follow"),
        ("detect", "-", "--follow", "--partitions", "2"),
        ("detect", "-", "--follow", "--until", "2026-01-01"),
        ("detect", "-", "--follow", "--now", "2026-01-01"),
        ("detect", "x", "--state", "s", "--partitions", "2"),
        ("no-such-command",),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and no traceback."""
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_faults_of_the_configuration_come_one_a_line(
    tmp_path: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All faults at once, each with file and line; exit code 1."""
    config = tmp_path / "c.toml"
    config.write_text("[stream]\nlate_hours = 0\n\n[detectors.nonsense]\n")
    assert run("detect", events, "--config", config) == 1
    said = capsys.readouterr().err
    assert f"{config}:2: " in said
    assert f"{config}:4: " in said


def test_hostile_names_cannot_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names that pass as text are escaped where they reach a terminal, also in errors."""
    name = "acme\u202e\u2066evil\u200b"
    path = tmp_path / "e.jsonl"
    made = calls(9, 5, MONDAY, sender=name, provider="stripe", signature_fp="ab" * 16)
    path.write_bytes(b"\n".join([*encode(made), b'{"\x1b[31m\\u202e":1,"sender":"\\u202e"}']))
    assert run("detect", path) == 0
    said = capsys.readouterr()
    assert "acme\\u202e\\u2066evil\\u200b" in said.out
    for text in (said.out, said.err):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert run("detect", "no\x1b[31m\u202esuch") == 1
    assert all(c.isprintable() or c == "\n" for c in capsys.readouterr().err)


def test_alerts_on_standard_output(events: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """With --alerts - standard output is JSON lines and nothing else."""
    assert run("detect", events, "--alerts", "-") == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert lines
    assert all(Alert.from_json(line) for line in lines)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Both answer at once with exit code 0; every command is listed."""
    assert run("--version") == 0
    assert run("--help") == 0
    said = capsys.readouterr().out
    assert said.startswith("callwatch ")
    assert all(name in said for name in callwatch.COMMANDS)


START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests' shell ignores it
import callwatch
sys.exit(callwatch.main())
"""


def process(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CALLWATCH_CACHE_DIR": str(cache_folder().parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_standard_input_in_a_process_that_compiles_nothing(tmp_path: Path, events: Path) -> None:
    """A second start reads machine code, leaves no file behind, and gives the same alerts."""
    found = detect(tmp_path, events)
    there = {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.nb*")}
    with process("detect", "-", "--alerts", "-") as started:
        out, err = started.communicate(events.read_bytes(), timeout=60)
    assert started.returncode == 0, err
    assert [Alert.from_json(line) for line in out.splitlines()] == found
    assert {path: path.stat().st_mtime_ns for path in cache_folder().rglob("*.nb*")} == there


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """`| head` ends the command without a traceback."""
    path = tmp_path / "e.jsonl"
    many = [
        made
        for n in range(400)
        for made in calls(6, 5, MONDAY + n * SECOND, sender=f"sender-{n}", provider="stripe",
                          signature_fp=f"{n:032x}")
    ]  # fmt: skip
    path.write_bytes(b"\n".join(encode(many)))
    for arguments in (("--alerts", "-"), ()):
        with process("detect", path, *arguments) as started:
            assert started.stdout is not None
            assert started.stderr is not None
            started.stdout.readline()
            started.stdout.close()
            err = started.stderr.read()
            started.wait(60)
        assert b"Traceback" not in err
        assert b"Exception" not in err
        assert started.returncode == 0


def test_follow_scores_lines_as_they_come(tmp_path: Path) -> None:
    """--follow answers while the input is still open; blank, broken and endless lines go by."""
    now = pd.Timestamp.now("UTC").value // 1000
    made = encode(calls(8, 0.01, now, provider="stripe", signature_fp="ab" * 16))
    state = tmp_path / "state"
    with process("detect", "-", "--follow", "--alerts", "-", "--state", state) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(
            b"\nnonsense\n" + b"x" * 5_000_000 + b"\n" + b"\n".join(made[:5]) + b"\n"
        )
        started.stdin.flush()
        first = Alert.from_json(started.stdout.readline())
        assert (first.detector, first.status.value) == ("replay-burst", "open")
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=20)
    assert started.returncode in (0, 130), err
    assert b"Traceback" not in err
    assert b"-:2: not_json" in err
    assert b"-:3: too_large" in err
    assert b"-:1:" not in err
    assert state.exists()


def test_ctrl_c_while_reading_files(tmp_path: Path) -> None:
    """An interrupt ends the command with one word and leaves no half-written file."""
    out = tmp_path / "alerts.jsonl"
    with process("detect", "-", "--alerts", out) as started:
        assert started.stdin is not None
        assert started.stderr is not None
        started.stdin.write(b"nonsense\n" * 600_000)
        started.stdin.flush()
        assert b"-:1: not_json" in started.stderr.readline()
        for _ in range(40):  # a person presses again, too: foreign code may swallow one
            started.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                started.wait(0.5)
                break
        started.kill()
        assert started.returncode == 130
        err = started.stderr.read()
        started.stdin.close()
    assert b"Traceback" not in err
    assert err.rstrip().endswith(b"stopped")
    assert not out.exists()
