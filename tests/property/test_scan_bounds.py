"""The compiled scan takes nothing from behind an event, and reads no farther than ``PAD`` bytes."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import scanner
from detectors.octets import PAD
from tests.property.test_scan import CONFIG, FULL, encode

PAGE = mmap.PAGESIZE
ROOM = 4 * PAGE
VALUE = encode(FULL)
CUTS = [VALUE[:k] for k in range(len(VALUE) + 1)] + [VALUE[k:] for k in range(1, len(VALUE))]
NUMBERS = [
    VALUE.replace(b'"status":204', b'"status":' + digits)
    for digits in (b"2" * 32, b"9" * 45, b"1." + b"3" * 40, b"204.", b"0204")
]
KEYS = [VALUE.replace(b'"tls_fp"', b'"' + b"k" * size + b'"') for size in (0, 15, 16, 17, 31, 45)]
HOSTILE = [*CUTS, *NUMBERS, *KEYS]
TAILS = [b"9" * PAD, b"a" * PAD, b'"' * PAD, b',"asn":1}'.ljust(PAD, b"}"), VALUE[-PAD:]]


@pytest.fixture(scope="module")
def taught() -> scanner.Scanner:
    """A scanner that knows the texts of the event."""
    from detectors.batch import Decoder

    decoder = Decoder(CONFIG)
    decoder.values([VALUE])
    return decoder._scanner


def _alone(one: scanner.Scanner, text: bytes | NDArray[np.uint8], size: int) -> tuple[bool, bytes]:
    """Whether the scan takes the first bytes of a text as an event, and the columns."""
    scanned = scanner.Scanned(one, b"", np.array([[0, size]]))
    scanned._text = np.frombuffer(text, np.uint8) if isinstance(text, bytes) else text
    for _ in scanned.left():
        pass
    return bool(scanned.taken[0]), scanned.columns.tobytes() if scanned.taken[0] else b""


def test_what_stands_behind_an_event_is_not_part_of_it(taught: scanner.Scanner) -> None:
    """Digits, texts or braces that follow make nothing whole, and change nothing that is."""
    assert _alone(taught, VALUE + bytes(PAD), len(VALUE))[0]
    for value in HOSTILE:
        wanted = _alone(taught, value + bytes(PAD), len(value))
        for tail in TAILS:
            assert _alone(taught, value + tail, len(value)) == wanted, (value, tail)


def test_parts_of_an_event_side_by_side_are_no_event(taught: scanner.Scanner) -> None:
    """Cut anywhere, in one buffer: neither part is taken."""
    for k in range(1, len(VALUE)):
        spans = np.array([[0, k], [k, len(VALUE)]])
        scanned = scanner.Scanned(taught, VALUE + bytes(PAD), spans)
        assert list(scanned.left()) == [0, 1]


@contextmanager
def _guarded() -> Iterator[NDArray[np.uint8]]:
    """Memory behind which nothing may be read: who does ends with a signal."""
    room = mmap.mmap(-1, ROOM + PAGE)
    here = ctypes.addressof(ctypes.c_char.from_buffer(room))
    libc = ctypes.CDLL(None, use_errno=True)
    protect = libc.mprotect
    behind = ctypes.c_void_p(here + ROOM)
    assert protect(behind, PAGE, 0) == 0
    try:
        yield np.frombuffer(room, np.uint8, ROOM)
    finally:
        assert protect(behind, PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect is called by its name there")
def test_nothing_is_read_beyond_the_padding(taught: scanner.Scanner) -> None:
    """Events of any form that end ``PAD`` bytes before memory that may not be read."""
    with _guarded() as room:
        for value in HOSTILE:
            if not value:
                continue
            begin = ROOM - PAD - len(value)
            room[begin : ROOM - PAD] = np.frombuffer(value, np.uint8)
            for tail in TAILS:
                room[ROOM - PAD :] = np.frombuffer(tail, np.uint8)
                _alone(taught, room[begin:], len(value))
        del room
