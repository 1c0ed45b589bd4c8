"""What the pages of kept results have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Table = Callable[[str, Any], str]
"""Heads, separated by bars, and rows: as Markdown."""


def place(machine: Mapping[str, Any]) -> str:
    """Where it was measured."""
    return f"{machine['cpus']} cores, {machine['machine']}, Python {machine['python']}"


def keep(path: Path, found: Any) -> None:
    """Write a result where the pages read it."""
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
