"""Types of weights and products in verl's words. Pure."""

from __future__ import annotations

from oneshot_rlvr.backends.verl.correction import Settings
from oneshot_rlvr.config import Recipe


def precision(recipe: Recipe, dtype: str, key: str) -> Settings:
    """Type of the weights, and of the products (autocast).

    verl scales the loss where products are float16, and keeps float32 weights beside them: what our
    masters are.
    """
    weights = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp32"}[dtype]
    products = "bf16" if recipe.model.autocast == "bfloat16" else weights
    products = "fp16" if dtype == "float16" else products
    return {
        f"{key}.model_dtype": weights,
        f"{key}.dtype": {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[products],
        f"+{key}.mixed_precision.param_dtype": products,
        f"+{key}.mixed_precision.reduce_dtype": "fp32",
        f"+{key}.mixed_precision.buffer_dtype": "fp32",
    }


def sampling_dtype(recipe: Recipe, dtype: str, device: str) -> str:
    """Type of the sampler's weights and products."""
    if recipe.rollouts.vllm.dtype != "auto":
        return recipe.rollouts.vllm.dtype
    autocast = recipe.model.autocast == "bfloat16"
    if dtype == "float16":
        return "float16"
    return "bfloat16" if autocast or device == "cuda" else dtype
