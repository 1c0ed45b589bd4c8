"""States that are read block by block: the same as in one piece, and never in memory twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from numpy.typing import NDArray

from detectors.errors import StateError
from detectors.snapshot import MAGIC, State, in_one_piece, pack, read, roomy, unpack
from detectors.tables import KeyedTable, TableSpec
from tests.states import state_of

ROW = np.dtype([("mark", "i8"), ("pair", "i4", 2), ("kind", "i1")])
HEADER = {"offset": 7, "names": ["a", "b"]}


def arrays() -> dict[str, NDArray[Any]]:
    """Arrays of several kinds and sizes; one is empty."""
    rows = np.zeros(1000, ROW)
    rows["mark"] = np.arange(1000)
    rows["pair"][:, 1] = 3
    return {
        "t/rows": rows,
        "t/none": np.zeros(0, np.int64),
        "t/bytes": np.arange(13, dtype=np.uint8),
        "u/places": np.arange(5000, dtype=np.int32),
    }


DATA = pack(HEADER, arrays())


def in_blocks(size: int, data: bytes = DATA, length: int | None = None) -> State:
    """The state of bytes that come in blocks of so many."""
    blocks = (memoryview(data)[at : at + size] for at in range(0, len(data), size))
    return read(blocks, len(data) if length is None else length)


@pytest.mark.parametrize("size", [1, 7, 64, 4096, len(DATA)])
def test_blocks_of_any_size_hold_the_same_state(size: int) -> None:
    """However the bytes are cut, header and arrays are those of the whole."""
    header, found = in_blocks(size)
    assert header == unpack(DATA).header == HEADER
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()


def test_every_damage_is_found() -> None:
    """A changed byte, a missing end, a byte too many, another length: an error, never a state."""
    small = pack({"a": 1}, {"x": np.arange(3)})
    for at in range(len(small)):
        broken = small[:at] + bytes([small[at] ^ 1]) + small[at + 1 :]
        with pytest.raises(StateError, match=r"^snapshot: "):
            in_blocks(16, broken)
    for cut in range(len(small)):
        with pytest.raises(StateError, match=r"^snapshot: "):
            in_blocks(16, small[:cut])
        with pytest.raises(StateError, match=r"^snapshot: "):
            in_blocks(16, small[:cut], len(small))
    with pytest.raises(StateError, match="checksum"):
        in_blocks(16, small + b"\0")
    with pytest.raises(StateError, match="checksum"):
        in_blocks(16, small + b"\0", len(small))


def test_what_was_read_grows_where_it_lies() -> None:
    """An array has room for an eighth more, zeros, in the same memory; beyond that it is copied."""
    found = state_of(DATA).arrays["t/rows"]
    longer = roomy(found, 1125)
    assert np.shares_memory(found, longer)
    assert longer[:1000].tobytes() == arrays()["t/rows"].tobytes()
    assert not in_one_piece(longer[1000:]).tobytes().strip(b"\0")
    longest = roomy(found, 2000)
    assert not np.shares_memory(found, longest)
    assert longest[:1000].tobytes() == found.tobytes()
    assert not in_one_piece(longest[1000:]).tobytes().strip(b"\0")


def test_what_may_not_be_written_is_copied() -> None:
    """A view of a file's bytes stays as it is: what grows of it is other memory."""
    view = unpack(DATA).arrays["t/rows"]
    for length in (1000, 1100):
        made = roomy(view, length)
        made["mark"] = 0
        assert view["mark"].tolist() == list(range(1000))
    with pytest.raises(ValueError, match="1000 rows, of which 999"):
        roomy(view, 999)


NO_ARRAYS = ("[]", '{"x":["<i8",Infinity]}', '{"x":["|O",1]}', '{"x":["|S0",1]}',
             '{"x":["<i8",-1],"y":["<i8",1]}')  # fmt: skip


@pytest.mark.parametrize("arrays", NO_ARRAYS)
def test_a_head_that_makes_no_sense_is_damage(arrays: str) -> None:
    """Whatever a head says of its arrays, it is an error of one kind, which restores expect."""
    text = f'{{"arrays":{arrays},"header":{{}}}}'.encode()
    data = MAGIC + len(text).to_bytes(8, "big") + text
    with pytest.raises(StateError, match=r"^snapshot: "):
        in_blocks(16, data + crc32c(data).to_bytes(4, "big"))


def test_more_rows_than_a_table_may_have_are_refused() -> None:
    """Positions beyond the limit would not fit into the index."""
    large = KeyedTable(TableSpec(("k",), ttl=10, limit=150))
    large.locate(np.arange(1, 151), np.zeros(150, np.int64))
    with pytest.raises(ValueError, match="150 rows, of at most 100"):
        KeyedTable(TableSpec(("k",), ttl=10, limit=100)).restore(large.snapshot())


@pytest.mark.parametrize("refresh", [True, False])
def test_a_table_takes_its_arrays_over(*, refresh: bool) -> None:
    """Rows, slots and memory of a table that is restored are those that were read, with room."""
    spec = TableSpec(("k",), ttl=10_000, limit=4000, refresh=refresh,
                     remembered=0 if refresh else 9000)  # fmt: skip
    table = KeyedTable(spec)
    table.add_rows("user", ROW)
    keys = np.random.default_rng(1).integers(1, 2**62, 5000)
    table.locate(keys[:3000] if refresh else keys, np.zeros(5000, np.int64))
    data = pack({}, table.snapshot())
    state, again = state_of(data), KeyedTable(spec)
    again.add_rows("user", ROW)
    again.restore(state.arrays)
    held = {"slots": again.slots, "rows.user": again.rows["user"]}
    if again.memory is not None:
        held["memory/slots"] = again.memory.slots
    for name, array in held.items():
        assert np.shares_memory(array, state.arrays[name]), name
    assert pack({}, again.snapshot()) == data
    third = KeyedTable(spec)
    third.add_rows("user", ROW)
    third.restore(again.snapshot())  # which goes on to use its own
    assert not any(np.shares_memory(third.slots, each) for each in (again.slots, table.slots))
    later = np.ones(5000, np.int64)
    for one in (table, again):
        one.locate(keys, later)  # grows, or evicts
    assert pack({}, again.snapshot()) == pack({}, table.snapshot())
