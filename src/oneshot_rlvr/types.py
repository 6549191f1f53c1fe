"""The nouns of the method: Example -> Rollout -> Verdict -> reward.

Frozen and torch-free, so that choosing, grading and reporting run on any laptop. Tensors appear
first in `policy/`, never here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Message = Mapping[str, str]
"""One chat turn: {"role": "user" | "system" | "assistant", "content": text}."""


@dataclass(frozen=True, slots=True)
class Example:
    """One problem with a verified answer.

    `messages` is the chat as the model sees it (before the chat template); `question` is its last
    user turn, verbatim. `answer` is the gold, as text; `verifier` names how it is compared.
    """

    id: str
    question: str
    answer: str
    verifier: str = "math_answer"
    domain: str = ""
    family: str = ""
    messages: tuple[Message, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def chat(self) -> list[dict[str, str]]:
        """The chat turns; a lone question becomes one user turn."""
        if self.messages:
            return [dict(m) for m in self.messages]
        return [{"role": "user", "content": self.question}]


class Reason(StrEnum):
    """Why a verdict is what it is. Closed: every reason is a counted metric."""

    CORRECT = "correct"
    MISMATCH = "mismatch"  # an answer was read and it is not the gold
    NO_ANSWER = "no_answer"  # nothing that could be an answer was found
    AMBIGUOUS = "ambiguous"  # several answers were stated and they disagree
    UNPARSEABLE = "unparseable"  # an answer was found but it has no meaning for this verifier
    TIMEOUT = "timeout"  # the model's text kept the verifier busy past its deadline
    MEMORY = "memory"  # the model's text made the verifier exceed its memory
    ERROR = "error"  # the model's code raised, or ended before it answered
    OUTPUT_LIMIT = "output_limit"  # the model's code wrote more than may be read
    CRASH = "crash"  # the model's text brought two grading processes down, one after the other


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one text. `correct` holds exactly when `reason` is CORRECT.

    `score` says how good the answer is, 0..1; where a kind does not say, 1 for a right answer and
    0 for any other. What is counted (accuracy, saturation, tables) is `correct`; an arm may reward
    the score. ValueError for a score outside.
    """

    correct: bool
    reason: Reason
    extracted: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    score: float = math.nan  # nan: as `correct` says

    def __post_init__(self) -> None:
        """ValueError for a verdict that contradicts itself, or is none, or a score outside."""
        if type(self.correct) is not bool or not isinstance(self.reason, Reason):
            raise ValueError(
                f"a Verdict of correct={self.correct!r}, reason={self.reason!r}; wanted True or "
                "False, and a Reason."
            )
        if self.correct != (self.reason is Reason.CORRECT):
            raise ValueError(
                f"a Verdict contradicts itself: correct is {self.correct} and the reason "
                f'"{self.reason}". A right answer has the reason "correct", a wrong one another.'
            )
        score = self.score
        if score != score:  # nan
            object.__setattr__(self, "score", 1.0 if self.correct else 0.0)
            return
        score = float(score)
        if not 0 <= score <= 1:
            raise ValueError(f"a verdict's score is {score}; wanted 0 to 1")
        object.__setattr__(self, "score", score)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One row of a step: a tokenized example. Rows with equal tokens share their prefix work."""

    row: int
    example: Example
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled answer. Row and index place it in the step: group `row`, member `index` of G.

    `tokens` holds the generated ids, the end-of-text id included when the model produced one
    (`finished`); `logprobs` holds, for each of them, the log-probability (nats) under the
    distribution it was sampled from, that is, at the rollout temperature.
    """

    row: int
    index: int
    example_id: str
    prompt_tokens: tuple[int, ...]
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Graded:
    """A rollout with its verdict and the reward that the recipe's arm makes of it."""

    rollout: Rollout
    verdict: Verdict
    reward: float
