"""The table [algorithm]: which algorithm, and the weights of its terms.

The field defaults are those of the 1-shot RLVR paper's released code (GRPO); another algorithm
brings its own paper's values (`presets.py`) for the keys that a recipe leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from oneshot_rlvr.config.presets import OFF_AT_ZERO, PRESETS, USED_BY
from oneshot_rlvr.config.section import Count, Section, Share, Weight

Correction = Literal["none", "token_truncate", "token_mask", "sequence_mask"]


class AlgorithmConfig(Section):
    """The loss: an algorithm and its terms, each with a weight that may be 0."""

    name: str = Field(
        "grpo",
        description="see `oneshot list algorithms`; brings its paper's values for the keys below",
    )
    clip_low: float = Field(0.2, gt=0, le=1e3, description="ratio is clipped below 1 - clip_low")
    clip_high: float = Field(0.2, gt=0, le=1e6, description="ratio is clipped above 1 + clip_high")
    policy_coefficient: Weight = Field(1.0, description="weight of the policy term; 0: off")
    kl_coefficient: Weight = Field(0.001, description="weight b of the KL term; 0: off")
    kl_estimator: Literal["k1", "k2", "k3"] = Field(
        "k3", description="of the KL divergence from one sample; k1's own gradient is 0 on average"
    )
    kl_place: Literal["loss", "reward"] = Field(
        "loss", description="a term of the loss, or deducted from every token's reward"
    )
    reference_refresh_every: Count = Field(
        0, description="steps after which the policy becomes the KL reference; 0: frozen"
    )
    entropy_coefficient: float = Field(
        0.001,
        ge=-1000,
        le=1000,
        description="weight of the entropy bonus (the paper's a = -0.001 on the loss); 0: off",
    )
    entropy_target: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="nats: entropy_coefficient rises below, falls and rests above; None: fixed",
    )
    entropy_rate: float = Field(
        0.005,
        gt=0,
        le=1000,
        description="change of entropy_coefficient per step towards entropy_target",
    )
    entropy_coefficient_max: float = Field(
        0.1, gt=0, le=1000, description="entropy_target: the coefficient stays between 0 and this"
    )
    averaging: Literal["token", "sequence", "fixed_length"] = Field(
        "token",
        description="mean over all tokens; over the rollouts' means; or their sums over "
        "rollouts x max_new_tokens",
    )
    advantage_epsilon: float = Field(
        1e-6, gt=0, le=1000, description="added to a reward std that divides"
    )
    std_floor: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="a group's reward std counts as at least this; 0: off; None: 0, or where "
        "rewards can differ by less than a verdict the std that one verdict makes, "
        "1 / sqrt(group_size)",
    )
    sampler_correction: Correction | None = Field(
        None,
        description="importance weights for a sampler that rounds otherwise than the trainer; "
        "left out: token_truncate where engine or type of products differ, else none",
    )
    sampler_cap: float = Field(
        2.0,
        ge=1,
        le=1e9,
        description="sampler_correction: ratios are truncated, or masked, beyond this",
    )
    sampler_floor: float = Field(
        0.0, ge=0, le=1, description="sampler_correction: ratios below are masked; 0: off"
    )
    dual_clip: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="a bad token's loss is at most this times its advantage, however likely it has "
        "become; above 1 + clip_high, 3 say; 0: off",
    )
    positive_weight: Weight = Field(1.0, description="of advantages above 0")
    negative_weight: Weight = Field(1.0, description="of advantages below 0")
    zero_variance_coefficient: Weight = Field(
        0.0,
        description="RL-ZVP: rows of equal rewards get this times the tokens' entropies as "
        "advantages; 0: off",
    )
    top_entropy_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="the policy term learns from the tokens of highest entropy, this share of an "
        "update's; 1: from all",
    )
    mask_truncated: bool = Field(
        False, description="rollouts cut at rollouts.max_new_tokens take no part in the loss"
    )
    covariance: Literal["clip", "kl"] | None = Field(
        None,
        description="Clip-Cov or KL-Cov: bounds the tokens whose log-probability and advantage "
        "covary most; None: off",
    )
    covariance_share: float = Field(
        2e-4, gt=0, le=1, description="covariance: share of an update's tokens that it bounds"
    )
    covariance_low: float = Field(1.0, description="covariance = clip: of tokens above this")
    covariance_high: float = Field(5.0, description="covariance = clip: and below this")
    covariance_coefficient: float = Field(
        1.0, gt=0, description="covariance = kl: weight of the chosen tokens' |log ratio|"
    )
    gamma: Share = Field(1.0, description="discount of later rewards, per token")
    gae_lambda: Share = Field(1.0, description="1: returns less values; 0: one-step errors")
    critic: Literal["own", "shared"] | None = Field(
        None, description="ppo: the value head's own copy of the model, or on the policy's trunk"
    )
    critic_learning_rate: float = Field(
        1e-5, gt=0, le=1e3, description="of the critic (own), or of its head alone (shared)"
    )
    value_coefficient: Weight = Field(1.0, description="weight of the value term")
    value_clip: Weight = Field(
        0.5, description="a value's step away from the old one counts up to here; 0: off"
    )
    overlong_buffer_share: Share = Field(
        0.0,
        description="last share of rollouts.max_new_tokens, in which the reward falls; 0: off",
    )
    overlong_penalty: Weight = Field(
        0.5,
        description="deducted at max_new_tokens; linear from 0 within the buffer. DAPO's 1, whose "
        "verdicts are -1 and 1, on those of 0 and 1",
    )
    dynamic_sampling: bool = Field(
        False, description="replace rows whose rewards are all equal by other prompts' rows"
    )
    dynamic_sampling_rounds: int = Field(
        10, gt=0, le=100_000, description="dynamic_sampling: samplings of a step at most"
    )

    @model_validator(mode="before")
    @classmethod
    def _own_values(cls, given: Any) -> Any:
        """Keys that are left out take the algorithm's own values."""
        if not isinstance(given, Mapping):
            return given
        name = given.get("name", "grpo")
        return {**(PRESETS.get(name, {}) if isinstance(name, str) else {}), **given}

    @model_validator(mode="after")
    def _all_used(self) -> AlgorithmConfig:
        for key, users in USED_BY.items():
            default = type(self).model_fields[key].default
            given = getattr(self, key)
            off = given == 0 and key in OFF_AT_ZERO
            if self.name not in users and given != default and not off and self.name in PRESETS:
                raise ValueError(
                    f"algorithm.{key} is {getattr(self, key)!r}, which {self.name} has no use for "
                    f"(of {', '.join(users)}). Leave it out"
                )
        if self.name == "ppo" and self.critic is None:
            raise ValueError(
                'algorithm.critic is none and ppo needs one. Set algorithm.critic="own" or "shared"'
            )
        if self.sampler_floor and self.sampler_correction in (None, "none", "token_truncate"):
            raise ValueError(
                f"algorithm.sampler_floor is {self.sampler_floor}, and only token_mask and "
                "sequence_mask mask ratios below it. Set algorithm.sampler_correction, or leave "
                "it out"
            )
        for fault in self._contradictions():
            raise ValueError(fault)
        if self.entropy_target is not None and (
            not 0 <= self.entropy_coefficient <= self.entropy_coefficient_max
        ):
            raise ValueError(
                f"algorithm.entropy_coefficient is {self.entropy_coefficient} and moves between 0 "
                f"and entropy_coefficient_max = {self.entropy_coefficient_max} where "
                "entropy_target is set; begin between them"
            )
        return self

    def _contradictions(self) -> Iterator[str]:
        """Practices that cannot work together, a sentence each."""
        alpha = self.zero_variance_coefficient
        if alpha and self.dynamic_sampling:
            yield (
                f"algorithm.zero_variance_coefficient is {alpha} and algorithm.dynamic_sampling "
                "replaces the rows of equal rewards that it learns from. Set "
                "algorithm.dynamic_sampling=false"
            )
        if alpha and self.kl_coefficient and self.kl_place == "reward":
            yield (
                f"algorithm.zero_variance_coefficient is {alpha}, and with a KL penalty in the "
                'reward no row has equal rewards. Set algorithm.kl_place="loss", or '
                "algorithm.kl_coefficient=0"
            )
        if not self.positive_weight and not self.negative_weight:
            yield (
                "algorithm.positive_weight and negative_weight are both 0, which leaves nothing of "
                "the policy term. Set one above 0, or algorithm.policy_coefficient=0"
            )
        if self.dual_clip and self.dual_clip <= 1 + self.clip_high:
            yield (
                f"algorithm.dual_clip is {self.dual_clip}, within the ratios that clipping leaves "
                f"alone (up to 1 + clip_high = {1 + self.clip_high:g}). Set 3, say, or 0 for off"
            )
        usual = type(self).model_fields["sampler_cap"].default
        if self.sampler_correction == "none" and self.sampler_cap != usual:
            yield (
                f"algorithm.sampler_cap is {self.sampler_cap} and algorithm.sampler_correction "
                '"none", which corrects nothing. Leave one of them out'
            )
        yield from self._contradictions_of_covariance()

    def _contradictions_of_covariance(self) -> Iterator[str]:
        belongs = {
            "covariance_share": ("clip", "kl"),
            "covariance_low": ("clip",),
            "covariance_high": ("clip",),
            "covariance_coefficient": ("kl",),
        }
        for key, kinds in belongs.items():
            given = getattr(self, key)
            if given != type(self).model_fields[key].default and self.covariance not in kinds:
                wanted = " or ".join(f'"{kind}"' for kind in kinds)
                yield (
                    f"algorithm.{key} is {given} and belongs to algorithm.covariance = {wanted}. "
                    "Set that, or leave it out"
                )
        if self.covariance_low >= self.covariance_high:
            yield (
                f"algorithm.covariance_low is {self.covariance_low} and covariance_high "
                f"{self.covariance_high}; the first must be the smaller"
            )
        if self.covariance != "kl":
            return
        for key in ("clip_low", "clip_high"):
            default = type(self).model_fields[key].default
            usual = PRESETS.get(self.name, {}).get(key, default)
            if getattr(self, key) != usual:
                yield (
                    f"algorithm.{key} is {getattr(self, key)}, and KL-Cov's penalty stands in "
                    "place of clipping. Leave it out"
                )
        if self.dual_clip:
            yield (
                f"algorithm.dual_clip is {self.dual_clip}, and KL-Cov's penalty stands in place of "
                "clipping. Leave it out"
            )
