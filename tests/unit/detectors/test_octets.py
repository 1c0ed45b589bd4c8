"""Eight bytes at a time give what one byte at a time gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from detectors import octets

text_end, wide_text_end = njit(octets.text_end), njit(octets.wide_text_end)
hex_in = njit(octets.hex_in)
number_in, clock_in = njit(octets.number_in), njit(octets.clock_in)
EIGHT = st.lists(
    st.sampled_from(b"0123456789:abcdefg/@`G\x00\x7f\x80\xff"), min_size=8, max_size=8
).map(bytes)


def _padded(text: bytes) -> Any:
    return octets.words_of(np.frombuffer(text + bytes(octets.PAD), np.uint8))


def _word(text: bytes) -> Any:
    return np.uint64(int.from_bytes(text, "little"))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.binary(max_size=40) | st.text('ab "\\\x1f\x7f', max_size=40).map(str.encode), st.data())
def test_a_text_ends_at_its_quotation_mark(text: bytes, data: Any) -> None:
    """The end of a text of printable ASCII without escapes is found; of no other."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    at = start
    while at < end and 0x20 <= text[at] < 0x7F and text[at] not in b'"\\':
        at += 1
    wanted = at if at < end and text[at] == octets.QUOTE else -1
    assert text_end(_padded(text), start, end) == wanted


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.binary(max_size=80) | st.text('ab "\\\x1f\x7fäж💥', max_size=40).map(str.encode), st.data()
)
def test_a_text_of_any_script_ends_at_its_quotation_mark(text: bytes, data: Any) -> None:
    """Bytes beyond ASCII are part of a text; control characters and escapes are not."""
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    at = start
    while at < end and text[at] >= 0x20 and text[at] not in b'"\\\x7f':
        at += 1
    wanted = at if at < end and text[at] == octets.QUOTE else -1
    assert wide_text_end(_padded(text), start, end) == wanted


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(st.text("0123456789abcdef", min_size=8, max_size=8))
@example("ffffffff")
@example("00000000")
def test_hexadecimal_digits_are_a_number(digits: str) -> None:
    """Eight lower-case digits give what Python reads."""
    assert hex_in(_word(digits.encode())) == int(digits, 16)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text("0123456789", min_size=1, max_size=8), EIGHT)
def test_digits_are_a_number(digits: str, behind: bytes) -> None:
    """One to eight digits give their number, whatever stands behind them."""
    word = _word((digits.encode() + behind)[:8])
    assert number_in(word, len(digits)) == int(digits)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(EIGHT | st.from_regex(r"[0-3][0-9]:[0-7][0-9]:[0-7][0-9]", fullmatch=True).map(str.encode))
@example(b"23:59:59")
@example(b"24:00:00")
@example(b"1::00:00")
def test_a_time_of_day_is_its_seconds(text: bytes) -> None:
    """``HH:MM:SS`` from 00:00:00 to 23:59:59 gives seconds; anything else is refused."""
    parts = text.split(b":")
    wanted = -1
    if (
        len(text) == 8
        and [len(part) for part in parts] == [2, 2, 2]
        and text.replace(b":", b"").isdigit()
    ):
        hours, minutes, seconds = map(int, parts)
        if hours < 24 and minutes < 60 and seconds < 60:
            wanted = (hours * 60 + minutes) * 60 + seconds
    assert clock_in(_word(text)) == wanted
