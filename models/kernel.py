"""A kernel is a plain scalar function that numba compiles and that runs uncompiled just the same.

With ``NUMBA_DISABLE_JIT=1`` the same functions run as Python: that is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile a scalar function; Python's rules for division and no reordering of sums.

    ``fastmath`` would let compiled and plain results differ, so it stays off. What is called from a
    cached walk needs no cache of its own.
    """
    if hasattr(function, "py_func"):
        return function  # compiled already
    return cast("F", njit(function, error_model="python", fastmath=False))
