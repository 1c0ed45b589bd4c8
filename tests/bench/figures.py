"""A measured figure, its unit, what it is held against, and the ratio."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

OUT = Path("out/bench")


@dataclass(frozen=True)
class Figure:
    """One line of the bench."""

    name: str
    value: float
    unit: str
    baseline: str | None = None
    baseline_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """The figure divided by its baseline."""
        return self.value / self.baseline_value if self.baseline_value else None

    def record(self) -> dict[str, Any]:
        """Return the figure as a JSON-able value."""
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_value": rounded(self.baseline_value),
            "ratio": rounded(self.ratio),
        }

    def line(self) -> str:
        """Return the figure as a line for people."""
        text = f"{self.name:44} {rounded(self.value):>12,} {self.unit}"
        if self.ratio is not None:
            text += f" = {rounded(self.ratio)} x {self.baseline} ({rounded(self.baseline_value):,})"
        return text


def rounded(value: float | None) -> Any:
    """Return four significant digits."""
    if value is None:
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() and abs(short) >= 10 else short


def per_second(count: int, act: Callable[[], object], runs: int = 3) -> float:
    """How many a CPU-second, the best of some runs: what else the machine does only slows them."""
    seconds = []
    for _ in range(runs):
        started = process_time()
        act()
        seconds.append(process_time() - started)
    return count / min(seconds)


def write(name: str, figures: list[Figure]) -> None:
    """Write figures to ``out/bench/NAME.json`` and print them."""
    OUT.mkdir(parents=True, exist_ok=True)
    machine = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    record = {"machine": machine, "figures": [figure.record() for figure in figures]}
    (OUT / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    for figure in figures:
        print(figure.line(), flush=True)  # noqa: T201 -- this is the bench's output
