"""`make soak`: a worker for an hour at 2,000 events a second; memory, sockets, threads, lag level.

A real broker, a real worker process, and four days of event time however long it takes. What is
judged begins after the first quarter, and by then a whole day has passed: whatever is counted or
expires by the hour or by the day is as large as it ever gets. Deliveries are kept for longer; their
limit is set so that all tables are full, and forget, within the first eighth.

Writes out/soak.json and prints a table; exit code 1 where a bound is exceeded.
"""

import json
import os
import platform
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any, Final

import click

from detectors.engines.accounts import BECOMES
from detectors.event import DAY, SECOND
from tests.chaos.brokers import chaos_broker
from tests.chaos.fleet import Line, lines_of
from tests.chaos.publish import Publishing
from tests.chaos.stream import Pace
from tests.integration.pipeline import (
    ALERTS,
    EVENTS,
    PARTITIONS,
    REJECTED,
    Pipeline,
    existing_topics,
    wait_until,
)
from tests.kafka.broker import BrokerUnavailableError
from tests.soak.judge import Bounds, Row, judged
from tests.soak.traffic import Traffic
from tests.soak.watch import Sample, watching

OUT: Final = Path("out/soak.json")
DONE_SECONDS: Final = 120.0
READY_SECONDS: Final = 600.0
"""The first start compiles; on a busy machine for minutes."""
WRONG: Final = (
    "worker.failed",
    "worker.hangs",
    "worker.faust_hangs",
    "partition.differs",
    "partition.gap",
    "state.rebuilt",
    "state.damaged",
    "state.unfit",
    "state.fenced",
    "batch.damaged",
    "checkpoint.too_late",
)
"""Lines that a worker must not write where nothing is done to it."""


@click.command()
@click.option("--minutes", type=click.FloatRange(min=2), default=60.0, show_default=True)
@click.option("--rate", type=click.FloatRange(min=10), default=2000.0, show_default=True)
@click.option("--senders", type=click.IntRange(10, 32_000), default=10_000, show_default=True)
@click.option("--every", type=click.FloatRange(min=0.5), default=5.0, help="Seconds between looks.")
@click.option("--slope", type=float, default=1.0, show_default=True, help="MiB per hour allowed.")
@click.option("--lag", type=float, default=20.0, show_default=True, help="Seconds allowed.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=OUT)
@click.option("--logs", type=click.Path(path_type=Path, file_okay=False), help="Keep them there.")
def main(
    *,
    minutes: float,
    rate: float,
    senders: int,
    every: float,
    slope: float,
    lag: float,
    out: Path,
    logs: Path | None,
) -> None:
    """Run it; the memory of a run of few minutes says little: give it a larger --slope."""
    seconds = 60 * minutes
    run = {"minutes": minutes, "rate": rate, "senders": senders, "partitions": PARTITIONS}
    with tempfile.TemporaryDirectory() as folder:
        try:
            with chaos_broker(Path(folder) / "kafka") as (servers, _):
                if there := existing_topics(servers):
                    msg = f"{servers} has {', '.join(there)}, which this would delete"
                    raise click.ClickException(msg)
                kept = logs or Path(folder)
                kept.mkdir(parents=True, exist_ok=True)
                with Pipeline(servers, kept) as pipeline:
                    samples, said, ends = _soak(pipeline, kept, seconds, rate, senders, every)
        except BrokerUnavailableError as error:
            raise click.ClickException(str(error)) from None
    rows = judged(samples, seconds, rate, Bounds(slope, lag))
    rows += _accounts(said, ends, round(seconds * rate))
    _write(out, run, rows, samples, said)
    _tell(rows)
    sys.exit(1 if any(row.fault for row in rows) else 0)


def _soak(
    pipeline: Pipeline, folder: Path, seconds: float, rate: float, senders: int, every: float
) -> tuple[list[Sample], list[Line], Counter[str]]:
    events = round(seconds * rate)
    limit = max(int(events / 16 / PARTITIONS), 32)  # buckets are not filled evenly: sooner than 1/8
    config = folder / "detectors.toml"
    config.write_text(
        f"[stream]\nmax_senders = {senders}\nmax_deliveries = {limit}\n"
        f"max_exact_deliveries = {limit // 2}\n"
    )
    worker = pipeline.worker("--config", str(config), checkpoint_every=5.0)
    wait_until(
        "the worker is ready", lambda: "worker.ready" in worker.check().text(), READY_SECONDS
    )
    # It ends now: events may be as old as they like, but not from a broker's future.
    start = int(time() + seconds) * SECOND - 4 * DAY
    traffic = Traffic(events, senders, start, 4 * DAY)
    samples = []
    with Publishing(pipeline.servers, traffic, Pace(rate, burst=1.0)) as publishing:

        def goes_on() -> bool:
            worker.check()
            if publishing.error is not None:
                raise publishing.error
            return publishing.is_alive()

        for sample in watching(worker.pid, pipeline, every, goes_on):
            samples.append(sample)
            if len(samples) % max(int(60 / every), 1) == 1:
                click.echo(json.dumps(sample.to_json()))
        publishing.finish(DONE_SECONDS)
        pipeline.wait_until_done(worker, seconds=DONE_SECONDS)
    ends = Counter({topic: pipeline.ends(topic) for topic in (EVENTS, ALERTS, REJECTED)})
    code = worker.terminate(20)
    if code != 0:
        msg = f"the worker ended with code {code}:\n{worker.text()[-4000:]}"
        raise AssertionError(msg)
    return samples, list(lines_of(worker.text())), ends


def _accounts(said: list[Line], ends: Counter[str], events: int) -> list[Row]:
    """Every record has become something, and every alert has been produced."""
    wrong = Counter(line.what for line in said if line.what in WRONG)
    sums: Counter[str] = Counter()
    for line in said:
        if line.what == "partitions.accounts":
            sums.update({name: int(value) for name, value in line.fields.items()})
    become = sum(sums[name] for name in BECOMES)
    return [
        Row("published", ends[EVENTS], "events", f"{events}", "",
            "" if ends[EVENTS] == events else f"the log holds {ends[EVENTS]}"),
        Row("consumed", sums["consumed"], "events", f"{events}",
            ", ".join(f"{name} {sums[name]:,}" for name in BECOMES if sums[name]),
            "" if sums["consumed"] == become == events else f"{become} have become something"),
        Row("rejected", ends[REJECTED], "records", f"{sums['rejected']}", "",
            "" if ends[REJECTED] == sums["rejected"] else "not all were produced"),
        # Those of the shared cores are on the topic too, and are not counted by a partition.
        Row("alerts", ends[ALERTS], "records", f"at least {sums['alerts']}", "",
            "" if ends[ALERTS] >= sums["alerts"] else "not all were produced"),
        Row("lines of something wrong", wrong.total(), "", "0", "",
            ", ".join(f"{name} {count}" for name, count in wrong.items())),
    ]  # fmt: skip


def _tell(rows: list[Row]) -> None:
    for row in rows:
        state = "EXCEEDED" if row.fault else "good"
        value = f"{row.value:,.2f} {row.unit}".rstrip()
        click.echo(f"{state:8} {row.name:24} {value:>24}  allowed: {row.allowed}  {row.note}")
        if row.fault:
            click.echo(f"         {row.fault}")


def _write(
    out: Path, run: dict[str, Any], rows: list[Row], samples: list[Sample], said: list[Line]
) -> None:
    found = {
        "machine": {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
        },
        "day": datetime.now(tz=UTC).date().isoformat(),
        "run": run,
        "figures": [row.to_json() for row in rows],
        "lines": dict(Counter(line.what for line in said)),
        "samples": [sample.to_json() for sample in samples],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
