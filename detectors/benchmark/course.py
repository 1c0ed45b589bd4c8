"""The course of a scenario: a fleet's history walked once, then test windows that go on from it.

All scenarios with the same fleet, days and inventory share the history of a seed: its core is kept
as a snapshot, and its last days of deliveries, which replays and redeliveries draw on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from alerts.alert import Alert, to_rfc3339
from detectors import health
from detectors.base import described_of
from detectors.benchmark.arrivals import DAY, HOUR, Span
from detectors.benchmark.columns import Rows, Vocabulary, in_order
from detectors.benchmark.direct import DirectDecoder
from detectors.benchmark.inventory_file import inventory_toml
from detectors.benchmark.judge import Verdict, histories_of, judge, rank, worst
from detectors.benchmark.scenario import Scenario
from detectors.benchmark.senders import Sender
from detectors.benchmark.stage import Staged, added_by, changes_of, draw, know_again, staged
from detectors.benchmark.steps import OfStream, Resend
from detectors.benchmark.stream import feed_as_log, published
from detectors.benchmark.traffic import benign
from detectors.benchmark.world import World
from detectors.config import Config
from detectors.config_file import load_config
from detectors.shared import Partitions
from detectors.warm import warm_up

CHUNK: Final = 20_000
CALENDAR: Final = 90 * DAY
"""Longer than any history and test window: where it ends must not matter to what comes before."""
REMEMBERED: Final = 4 * DAY


@dataclass(frozen=True)
class Group:
    """What scenarios have in common that share a history; equal groups have equal histories."""

    fleet: tuple[Sender, ...]
    start: int
    warm_up_days: int
    inventory: str
    model: str = "none"

    @property
    def history(self) -> Span:
        """The stretch of history; an hour more, so that a whole number of days is behind."""
        return Span(self.start - self.warm_up_days * DAY - HOUR, self.start)

    @property
    def calendar(self) -> Span:
        """The stretch over which addresses, builds and deploys run on."""
        return Span(self.history.start, self.history.start + CALENDAR)


@dataclass(frozen=True)
class Warm:
    """A group's history for one seed, walked."""

    group: Group
    seed: int
    config: Config
    snapshot: bytes
    recent: Rows
    words: Vocabulary
    false_alerts: tuple[str, ...]
    """Severities of the alerts on this benign history."""
    sender_days: float
    events: int


def group_of(scenario: Scenario) -> Group:
    """The group of a scenario."""
    head = scenario.head
    start = int(np.datetime64(head.start, "us").astype(np.int64))
    before = tuple(s for s in scenario.fleet if s.name not in scenario.joining)
    known = [s for s in scenario.fleet if s in before or s.name in head.registered]
    text = inventory_toml(known)
    for plan in scenario.planned:
        begin = start + plan.at[0]
        text += (
            f'\n[[planned]]\nkind = "{plan.kind}"\nsender = "{plan.sender}"\n'
            f'from = "{to_rfc3339(begin)}"\nto = "{to_rfc3339(begin + plan.lasts)}"\n'
            f'reason = "{plan.reason}"\n'
        )
    return Group(before, start, head.warm_up_days, text, head.model)


def config_of(group: Group, config: Path | None, inventory: Path | None) -> Config:
    """The configuration: the user's own, and the user's inventory or the fleet's.

    Without any, the defaults, and the learned model that the scenarios ask for.
    """
    if config is None and group.model != "none":
        with TemporaryDirectory() as folder:
            path = Path(folder) / "detectors.toml"
            path.write_text(f'[detectors.behaviour-outlier]\nmodel = "{group.model}"\n', "utf-8")
            return config_of(replace(group, model="none"), path, inventory)
    if inventory is not None:
        return load_config(config, inventory=inventory)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.toml"
        path.write_text(group.inventory, encoding="utf-8")
        return load_config(config, inventory=path)


def history_of(group: Group, seed: int) -> tuple[World, Rows]:
    """Makes the history of a seed."""
    world = World(seed, group.history, group.fleet, calendar=group.calendar, phase="history")
    return world, benign(world)


def walk_history(group: Group, seed: int, config: Config) -> Warm:
    """Makes the history of a seed and walks it."""
    warm_up(config)
    world, rows = history_of(group, seed)
    state = Partitions(config)
    states = _told(state, _feed(state, DirectDecoder(config), rows, world.words))
    histories = histories_of(states)
    return Warm(
        group,
        seed,
        config,
        state.snapshot(),
        rows[rows["at"] >= group.start - REMEMBERED].copy(),
        world.words,
        tuple(severity for h in histories if rank(severity := worst(h)) > 0),
        len(group.fleet) * (group.history.end - group.history.start) / DAY,
        len(rows),
    )


@dataclass(frozen=True)
class Played:
    """A test window, walked."""

    verdict: Verdict
    states: tuple[Alert, ...]
    rows: Rows
    world: World
    staged: tuple[Staged, ...]


def play(scenario: Scenario, warm: Warm) -> Played:
    """Makes the test window of a scenario, walks it from the history's state on, and judges."""
    group = warm.group
    span = Span(group.start, group.start + scenario.length)
    world = World(
        warm.seed, span, scenario.fleet,
        calendar=group.calendar, phase=scenario.name, words=warm.words,
    )  # fmt: skip
    drawn = draw(world, scenario.steps)
    changes = tuple(change for one in drawn for change in changes_of(world, one))
    world = World(
        warm.seed, span, scenario.fleet, changes,
        calendar=group.calendar, phase=scenario.name, words=warm.words,
    )  # fmt: skip
    rows = benign(world)
    known = np.concatenate([warm.recent, rows])
    added = [added_by(world, one, known) for one in drawn]
    everything = in_order(np.concatenate([rows, *added]))
    everything = everything[span.holds(everything["at"])]
    for one in drawn:
        if isinstance(one.step, Resend):
            know_again(world, one.senders[0], everything)
    state = Partitions.restore(warm.config, warm.snapshot)
    if any(isinstance(one.step, OfStream) for one in drawn):
        found = feed_as_log(state, published(world, drawn, everything))
    else:
        found = _feed(state, DirectDecoder(warm.config), everything, world.words)
    states = _told(state, found + state.finish(span.end))
    done = tuple(
        staged(world, one, more, everything) for one, more in zip(drawn, added, strict=True)
    )
    verdict = judge(
        scenario,
        warm.seed,
        done,
        states,
        present=frozenset(
            one.id for one in (*warm.config.detectors, *warm.config.shared, described_of(health))
        ),
        window=span,
        events=warm.events + len(everything),
    )
    return Played(verdict, tuple(states), everything, world, done)


def _feed(state: Partitions, decoder: DirectDecoder, rows: Rows, words: Vocabulary) -> list[Alert]:
    states: list[Alert] = []
    for start in range(0, len(rows), CHUNK):
        batch = decoder.batch(rows[start : start + CHUNK], words)
        states += state.feed_sorted(0, batch).alerts
    return states


def _told(state: Partitions, found: list[Alert]) -> list[Alert]:
    """What people would see of the alerts, as `callwatch detect` tells it: nothing on trial."""
    found.sort(key=lambda alert: alert.updated_at)
    return [alert for alert in state.correlator.take(found) if not alert.shadow]


def play_all(scenarios: Sequence[Scenario], warm: Warm) -> list[Verdict]:
    """The verdicts on scenarios that share a history."""
    return [play(scenario, warm).verdict for scenario in scenarios]
