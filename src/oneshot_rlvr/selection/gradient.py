"""Alignment of an example's policy gradient with a validation set's: does training on it help?

GradAlign (arXiv 2602.21492) ranks examples by the cosine of their GRPO gradient g_i and the mean
gradient g_v of a trusted validation set, or by their inner product; LearnAlign (arXiv 2506.11480)
weighs gradient alignment with the learnability p (1 - p) of the solve rate p, against the length
bias of gradient norms. Needs gradients: a probe with a validation set (`oneshot select --probe N
--score gradient --validation SET`). Torch-free; the gradients are `train.alignment`'s.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.selection.history import FloatArray, History
from oneshot_rlvr.selection.score import Score

Alignment = Literal["cosine", "inner_product", "learnability"]
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)


def alignment(
    inner_E: FloatArray,
    norm_E: FloatArray,
    validation_norm: float,
    solved_E: FloatArray,
    kind: Alignment = "cosine",
) -> FloatArray:
    """One number an example from <g_i, g_v>, |g_i|, |g_v| and the solve rate p_i.

    cosine: <g_i, g_v> / (|g_i| |g_v|); inner_product: <g_i, g_v>; learnability: p (1 - p) times
    the cosine. An example whose answers are all right or all wrong has no gradient, and gets 0: a
    step on it moves nothing, which is better than a step that harms. nan stays nan.
    DataError where the validation set itself has no gradient.
    """
    if not validation_norm > 0:
        raise DataError(
            "no validation question has both right and wrong answers, so that there is no gradient "
            "to align with; give more answers (--probe) or another validation set"
        )
    if kind not in ALIGNMENTS:
        raise ConfigError(f'alignment is "{kind}"; wanted {", ".join(ALIGNMENTS)}.')
    if kind == "inner_product":
        return np.asarray(inner_E, dtype=np.float64)
    scale = np.where(norm_E > 0, norm_E, 1.0) * validation_norm
    cosine = np.where(np.isnan(inner_E), np.nan, inner_E / scale)
    return cosine * solved_E * (1 - solved_E) if kind == "learnability" else cosine


def gradient(history: History, seed: int = 0) -> FloatArray:
    """As `alignment` made it. DataError for a history without gradients."""
    if history.alignment_E is None:
        raise DataError(
            "score gradient needs the policy gradients themselves; give --probe N --model MODEL "
            "and --validation SET"
        )
    return history.alignment_E


SCORE = Score(gradient, answers=True)
