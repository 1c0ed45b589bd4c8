"""Times on the command line."""

from __future__ import annotations

from typing import Any

import click

from alerts.alert import from_rfc3339
from alerts.explain import safe


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
