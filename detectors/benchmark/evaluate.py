"""Scenarios by seeds: every run judged, on as many processes as are given, and summed up."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any, Final

import numpy as np

from detectors.benchmark.course import config_of, group_of, play_all, walk_history
from detectors.benchmark.judge import Verdict, rank
from detectors.benchmark.scenario import PAIRS, Scenario

_UPPER: Final = 0.95
MOST: Final = 12
"""Scenarios of a task where there are few tasks: making a history takes as long as playing ten."""


@dataclass(frozen=True)
class Task:
    """Scenarios of one group under one seed: they share a history, so they share a process."""

    scenarios: tuple[Scenario, ...]
    seed: int
    config: Path | None = None
    inventory: Path | None = None


@dataclass(frozen=True)
class Done:
    """What a task has brought."""

    verdicts: list[Verdict]
    history_alerts: tuple[str, ...]
    history_sender_days: float


@dataclass(frozen=True)
class Rate:
    """So many in so many sender-days, with the 95 % upper bound of a Poisson count."""

    count: int
    sender_days: float

    @property
    def per_day(self) -> float:
        """The rate itself."""
        return self.count / self.sender_days if self.sender_days else 0.0

    @property
    def upper(self) -> float:
        """The largest rate under which so few would come in 5 % of all cases."""
        return poisson_upper(self.count) / self.sender_days if self.sender_days else 0.0


@dataclass(frozen=True)
class Result:
    """All runs of an evaluation."""

    verdicts: tuple[Verdict, ...]
    scenarios: tuple[Scenario, ...]
    history_alerts: tuple[str, ...]
    history_sender_days: float

    def of(self, name: str) -> list[Verdict]:
        """The runs of one scenario."""
        return [one for one in self.verdicts if one.scenario == name]

    def false_alerts(self, least: str = "low") -> Rate:
        """Forbidden alerts of a severity or above, over test windows and histories.

        All of them count; of the days only benign ones do.
        """
        given = [str(f["severity"]) for one in self.verdicts for f in one.forbidden]
        given += self.history_alerts
        days = sum(one.benign_days for one in self.verdicts) + self.history_sender_days
        return Rate(sum(rank(severity) >= rank(least) for severity in given), days)

    @property
    def infos(self) -> Rate:
        """Infos that nobody asked for, over the test windows."""
        days = sum(one.benign_days for one in self.verdicts)
        return Rate(sum(one.infos for one in self.verdicts), days)

    def quiet_runs(self, least: str) -> int:
        """How many runs brought no forbidden alert of a severity or above."""
        worst = [one.worst_forbidden for one in self.verdicts]
        return sum(one is None or rank(one) < rank(least) for one in worst)

    @property
    def recall_in_budget(self) -> tuple[int, int]:
        """Expectations met among the worst five alerts of a day, and all expectations."""
        seen = [one for verdict in self.verdicts for one in verdict.seen]
        return sum(one.in_budget for one in seen), len(seen)

    def named(self) -> dict[tuple[str, str], dict[tuple[str, str], int]]:
        """For each pair of classes: how often which was taken for what."""
        found: dict[tuple[str, str], dict[tuple[str, str], int]] = {pair: {} for pair in PAIRS}
        for verdict in self.verdicts:
            for truth, taken in verdict.named:
                pair = next(pair for pair in PAIRS if truth in pair)
                found[pair][truth, taken] = found[pair].get((truth, taken), 0) + 1
        return found


@dataclass(frozen=True)
class SoFar:
    """Tasks done, of how many, and the result of those."""

    done: int
    of: int
    result: Result


def tasks_for(
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    config: Path | None = None,
    inventory: Path | None = None,
    jobs: int = 1,
) -> list[Task]:
    """Groups by seeds; with few seeds large groups are cut, so that all processes have work."""
    most = len(scenarios) if jobs == 1 or len(seeds) >= 2 * jobs else MOST
    groups = defaultdict(list)
    for scenario in scenarios:
        groups[group_of(scenario)].append(scenario)
    tasks = []
    for members in groups.values():
        for seed in seeds:
            for start in range(0, len(members), most):
                part = tuple(members[start : start + most])
                tasks.append(Task(part, seed, config, inventory))
    return sorted(tasks, key=lambda task: -sum(one.head.days + 5 for one in task.scenarios))


def do(task: Task) -> Done:
    """Plays the scenarios of a task."""
    group = group_of(task.scenarios[0])
    config = config_of(group, task.config, task.inventory)
    warm = walk_history(group, task.seed, config)
    return Done(play_all(task.scenarios, warm), warm.false_alerts, warm.sender_days)


def evaluate(
    scenarios: Sequence[Scenario],
    seeds: Sequence[int],
    *,
    config: Path | None = None,
    inventory: Path | None = None,
    jobs: int = 1,
) -> Iterator[SoFar]:
    """Plays everything, and tells after each task how far it is.

    The same scenarios, seeds and configuration give the same result, whatever `jobs` is.
    """
    tasks = tasks_for(scenarios, seeds, config=config, inventory=inventory, jobs=jobs)
    done: dict[int, Done] = {}
    if jobs == 1:
        for number, task in enumerate(tasks):
            done[number] = do(task)
            yield SoFar(len(done), len(tasks), result_of(scenarios, tasks, done))
        return
    with processes(jobs) as pool:
        running = {pool.submit(do, task): number for number, task in enumerate(tasks)}
        for finished in as_completed(running):
            done[running[finished]] = finished.result()
            yield SoFar(len(done), len(tasks), result_of(scenarios, tasks, done))


def processes(jobs: int) -> ProcessPoolExecutor:
    """Processes that end with this one, also where it is killed."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_follow)


def _follow() -> None:
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def result_of(scenarios: Sequence[Scenario], tasks: list[Task], done: dict[int, Done]) -> Result:
    """What the tasks that are done have brought, in an order that does not depend on theirs."""
    verdicts = [one for part in done.values() for one in part.verdicts]
    verdicts.sort(key=lambda one: (one.scenario, one.seed))
    alerts: list[str] = []
    days = 0.0
    counted = set()  # tasks that share a history count it once
    for number in sorted(done):
        history = (group_of(tasks[number].scenarios[0]), tasks[number].seed)
        if history not in counted:
            counted.add(history)
            alerts += done[number].history_alerts
            days += done[number].history_sender_days
    return Result(tuple(verdicts), tuple(scenarios), tuple(alerts), days)


def poisson_upper(count: int, confidence: float = _UPPER) -> float:
    """The largest mean of a Poisson count under which so few or fewer still come in 5 % of cases.

    >>> round(poisson_upper(0), 2), round(poisson_upper(3), 2)
    (3.0, 7.75)
    """
    low: float = count
    high: float = count + 10.0 * float(np.sqrt(count + 1))
    for _ in range(60):
        mean = (low + high) / 2
        terms = np.cumsum(np.log(mean) - np.log(np.arange(1, count + 1)))
        below = float(np.exp(-mean) * (1.0 + np.sum(np.exp(terms))))
        low, high = (mean, high) if below > 1.0 - confidence else (low, mean)
    return high


def scenario_record(result: Result, scenario: Scenario) -> dict[str, Any]:
    """The figures of one scenario over its seeds."""
    runs = result.of(scenario.name)
    expectations = []
    for number, expect in enumerate(scenario.expect):
        seen = [run.seen[number] for run in runs]
        outcomes: dict[str, int] = defaultdict(int)
        for one in seen:
            outcomes[str(one.outcome)] += 1
        expectations.append(
            {
                "detector": " or ".join(expect.detector),
                "in_time": sum(one.good for one in seen),
                "outcomes": dict(outcomes),
                "delay_events": spread([one.delay_events for one in seen]),
                "delay_s": spread([one.delay_s for one in seen]),
                "misnamed_as": sorted(
                    {one.reason for one in seen if one.reason and one.outcome == "misnamed"}
                ),
            }
        )
    forbidden: dict[str, int] = defaultdict(int)
    for run in runs:
        for told in run.forbidden:
            forbidden[f"{told['detector']}: {told['reason']} ({told['severity']})"] += 1
    return {
        "scenario": scenario.name,
        "title": scenario.head.title,
        "kind": scenario.head.kind,
        "runs": len(runs),
        "good_runs": sum(run.caught and run.quiet for run in runs),
        "caught_runs": sum(run.caught for run in runs) if scenario.expect else None,
        "quiet_runs": sum(run.quiet for run in runs),
        "expect": expectations,
        "forbidden": dict(sorted(forbidden.items())),
        "alerts_per_incident": round(
            sum(run.incident_alerts for run in runs) / max(len(runs), 1), 2
        ),
        "infos": sum(run.infos for run in runs),
        "events": max((run.events for run in runs), default=0),
    }


def spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Median and 95th percentile of those that there are."""
    there = sorted(value for value in values if value is not None)
    if not there:
        return None
    p95 = there[min(int(np.ceil(0.95 * len(there))) - 1, len(there) - 1)]
    return {"median": float(median(there)), "p95": float(p95)}


def record(result: Result) -> dict[str, Any]:
    """Everything as plain data."""
    met, asked = result.recall_in_budget
    rates = {"low": result.false_alerts(), "high": result.false_alerts("high")}
    attacks = [run for run in result.verdicts if run.seen]
    incidents = [run.incident_alerts for run in attacks if run.caught]
    return {
        "scenarios": [scenario_record(result, one) for one in result.scenarios],
        "attack_runs": len(attacks),
        "attack_runs_in_time": sum(run.caught for run in attacks),
        "runs": len(result.verdicts),
        "quiet_runs": sum(run.quiet for run in result.verdicts),
        "quiet_runs_of": {least: result.quiet_runs(least) for least in ("low", "medium")},
        "false_alerts": {
            name: {
                "count": rate.count,
                "sender_days": round(rate.sender_days, 1),
                "per_sender_day": round(rate.per_day, 5),
                "upper_95": round(rate.upper, 5),
            }
            for name, rate in rates.items()
        },
        "infos_per_sender_day": round(result.infos.per_day, 5),
        "alerts_per_incident": round(sum(incidents) / len(incidents), 2) if incidents else None,
        "incidents_of_at_most_two": [sum(n <= 2 for n in incidents), len(incidents)],
        "recall_at_5_a_day": round(met / asked, 4) if asked else None,
        "classes": {
            " or ".join(pair): {
                "right": sum(n for (truth, taken), n in table.items() if truth == taken),
                "of": sum(table.values()),
                "confused": {
                    f"{truth} taken for {taken}": n
                    for (truth, taken), n in sorted(table.items())
                    if truth != taken
                },
            }
            for pair, table in result.named().items()
        },
    }
