"""Thirty-two bytes at once tell what one after the other tells, compiled and as plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from detectors.octets import PAD, words_of
from models import lanes

HEX, DIGITS = frozenset(b"0123456789abcdef"), frozenset(b"0123456789")
TESTS = {
    "specials_at": lambda byte: not 0x20 <= byte < 0x7F or byte in b'"\\',
    "hexes_at": HEX.__contains__,
    "digits_at": DIGITS.__contains__,
}
BYTES = st.binary(min_size=lanes.LANES, max_size=60) | st.text(
    '09af/:`gAF "\\\x1f\x7f', min_size=lanes.LANES, max_size=60
).map(str.encode)


def _compiled(of: Any) -> Any:
    def ask(text: Any, at: int) -> int:
        return int(of(text, at))

    return njit(ask)


COMPILED = {name: _compiled(getattr(lanes, name)) for name in TESTS}


def _text(data: bytes) -> Any:
    return words_of(np.frombuffer(data + bytes(PAD), np.uint8))


@pytest.mark.parametrize("name", TESTS)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=BYTES, chosen=st.data())
def test_a_bit_is_set_for_each_byte_that_is_so(name: str, data: bytes, chosen: Any) -> None:
    """At any place, and for the 32 bytes from there on only."""
    at = chosen.draw(st.integers(0, len(data) - lanes.LANES))
    part = data[at : at + lanes.LANES]
    wanted = sum(1 << i for i, byte in enumerate(part) if TESTS[name](byte))
    assert getattr(lanes, name)(_text(data), at) == wanted
    assert COMPILED[name](_text(data), at) == wanted


@njit
def _others(one: Any, at: int, other: Any, there: int) -> int:
    return int(lanes.others_between(one, at, other, there))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(BYTES, st.data())
def test_a_bit_is_set_where_two_texts_differ(data: bytes, chosen: Any) -> None:
    """Texts that are equal but for some bytes differ in these, wherever either begins."""
    at = chosen.draw(st.integers(0, len(data) - lanes.LANES))
    places = chosen.draw(st.sets(st.integers(0, lanes.LANES - 1)))
    changed = bytearray(data[at : at + lanes.LANES])
    for place in places:
        changed[place] ^= 0x81
    wanted = sum(1 << place for place in places)
    one, other = _text(data), _text(b"xyz" + bytes(changed))
    assert lanes.others_between(one, at, other, 3) == wanted
    assert _others(one, at, other, 3) == wanted


@njit
def _first(flags: int) -> int:
    return lanes.first_bit(flags)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 31), st.integers(0, 2**32 - 1))
def test_the_lowest_bit_is_found(bit: int, above: int) -> None:
    """Whatever is set above it."""
    flags = (1 << bit) | (above >> bit << bit)
    assert lanes.first_bit(flags) == bit
    assert _first(flags) == bit


def test_every_test_is_one_look() -> None:
    """Compiled code has one load of 32 bytes for each text: that is what it is for."""
    text = _text(bytes(lanes.LANES))
    looks = [(compiled, (text, 0), 1) for compiled in COMPILED.values()]
    for compiled, arguments, loads in [*looks, (_others, (text, 0, text, 0), 2)]:
        compiled(*arguments)
        code = "\n".join(compiled.inspect_llvm().values())
        assert code.count("load <32 x i8>") == loads
