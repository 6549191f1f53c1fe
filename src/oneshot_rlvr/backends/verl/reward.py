"""`reward.custom_reward_function` of a run on verl: our verifiers, inside verl's reward workers.

    reward.custom_reward_function.path=<this file>  .name=compute_score
    +reward.custom_reward_function.reward_kwargs.spec=<reward.json>

The spec names the recipe's [reward] table and the examples (`data.write_examples`). Texts are
decoded as the local backend decodes them, graded in killable processes (no signals: verl calls from
threads of Ray workers) and rewarded by the recipe's arm, so that scores are the local backend's. A
broken grader is written to `failure.json` beside the spec, where the launcher finds it: verl itself
would log it and go on with fewer rollouts.

For data that no recipe describes see `oneshot_rlvr.rewards.verl`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr.backends.verl.data import VALIDATION, read_examples
from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.evaluation import grading_config
from oneshot_rlvr.rewards.scorer import Scorer
from oneshot_rlvr.types import Example, Rollout
from oneshot_rlvr.verifiers.boxed import last_box

FAILURE = "failure.json"


@dataclass(frozen=True, slots=True)
class _Grader:
    """What one spec says, opened once a process."""

    examples: dict[str, dict[str, Example]]
    training: Scorer
    validation: Scorer


_graders: dict[str, _Grader] = {}
_lock = threading.Lock()


def write_spec(path: Path, *, reward: RewardConfig, examples: Path, seed: int) -> Path:
    """What `compute_score` needs to know of a run, as JSON. The examples lie beside it."""
    spec = {"reward": reward.model_dump(mode="json"), "examples": examples.name, "seed": seed}
    path.write_text(json.dumps(spec, indent=1), encoding="utf-8")
    return path


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any],
    *,
    spec: str,
) -> dict[str, Any]:
    """{"score": the arm's reward, "acc": 1 for a right answer, and what the records need}.

    Called through `plugin.reward_manager`, which puts `tokens`, `ends`, `step`, `session` and the
    `tokenizer` into `extra_info`. Raises what a broken grader raises, and leaves word of it.
    """
    try:
        return _score(_grader(spec), extra_info)
    except Exception as error:
        _leave_word(Path(spec).with_name(FAILURE), error)
        raise


def _score(grader: _Grader, info: Mapping[str, Any]) -> dict[str, Any]:
    identity, held_out = str(info["index"]), info["set"] == VALIDATION
    example = grader.examples[info["set"]][identity]
    tokens = tuple(info["tokens"])
    finished = bool(tokens) and tokens[-1] in info["ends"]
    text = info["tokenizer"].decode(
        tokens[:-1] if finished else tokens,
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    row, index = int(info.get("row", 0)), int(info["session"])
    rollout = Rollout(row, index, identity, (), tokens, (), text, finished)
    scorer = grader.validation if held_out else grader.training
    (graded,) = scorer.score([rollout], {identity: example}, int(info["step"]))
    return {
        "score": float(graded.reward),
        "acc": float(graded.verdict.correct),
        "verdict_score": graded.verdict.score,
        # Texts are JSON where None must come back as None; verl averages numbers only.
        "example_id": identity,
        "text": text,
        "reason": str(graded.verdict.reason),
        "extracted": json.dumps(graded.verdict.extracted),
        "tokens": float(len(tokens)),
        "finished": float(finished),
        "boxed": float(last_box(text) is not None),
    }


def _grader(spec: str) -> _Grader:
    with _lock:
        if spec not in _graders:
            told = json.loads(Path(spec).read_text(encoding="utf-8"))
            config = RewardConfig(**told["reward"])
            _graders[spec] = _Grader(
                read_examples(Path(spec).with_name(told["examples"])),
                Scorer(config, seed=told["seed"]),
                Scorer(grading_config(config), seed=told["seed"]),
            )
        return _graders[spec]


def _leave_word(path: Path, error: Exception) -> None:
    """The first failure, in one line; later ones are symptoms of the same."""
    words = {"type": type(error).__name__, "message": " ".join(str(error).split())}
    try:
        with open(path, "x", encoding="utf-8") as file:
            json.dump(words, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        pass
