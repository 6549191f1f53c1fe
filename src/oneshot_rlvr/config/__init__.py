"""The recipe: one TOML file, one pydantic model, dotted flags over it.

Defaults are the paper's published setting (arXiv 2504.20571) unless a field says otherwise. Off is
`None` or 0 and the field says so. An unknown key is refused and the nearest one named. The
resolved recipe is saved with the run. Batch sizes are told as prompts (rows), rollouts per prompt
and rollouts per optimizer step; `Recipe.derived()` gives the rest.
"""

from __future__ import annotations

from oneshot_rlvr.config.algorithm import AlgorithmConfig
from oneshot_rlvr.config.backend import BackendConfig
from oneshot_rlvr.config.engines import VLLMConfig
from oneshot_rlvr.config.loading import (
    fingerprint,
    load_layers,
    load_recipe,
    packaged_recipes,
    packaged_studies,
    parse_recipe,
    recipe_fields,
    recipes_directory,
    resolve_recipe,
    to_toml,
    with_overrides,
)
from oneshot_rlvr.config.presets import PRESETS
from oneshot_rlvr.config.recipe import Recipe
from oneshot_rlvr.config.section import Positive, Section, Share
from oneshot_rlvr.config.sections import (
    BenchmarkConfig,
    EvaluationConfig,
    ExamplesConfig,
    LoraConfig,
    ModelConfig,
    OptimizerConfig,
    RewardConfig,
    RolloutsConfig,
    TrackingConfig,
    TrainConfig,
)

__all__ = [
    "PRESETS",
    "AlgorithmConfig",
    "BackendConfig",
    "BenchmarkConfig",
    "EvaluationConfig",
    "ExamplesConfig",
    "LoraConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Positive",
    "Recipe",
    "RewardConfig",
    "RolloutsConfig",
    "Section",
    "Share",
    "TrackingConfig",
    "TrainConfig",
    "VLLMConfig",
    "fingerprint",
    "load_layers",
    "load_recipe",
    "packaged_recipes",
    "packaged_studies",
    "parse_recipe",
    "recipe_fields",
    "recipes_directory",
    "resolve_recipe",
    "to_toml",
    "with_overrides",
]
