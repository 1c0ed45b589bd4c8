"""The last result of `make chaos`.

`python -m tests.docs.chaos` keeps out/chaos.json in docs/chaos.json.
"""

import json
from pathlib import Path
from typing import Any

from tests.docs.kept import Table, keep, place

KEPT = Path("docs/chaos.json")


def cases(path: Path, table: Table) -> str:
    """What was played, and whether anything differed; a sentence where nothing is kept."""
    if not path.exists():
        return "No result is kept for this version; `make chaos` plays it."
    kept = json.loads(path.read_text("utf-8"))
    heads = "what is done | events | alerts, rows | sent twice | seconds, median and most"
    return f"{place(kept['machine'])}.\n\n" + table(heads, map(row, kept["cases"]))


def row(case: dict[str, Any]) -> list[str]:
    """One case."""
    measured = [
        f"{name}: {each['median']:g}, {each['max']:g} ({each['count']:g} times)"
        if each["count"] > 1
        else f"{name}: {each['max']:g}"
        for name, each in case["measured"].items()
    ]
    return [
        case["what"].splitlines()[0],
        f"{case['events']:,}",
        "**differ**" if case["differences"] else f"{case['alerts']:,} alerts, the same",
        f"{case['repeats']:,}",
        "; ".join(measured) or "-",
    ]


if __name__ == "__main__":
    keep(KEPT, json.loads(Path("out/chaos.json").read_text("utf-8")))
