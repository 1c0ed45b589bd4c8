"""Alerts on standard output, one line each, for pipes and for people."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

from alerts.alert import Alert
from alerts.formats import Encoder
from alerts.sinks import Delivery, Outcome, SinkClosedError


class StdoutSink:
    """Every alert is one line, flushed with its batch; ends quietly when the reader went away."""

    name = "stdout"

    def __init__(self, encode: Encoder, stream: BinaryIO | None = None) -> None:
        self._encode = encode
        self._stream = sys.stdout.buffer if stream is None else stream

    def send(self, batch: Sequence[Alert]) -> list[Delivery]:
        """Write and flush the batch; raises `SinkClosedError` when nobody reads any more."""
        try:
            self._write(b"".join(self._encode(alert) + b"\n" for alert in batch))
            self._stream.flush()
        except BrokenPipeError:
            self._discard()
            msg = "stdout: the reader went away"
            raise SinkClosedError(msg) from None
        except OSError as error:
            # What was written of the batch cannot be known: all of it again, never a part.
            return [Delivery(Outcome.RETRY, f"{error.strerror}")] * len(batch)
        return [Delivery(Outcome.DELIVERED)] * len(batch)

    def close(self) -> None:
        """Nothing: standard output belongs to the process."""

    def _write(self, data: bytes) -> None:
        """All of it: where Python runs unbuffered (`-u`), one write may take only a part."""
        left = memoryview(data)
        while left:
            taken = self._stream.write(left)
            if not taken:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = left[taken:]

    def _discard(self) -> None:
        """Point the stream at nothing, or Python complains about the rest when it ends."""
        try:
            fd = self._stream.fileno()
        except OSError:
            return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
