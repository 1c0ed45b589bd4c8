"""A kernel is a plain scalar function that numba compiles where compiled code calls it.

Called from Python it runs as Python, in every mode; with ``NUMBA_DISABLE_JIT=1`` the walks that
call it do so too: that is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba.extending import register_jitable

from models import scalars  # noqa: F401 -- tells numba of them
from models.linked import LinkedCompiler

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Let compiled code call a scalar function; Python's rules for division, no reordered sums.

    ``fastmath`` would let compiled and plain results differ, so it stays off. No wrappers for
    callers in Python or C are compiled: they take a fifth of the first start, and nobody calls
    them. What is called from a cached walk needs no cache of its own.
    """
    if getattr(function, "is_kernel", False):
        return function
    jitable = register_jitable(
        error_model="python",
        fastmath=False,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        pipeline_class=LinkedCompiler,
    )
    jitable(function)
    setattr(function, "is_kernel", True)  # noqa: B010 -- functions have no such attribute
    return function
