"""A file of alerts: one line per update, only ever appended."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from alerts.alert import Alert
from alerts.errors import RouteError
from alerts.explain import safe
from alerts.formats import Encoder
from alerts.sinks import Delivery, Outcome

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class FileSink:
    """Every alert is one line, appended by one write, so that several writers do not mix lines.

    Its folder must be there: a path that was mistyped would swallow alerts. A line that was cut
    short (a full disk, a crash) is closed with a line end before the next one. A file that was
    moved away (log rotation) is made anew at the next batch. With `fsync` a delivered alert is on
    the disk.
    """

    name = "file"

    def __init__(self, path: Path, encode: Encoder, *, fsync: bool = False) -> None:
        self._path = path
        self._encode = encode
        self._fsync = fsync
        self._fd = -1
        self._mid_line = False
        try:
            self._open()
        except FileNotFoundError:
            folder, shown = safe(str(path.parent), 200), safe(str(path), 200)
            msg = f"--out {shown} cannot be written: there is no folder {folder}"
            raise RouteError(msg) from None
        except OSError as error:
            msg = f"--out {safe(str(path), 200)} cannot be written: {error.strerror}"
            raise RouteError(msg) from None

    def send(self, batch: Sequence[Alert]) -> list[Delivery]:
        """Append the batch; after the first failed write the rest is left for a retry."""
        sent = 0
        try:
            self._follow_rotation()
            for alert in batch:
                self._append(self._encode(alert) + b"\n")
                sent += 1
            if self._fsync:
                os.fsync(self._fd)
        except OSError as error:
            if self._fsync:
                sent = 0  # written, perhaps, but not synced: nobody knows what is on the disk
            failed = Delivery(Outcome.RETRY, f"{error.strerror}")
            return [Delivery(Outcome.DELIVERED)] * sent + [failed] * (len(batch) - sent)
        return [Delivery(Outcome.DELIVERED)] * sent

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self._path, _FLAGS, 0o640)
        self._mid_line = _ends_mid_line(self._path)

    def _follow_rotation(self) -> None:
        if self._fd >= 0:
            try:
                if os.path.samestat(self._path.stat(), os.fstat(self._fd)):
                    return
            except FileNotFoundError:
                pass
            self.close()
        self._open()

    def _append(self, line: bytes) -> None:
        if self._mid_line:
            line = b"\n" + line
        left = memoryview(line)
        while left:
            left = left[os.write(self._fd, left) :]
            self._mid_line = len(left) > 0


def _ends_mid_line(path: Path) -> bool:
    if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size == 0:
        return False
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except PermissionError:
        return False  # may be appended to but not read: assume that the last writer finished
