"""The tables of a recipe but the algorithm's, in the order of a run: what each key means.

Defaults are the paper's published setting (arXiv 2504.20571) unless a field says otherwise. Off is
`None` or 0 and the field says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from oneshot_rlvr.config.engines import VLLMConfig
from oneshot_rlvr.config.presets import LORA_PRESETS
from oneshot_rlvr.config.section import (
    NONE_TEXT,
    Count,
    Decay,
    Length,
    Positive,
    Rows,
    Section,
    Seed,
    Share,
    TemplateArguments,
    TopP,
    Weight,
)

CUTS = ("top_p", "top_k", "min_p")
"""Keys that cut tokens off before one is drawn."""


class LoraConfig(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) through PEFT."""

    preset: Literal["without_regret"] | None = Field(
        None,
        description="without_regret: every linear layer, and of the keys below that are left out "
        "alpha 32, a rank from the data's size, ten times the learning rate",
    )
    rank: int = Field(
        16,
        ge=0,
        le=100_000,
        description="of every adapter, from 1; 0: from the number of the run's rollouts",
    )
    alpha: float = Field(
        32.0, gt=0, le=1e6, description="an adapter's output is scaled by alpha / rank"
    )
    targets: list[str] | None = Field(
        None, description="names of the layers that get one; None: every linear layer but the head"
    )
    rate_factor: float = Field(
        1.0,
        gt=0,
        le=1e4,
        description="the adapters' learning rate is optimizer.learning_rate times this",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset_values(cls, given: Any) -> Any:
        """Keys that are left out take the preset's values."""
        if not isinstance(given, Mapping):
            return given
        name = given.get("preset")
        return {**(LORA_PRESETS.get(name, {}) if isinstance(name, str) else {}), **given}

    @model_validator(mode="after")
    def _every_linear_layer(self) -> LoraConfig:
        if self.preset is not None and self.targets is not None:
            raise ValueError(
                f'model.lora.targets is {self.targets} and model.lora.preset "{self.preset}", '
                "which is adapters on every linear layer. Leave one of them out"
            )
        if not self.rank and self.targets is not None:
            raise ValueError(
                "model.lora.rank is 0, which reckons with adapters on every linear layer, and "
                f"model.lora.targets {self.targets}. Give a rank, 1 or more"
            )
        return self


class ModelConfig(Section):
    """The policy: any causal LM that transformers loads, or the embedded one."""

    path: str = Field(
        "tiny",
        description="hub name, directory, .gguf file, `tiny` (the embedded model), or `smollm2`",
    )
    revision: str | None = Field(None, description="hub revision; None takes the default branch")
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "auto",
        description="weights' type; auto: bfloat16 on CUDA, float32 elsewhere; float16: on CUDA "
        "alone, with a scaled loss",
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    trust_remote_code: bool = Field(False, description="run code that a hub model ships")
    chat_template: Literal["auto", "none"] = Field(
        "auto",
        description="auto: the tokenizer's template where it has one; none: the bare question",
    )
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="of the chat template, in training and evaluation: {enable_thinking = false}",
    )
    autocast: Literal["bfloat16"] | None = Field(
        None,
        description="type of the products in training; weights, sums and the optimizer keep "
        "float32; a CPU must have the instructions; None: the weights'",
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute each layer in the backward pass: less memory, more time"
    )
    lora: LoraConfig | None = Field(
        None, description="train low-rank adapters instead of the weights; None: all weights"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> ModelConfig:
        if self.dtype == "float16" and self.autocast is not None:
            raise ValueError(
                f'model.dtype is "float16" and model.autocast "{self.autocast}"; products have one '
                "type. Leave one of them out"
            )
        if self.template_arguments and self.chat_template == "none":
            raise ValueError(
                'model.template_arguments are given and model.chat_template is "none", so that '
                "no template reads them. Leave one of them out"
            )
        return self


class ExamplesConfig(Section):
    """What to train on: a file, a hub data set, or examples written into the recipe."""

    path: str | None = Field(
        None,
        description="JSONL, Parquet, CSV file, hub data set, or reasoning_gym:NAME?seed=0&size=100",
    )
    items: list[dict[str, Any]] | None = Field(
        None, description="inline examples: [{question, answer, ...}]; instead of path"
    )
    split: str = Field("train", description="split of a hub data set")
    columns: Literal["auto", "own", "verl", "trl"] = Field(
        "auto", description="auto: told from the column names"
    )
    verifier: str = Field(
        "math_answer", description="verifier of examples that do not name their own"
    )
    prompt_suffix: str = Field("", description="appended to every question, after a space")
    rename: dict[str, str] = Field(
        default_factory=dict, description="their column = ours, before the columns are told"
    )
    ids: list[str] | None = Field(None, description="keep only these ids; None: all")
    exclude: list[str] = Field(default_factory=list, description="leave these ids out")
    first: Positive | None = Field(
        None, description="keep the first n distinct examples; None: all"
    )


class RewardConfig(Section):
    """How a verdict becomes a reward. Arms beside `outcome` and `score` are controls and rivals."""

    arm: str = Field(
        "outcome",
        description="outcome, score, format_only, random, wrong_label, majority or self_certainty",
    )
    random_share: Share = Field(0.5, description="arm random: share of rewards that are 1")
    wrong_label: str | None = Field(None, description="arm wrong_label: the gold to use instead")
    timeout_seconds: float = Field(5.0, gt=0, le=86_400, description="deadline of one verdict")
    workers: int = Field(
        1, ge=0, le=1024, description="grading processes; 0 keeps none between batches"
    )
    memory_megabytes: int = Field(
        4096,
        ge=512,
        le=1 << 24,
        description="address space of a grading process; beyond it the text is wrong",
    )
    length_penalty: Share = Field(
        0.0, description="deducted from a right answer of length_full_tokens or more; 0: off"
    )
    length_free_tokens: Count = Field(0, description="length_penalty: nothing up to here")
    length_full_tokens: Positive = Field(3072, description="length_penalty: all of it from here on")
    format_penalty: Share = Field(
        0.0, description="deducted from a right answer without a box; 0: off"
    )
    sandbox: Literal["bubblewrap", "rlimits_only"] = Field(
        "bubblewrap",
        description="python_code: rlimits_only runs model code as an ordinary process, unconfined",
    )

    @model_validator(mode="after")
    def _lengths_in_order(self) -> RewardConfig:
        if self.length_full_tokens <= self.length_free_tokens:
            raise ValueError(
                f"length_full_tokens is {self.length_full_tokens} and length_free_tokens "
                f"{self.length_free_tokens}; the first must be the larger"
            )
        return self


class RolloutsConfig(Section):
    """How a step is sampled: P rows of G rollouts."""

    engine: str = Field("auto", description="auto, hf, vllm ...; see `oneshot list engines`")
    prompts_per_step: Rows = Field(
        128, description="rows P of a step; each row is a prompt and a group of its own"
    )
    group_size: Rows = Field(8, description="rollouts G of a row")
    max_prompt_tokens: Length = Field(1024, description="longer prompts are refused")
    max_new_tokens: Length = Field(3072, description="rollouts are cut here")
    temperature: float = Field(
        0.6, ge=1e-3, le=1e3, description="of sampling and of the training log-probs"
    )
    top_p: TopP = Field(
        1.0, description="draw from the best tokens of this mass alone, and train those; 1: off"
    )
    top_k: Count = Field(0, description="draw from so many best tokens alone; 0: off")
    min_p: Share = Field(
        0.0, description="draw from tokens of at least this share of the best's probability; 0: off"
    )
    autocast: Literal["bfloat16"] | None = Field(
        None,
        description="type of the products in sampling on a CPU that has them, engine "
        "shared_prefix, sums in float32; None: the weights'",
    )
    vllm: VLLMConfig = VLLMConfig()

    @model_validator(mode="before")
    @classmethod
    def _not_while_training(cls, given: Any) -> Any:
        for key in ("repetition_penalty", "stop") if isinstance(given, dict) else ():
            if key in given:
                raise ValueError(
                    f"rollouts.{key} is {given[key]!r}: an answer that is trained on is drawn from "
                    "the policy itself and ends where the policy ends it. Evaluation has this key "
                    f"(evaluation.test.{key}); leave it out here"
                )
        return given

    @property
    def truncated(self) -> bool:
        """Whether tokens are cut off before one is drawn."""
        return self.top_p < 1 or bool(self.top_k or self.min_p)


class OptimizerConfig(Section):
    """AdamW with the paper's constant learning rate."""

    learning_rate: float = Field(1e-6, gt=0, le=1e3, description="constant after the warm-up")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's averages")
    weight_decay: Weight = Field(0.01, description="decoupled (AdamW); 0: off")
    gradient_clip: float = Field(1.0, ge=0, le=1e9, description="global norm; 0: off")
    warmup_steps: Count = Field(0, description="linear from 0; then constant; 0: off")


class TrainConfig(Section):
    """How long, how often saved and validated, and which checkpoint is the result."""

    steps: Positive = Field(2000, description="rollout steps")
    updates_per_rollout: Positive = Field(
        1, description="optimizer steps per rollout step; 1: ratio is 1 and clipping idle"
    )
    epochs: Positive = Field(
        1, description="passes over a step's rollouts, among which its updates are shared"
    )
    zero_variance_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="of the rollouts without advantage, the random share that an update computes; "
        "entropy and KL terms and metrics are weighed up, unbiased; 1: all",
    )
    micro_batch_tokens: Positive = Field(
        16384, description="tokens (padded) of one forward-backward; the loss does not depend on it"
    )
    seed: Seed = Field(0, description="of everything random in the run")
    save_every: Count = Field(20, description="steps between checkpoints; 0: only the last")
    eval_every: Count = Field(20, description="steps between validations; 0: only start and end")
    keep_checkpoints: Positive = Field(
        2, description="newest checkpoints kept; the best validated stays beside them"
    )
    checkpoint_rule: Literal["final", "best_validation"] = Field(
        "final", description="which checkpoint is the result; declared before the run"
    )
    max_skipped_updates: Count = Field(
        5, description="updates in a row with a loss or gradient not finite; 0: never stop"
    )
    term_norms_every: Count = Field(
        0, description="steps between measuring each loss term's gradient norm; 0: off"
    )
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads of torch; 0: measured once, then kept"
    )


class TrackingConfig(Section):
    """Who else is told what a run logs. Changes nothing in the run, and may change on a resume."""

    trackers: list[str] = Field(
        default_factory=list,
        description="tensorboard, wandb, trackio; the run's own files are always written",
    )
    project: str = Field("oneshot-rlvr", description="the project in wandb and trackio")
    print_every: Positive = Field(
        10, description="steps between lines where the output is no terminal"
    )


class BenchmarkConfig(Section):
    """A set of questions and how they are answered."""

    benchmark: str = Field(
        "tiny", description="a name (`oneshot list benchmarks`), a TOML file, or a file of examples"
    )
    path: str | None = Field(
        None, description='examples file of benchmark = "file"; else replaces the benchmark\'s own'
    )
    split: Literal["validation", "test"] = Field(
        "test", description="tiny: which generated split; None of its questions is in another"
    )
    questions: Count = Field(0, description="first n questions (tiny: per family); 0: all")
    samples: Positive = Field(1, description="answers K per question; metrics are avg@K")
    temperature: float = Field(0.0, ge=0, le=1e3, description="0 is greedy")
    seed: Seed = Field(0, description="of sampling, and of a generated test set")
    max_new_tokens: Length | None = Field(None, description="None: as in rollouts")
    top_p: TopP = Field(1.0, description="draw from the best tokens of this mass alone; 1: off")
    top_k: Count = Field(0, description="draw from so many best tokens alone; 0: off")
    min_p: Share = Field(
        0.0, description="draw from tokens of at least this share of the best's probability; 0: off"
    )
    repetition_penalty: float = Field(
        1.0, gt=0, le=1000, description="on logits of tokens that stand in prompt or answer; 1: off"
    )
    stop: list[str] = Field(
        default_factory=list, description="an answer ends before the first of these texts"
    )
    system: str | None = Field(
        None, description="system turn; empty: none; None: the benchmark's own, if it has one"
    )
    template_arguments: TemplateArguments | None = Field(
        None, description="of the chat template; None: as model.template_arguments"
    )

    @model_validator(mode="after")
    def _decoding_fits(self) -> BenchmarkConfig:
        cut = [key for key in CUTS if getattr(self, key) != type(self).model_fields[key].default]
        if cut and self.temperature == 0:
            raise ValueError(
                f"{cut[0]} is {getattr(self, cut[0])} at temperature 0, which takes the best token "
                "whatever is cut off. Set a temperature above 0, or leave it out"
            )
        if "" in self.stop:
            raise ValueError("stop has an empty text, at which every answer would end at once")
        return self


class EvaluationConfig(Section):
    """Validation steers; test only tells. They never share a question."""

    validation: BenchmarkConfig | None = Field(
        None, description="held out, watched while training; None: no validation"
    )
    test: BenchmarkConfig | None = Field(
        None, description="touched once, after training: base and result; None: no test"
    )

    @field_validator("validation", "test", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        """A text is a benchmark's name or file: `test = "held_out.jsonl"`."""
        if isinstance(given, str):
            return None if given == NONE_TEXT else {"benchmark": given}
        return given
