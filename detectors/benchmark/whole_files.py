"""Files that appear whole or not at all: written beside their place, then moved into it."""

import gzip
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

from detectors.benchmark.errors import BenchmarkError

MAX_PENDING: Final = 4  # chunks that wait for compression; more would only fill memory


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder whose files move to `out` when the block ends well, and vanish when it does not."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=out))
    except OSError as error:
        msg = f"out: cannot write to {out} ({error.strerror or type(error).__name__})"
        raise BenchmarkError(msg) from error
    try:
        yield folder
        for path in sorted(folder.iterdir()):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class GzipWriter:
    """Compresses on a thread of its own, since zlib leaves the interpreter free meanwhile.

    Level 1: fingerprints are random and hardly shrink at any level. The header holds no time and
    no name, so that equal events make equal files.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._gzip = gzip.GzipFile("", "wb", compresslevel=1, fileobj=self._file, mtime=0)
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[int]] = deque()

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        """Hands over some bytes; an error of an earlier hand-over is raised here or at the end."""
        self._pending.append(self._thread.submit(self._gzip.write, data))
        if len(self._pending) > MAX_PENDING:
            self._pending.popleft().result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for one in self._pending:
                    one.result()
        finally:
            self._thread.shutdown(cancel_futures=True)
            self._gzip.close()
            self._file.close()
