"""The tables of detection quality, from the kept result of `python -m tests.bench.quality`."""

import json
from pathlib import Path
from typing import Any

from detectors.benchmark.evaluate_view import faults_of, pair_of, summary_lines
from tests.docs.kept import Table

KEPT = Path("docs/quality.json")


def tables(path: Path, table: Table) -> str:
    """Scenarios, figures over all of them, and other methods beside; a sentence without figures."""
    if not path.exists():
        return "No figures are kept for this version; `callwatch evaluate` tells yours."
    kept = json.loads(path.read_text("utf-8"))
    seeds = f"Seeds of each scenario: {kept['seeds']}."
    return "\n\n".join(
        [
            seeds,
            table("scenario | good runs | found in time | delay | forbidden or missed", rows(kept)),
            "\n".join(f"- {line}" for line in summary_lines(kept)),
            "On the same events, asked only for what each looks at, and for no name of it:",
            table(
                "method | looks at | found in time | runs without a forbidden alert | false alerts "
                "per sender-day | alerts per incident",
                [method(one) for one in kept["methods"]],
            ),
        ]
    )


def rows(kept: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each scenario."""
    found = []
    for one in kept["scenarios"]:
        runs = one["runs"]
        in_time = "-" if one["caught_runs"] is None else f"{one['caught_runs']} of {runs}"
        delays = [
            f"call {pair_of(e['delay_events'], '')}, {pair_of(e['delay_s'], 's')}"
            for e in one["expect"]
            if e["delay_s"]
        ]
        found.append(
            (
                one["title"], f"{one['good_runs']} of {runs}", in_time,
                "; ".join(delays) or "-", "; ".join(faults_of(one)) or "-",
            )
        )  # fmt: skip
    return found


def method(one: dict[str, Any]) -> tuple[str, ...]:
    """One row for each method."""
    per_incident = one["alerts_per_incident"]
    return (
        one["name"],
        ", ".join(f"`{name}`" for name in one["looks_at"]) or "everything",
        f"{one['in_time']} of {one['asked']} ({one['in_time'] / max(one['asked'], 1):.0%})",
        f"{one['quiet_runs']} of {one['runs']}",
        f"{one['false_alerts_per_sender_day']:.4f}",
        "-" if per_incident is None else f"{per_incident:g}",
    )
