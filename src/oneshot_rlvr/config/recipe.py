"""The whole recipe: its tables, and which of their values cannot work together."""

from __future__ import annotations

from pydantic import Field, model_validator

from oneshot_rlvr.config.algorithm import AlgorithmConfig, Correction
from oneshot_rlvr.config.backend import BackendConfig
from oneshot_rlvr.config.presets import COMPARES_GROUPS, NORMALISED
from oneshot_rlvr.config.section import Section
from oneshot_rlvr.config.sections import (
    EvaluationConfig,
    ExamplesConfig,
    ModelConfig,
    OptimizerConfig,
    RewardConfig,
    RolloutsConfig,
    TrackingConfig,
    TrainConfig,
)


class Recipe(Section):
    """A whole run. Sections are the TOML tables; every key has a dotted flag of the same name."""

    name: str = Field("run", description="names the run in reports and the default directory")
    note: str = Field("", description="one line for the report")
    model: ModelConfig = ModelConfig()
    examples: ExamplesConfig = ExamplesConfig()
    reward: RewardConfig = RewardConfig()
    rollouts: RolloutsConfig = RolloutsConfig()
    algorithm: AlgorithmConfig = AlgorithmConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    tracking: TrackingConfig = TrackingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    backend: BackendConfig = BackendConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        # Combinations that cannot work are refused here, before anything is loaded.
        if self.examples.items is not None and self.examples.path is not None:
            raise ValueError("examples.items and examples.path are both set; give one")
        name, group = self.algorithm.name, self.rollouts.group_size
        if name in COMPARES_GROUPS and group < 2:
            raise ValueError(
                f"rollouts.group_size is {group}; {name} compares rollouts of one prompt and needs "
                'at least 2. Set rollouts.group_size=8, or algorithm.name="reinforce"'
            )
        if group * self.rollouts.prompts_per_step < 2:
            raise ValueError(
                "a step of one rollout has nothing to compare it with; set rollouts.group_size=8"
            )
        if self.train.zero_variance_share < 1 and self.algorithm.critic is not None:
            raise ValueError(
                f"train.zero_variance_share is {self.train.zero_variance_share}, but "
                f"{self.algorithm.name}'s critic learns from every rollout. Set it to 1"
            )
        self._types_fit()
        self._updates_fit()
        self._token_choices_fit()
        if self.train.checkpoint_rule == "best_validation" and self.evaluation.validation is None:
            raise ValueError(
                'train.checkpoint_rule is "best_validation" but evaluation.validation is not set'
            )
        return self

    def _types_fit(self) -> None:
        if self.rollouts.autocast is None:
            return
        asked = f'rollouts.autocast is "{self.rollouts.autocast}"'
        if self.model.lora is not None:
            raise ValueError(
                f"{asked} and model.lora is set; the loops that sample so know no adapters. Leave "
                "one of them out"
            )
        if self.model.dtype not in ("float32", "auto"):
            raise ValueError(
                f'{asked} and model.dtype "{self.model.dtype}"; it is for float32 weights. Leave '
                "one of them out"
            )

    def _updates_fit(self) -> None:
        updates, epochs = self.train.updates_per_rollout, self.train.epochs
        if updates > 1 and self.rollouts.truncated:
            raise ValueError(
                f"train.updates_per_rollout is {updates} and rollouts are cut (rollouts.top_p, "
                "top_k or min_p): after the first update the policy keeps other tokens, and the "
                "ratio compares distributions over different sets. Set train.updates_per_rollout=1"
            )
        if updates % epochs:
            raise ValueError(
                f"train.updates_per_rollout is {updates}, which {epochs} epochs cannot share; give "
                f"a multiple of train.epochs, {epochs * max(1, round(updates / epochs))} say"
            )
        if updates // epochs > self.rollouts.prompts_per_step:
            raise ValueError(
                f"train.updates_per_rollout is {updates} but a step has only "
                f"{self.rollouts.prompts_per_step} rows to split among the updates"
                f"{f' of each of {epochs} epochs' if epochs > 1 else ''}"
            )

    def _token_choices_fit(self) -> None:
        algorithm, train = self.algorithm, self.train
        if algorithm.covariance == "kl" and train.updates_per_rollout == 1:
            raise ValueError(
                'algorithm.covariance is "kl" and train.updates_per_rollout 1: with one update of '
                "a step's rollouts the policy has left nothing that KL-Cov could penalise. Set "
                'train.updates_per_rollout=4, say, or algorithm.covariance="clip"'
            )
        for key, on in (
            ("covariance", algorithm.covariance is not None),
            ("top_entropy_share", algorithm.top_entropy_share < 1),
        ):
            if on and train.zero_variance_share < 1:
                raise ValueError(
                    f"train.zero_variance_share is {train.zero_variance_share}, but "
                    f"algorithm.{key} compares all tokens of an update. Set it to 1"
                )

    def learning_rate(self) -> float:
        """That of the policy: `optimizer.learning_rate`, of adapters times their factor."""
        lora = self.model.lora
        return self.optimizer.learning_rate * (lora.rate_factor if lora is not None else 1.0)

    def sampler_correction(self, engine: str) -> Correction:
        """`algorithm.sampler_correction` resolved, for an engine by its own name.

        The engines of this package compute as the trainer does unless one of the two computes its
        products in another type (autocast; where both do, each rounds in its own order); vLLM's
        kernels round in their own way even in the same type.
        """
        given = self.algorithm.sampler_correction
        if given is not None:
            return given
        narrow = (self.model.autocast, self.rollouts.autocast)
        differs = engine == "vllm" or narrow != (None, None)
        return "token_truncate" if differs else "none"

    def std_floor(self) -> float:
        """The least that counts as a group's reward std, `algorithm.std_floor` resolved.

        Verdicts of 0 and 1 have a std of at least 1 / sqrt(G) in a group of G where they differ at
        all (one of G differs: (1/G)(1 - 1/G) G / (G - 1)). Where rewards can differ by less, a
        saturated group's noise of 0.001 would be blown up to advantages of size 1; so there that
        least std is the floor, and an all-right group moves by what its rewards differ.
        """
        given = self.algorithm.std_floor
        if given is not None:
            return given
        algorithm, reward = self.algorithm, self.reward
        finer = (
            reward.length_penalty
            or reward.format_penalty
            or (algorithm.overlong_buffer_share and algorithm.overlong_penalty)
            or (algorithm.kl_coefficient and algorithm.kl_place == "reward")
        )
        compares = algorithm.name in NORMALISED
        return self.rollouts.group_size**-0.5 if finer and compares else 0.0

    def derived(self) -> dict[str, int]:
        """The batch numbers that follow: rollouts, rows and rollouts per optimizer step."""
        rows, group = self.rollouts.prompts_per_step, self.rollouts.group_size
        parts = self.train.updates_per_rollout // self.train.epochs
        return {
            "rollouts_per_step": rows * group,
            "optimizer_steps": self.train.steps * self.train.updates_per_rollout,
            "rows_per_update": -(-rows // parts),
            "rollouts_per_update": -(-rows // parts) * group,
            "rollouts_total": rows * group * self.train.steps,
            "max_tokens_per_step": rows * group * self.rollouts.max_new_tokens,
        }
