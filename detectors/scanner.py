"""The compiled scan over one buffer after the other, and the texts that it has learned."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.event import EVENT, PROVED_BY_ORDER, REASONS
from detectors.keys import id_keys, name_key
from detectors.scan import NAMES, scan
from detectors.words import LONGEST, Words

NO_TYPE = name_key("")
_BY_ORDER = np.zeros(max(REASONS.values()) + 1, np.int8)
for _reason in PROVED_BY_ORDER:
    _BY_ORDER[REASONS[_reason]] = 1  # type: ignore[index]


def joined(*texts: str | None) -> bytes:
    """Return several texts as the scan joins them."""
    return b"".join((text or "").encode() + b"\0" for text in texts)


class Scanner:
    """What the scan knows, and its room."""

    def __init__(self) -> None:
        self.words = Words()
        self.tokens = np.zeros((3, len(NAMES)), np.int64)
        self.scratch = np.zeros(LONGEST, np.uint8)

    def begin(self, buffer: bytes | memoryview | mmap, spans: NDArray[np.int64]) -> Scanned:
        """Begin a buffer; nothing is read yet."""
        return Scanned(self, buffer, spans)


class Scanned:
    """What the scan made of one buffer."""

    def __init__(
        self, scanner: Scanner, buffer: bytes | memoryview | mmap, spans: NDArray[np.int64]
    ) -> None:
        self._scanner = scanner
        self._text = np.frombuffer(buffer, np.uint8) if len(buffer) else np.zeros(0, np.uint8)
        self._text.flags.writeable = False  # one kind of array, so one compilation
        self._spans = np.ascontiguousarray(spans, np.int64)
        self.columns: NDArray[Any] = np.zeros(len(spans), EVENT)
        self.taken = np.zeros(len(spans), np.bool_)
        self._halves = np.zeros((len(spans), 2), np.int64)

    def left(self) -> Iterator[int]:
        """Scan; yield the place of each value that is left to others, as it comes."""
        if getattr(numba.config, "DISABLE_JIT", 0):  # uncompiled it is no fast way
            yield from range(len(self._spans))
            return
        one, of = self._scanner, self._scanner.words
        place = 0
        while place < len(self._spans):
            place = scan(
                self._text, self._spans, place, self.columns, self._halves, self.taken, one.tokens,
                one.scratch, of.seed, of.slots, of.entries, of.arena, NO_TYPE, _BY_ORDER,
            )  # fmt: skip
            if place < len(self._spans):
                yield place
                place += 1

    def keys(self) -> NDArray[np.int64]:
        """Return the keys of the ids of what was taken."""
        return id_keys(self._halves)
