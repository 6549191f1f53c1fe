"""A study's file as tables: base recipe, arms, seeds, benchmarks, comparisons, claims.

Keys and their kinds only. What they mean together (an arm that changes nothing, a claim about an
arm that does not exist) is found in file.py, which also makes the recipes.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from oneshot_rlvr.config import BenchmarkConfig, Positive, Section, Share

BASE = "base"
"""The model that every arm begins with, asked in the strongest of the ways that the file lists."""

OWN_BASE = "own_base"
"""The same model asked as the arms are, so that a difference has one cause; most papers compare so.
What `base` has beyond it is decoding."""

ALIGNED_BASE = "aligned_base"
"""The base after the same budget of `format_only` (arXiv 2603.12875): what a gain over it counts is
more than format."""

SHARES = ("accuracy", "strict", "lenient", "score", "boxed", "recheck", "truncated")
OVER_TIME = ("post_saturation", "over_fitting")
"""Statistics of answers to a benchmark, and of a run's validations; beside them pass@K and
rank_correlation."""

Relation = Literal["above", "below", "within"]
Intervals = Literal["seeds and questions", "questions"]


class ArmConfig(Section):
    """One arm: a named one, overrides of the base recipe, or both."""

    named: str | None = Field(
        None, description="a named arm (`oneshot list study-arms`); None: that of the arm's name"
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="dotted keys over the base recipe"
    )
    trains: bool | None = Field(
        None, description="False: the base model is asked, nothing is trained; None: as named"
    )
    differs: list[str] = Field(
        default_factory=list,
        description="keys of the budget in which it may differ from the others; told in the table",
    )
    scores: dict[str, float] = Field(
        default_factory=dict, description="selection scores of its example, for rank correlations"
    )
    selection_rollouts: int = Field(
        0, ge=0, description="what choosing its examples cost; counted in the total cost"
    )
    selection_tokens: int = Field(0, ge=0, description="the same in generated tokens")
    note: str = Field("", description="one line for the table")


class FairBase(Section):
    """The ways in which the base is asked. Of each benchmark the strongest is compared with."""

    prompts: list[str] = Field(
        default_factory=lambda: ["own"], description="own, or names of `oneshot evaluate --prompts`"
    )
    temperatures: list[float] = Field(
        default_factory=list, description="beside the benchmark's own; 0 is greedy, one answer"
    )


class Claim(Section):
    """A sentence that the study finds to hold, not to hold, or cannot tell."""

    name: str = Field(description="the sentence")
    arm: str = Field("", description="the arm that it is about")
    against: str | None = Field(
        None,
        description="the arm, base, own_base or aligned_base it is compared with; None: the value",
    )
    benchmark: str | None = Field(None, description="None: the study's only one")
    statistic: str = Field(
        "accuracy",
        description="accuracy, strict, lenient, score, boxed, recheck, truncated, pass@K, "
        "post_saturation, over_fitting or rank_correlation",
    )
    relation: Relation = Field("above", description="of the value and the threshold")
    threshold: float = Field(0.0, description="a share (0.02 is two points), or a correlation")
    only: dict[Literal["group", "domain", "family"], str] = Field(
        default_factory=dict,
        description='only questions of this group, domain or family; "not NAME": of all others',
    )
    arms: list[str] = Field(default_factory=list, description="rank_correlation: an arm an example")
    score: str = Field("", description="rank_correlation: which of the arms' scores")
    paper: str = Field("", description="what was published, for the table")
    finding: int | None = Field(None, gt=0, description="the row of docs/findings.md it belongs to")

    @model_validator(mode="after")
    def _whole(self) -> Claim:
        if self.statistic == "rank_correlation":
            if len(self.arms) < 4 or not self.score or self.against is None:
                raise ValueError(
                    f"claim {self.name!r}: a rank_correlation needs a score, what the gains are "
                    "over (against) and 4 or more arms"
                )
            if self.arm:
                raise ValueError(f"claim {self.name!r}: a rank_correlation has arms, not an arm")
        elif not self.arm:
            raise ValueError(f"claim {self.name!r} names no arm")
        elif self.arms or self.score:
            raise ValueError(f"claim {self.name!r}: arms and score belong to rank_correlation")
        if self.relation == "within" and self.threshold <= 0:
            raise ValueError(f"claim {self.name!r}: within needs a threshold above 0")
        if not -1 < self.threshold < 1:
            raise ValueError(
                f"claim {self.name!r}: threshold is {self.threshold:g}; wanted a share between -1 "
                "and 1, 0.02 for two points"
            )
        return self


class Planning(Section):
    """What `--plan` assumes where nothing has been measured yet."""

    accuracy: Share = Field(0.5, description="about what the arms reach")
    seed_sd: float = Field(0.02, ge=0, description="of a seed's true accuracy")
    question_sd: float = Field(0.15, ge=0, description="of the true change of a question")
    gpu: str | None = Field(
        None, description="one of the cost model, instead of measured steps: A100 80 GB, ..."
    )
    gpus: Positive = Field(1, description="of them, for one run")
    mean_tokens: Positive | None = Field(
        None, description="of an answer, for the cost model; None: a quarter of the longest"
    )


class Study(Section):
    """A study as its file says."""

    name: str = Field(description="names the study's folder")
    title: str = Field("", description="the question, for the page")
    note: str = Field("", description="a paragraph for the page")
    base: str = Field(description="the recipe that all arms begin with: a file or a packaged name")
    set: dict[str, Any] = Field(
        default_factory=dict, description="dotted keys over the base recipe, in every arm"
    )
    seeds: list[int] = Field(description="training seeds, the same in every arm")
    checkpoint: Literal["final", "best_validation"] = Field(
        "final", description="which checkpoint of a run counts: declared here, before any runs"
    )
    intervals: Intervals = Field(
        "seeds and questions", description="what they are over; questions: these seeds only"
    )
    benchmarks: dict[str, BenchmarkConfig] = Field(description="what every arm answers, by name")
    fair_base: FairBase = FairBase()
    arms: dict[str, ArmConfig] = Field(description="by name")
    controls: list[str] = Field(
        default_factory=lambda: [BASE], description="arms that every arm is compared with"
    )
    claims: list[Claim] = Field(default_factory=list, description="what is to be found out")
    planning: Planning = Planning()

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(
                f"name is {name!r}, which cannot name a folder; wanted letters, digits, _, . and -"
            )
        return name

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: list[int]) -> list[int]:
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds is {seeds}; wanted different whole numbers of 0 or more")
        return seeds

    @model_validator(mode="after")
    def _intervals_over_seeds(self) -> Study:
        if len(self.seeds) < 2 and self.intervals == "seeds and questions":
            raise ValueError(
                f"seeds is {self.seeds}: one seed shows no spread over seeds, which intervals = "
                '"seeds and questions" asks for. Give more seeds (5, say), or intervals = '
                '"questions", which speak of this one run only'
            )
        return self


def is_of(value: str, wanted: str) -> bool:
    """Whether a question's group, domain or family is what a claim's `only` asks for."""
    return value != wanted[4:] if wanted.startswith("not ") else value == wanted


def benchmark_of(study: Study, claim: Claim) -> str:
    """The benchmark that a claim is about."""
    return claim.benchmark or next(iter(study.benchmarks))
