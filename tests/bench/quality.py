"""Detection quality beside naive detectors, on the same streams: `python -m tests.bench.quality`.

Plays all scenarios as `callwatch evaluate` does, lets the naive detectors read the same events, and
judges them by the same expectations, but for their names for it: they need not say why, nor how
bad it is, and are asked only for what they look at. The result is kept in docs/quality.json, from
which the documents' table is written.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alerts.alert import Alert
from detectors.benchmark.columns import Rows, Vocabulary
from detectors.benchmark.course import Played, config_of, group_of, history_of, play, walk_history
from detectors.benchmark.direct import DirectDecoder
from detectors.benchmark.evaluate import Done, Result, Task, processes, record, result_of, tasks_for
from detectors.benchmark.evaluate_cli import BUILT_IN
from detectors.benchmark.judge import Verdict, judge
from detectors.benchmark.scenario import Scenario
from detectors.benchmark.scenario_file import load_scenarios
from detectors.config import Config
from tests.bench.naive import Naive, Said, fresh, merged
from tests.docs.kept import keep

KEPT = Path("docs/quality.json")
CHUNK = 20_000
OURS = "callwatch"


@dataclass
class Learner:
    """A naive detector, and when it last voiced each opinion."""

    naive: Naive
    last: dict[tuple[int, str], int]

    def walk(self, decoder: DirectDecoder, rows: Rows, words: Vocabulary) -> list[tuple[Said, str]]:
        """Return its opinions about the rows, each with the sender's name."""
        found = []
        for start in range(0, len(rows), CHUNK):
            batch = decoder.batch(rows[start : start + CHUNK], words)
            said = merged(self.naive.walk(batch.columns), self.last)
            found += [(one, batch.sender(one.event)) for one in said]
        return found


def asked(scenario: Scenario, covers: frozenset[str]) -> Scenario:
    """Return the scenario as one is asked who looks at these things only, and names nothing."""
    expect = tuple(
        replace(one, reasons=(), severity="info", at_most=1000)
        for one in scenario.expect
        if covers & set(one.detector)
    )
    allow = tuple(replace(one, reasons=(), worst="critical") for one in scenario.allow)
    head = replace(scenario.head, classes=(), alerts_at_most=None)
    return replace(scenario, head=head, expect=expect, allow=allow)


def states(said: Sequence[tuple[Said, str]]) -> list[Alert]:
    """Return opinions as alerts; only what the judge reads is filled in."""
    return [
        Alert.model_construct(
            id=str(n), detector=one.detector, reason="naive", severity="medium", sender=name,
            senders=(name,), source=None, sources=(), opened_at=one.at, updated_at=one.at,
            score=50.0, summary="",
        )
        for n, (one, name) in enumerate(said)
    ]  # fmt: skip


def judged(
    scenario: Scenario, played: Played, learner: Learner, config: Config, seed: int
) -> Verdict:
    """Return the verdict on a naive detector that goes on from what it has learned."""
    mine = Learner(copy.deepcopy(learner.naive), dict(learner.last))
    said = mine.walk(DirectDecoder(config), played.rows, played.world.words)
    return judge(
        asked(scenario, learner.naive.covers), seed, played.staged, states(said),
        present=learner.naive.covers, window=played.world.span, events=0,
    )  # fmt: skip


def do(task: Task) -> tuple[Done, dict[str, list[Verdict]]]:
    """Play a task's scenarios; return our verdicts, and those on the others."""
    group = group_of(task.scenarios[0])
    config = config_of(group, None, None)
    warm = walk_history(group, task.seed, config)
    world, rows = history_of(group, task.seed)
    learners = [Learner(naive, {}) for naive in fresh()]
    for learner in learners:
        learner.walk(DirectDecoder(config), rows, world.words)
    ours: list[Verdict] = []
    others: dict[str, list[Verdict]] = {learner.naive.name: [] for learner in learners}
    for scenario in task.scenarios:
        played = play(scenario, warm)
        ours.append(played.verdict)
        for learner in learners:
            others[learner.naive.name].append(judged(scenario, played, learner, config, task.seed))
    return Done(ours, warm.false_alerts, warm.sender_days), others


def figures(name: str, covers: frozenset[str], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return what a method found and made up, over the test windows alone."""
    expected = [one for verdict in verdicts for one in verdict.seen]
    days = sum(verdict.sender_days for verdict in verdicts)
    false = sum(one["severity"] != "info" for verdict in verdicts for one in verdict.forbidden)
    caught = [v.incident_alerts for v in verdicts if v.seen and v.caught]
    return {
        "name": name,
        "looks_at": sorted(covers),
        "asked": len(expected),
        "in_time": sum(one.good for one in expected),
        "runs": len(verdicts),
        "quiet_runs": sum(verdict.quiet for verdict in verdicts),
        "false_alerts_per_sender_day": round(false / days, 5),
        "alerts_per_incident": round(float(np.mean(caught)), 2) if caught else None,
    }


def run(seeds: int, jobs: int) -> dict[str, Any]:
    """Return everything that is kept."""
    scenarios = load_scenarios([BUILT_IN])
    tasks = tasks_for(scenarios, range(1, seeds + 1))
    with processes(jobs) as pool:
        done = list(pool.map(do, tasks))
    result: Result = result_of(scenarios, tasks, {n: ours for n, (ours, _) in enumerate(done)})
    methods = [figures(OURS, frozenset(), result.verdicts)]
    for naive in fresh():
        verdicts = [one for _, others in done for one in others[naive.name]]
        methods.append(figures(naive.name, naive.covers, verdicts))
    return {"seeds": seeds, "methods": methods, **record(result)}


if __name__ == "__main__":
    given = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    keep(KEPT, run(given, 2))
