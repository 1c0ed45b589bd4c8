"""How kernels are compiled: to be linked into what calls them, and for nothing else.

numba makes machine code of every function that it compiles, those included that only compiled code
calls, and optimises each of them before its callers are optimised with it inside. Nobody ever runs
a kernel by itself: so its module is handed on as it is, and is optimised and turned into machine
code within the walk that calls it, once. That spares two fifths of a first start.

Compilers made of chosen passes are documented by numba (``pipeline_class``); of its code library
three methods are used without a promise. ``tests/unit/models/test_linked.py`` says at once when
another version of numba takes kernels another way.
"""

from __future__ import annotations

from typing import Any

from numba import _dynfunc  # type: ignore[attr-defined] # made in C
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    FixupArgs,
    GenericRewrites,
    IRProcessing,
    ReconstructSSA,
    RewriteSemanticConstants,
    TranslateByteCode,
)

PASSES = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    RewriteSemanticConstants,
    GenericRewrites,
    ReconstructSSA,
    NopythonTypeInference,
    PreLowerStripPhis,
    IRLegalization,
)
"""What scalar code without closures, generators and arrays of its own needs before lowering."""


class LinkedLibrary(JITCodeLibrary):
    """The module of a kernel: never optimised, and never machine code, by itself."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Leave it to the caller's module."""

    def _optimize_final_module(self) -> None:
        """Leave it to the caller's module."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


def _not_called(library: Any, fndesc: Any, env: Any) -> Any:
    """Return what stands for a kernel where numba keeps its functions; it cannot be called."""
    name = fndesc.qualname.rpartition(".")[2]
    return _dynfunc.make_function(fndesc.lookup_module(), name, "a kernel", 0, env, (library,))


@register_pass(mutates_CFG=True, analysis_only=False)
class LinkedLowering(NativeLowering):
    """Lowering into a module to be linked."""

    _name = "linked_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower the function; what it calls has been lowered before, by type inference."""
        context = state.targetctx
        state.library = LinkedLibrary(context.codegen(), state.func_id.func_qualname)
        context.get_executable = _not_called  # over the method of its class
        try:
            return bool(super().run_pass(state))
        finally:
            del context.get_executable


class LinkedCompiler(CompilerBase):
    """Compiles kernels for ``models.kernel``."""

    def define_pipelines(self) -> list[Any]:
        """Return the one way that there is: no fall-back to objects."""
        passes = PassManager("linked")
        for each in (*PASSES, LinkedLowering, NoPythonBackend):
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]
