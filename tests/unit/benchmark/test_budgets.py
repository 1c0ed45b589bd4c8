"""Budgets of scenarios: what is worse is told, what is better is kept."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import callwatch
from detectors.benchmark.budgets import Budget, load_budgets, lowered, overspent, spent
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.evaluate import Result, evaluate
from detectors.benchmark.fleet import FLEET
from detectors.benchmark.judge import Seen, Verdict
from detectors.benchmark.scenario import Head, Scenario
from detectors.benchmark.scenario_file import load_scenarios

FOLDER = Path(__file__).parents[2] / "scenarios"
ONE = Scenario("one", Head(title="t", kind="attack"), FLEET, (), (), (), ())
GOOD = Verdict("one", 1, (Seen("spoofed-source", "caught"),), (), 0, 1, 24.0, 10)
LATE = replace(GOOD, seen=(Seen("spoofed-source", "late"),))
NOISY = replace(GOOD, forbidden=({"severity": "low"},))


def result(*verdicts):
    """Return a result of these runs."""
    return Result(tuple(verdicts), (ONE,), (), 0.0)


def test_what_went_wrong_is_named_by_seeds():
    """A run that missed and was disturbed counts in both."""
    both = replace(LATE, forbidden=NOISY.forbidden)
    runs = [replace(one, seed=n) for n, one in enumerate((GOOD, LATE, NOISY, both), start=1)]
    assert spent(result(*runs)) == {"one": Budget((2, 4), (3, 4))}


def test_worse_than_the_budget_is_told_and_as_bad_is_not():
    """The line names scenario, what, how often and with which seeds, and how often it may."""
    runs = result(GOOD, replace(LATE, seed=2), replace(LATE, seed=3))
    assert overspent(runs, {"one": Budget((1, 2), ())}) == []  # another seed is no slip
    assert overspent(runs, {"one": Budget((2,), ())}) == [
        "one: missed in 2 of 3 runs (seeds 2, 3), allowed in 1"
    ]
    assert overspent(result(NOISY), {"one": Budget(tuple(range(1, 11)), ())}) == [
        "one: disturbed in 1 of 1 runs (seeds 1), allowed in 0"
    ]
    assert "has no budget" in overspent(runs, {})[0]


def test_few_seeds_show_a_slip_as_surely_as_ten():
    """What may go wrong with seeds that are not played is no allowance for those that are."""
    runs = result(replace(LATE, seed=1), replace(GOOD, seed=2), replace(GOOD, seed=3))
    assert overspent(runs, {"one": Budget((7, 9), ())}) == [
        "one: missed in 1 of 3 runs (seeds 1), allowed in 0"
    ]


def test_budgets_are_only_ever_lowered(tmp_path):
    """A better figure is kept, a worse one is not; other scenarios stay as they are."""
    path = tmp_path / "budgets.toml"
    before = {"one": Budget((4,), (1, 4, 9)), "two": Budget((3,), (3,))}
    runs = [replace(one, seed=n) for n, one in enumerate((LATE, LATE, NOISY), start=1)]
    path.write_text(lowered(result(*runs), before), "utf-8")
    assert load_budgets(path) == {"one": Budget((4,), (3,)), "two": Budget((3,), (3,))}
    path.write_text(lowered(result(*runs), {}), "utf-8")
    assert load_budgets(path) == {"one": Budget((1, 2), (3,))}


@pytest.mark.parametrize(
    "text", ["one = 3", "[one]\nmissed = []", "[one]\nmissed = [11]\ndisturbed = []",
             "[one]\nmissed = [true]\ndisturbed = []", "[one]\nmissed = [2, 1]\ndisturbed = []",
             "[one]\nmissed = []\ndisturbed = []\nmore = 1"],
)  # fmt: skip
def test_a_wrong_budget_is_named_with_its_line(tmp_path, text):
    """What is allowed and what was given stand in one line."""
    path = tmp_path / "budgets.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(BenchmarkError, match=r"budgets.toml:1: one: allowed: missed and disturbed"):
        load_budgets(path)


def test_every_scenario_has_a_budget_and_every_budget_a_scenario():
    """Nothing is left out, and nothing is kept for what is gone."""
    assert set(load_budgets(FOLDER / "budgets.toml")) == {
        one.name for one in load_scenarios([FOLDER])
    }


QUICK = (
    "s01-forged-posts", "s04-replay-fresh-signatures", "s10-oversize",
    "s12-outage-body-only-retries", "s17-changing-addresses",
)  # fmt: skip


def test_a_few_scenarios_are_within_their_budgets():
    """One seed of attacks and traps, on every run of the tests; `make scenarios` plays them all."""
    chosen = load_scenarios([FOLDER / f"{name}.toml" for name in QUICK])
    *_, last = evaluate(chosen, [1])
    assert overspent(last.result, load_budgets(FOLDER / "budgets.toml")) == []
    assert max(verdict.events for verdict in last.result.verdicts) <= 500_000


def test_the_command_ends_with_3_over_budget(tmp_path):
    """It also says which scenario, and where a file is wrong it cannot run."""
    text = (FOLDER / "s10-oversize.toml").read_text("utf-8")
    text = text.replace('kind = "attack"', 'kind = "attack"\nwarm_up_days = 3\ndays = 0.5\n'
                        '[fleet]\nonly = ["bank-feed"]')  # fmt: skip
    text = text[: text.index("sender = [")] + 'sender = "bank-feed"\n' + text[text.index("count") :]
    text = text.replace('at = ["00:00", "22:00"]', 'at = "06:00"')
    scenario, budgets = tmp_path / "mine.toml", tmp_path / "budgets.toml"
    scenario.write_text(text, "utf-8")
    budgets.write_text("", "utf-8")
    arguments = ["evaluate", str(scenario), "--seeds", "1", "--jobs", "1", "--budgets"]
    done = CliRunner().invoke(callwatch.cli, [*arguments, str(budgets)], standalone_mode=False)
    assert "mine" in done.stdout
    assert done.return_value == 3
    assert "over budget: mine: has no budget" in done.stderr
    budgets.write_text("[mine]\nmissed = [1]\ndisturbed = [1]\n", "utf-8")
    again = CliRunner().invoke(callwatch.cli, [*arguments, str(budgets)], standalone_mode=False)
    assert again.return_value == 0
    scenario.write_text(text.replace("oversize", "outsize"), "utf-8")
    wrong = CliRunner().invoke(callwatch.cli, [*arguments, str(budgets)])
    assert wrong.exit_code == 1
    assert "do: allowed" in wrong.output
