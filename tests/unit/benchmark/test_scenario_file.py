"""Scenario files: what they may say, and how their faults are told."""

from pathlib import Path

import pytest

from detectors.benchmark.arrivals import DAY, HOUR, MINUTE
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.scenario_file import load_scenario, load_scenarios

FOLDER = Path(__file__).parents[2] / "scenarios"
GOOD = """
title = "one"
kind = "attack"

[fleet]
only = ["bank-feed", "stripe-eu"]

[[fleet.sender]]
name = "other-bank"
like = "bank-feed"
daily = 20

[[step]]
do = "forge"
at = ["06:30", "1d 07:00"]
sender = "bank-feed"
count = 10
every = "1m30s"

[[expect]]
detector = "spoofed-source"
within = "2h"
"""


def read(tmp_path, text):
    """Return the scenario of a text."""
    path = tmp_path / "one.toml"
    path.write_text(text, "utf-8")
    return load_scenario(path)


def faults(tmp_path, text):
    """Return the lines of what is wrong with a text, without the folder."""
    with pytest.raises(BenchmarkError) as caught:
        read(tmp_path, text)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


def test_a_file_becomes_a_scenario(tmp_path):
    """Times are microseconds from the window's first midnight, variants are like their models."""
    found = read(tmp_path, GOOD)
    assert found.name == "one"
    assert [sender.name for sender in found.fleet] == ["bank-feed", "stripe-eu", "other-bank"]
    assert found.fleet[2].daily == 20
    assert found.steps[0].at == (6 * HOUR + 30 * MINUTE, DAY + 7 * HOUR)
    assert found.steps[0].every == 90_000_000
    assert found.steps[0].name == "forge"
    assert found.expect[0].within == 2 * HOUR


def test_all_faults_are_told_at_once_with_their_lines(tmp_path):
    """Every fault stands on a line: where, what, what is allowed, what was given."""
    bad = (
        GOOD.replace('kind = "attack"', 'kind = "atack"')
        .replace("count = 10", "count = 0")
        .replace('sender = "bank-feed"', 'sender = "bnak"')
        .replace('within = "2h"', 'within = "2 hours"\nby = 3')
        .replace('"spoofed-source"', '"spoofed"')
    )
    told = faults(tmp_path, bad)
    assert [line.split(": ")[0] for line in told] == [
        "one.toml:3", "one.toml:17", "one.toml:21", "one.toml:22", "one.toml:23",
    ]  # fmt: skip
    assert told[0] == 'one.toml:3: kind: allowed: attack, trap, mixed; given "atack"'
    assert told[1] == "one.toml:17: count: allowed: a whole number from 1 to 50000; given 0"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('do = "forge"', 'do = "forget"', "do: allowed: of abuse-redirect"),
        ('like = "bank-feed"', 'like = "bank"', "like: allowed: of adyen-pos"),
        ('name = "other-bank"', 'name = "bank-feed"', "a name that the fleet has not yet"),
        ('sender = "bank-feed"', 'sender = "tax-filings"', "sender: allowed: of bank-feed"),
        ('every = "1m30s"', 'every = "often"', "a length of time"),
        ('every = "1m30s"', "", "every is missing"),
        ('at = ["06:30", "1d 07:00"]', 'at = ["07:00", "06:00"]', "at: allowed: a moment"),
        ('within = "2h"', 'step = "other"', "step: allowed: of forge"),
        ('title = "one"', "title = 1", "title: allowed: a text"),
        ("[[expect]]", "[expect]", "expect must be tables, each under [[expect]]"),
        ('[fleet]\nonly = ["bank-feed", "stripe-eu"]', 'fleet = 3', "fleet must be a table"),
    ],
)  # fmt: skip
def test_each_fault_says_what_is_allowed(tmp_path, old, new, told):
    """A wrong value, name or form is named with what would be right."""
    assert old in GOOD
    if new == "fleet = 3":
        text = "fleet = 3\n" + GOOD.partition("[fleet]")[0] + GOOD[GOOD.index("[[step]]") :]
    else:
        text = GOOD.replace(old, new)
    assert any(told in line for line in faults(tmp_path, text))


def test_an_attack_without_expectation_is_no_scenario(tmp_path):
    """Only a trap expects nothing."""
    text = GOOD[: GOOD.index("[[expect]]")]
    assert any("expect is missing" in line for line in faults(tmp_path, text))


def test_faults_of_several_files_come_together(tmp_path):
    """A folder's files are all read before anything is said."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text("kind = 3\n", "utf-8")
    with pytest.raises(BenchmarkError) as caught:
        load_scenarios([tmp_path])
    assert f"{tmp_path}/a.toml:1: kind" in str(caught.value)
    assert f"{tmp_path}/b.toml:1: kind" in str(caught.value)


def test_every_scenario_of_the_reference_is_there():
    """The 25 scenarios and both extras are written, with attacks and traps."""
    found = load_scenarios([FOLDER])
    ids = {one.name.split("-")[0].rstrip("abcd") for one in found}
    assert ids >= {f"s{n:02}" for n in range(1, 26)} | {"sx1", "sx2"}
    assert {one.head.kind for one in found} == {"attack", "trap", "mixed"}
    for one in found:
        assert one.head.kind != "trap" or not one.expect, one.name
