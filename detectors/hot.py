"""The busiest senders of a partition, in bounded memory: a whole partition waits for one of them.

Space-Saving (Metwally, Agrawal, El Abbadi 2005) over every 251st event: with 64 counters a sender
with more than a 64th of the looked-at events is always among them, and the count that is told is
at most what it truly was. No part of the state: it decides nothing, and a restart begins anew.

>>> import numpy as np
>>> hot = HotSenders()
>>> for _ in range(1000):
...     hot.see(np.array([7] * 24 + [8] * 9))
>>> hot.take(2)
(132, [(7, 96), (8, 36)])
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

ROOM: Final = 64
STRIDE: Final = 251
"""A prime, so that no rhythm of the senders falls into step with it; below 30 ns for each event."""


class HotSenders:
    """Counts of senders' keys since they were last taken."""

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}  # at most so many, of which so many others'
        self._seen = 0
        self._skip = 0

    def see(self, keys: NDArray[np.int64]) -> None:
        """Look at some of a batch's senders; 0 is nobody."""
        looked = keys[self._skip :: STRIDE]
        self._skip = (self._skip - len(keys)) % STRIDE
        self._seen += len(looked)
        found, counts = np.unique(looked, return_counts=True)
        for key, count in zip(found.tolist(), counts.tolist(), strict=True):
            if key != 0:
                self._add(key, count)

    def take(self, most: int) -> tuple[int, list[tuple[int, int]]]:
        """How many events were looked at, and the busiest with their least counts; then anew."""
        least = [(key, count - over) for key, (count, over) in self._counts.items()]
        least.sort(key=lambda one: (-one[1], one[0]))
        seen, self._seen = self._seen, 0
        self._counts = {}
        return seen, least[:most]

    def _add(self, key: int, count: int) -> None:
        if (known := self._counts.get(key)) is not None:
            self._counts[key] = (known[0] + count, known[1])
        elif len(self._counts) < ROOM:
            self._counts[key] = (count, 0)
        else:
            rarest = min(self._counts, key=lambda each: self._counts[each][0])
            before = self._counts.pop(rarest)[0]
            self._counts[key] = (before + count, before)
