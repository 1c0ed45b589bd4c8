"""What a flood of sender names did, from `python -m tests.bench.cardinality`."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

KEPT = Path("docs/cardinality.json")
Table = Callable[[str, Iterable[Iterable[object]]], str]


def told(path: Path, table: Table) -> str:
    """The flood beside the same hours without it; a sentence where nothing is kept."""
    if not path.exists():
        return "No figures are kept; `python -m tests.bench.cardinality` measures yours."
    runs = json.loads(path.read_text("utf-8"))
    lines = {
        "new names": [f"{one['names']:,}" for one in runs],
        "state": [f"{one['bytes'] / 1e6:.1f} MB" for one in runs],
        "senders evicted": [f"{one['evicted'].get('sender', 0):,}" for one in runs],
        "calls known of a real sender": [f"{one['events_of_a_real_sender']:,}" for one in runs],
        "alerts about the real senders": [
            ", ".join(f"`{detector}`: {reason}" for detector, reason, _ in one["about_real"])
            for one in runs
        ],
        "the same, each at the same moment": [
            "-" if one is runs[0] else _yes(one["about_real"] == runs[0]["about_real"])
            for one in runs
        ],
        "other alerts": [
            ", ".join(f"`{detector}`: {reason} ({severity})"
                      for detector, reason, severity, _ in one["others"]) or "none"
            for one in runs
        ],
        "CPU-seconds": [f"{one['seconds']:.0f}" for one in runs],
    }  # fmt: skip
    return table(" | without | with the flood", ([name, *cells] for name, cells in lines.items()))


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
