"""``callwatch size``: what a stream needs, before anything of it runs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from alerts.explain import format_bytes, format_count, format_duration
from detectors.config_file import load_config
from detectors.errors import DetectorError
from detectors.sizing import DAY_S, SPEEDS, UNEVEN, Sized, Speeds, Stream, sized
from ingest.errors import IngestError


class _Number(click.FloatRange):
    """A range in which NaN and infinity are no numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


_POSITIVE = _Number(min=0, min_open=True)
SESSION_S: Final = 10
"""After so long a group gives a dead worker's partitions away: ``SESSION_SECONDS`` of a worker."""
MANY_PARTITIONS: Final = 4000
"""What Apache Kafka long advised for one broker; each of them is twice here, and in replicas."""


@click.command()
@click.argument("events_per_second", type=_Number(min=0.001, max=1e9))
@click.option("--senders", type=click.IntRange(1, 10**9), default=1000, show_default=True)
@click.option(
    "--types", type=_POSITIVE, default=3.0, show_default=True, help="Event types of a sender."
)
@click.option(
    "--networks", type=_POSITIVE, default=5.0, show_default=True, help="Networks of a sender."
)
@click.option(
    "--busiest", type=_Number(0, 1), default=0.2, show_default=True,
    help="Share of all events that the busiest sender sends.",
)  # fmt: skip
@click.option(
    "--load", type=_Number(0.05, 0.95), default=0.5, show_default=True,
    help="Share of a worker's core that the events may take.",
)  # fmt: skip
@click.option(
    "--worker-speed", type=_Number(1e3, 1e7),
    help="Events per CPU-second of a worker that catches up, as you measured it.",
)  # fmt: skip
@click.option("--retention", type=_POSITIVE, default=7.0, show_default=True, help="Days.")
@click.option("--replication", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML)."
)
@click.option("--json", "as_json", is_flag=True, help="One object.")
def size(
    events_per_second: float,
    senders: int,
    types: float,
    networks: float,
    busiest: float,
    load: float,
    worker_speed: float | None,
    retention: float,
    replication: int,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Say how many partitions, workers and bytes EVENTS_PER_SECOND need."""
    stream = Stream(
        events_per_second, senders, types, networks, busiest, load, retention, replication
    )
    speeds = SPEEDS
    if worker_speed is not None:
        speeds = speeds.of(worker_speed)
    try:
        found = sized(stream, speeds, load_config(config_path))
    except (DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        given = {"stream": asdict(stream), "speeds": asdict(speeds)}
        click.echo(json.dumps(given | asdict(found) | {"warnings": warnings(found, stream)}))
        return
    click.echo("\n".join(lines(found, stream, speeds) + warnings(found, stream)))


commands: list[click.Command] = [size]


def lines(found: Sized, stream: Stream, speeds: Speeds) -> list[str]:
    """Return what a person wants to know, a line each."""
    kept = format_duration(stream.retention_days * DAY_S)
    busy = f"{found.events_share + found.answers_share:.0%}: {found.events_share:.1%} for events"
    restored = f"{SESSION_S} s until another takes over, {_seconds(found.restore_s)} to restore"
    rebuilt = f"state made anew from {kept} of events, and level, in {_seconds(found.rebuild_s)}"
    rows = [
        ("partitions", f"{found.partitions}"),
        ("workers", f"{found.workers}, one core each"),
        ("of that core", f"{busy}, the rest for brokers' answers, which give way to them"),
        ("memory of a worker", format_bytes(found.worker_bytes)),
        ("callwatch.events", f"{format_bytes(found.events_topic_bytes)} on all brokers"),
        ("callwatch.state", f"{format_bytes(found.state_topic_bytes)} on all brokers"),
        ("after an hour away", f"level again in {_seconds(found.catch_up_s)}"),
        ("after a crash", restored),
        ("new parameters", rebuilt),
    ]
    width = max(len(name) for name, _ in rows)
    told = [f"{name:<{width}}  {value}" for name, value in rows]
    told.append(
        f"reckoned with {format_count(int(speeds.worker), 'event')} per CPU-second of a worker, "
        f"{int(speeds.rebuild):,} where it rebuilds; --worker-speed takes yours"
    )
    return told


def _seconds(seconds: float) -> str:
    return format_duration(max(math.ceil(seconds), 1))


def warnings(found: Sized, stream: Stream) -> list[str]:
    """Return what will not go as the stream is, a line each."""
    told = []
    if not found.busiest_fits:
        told.append(
            f"the busiest sender is too much for one worker: at most "
            f"{format_count(int(found.busiest_limit), 'event')} a second of one sender; "
            "split it into several senders"
        )
    if found.senders > found.senders_kept:
        enough = math.ceil(stream.senders * UNEVEN / found.senders_kept)
        told.append(
            f"the fullest partition has {format_count(found.senders, 'sender')}, and "
            f"stream.max_senders keeps {found.senders_kept:,}: the oldest are forgotten; raise it, "
            f"or make {enough:,} partitions"
        )
    if found.partitions >= MANY_PARTITIONS:
        replicas = 2 * found.partitions * stream.replication
        told.append(
            f"{found.partitions:,} partitions of callwatch.events and as many of callwatch.state, "
            f"{replicas:,} replicas: more than a cluster bears easily; several clusters, or "
            "sampling (docs/scale.md, a million events a second)"
        )
    if found.rebuild_s > stream.retention_days * DAY_S:
        told.append(
            "a rebuild takes longer than events are kept: the oldest are deleted before they are "
            "walked; keep fewer (--retention), or have more workers (--load)"
        )
    return told
