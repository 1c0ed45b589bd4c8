"""Long answers come in one piece, byte for byte as asyncio's own reader gives them."""

import asyncio
import io
import random
import socket
from typing import Any

import pytest

from detectors.engines.whole_answers import LONG, ViewReader, WholeReader, make_whole
from detectors.rooms import Rooms

MOST = 3


def _reader() -> WholeReader:
    reader = WholeReader()
    reader.rooms = Rooms(MOST)
    return reader


def _pieces(data: bytes, rng: random.Random, most: int) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        size = rng.randrange(1, most)
        found.append(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_pieces_are_the_bytes_are_those_that_were_sent(seed: int) -> None:
    """Short and long answers in turn, in pieces that end anywhere."""
    rng = random.Random(seed)
    sizes = [rng.choice([4, 9, LONG - 1, LONG, LONG + 1, 3 * LONG + 17]) for _ in range(30)]
    data = rng.randbytes(sum(sizes))
    pieces = _pieces(data, rng, rng.choice([5_000, LONG, 4 * LONG]))

    async def read() -> list[Any]:
        reader = _reader()

        async def feed() -> None:
            for piece in pieces:
                reader.feed_data(piece)
                if rng.random() < 0.5:
                    await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.ensure_future(feed())
        found = [await reader.readexactly(size) for size in sizes]
        await feeding
        assert reader.at_eof()
        return found

    found = asyncio.run(read())
    assert b"".join(found) == data
    assert [len(each) for each in found] == sizes


@pytest.mark.parametrize("seed", range(5))
def test_a_socket_writes_where_the_answer_stays(seed: int) -> None:
    """Through a real socket whose reader was exchanged, while answers are kept and let go."""
    rng = random.Random(seed)
    sizes = [rng.choice([4, LONG - 1, LONG, 5 * LONG + 3, 40 * LONG]) for _ in range(40)]
    data = rng.randbytes(sum(sizes))

    async def read() -> list[Any]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        make_whole(reader, writer.transport, Rooms(MOST))
        _, sender = await asyncio.open_connection(sock=theirs)

        async def send() -> None:
            for piece in _pieces(data, rng, 3 * LONG):
                sender.write(piece)
                await sender.drain()
            sender.close()

        sending = asyncio.ensure_future(send())
        found: list[Any] = []
        for number, size in enumerate(sizes):
            answer = await reader.readexactly(size)
            assert isinstance(answer, memoryview) or size < 40 * LONG
            found.append(answer if number % 3 else bytes(answer))
        await sending
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        return found

    assert b"".join(asyncio.run(read())) == data


def test_parts_of_a_long_answer_are_what_they_would_be_of_a_short_one() -> None:
    """Only that long ones are views."""
    data = random.Random(1).randbytes(4 * LONG)
    mine, theirs = ViewReader(memoryview(data)), io.BytesIO(data)
    for size in (4, 0, LONG - 1, LONG, 2, -1, 4):
        part = mine.read(size)
        assert part == theirs.read(size)
        assert isinstance(part, memoryview) == (len(part) >= LONG)


def test_a_connection_that_ends_within_an_answer_says_so() -> None:
    """With what there was, as asyncio does it."""

    async def read() -> None:
        reader = _reader()
        reader.feed_data(b"a" * 10)
        reading = asyncio.ensure_future(reader.readexactly(2 * LONG))
        await asyncio.sleep(0)
        reader.feed_data(b"b" * LONG)
        reader.feed_eof()
        with pytest.raises(asyncio.IncompleteReadError) as told:
            await reading
        assert told.value.partial == b"a" * 10 + b"b" * LONG

    asyncio.run(read())


def test_a_connection_that_breaks_within_an_answer_raises_what_broke_it() -> None:
    """While it waits, and from then on."""

    async def read() -> None:
        reader = _reader()
        reading = asyncio.ensure_future(reader.readexactly(2 * LONG))
        await asyncio.sleep(0)
        reader.feed_data(b"b" * LONG)
        reader.set_exception(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await reading
        with pytest.raises(ConnectionResetError, match="gone"):
            await reader.readexactly(2 * LONG)

    asyncio.run(read())
