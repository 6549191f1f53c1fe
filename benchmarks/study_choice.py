"""Writes recipes/studies/choice.toml: 12 examples of the tiny pool with their selection scores.

    python benchmarks/study_choice.py --out runs/choice

A short training run over the pool of 198 gives every example a history, the scores of `oneshot
select` order them, and the study gets the first by historical variance (the paper's score), the
last, and ten drawn by a seed between them. Nothing here looks at a gain: the study's claims are
fixed by this file, and its scores by a run that ends before any arm is trained.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.selection import SCORES, from_run, rank
from oneshot_rlvr.verbs.pool import train_over

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "recipes" / "studies"
POOL = STUDIES / "tiny_pool.jsonl"
VISITS, DRAWN, SEED = 6, 10, 20261129
UNINFORMED = ("random", "first")

HEAD = '''\
name = "choice"
title = "Which example?"
note = """
Twelve examples of the tiny pool: the first and the last by historical variance, and ten drawn by
chance between them. Written, scores included, by benchmarks/study_choice.py before any arm is run.
"""
base = "tiny_one_shot"
seeds = [0, 1, 2, 3, 4]
checkpoint = "final" # the last step's, in every arm
controls = ["base", "own_base", "chosen"]

# As in the other studies.
[set]
"rollouts.prompts_per_step" = 8
"train.steps" = 80
"train.save_every" = 1
"evaluation.validation.samples" = 2 # of the curves alone: no claim is made of them

[benchmarks.test]
benchmark = "tiny"
split = "test"
questions = 20
samples = 4
temperature = 0.6
seed = 20261122

[fair_base]
prompts = ["own", "boxed"]
temperatures = [0.0, 1.0]

[planning]
accuracy = 0.7
seed_sd = 0.01
question_sd = 0.25
'''


def main() -> None:
    """The history, the ranking, the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/choice"))
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    examples = load_file(POOL)
    recipe = load_recipe("tiny_one_shot", {"train.threads": args.threads})
    tried = train_over(recipe, POOL, examples, visits=VISITS, out=args.out)
    assert tried.run is not None
    history = from_run(tried.run)
    scores: dict[str, dict[str, float]] = {}
    for name in SCORES:
        if name in UNINFORMED:
            continue
        try:
            ranking = rank(history, name)
        except DataError as error:
            print(f"{name}: {error}")
            continue
        scores[name] = dict(zip(history.ids, ranking.score_E.tolist(), strict=True))
    order = rank(history, "variance").ids
    between = random.Random(SEED).sample(order[1:-1], DRAWN)
    chosen = {"chosen": order[0], **{f"drawn_{n}": i for n, i in enumerate(between, 1)},
              "last": order[-1]}  # fmt: skip
    lines = [HEAD]
    for arm, example in chosen.items():
        told = {s: by[example] for s, by in scores.items() if np.isfinite(by[example])}
        named = {"chosen": "k_shot", "last": "worst_example"}.get(arm, "random_example")
        lines.append(f'[arms.{arm}]\nnamed = "{named}"')
        lines.append(
            f'set = {{ "examples.path" = "tiny_pool.jsonl", "examples.ids" = ["{example}"] }}'
        )
        cells = ", ".join(f"{name} = {value:.6g}" for name, value in told.items())
        lines.append(f"scores = {{ {cells} }}")
        if arm == "chosen":
            lines.append(f"selection_rollouts = {tried.cost.answers}")
            lines.append(f"selection_tokens = {tried.cost.tokens}")
        lines.append("")
    arms = ", ".join(f'"{arm}"' for arm in chosen)
    lines += [
        _claim("the example with the highest variance beats one drawn by chance", "chosen",
               "drawn_1"),
        _claim("it beats the last by variance", "chosen", "last"),
        _claim("an example drawn by chance beats the base", "drawn_1", "own_base"),
        _claim("even the last by variance beats the base", "last", "own_base"),
    ]  # fmt: skip
    for name, by in scores.items():
        if all(np.isfinite(by[example]) for example in chosen.values()):
            lines.append(
                f'[[claims]]\nfinding = 8\nname = "{name} orders examples by their gain"\n'
                f'statistic = "rank_correlation"\nscore = "{name}"\nagainst = "own_base"\n'
                f'arms = [{arms}]\nrelation = "above"\nthreshold = 0.0\n'
            )
    (STUDIES / "choice.toml").write_text("\n".join(lines), encoding="utf-8")
    print(f"wrote {STUDIES / 'choice.toml'}: {', '.join(scores)}")


def _claim(name: str, arm: str, against: str) -> str:
    return (
        f'[[claims]]\nfinding = 8\nname = "{name}"\narm = "{arm}"\nagainst = "{against}"\n'
        'relation = "above"\nthreshold = 0.0\n'
    )


if __name__ == "__main__":
    main()
