"""What quality each scenario has reached, kept in a file: it may get better, and not worse.

A budget counts runs of the seeds 1 to 10: in how many of them something was missed, misnamed or
late, and in how many a forbidden alert came. A scenario that has never been good has a budget that
says so; whoever mends the detector lowers it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.evaluate import Result
from ingest.errors import IngestError, shown
from ingest.toml_text import load_toml

SEEDS: Final = 10
_HEAD: Final = """\
# How many of the runs with seeds 1 to 10 may go wrong: `missed` = something was not found in time
# under its name, `disturbed` = a forbidden alert came. Written by `make budgets`, which only ever
# lowers a number; to raise one is a decision, to be explained where it is made.
"""


@dataclass(frozen=True)
class Budget:
    """Runs of ten that may go wrong."""

    missed: int = 0
    disturbed: int = 0


def load_budgets(path: Path) -> dict[str, Budget]:
    """The budgets by scenario; BenchmarkError lists all faults of the file."""
    try:
        text = load_toml(path)
    except IngestError as error:
        raise BenchmarkError(str(error)) from None
    budgets, faults = {}, []
    for name, table in text.data.items():
        allowed = f"{name}: allowed: missed and disturbed, whole numbers from 0 to {SEEDS}"
        good = isinstance(table, dict) and table.keys() == {"missed", "disturbed"}
        if good and all(type(n) is int and 0 <= n <= SEEDS for n in table.values()):
            budgets[name] = Budget(**table)
        else:
            faults.append(f"{text.where(name)}: {allowed}; given {_given(table)}")
    if faults:
        raise BenchmarkError("\n".join(faults))
    return budgets


def _given(table: Any) -> str:
    if not isinstance(table, dict):
        return shown(table)
    return ", ".join(f"{key} = {shown(value)}" for key, value in table.items())


def spent(result: Result) -> dict[str, Budget]:
    """How many runs of each scenario went wrong."""
    return {
        one.name: Budget(
            sum(not run.caught for run in result.of(one.name)),
            sum(not run.quiet for run in result.of(one.name)),
        )
        for one in result.scenarios
    }


def overspent(result: Result, budgets: Mapping[str, Budget]) -> list[str]:
    """A line for each scenario that is worse than its budget, or has none."""
    lines = []
    for name, now in spent(result).items():
        runs = len(result.of(name))
        budget = budgets.get(name)
        if budget is None:
            lines.append(f"{name}: has no budget; it missed in {now.missed} and was disturbed in "
                         f"{now.disturbed} of {runs} runs")  # fmt: skip
            continue
        for what in ("missed", "disturbed"):
            has, may = getattr(now, what), getattr(budget, what)
            if has > may:
                lines.append(f"{name}: {what} in {has} of {runs} runs, allowed in {may}")
    return lines


def lowered(result: Result, budgets: Mapping[str, Budget]) -> str:
    """The budgets' file with what has become better, and with what was not there."""
    kept = dict(budgets)
    for name, now in spent(result).items():
        before = budgets.get(name, Budget(SEEDS, SEEDS))
        kept[name] = Budget(min(now.missed, before.missed), min(now.disturbed, before.disturbed))
    tables = [
        f"[{name}]\nmissed = {one.missed}\ndisturbed = {one.disturbed}\n"
        for name, one in sorted(kept.items())
    ]
    return "\n".join([_HEAD, *tables])
