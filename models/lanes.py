"""Texts in lanes: many bytes looked at in one go, at any place.

A text is an array of its words (``detectors.octets``), one for each of its bytes: what is read at a
place are the bytes from there on, the first one lowest. Compiled code loads them without asking
where the text ends or whether the place is below 0, as indexing would; whoever calls sees to it,
and to ``LANES`` bytes that may be read behind the last place.

The tests of 32 bytes at once give a number with a bit for each byte. LLVM writes them in whatever
the processor has (two or four registers of SSE or NEON, one of AVX2); plain Python looks at one
byte after the other, and finds the same.

>>> import numpy as np
>>> text = np.ndarray((40,), [("word", "<u8")], b"nine chars" + bytes(37), strides=(1,))
>>> first_bit(specials_at(text, 0)), bin(hexes_at(text, 0))
(10, '0b10101000')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing import templates
from numba.extending import type_callable

LANES: Final = 32
WORD_BYTES: Final = 8
_signature: Any = templates.signature  # it has no types
_WORD, _MASK = ir.IntType(64), ir.IntType(LANES)
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_HEX = b"0123456789abcdef"


def _bytes_at(text: Any, at: int) -> bytes:
    return b"".join(int(text[at + i]["word"]).to_bytes(8, "little") for i in range(0, LANES, 8))


def _flagged(flags: Any) -> int:
    return sum(1 << i for i, flag in enumerate(flags) if flag)


def word_at(text: Any, at: int) -> Any:
    """Return the eight bytes from a place on."""
    return text[at]["word"]


def specials_at(text: Any, at: int) -> int:
    """Flag what does not stand for itself in a JSON text of printable ASCII."""
    return _flagged(not 0x20 <= b < 0x7F or b in b'"\\' for b in _bytes_at(text, at))


def hexes_at(text: Any, at: int) -> int:
    """Flag lower-case hexadecimal digits."""
    return _flagged(b in _HEX for b in _bytes_at(text, at))


def digits_at(text: Any, at: int) -> int:
    """Flag decimal digits."""
    return _flagged(b in _HEX[:10] for b in _bytes_at(text, at))


def others_between(one: Any, at: int, other: Any, there: int) -> int:
    """Flag where two texts differ."""
    both = zip(_bytes_at(one, at), _bytes_at(other, there), strict=True)
    return _flagged(a != b for a, b in both)


def first_bit(flags: int) -> int:
    """Return which the lowest bit is that is set; there must be one."""
    return (flags & -flags).bit_length() - 1


def _of_text(result: Any) -> Callable[[Any], Any]:
    """Return what tells numba the type of a test of one text at one place."""

    def of(_context: Any) -> Any:
        def typer(text: Any, at: Any) -> Any:
            return _signature(result, text, at) if _is_place(text, at) else None

        return typer

    return of


def _of_texts(_context: Any) -> Any:
    def typer(one: Any, at: Any, other: Any, there: Any) -> Any:
        if _is_place(one, at) and _is_place(other, there):
            return _signature(types.int64, one, at, other, there)
        return None

    return typer


def _of_flags(_context: Any) -> Any:
    def typer(flags: Any) -> Any:
        return _signature(types.int64, flags) if isinstance(flags, types.Integer) else None

    return typer


def _is_place(text: Any, at: Any) -> bool:
    """Whether it is an array of words: others would be stepped through by other strides."""
    is_text = isinstance(text, types.Array) and isinstance(text.dtype, types.Record)
    return is_text and text.dtype.size == WORD_BYTES and isinstance(at, types.Integer)


_TEXT = (types.Array, types.Integer)


def _load(context: Any, builder: Any, kind: Any, of: Any, text: Any, place: Any) -> Any:
    """Write one load, from any address, of what stands at a place of a text."""
    array = context.make_array(of[0])(context, builder, text)
    at = context.cast(builder, place, of[1], types.intp)
    start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
    item = builder.load(builder.bitcast(builder.gep(start, [at]), kind.as_pointer()))
    item.align = 1
    return item


def _all(byte: int) -> Any:
    return ir.Constant(_BYTES, [byte] * LANES)


def _number(builder: Any, flags: Any) -> Any:
    """Write what makes a number of flags."""
    return builder.zext(builder.bitcast(flags, _MASK), _WORD)


def _within(builder: Any, found: Any, first: int, count: int) -> Any:
    """Write the test for bytes from ``first`` on, so many."""
    return builder.icmp_unsigned("<", builder.sub(found, _all(first)), _all(count))


def _word_at(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    return _load(context, builder, _WORD, sig.args, *arguments)


def _specials_at(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    found = _load(context, builder, _BYTES, sig.args, *arguments)
    plain = _within(builder, found, 0x20, 0x7F - 0x20)
    quote = builder.icmp_unsigned("==", found, _all(0x22))
    slash = builder.icmp_unsigned("==", found, _all(0x5C))
    return _number(builder, builder.or_(builder.or_(quote, slash), builder.not_(plain)))


def _hexes_at(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    found = _load(context, builder, _BYTES, sig.args, *arguments)
    digit = _within(builder, found, 0x30, 10)
    return _number(builder, builder.or_(digit, _within(builder, found, 0x61, 6)))


def _digits_at(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    found = _load(context, builder, _BYTES, sig.args, *arguments)
    return _number(builder, _within(builder, found, 0x30, 10))


def _others_between(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    one = _load(context, builder, _BYTES, sig.args[:2], *arguments[:2])
    other = _load(context, builder, _BYTES, sig.args[2:], *arguments[2:])
    return _number(builder, builder.icmp_unsigned("!=", one, other))


def _first_bit(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    flags = context.cast(builder, arguments[0], sig.args[0], types.int64)
    return builder.cttz(flags, ir.Constant(ir.IntType(1), 1))


_lowers: Any = lower_builtin  # it has no types
for _function, _lowered, _result in (
    (word_at, _word_at, types.uint64),
    (specials_at, _specials_at, types.int64),
    (hexes_at, _hexes_at, types.int64),
    (digits_at, _digits_at, types.int64),
):
    type_callable(_function)(_of_text(_result))
    _lowers(_function, *_TEXT)(_lowered)
type_callable(others_between)(_of_texts)
_lowers(others_between, *_TEXT, *_TEXT)(_others_between)
type_callable(first_bit)(_of_flags)
_lowers(first_bit, types.Integer)(_first_bit)
