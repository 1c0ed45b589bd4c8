"""States of checkpoints as bytes, read back as a worker reads them: block by block."""

from collections.abc import Iterable, Iterator, Sequence

from detectors.snapshot import State, merge, pack, read

ODD = 4_999
"""Bytes of a block, so that what belongs together is cut everywhere."""


def state_of(data: bytes) -> State:
    """The state that bytes hold; each block is overwritten by the next."""
    return read(_blocks(data), len(data))


def _blocks(data: bytes) -> Iterator[memoryview]:
    room = memoryview(bytearray(ODD))
    for start in range(0, len(data), ODD):
        part = data[start : start + ODD]
        room[: len(part)] = part
        yield room[: len(part)]


def merged(base: bytes, changes: Sequence[bytes]) -> State:
    """The state that changes make of an earlier one."""
    return merge(state_of(base), [state_of(one) for one in changes])


def packed_again(base: bytes, changes: Sequence[bytes]) -> bytes:
    """The same as bytes."""
    return pack(*merged(base, changes))


def joined(blocks: Iterable[memoryview], length: int) -> bytes:
    """The bytes of a content that is no state."""
    found = b"".join(map(bytes, blocks))
    assert len(found) == length
    return found
