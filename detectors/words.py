"""Texts seen before, and what they stand for: what lets compiled code decode names.

Names become 64-bit keys by a cryptographic hash, which compiled code does not have. But names
repeat: a text is looked at once in Python, and what it stands for (up to three numbers) is kept
under its bytes. Memory is bounded: when it is full, all of it starts afresh. The table's hash is
keyed with a number drawn once per process and searches give up early, so that names chosen to
collide cost a slow way and no more.

>>> words = Words()
>>> words.add(NAME, b"/hooks/stripe", (7, 0, 0))
>>> words.get(NAME, b"/hooks/stripe"), words.get(CLIENT, b"/hooks/stripe")
((7, 0, 0), None)
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from detectors.compile import cached
from models.kernel import kernel

CODES, NAME, RECEIVER, WHO, FROM, CLIENT = range(1, 7)
"""What a text is; the same text may stand for other numbers elsewhere."""
ENTRY = np.dtype([("start", "i8"), ("length", "i4"), ("kind", "i4"), ("values", "i8", 3)])
MOST_ENTRIES = 1 << 16
SLOTS = 1 << 18
MOST_BYTES = 8 << 20
MOST_PROBES = 16
LONGEST = 1024
"""Bytes of a text; the longest that the event's schema allows together are fewer."""
_SEED = secrets.randbits(38)
_MASK = (1 << 38) - 1
_FACTOR = 16_777_619  # of FNV-1; a product of both stays within 63 bits


@kernel
def hash_of(kind: int, text: Any, start: int, length: int, seed: int) -> int:
    """Return 38 bits of a text, four bytes at a time."""
    h = (seed ^ kind) & _MASK
    i, end = start, start + length
    while i + 4 <= end:
        word = int(text[i]) | int(text[i + 1]) << 8
        word |= int(text[i + 2]) << 16 | int(text[i + 3]) << 24
        h = ((h ^ word) * _FACTOR) & _MASK
        h = h ^ (h >> 19)
        i += 4
    while i < end:
        h = ((h ^ int(text[i])) * _FACTOR) & _MASK
        i += 1
    return h ^ (h >> 17)


@kernel
def find(
    kind: int, text: Any, first: int, length: int, seed: int, slots: Any, entries: Any, arena: Any
) -> int:
    """Return the place of a text among the entries; -1 where it is not known."""
    mask = len(slots) - 1
    at = hash_of(kind, text, first, length, seed) & mask
    for _ in range(MOST_PROBES):
        p = int(slots[at])
        if p < 0:
            return -1
        if int(entries[p]["kind"]) == kind and int(entries[p]["length"]) == length:
            start = int(entries[p]["start"])
            same = True
            for i in range(length):
                if int(arena[start + i]) != int(text[first + i]):
                    same = False
                    break
            if same:
                return p
        at = (at + 1) & mask
    return -1


@cached
def _place(kind: int, arena: Any, start: int, length: int, seed: int, slots: Any) -> int:
    """Return where a new text may stand; -1 where too many others stand in its way."""
    mask = len(slots) - 1
    at = hash_of(kind, arena, start, length, seed) & mask
    for _ in range(MOST_PROBES):
        if int(slots[at]) < 0:
            return at
        at = (at + 1) & mask
    return -1


@cached
def _find(
    kind: int, text: Any, length: int, seed: int, slots: Any, entries: Any, arena: Any
) -> int:
    return find(kind, text, 0, length, seed, slots, entries, arena)


class Words:
    """Texts and what they stand for."""

    def __init__(self) -> None:
        self.seed = _SEED
        self.slots = np.full(SLOTS, -1, np.int32)
        self.entries = np.zeros(MOST_ENTRIES, ENTRY)
        self.arena = np.zeros(MOST_BYTES, np.uint8)
        self._scratch = np.zeros(LONGEST, np.uint8)
        self._known: set[tuple[int, bytes]] = set()
        self._bytes = 0

    def add(self, kind: int, text: bytes, values: tuple[int, int, int]) -> None:
        """Remember what a text stands for; where there is no room, forget all others first."""
        if (kind, text) in self._known or len(text) > LONGEST:
            return
        used = len(self._known)
        if used == MOST_ENTRIES or self._bytes + len(text) > MOST_BYTES:
            self.slots[:] = -1
            self._known.clear()
            used = self._bytes = 0
        self._known.add((kind, text))
        start, end = self._bytes, self._bytes + len(text)
        self.arena[start:end] = np.frombuffer(text, np.uint8)
        self.entries[used] = (start, len(text), kind, values)
        self._bytes = end
        at = _place(kind, self.arena, start, len(text), self.seed, self.slots)
        if at >= 0:  # else it stays unknown to compiled code
            self.slots[at] = used

    def get(self, kind: int, text: bytes) -> tuple[int, int, int] | None:
        """Return what compiled code finds under a text, None where that is nothing."""
        self._scratch[: len(text)] = np.frombuffer(text, np.uint8)
        p = _find(kind, self._scratch, len(text), self.seed, self.slots, self.entries, self.arena)
        if p < 0:
            return None
        a, b, c = self.entries[p]["values"].tolist()
        return a, b, c
