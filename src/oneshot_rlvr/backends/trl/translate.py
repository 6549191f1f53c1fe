"""From a recipe to the arguments of TRL 1.16's GRPOConfig.

Equal by construction: rows and their order, batch per update, loss, its normaliser over tokens, KL
(k3), clipping, AdamW on every parameter, warm-up, log-probabilities at the sampling temperature.
Not equal: TRL adds 1e-4 to a group's reward std (here 1e-6, 0.03 % of the smallest std that 8
rewards of 0 and 1 have), takes the entropy bonus as a mean of micro-batch means, and draws other
random numbers.
"""

from __future__ import annotations

from typing import Any

from oneshot_rlvr.config import Recipe

LOSS_TYPES = {"token": "dapo", "sequence": "grpo", "fixed_length": "dr_grpo"}
"""TRL's names for an average over all tokens, over rollouts' means, and over a fixed length."""


def grpo_config(recipe: Recipe) -> dict[str, Any]:
    """GRPOConfig's arguments, plain values only; `output_dir` and precision are the script's."""
    rollouts, algorithm, train = recipe.rollouts, recipe.algorithm, recipe.train
    size, accumulation, parts = batches(recipe)
    settings: dict[str, Any] = {
        "run_name": recipe.name,
        # The batch
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": accumulation * parts,
        "num_generations": rollouts.group_size,
        "num_iterations": train.epochs,
        "max_steps": train.steps * train.updates_per_rollout,
        "shuffle_dataset": False,  # the rows lie in the recipe's order
        "seed": train.seed,
        # Sampling
        "max_completion_length": rollouts.max_new_tokens,
        "temperature": rollouts.temperature,
        "top_p": 1.0,
        "top_k": 0,
        # The loss
        "loss_type": "cispo" if algorithm.name == "cispo" else LOSS_TYPES[algorithm.averaging],
        "importance_sampling_level": "sequence" if algorithm.name == "gspo" else "token",
        "scale_rewards": "none" if algorithm.name == "dr_grpo" else "group",
        "epsilon": algorithm.clip_low,
        # TRL's cispo takes the bound itself, the others its distance from 1.
        "epsilon_high": algorithm.clip_high + (algorithm.name == "cispo"),
        "delta": algorithm.dual_clip or None,
        "top_entropy_quantile": algorithm.top_entropy_share,
        "mask_truncated_completions": algorithm.mask_truncated,
        "beta": algorithm.kl_coefficient,
        # On by default, it would multiply the KL term by the ratio, whose gradient is not 0 at 1.
        "use_bias_correction_kl": False,
        "entropy_coef": algorithm.entropy_coefficient,
        "disable_dropout": True,
        # The optimizer
        "optim": "adamw_torch",
        "learning_rate": recipe.learning_rate(),
        "adam_beta1": recipe.optimizer.betas[0],
        "adam_beta2": recipe.optimizer.betas[1],
        "weight_decay": recipe.optimizer.weight_decay,
        "max_grad_norm": recipe.optimizer.gradient_clip,
        "gradient_checkpointing": recipe.model.gradient_checkpointing,
        # What is kept
        "save_strategy": "steps" if train.save_every else "no",
        "save_total_limit": train.keep_checkpoints,
        "logging_steps": 1,
        "report_to": list(recipe.tracking.trackers) or "none",
        "project": recipe.tracking.project,
        "model_init_kwargs": {"dtype": "float32", "revision": recipe.model.revision},
        "trust_remote_code": recipe.model.trust_remote_code,
        "use_cpu": recipe.model.device == "cpu",
    }
    if recipe.model.template_arguments:
        settings["chat_template_kwargs"] = dict(recipe.model.template_arguments)
    if train.save_every:
        settings["save_steps"] = train.save_every * train.updates_per_rollout
    if algorithm.reference_refresh_every:
        settings["sync_ref_model"] = True
        settings["ref_model_mixup_alpha"] = 1.0
        settings["ref_model_sync_steps"] = (
            algorithm.reference_refresh_every * train.updates_per_rollout
        )
    if rollouts.engine == "vllm":
        settings["use_vllm"] = True
        settings["vllm_mode"] = "colocate"
        settings["vllm_gpu_memory_utilization"] = rollouts.vllm.memory_share
        settings["vllm_enable_sleep_mode"] = rollouts.vllm.sleep
        correction = recipe.sampler_correction("vllm")
        settings["vllm_importance_sampling_correction"] = correction != "none"
        if correction != "none":
            settings["vllm_importance_sampling_mode"] = correction
            settings["vllm_importance_sampling_clip_max"] = algorithm.sampler_cap
            settings["vllm_importance_sampling_clip_min"] = algorithm.sampler_floor or None
        settings["vllm_max_model_length"] = rollouts.max_prompt_tokens + rollouts.max_new_tokens
    return settings


def batches(recipe: Recipe) -> tuple[int, int, int]:
    """Rollouts a micro-batch, micro-batches an update, parts of a step's rollouts.

    The largest micro-batch that divides an update and whose longest rollouts fill
    `train.micro_batch_tokens`; at least one rollout.
    """
    rollouts, train = recipe.rollouts, recipe.train
    parts = train.updates_per_rollout // train.epochs
    update = rollouts.prompts_per_step * rollouts.group_size // parts
    longest = rollouts.max_prompt_tokens + rollouts.max_new_tokens
    most = max(1, min(update, train.micro_batch_tokens // longest))
    size = next(n for n in range(most, 0, -1) if update % n == 0)
    return size, update // size, parts


def peft_config(recipe: Recipe) -> dict[str, Any] | None:
    """PEFT's LoraConfig's arguments, or None."""
    lora = recipe.model.lora
    if lora is None:
        return None
    return {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": lora.targets if lora.targets is not None else "all-linear",
        "lora_dropout": 0.0,
        "task_type": "CAUSAL_LM",
    }
