"""Names of senders that do not fit beside their rows, as a log.

A checkpoint holds what the log has gained since the last one: were all names written with each, a
partition with hundreds of thousands of long names would stand still for as many microseconds. The
last entry of a position counts. When more than half of the entries are outdated, which takes as
many evictions as there are long names, the log is written anew, and the next checkpoint is a whole
one. All of it depends on the order of the names only.

>>> names = LongNames()
>>> names.put(3, "a-name-that-is-longer-than-others")
>>> names.put(5, None)
>>> names.get(3), names.get(5)
('a-name-that-is-longer-than-others', None)
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.snapshot import PATCH, RUNS

FEW: Final = 1000
"""Outdated entries that are no matter."""
_ENTRY_BYTES: Final = 100
"""Of the place of an entry, beside its text."""


class LongNames:
    """The long name of each position that has one."""

    def __init__(self) -> None:
        self._log = bytearray()
        self._places: dict[int, int] = {}  # of a position: where its entry begins
        self._entries = 0
        self._saved = 0
        self.is_new = False
        """Whether the log was written anew since the last ``clean``."""

    @property
    def nbytes(self) -> int:
        """Bytes of the log, and of what finds the entries."""
        return len(self._log) + _ENTRY_BYTES * len(self._places)

    def get(self, position: int) -> str | None:
        """Return the name of a position; None where it has no long one."""
        at = self._places.get(position)
        if at is None:
            return None
        _, name = json.loads(self._log[at : self._log.index(b"\n", at)])
        return str(name)

    def put(self, position: int, name: str | None) -> None:
        """Note the name of a position; None: it has a short one now."""
        if name is None and position not in self._places:
            return
        self._add(position, name)
        if self._entries > 2 * len(self._places) + FEW:
            kept = [(place, self.get(place)) for place in self._places]
            self._log.clear()
            self._entries = 0
            for place, each in kept:
                self._add(place, each)
            self.is_new = True

    def _add(self, position: int, name: str | None) -> None:
        self._places.pop(position, None)
        if name is not None:
            self._places[position] = len(self._log)
        self._log += json.dumps([position, name], separators=(",", ":")).encode() + b"\n"
        self._entries += 1

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return a copy of the log, by name."""
        return {"log": np.frombuffer(bytes(self._log), np.uint8)}

    def changes(self) -> dict[str, NDArray[Any]]:
        """Return a copy of what the log has gained since the last ``clean``, for ``merge``."""
        gained = np.frombuffer(bytes(self._log[self._saved :]), np.uint8)
        run = [self._saved, len(gained)] if len(gained) else []
        return {RUNS: np.array([len(self._log), *run]), f"log{PATCH}": gained}

    def clean(self) -> None:
        """A checkpoint has been taken."""
        self._saved, self.is_new = len(self._log), False

    def restore(self, parts: dict[str, NDArray[Any]], *_: object) -> None:
        """Take over what was read of a snapshot; ValueError where it is something else.

        What tables are told besides means nothing here.
        """
        text = parts["log"].tobytes()
        lines = text.splitlines(keepends=True)
        self._log, self._places, self._entries = bytearray(text), {}, len(lines)
        at = 0
        entries = json.loads(b"[%b]" % b",".join(lines))  # one by one it takes six times as long
        for line, (position, name) in zip(lines, entries, strict=True):
            self._places.pop(position, None)
            if name is not None:
                self._places[position] = at
            at += len(line)
        self.clean()
