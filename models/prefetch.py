"""Asking for memory before it is needed.

A look-up by a random key waits for memory longer than for all that it reckons, and so does a step
for its row. Who asks for the lines of an event some events ahead waits for none. The processor may
fetch what it is asked for, or not; an address that does not exist is no error, and no result
depends on it: plain Python does nothing.

>>> prefetch([1, 2], 7)
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import unpack_tuple
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import signature
from numba.extending import type_callable

AHEAD: Final = 16
"""Events: each takes some 50 ns, and memory answers within 500."""
LINE: Final = 64
"""Bytes that a processor fetches together."""
WRITE, KEEP, DATA = 1, 3, 1
"""Of ``llvm.prefetch``: to be written (most of it is), soon, and no code."""


def prefetch(array: Any, place: int) -> None:
    """Ask for all lines of ``array[place]``, whether there is such a place or not."""


@type_callable(prefetch)
def _typed(_context: Any) -> Any:
    def typer(array: Any, place: Any) -> Any:
        if isinstance(array, types.Array) and array.ndim == 1 and isinstance(place, types.Integer):
            return signature(types.none, array, place)
        return None

    return typer


@lower_builtin(prefetch, types.Array, types.Integer)  # type: ignore[untyped-decorator]
def _lowered(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Write one instruction for each line that an item may lie in."""
    of, place = sig.args
    array = context.make_array(of)(context, builder, arguments[0])
    (stride,) = unpack_tuple(builder, array.strides)
    octets = ir.IntType(8).as_pointer()
    start = builder.mul(context.cast(builder, arguments[1], place, types.intp), stride)
    item = builder.gep(builder.bitcast(array.data, octets), [start])
    flag = ir.IntType(32)
    of_llvm = ir.FunctionType(ir.VoidType(), [octets, flag, flag, flag])
    asks = builder.module.declare_intrinsic("llvm.prefetch", [octets], of_llvm)
    size = (
        of.dtype.size if isinstance(of.dtype, types.Record) else 1
    )  # aligned numbers: in one line
    for at in sorted({*range(0, size, LINE), size - 1}):
        line = builder.gep(item, [context.get_constant(types.intp, at)])
        builder.call(asks, [line, flag(WRITE), flag(KEEP), flag(DATA)])
    return context.get_dummy_value()
