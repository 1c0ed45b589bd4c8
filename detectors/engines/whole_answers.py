"""Long answers of a broker, received where they stay.

asyncio's reader makes an object of every piece that the socket gives, appends it to a buffer that
grows, wakes the reading task for each, stops and starts the socket whenever 128 KiB wait, and
copies the whole in the end; aiokafka then copies each partition's part out of it. For answers of
megabytes that is the larger part of what fetching costs, and all of it is memory that the system
hands out anew each time. Here the socket writes a long answer into one room, which is used again
when nobody looks at it any more, and the parts are views of it.

`detectors.engines.hooks` names what is used here of asyncio and aiokafka without a promise.
"""

import asyncio
import io
from types import FunctionType, SimpleNamespace
from typing import Any, Final

from aiokafka import client as aiokafka_client
from aiokafka import conn as aiokafka_conn
from aiokafka.protocol import fetch

from detectors.rooms import Rooms

LONG: Final = 1 << 16
"""Bytes from which an answer is read so; shorter ones come in one piece or two."""
FETCHES: Final = tuple(
    kind for name, kind in vars(fetch).items() if name.startswith("FetchRequest_")
)
PIECE: Final = 1 << 16
LONGEST: Final = 32 << 20
"""Beyond it memory is taken as bytes come, and not by what the first four of them say."""
MOST_ROOMS: Final = 8
"""So many are kept: those that wait in aiokafka and for their walk, and one that is filled."""


class WholeReader(asyncio.StreamReader):
    """A stream reader that takes long answers in one room."""

    rooms: Rooms
    """Those of all connections of a client."""
    _room: memoryview | None = None  # of the long answer that is being read
    _filled = 0

    def room(self) -> memoryview | None:
        """Where the next bytes go; None where they are to be fed."""
        return None if self._room is None else self._room[self._filled :]

    def fill(self, count: int) -> None:
        """Note that so many bytes were written there."""
        self._filled += count
        if self._room is not None and self._filled == len(self._room):
            self._wakeup_waiter()  # type: ignore[attr-defined]

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # it gets nothing else
        """Take what the socket gave."""
        if (room := self.room()) is None:
            super().feed_data(data)
            return
        count = min(len(room), len(data))
        room[:count] = data[:count]
        del room
        self.fill(count)
        if count < len(data):  # the beginning of the next answer
            super().feed_data(data[count:])

    async def readexactly(self, n: int) -> Any:
        """Return exactly so many bytes, or a view of them where they are many."""
        there: bytearray = self._buffer  # type: ignore[attr-defined]
        if not LONG <= n - len(there) <= LONGEST or self.exception() is not None:
            self.rooms.rest()
            return await super().readexactly(n)
        room, self._filled = self.rooms.take(n), len(there)
        room[: self._filled] = there
        there.clear()
        self._room = room
        try:
            while self._filled < n:
                if self._eof:  # type: ignore[attr-defined]
                    raise asyncio.IncompleteReadError(bytes(room[: self._filled]), n)
                await self._wait_for_data("readexactly")  # type: ignore[attr-defined]
            return room.toreadonly()
        finally:
            self._room = None


class WholeProtocol(asyncio.BufferedProtocol):
    """Lets the socket write where a `WholeReader` wants it; all else is the former protocol's."""

    def __init__(self, reader: WholeReader, former: Any) -> None:
        self._reader, self._former = reader, former
        self._piece = memoryview(bytearray(PIECE))
        self._is_long = False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - it is a hint
        """Where the next bytes go."""
        room = self._reader.room()
        self._is_long = bool(room)
        return room or self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """Note that they are there."""
        if self._is_long:
            self._reader.fill(nbytes)
        else:
            self._reader.feed_data(bytes(self._piece[:nbytes]))

    def eof_received(self) -> Any:
        """Pass it on."""
        return self._former.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._former.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._former.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._former.resume_writing()


class ViewReader:
    """Reads a long answer as `io.BytesIO` would, but gives long parts out as views of it."""

    def __init__(self, view: memoryview) -> None:
        self._view, self._at = view, 0

    def read(self, size: int = -1) -> Any:
        """The next so many bytes."""
        part = self._view[self._at :] if size < 0 else self._view[self._at : self._at + size]
        self._at += len(part)
        return part if len(part) >= LONG else bytes(part)


def _opened(answer: Any) -> Any:
    return ViewReader(answer) if isinstance(answer, memoryview) else io.BytesIO(answer)


def exchanged(method: Any, **names: Any) -> FunctionType:
    """The same function, for which these global names mean something else."""
    made = FunctionType(
        method.__code__,
        {**method.__globals__, **names},
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    made.__kwdefaults__ = method.__kwdefaults__
    return made


class WholeConnection(aiokafka_conn.AIOKafkaConnection):  # type: ignore[misc]  # no types there
    """aiokafka's, which reads answers to fetches that are views, too."""

    _handle = exchanged(
        aiokafka_conn.AIOKafkaConnection._handle_frame, io=SimpleNamespace(BytesIO=_opened)
    )

    def _handle_frame(self, resp: Any) -> None:
        request = self._requests[0][1] if self._requests else None
        if isinstance(resp, memoryview) and not isinstance(request, FETCHES):
            resp = bytes(resp)  # parts of it go to who wants bytes
        self._handle(resp)


def make_whole(reader: Any, transport: Any, rooms: Rooms) -> None:
    """Let this stream's long answers be received where they stay, from now on."""
    reader.__class__ = WholeReader  # of the same layout
    reader.rooms = rooms
    transport.set_protocol(WholeProtocol(reader, transport.get_protocol()))


def hook_client(client: Any) -> None:
    """Let this aiokafka client, and no other, make its connections so."""
    rooms = Rooms(MOST_ROOMS)

    async def whole_conn(*args: Any, **kwargs: Any) -> Any:
        made = await aiokafka_client.create_conn(*args, **kwargs)
        if made._reader is None:  # closed again, as by a broker that ends: aiokafka sees to it
            return made
        # It waits for an answer's length, four bytes, if for anything.
        made.__class__ = WholeConnection
        make_whole(made._reader, made._writer.transport, rooms)
        return made

    client._get_conn = exchanged(
        aiokafka_client.AIOKafkaClient._get_conn, create_conn=whole_conn
    ).__get__(client)


__all__ = [
    "LONG",
    "ViewReader",
    "WholeConnection",
    "WholeProtocol",
    "WholeReader",
    "exchanged",
    "hook_client",
    "make_whole",
]
