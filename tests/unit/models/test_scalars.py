"""``int``, ``min`` and ``max`` mean in compiled code what they mean in Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

import models.scalars  # noqa: F401 -- tells numba of the three

INTEGERS = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-(2**52), 2**52)
FLOATS = st.floats()


@njit
def _all(a: Any, b: Any) -> Any:
    return min(a, b), max(a, b)


@njit
def _whole(a: Any) -> Any:
    return int(a)


def _same(found: Any, wanted: Any) -> bool:
    return bool(found == wanted) or (math.isnan(found) and math.isnan(wanted))


@settings(deadline=None, derandomize=True)
@given(st.tuples(INTEGERS, INTEGERS) | st.tuples(FLOATS, FLOATS) | st.tuples(SMALL, FLOATS))
@example((math.nan, 1.0))
@example((1.0, math.nan))
@example((0.0, -0.0))
@example((-0.0, 0.0))
def test_the_lesser_and_the_greater_are_those_of_python(pair: tuple[Any, Any]) -> None:
    """Of integers, floats, and one of each; where neither is beyond, the first one."""
    found = _all(*pair)
    wanted = min(*pair), max(*pair)
    assert all(map(_same, found, wanted))
    assert [math.copysign(1, each) for each in found] == [math.copysign(1, w) for w in wanted]


@settings(deadline=None, derandomize=True)
@given(INTEGERS | st.floats(-1e15, 1e15))
def test_a_number_is_made_whole_as_in_python(number: Any) -> None:
    """Towards 0."""
    assert _whole(number) == int(number)


@pytest.mark.parametrize("kind", ["i1", "i4", "u8"])
def test_integers_keep_their_width(kind: str) -> None:
    """As numba has it: a number of a row is not widened by itself."""
    assert _whole.py_func is not None
    value = np.dtype(kind).type(7)
    assert _whole(value) == 7
    (returned,) = {
        str(signature.return_type)
        for signature in _whole.nopython_signatures
        if str(signature.args[0]) == np.dtype(kind).name
    }
    assert returned == np.dtype(kind).name


def test_no_function_is_compiled_for_them() -> None:
    """What numba would compile for each combination of types is not asked for: it was faster."""
    _all(1, 2)
    _all(1, 2.5)
    _whole(1)
    for compiled in (_all, _whole):
        for code in compiled.inspect_llvm().values():
            assert "ol_m" not in code
            assert "ol_int" not in code
