"""``callwatch priors``: fit what new senders lean on from archived events."""

from __future__ import annotations

from pathlib import Path

import click

from detectors.errors import ConfigError
from detectors.priors import Fit, load_priors, text_of
from ingest.errors import IngestError
from ingest.sources import read_events


@click.command()
@click.argument("events", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write."
)
def priors(events: tuple[Path, ...], out: Path) -> None:
    """Fit priors of new senders from archived EVENTS (JSON lines, gzip, Parquet or -).

    Failure shares by provider and sizes by event type, from providers with five senders or more.
    The configuration takes them by `priors = "FILE"`.
    """
    fit = Fit()
    try:
        for lines in read_events(events):
            view = memoryview(lines.buffer)
            fit.add(view[start:end] for start, end in lines.spans.tolist())
        found = fit.priors()
        out.write_text(text_of(found, fit.events), encoding="utf-8")
        load_priors(out)
    except (IngestError, ConfigError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        msg = f"{out}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    sizes = sum(len(prior.sizes) for prior in found.values())
    click.echo(
        f"{out}: {len(found)} providers, {sizes} event types, from {fit.events:,} events", err=True
    )


commands: list[click.Command] = [priors]
