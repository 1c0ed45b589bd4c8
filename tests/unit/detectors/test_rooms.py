"""Memory that is used again is nobody else's meanwhile."""

import random
import threading

import numpy as np

from detectors.rooms import LEAST, RESTS, Rooms, zeros


def test_no_two_views_that_are_held_share_a_byte() -> None:
    """Whatever is taken, kept and let go in whatever order."""
    rng = random.Random(4)
    rooms = Rooms(most=3)
    held: list[tuple[memoryview, int]] = []
    for number in range(1000):
        view = rooms.take(rng.randrange(1, 5_000))
        mark = number % 251
        view[:] = bytes([mark]) * len(view)
        held.append((view, mark))
        while len(held) > rng.randrange(8):
            held.pop(rng.randrange(len(held)))
        for each, expected in held:
            assert each == bytes([expected]) * len(each)


def test_a_room_is_used_again_when_its_last_view_is_gone() -> None:
    """A view of a view, and an array over it, count."""
    rooms = Rooms(most=1)
    view = rooms.take(1000)
    view[:4] = b"mark"
    array = np.frombuffer(view[2:], np.uint8)
    del view
    assert bytes(rooms.take(1000)[:4]) != b"mark"
    del array
    assert bytes(rooms.take(1000)[:4]) == b"mark"


def test_rooms_that_nobody_wants_any_more_are_given_back() -> None:
    """Those that are free; what somebody looks at stays his."""
    rooms = Rooms(most=3)
    held = rooms.take(5_000)
    rooms.take(6_000)
    small, large = rooms.sizes
    for _ in range(RESTS - 1):
        rooms.rest()
    assert rooms.sizes == [small, large]
    rooms.rest()
    assert rooms.sizes == [small]
    assert len(held) == 5_000


def test_what_is_a_little_longer_each_time_seldom_needs_another_room() -> None:
    """As answers are while more and more is asked for: a new room for each would be slow."""
    rooms = Rooms(most=3)
    used = []
    size = 100_000
    for _ in range(200):
        used.append(id(rooms.take(size).obj))
        size += size // 200
    assert len(dict.fromkeys(used)) <= 10


def test_small_and_large_in_turn_use_the_same_rooms_again() -> None:
    """One broker catches up while another is at the live edge: nothing is made anew for either."""
    rooms = Rooms(most=3)
    used = set()
    for _ in range(3 * RESTS):
        small, large = rooms.take(70_000), rooms.take(8_000_000)
        used |= {id(small.obj), id(large.obj)}
        del small, large
    assert len(used) == 2


def test_large_arrays_begin_with_zeros_and_belong_to_their_thread() -> None:
    """Though the room was full of something else before."""
    kind = np.dtype([("a", "i8"), ("b", "i4")])
    count = LEAST // kind.itemsize + 7
    first = zeros(count, kind)
    where = first.ctypes.data
    first["a"] = -1
    del first
    again = zeros(count, kind)
    assert again.ctypes.data == where
    assert again.dtype == kind
    assert not again.view(np.uint8).any()
    assert again.flags.writeable
    assert again.flags.c_contiguous
    others = []
    thread = threading.Thread(target=lambda: others.append(zeros(count, kind)))
    del again
    thread.start()
    thread.join()
    assert others[0].ctypes.data != where
