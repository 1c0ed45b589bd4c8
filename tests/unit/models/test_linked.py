"""Kernels are compiled for what calls them: no machine code of their own, and no less speed."""

from __future__ import annotations

import re

import pytest
from numba import njit
from numba.core.codegen import JITCodeLibrary

from models.kernel import kernel


@kernel
def _square(x: float) -> float:
    return x * x


@kernel
def _norm(x: float, y: float) -> float:
    return _square(x) + _square(y)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that become machine code."""
    found: list[str] = []
    original = JITCodeLibrary._finalize_specific

    def noted(self: JITCodeLibrary) -> None:
        found.append(self.name)
        original(self)

    monkeypatch.setattr(JITCodeLibrary, "_finalize_specific", noted)
    return found


def test_only_what_python_calls_becomes_machine_code(made: list[str]) -> None:
    """A caller has its kernels inside; numba makes nothing of them by themselves."""

    @njit(error_model="python")
    def caller(x: float, y: float) -> float:
        return _norm(x, y) + _square(y)

    assert caller(3.0, 4.0) == 41.0
    assert [name for name in made if re.search("_norm|_square", name)] == []
    assert any("caller" in name for name in made)


def test_a_kernel_is_optimised_within_its_caller() -> None:
    """What calls kernels is as good as what says the same itself: no call is left in it."""

    @njit(error_model="python")
    def caller(x: float, y: float) -> float:
        return _norm(x, y)

    caller(1.0, 2.0)
    (text,) = caller.inspect_llvm().values()
    assert re.search(r"call .*(_norm|_square)", text) is None
