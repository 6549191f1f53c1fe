"""`algorithm.sampler_correction` in verl's words (`algorithm.rollout_correction`). Pure."""

from __future__ import annotations

from typing import Any

from oneshot_rlvr.config import Recipe

Settings = dict[str, Any]
"""Override -> value, in order; a leading + adds a key that verl's own configuration lacks."""

LEAST = 1e-12  # a bound below all ratios, where verl wants one above 0


def correction(recipe: Recipe) -> Settings:
    """verl's sampler is a server of its own, whichever it is, hence corrected for by default; off
    is what it does by itself. Two bounds, joined by a line, mask; one truncates."""
    algorithm, key = recipe.algorithm, "algorithm.rollout_correction"
    mode = recipe.sampler_correction("vllm")
    if mode == "none":
        return {}
    cap, floor = algorithm.sampler_cap, algorithm.sampler_floor or LEAST
    return {
        f"{key}.rollout_is": "sequence" if mode == "sequence_mask" else "token",
        f"{key}.rollout_is_threshold": cap if mode == "token_truncate" else f"{floor:g}_{cap:g}",
    }
