"""A body that a call takes note of while the application reads it."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Self, cast

from .call import Call
from .watch import Watch

_NOTED: Final = ("read1", "readinto", "readinto1", "readlines")
_PASSED: Final = (
    "__enter__", "__exit__", "__aenter__", "__aexit__", "__aiter__", "__anext__", "__len__",
    "__length_hint__", "__bool__", "__contains__", "__getitem__", "__setitem__", "__delitem__",
    "__reversed__", "__call__", "__fspath__", "__bytes__", "__int__", "__index__",
)  # fmt: skip
"""Python looks these up in the class, so `__getattr__` does not serve them."""


class Tee:
    """Reads like the stream that it stands for, has the methods that it has, and tells the call.

    length: what the sender announced: only reaching it makes the body whole, since a stream ends
    as well where a client was lost. Without it the stream's end does.
    """

    def __new__(cls, stream: Any, *_: Any) -> Self:
        """A Tee with the special methods of the stream."""
        kind: Any = type(stream)
        return cast("Self", object.__new__(_like(kind)))

    def __init__(self, stream: Any, call: Call, watch: Watch, length: int | None) -> None:
        self._stream = stream
        self._call = call
        self._watch = watch
        self._length = length
        if length == 0:
            call.whole = True

    def read(self, *size: Any, **named: Any) -> bytes:
        """Some of the body, or all that is left."""
        data: bytes = self._stream.read(*size, **named)
        self._note(data, _end(data, size or (*named.values(),)) or _all(size, named))
        return data

    def readline(self, *size: Any, **named: Any) -> bytes:
        """A line."""
        data: bytes = self._stream.readline(*size, **named)
        self._note(data, _end(data, size or (*named.values(),)))
        return data

    def _read1(self, *size: Any, **named: Any) -> bytes:
        data: bytes = self._stream.read1(*size, **named)
        self._note(data, _end(data, size or (*named.values(),)))
        return data

    def _readinto(self, buffer: Any) -> int | None:
        return self._filled(buffer, self._stream.readinto(buffer))

    def _readinto1(self, buffer: Any) -> int | None:
        return self._filled(buffer, self._stream.readinto1(buffer))

    def _readlines(self, *hint: Any, **named: Any) -> list[bytes]:
        lines: list[bytes] = self._stream.readlines(*hint, **named)
        self._note(b"".join(lines), not lines or _all(hint, named))
        return lines

    def __iter__(self) -> Iterator[bytes]:
        if hasattr(self, "__next__"):
            return cast("Iterator[bytes]", self)
        return self._lines(iter(self._stream))

    def _next(self) -> bytes:
        try:
            data: bytes = next(self._stream)
        except StopIteration:
            self._note(b"", True)
            raise
        self._note(data, False)
        return data

    def _lines(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            self._note(line, False)
            yield line
        self._note(b"", True)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return getattr(self, f"_{name}") if name in _NOTED else found

    def _filled(self, buffer: Any, size: int | None) -> int | None:
        if not self._call.done:
            room = memoryview(buffer).cast("B")
            self._note(bytes(room[: size or 0]), size == 0 and len(room) > 0)
        return size

    def _note(self, data: bytes, end: bool) -> None:
        call = self._call
        try:
            if call.done or call.whole:  # what is read again is not counted again
                return
            if data:
                call.add(data)
            call.whole = end if self._length is None else call.body_size >= self._length
        except Exception as error:  # fail open
            self._watch.fault(error)
            call.done = True


def _end(data: bytes, size: tuple[Any, ...]) -> bool:
    """Whether what a read of this size gave is the stream's end; None is nothing yet."""
    return data == b"" and size[:1] != (0,)


def _all(size: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether a read of this size goes on to the stream's end."""
    most = next(iter((*size, *named.values())), None)
    return most is None or (type(most) is int and most < 0)


@lru_cache(maxsize=64)
def _like(kind: Any) -> type[Tee]:
    """A kind of Tee that has those special methods which the streams of a kind have."""
    given: dict[str, Any] = {name: _passing(name) for name in _PASSED if name in dir(kind)}
    if "__next__" in dir(kind):
        given["__next__"] = Tee._next
    return type("Tee", (Tee,), given)


def _passing(name: str) -> Callable[..., Any]:
    def passing(self: Tee, *given: Any) -> Any:
        found = getattr(self._stream, name)(*given)
        return self if found is self._stream else found  # of `with` and the like

    return passing
