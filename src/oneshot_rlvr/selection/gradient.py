"""Alignment of an example's policy gradient with a validation set's: does training on it help?

With g_i the gradient of an example, g_j that of a validation question, p their solve rates and
u = g / |g|:

    cosine          <g_i, G> / (|g_i| |G|),  G = mean_j g_j
    inner_product   <g_i, G>
    learnability    p_i (1 - p_i) <u_i, mean_j p_j (1 - p_j) u_j>

The first two are GradAlign (Yang et al. 2026, arXiv 2602.21492; the cosine is its default). Read
were its abstract and the authors' code (github.com/StigLidu/GradAlign): there, too, G is the
gradient of all validation answers together, and an example without gradient scores 0. It differs
in taking the gradient of all weights, and in averaging every answer over its own length; here
gradients are as `train.alignment` says. It also selects anew every few steps; here it is done once.

The third is LearnAlign's score (Li et al. 2025, arXiv 2506.11480): the row mean of
S_ij = V_i V_j <u_i, u_j> with V = p (1 - p), which takes the place of the gradient's norm because
that depends on how long answers are. Known are its abstract and accounts of that equation by
others, not the paper itself. It aligns within the pool, after a short warm-up training and through
a random projection; here j runs over the validation set, from the model as it is.

Needs gradients: a probe with a validation set (`oneshot select --probe N --score gradient
--validation SET`). Torch-free; the gradients are `train.alignment`'s.
"""

from __future__ import annotations

from typing import Literal, TypeVar, get_args

import numpy as np

from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score

Alignment = Literal["cosine", "inner_product", "learnability"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)

Rate = TypeVar("Rate", float, FloatArray)


def learnability(solved: Rate) -> Rate:
    """V = p (1 - p) of solve rates: 0 where always or never solved, at most 1/4."""
    return solved * (1 - solved)


def alignment(
    inner_E: FloatArray,
    norm_E: FloatArray,
    aim_norm: float,
    solved_E: FloatArray,
    kind: Alignment = "cosine",
) -> FloatArray:
    """One number an example from <g_i, a>, |g_i|, |a| and the solve rate p_i, a being the aim.

    The aim of cosine and inner_product is the mean of the validation questions' gradients, that of
    learnability the mean of their unit gradients times p (1 - p); the equations stand above. An
    example whose answers are all right or all wrong has no gradient, and gets 0: a step on it moves
    nothing, which is better than a step that harms. nan stays nan.
    DataError where the aim is 0, ConfigError for another kind.
    """
    if kind not in ALIGNMENTS:
        raise ConfigError(f'alignment is "{kind}"; wanted {", ".join(ALIGNMENTS)}.')
    if not aim_norm > 0:
        raise DataError(
            "no validation question has both right and wrong answers, so that there is no gradient "
            "to align with; give more answers (--probe) or another validation set"
        )
    if kind == "inner_product":
        return np.asarray(inner_E, dtype=np.float64)
    own_E = np.where(np.isnan(inner_E), np.nan, inner_E / np.where(norm_E > 0, norm_E, 1.0))
    return own_E / aim_norm if kind == "cosine" else learnability(solved_E) * own_E


def gradient(history: History, seed: int = 0) -> FloatArray:
    """As `alignment` made it. DataError for a history without gradients."""
    if history.alignment_E is None:
        raise DataError(
            "score gradient needs the policy gradients themselves; give --probe N --model MODEL "
            "and --validation SET"
        )
    return history.alignment_E


SCORE = Score(gradient, answers=True)
