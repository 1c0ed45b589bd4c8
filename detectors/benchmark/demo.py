"""The demo: a labelled simulated day through the detectors, judged, reported and kept.

The events take the way of every file: they are rendered as JSON lines, decoded, and walked in order
of time by the core of one partition. Only the labels know what was staged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Protocol

import pandas as pd

from alerts.alert import Alert
from detectors.benchmark.arrivals import DAY
from detectors.benchmark.columns import Rows
from detectors.benchmark.day import HISTORY_DAYS, MIDNIGHT, LabelledDay, labelled_day
from detectors.benchmark.demo_view import Silent, View
from detectors.benchmark.frames import simulated_events
from detectors.benchmark.inventory_file import inventory_toml
from detectors.benchmark.jsonl import render
from detectors.benchmark.labels import labels_json
from detectors.benchmark.report import report
from detectors.benchmark.score import Score, score
from detectors.benchmark.whole_files import GzipWriter, staged
from detectors.config import Config
from detectors.config_file import load_config
from ingest.sources import Lines, cut

CHUNK: Final = 10_000
SEED: Final = 7
FILES: Final = ("history.jsonl.gz", "day.jsonl", "alerts.jsonl", "labels.json", "inventory.toml")


class Engine(Protocol):
    """What the demo needs of an engine: lines in, states of alerts out."""

    def feed(self, lines: Lines) -> list[Alert]:
        """Walks some events, later than all before."""

    def finish(self) -> list[Alert]:
        """Ends the walk at the last event."""


@dataclass(frozen=True)
class Run:
    """A finished demo."""

    day: LabelledDay
    states: tuple[Alert, ...]
    score: Score
    config: str
    seconds: dict[str, float]

    def record(self) -> dict[str, Any]:
        """The result as plain data, for `--json`."""
        return {
            "events": {"history": len(self.day.history), "day": len(self.day.day)},
            "config": self.config,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
            **self.score.record(),
        }


def run_demo(
    out: Path,
    *,
    seed: int = SEED,
    history_days: int = HISTORY_DAYS,
    with_report: bool = True,
    view: View | None = None,
) -> Run:
    """Makes the day, detects, judges and writes; `out` gets all files or none.

    Written are `history.jsonl.gz` and `day.jsonl` (the events: give both to `callwatch detect`,
    with `inventory.toml`, to get the same alerts), `alerts.jsonl` (a line per update),
    `labels.json` and, unless left out, `report.html`.
    """
    view = view or Silent()
    clock = _Stopwatch()
    with staged(out) as folder, view.running():
        view.phase("simulating the fleet", 0)
        day = labelled_day(seed, history_days=history_days)
        inventory = folder / "inventory.toml"
        inventory.write_text(inventory_toml(day.world.fleet), encoding="utf-8")
        config = load_config(None, inventory=inventory)
        clock.lap("simulate")
        states = detect(day, folder, local_engine(config), view)
        clock.lap("detect")
        senders = len(day.world.fleet)
        days = (day.world.span.end - day.world.span.start) / DAY
        result = score(day.labels, states, sender_days=senders * days)
        (folder / "alerts.jsonl").write_bytes(b"".join(one.to_json() + b"\n" for one in states))
        (folder / "labels.json").write_bytes(labels_json(day.labels, seed=seed))
        if with_report:
            view.phase("drawing the report", 0)
            page = _page(day, states, result, config, seed)
            (folder / "report.html").write_text(page, encoding="utf-8")
            clock.lap("report")
    if not with_report:
        (out / "report.html").unlink(missing_ok=True)  # an older run's would tell of other alerts
    return Run(day, tuple(states), result, config.hash, clock.laps)


def detect(day: LabelledDay, folder: Path, engine: Engine, view: View) -> list[Alert]:
    """Writes the events of history and day, and walks them through the engine."""
    states: list[Alert] = []
    with GzipWriter(folder / "history.jsonl.gz") as history:
        view.phase("history through the detectors", len(day.history))
        for data, count in _chunks(day, day.history):
            history.write(data)
            _feed(engine, cut("history.jsonl.gz", 1, data), states, view, count)
        with (folder / "day.jsonl").open("wb") as today:
            view.phase("the labelled day", len(day.day))
            for data, count in _chunks(day, day.day):
                today.write(data)
                _feed(engine, cut("day.jsonl", 1, data), states, view, count)
    last = engine.finish()
    view.alerts(last)
    # By time, as `callwatch detect` writes them; states of one alert keep their order.
    return sorted(states + last, key=lambda one: one.updated_at)


def local_engine(config: Config) -> Engine:
    """The core of one partition, fed in order of time."""
    from detectors.benchmark.engine import LocalEngine

    return LocalEngine(config)


def _chunks(day: LabelledDay, rows: Rows) -> Iterator[tuple[bytes, int]]:
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        yield b"".join(render(part, day.world.words)), len(part)


def _feed(engine: Engine, lines: Lines, states: list[Alert], view: View, count: int) -> None:
    new = engine.feed(lines)
    states += new
    view.alerts(new)
    view.advance(count)


def _page(day: LabelledDay, states: list[Alert], result: Score, config: Config, seed: int) -> str:
    return report(
        simulated_events(day.rows, day.world.words),
        states,
        result,
        pd.Timestamp(MIDNIGHT, unit="us", tz="UTC"),
        facts={"seed": str(seed), "configuration": config.hash, "times": "event time, UTC"},
    )


class _Stopwatch:
    def __init__(self) -> None:
        self._last = perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.laps[name] = now - self._last
        self._last = now
