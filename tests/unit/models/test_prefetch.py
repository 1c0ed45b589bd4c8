"""Memory is asked for, and nothing else happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from models.prefetch import prefetch


def ask(array: Any, place: int) -> int:
    """Ask, then go on."""
    prefetch(array, place)
    return len(array)


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        (np.dtype("i8"), 1),
        (np.dtype("i1"), 1),
        (np.dtype([("a", "i8"), ("b", "i1")]), 2),
        (np.dtype([("a", "i8", 8)]), 2),
        (np.dtype([("a", "i1", 65)]), 2),
        (np.dtype([("a", "i1", 130)]), 4),
    ],
)
def test_every_line_is_asked_for_that_an_item_may_lie_in(item: np.dtype[Any], lines: int) -> None:
    """Compiled code has one instruction for each; a number lies in one."""
    array = np.zeros(3, item)
    compiled = njit(ask)
    assert compiled(array, 1) == 3
    (text,) = compiled.inspect_llvm().values()
    asked = [line for line in text.splitlines() if "call void @llvm.prefetch" in line]
    assert len(asked) == lines


def test_places_that_do_not_exist_are_no_error() -> None:
    """Before, after and far outside of an array there is nothing to fetch, and nothing fails."""
    array = np.zeros(3, np.dtype([("a", "i8"), ("b", "i8", 20)]))
    compiled = njit(ask)
    assert [compiled(array, place) for place in (-1, 3, 10**12, -(10**12))] == [3] * 4
    assert [ask(array, place) for place in (-1, 3)] == [3] * 2
