"""What a worker has done since it started, over all partitions that it has had."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counters of one worker; they only grow."""

    records: Counter[str] = field(default_factory=Counter)
    """By the names of a core's counters: what has become of records of partitions it has left."""
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """States of alerts that a broker has acknowledged, by detector and severity."""
    waiting: int = 0
    """Those of which it is not known yet; goes down, too."""
    failed: int = 0
    """Those that no broker took: their state is given up, and walked again."""
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0
    """Of CPU, for copying and packing."""
    checkpoint_bytes: int = 0
    rebuilt: Counter[str] = field(default_factory=Counter)
    """States that were made anew, by the reason."""

    @contextmanager
    def alert(
        self, detector: str, severity: str
    ) -> Iterator[Callable[[asyncio.Future[Any]], None]]:
        """Count an alert that is handed to the producer; to be called when it has landed."""

        def landed(done: asyncio.Future[Any]) -> None:
            self.waiting -= 1
            if done.cancelled() or done.exception() is not None:
                self.failed += 1
            else:
                self.alerts[detector, severity] += 1

        self.waiting += 1
        try:
            yield landed
        except BaseException:  # it was not taken at all
            self.waiting -= 1
            self.failed += 1
            raise
