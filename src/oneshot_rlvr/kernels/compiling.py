"""How a function becomes a compiled loop: entries that Python calls, and the parts they are of.

`compiled` makes an entry that Python calls, kept on disk (`cache.py`); `part` and `inlined` make
what entries are written with.

An entry is compiled with its parts in it. numba gives every part one name in the whole process as
well, and where several pieces of code have one name the loader takes the first that came: in the
process that compiles it is the part by itself, in one that reads the entry from disk the entry's
own copy, which was optimised once more and rounds otherwise. Here an entry's copies are its own
(`_Alone`), so an entry is the same code in every process, whatever was compiled or loaded before.
"""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import IRLegalization

from oneshot_rlvr.kernels.cache import KernelCache

# Sums in any order. Not among them: that nothing is infinite or not a number; a model that diverged
# must be seen to have.
FREE = {"reassoc", "contract", "arcp", "nsz"}


# A division by zero gives infinity, as everywhere else here: to ask each time costs the vectors.
_FLAGS: dict[str, Any] = {"fastmath": FREE, "error_model": "numpy"}


@register_pass(mutates_CFG=False, analysis_only=True)
class _OwnLibrary(LoweringPass):
    """Gives an entry a library whose parts are seen by nobody else, from after optimisation on."""

    _name = "own_library"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        library.enable_object_caching()
        optimise = library._optimize_final_module

        def alone() -> None:
            optimise()
            for function in library._final_module.functions:
                if not function.is_declaration and function.linkage.name == "linkonce_odr":
                    function.linkage = "internal"

        library._optimize_final_module = alone
        state.library = library
        return False


class _Alone(CompilerBase):
    """numba's compiler with `_OwnLibrary`."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_OwnLibrary, IRLegalization)
        passes.finalize()
        return [passes]


def compiled(function: Any) -> Any:
    """An entry: numba's `njit`, without Python's lock, kept on disk where that is possible."""
    made = njit(nogil=True, pipeline_class=_Alone, **_FLAGS)(function)
    made._cache = KernelCache(function)
    return made


def on_disk(function: Any) -> bool:
    """Whether an entry needs no compiling, now or ever in this process."""
    return bool(function.signatures) or bool(function._cache.entries())


def inlined(function: Any) -> Any:
    """A part of compiled functions, without a call of its own."""
    return njit(inline="always", **_FLAGS)(function)


def part(function: Any) -> Any:
    """A part of compiled functions, compiled once for all constants that it is called with."""
    made = njit(nogil=True, **_FLAGS)(function)
    template = made.get_call_template
    made.get_call_template = lambda args, kws: template([types.unliteral(a) for a in args], kws)
    return made
