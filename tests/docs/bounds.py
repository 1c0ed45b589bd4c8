"""The tables of what single senders' streams show, from `python -m tests.bench.bounds`."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

KEPT = Path("docs/bounds.json")
Table = Callable[[str, Iterable[Iterable[object]]], str]
NONE = "No figures are kept for this version; `python -m tests.bench.bounds` measures yours."


def sizes(path: Path, table: Table) -> str:
    """How many payloads of ten times the usual size are found at the first delivery."""
    if not path.exists():
        return NONE
    kept = json.loads(path.read_text("utf-8"))["sizes"]
    learned = " | ".join(f"{n:,} sizes known" for n in kept["learned"])
    return table(
        f"log-spread | {learned} | false alarms in 10,000",
        (
            [
                f"{row['spread']:g}",
                *(f"{found:.1%} ({best:.1%})"
                  for found, best in zip(row["found"], row["possible"], strict=True)),
                f"{row['alarms_in_10000']:.2f}",
            ]
            for row in kept["rows"]
        ),
    )  # fmt: skip


def spikes(path: Path, table: Table) -> str:
    """How soon a spike is found, and how seldom one is found by chance."""
    if not path.exists():
        return NONE
    kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
    soon = table(
        "usual failures | calls a day | all fail: found at call | half fail: found at call",
        (
            [f"{row['usual']:.1%}", f"{row['per_day']:,}", f"{row['at_1']:g}", f"{row['at_0.5']:g}"]
            for row in kept["spikes"]
        ),
    )
    seldom = table(
        "usual failures | calls a day | false alarms in 1,000 sender-days",
        (
            [f"{row['usual']:.1%}", f"{row['per_day']:,.0f}", f"{row['in_1000_days']:.2f}"]
            for row in kept["quiet"]
        ),
    )
    return f"{soon}\n\n{seldom}"
