"""The table of speed and memory in README.md, from kept results of `make bench`.

`python -m tests.docs.bench` keeps the figures of out/bench in docs/bench.json, and speeds where
`callwatch size` reads them.
"""

import json
from pathlib import Path
from typing import Any

from detectors.engines.faust_transport import Fetching
from tests.bench import delay, recovery
from tests.bench.engine import REBUILD
from tests.bench.figures import rounded
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
        "the worker, its rebuild, its limit and the core as the best of three runs."
    )
    return "\n".join([said, "", *rows])


def kept(folder: Path) -> dict[str, Any]:
    """The figures of all files of a bench as one record."""
    parts = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    return {
        "machine": parts[0]["machine"],
        "figures": [figure for part in parts for figure in part["figures"]],
    }


def speeds(found: dict[str, Any]) -> dict[str, float]:
    """What `callwatch size` reckons with, of a bench's figures.

    An answer's cost is what a worker takes at a pace beside the events themselves, of so many
    answers for each of its partitions as brokers give then.
    """
    named = {one["name"]: one["value"] for one in found["figures"]}
    worker = named[WORKER]
    share = named[f"worker, at {delay.PER_SECOND:,} events a second"] / 100
    answers = delay.PARTITIONS / Fetching().gather_seconds
    return {
        "worker": worker,
        "rebuild": named[REBUILD],
        "answer_s": rounded((share - delay.PER_SECOND / worker) / answers),
        "restored_bytes": rounded(
            1e6 * named["states on the topic"] / named[f"restored, {recovery.WHAT}"]
        ),
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    found = kept(Path("out/bench"))
    keep(KEPT, found)
    known = json.loads(SPEEDS.read_text("utf-8"))
    SPEEDS.write_text(json.dumps(known | speeds(found)) + "\n", "utf-8")
