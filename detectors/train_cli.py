"""``callwatch train``: make a model of usual behaviour from archived events."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from alerts.cli_time import Time
from alerts.explain import format_count, safe
from detectors.cli import _refuse_overwriting, _replace
from detectors.cli_parts import BadLines, Progress
from detectors.config_file import load_config
from detectors.errors import DetectorError
from detectors.options import profiles_option
from detectors.training import collect, fit
from ingest.errors import IngestError
from ingest.sources import read_pieces
from models.store import GRAVEST, StoredModel, to_bytes


@click.command()
@click.argument("events", nargs=-1, required=True, metavar="EVENTS...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Write the model here.",
)
@click.option(
    "--false-rate",
    type=click.FloatRange(1e-6, 0.1),
    default=0.001,
    show_default=True,
    help="Share of held-out windows (of an hour or more) that may be outliers.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    show_default=True,
    help="The same events and seed give the same model.",
)
@click.option(
    "--at-most",
    type=click.Choice(GRAVEST),
    default="low",
    show_default=True,
    help="How severe its outliers may be: info for a model that nobody has tried yet.",
)
@click.option("--note", default="", help="A line for the model card.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML)."
)
@click.option("--inventory", type=click.Path(path_type=Path), help="Registered senders (TOML).")
@profiles_option
@click.option("--now", type=Time(), help="As of `callwatch detect`.")
@click.option("--json", "as_json", is_flag=True, help="Print the model card as one JSON object.")
def train(
    events: tuple[str, ...],
    out: Path,
    false_rate: float,
    seed: int,
    at_most: str,
    note: str,
    config_path: Path | None,
    inventory: Path | None,
    profiles: Path | None,
    now: int | None,
    as_json: bool,
) -> None:
    """Train the model of `behaviour-outlier` on EVENTS, as of `callwatch detect`.

    Give weeks without known attacks, of as many senders as there are. Name the file under
    [detectors.behaviour-outlier] of a configuration as `model`.
    """
    _refuse_overwriting(str(out), None, [*events, config_path, inventory, profiles])
    report_bad = BadLines()
    try:
        windows = collect(
            read_pieces(events),
            config=load_config(
                config_path,
                inventory=inventory,
                profiles=profiles,
            ),
            now_us=time.time_ns() // 1000 if now is None else now,
            on_bad=report_bad,
            on_progress=Progress() if sys.stderr.isatty() else None,
        )
        report_bad.close()
        names = [Path(name).name for name in events]
        model = fit(
            windows,
            seed=seed,
            false_rate=false_rate,
            gravest=1 + GRAVEST.index(at_most),
            trained_on=names,
            note=note,
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        _replace(out, to_bytes(model))
    except (DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        msg = f"{error.filename or '-'}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    if as_json:
        click.echo(json.dumps(record(model)))
        return
    click.echo("\n".join(lines(model)))


commands: list[click.Command] = [train]


def record(model: StoredModel) -> dict[str, object]:
    """Return the model card as a JSON-able value."""
    numbers = {"trees": int(model.record["trees"]), "limit": float(model.record["limit"])}
    at_most = GRAVEST[int(model.record["gravest"]) - 1]
    return {"hash": model.hash, **numbers, "at_most": at_most, **asdict(model.card)}


def lines(model: StoredModel) -> list[str]:
    """Return the model card for people."""
    card = model.card
    trees, limit = int(model.record["trees"]), float(model.record["limit"])
    events, senders = format_count(card.events, "event"), format_count(card.senders, "sender")
    is_, wanted = 100.0 * card.held_out_rate, 100.0 * card.false_rate
    versions = ", ".join(f"{name} {one}" for name, one in sorted(card.versions.items()))
    at_most = GRAVEST[int(model.record["gravest"]) - 1]
    files = safe(", ".join(card.trained_on), 200)
    return [
        f"model {model.hash}: {trees} trees, limit {limit:.3f}, at most {at_most}",
        f"trained on {events} of {senders}, {card.since[:10]} to {card.until[:10]}: {files}",
        f"{card.windows:,} windows fitted",
        f"{card.held_out:,} later ones: {is_:.3g} % outliers ({wanted:.3g} % wanted)",
        f"seed {card.seed}; {versions}",
    ]
