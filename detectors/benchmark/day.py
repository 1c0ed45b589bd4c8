"""The labelled day: a fleet's benign history at its usual rates, then attacks and traps."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.benchmark.arrivals import DAY, HOUR, Span
from detectors.benchmark.columns import Rows, in_order
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.labels import Label
from detectors.benchmark.staged_attacks import ATTACKS
from detectors.benchmark.staged_traps import changes, redelivery, traps
from detectors.benchmark.traffic import benign
from detectors.benchmark.world import World

# A Wednesday in the past: the simulation has dates of its own, so that it is the same every day.
MIDNIGHT: Final = int(np.datetime64("2025-06-18T00:00:00", "us").astype(np.int64))
HISTORY_DAYS: Final = 15
MIN_DAYS, MAX_DAYS = 3, 60


@dataclass(frozen=True)
class LabelledDay:
    """Deliveries by time received, where the labelled day starts among them, and its labels."""

    world: World
    rows: Rows
    split: int
    labels: tuple[Label, ...]

    @property
    def history(self) -> Rows:
        """What came before the labelled day: benign, at the very same rates."""
        return self.rows[: self.split]

    @property
    def day(self) -> Rows:
        """The labelled day."""
        return self.rows[self.split :]


def labelled_day(seed: int, *, history_days: int = HISTORY_DAYS) -> LabelledDay:
    """A labelled day after `history_days` and one hour of benign history."""
    if not MIN_DAYS <= history_days <= MAX_DAYS:
        msg = f"history: {MIN_DAYS} to {MAX_DAYS} days are possible, given {history_days}"
        raise BenchmarkError(msg)
    span = Span(MIDNIGHT - history_days * DAY - HOUR, MIDNIGHT + DAY)
    world = World(seed, span, changes=changes(MIDNIGHT))
    rows = benign(world)
    staged = [stage(world, rows, MIDNIGHT) for stage in (*ATTACKS, redelivery)]
    labels = (*(label for _, label in staged), *traps(MIDNIGHT))
    everything = in_order(np.concatenate([rows, *(added for added, _ in staged)]))
    everything = everything[everything["at"] < span.end]
    split = int(np.searchsorted(everything["at"], MIDNIGHT))
    return LabelledDay(world, everything, split, labels)
