"""What becomes of every key of a recipe on TRL. A key is in exactly one of these tables.

TRANSLATED   becomes a setting of GRPOConfig, or a line of the script
FILED        becomes part of the script's files: rows, the model, the reward's settings
APART        concerns nothing that the script does; the reason says who does it
REFUSED      has no counterpart: only its default runs; the advice says what to do instead

A key that is in none (one that is new) is refused like the last, so that nothing is dropped in
silence; a test walks all keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.rewards import ARMS

TRANSLATED = frozenset(
    {
        "name",
        *("model.path", "model.revision", "model.dtype", "model.device", "model.autocast"),
        *("model.trust_remote_code", "model.chat_template", "model.gradient_checkpointing"),
        "model.template_arguments",
        *("model.lora", "model.lora.rank", "model.lora.alpha", "model.lora.targets"),
        *("model.lora.preset", "model.lora.rate_factor"),
        *("rollouts.engine", "rollouts.prompts_per_step", "rollouts.group_size"),
        *("rollouts.max_prompt_tokens", "rollouts.max_new_tokens", "rollouts.temperature"),
        *("rollouts.vllm.memory_share", "rollouts.vllm.sleep"),
        *("algorithm.name", "algorithm.clip_low", "algorithm.clip_high", "algorithm.averaging"),
        *("algorithm.kl_coefficient", "algorithm.kl_estimator", "algorithm.kl_place"),
        *("algorithm.entropy_coefficient", "algorithm.reference_refresh_every"),
        *("algorithm.sampler_correction", "algorithm.sampler_cap", "algorithm.sampler_floor"),
        *("algorithm.dual_clip", "algorithm.top_entropy_share", "algorithm.mask_truncated"),
        *("optimizer.learning_rate", "optimizer.betas", "optimizer.weight_decay"),
        *("optimizer.gradient_clip", "optimizer.warmup_steps"),
        *("train.steps", "train.updates_per_rollout", "train.epochs", "train.micro_batch_tokens"),
        *("train.seed", "train.save_every", "train.keep_checkpoints", "train.threads"),
        *("tracking.trackers", "tracking.project"),
    }
)

FILED: Mapping[str, str] = {
    "examples.*": "the examples are read here and written as TRL's rows",
    "reward.*": "settings of our reward function in the script",
}

APART: Mapping[str, str] = {
    "note": "a line of our report",
    "rollouts.vllm.*": "TRL sets up its own vLLM",
    "train.eval_every": "TRL validates at the training temperature; ask a checkpoint with "
    "`oneshot evaluate`",
    "evaluation.*": "ask the saved model with `oneshot evaluate`",
    "train.max_skipped_updates": "TRL takes every update",
    "train.term_norms_every": "TRL does not measure them",
    "tracking.print_every": "TRL prints every update",
    "backend.*": "start the script with `accelerate launch` for more than one GPU",
}

_WHOLE = "TRL draws from what is left and trains the whole distribution: leave it off"

REFUSED: Mapping[str, str] = {
    "train.checkpoint_rule": "the script takes the last checkpoint; choose among them with "
    "`oneshot evaluate`",
    "algorithm.policy_coefficient": "scale the other coefficients and the learning rate instead",
    "algorithm.advantage_epsilon": "TRL's is 1e-4",
    "algorithm.std_floor": "TRL has none: set it to 0",
    **dict.fromkeys(("rollouts.top_p", "rollouts.top_k", "rollouts.min_p"), _WHOLE),
    "rollouts.autocast": "TRL samples in the type it trains in: model.autocast",
    "algorithm.positive_weight": "TRL weighs both signs alike",
    "algorithm.negative_weight": "TRL weighs both signs alike",
    "algorithm.zero_variance_coefficient": "TRL has no RL-ZVP",
    "algorithm.covariance": "TRL has neither Clip-Cov nor KL-Cov",
    "algorithm.covariance_share": "it belongs to algorithm.covariance",
    "algorithm.covariance_low": "it belongs to algorithm.covariance",
    "algorithm.covariance_high": "it belongs to algorithm.covariance",
    "algorithm.covariance_coefficient": "it belongs to algorithm.covariance",
    "train.zero_variance_share": "TRL computes every rollout",
    "algorithm.entropy_target": "TRL's controller follows another rule",
    "algorithm.entropy_rate": "it belongs to algorithm.entropy_target",
    "algorithm.entropy_coefficient_max": "it belongs to algorithm.entropy_target",
    "algorithm.overlong_buffer_share": "set reward.length_penalty instead",
    "algorithm.overlong_penalty": "it belongs to algorithm.overlong_buffer_share",
    "algorithm.dynamic_sampling": "TRL has none",
    "algorithm.dynamic_sampling_rounds": "it belongs to algorithm.dynamic_sampling",
    "algorithm.gamma": "TRL has no ppo and no reinforce_plus_plus",
    "algorithm.gae_lambda": "TRL has no ppo",
    "algorithm.critic": "TRL has no ppo",
    "algorithm.critic_learning_rate": "TRL has no ppo",
    "algorithm.value_coefficient": "TRL has no ppo",
    "algorithm.value_clip": "TRL has no ppo",
}

ALGORITHMS = ("grpo", "dr_grpo", "dapo", "gspo", "cispo")
ENGINES = ("auto", "shared_prefix", "hf", "vllm")
TRACKERS = ("tensorboard", "wandb", "trackio")

OFF: Mapping[str, tuple[Any, ...]] = {"algorithm.std_floor": (0.0,)}
"""Values of refused keys that ask for what TRL does."""


def refuse_what_has_no_counterpart(recipe: Recipe) -> None:
    """ConfigError that names every key which TRL cannot honour, and what to do about each."""
    faults = [
        f"{key} = {value!r} ({advice})"
        for key, value, default in leaves(recipe)
        if value != default and value not in OFF.get(key, ())
        if (advice := _advice(key)) is not None
    ]
    faults += _values_without_counterpart(recipe)
    if faults:
        raise ConfigError(f"TRL has no counterpart for {'; '.join(faults)}. Change it.")


def place_of(key: str) -> str | None:
    """Which table a key stands in: translated, filed, apart, refused; None: in none."""
    if key in TRANSLATED:
        return "translated"
    for name, table in (("filed", FILED), ("apart", APART), ("refused", REFUSED)):
        if any(_covers(pattern, key) for pattern in table):
            return name
    return None


def leaves(recipe: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value, the value where the recipe says nothing) of every key.

    What the recipe's algorithm brings by itself counts as said by the recipe.
    """
    yield from _walk("", recipe, Recipe())


def _walk(prefix: str, given: BaseModel, usual: BaseModel | None) -> Iterator[tuple[str, Any, Any]]:
    for name in type(given).model_fields:
        value, default = getattr(given, name), getattr(usual, name, None)
        if isinstance(value, BaseModel):
            same = default if isinstance(default, type(value)) else None
            yield from _walk(f"{prefix}{name}.", value, same)
        else:
            yield f"{prefix}{name}", value, default


def _advice(key: str) -> str | None:
    place = place_of(key)
    if place == "refused":
        return next(advice for pattern, advice in REFUSED.items() if _covers(pattern, key))
    return "this version does not know it on TRL; leave it out" if place is None else None


def _covers(pattern: str, key: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def _values_without_counterpart(recipe: Recipe) -> list[str]:
    """Keys that are translated, at values that TRL has not."""
    faults, algorithm = [], recipe.algorithm
    for key, value, known in (
        ("algorithm.name", algorithm.name, ALGORITHMS),
        ("rollouts.engine", recipe.rollouts.engine, ENGINES),
        *(("tracking.trackers", name, TRACKERS) for name in recipe.tracking.trackers),
    ):
        if value not in known:
            faults.append(f'{key} = "{value}" (it has {", ".join(known)})')
    if algorithm.sampler_correction not in (None, "none") and recipe.rollouts.engine != "vllm":
        faults.append(
            f'algorithm.sampler_correction = "{algorithm.sampler_correction}" without vLLM (it '
            'corrects for vLLM alone: set rollouts.engine = "vllm", or "none")'
        )
    if not ARMS.load(recipe.reward.arm).alone:
        faults.append(
            f'reward.arm = "{recipe.reward.arm}" (its reward functions see one answer at a time, '
            "without its group and the policy)"
        )
    if algorithm.std_floor is None and recipe.std_floor():
        faults.append(
            "the floor of a group's reward std that this recipe has, because its rewards can "
            "differ by less than a verdict (algorithm.std_floor = 0 goes without)"
        )
    if algorithm.kl_coefficient and (algorithm.kl_estimator, algorithm.kl_place) != ("k3", "loss"):
        faults.append(
            f"a KL term by {algorithm.kl_estimator} in the {algorithm.kl_place} (it has k3 in the "
            "loss)"
        )
    if algorithm.name == "cispo" and (algorithm.averaging, algorithm.clip_low) != ("token", 1.0):
        faults.append("cispo with a lower clip, or averaged otherwise than by token")
    if algorithm.top_entropy_share < 1 and algorithm.entropy_coefficient:
        faults.append(
            f"algorithm.entropy_coefficient = {algorithm.entropy_coefficient} beside "
            "algorithm.top_entropy_share (it gives the bonus to the chosen tokens alone: set it "
            "to 0)"
        )
    if algorithm.top_entropy_share < 1 and algorithm.name == "gspo":
        faults.append(
            "gspo with algorithm.top_entropy_share (through an answer's ratio it moves its other "
            "tokens too)"
        )
    if algorithm.mask_truncated and algorithm.averaging != "token":
        faults.append(
            f'algorithm.mask_truncated averaged by "{algorithm.averaging}" (it counts what is '
            'masked among the rollouts: set algorithm.averaging = "token")'
        )
    if recipe.model.lora is not None and not recipe.model.lora.rank:
        faults.append("model.lora.rank = 0 (give the number that --dry-run tells)")
    if algorithm.reference_refresh_every and recipe.model.lora is not None:
        faults.append("algorithm.reference_refresh_every with model.lora (its reference is fixed)")
    if recipe.model.dtype == "float16" and recipe.model.device == "cpu":
        faults.append('model.dtype = "float16" on a CPU, which has no use for it (use "float32")')
    if recipe.model.device.startswith("cuda:"):
        faults.append(
            f'model.device = "{recipe.model.device}" (set CUDA_VISIBLE_DEVICES and "cuda")'
        )
    parts = recipe.train.updates_per_rollout // recipe.train.epochs
    if recipe.rollouts.prompts_per_step % parts:
        faults.append(
            f"train.updates_per_rollout = {recipe.train.updates_per_rollout} "
            f"({recipe.rollouts.prompts_per_step} rows do not split into {parts} equal parts)"
        )
    return faults
