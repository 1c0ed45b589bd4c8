"""What the commands that read events have in common: times, bad lines, progress, counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from alerts.alert import Alert, from_rfc3339
from alerts.explain import safe
from detectors.engines.local import BadLine

SHOWN_BAD_LINES = 20


class Time(click.ParamType):
    """A time as RFC 3339, or a date: microseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return a time in microseconds."""
        if isinstance(value, int):
            return value
        try:
            return from_rfc3339(value if "T" in value else f"{value}T00:00:00Z")
        except ValueError:
            self.fail(f"must be RFC 3339 or a date (got {safe(str(value))!r})", param, ctx)


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
            click.echo(f"\r{phase}: {done:,} events ", nl=False, err=True)


def by_detector(alerts: Iterable[Alert]) -> dict[str, dict[str, int]]:
    """Count alerts by detector and severity."""
    found: dict[str, dict[str, int]] = {}
    for (detector, severity), n in sorted(
        Counter((a.detector, a.severity) for a in alerts).items()
    ):
        found.setdefault(detector, {})[severity.value] = n
    return found
