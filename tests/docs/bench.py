"""The table of speed and memory in README.md, from kept results of `make bench`.

`python -m tests.docs.bench` keeps the figures of out/bench in docs/bench.json, and the worker's
speed where `callwatch size` reads it.
"""

import json
from pathlib import Path
from typing import Any

from tests.docs.kept import keep, place

KEPT = Path("docs/bench.json")
SPEEDS = Path("detectors/speeds.json")
WORKER = "worker on Kafka, all detectors"


def figures(path: Path) -> str:
    """The kept figures as a table; a sentence where none are kept."""
    if not path.exists():
        return "No figures are kept for this version; `make bench` measures yours."
    kept = json.loads(path.read_text("utf-8"))
    rows = ["| figure | measured | beside | ratio |", "|---|---|---|---|"]
    for one in kept["figures"]:
        beside = one.get("baseline") or ""
        if one.get("baseline_value") is not None:
            beside = f"{beside}: {_number(one['baseline_value'])} {one['unit']}"
        ratio = f"{one['ratio']:.3g}" if one.get("ratio") is not None else ""
        rows.append(
            f"| {one['name']} | {_number(one['value'])} {one['unit']} | {beside} | {ratio} |"
        )
    said = (
        f"Measured on {place(kept['machine'])}; "
        "the worker, its limit and the core as the best of three runs."
    )
    return "\n".join([said, "", *rows])


def kept(folder: Path) -> dict[str, Any]:
    """The figures of all files of a bench as one record."""
    parts = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    return {
        "machine": parts[0]["machine"],
        "figures": [figure for part in parts for figure in part["figures"]],
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    found = kept(Path("out/bench"))
    keep(KEPT, found)
    worker = next(one["value"] for one in found["figures"] if one["name"] == WORKER)
    speeds = json.loads(SPEEDS.read_text("utf-8")) | {"worker": worker}
    SPEEDS.write_text(json.dumps(speeds) + "\n", "utf-8")
