"""Long answers of a broker, put together once.

asyncio's reader appends every piece that the socket gives to a buffer that grows, wakes the reading
task for each, stops and starts the socket whenever 128 KiB wait, and copies the whole in the end:
for answers of megabytes that is the larger part of what fetching costs. Here the pieces are kept
as they come, the task is woken when the last is there, and they are joined.

`detectors.engines.hooks` names what is used here of asyncio and aiokafka without a promise.
"""

import asyncio
from types import FunctionType
from typing import Any, Final

from aiokafka import client as aiokafka_client

LONG: Final = 1 << 16
"""Bytes from which an answer is read so; shorter ones come in one piece or two."""


class WholeReader(asyncio.StreamReader):
    """A stream reader that takes long answers in pieces."""

    _pieces: list[bytes] | None = None  # of the long answer that is being read
    _missing = 0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # it gets nothing else
        """Take what the socket gave."""
        if self._pieces is None or not self._missing:
            super().feed_data(data)
            return
        more = len(data) - self._missing
        self._pieces.append(data if more <= 0 else data[: self._missing])
        self._missing = max(-more, 0)
        if more > 0:  # the beginning of the next answer
            super().feed_data(data[-more:])
        elif more == 0:
            self._wakeup_waiter()  # type: ignore[attr-defined]

    async def readexactly(self, n: int) -> bytes:
        """Return exactly so many bytes."""
        there: bytearray = self._buffer  # type: ignore[attr-defined]
        if n - len(there) < LONG or self.exception() is not None:
            return await super().readexactly(n)
        pieces = [bytes(there)]
        there.clear()
        self._pieces, self._missing = pieces, n - len(pieces[0])
        try:
            while self._missing:
                if self._eof:  # type: ignore[attr-defined]
                    raise asyncio.IncompleteReadError(b"".join(pieces), n)
                await self._wait_for_data("readexactly")  # type: ignore[attr-defined]
            return b"".join(pieces)
        finally:
            self._pieces, self._missing = None, 0


async def whole_conn(*args: Any, **kwargs: Any) -> Any:
    """A connection as aiokafka makes it, whose long answers are put together once."""
    made = await aiokafka_client.create_conn(*args, **kwargs)
    # Of the same layout; the connection waits for an answer's length, four bytes, if for anything.
    made._reader.__class__ = WholeReader
    return made


def hook_client(client: Any) -> None:
    """Let this aiokafka client, and no other, make its connections so."""
    method = aiokafka_client.AIOKafkaClient._get_conn
    exchanged = FunctionType(
        method.__code__,
        {**method.__globals__, "create_conn": whole_conn},
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    exchanged.__kwdefaults__ = method.__kwdefaults__
    client._get_conn = exchanged.__get__(client)


__all__ = ["LONG", "WholeReader", "hook_client", "whole_conn"]
