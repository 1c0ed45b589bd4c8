"""``int``, ``min`` and ``max`` of numbers as an instruction or two.

numba has them as functions that are typed, compiled and optimised for every combination of types
that occurs, and that are looked for anew in each round of type inference: an eighth of a first
start. What is told to numba here comes before (a template for a target goes before those for all),
and means the same, number for number; whatever else is asked of the three is left to numba.

>>> from numba import njit
>>> njit(lambda a, b: (int(a), min(a, b), max(a, b)))(2.5, 3)
(2, 2.5, 3.0)
"""

from __future__ import annotations

import operator
from typing import Any

from numba.core import types
from numba.core.imputils import lower_builtin
from numba.core.typing import templates

_NUMBERS = (types.Integer, types.Float)
_signature: Any = templates.signature  # these have no types
_lowers: Any = lower_builtin
_Template: Any = templates.AbstractTemplate


class _Number(_Template):  # type: ignore[misc]
    """``int`` of one number: integers keep their width, as numba has it."""

    key = int
    metadata = {"target": "cpu"}  # noqa: RUF012 -- numba reads it from the class

    def generic(self, args: Any, kws: Any) -> Any:
        if kws or len(args) != 1:
            return None
        if isinstance(args[0], types.Integer):
            return _signature(args[0], *args)
        return _signature(types.intp, *args) if isinstance(args[0], types.Float) else None


class _Extreme(_Template):  # type: ignore[misc]
    """``min`` or ``max`` of two numbers, in the type that holds both."""

    metadata = {"target": "cpu"}  # noqa: RUF012 -- as above

    def generic(self, args: Any, kws: Any) -> Any:
        if kws or len(args) != 2 or not all(isinstance(each, _NUMBERS) for each in args):
            return None
        both = self.context.unify_types(*args)
        return None if both is None else _signature(both, *args)


def _as_integer(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    return context.cast(builder, arguments[0], sig.args[0], sig.return_type)


def _extreme(beyond: Any) -> Any:
    """Return what writes a comparison and a choice; the first stays unless the second is beyond."""

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        kind = sig.return_type
        first, second = (
            context.cast(builder, each, of, kind)
            for each, of in zip(arguments, sig.args, strict=True)
        )
        is_beyond = context.get_function(beyond, _signature(types.boolean, kind, kind))
        return builder.select(is_beyond(builder, (second, first)), second, first)

    return lower


_infers: Any = templates.infer_global
_infers(int)(_Number)
for _of in _NUMBERS:
    _lowers(int, _of)(_as_integer)
for _function, _beyond in ((min, operator.lt), (max, operator.gt)):
    _infers(_function)(type(f"_{_function.__name__}", (_Extreme,), {"key": _function}))
    for _one in _NUMBERS:
        for _other in _NUMBERS:
            _lowers(_function, _one, _other)(_extreme(_beyond))
