"""What the commands that read events have in common: options, bad lines, progress, counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import click

from alerts.alert import Alert
from alerts.cli_time import Time
from alerts.explain import safe
from detectors.engines.local import BadLine

SHOWN_BAD_LINES = 20


now_option = click.option(
    "--now", type=Time(), help="Refuse events later than 5 minutes after this; default: the clock."
)
until_option = click.option(
    "--until", type=Time(), help="Let time run on to here after the last event."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="End with one JSON object on standard output."
)


class BadLines:
    """Names the first bad lines on standard error, and counts the rest."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, bad: BadLine) -> None:
        """Name a line, or count it."""
        self.count += 1
        if self.count <= SHOWN_BAD_LINES:
            click.echo(safe(str(bad), 400), err=True)

    def close(self) -> None:
        """Say how many more there were."""
        if self.count > SHOWN_BAD_LINES:
            click.echo(f"... and {self.count - SHOWN_BAD_LINES:,} more bad lines", err=True)


class Progress:
    """A line on the terminal that is written over."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, phase: str, done: int) -> None:
        """Say how far it is, five times a second."""
        if time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            click.echo(f"\r{f'{phase}: {done:,} events':<40}", nl=False, err=True)


def by_detector(alerts: Iterable[Alert]) -> dict[str, dict[str, int]]:
    """Count alerts by detector and severity."""
    found: dict[str, dict[str, int]] = {}
    for (detector, severity), n in sorted(
        Counter((a.detector, a.severity) for a in alerts).items()
    ):
        found.setdefault(detector, {})[severity.value] = n
    return found
