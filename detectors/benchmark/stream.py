"""Test windows as a log: records in the order in which they were published, with faults on the way.

Elsewhere the benchmark sorts events by time received, as every file is. A log has an order and
broker times of its own, and reports of the receivers among its events; what goes wrong between a
receiver and the log shows only there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from alerts.alert import Alert
from detectors.benchmark import steps
from detectors.benchmark.arrivals import MINUTE, SECOND, Span
from detectors.benchmark.columns import Rows, Times
from detectors.benchmark.jsonl import render, rfc3339
from detectors.benchmark.stage import Drawn
from detectors.benchmark.world import World
from detectors.shared import Partitions
from ingest.schema import Report, dump_report

ON_THE_WAY: Final = 0.2 * SECOND  # mean, from the receiver to the log
BATCH: Final = 5000


@dataclass(frozen=True)
class Log:
    """Values and their broker times, in the order of the log."""

    values: tuple[bytes, ...]
    times: tuple[int, ...]


def published(world: World, drawn: Sequence[Drawn], rows: Rows) -> Log:
    """The rows and the receivers' reports as they stand in the log, with the steps' faults."""
    rng = world.chance("log")
    receivers = np.array([str(world.words.fields(c).get("receiver", "")) for c in rows["receiver"]])
    services = np.array([name.partition("/")[0] for name in receivers.tolist()])
    kept = np.ones(len(rows), np.bool_)
    for one in drawn:
        if isinstance(one.step, steps.ReceiverSilent):
            within = Span(one.start, one.start + one.step.lasts).holds(rows["at"])
            kept &= ~(within & (services == one.step.service))
    rows, receivers = rows[kept], receivers[kept]
    values = b"".join(render(rows, world.words)).splitlines()
    at = [rows["at"]]
    reports, report_times = _reports(world, drawn, rows, receivers)
    values += reports
    at.append(report_times)
    times = np.concatenate(at)
    times = times + rng.exponential(ON_THE_WAY, len(times)).astype(np.int64)
    times, again = _faults(rng, drawn, times)
    values += [values[n] for n in again.tolist()]
    order = np.argsort(times, kind="stable")
    return Log(tuple(values[n] for n in order.tolist()), tuple(times[order].tolist()))


def _faults(
    rng: np.random.Generator, drawn: Sequence[Drawn], times: Times
) -> tuple[Times, npt.NDArray[np.int64]]:
    """The times with the faults, repeats at their end; and what is repeated."""
    copies = [np.zeros(0, np.int64)]
    late = [np.zeros(0, np.int64)]
    for one in drawn:
        step = one.step
        if not isinstance(step, steps.OfStream):
            continue
        within = Span(one.start, one.start + step.lasts).holds(times)
        if isinstance(step, steps.Repeat):
            chosen = np.flatnonzero(within & (rng.random(len(times)) < step.share))
            copies.append(chosen)
            late.append(times[chosen] + rng.integers(0, step.by, len(chosen)))
        elif isinstance(step, steps.Disorder):
            chosen = np.flatnonzero(within & (rng.random(len(times)) < step.share))
            times[chosen] += rng.integers(0, step.by, len(chosen))
        elif isinstance(step, steps.Lag):  # they keep their order, and come within seconds
            behind = np.flatnonzero(within)
            end = one.start + step.lasts
            times[behind] = end + (times[behind] - one.start) * 10 * SECOND // step.lasts
    return np.concatenate([times, *late]), np.concatenate(copies)


def _reports(
    world: World, drawn: Sequence[Drawn], rows: Rows, receivers: npt.NDArray[np.str_]
) -> tuple[list[bytes], Times]:
    """One report a minute of each process, from the window's start on, but for silent services.

    A process is what a deploy starts and the next one ends; its totals are those of its events.
    """
    silent = [
        (one.step.service, Span(one.start, one.start + one.step.lasts))
        for one in drawn
        if isinstance(one.step, steps.ReceiverSilent)
    ]
    values, times = [], []
    for name, begin, last in _processes(world, rows, receivers):
        mine = rows["at"][receivers == name]
        at = np.arange(begin + MINUTE, last, MINUTE, dtype=np.int64)
        for service, span in silent:
            at = at[~span.holds(at)] if name.startswith(f"{service}/") else at
        sent = np.searchsorted(mine, at, side="right").tolist()
        started = rfc3339(np.array([begin]), "us")[0]
        values += [
            dump_report(
                Report.model_validate(
                    {
                        "receiver": name, "process": f"{name.rpartition('@')[2]}:1",
                        "started_at": started, "at": moment, "offered": count, "sent": count,
                        "dropped": {}, "version": "1.0", "sampling": 1.0,
                    }
                )
            )
            for moment, count in zip(rfc3339(at, "us"), sent, strict=True)
        ]  # fmt: skip
        times.append(at)
    return values, np.concatenate([np.zeros(0, np.int64), *times])


def _processes(
    world: World, rows: Rows, receivers: npt.NDArray[np.str_]
) -> list[tuple[str, int, int]]:
    """The processes by name, from when until when each runs: until the next on its instance."""
    first = {
        name: int(rows["at"][receivers == name][0]) for name in set(receivers.tolist()) if name
    }
    found = []
    for name, at in sorted(first.items()):
        instance = name.rpartition("@")[2]
        others = {t for other, t in first.items() if other.rpartition("@")[2] == instance}
        begin = world.span.start if at == min(others) else at
        found.append((name, begin, min({t for t in others if t > at}, default=world.span.end)))
    return found


def feed_as_log(state: Partitions, log: Log) -> list[Alert]:
    """Walks a log as a worker would."""
    states: list[Alert] = []
    for start in range(0, len(log.values), BATCH):
        stop = min(start + BATCH, len(log.values))
        states += state.feed_log(
            0, log.values[start:stop], range(start, stop), log.times[start:stop]
        ).alerts
    return states
