"""``callwatch inventory``: which senders a state knows, and how well."""

from __future__ import annotations

import json
from pathlib import Path

import click

from alerts.explain import format_duration, format_quantity, safe
from detectors.cli import restored
from detectors.config_file import load_config
from detectors.core import SenderBaselines
from detectors.errors import DetectorError
from detectors.options import profiles_option
from ingest.errors import IngestError
from ingest.inventory import load_inventory


@click.command()
@click.argument("state", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML)."
)
@click.option("--inventory", type=click.Path(path_type=Path), help="Registered senders (TOML).")
@profiles_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sender and line.")
def inventory(
    state: Path,
    config_path: Path | None,
    inventory: Path | None,
    profiles: Path | None,
    as_json: bool,
) -> None:
    """List the senders of a STATE that `callwatch detect --state` kept.

    For each: how old, how busy, and whether each detector's baseline is cold, warming or warm.
    """
    try:
        registered = load_inventory(inventory) if inventory else None
        config = load_config(config_path, inventory=registered, profiles=profiles)
        known = restored(config, state)
    except (DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        msg = f"{state}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    for sender in (each for core in known.cores for each in core.baselines()):
        click.echo(json.dumps(record(sender)) if as_json else "\n".join(lines(sender)))


commands: list[click.Command] = [inventory]


def record(sender: SenderBaselines) -> dict[str, object]:
    """Return a sender as a JSON-able value."""
    return {
        "sender": sender.sender,
        "provider": sender.provider,
        "events": sender.events,
        "age_days": round(sender.age_days, 3),
        "open_incidents": sender.open_incidents,
        "baselines": {
            detector: {"state": known.state}
            | {name: round(q.value, 6) for name, q in known.numbers.items()}
            for detector, known in sender.baselines.items()
        },
    }


def lines(sender: SenderBaselines) -> list[str]:
    """Return a sender for people: a line of its own, and one for each detector."""
    age = format_duration(max(sender.age_days, 0.0) * 86_400)
    found = [f"{safe(sender.sender)}  {sender.provider}  {sender.events:,} events in {age}"]
    for detector, known in sender.baselines.items():
        numbers = ", ".join(
            f"{name.replace('_', ' ')} {format_quantity(q.value, q.unit)}"
            for name, q in known.numbers.items()
        )
        mark = "  (incident open)" if detector in sender.open_incidents else ""
        found.append(f"  {detector:24} {known.state:8} {numbers}{mark}".rstrip())
    return found
