"""What becomes of every key of a recipe on verl. A key is in exactly one of these tables.

TRANSLATED   becomes an override of verl's, or a variable of its processes
FILED        becomes part of the run's files: rows, examples, the reward's specification
OURS         is done before or after verl, by us
REFUSED      has no counterpart: only its default runs; the advice says what to do instead

A key that is in none (one that is new) is refused like the last, so that nothing is ever dropped in
silence; tests walk all keys and see that a change of a translated one changes the translation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.rewards import ARMS

TRANSLATED = frozenset(
    {
        "name",
        *("model.path", "model.dtype", "model.trust_remote_code", "model.chat_template"),
        *("model.autocast", "model.gradient_checkpointing", "model.device"),
        "model.template_arguments",
        *("model.lora", "model.lora.rank", "model.lora.alpha", "model.lora.targets"),
        *("model.lora.preset", "model.lora.rate_factor"),
        *("reward.workers",),
        *("rollouts.engine", "rollouts.prompts_per_step", "rollouts.group_size"),
        *("rollouts.max_prompt_tokens", "rollouts.max_new_tokens", "rollouts.temperature"),
        *("algorithm.name", "algorithm.clip_low", "algorithm.clip_high", "algorithm.averaging"),
        *("algorithm.kl_coefficient", "algorithm.kl_estimator", "algorithm.kl_place"),
        *("algorithm.entropy_coefficient", "algorithm.gamma", "algorithm.gae_lambda"),
        *("algorithm.critic_learning_rate", "algorithm.value_clip"),
        "algorithm.dynamic_sampling",
        *("algorithm.sampler_correction", "algorithm.sampler_cap", "algorithm.sampler_floor"),
        *("algorithm.dual_clip", "algorithm.covariance", "algorithm.covariance_share"),
        *("algorithm.covariance_low", "algorithm.covariance_high"),
        "algorithm.covariance_coefficient",
        *("optimizer.learning_rate", "optimizer.betas", "optimizer.weight_decay"),
        *("optimizer.gradient_clip", "optimizer.warmup_steps"),
        *("train.steps", "train.updates_per_rollout", "train.epochs", "train.micro_batch_tokens"),
        *("train.seed", "train.save_every", "train.eval_every", "train.checkpoint_rule"),
        "train.threads",
        *("evaluation.validation", "evaluation.validation.samples"),
        *("evaluation.validation.temperature", "evaluation.validation.top_p"),
        "evaluation.validation.top_k",
        *("backend.nodes", "backend.gpus_per_node", "backend.tensor_parallel"),
        *("rollouts.vllm.memory_share", "rollouts.vllm.sleep", "rollouts.vllm.cache_gibibytes"),
        *("rollouts.vllm.dtype", "rollouts.vllm.max_sequences", "rollouts.vllm.eager"),
        *("train.keep_checkpoints", "tracking.trackers", "tracking.project"),
    }
)

FILED: Mapping[str, str] = {
    "examples.*": "the examples are read here and written as verl's rows",
    "reward.*": "reward.json, which our reward function reads in verl's workers",
    "evaluation.validation.benchmark": "its questions are written as verl's validation rows",
    "evaluation.validation.path": "as above",
    "evaluation.validation.split": "as above",
    "evaluation.validation.questions": "as above",
    "evaluation.validation.system": "a turn of its rows",
    "evaluation.validation.seed": "chooses generated questions; the answers are drawn by verl",
}

OURS: Mapping[str, str] = {
    "note": "a line of the report",
    "evaluation.test*": "asked here, after verl has ended, with the base and the result",
    "algorithm.critic": "verl's is a model of its own; another is refused",
    "algorithm.dynamic_sampling_rounds": "verl samples until the step is full; "
    "backend.stall_minutes ends what never fills",
    "train.max_skipped_updates": "counted here, by verl's gradient norms",
    "tracking.print_every": "the progress line is ours",
    "backend.name": "chooses this backend",
    "backend.python": "starts verl",
    "backend.ray_address": "where verl is started",
    "backend.save_dtype": "the saved models are converted here",
    "backend.start_minutes": "watched here",
    "backend.stall_minutes": "watched here",
}

_WHOLE = "verl draws from what is left and trains the whole distribution: leave it off"

REFUSED: Mapping[str, str] = {
    "model.revision": "download that revision and give its directory as model.path",
    "algorithm.policy_coefficient": "scale the other coefficients and the learning rate instead",
    "algorithm.advantage_epsilon": "verl's is 1e-6",
    "algorithm.std_floor": "verl has none: set it to 0",
    "algorithm.positive_weight": "verl weighs both signs alike",
    "algorithm.negative_weight": "verl weighs both signs alike",
    "algorithm.zero_variance_coefficient": "verl has no RL-ZVP",
    "algorithm.top_entropy_share": "verl learns from every token",
    "algorithm.mask_truncated": "verl learns from every rollout: set reward.length_penalty instead",
    "algorithm.reference_refresh_every": "verl's reference stays the base model",
    "algorithm.entropy_target": "verl's entropy coefficient is fixed",
    "algorithm.entropy_rate": "it belongs to algorithm.entropy_target, which verl lacks",
    "algorithm.entropy_coefficient_max": "it belongs to algorithm.entropy_target",
    "algorithm.value_coefficient": "verl's critic has an optimizer of its own: set "
    "algorithm.critic_learning_rate",
    "algorithm.overlong_buffer_share": "set reward.length_penalty instead",
    "algorithm.overlong_penalty": "it belongs to algorithm.overlong_buffer_share",
    **dict.fromkeys(("rollouts.top_p", "rollouts.top_k", "rollouts.min_p"), _WHOLE),
    "rollouts.autocast": "verl's samplers have rollouts.vllm.dtype",
    "train.zero_variance_share": "verl computes every rollout",
    "train.term_norms_every": "verl measures the whole gradient only",
    "evaluation.validation.max_new_tokens": "verl cuts training and validation answers alike, at "
    "rollouts.max_new_tokens",
    "evaluation.validation.min_p": "verl's validation has top_p and top_k",
    "evaluation.validation.repetition_penalty": "verl's validation has none",
    "evaluation.validation.stop": "verl's validation has none",
    "evaluation.validation.template_arguments": "verl asks training and validation alike: set "
    "model.template_arguments",
}

ALGORITHMS = (*("grpo", "dr_grpo", "dapo", "rloo", "reinforce_plus_plus", "ppo", "gspo", "cispo"),)
ENGINES = ("auto", "vllm", "hf")

OFF: Mapping[str, tuple[Any, ...]] = {"algorithm.std_floor": (0.0,)}
"""Values of refused keys that ask for what verl does."""


def refuse_what_has_no_counterpart(recipe: Recipe) -> None:
    """ConfigError that names every key which verl cannot honour, and what to do about each."""
    faults = [
        f"{key} = {value!r} ({advice})"
        for key, value, default in _leaves(recipe)
        if value != default and value not in OFF.get(key, ())
        if (advice := _why_refused(key)) is not None
    ]
    faults += _values_without_counterpart(recipe)
    if faults:
        raise ConfigError(
            f"verl has no counterpart for {'; '.join(faults)}. Change it, or run with "
            'backend.name = "local".'
        )


def place_of(key: str) -> str | None:
    """The table that a key stands in: translated, filed, ours, refused; None: it is in none."""
    if key in TRANSLATED:
        return "translated"
    for name, table in (("refused", REFUSED), ("ours", OURS), ("filed", FILED)):
        if any(_covers(pattern, key) for pattern in table):
            return name
    return None


def _why_refused(key: str) -> str | None:
    place = place_of(key)
    if place == "refused":
        return next(advice for pattern, advice in REFUSED.items() if _covers(pattern, key))
    return "this version does not know it on verl; leave it out" if place is None else None


def _covers(pattern: str, key: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def _values_without_counterpart(recipe: Recipe) -> list[str]:
    """Keys that are translated, at values that verl has not."""
    faults = []
    algorithm, train = recipe.algorithm, recipe.train
    if algorithm.name not in ALGORITHMS:
        faults.append(f'algorithm.name = "{algorithm.name}" (it has {", ".join(ALGORITHMS)})')
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
    if algorithm.covariance is not None and algorithm.dual_clip:
        faults.append(
            f"algorithm.dual_clip = {algorithm.dual_clip} beside algorithm.covariance (its losses "
            "clip_cov and kl_cov have no second clip: set it to 0)"
        )
    if algorithm.critic == "shared":
        faults.append('algorithm.critic = "shared" (its critic is a model of its own: "own")')
    if algorithm.kl_estimator == "k2" and algorithm.kl_place == "reward":
        faults.append('algorithm.kl_estimator = "k2" in the reward (use k1 or k3)')
    if recipe.rollouts.engine not in ENGINES:
        faults.append(f'rollouts.engine = "{recipe.rollouts.engine}" (use {", ".join(ENGINES)})')
    parts = train.updates_per_rollout // train.epochs
    rows = recipe.rollouts.prompts_per_step
    if rows % parts:
        faults.append(
            f"train.updates_per_rollout = {train.updates_per_rollout} ({rows} rows do not split "
            f"into {parts} equal parts)"
        )
    ranks = recipe.backend.nodes * recipe.backend.gpus_per_node
    rollouts = rows // parts * recipe.rollouts.group_size
    if rollouts % ranks:
        faults.append(
            f"{rollouts} rollouts an update (they do not split among {ranks} training ranks)"
        )
    if recipe.model.dtype == "float16" and recipe.model.device == "cpu":
        faults.append('model.dtype = "float16" on a CPU, which has no use for it (use "float32")')
    if recipe.model.lora is not None and not recipe.model.lora.rank:
        faults.append("model.lora.rank = 0 (give the number that --dry-run tells)")
    if recipe.model.lora is not None and recipe.model.lora.alpha != int(recipe.model.lora.alpha):
        faults.append(f"model.lora.alpha = {recipe.model.lora.alpha} (a whole number)")
    if recipe.model.lora is not None and recipe.backend.save_dtype == "bfloat16":
        faults.append(
            'model.lora with backend.save_dtype = "bfloat16" (16 bits do not hold what adapters '
            'change in a weight: use "float32")'
        )
    if recipe.model.lora is not None and recipe.model.dtype == "bfloat16":
        faults.append(
            'model.lora with model.dtype = "bfloat16" (verl gives the adapters the type of the '
            'weights, too coarse for their steps: use "float32" and model.autocast = "bfloat16")'
        )
    return faults


def _leaves(recipe: Recipe) -> list[tuple[str, Any, Any]]:
    """(dotted key, value, default) of every key; defaults are those of GRPO, where all is off."""
    return list(_walk("", recipe.model_dump(), Recipe().model_dump(), type(recipe)))


def _walk(prefix: str, given: Any, usual: Any, model: Any) -> Any:
    for key, value in given.items():
        dotted = f"{prefix}{key}"
        table = _table(model, key)
        if isinstance(value, Mapping) and table is not None:
            below = usual.get(key) if isinstance(usual, Mapping) else None
            yield from _walk(f"{dotted}.", value, below or table().model_dump(), table)
        else:
            yield dotted, value, usual.get(key) if isinstance(usual, Mapping) else None


def _table(model: Any, key: str) -> Any:
    """The section behind a key, where it is one."""
    from typing import get_args

    from pydantic import BaseModel

    annotation = model.model_fields[key].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
