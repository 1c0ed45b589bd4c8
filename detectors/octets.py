"""Texts many bytes at a time, for compiled code: a 64-bit word holds the bytes from a place on.

The first byte is the lowest. A text is an array of its words, one for each place, so every place
that is read needs seven more bytes behind it: ``PAD`` is room for all that is read at once.

Digits are reckoned on all eight at once, as in H. S. Warren, "Hacker's Delight", 2nd edition,
chapter 6; tests look at ``models.lanes`` of 32.

All words are unsigned, and nothing else is: mixed arithmetic would go through floats.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.kernel import kernel
from models.lanes import LANES, WORD_BYTES, first_bit, specials_at, word_at

BYTES = WORD_BYTES
PAD = LANES + 8
"""Bytes behind a text; with fewer than two words the view would be another kind of array, too."""
WORD = np.dtype([("word", "<u8")])
"""Packed, so that compiled code knows that words stand at any place, not at multiples of eight."""
_NONE, _FOUR, _SIX, _EIGHT = np.uint64(0), np.uint64(4), np.uint64(6), np.uint64(8)
_SIXTEEN, _HALF = np.uint64(16), np.uint64(32)
_ONES = np.uint64(0x0101010101010101)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_NINE, _TEN = np.uint64(9), np.uint64(10)
_HUNDRED, _MYRIAD = np.uint64(100), np.uint64(10_000)
_BYTE = np.uint64(0xFF)
_CLOCK_FIXED, _CLOCK = np.uint64(0xF0F0FFF0F0FFF0F0), np.uint64(0x30303A30303A3030)
_CLOCK_DIGITS, _CLOCK_SIXES = np.uint64(0x0F0F000F0F000F0F), np.uint64(0x0606000606000606)
_EVERY_SECOND = np.uint64(0x00FF00FF00FF00FF)
_EVERY_FOURTH = np.uint64(0x0000FFFF0000FFFF)
LOW_HALF = np.uint64(0xFFFFFFFF)
MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
"""By a number of bytes, that many of them."""
QUOTE = 0x22
BEYOND_ASCII = 0x80


def words_of(text: NDArray[np.uint8]) -> NDArray[Any]:
    """Return a view with a word for each place that has eight bytes; there must be two or more."""
    return np.ndarray((len(text) - BYTES + 1,), WORD, text.data, strides=(1,))


@kernel
def byte_at(text: Any, at: int) -> int:
    """Return the byte at a place."""
    return int(np.int64(word_at(text, at) & _BYTE))


@kernel
def text_end(text: Any, at: int, end: int) -> int:
    """Return where a text ends that begins at ``at``; -1 where it is not plain ASCII."""
    while at < end:
        flags = specials_at(text, at)
        if flags != 0:
            at += first_bit(flags)
            break
        at += LANES
    if at < end and byte_at(text, at) == QUOTE:
        return at
    return -1


@kernel
def wide_text_end(text: Any, at: int, end: int) -> int:
    """Return the same where bytes beyond ASCII may stand; -1 at an escape or control character.

    Whether it is UTF-8 is not looked at: only for texts that are then compared with valid ones.
    """
    while at < end:
        flags = specials_at(text, at)
        if flags == 0:
            at += LANES
        else:
            at += first_bit(flags)
            b = byte_at(text, at)
            if at < end and b == QUOTE:
                return at
            if b < BEYOND_ASCII:
                return -1
            at += 1
    return -1


@kernel
def hex_in(word: Any) -> int:
    """Return the number that eight lower-case hexadecimal digits write; all must be digits."""
    value = (word & _LOW_NIBBLES) + ((word >> _SIX) & _ONES) * _NINE  # a letter has 6 above
    value = ((value << _FOUR) | (value >> _EIGHT)) & _EVERY_SECOND
    value = ((value << _EIGHT) | (value >> _SIXTEEN)) & _EVERY_FOURTH
    return int(np.int64(((value << _SIXTEEN) | (value >> _HALF)) & LOW_HALF))


@kernel
def number_in(word: Any, count: int) -> int:
    """Return the number that the first one to eight bytes of a word write; all must be digits."""
    value = (word & _LOW_NIBBLES) << np.uint64(8 * (BYTES - count))
    value = (value * _TEN + (value >> _EIGHT)) & _EVERY_SECOND
    value = (value * _HUNDRED + (value >> _SIXTEEN)) & _EVERY_FOURTH
    return int(np.int64((value * _MYRIAD + (value >> _HALF)) & LOW_HALF))


@kernel
def clock_in(word: Any) -> int:
    """Return the seconds of a time of day ``HH:MM:SS``; -1 where it is none."""
    value = word & _CLOCK_DIGITS
    if word & _CLOCK_FIXED != _CLOCK or (value + _CLOCK_SIXES) & ~_LOW_NIBBLES != _NONE:
        return -1
    value = value * _TEN + (value >> _EIGHT)
    hours = int(np.int64(value & _BYTE))
    minutes = int(np.int64((value >> np.uint64(24)) & _BYTE))
    seconds = int(np.int64((value >> np.uint64(48)) & _BYTE))
    if hours > 23 or minutes > 59 or seconds > 59:
        return -1
    return (hours * 60 + minutes) * 60 + seconds
