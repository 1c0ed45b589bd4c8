"""A body that a call takes note of while the application reads it."""

from collections.abc import Iterator
from typing import Any

from .call import Call
from .watch import Watch


class Tee:
    """Reads like the stream that it stands for, and tells the call what passes.

    length: what the sender announced; reading so much, or to the end, makes the body whole.
    """

    def __init__(self, stream: Any, call: Call, watch: Watch, length: int | None) -> None:
        self._stream = stream
        self._call = call
        self._watch = watch
        self._length = length
        if length == 0:
            call.whole = True

    def read(self, *size: Any) -> bytes:
        """Some of the body, or all that is left."""
        data: bytes = self._stream.read(*size)
        self._note(data, end=not data or not size or size[0] is None or size[0] < 0)
        return data

    def read1(self, *size: Any) -> bytes:
        """What can be had at once."""
        data: bytes = self._stream.read1(*size)
        self._note(data, end=not data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Some of the body into a buffer."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._note(data, end=not data)
        return len(data)

    def readline(self, *size: Any) -> bytes:
        """A line."""
        data: bytes = self._stream.readline(*size)
        self._note(data, end=not data)
        return data

    def readlines(self, *hint: Any) -> list[bytes]:
        """Lines."""
        lines: list[bytes] = self._stream.readlines(*hint)
        self._note(b"".join(lines), end=not hint)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _note(self, data: bytes, *, end: bool) -> None:
        call = self._call
        try:
            if call.done:
                return
            if data:
                call.add(data)
            if end or (self._length is not None and call.body_size >= self._length):
                call.whole = True
        except Exception as error:  # fail open
            self._watch.fault(error)
            call.done = True
