"""Long answers come in one piece, byte for byte as asyncio's own reader gives them."""

import asyncio
import random

import pytest

from detectors.engines.whole_answers import LONG, WholeReader


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

    async def read() -> list[bytes]:
        reader = WholeReader()

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


def test_a_connection_that_ends_within_an_answer_says_so() -> None:
    """With what there was, as asyncio does it."""

    async def read() -> None:
        reader = WholeReader()
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
        reader = WholeReader()
        reading = asyncio.ensure_future(reader.readexactly(2 * LONG))
        await asyncio.sleep(0)
        reader.feed_data(b"b" * LONG)
        reader.set_exception(ConnectionResetError("gone"))
        with pytest.raises(ConnectionResetError, match="gone"):
            await reading
        with pytest.raises(ConnectionResetError, match="gone"):
            await reader.readexactly(2 * LONG)

    asyncio.run(read())
