"""Reinforcement learning from verifiable rewards on one verified example.

    oneshot_rlvr.select("pool.parquet", history=...)       a pool -> its best examples
    oneshot_rlvr.train("tiny_one_shot", out="runs/demo")   a recipe -> a run
    oneshot_rlvr.evaluate("runs/demo", seed=7)             a run or any model -> graded answers
    oneshot_rlvr.analyse("runs/demo")                      a run -> what happened, as tables
    oneshot_rlvr.report("runs/demo")                       a run -> one HTML file
    oneshot_rlvr.diff("runs/demo")                         a run -> where base and result differ
    oneshot_rlvr.extrapolate("runs/demo@20", "runs/demo@40", 100)   a later model, predicted

These are the command line's own calls (`oneshot_rlvr.verbs`). Importing the package imports
nothing else: torch, transformers and the charts come with the first call.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oneshot_rlvr.verbs.analyse import analyse as analyse
    from oneshot_rlvr.verbs.diff import diff as diff
    from oneshot_rlvr.verbs.evaluate import evaluate as evaluate
    from oneshot_rlvr.verbs.extrapolate import extrapolate as extrapolate
    from oneshot_rlvr.verbs.report import report as report
    from oneshot_rlvr.verbs.select import select as select
    from oneshot_rlvr.verbs.train import train as train

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "analyse",
    "diff",
    "evaluate",
    "extrapolate",
    "report",
    "select",
    "train",
]

# `train` and `report` are rooms of the package as well as verbs. Importing a submodule sets it as
# an attribute here and would hide a function of that name, so these two rooms are made callable.
_VERB_ROOMS = ("report", "train")
_VERBS = ("analyse", "diff", "evaluate", "extrapolate", "select")


def _verb_named(name: str) -> Any:
    """The verb, whose errors name arguments where the command line's name flags."""
    verb = getattr(importlib.import_module(f"oneshot_rlvr.verbs.{name}"), name)

    @functools.wraps(verb)
    def called(*args: Any, **kwargs: Any) -> Any:
        from oneshot_rlvr.errors import OneshotError, with_arguments

        try:
            return verb(*args, **kwargs)
        except OneshotError as error:
            error.args = tuple(with_arguments(a) if isinstance(a, str) else a for a in error.args)
            raise

    return called


class _VerbRoom(ModuleType):
    """A subpackage that is called like the verb of the same name."""

    @property
    def _verb(self) -> Any:
        return _verb_named(self.__name__.rpartition(".")[2])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._verb(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._verb)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        verb = self._verb
        return f"{verb.__name__}{inspect.signature(verb)}\n\n{inspect.getdoc(verb)}"


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VERB_ROOMS and type(value) is ModuleType:
            value.__class__ = _VerbRoom
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _VERB_ROOMS:
            return importlib.import_module(f"oneshot_rlvr.{name}")
        if name in _VERBS:
            return _verb_named(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({*__all__, *(name for name in vars(self) if name.startswith("__"))})


sys.modules[__name__].__class__ = _Package
