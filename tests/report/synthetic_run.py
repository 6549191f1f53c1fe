"""A small recorded run, made through RunWriter: the shape of a real one, in a second, no model.

Loaded by path (tests are no package); `build` is the one entry. Every text can be made hostile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

import oneshot_rlvr
from oneshot_rlvr.records import RunWriter, summarise
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

FAMILIES = {  # family -> (domain, group, base skill, trained skill)
    "multiply": ("arithmetic", "math", 0.41, 0.93),
    "add_chain": ("arithmetic", "math", 0.45, 0.80),
    "linear_equation": ("algebra", "math", 0.33, 0.68),
    "word_shopping": ("word problems", "math", 0.30, 0.71),
    "simple_interest": ("finance", "other", 0.38, 0.60),
    "dose_by_weight": ("health", "other", 0.28, 0.52),
    "sort_words": ("strings", "other", 0.50, 0.55),
}

RECIPE: dict[str, Any] = {
    "name": "tiny_one_shot",
    "note": "",
    "model": {"path": "tiny", "revision": None},
    "examples": {"items": [{"question": "What is 52 * 4?", "answer": "208"}]},
    "rollouts": {"prompts_per_step": 2, "group_size": 4, "temperature": 1.0},
    "algorithm": {"name": "grpo"},
    "reward": {"arm": "outcome"},
    "train": {"steps": 40, "checkpoint_rule": "final", "seed": 0},
}

EXAMPLE = {
    "id": "multiply-52-4",
    "question": "What is 52 * 4?",
    "answer": "208",
    "verifier": "math_answer",
    "domain": "arithmetic",
    "family": "multiply",
}

INFO: dict[str, Any] = {
    "recipe": RECIPE,
    "examples": [EXAMPLE],
    "model": {"name": "tiny", "parameters": 812_544},
    "seeds": {"train": 0},
    "versions": {"oneshot-rlvr": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
    "machine": {"cpu": "2 cores", "memory_gib": 7.6},
    "git_commit": "0123abc",
}


_TOKENIZER = Tokenizer.from_file(
    str(Path(oneshot_rlvr.__file__).parent / "tiny" / "weights" / "tokenizer.json")
)


def tokens_of(text: str) -> tuple[int, ...]:
    """As the embedded model would have generated it."""
    return tuple(_TOKENIZER.encode(text, add_special_tokens=False).ids)


def build(
    directory: Path,
    *,
    steps: int = 40,
    validation: bool = True,
    test: bool = True,
    finish: bool = True,
    text: str | None = None,
    info: dict[str, Any] | None = None,
    questions: int = 12,
    seed: int = 0,
) -> Path:
    """Write the run and return its directory. `text` replaces every model text."""
    generator = np.random.default_rng(seed)
    with RunWriter.create(directory, INFO if info is None else info) as writer:
        for step in range(steps + 1):
            if step:
                _step(writer, step, steps, generator, text)
            if validation and step % 10 == 0:
                _evaluate(writer, "validation", step, _progress(step, steps), generator, text, 4)
        if test:
            _evaluate(writer, "test", 0, 0.0, generator, text, questions)
            _evaluate(writer, "test", steps, 1.0, generator, text, questions)
        if finish:
            writer.finish({"step": steps})
    return directory


def _progress(step: int, steps: int) -> float:
    return 1 - math.exp(-4 * step / max(steps, 1))


def _step(
    writer: RunWriter, step: int, steps: int, generator: np.random.Generator, text: str | None
) -> None:
    solved = 0.41 + 0.59 * (1 - math.exp(-9 * step / steps))
    graded = [
        _graded(row, index, generator.random() < solved, step, text)
        for row in range(2)
        for index in range(4)
    ]
    rewards = np.array([item.reward for item in graded]).reshape(2, 4)
    spread = rewards.std(axis=1, ddof=1, keepdims=True)
    advantages = ((rewards - rewards.mean(axis=1, keepdims=True)) / (spread + 1e-6)).ravel()
    writer.rollouts(step, graded, advantages.tolist())
    progress = _progress(step, steps)
    noise = 0.02 * generator.standard_normal()
    writer.metrics(
        step,
        {
            "train/accuracy": min(1.0, max(0.0, solved + noise)),
            "train/reward": min(1.0, max(0.0, solved + noise)),
            "train/entropy_nats": 0.6 * (1 - progress) + 0.15 + abs(noise),
            "train/kl": 0.08 * progress + abs(noise) / 20,
            "train/policy_loss": noise,
            "train/loss": noise,
            "train/gradient_norm": 0.8 - 0.5 * progress + abs(noise),
            "train/zero_variance_share": min(1.0, 0.05 + 0.8 * progress),
            "train/tokens_mean": 62 - 20 * progress + 20 * noise,
            "train/truncated_share": max(0.0, 0.2 * (1 - progress)),
            "train/boxed_share": min(1.0, 0.55 + 0.44 * progress),
            "train/recheck_share": 0.08 + 0.2 * progress,
            "train/reason/correct": solved,
            "train/tokens": 8 * 50,
            "optimizer/learning_rate": 5e-5,
        },
    )
    writer.timings(
        step,
        {"generate_seconds": 0.9, "update_seconds": 0.6, "step_seconds": 1.5,
         "memory_bytes": 900 * 2**20},
    )  # fmt: skip


def _graded(row: int, index: int, correct: bool, step: int, text: str | None) -> Graded:
    answer = "208" if correct else str(200 + (step + index) % 8)
    said = f"52 * 4 = 50 * 4 + 2 * 4 = 200 + 8 = {answer}. The answer is \\boxed{{{answer}}}."
    if not correct and index % 2:
        said = "52 * 4 is 5 and 2 and 4 and 5 and 2 and 4 and so on " * 12
    said = f"({step}.{row}.{index}) {said}" if text is None else f"{text} {step} {row} {index}"
    tokens = tokens_of(said)
    rollout = Rollout(
        row,
        index,
        EXAMPLE["id"],
        tokens_of(EXAMPLE["question"]),
        tokens,
        tuple(-0.1 * (place % 20) for place in range(len(tokens))),
        said,
        correct or index % 2 == 0,
    )
    reason = Reason.CORRECT if correct else (Reason.NO_ANSWER if index % 2 else Reason.MISMATCH)
    extracted = None if reason is Reason.NO_ANSWER else (answer if text is None else text)
    return Graded(rollout, Verdict(correct, reason, extracted), float(correct))


def _evaluate(
    writer: RunWriter,
    name: str,
    step: int,
    progress: float,
    generator: np.random.Generator,
    text: str | None,
    questions: int,
) -> None:
    samples = list(_samples(progress, generator, text, questions))
    summary = summarise(samples, benchmark="tiny", temperature=0.6, seed=7)
    writer.evaluation(name, step, samples, summary)


def _samples(
    progress: float, generator: np.random.Generator, text: str | None, questions: int
) -> Iterable[dict[str, Any]]:
    for family, (domain, group, base, trained) in FAMILIES.items():
        skill = base + (trained - base) * progress
        for question in range(questions):
            for sample in range(4):
                correct = bool(generator.random() < skill)
                boxed = bool(correct or generator.random() < 0.3 + 0.6 * progress)
                yield {
                    "example_id": f"{family}-{question}",
                    "group": group,
                    "domain": domain,
                    "family": family,
                    "question": text or f"question {question}",
                    "asked": f"<user>{text or f'question {question}'}<answer>",
                    "answer": "1",
                    "sample": sample,
                    "text": text or ("let me recheck" if sample == 3 else "so it is 1"),
                    "tokens": 40 + sample,
                    "finished": boxed or sample % 2 == 0,
                    "correct": correct,
                    "reason": "correct" if correct else ("mismatch" if boxed else "no_answer"),
                    "extracted": "1" if boxed else None,
                    "boxed": boxed,
                }
