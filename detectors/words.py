"""Texts seen before, and what they stand for: what lets compiled code decode names.

Names become 64-bit keys by a cryptographic hash, which compiled code does not have. But names
repeat: a text is looked at once in Python, and what it stands for (up to three numbers) is kept
under its bytes; so are several texts that together stand for something. Memory is bounded: when it
is full, all of it starts afresh. When half of it is full, only what is seen twice is wanted: a
stranger whose texts are all new does not drive out the others. The table's hash is keyed with a
number drawn once per process and searches give up early, so that names chosen to collide cost a
slow way and no more.

>>> words = Words()
>>> words.add(NAME, ["/hooks/stripe"], (7, 0, 0))
>>> words.get(NAME, ["/hooks/stripe"]), words.get(CLIENT, ["/hooks/stripe"])
((7, 0, 0), None)
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.compile import lean
from detectors.octets import BYTES, LOW_HALF, MASKS, PAD, byte_at, words_of
from models.kernel import kernel
from models.lanes import LANES, others_between, word_at
from models.prefetch import LINE, prefetch

CODES, NAME, RECEIVER, WHO, FROM, CLIENT = range(1, 7)
"""What a text is; the same text may stand for other numbers elsewhere."""
OF_CODES, OF_RECEIVER, OF_TYPE, OF_KEY, OF_CLIENT = range(5)
SITES = 5
"""Where texts stand in an event that hardly ever change."""
ENTRY = np.dtype([("start", "i4"), ("kind", "i4"), ("salt", "i8"), ("values", "i8", 3)])
TOKEN = np.dtype([("begin", "i8"), ("length", "i4"), ("what", "i4")])
"""Where a text stands; ``what`` is for whoever notes it."""
Texts = Sequence[str | None]
"""None is as good as an empty text."""
MOST_ENTRIES = 1 << 16
SLOTS = 1 << 18
MOST_BYTES = 8 << 20
MOST_PROBES = 16
SEEN_ONCE = 1 << 13
"""Of so many texts it is known that they were seen once; a flood of more drives some out."""
MOST_TEXTS = 4
"""Together."""
LONGEST = 2_100
"""Bytes of texts; the longest that the event's schema allows together, in any script, are fewer."""
_WHICH = [np.arange(n) for n in range(MOST_TEXTS + 1)]
_SEED = secrets.randbits(63)
_LOW = 0xFFFFFFFF
_HALF = np.uint64(32)
_FACTOR_A, _FACTOR_B = 0x5851F42D, 0x2C1B3C6D  # odd, 31 bits and fewer: a product fits into 63


@kernel
def hash_of(kind: int, salt: int, which: Any, text: Any, tokens: Any, seed: int) -> int:
    """Return 32 bits of several texts; their words go through two lanes, half through either.

    All products stay within 63 bits, so plain Python counts the same.
    """
    a, b = (seed ^ salt) & _LOW, (seed >> 32) ^ kind
    for n in which:
        start, length = int(tokens[n]["begin"]), int(tokens[n]["length"])
        b ^= length
        for i in range(0, max(length, 1), BYTES):
            word = word_at(text, start + i) & MASKS[min(length - i, BYTES)]
            a = (a ^ int(np.int64(word & LOW_HALF))) * _FACTOR_A
            b = (b ^ int(np.int64(word >> _HALF))) * _FACTOR_B
            a, b = (a & _LOW) ^ (a >> 31), (b & _LOW) ^ (b >> 31)
    h = ((a ^ (b >> 7)) & _LOW) * _FACTOR_B
    return ((h & _LOW) ^ (h >> 31) ^ b) & _LOW


@kernel
def is_same(which: Any, text: Any, tokens: Any, arena: Any, at: int) -> bool:
    """Return whether these texts stand in the arena, with a zero behind each."""
    for n in which:
        start, length = int(tokens[n]["begin"]), int(tokens[n]["length"])
        for i in range(0, length, LANES):
            others = others_between(arena, at + i, text, start + i)
            if others & ((1 << min(length - i, LANES)) - 1) != 0:
                return False
        if byte_at(arena, at + length) != 0:
            return False
        at += length + 1
    return True


@kernel
def place_of(
    kind: int, salt: int, which: Any, text: Any, tokens: Any, seed: int, slots: Any
) -> int:
    """Return where the search for several texts begins, and ask for that memory."""
    at = hash_of(kind, salt, which, text, tokens, seed) & (len(slots) - 1)
    prefetch(slots, at)
    return at


@kernel
def entry_ahead(at: int, slots: Any, entries: Any) -> None:
    """Ask for the entry with which a search begins: some work after its place was asked for."""
    prefetch(entries, int(slots[at]))


@kernel
def text_ahead(at: int, slots: Any, entries: Any, arena: Any) -> None:
    """Ask for the text of that entry: some more work later."""
    start = int(entries[max(int(slots[at]), 0)]["start"])
    prefetch(arena, start)
    prefetch(arena, start + LINE)


@kernel
def find_from(
    at: int, kind: int, salt: int, which: Any, text: Any, tokens: Any, slots: Any, entries: Any,
    arena: Any,
) -> int:  # fmt: skip
    """Return the place of several texts among the entries; -1 where they are not known."""
    mask = len(slots) - 1
    for _ in range(MOST_PROBES):
        p = int(slots[at])
        if p < 0:
            return -1
        entry = entries[p]
        is_kind = int(entry["kind"]) == kind and int(entry["salt"]) == salt
        if is_kind and is_same(which, text, tokens, arena, int(entry["start"])):
            return p
        at = (at + 1) & mask
    return -1


@kernel
def find_again(
    site: int, kind: int, which: Any, text: Any, tokens: Any, seed: int, slots: Any, entries: Any,
    arena: Any, recent: Any,
) -> int:  # fmt: skip
    """Return the same where the texts hardly ever change: what was found last is tried first."""
    p = int(recent[site])
    is_kind = p >= 0 and int(entries[p]["kind"]) == kind
    if is_kind and is_same(which, text, tokens, arena, int(entries[p]["start"])):
        return p
    at = place_of(kind, 0, which, text, tokens, seed, slots)
    p = find_from(at, kind, 0, which, text, tokens, slots, entries, arena)
    if p >= 0:
        recent[site] = p
    return p


@lean
def _place(kind: int, salt: int, which: Any, text: Any, tokens: Any, seed: int, slots: Any) -> int:
    """Return where new texts may stand; -1 where too many others stand in their way."""
    mask = len(slots) - 1
    at = hash_of(kind, salt, which, text, tokens, seed) & mask
    for _ in range(MOST_PROBES):
        if int(slots[at]) < 0:
            return at
        at = (at + 1) & mask
    return -1


@lean
def _find(
    kind: int, salt: int, which: Any, text: Any, tokens: Any, seed: int, slots: Any, entries: Any,
    arena: Any,
) -> int:  # fmt: skip
    at = place_of(kind, salt, which, text, tokens, seed, slots)
    return find_from(at, kind, salt, which, text, tokens, slots, entries, arena)


class Words:
    """Texts and what they stand for."""

    def __init__(self) -> None:
        self.seed = _SEED
        self.slots = np.full(SLOTS, -1, np.int32)
        self.entries = np.zeros(MOST_ENTRIES, ENTRY)
        self._arena = np.zeros(MOST_BYTES + PAD, np.uint8)
        self.arena = words_of(self._arena)
        self.recent = np.full(SITES, -1, np.int64)
        self._known: set[tuple[int | str | None, ...]] = set()
        self._once = [0] * SEEN_ONCE
        self._bytes = 0
        self._tokens = np.zeros(MOST_TEXTS, TOKEN)

    def wants(self, kind: int, texts: Texts, salt: int = 0) -> bool:
        """Tell whether texts should be added now that they were seen."""
        key = (kind, salt, *texts)
        if key in self._known:
            return False
        if 2 * len(self._known) < MOST_ENTRIES and 2 * self._bytes < MOST_BYTES:
            return True
        mark = hash(key)  # chance decides only who is added, and that changes no result
        place = mark % SEEN_ONCE
        if self._once[place] == mark:
            return True
        self._once[place] = mark
        return False

    def add(self, kind: int, texts: Texts, values: tuple[int, int, int], salt: int = 0) -> None:
        """Remember what texts stand for; where there is no room, forget all others first."""
        parts = [text.encode() if text else b"" for text in texts]
        whole = b"\0".join(parts) + b"\0"
        key = (kind, salt, *texts)
        if key in self._known or len(whole) > LONGEST:
            return
        used = len(self._known)
        if used == MOST_ENTRIES or self._bytes + len(whole) > MOST_BYTES:
            self.slots[:] = self.recent[:] = -1
            self._known.clear()
            used = self._bytes = 0
        self._known.add(key)
        start = self._bytes
        self._arena[start : start + len(whole)] = np.frombuffer(whole, np.uint8)
        self.entries[used] = (start, kind, salt, values)
        self._bytes += len(whole)
        for n, part in enumerate(parts):
            self._tokens[n] = (start, len(part), 0)
            start += len(part) + 1
        which = _WHICH[len(parts)]
        at = _place(kind, salt, which, self.arena, self._tokens, self.seed, self.slots)
        if at >= 0:  # else it stays unknown to compiled code
            self.slots[at] = used

    def get(self, kind: int, texts: Texts, salt: int = 0) -> tuple[int, int, int] | None:
        """Return what compiled code finds under texts, None where that is nothing."""
        whole = b"".join((text or "").encode() + b"\0" for text in texts)
        text = words_of(np.frombuffer(whole + bytes(PAD), np.uint8))
        which, tokens = _WHICH[len(texts)], np.zeros(len(texts), TOKEN)
        tokens["length"] = [len((text or "").encode()) for text in texts]
        tokens["begin"] = np.cumsum(tokens["length"] + 1) - tokens["length"] - 1
        p = _find(kind, salt, which, text, tokens, self.seed, self.slots, self.entries, self.arena)
        if p < 0:
            return None
        a, b, c = self.entries[p]["values"].tolist()
        return a, b, c
