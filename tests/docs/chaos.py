"""The last result of `make chaos`.

`python -m tests.docs.chaos` keeps out/chaos.json in docs/chaos.json.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEPT = Path("docs/chaos.json")
Table = Callable[[str, Any], str]


def cases(path: Path, table: Table) -> str:
    """What was played, and whether anything differed; a sentence where nothing is kept."""
    if not path.exists():
        return "No result is kept for this version; `make chaos` plays it."
    kept = json.loads(path.read_text("utf-8"))
    machine = kept["machine"]
    said = f"{machine['cpus']} cores, {machine['machine']}, Python {machine['python']}."
    heads = "what is done | events | alerts, rows | sent twice | seconds, median and most"
    return f"{said}\n\n" + table(heads, map(row, kept["cases"]))


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
    found = json.loads(Path("out/chaos.json").read_text("utf-8"))
    KEPT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
