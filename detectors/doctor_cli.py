"""``callwatch doctor``: what is wrong with a set-up."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from alerts.explain import format_count
from detectors.config import Config
from detectors.config_file import load_config
from detectors.doctor import Grade, Trouble, examine, ranked
from detectors.doctor_machine import asked_for, of_broker, of_machine
from detectors.errors import ConfigError
from detectors.options import profiles_option
from ingest.errors import InventoryError, ProfileError
from ingest.inventory import Inventory, load_inventory
from ingest.profiles import load_profiles


class _Day(click.ParamType):
    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"must be a date such as 2026-11-21 (got {str(value)!r})", param, ctx)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@click.command()
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML)."
)
@click.option("--inventory", type=click.Path(path_type=Path), help="Registered senders (TOML).")
@profiles_option
@click.option(
    "--bootstrap-servers",
    help="Look at these brokers and their topics; else at those of CALLWATCH_KAFKA_*, if set.",
)
@click.option("--now", type=_Day(), help="Judge ages and ends as of this day; default: the clock.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--fail-on",
    type=click.Choice([str(grade) for grade in Grade]),
    help="Exit with 3 when something is so bad.",
)
def doctor(
    *,
    config_path: Path | None,
    inventory: Path | None,
    profiles: Path | None,
    bootstrap_servers: str | None,
    now: datetime | None,
    as_json: bool,
    fail_on: str | None,
) -> None:
    """Say what is wrong with a set-up: old provider facts, gaps in the inventory, the machine.

    One line for each thing to mend, the worst first. Files that cannot be used are found too, and
    the rest is then judged without them.
    """
    looked_at = ["profiles", "configuration", "machine"]
    config, found = _setup(config_path, inventory, profiles)
    usable = not any(trouble.subject == "inventory" for trouble in found)
    if inventory is not None:
        looked_at.append("inventory")
    with_inventory = inventory is not None and usable
    found += examine(config, now or datetime.now(UTC), with_inventory=with_inventory)
    found += of_machine(os.environ)
    if asked_for(bootstrap_servers, os.environ):
        looked_at.append("kafka")
        found += of_broker(bootstrap_servers, os.environ)
    found = ranked(found)
    _tell(found, looked_at, as_json=as_json)
    worst = max((trouble.grade for trouble in found), default=None)
    if fail_on is not None and worst is not None and worst >= Grade[fail_on.upper()]:
        raise SystemExit(3)


commands: list[click.Command] = [doctor]


def _setup(
    config_path: Path | None, inventory: Path | None, profiles: Path | None
) -> tuple[Config, list[Trouble]]:
    """The configuration, without the files that cannot be used; those are findings."""
    found: list[Trouble] = []
    known = Inventory()
    if inventory is not None:
        try:
            known = load_inventory(inventory)
        except InventoryError as error:
            found += [Trouble(Grade.ERROR, "inventory", fault) for fault in error.faults]
    try:
        load_profiles(profiles)
    except ProfileError as error:
        found += _lines("profiles", error)
        profiles = None
    try:
        return load_config(config_path, inventory=known, profiles=profiles), found
    except ConfigError as error:
        found += _lines("configuration", error)
    return load_config(None, inventory=known, profiles=profiles), found


def _lines(subject: str, error: Exception) -> list[Trouble]:
    return [Trouble(Grade.ERROR, subject, line) for line in str(error).splitlines()]


def _tell(found: list[Trouble], looked_at: list[str], *, as_json: bool) -> None:
    counts = Counter(str(trouble.grade) for trouble in found)
    if as_json:
        record = {
            "looked_at": looked_at,
            "counts": {str(grade): counts[str(grade)] for grade in sorted(Grade, reverse=True)},
            "findings": [
                {"grade": str(one.grade), "subject": one.subject, "text": one.text} for one in found
            ],
        }
        click.echo(json.dumps(record))
        return
    for trouble in found:
        click.echo(str(trouble))
    told = ", ".join(
        format_count(counts[str(grade)], str(grade))
        for grade in sorted(Grade, reverse=True)
        if counts[str(grade)]
    )
    click.echo(f"looked at {', '.join(looked_at)}: {told or 'all is well'}", err=True)
