"""Trains the model of ``behaviour-outlier`` on archived events.

The windows come out of the detector itself, walked over the events as it always is: what a model is
trained on is, to the last bit, what it will be asked about. An isolation forest is fitted to the
earlier three quarters of the windows; the limit is set on the later quarter, which the forest has
not seen, for a stated share of outliers among them. Scikit-learn is imported here and nowhere in
detection.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from detectors.base import FINDING, LOW
from detectors.config import Config
from detectors.core import Core
from detectors.engines.local import BadLine, LocalResult, Progress, run_local
from detectors.errors import DetectorError
from detectors.registry import detectors_found
from detectors.rules import behaviour_outlier
from detectors.shared import Partitions
from ingest.sources import Lines
from ingest.tables import Table
from models import features, forest
from models.store import ModelCard, StoredModel

FITTED = 0.75
LEAST_WINDOWS = 400
"""Below, a quarter of them is too few to set any limit by."""
HEADROOM = 0.01
"""Above the highest score held out, where the stated share is less than one of those windows."""


class TrainingError(DetectorError):
    """No model can be made of these events."""


@dataclass
class Windows:
    """What the detector saw, a row for each window that it would have judged."""

    numbers: NDArray[np.float32]
    """Deviations of the numbers of ``features.NAMES``; steps of 1/256, so 32 bits hold them."""
    when: NDArray[np.int64]
    """Ends of the windows, microseconds, ascending."""
    sender: NDArray[np.int64]
    """Which sender, as a number."""
    run: LocalResult = field(default_factory=LocalResult)

    def __len__(self) -> int:
        return len(self.when)


class _Collector(Core):
    """A core that keeps the windows that the detector tells of, and raises no alert."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.found: list[tuple[int, int, tuple[float, ...]]] = []

    def _collect(self, *arguments: Any) -> None:
        records = arguments[2]
        for record in records[records["code"] == FINDING]:
            numbers = tuple(float(record[name]) for name in features.NAMES)
            self.found.append((int(record["when"]), int(record["position"]), numbers))


def collect(
    lines: Iterable[Lines | Table],
    *,
    config: Config | None = None,
    now_us: int | None = None,
    on_bad: Callable[[BadLine], None] | None = None,
    on_progress: Progress | None = None,
) -> Windows:
    """Walk the detector over events and return its windows, in order of time."""
    usual = config or Config()
    record = np.zeros((), forest.MODEL)
    record["trees"] = forest.COLLECT
    others = frozenset(d.id for d in detectors_found()) - {behaviour_outlier.ID}
    alone = Config(
        usual.settings,
        stream=usual.stream,
        overrides=usual.overrides,
        priors=usual.priors,
        inventory=usual.inventory,
        profiles=usual.profiles,
        disabled=others,
        models={behaviour_outlier.ID: StoredModel(record)},
    )
    state = Partitions(alone, 1)
    collector = _Collector(alone)
    state.cores = [collector]
    run = run_local(
        lines, alone, state=state, now_us=now_us, on_bad=on_bad, on_progress=on_progress
    )
    found = sorted(collector.found)
    return Windows(
        np.array([numbers for _, _, numbers in found], np.float32).reshape(-1, features.COUNT),
        np.array([when for when, _, _ in found], np.int64),
        np.array([sender for _, sender, _ in found], np.int64),
        run,
    )


def fit(
    windows: Windows,
    *,
    seed: int,
    false_rate: float,
    gravest: int = LOW,
    trained_on: Sequence[str] = (),
    note: str = "",
) -> StoredModel:
    """Return a model of the windows; TrainingError where there are too few."""
    if len(windows) < LEAST_WINDOWS:
        msg = (
            f"{len(windows)} windows of known senders, where {LEAST_WINDOWS} are needed: "
            "give more days or more senders"
        )
        raise TrainingError(msg)
    # Imported here: it takes longer than all of detection takes to start.
    import sklearn
    from sklearn.ensemble import IsolationForest

    cut = int(FITTED * len(windows))
    estimator = IsolationForest(
        n_estimators=forest.MOST_TREES, max_samples=2**forest.DEPTH, random_state=seed
    )
    odd = oddities_of(windows.numbers)
    estimator.fit(odd[:cut])
    record = forest.exported(estimator)
    scores = np.sort(scores_of(odd[cut:], record))[::-1]
    beyond = int(false_rate * len(scores))
    limit = float(np.nextafter(scores[beyond], 1.0)) if beyond else float(scores[0]) + HEADROOM
    record["limit"] = min(limit, 1.0)
    record["gravest"] = gravest
    card = ModelCard(
        trained_on=tuple(trained_on),
        since=to_rfc3339(int(windows.when[0])),
        until=to_rfc3339(int(windows.when[-1])),
        events=windows.run.accepted,
        senders=len(np.unique(windows.sender)),
        windows=cut,
        held_out=len(scores),
        false_rate=false_rate,
        held_out_rate=round(float(np.mean(scores >= record["limit"])), 6),
        seed=seed,
        versions={
            "numpy": np.__version__,
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
        },
        note=note,
    )
    return StoredModel(record, card)


def oddities_of(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``features.oddities`` of many windows."""
    beyond = np.where(np.array(features.IS_SHARE) > 0, numbers, np.abs(numbers)) - 1.0
    return np.maximum(beyond, 0.0).astype(np.float32)


def scores_of(numbers: NDArray[np.float32], record: Any) -> NDArray[np.float64]:
    """Return the scores of many windows, given their oddities, as the detector reckons them."""
    look = record["look"].reshape(-1, forest.NODES)
    value = record["value"].reshape(-1, forest.NODES)
    total = np.zeros(len(numbers))
    rows = np.arange(len(numbers))
    for tree in range(int(record["trees"])):
        node = np.zeros(len(numbers), np.int64)
        for _ in range(forest.DEPTH):
            cut = look[tree, node]
            goes_left = numbers[rows, np.maximum(cut, 0)] <= value[tree, node]
            node = np.where(cut < 0, node, 2 * node + np.where(goes_left, 1, 2))
        total += value[tree, node].astype(np.float64)
    return np.exp2(-total / (int(record["trees"]) * float(record["path"])))
