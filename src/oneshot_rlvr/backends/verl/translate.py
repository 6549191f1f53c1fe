"""A recipe as overrides of verl's configuration (verl 0.9.1, Hydra), and what has none.

Pure: a recipe in, settings out. Each key of a recipe is one of four things, and `coverage.py` names
which: translated here; written into the run's files (data, reward); done on our side of the run; or
without a counterpart, and then refused by name where it is not at its default.

verl's words: `train_batch_size` counts prompts (our rows P, each a group of its own), `rollout.n`
is G, `ppo_mini_batch_size` counts prompts per optimizer step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd
from pathlib import Path

from oneshot_rlvr.backends.verl.correction import Settings, correction
from oneshot_rlvr.backends.verl.coverage import refuse_what_has_no_counterpart
from oneshot_rlvr.backends.verl.policy_loss import UNBOUNDED, policy_loss
from oneshot_rlvr.backends.verl.precision import precision, sampling_dtype
from oneshot_rlvr.config import Recipe

PLUGIN = "oneshot_rlvr.backends.verl.plugin"
AUTO_ENGINE = "vllm"


# algorithm -> (advantage estimator, policy loss)
ESTIMATORS = {
    "grpo": ("grpo", "vanilla"),
    "dr_grpo": ("grpo", "vanilla"),
    "dapo": ("grpo", "vanilla"),
    "rloo": ("rloo", "vanilla"),
    "reinforce_plus_plus": ("reinforce_plus_plus", "vanilla"),
    "ppo": ("gae", "vanilla"),
    "gspo": ("grpo", "gspo"),
    "cispo": ("grpo", "cispo"),
}
AVERAGING = {
    "token": "token-mean",
    "sequence": "seq-mean-token-mean",
    "fixed_length": "seq-mean-token-sum-norm",
}
KL = {"k1": "k1", "k2": "k2", "k3": "low_var_kl"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run's files lie, as its processes see them."""

    training: Path
    validation: Path | None
    spec: Path
    records: Path

    @property
    def checkpoints(self) -> Path:
        """verl's own: shards, optimizer, plain weights."""
        return self.records / "checkpoints"


@dataclass(frozen=True, slots=True)
class Target:
    """What a translation needs to know beside the recipe.

    `model` is a directory or hub name; `device` "cuda" or "cpu"; `engine` "vllm" or "hf". `opens`:
    the tokenizer puts its beginning-of-text token in front of a bare text.
    """

    places: Places
    model: str
    device: str
    engine: str
    dtype: str = "float32"
    opens: bool = False


def translate(recipe: Recipe, target: Target) -> Settings:
    """Overrides of `verl.trainer.main_ppo`. ConfigError names a key without a counterpart."""
    refuse_what_has_no_counterpart(recipe)
    settings: Settings = {}
    for part in (_data, _model, _algorithm, _actor, _rollout, _critic, _reward, _trainer):
        settings.update(part(recipe, target))
    if target.device == "cpu":
        settings.update(_cpu(recipe, target))
    return settings


def environment(recipe: Recipe, target: Target) -> dict[str, str]:
    """Environment of every process of the run."""
    told = {
        "VERL_USE_EXTERNAL_MODULES": PLUGIN,
        "VERL_FILE_LOGGER_PATH": str(target.places.records / "metrics.jsonl"),
        "ONESHOT_VERL_RECORDS": str(target.places.records),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray leaves out lines it has seen; the first error must not be one of them.
        "RAY_DEDUP_LOGS": "0",
        "HYDRA_FULL_ERROR": "1",
        "HF_DATASETS_CACHE": str(target.places.records / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if "tensorboard" in recipe.tracking.trackers:
        told["TENSORBOARD_DIR"] = str(target.places.records / "tensorboard")
    if recipe.train.threads:
        told["OMP_NUM_THREADS"] = told["ONESHOT_VERL_THREADS"] = str(recipe.train.threads)
    if target.device == "cpu":
        told |= {"VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda"}
        told |= {"VLLM_CPU_KVCACHE_SPACE": str(ceil(recipe.rollouts.vllm.cache_gibibytes or 1))}
        told.setdefault("OMP_NUM_THREADS", "1")
    return told


def _data(recipe: Recipe, target: Target) -> Settings:
    rollouts, places = recipe.rollouts, target.places
    return {
        "data.train_files": str(places.training),
        "data.val_files": str(places.validation or places.training),
        **({} if places.validation else {"data.val_max_samples": 1}),
        "data.train_batch_size": rollouts.prompts_per_step,
        "data.max_prompt_length": rollouts.max_prompt_tokens,
        "data.max_response_length": rollouts.max_new_tokens,
        "data.filter_overlong_prompts": False,  # a cut or missing question is another question
        "data.truncation": "error",
        "data.shuffle": False,  # the file holds the rows of every step, in order
        "data.validation_shuffle": False,
        "data.seed": recipe.train.seed,
        "data.dataloader_num_workers": 0,
        "data.trust_remote_code": recipe.model.trust_remote_code,
        **{
            f"+data.apply_chat_template_kwargs.{name}": value
            for name, value in recipe.model.template_arguments.items()
        },
    }


def _model(recipe: Recipe, target: Target) -> Settings:
    model, key = recipe.model, "actor_rollout_ref.model"
    settings: Settings = {
        f"{key}.path": target.model,
        f"{key}.trust_remote_code": model.trust_remote_code,
        f"{key}.enable_gradient_checkpointing": model.gradient_checkpointing,
    }
    if model.chat_template == "none":
        settings[f"{key}.custom_chat_template"] = BARE_TEMPLATE[target.opens]
    if model.lora is not None:
        settings |= {
            f"{key}.lora_rank": model.lora.rank,
            f"{key}.lora_alpha": int(model.lora.alpha),
            f"{key}.target_modules": model.lora.targets or "all-linear",
            # On a GPU vLLM has them beside the base: what verl merges it rounds to bfloat16 on
            # the way to the sampler, which loses most of an update. Our own server for a CPU
            # knows plain models only.
            f"{key}.lora.merge": target.device == "cpu",
        }
    return settings


# Turns joined by a blank line, behind the beginning-of-text token where the tokenizer adds it
# (`examples.prompting`).
_TURNS = (
    "{% for m in messages %}{{ m['content'] }}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)
BARE_TEMPLATE = {False: _TURNS, True: "{{ bos_token }}" + _TURNS}


def _algorithm(recipe: Recipe, target: Target) -> Settings:
    algorithm = recipe.algorithm
    estimator, _ = ESTIMATORS[algorithm.name]
    in_reward = bool(algorithm.kl_coefficient) and algorithm.kl_place == "reward"
    settings: Settings = {
        "algorithm.adv_estimator": estimator,
        "algorithm.norm_adv_by_std_in_grpo": algorithm.name != "dr_grpo",
        "algorithm.gamma": algorithm.gamma,
        "algorithm.lam": algorithm.gae_lambda,
        "algorithm.use_kl_in_reward": in_reward,
        **correction(recipe),
    }
    if in_reward:
        settings |= {
            "algorithm.kl_penalty": KL[algorithm.kl_estimator],
            "algorithm.kl_ctrl.type": "fixed",
            "algorithm.kl_ctrl.kl_coef": algorithm.kl_coefficient,
        }
    if algorithm.dynamic_sampling:
        settings |= {
            "algorithm.filter_groups.enable": True,
            "algorithm.filter_groups.metric": "score",
        }
    return settings


def _actor(recipe: Recipe, target: Target) -> Settings:
    algorithm, key = recipe.algorithm, "actor_rollout_ref.actor"
    in_loss = bool(algorithm.kl_coefficient) and algorithm.kl_place == "loss"
    per_epoch = recipe.train.updates_per_rollout // recipe.train.epochs
    settings: Settings = {
        f"{key}.strategy": "fsdp2",
        **policy_loss(recipe, ESTIMATORS[algorithm.name][1]),
        f"{key}.loss_agg_mode": AVERAGING[algorithm.averaging],
        f"{key}.entropy_coeff": algorithm.entropy_coefficient,
        f"{key}.calculate_entropy": True,  # logged also where it is no term of the loss
        f"{key}.use_kl_loss": in_loss,
        f"{key}.ppo_mini_batch_size": recipe.rollouts.prompts_per_step // per_epoch,
        f"{key}.ppo_epochs": recipe.train.epochs,
        f"{key}.shuffle": False,
        f"{key}.data_loader_seed": recipe.train.seed,
        f"{key}.use_dynamic_bsz": True,
        f"{key}.ppo_max_token_len_per_gpu": token_budget(recipe),
        **_optimizer(recipe, f"{key}.optim", recipe.learning_rate()),
        **precision(recipe, target.dtype, f"{key}.fsdp_config"),
        f"{key}.fsdp_config.seed": recipe.train.seed,
        f"{key}.checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
        **precision(recipe, target.dtype, "actor_rollout_ref.ref.fsdp_config"),
    }
    if algorithm.averaging == "fixed_length":
        settings[f"{key}.loss_scale_factor"] = recipe.rollouts.max_new_tokens
    if in_loss:
        settings |= {
            f"{key}.kl_loss_coef": algorithm.kl_coefficient,
            f"{key}.kl_loss_type": KL[algorithm.kl_estimator],
        }
    return settings


def token_budget(recipe: Recipe) -> int:
    """Tokens of a micro-batch; verl wants room for the longest sequence there can be."""
    longest = recipe.rollouts.max_prompt_tokens + recipe.rollouts.max_new_tokens
    return max(recipe.train.micro_batch_tokens, longest)


def _optimizer(recipe: Recipe, key: str, learning_rate: float) -> Settings:
    optimizer = recipe.optimizer
    return {
        f"{key}.lr": learning_rate,
        f"{key}.lr_scheduler_type": "constant",
        # verl counts from 0: its first rate is 0, and each is our rate of the step before.
        f"{key}.lr_warmup_steps": optimizer.warmup_steps or -1,
        f"{key}.betas": list(optimizer.betas),
        f"{key}.weight_decay": optimizer.weight_decay,
        f"{key}.clip_grad": optimizer.gradient_clip or UNBOUNDED,
    }


def _rollout(recipe: Recipe, target: Target) -> Settings:
    rollouts, key = recipe.rollouts, "actor_rollout_ref.rollout"
    validation = recipe.evaluation.validation
    settings: Settings = {
        f"{key}.name": target.engine,
        f"{key}.n": rollouts.group_size,
        f"{key}.temperature": rollouts.temperature,
        f"{key}.top_p": 1.0,
        f"{key}.top_k": -1,
        f"{key}.seed": recipe.train.seed,
        f"{key}.dtype": sampling_dtype(recipe, target.dtype, target.device),
        f"{key}.calculate_log_probs": True,
        f"{key}.max_model_len": rollouts.max_prompt_tokens + rollouts.max_new_tokens,
        f"{key}.tensor_model_parallel_size": recipe.backend.tensor_parallel,
        f"{key}.gpu_memory_utilization": rollouts.vllm.memory_share,
        f"{key}.free_cache_engine": rollouts.vllm.sleep,
        f"{key}.max_num_seqs": rollouts.vllm.max_sequences,
        f"{key}.enforce_eager": rollouts.vllm.eager,
    }
    if validation is not None:
        settings |= {
            f"{key}.val_kwargs.n": validation.samples,
            f"{key}.val_kwargs.temperature": validation.temperature,
            f"{key}.val_kwargs.do_sample": validation.temperature > 0,
            f"{key}.val_kwargs.top_p": validation.top_p,
            f"{key}.val_kwargs.top_k": validation.top_k or -1,
        }
    return settings


def _critic(recipe: Recipe, target: Target) -> Settings:
    if ESTIMATORS[recipe.algorithm.name][0] != "gae":
        return {}
    algorithm = recipe.algorithm
    return {
        "critic.strategy": "fsdp2",
        "critic.model.path": target.model,
        "critic.model.tokenizer_path": target.model,
        "critic.model.trust_remote_code": recipe.model.trust_remote_code,
        "critic.model.enable_gradient_checkpointing": recipe.model.gradient_checkpointing,
        "critic.cliprange_value": algorithm.value_clip or UNBOUNDED,
        "critic.data_loader_seed": recipe.train.seed,
        "critic.ppo_max_token_len_per_gpu": token_budget(recipe),
        **_optimizer(recipe, "critic.optim", algorithm.critic_learning_rate),
        **precision(recipe, target.dtype, "critic.fsdp"),
        "critic.fsdp.seed": recipe.train.seed,
    }


def _reward(recipe: Recipe, target: Target) -> Settings:
    return {
        "reward.num_workers": max(1, recipe.reward.workers),
        "reward.custom_reward_function.path": "pkg://oneshot_rlvr.backends.verl.reward",
        "reward.custom_reward_function.name": "compute_score",
        "+reward.custom_reward_function.reward_kwargs.spec": str(target.places.spec),
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "OneshotRewardManager",
        "reward.reward_manager.module.path": f"pkg://{PLUGIN}.reward_manager",
    }


def _trainer(recipe: Recipe, target: Target) -> Settings:
    train, places, backend = recipe.train, target.places, recipe.backend
    validates = recipe.evaluation.validation is not None
    return {
        "trainer.device": target.device,
        "trainer.nnodes": backend.nodes,
        "trainer.n_gpus_per_node": backend.gpus_per_node,
        "trainer.total_training_steps": train.steps,
        "trainer.total_epochs": train.steps,
        "trainer.save_freq": save_every(recipe),
        "trainer.test_freq": (train.eval_every or train.steps) if validates else -1,
        "trainer.val_before_train": validates,
        "trainer.resume_mode": "auto",
        "trainer.max_actor_ckpt_to_keep": train.keep_checkpoints,
        "trainer.max_critic_ckpt_to_keep": train.keep_checkpoints,
        "trainer.project_name": recipe.tracking.project,
        "trainer.experiment_name": recipe.name,
        "trainer.logger": ["console", "file", *recipe.tracking.trackers],
        "trainer.default_local_dir": str(places.checkpoints),
        "trainer.rollout_data_dir": str(places.records / "rollouts"),
        "trainer.validation_data_dir": str(places.records / "validation"),
    }


def save_every(recipe: Recipe) -> int:
    """Steps between checkpoints: every validation has one where the best of them is the result."""
    train = recipe.train
    every = train.save_every or train.steps
    if train.checkpoint_rule == "best_validation":
        every = gcd(every, train.eval_every or train.steps)
    return every


def _own_ray(recipe: Recipe, ranks: int) -> Settings:
    """What a Ray of the run's own has. A cluster has what it was started with: Ray refuses to be
    told (and verl's training ranks want `ray start --num-gpus`, also without any)."""
    if recipe.backend.ray_address is not None:
        return {}
    return {
        "ray_kwargs.ray_init.num_cpus": 16,  # Ray's counters, not cores: its actors mostly wait
        "+ray_kwargs.ray_init.num_gpus": ranks,
        "+ray_kwargs.ray_init.include_dashboard": False,
    }


def _cpu(recipe: Recipe, target: Target) -> Settings:
    """Without an accelerator: no fused attention, no compilation, no memory to hand over."""
    ranks, key = recipe.backend.gpus_per_node, "actor_rollout_ref"
    settings: Settings = {
        **_own_ray(recipe, ranks),
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        f"{key}.model.use_remove_padding": False,
        f"+{key}.model.override_config.attn_implementation": "sdpa",
        f"{key}.actor.use_torch_compile": False,
        f"{key}.actor.fsdp_config.use_torch_compile": False,
        f"{key}.ref.fsdp_config.use_torch_compile": False,
        f"{key}.rollout.enforce_eager": True,
        f"{key}.rollout.free_cache_engine": False,
        f"+{key}.rollout.enable_sleep_mode": False,
        f"{key}.rollout.load_format": "auto",
        f"{key}.rollout.agent.num_workers": 1,
        f"{key}.rollout.checkpoint_engine.update_weights_bucket_megabytes": 32,
    }
    if _critic(recipe, target):
        settings |= {
            "critic.model.use_remove_padding": False,
            "+critic.model.override_config.attn_implementation": "sdpa",
            "critic.fsdp.use_torch_compile": False,
        }
    return settings
