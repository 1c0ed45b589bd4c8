"""What quality each scenario has reached, kept in a file: it may get better, and not worse.

A budget names the seeds, of 1 to 10, with which something was missed, misnamed or late, and those
with which a forbidden alert came. A run with some of the seeds may have as many bad ones as the
budget names among them: so three seeds show a slip as surely as ten do, and a change that moves a
fault from one seed to another is no slip where both are played. Of seeds beyond 10 the same share
may go wrong, rounded up. A scenario that has never been good has a budget that says so; whoever
mends the detector lowers it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.evaluate import Result
from ingest.errors import IngestError, shown
from ingest.toml_text import load_toml

SEEDS: Final = 10
KINDS: Final = ("missed", "disturbed")
Seeds = tuple[int, ...]
_HEAD: Final = """\
# With which of the seeds 1 to 10 a run may go wrong: `missed` = something was not found in time
# under its name, `disturbed` = a forbidden alert came. Written by `make budgets`, which only ever
# lowers their number; to raise one is a decision, to be explained where it is made.
"""


@dataclass(frozen=True)
class Budget:
    """Seeds whose runs may go wrong, in order."""

    missed: Seeds = ()
    disturbed: Seeds = ()


def load_budgets(path: Path) -> dict[str, Budget]:
    """The budgets by scenario; BenchmarkError lists all faults of the file."""
    try:
        text = load_toml(path)
    except IngestError as error:
        raise BenchmarkError(str(error)) from None
    budgets, faults = {}, []
    for name, table in text.data.items():
        if (
            isinstance(table, dict)
            and table.keys() == set(KINDS)
            and all(map(_seeds, table.values()))
        ):
            budgets[name] = Budget(*(tuple(table[kind]) for kind in KINDS))
        else:
            allowed = (
                f"{name}: allowed: missed and disturbed, each a list of seeds from 1 to {SEEDS}"
            )
            faults.append(f"{text.where(name)}: {allowed}; given {_given(table)}")
    if faults:
        raise BenchmarkError("\n".join(faults))
    return budgets


def _seeds(given: Any) -> bool:
    whole = isinstance(given, list) and all(type(n) is int and 1 <= n <= SEEDS for n in given)
    return whole and sorted(set(given)) == given


def _given(table: Any) -> str:
    if not isinstance(table, dict):
        return shown(table)
    return ", ".join(f"{key} = {shown(value)}" for key, value in table.items())


def spent(result: Result) -> dict[str, Budget]:
    """The seeds with which each scenario went wrong."""
    return {
        one.name: Budget(
            tuple(run.seed for run in result.of(one.name) if not run.caught),
            tuple(run.seed for run in result.of(one.name) if not run.quiet),
        )
        for one in result.scenarios
    }


def allowed(budget: Seeds, played: Iterable[int]) -> int:
    """How many of the played seeds may go wrong.

    >>> allowed((4, 9), range(1, 4)), allowed((4, 9), range(1, 11)), allowed((4, 9), range(20, 26))
    (0, 2, 2)
    """
    seeds = set(played)
    beyond = len(seeds - set(range(1, SEEDS + 1)))
    return len(seeds & set(budget)) + math.ceil(beyond * len(budget) / SEEDS)


def overspent(result: Result, budgets: Mapping[str, Budget]) -> list[str]:
    """A line for each scenario that is worse than its budget, or has none."""
    lines = []
    for name, now in spent(result).items():
        played = [run.seed for run in result.of(name)]
        budget = budgets.get(name)
        if budget is None:
            lines.append(f"{name}: has no budget; it missed in {len(now.missed)} and was disturbed "
                         f"in {len(now.disturbed)} of {len(played)} runs")  # fmt: skip
            continue
        for kind in KINDS:
            wrong, may = getattr(now, kind), allowed(getattr(budget, kind), played)
            if len(wrong) > may:
                lines.append(f"{name}: {kind} in {len(wrong)} of {len(played)} runs (seeds "
                             f"{', '.join(map(str, wrong))}), allowed in {may}")  # fmt: skip
    return lines


def lowered(result: Result, budgets: Mapping[str, Budget]) -> str:
    """The budgets' file with what has become better, and with what was not there."""
    kept = dict(budgets)
    for name, now in spent(result).items():
        before = budgets.get(name, now)
        kept[name] = Budget(*(min(getattr(now, k), getattr(before, k), key=len) for k in KINDS))
    tables = [
        f"[{name}]\nmissed = {list(one.missed)}\ndisturbed = {list(one.disturbed)}\n"
        for name, one in sorted(kept.items())
    ]
    return "\n".join([_HEAD, *tables])
