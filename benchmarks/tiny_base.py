"""What the embedded base model can do: accuracy and pass@64 by family, answers by habit.

    python benchmarks/tiny_base.py            # writes its part of docs/tiny_world.md

Validation split, 64 answers a question at temperature 0.6.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oneshot_rlvr.config import BenchmarkConfig, ModelConfig, RewardConfig
from oneshot_rlvr.estimators import pass_at_k, question_interval
from oneshot_rlvr.evaluation import evaluate, load_benchmark
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rollouts import make_engine
from oneshot_rlvr.rollouts.threads import set_threads
from oneshot_rlvr.tiny.families import FAMILIES, families_of

ROOT = Path(__file__).parents[1]
SAMPLES = 64
OPENINGS = {"worked": "Step by step:", "hasty": "Quick guess:", "ramble": "Hmm."}
BEGIN, END = "<!-- base: begin -->", "<!-- base: end -->"


def habits(samples: Sequence[dict[str, Any]]) -> list[str]:
    """Share and accuracy of each habit, told by how an answer opens and whether it is boxed."""
    kinds: dict[str, list[bool]] = {}
    for sample in samples:
        opens = [kind for kind, text in OPENINGS.items() if sample["text"].startswith(text)]
        kind = opens[0] if opens else "other"
        if kind == "worked":
            kind = "worked, boxed" if sample["boxed"] else "worked, no box"
        kinds.setdefault(kind, []).append(bool(sample["correct"]))
    return [
        "| answers that are | share | right |",
        "|---|---|---|",
        *(
            f"| {kind} | {100 * len(right) / len(samples):.1f} % | {100 * np.mean(right):.1f} % |"
            for kind, right in sorted(kinds.items(), key=lambda item: -len(item[1]))
        ),
    ]


def main() -> None:
    """Answer, count, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--questions", type=int, default=5, help="a family")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    set_threads(args.threads)
    config = BenchmarkConfig(
        split="validation", questions=args.questions, samples=SAMPLES, temperature=0.6, seed=2
    )
    policy = load_policy(ModelConfig(path=args.model))
    with Scorer(RewardConfig(), seed=0) as scorer:
        result = evaluate(
            make_engine("auto", policy),
            policy.tokenizer,
            scorer,
            load_benchmark(config),
            config,
            max_new_tokens=144,
            max_prompt_tokens=256,
        )
    correct: dict[str, list[list[bool]]] = {}
    for start in range(0, len(result.samples), SAMPLES):
        answers = result.samples[start : start + SAMPLES]
        correct.setdefault(answers[0]["family"], []).append([a["correct"] for a in answers])
    lines = [f"| family | avg@{SAMPLES} [95 %] | pass@{SAMPLES} |", "|---|---|---|"]
    rows = {family: correct[family] for family in FAMILIES}
    rows |= {
        f"**{group}**": [row for family in families_of(group) for row in correct[family]]
        for group in ("math", "other")
    }
    for name, matrix in rows.items():
        mean = question_interval(matrix)
        interval = f"[{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
        passed = 100 * pass_at_k(matrix, SAMPLES)
        lines.append(f"| {name} | {100 * mean.value:.1f} {interval} | {passed:.0f} |")
    said = (
        f"`python benchmarks/tiny_base.py`: {args.questions} validation questions a family, "
        f"{SAMPLES} answers each at temperature 0.6, in per cent."
    )
    text = "\n".join([said, "", *lines, "", *habits(result.samples)])
    print(text)
    page = ROOT / "docs" / "tiny_world.md"
    head, rest = page.read_text(encoding="utf-8").split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
