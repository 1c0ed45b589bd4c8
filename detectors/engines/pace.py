"""When the next checkpoint may begin: so that checkpoints take a bounded share of a core.

At the live edge they come every few seconds, and hardly cost anything. A busy worker, and one that
catches up, walks up to millions of events between two of them, and each leaves rows to be written:
there the next one waits until the last has become a small share of the time since it began.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

SHARE: Final = 0.0075
"""Of a core, for copying and packing; with sending, a third of that as measured, it is 1 %."""
MOST_SECONDS: Final = 15.0
"""So long a checkpoint waits at most, since what is walked after it is walked again after a crash.
Where one costs more than this times `SHARE`, the share is larger."""


class Pace:
    """What the last checkpoint cost, in seconds of CPU, decides when the next may begin."""

    def __init__(
        self,
        share: float = SHARE,
        most: float = MOST_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._share = share
        self._most = most
        self._clock = clock
        self._began = self._due = clock()

    def begin(self) -> None:
        """A checkpoint begins."""
        self._began = self._clock()

    def end(self, cost: float) -> None:
        """It is written, and cost so many seconds of CPU."""
        self._due = self._began + min(cost / self._share, self._most)

    @property
    def left(self) -> float:
        """Seconds until the next may begin; 0 when it may."""
        return max(self._due - self._clock(), 0.0)
