"""``callwatch backtest``: what a configuration would have said of archived events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alerts.alert import Alert, Severity
from alerts.explain import format_count, safe
from detectors.cli_parts import BadLines, Progress, json_option, now_option, until_option
from detectors.config import Config
from detectors.config_file import load_config
from detectors.engines.local import run_local
from detectors.errors import DetectorError
from detectors.options import profiles_option
from ingest.control import control_key
from ingest.errors import IngestError
from ingest.inventory import load_inventory
from ingest.sources import read_pieces

if TYPE_CHECKING:
    import pandas as pd

    from detectors.backtest import Summary

DEFAULTS = "defaults"
SHOWN = 50
"""Differences of each kind that are shown; ``--json`` has all."""
_TITLES = {"a": "only with --config", "b": "only with --against", "both": "told differently"}


@dataclass(frozen=True)
class Played:
    """What one configuration said."""

    alerts: list[Alert]
    summary: Summary
    warnings: list[str]


@click.command()
@click.argument("events", nargs=-1, required=True, metavar="EVENTS...")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Configuration to try (TOML); the defaults without.",
)
@click.option(
    "--against",
    metavar="FILE|defaults",
    help="Another configuration (TOML), or the word `defaults`: say what differs.",
)
@click.option("--inventory", type=click.Path(path_type=Path), help="Registered senders (TOML).")
@profiles_option
@now_option
@until_option
@json_option
@click.option(
    "--fail-on",
    type=click.Choice([s.value for s in Severity]),
    help="Exit with 3 when an alert is so severe that --against does not give, or not so severe.",
)
def backtest(
    events: tuple[str, ...],
    config_path: Path | None,
    against: str | None,
    inventory: Path | None,
    profiles: Path | None,
    now: int | None,
    until: int | None,
    as_json: bool,
    fail_on: str | None,
) -> None:
    """Play archived EVENTS under a configuration: JSON lines, gzip, Parquet, or -.

    Counts alerts by detector and severity and for each sender and day; --against names what another
    configuration says differently.
    """
    if against is not None and "-" in events:
        msg = "--against reads EVENTS twice: allowed are files (got -)"
        raise click.UsageError(msg)
    last = time.time_ns() // 1000 if now is None else now
    try:
        registered = load_inventory(inventory) if inventory else None
        chosen = [load_config(config_path, inventory=registered, profiles=profiles)]
        if against is not None:
            path = None if against == DEFAULTS else Path(against)
            chosen.append(load_config(path, inventory=registered, profiles=profiles))
        for config in chosen:
            config.control_key = control_key()
        played = [
            _play(config, events, last, until, first=n == 0) for n, config in enumerate(chosen)
        ]
    except (DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        msg = f"{error.filename or '-'}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    _tell(played, as_json=as_json)
    if fail_on is not None and any(one >= Severity(fail_on) for one in _worse(played)):
        raise SystemExit(3)


commands: list[click.Command] = [backtest]


def _play(
    config: Config, events: tuple[str, ...], now: int, until: int | None, *, first: bool
) -> Played:
    """Run one configuration; bad lines are the same for all of them, and named once."""
    from detectors.backtest import summary

    bad = BadLines()
    result = run_local(
        read_pieces(events),
        config,
        now_us=now,
        until_us=until,
        on_bad=bad if first else None,
        on_progress=Progress() if sys.stderr.isatty() else None,
    )
    bad.close()
    return Played(result.alerts, summary(result, config), result.warnings)


def _difference(played: list[Played]) -> pd.DataFrame:
    from detectors.backtest import diff, told

    return diff(*(told(one.alerts) for one in played))


def _worse(played: list[Played]) -> list[Severity]:
    """Return the severities of what the first says and the second does not, or milder."""
    if len(played) == 1:
        return [one.severity for one in played[0].alerts if not one.shadow]
    found = _difference(played)
    rows = found[found["only"] != "b"].to_dict("records")
    return [
        Severity(row["severity"])
        for row in rows
        if row["only"] == "a" or Severity(row["severity"]) > Severity(row["severity_b"])
    ]


def _tell(played: list[Played], *, as_json: bool) -> None:
    names = ("config", "against")
    if as_json:
        record: dict[str, Any] = {
            name: one.summary.record() | {"warnings": [safe(text, 300) for text in one.warnings]}
            for name, one in zip(names, played, strict=False)
        }
        if len(played) > 1:
            found = _difference(played)
            rows = json.loads(found.to_json(orient="records", date_format="iso", date_unit="us"))
            record["difference"] = [
                {name: value for name, value in row.items() if value is not None} for row in rows
            ]
        click.echo(json.dumps(record))
        return
    for text in dict.fromkeys(text for one in played for text in one.warnings):
        click.echo(f"warning: {safe(text, 300)}", err=True)
    for name, one in zip(names, played, strict=False):
        click.echo("\n".join(lines(f"--{name}", one.summary)))
    if len(played) > 1:
        click.echo("\n".join(difference_lines(_difference(played))))


def lines(title: str, summary: Summary) -> list[str]:
    """Return what one configuration said, for people."""
    found = [f"{title} ({summary.config}): {summary.read:,} read, {summary.scored:,} scored, "]
    found[0] += f"{summary.rejected:,} rejected, " if summary.rejected else ""
    found[0] += f"{summary.duplicates:,} published twice, " if summary.duplicates else ""
    found[0] += (
        f"{format_count(summary.reports, 'report')} of receivers, " if summary.reports else ""
    )
    found[0] += f"{summary.newer_schema:,} of a newer schema, " if summary.newer_schema else ""
    found[0] += f"{format_count(summary.senders, 'sender')}, {summary.sender_days:,.0f} sender-days"
    for (detector, severity), n in sorted(summary.alerts.items()):
        rate = n / summary.sender_days if summary.sender_days else 0.0
        found.append(f"  {detector:24} {severity:9} {n:>8,} {rate:>12.4f} per sender-day")
    total = sum(summary.alerts.values())
    apart = f", {summary.shadow:,} in shadow mode" if summary.shadow else ""
    rate = summary.per_sender_day
    found.append(f"  {'all':34} {total:>8,} {rate:>12.4f} per sender-day{apart}")
    return found


def difference_lines(found: pd.DataFrame) -> list[str]:
    """Return what two configurations say differently, for people."""
    if found.empty:
        return ["no difference"]
    told = []
    for only, title in _TITLES.items():
        rows = found[found["only"] == only]
        if len(rows):
            told.append(f"{title}: {len(rows):,}")
            told += [f"  {_line(row)}" for row in rows.head(SHOWN).to_dict("records")]
        if len(rows) > SHOWN:
            told.append(f"  ... and {len(rows) - SHOWN:,} more (--json has all)")
    return told


def _line(row: Mapping[Any, Any]) -> str:
    """Return a difference as a line; nothing in it can move a terminal's cursor."""
    both = row["only"] == "both"
    was = [
        f"{name} {row[f'{name}_b']}"
        for name in ("severity", "reason")
        if both and row[name] != row[f"{name}_b"]
    ]
    if both and row["opened_at"] != row["opened_at_b"]:
        was.append(f"opened {row['opened_at_b'].isoformat()[:19]}")
    who = row["sender"] or row["source"] or "-"
    head = f"{row['opened_at'].isoformat()[:19]} {row['severity']:8} {row['detector']} "
    text = f"{head}{row['reason']}: {safe(str(who), 128)}"
    return f"{text} (with --against: {', '.join(was)})" if was else text
