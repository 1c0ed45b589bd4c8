"""Events by time in bounded memory: runs are sorted, spilled to a file, and merged at the end.

Events of the same time keep the order in which they were read. One that was read twice (a file
and its copy) is handed out once.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

RUN_BYTES: Final = 64 * 1024 * 1024
_COST: Final = 350  # bytes of Python objects around a waiting event
_MOST_RUNS: Final = 64  # files open at a time
_MOST_IDS: Final = 1 << 18  # of one moment

Item = tuple[int, int, str, bytes]
"""Time in microseconds, place in the input, id, and the event as JSON."""


class Spill:
    """Takes events in any order and gives them back by time."""

    def __init__(self, run_bytes: int = RUN_BYTES) -> None:
        self._run_bytes = run_bytes
        self._waiting: list[Item] = []
        self._cost = 0
        self._count = 0
        self._folder: TemporaryDirectory[str] | None = None
        self._runs: list[Path] = []
        self._made = 0

    def add(self, time_us: int, id_: str, value: bytes) -> None:
        """Take one event."""
        self._waiting.append((time_us, self._count, id_, value))
        self._count += 1
        self._cost += len(value) + _COST
        if self._cost >= self._run_bytes:
            self._waiting.sort()
            self._write(self._waiting)
            self._waiting, self._cost = [], 0

    def sorted(self, on_repeated: Callable[[bytes], None]) -> Iterator[tuple[int, bytes]]:
        """All events by time, with it; `on_repeated` is told of those that are left out."""
        self._waiting.sort()
        with ExitStack() as stack:
            runs = [stack.enter_context(path.open("rb")) for path in self._runs]
            merged = heapq.merge(*map(_items, runs), self._waiting)
            now, seen = -1, set[str]()
            for time_us, _, id_, value in merged:
                if time_us != now or len(seen) >= _MOST_IDS:
                    now, seen = time_us, set()
                if id_ in seen:
                    on_repeated(value)
                    continue
                seen.add(id_)
                yield time_us, value

    def close(self) -> None:
        """Remove what was spilled."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder, self._runs = None, []

    def _write(self, items: Iterable[Item]) -> None:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="callwatch-import-")
        path = Path(self._folder.name) / f"{self._made}"
        self._made += 1
        with path.open("wb") as file:
            file.writelines(b"%d %d %b %b\n" % (t, n, i.encode(), v) for t, n, i, v in items)
        self._runs.append(path)
        if len(self._runs) >= _MOST_RUNS:
            runs, self._runs = self._runs, []
            with ExitStack() as stack:
                files = [stack.enter_context(run.open("rb")) for run in runs]
                self._write(heapq.merge(*map(_items, files)))
            for run in runs:
                run.unlink()


def _items(lines: Iterable[bytes]) -> Iterator[Item]:
    for line in lines:
        time_us, count, id_, value = line[:-1].split(b" ", 3)
        yield int(time_us), int(count), id_.decode(), value
