"""The busiest senders of a partition, in bounded memory: a whole partition waits for one of them.

Misra and Gries 1982 over every 251st event, in blocks that are merged (Agarwal et al. 2012,
"Mergeable summaries"): with 64 counters a sender with more than a 65th of the looked-at events is
always among them, and the count that is told is at most what it truly was. No part of the state: it
decides nothing, and a restart begins anew.

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
BLOCK: Final = 256
"""Keys that are counted at once."""
STRIDE: Final = 251
"""A prime, so that no rhythm of the senders falls into step with it."""
_NONE: Final = np.zeros(0, np.int64)


class HotSenders:
    """Counts of senders' keys since they were last taken."""

    def __init__(self) -> None:
        self._keys, self._counts, self._waiting = _NONE, _NONE, _NONE
        self._seen = 0
        self._skip = 0

    def see(self, keys: NDArray[np.int64]) -> None:
        """Look at some of a batch's senders; 0 is nobody."""
        looked = keys[self._skip :: STRIDE]
        self._skip = (self._skip - len(keys)) % STRIDE
        if len(looked) == 0:
            return
        self._seen += len(looked)
        self._waiting = np.concatenate([self._waiting, looked])
        while len(self._waiting) >= BLOCK:
            block, self._waiting = np.split(self._waiting, [BLOCK])
            self._add(block)

    def take(self, most: int) -> tuple[int, list[tuple[int, int]]]:
        """How many events were looked at, and the busiest with their least counts; then anew."""
        self._add(self._waiting)
        order = np.lexsort([self._keys, -self._counts])[:most]
        busiest = list(zip(self._keys[order].tolist(), self._counts[order].tolist(), strict=True))
        seen, self._seen = self._seen, 0
        self._keys, self._counts, self._waiting = _NONE, _NONE, _NONE
        return seen, busiest

    def _add(self, block: NDArray[np.int64]) -> None:
        """Add keys; of more than there is room for, all lose what the first too many has."""
        known, which = np.unique(
            np.concatenate([self._keys, block[block != 0]]), return_inverse=True
        )
        more = np.ones(len(which), np.int64)
        more[: len(self._counts)] = self._counts
        counts = np.zeros(len(known), np.int64)
        np.add.at(counts, which, more)
        if len(known) > ROOM:
            counts -= np.partition(counts, -ROOM - 1)[-ROOM - 1]
        kept = counts > 0
        self._keys, self._counts = known[kept], counts[kept]
