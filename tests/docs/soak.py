"""The last result of `make soak`.

`python -m tests.docs.soak` keeps out/soak.json, without its samples, in docs/soak.json.
"""

import json
from pathlib import Path
from typing import Any

from tests.docs.kept import Table, keep, place

KEPT = Path("docs/soak.json")


def figures(path: Path, table: Table) -> str:
    """What was run, and the figures; a sentence where none are kept."""
    if not path.exists():
        return "No result is kept for this version; `make soak` measures yours."
    kept = json.loads(path.read_text("utf-8"))
    run = kept["run"]
    said = (
        f"{run['minutes']:g} minutes on {kept['day']}, {run['rate']:,.0f} events a second, "
        f"{run['senders']:,} senders, {run['partitions']} partitions; {place(kept['machine'])}."
    )
    if kept.get("remark"):
        said += f" {kept['remark']}"
    return f"{said}\n\n" + table("figure | measured | allowed | held | more", rows(kept))


def rows(kept: dict[str, Any]) -> list[list[str]]:
    """One row for each figure."""
    return [
        [
            one["name"],
            f"{one['value']:,.2f}".removesuffix(".00") + f" {one['unit']}".rstrip(),
            one["allowed"],
            "**no**" if one["fault"] else "yes",
            one["note"] or "-",
        ]
        for one in kept["figures"]
    ]


if __name__ == "__main__":
    found = json.loads(Path("out/soak.json").read_text("utf-8"))
    del found["samples"]
    keep(KEPT, found)
