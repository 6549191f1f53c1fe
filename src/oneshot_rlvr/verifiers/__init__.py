"""Verifiers: one file per kind of answer. `get_verifier(name).check(text, example) -> Verdict`.

A verifier reads the model's text, never runs it, and never raises on it: whatever a model writes
ends in a Verdict with one of the closed reasons of `types.Reason`. A gold that makes no sense, an
option that cannot work or a missing package does raise, where it can at load time (`check_gold`).

Not here: deadlines and processes (`rewards/`), which this room knows nothing of.
"""

from __future__ import annotations

from functools import cache

from oneshot_rlvr.registry import Registry
from oneshot_rlvr.verifiers.base import Verifier

VERIFIERS = Registry(
    "verifier",
    {
        "math_answer": "oneshot_rlvr.verifiers.math_answer:MathAnswer",
        "numeric": "oneshot_rlvr.verifiers.numeric:Numeric",
        "multiple_choice": "oneshot_rlvr.verifiers.multiple_choice:MultipleChoice",
        "exact_match": "oneshot_rlvr.verifiers.exact_match:ExactMatch",
        "regex_match": "oneshot_rlvr.verifiers.regex_match:RegexMatch",
        "json_answer": "oneshot_rlvr.verifiers.json_answer:JsonAnswer",
        "python_code": "oneshot_rlvr.verifiers.python_code:PythonCode",
        "chess_move": "oneshot_rlvr.verifiers.chess_move:ChessMove",
        "any_of": "oneshot_rlvr.verifiers.combinations:AnyOf",
        "all_of": "oneshot_rlvr.verifiers.combinations:AllOf",
        "custom": "oneshot_rlvr.verifiers.custom:Custom",
        "reasoning_gym": "oneshot_rlvr.verifiers.reasoning_gym:ReasoningGym",
    },
    extras={"chess_move": "chess", "reasoning_gym": "reasoning-gym"},
)


@cache
def get_verifier(name: str) -> Verifier:
    """The verifier of that name. Errors: UnknownNameError, MissingDependencyError."""
    verifier: Verifier = VERIFIERS.load(name)()
    return verifier


__all__ = ["VERIFIERS", "Verifier", "get_verifier"]
