"""Plays one case and keeps what it gave."""

import statistics
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from detectors.config import Config
from tests.chaos.cases import CASES, Play, Restartable
from tests.chaos.stream import Pace, Stream
from tests.integration.pipeline import Pipeline


@dataclass
class Result:
    """A case: what it was, what was measured, and how it differs from an undisturbed run."""

    case: str
    what: str
    times: int
    events: int
    alerts: int = 0
    repeats: int = 0
    told: int = 0
    seconds: float = 0.0
    measured: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As it stands in out/chaos.json."""
        return asdict(self)


def play(
    case: str,
    servers: str,
    folder: Path,
    config: Config,
    stream: Stream,
    *,
    times: int,
    seed: int,
    pace: Pace,
    broker: Restartable | None = None,
) -> Result:
    """Play a case on empty topics; whatever goes wrong in it is one of its differences."""
    folder.mkdir(parents=True, exist_ok=True)
    what = (CASES[case].__doc__ or "").strip()
    result = Result(case, what, times, len(stream))
    begin = monotonic()
    with Pipeline(servers, folder) as pipeline:
        playing = Play(pipeline, config, stream, pace, Random(f"{seed}/{case}"), times, broker)
        try:
            verdict = CASES[case](playing)
            result.alerts, result.repeats, result.told = (
                verdict.alerts,
                verdict.repeats,
                verdict.told,
            )
        except Exception as error:  # it is the case's result
            (folder / "error.txt").write_text(traceback.format_exc())
            playing.differences.append(f"not finished: {str(error)[:2000]}")
    result.seconds = round(monotonic() - begin, 1)
    result.notes, result.differences = playing.notes, playing.differences
    result.measured = {name: _figures(found) for name, found in playing.measured.items()}
    return result


def _figures(found: list[float]) -> dict[str, float]:
    return {
        "count": len(found),
        "median": round(statistics.median(found), 2),
        "max": round(max(found), 2),
    }
