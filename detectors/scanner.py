"""The compiled scan over one buffer after the other, and the texts that it has learned."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

import numba
import numpy as np
from numpy.typing import NDArray

from detectors.event import EVENT, PROVED_BY_ORDER, REASONS
from detectors.keys import id_keys, name_key
from detectors.octets import PAD, words_of
from detectors.rooms import zeros
from detectors.scan import KEYS, NAMES, scan
from detectors.words import TOKEN, Words

NO_TYPE = name_key("")
_BY_ORDER = np.zeros(max(REASONS.values()) + 1, np.int8)
for _reason in PROVED_BY_ORDER:
    _BY_ORDER[REASONS[_reason]] = 1  # type: ignore[index]


class Scanner:
    """What the scan knows, and its room."""

    def __init__(self) -> None:
        self.words = Words()
        self.tokens = np.zeros(len(NAMES), TOKEN)
        self.after = np.zeros(len(NAMES) + 1, np.int64)
        self.memo = np.zeros(3, np.uint64)  # the first word of no date is 0

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
        self._spans = np.ascontiguousarray(spans, np.int64)
        self.columns = zeros(len(spans), EVENT)
        self.taken = np.zeros(len(spans), np.bool_)
        self._halves = np.zeros((len(spans), 2), np.int64)

    def left(self) -> Iterator[int]:
        """Scan; yield the place of each value that is left to others, as it comes."""
        if getattr(numba.config, "DISABLE_JIT", 0):  # uncompiled it is no fast way
            yield from range(len(self._spans))
            return
        near = np.flatnonzero(self._spans[:, 1] + PAD > len(self._text))
        cut = int(near[0]) if len(near) else len(self._spans)
        if cut:
            yield from self._left(self._text, self._spans[:cut], 0)
        if cut < len(self._spans):  # what is read with the last events must be ours, too
            rest = self._spans[cut:]
            first = int(rest[:, 0].min())
            text = np.concatenate([self._text[first:], np.zeros(PAD, np.uint8)])
            yield from self._left(text, rest - first, cut)

    def _left(self, text: NDArray[np.uint8], spans: NDArray[np.int64], first: int) -> Iterator[int]:
        one, of = self._scanner, self._scanner.words
        words = words_of(text)
        words.flags.writeable = False  # one kind of array, so one compilation
        columns, halves, taken = self.columns[first:], self._halves[first:], self.taken[first:]
        place = 0
        while place < len(spans):
            place = scan(
                words, spans, place, columns, halves, taken, one.tokens, one.after, KEYS,
                one.memo, of.seed, of.slots, of.entries, of.arena, of.recent, NO_TYPE, _BY_ORDER,
            )  # fmt: skip
            if place < len(spans):
                yield first + place
                place += 1

    def keys(self) -> NDArray[np.int64]:
        """Return the keys of the ids of what was taken."""
        return id_keys(self._halves)
