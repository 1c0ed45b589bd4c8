"""``callwatch size``: what a stream needs, before anything of it runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import click

from alerts.explain import format_bytes, format_count, format_duration
from detectors.config_file import load_config
from detectors.errors import DetectorError
from detectors.sizing import SPEEDS, Sized, Stream, sized
from ingest.errors import IngestError


class _Number(click.FloatRange):
    """A range in which NaN and infinity are no numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


_POSITIVE = _Number(min=0, min_open=True)


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
    help="Share of a worker's core that the stream may use.",
)  # fmt: skip
@click.option(
    "--worker-speed", type=_POSITIVE, help="Events per CPU-second of a worker, as you measured it."
)
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
        speeds = type(speeds)(worker_speed, speeds.event_bytes, speeds.packed_share)
    try:
        found = sized(stream, speeds, load_config(config_path))
    except (DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps({"stream": asdict(stream), "speeds": asdict(speeds)} | asdict(found)))
        return
    click.echo("\n".join(lines(found, stream, speeds.worker)))


commands: list[click.Command] = [size]


def lines(found: Sized, stream: Stream, speed: float) -> list[str]:
    """Return what a person wants to know, a line each."""
    rows = [
        ("partitions", f"{found.partitions}"),
        ("workers", f"{found.workers} (one core each, at {stream.load:.0%} of it)"),
        ("memory of a worker", format_bytes(found.worker_bytes)),
        ("callwatch.events", f"{format_bytes(found.events_topic_bytes)} on all brokers"),
        ("callwatch.state", f"{format_bytes(found.state_topic_bytes)} on all brokers"),
        ("after an hour away", f"level again in {format_duration(found.catch_up_s)}"),
    ]
    width = max(len(name) for name, _ in rows)
    told = [f"{name:<{width}}  {value}" for name, value in rows]
    told.append(
        f"reckoned with {format_count(int(speed), 'event')} per CPU-second of a worker; "
        "--worker-speed takes yours"
    )
    if not found.busiest_fits:
        told.append(
            f"the busiest sender is too much for one worker: at most "
            f"{format_count(int(found.busiest_limit), 'event')} a second of one sender; "
            "split it into several senders"
        )
    return told
