"""1-shot RLVR on SmolLM2-135M-Instruct, with its controls: trains, asks, writes docs/smollm2.md.

    make smollm2        or        python benchmarks/smollm2/run.py --seeds 3 --threads 2

Everything that is done is kept below `--out`, so it can be stopped and started at any point; the
page says what is not done yet. Order: sets, probe of the pool, the base, then all arms of the first
seed, of the second, of the third. `--minutes` ends it after the stage that is running then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from page import ARMS, DECODINGS, SETS, write_page
from problems import PROMPTS, problems, prompted, write

import oneshot_rlvr
from oneshot_rlvr.config import load_recipe

ROOT = Path(__file__).parents[2]
RECIPE, MODEL, TRAINED_WITH = "smollm2_one_shot", "smollm2", "boxed"
POOL, TEST = (8, 0), (8, 20261129)  # questions a family, seed
PUBLISHED = {"gsm8k": "gsm8k", "arc_easy": "arc_easy"}
FIRST = 200
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def stages(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """(what it is, what does it), in order; each does nothing where it is done."""
    out, tokens = args.out, load_recipe(RECIPE).rollouts.max_new_tokens
    files = {
        prompt: write(
            prompted(problems("test", *TEST), prompt), out / "sets" / f"test-{prompt}.jsonl"
        )
        for prompt in PROMPTS
    }
    pool = write(prompted(problems("pool", *POOL), TRAINED_WITH), out / "sets" / "pool.jsonl")
    yield "probe", lambda: ask(args, MODEL, "probe", "pool", str(pool), (1.0, args.probe), tokens)
    for prompt, file in files.items():
        for decoding in DECODINGS.values():
            yield (
                f"base, {prompt}, {decoding}",
                lambda p=prompt, f=file, d=decoding: ask(args, MODEL, "base", p, str(f), d, tokens),
            )
    yield "base, published sets", lambda: published(args, MODEL, "base")
    for seed in range(args.seeds):
        for arm in ARMS:
            side, run = f"{arm}-{seed}", out / "runs" / f"{arm}-{seed}"
            yield f"train {side}", lambda a=arm, s=seed, r=run: train(args, a, s, r)
            for decoding in DECODINGS.values():
                yield (
                    f"ask {side}, {decoding}",
                    lambda n=side, r=run, d=decoding: ask(
                        args, str(r), n, TRAINED_WITH, str(files[TRAINED_WITH]), d, tokens
                    ),
                )
            yield f"ask {side}, published sets", lambda n=side, r=run: published(args, str(r), n)


def train(args: argparse.Namespace, arm: str, seed: int, run: Path) -> None:
    """One arm of one seed, resumed or reused."""
    overrides: dict[str, Any] = {
        "reward.arm": arm, "train.seed": seed, "train.threads": args.threads, "train.save_every": 5,
    }  # fmt: skip
    if args.steps:
        overrides["train.steps"] = args.steps
    oneshot_rlvr.train(RECIPE, overrides=overrides, out=run, resume=True)


def ask(
    args: argparse.Namespace, model: str, side: str, name: str, benchmark: str,
    decoding: tuple[float, int], tokens: int, **options: Any,
) -> None:  # fmt: skip
    """A model's answers to a set, graded, kept as one file; interrupted, it goes on."""
    temperature, samples = decoding
    told = f"{side}.{name}.t{temperature:g}k{samples}"
    kept = args.out / "answers" / f"{told}.json"
    if kept.exists():
        return
    (result,) = oneshot_rlvr.evaluate(
        model, benchmarks=[benchmark], seed=1, samples=samples, temperature=temperature,
        max_new_tokens=tokens, journals=args.out / "journals" / told, **options,
    ).values()  # fmt: skip
    kept.parent.mkdir(parents=True, exist_ok=True)
    partly = kept.with_suffix(".part")
    partly.write_text(json.dumps([row(sample) for sample in result.samples]), encoding="utf-8")
    partly.rename(kept)


def row(sample: dict[str, Any]) -> dict[str, Any]:
    """What of an answer the page needs; `forgiven`: its last number, or letter, is the gold."""
    last = NUMBER.findall(sample["text"])
    if not sample["answer"].lstrip("-").isdigit():
        last = re.findall(r"\b([A-E])\b", sample["text"])
    keys = ("example_id", "sample", "answer", "domain", "family", "correct", "boxed", "finished")
    return {
        **{key: sample[key] for key in (*keys, "tokens", "reason")},
        "forgiven": bool(last) and last[-1].replace(",", "") == sample["answer"],
        "text": sample["text"][:300],
    }


def published(args: argparse.Namespace, model: str, side: str) -> None:
    """The first questions of GSM8K and ARC-Easy, greedily, where the data folder has them."""
    if not os.environ.get("ONESHOT_DATA_DIR") or args.no_published:
        return
    for name, benchmark in PUBLISHED.items():
        ask(args, model, side, name, benchmark, (0.0, 1), 160, questions=args.first)


def main() -> None:
    """Goes on with what is not done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, default=3)
    add("--threads", type=int, default=2)
    add("--steps", type=int, default=0, help="0: the recipe's")
    add("--probe", type=int, default=8, help="answers to each question of the pool")
    add("--first", type=int, default=FIRST, help="questions of each published set")
    add("--no-published", action="store_true", help="leave GSM8K and ARC-Easy out")
    add("--minutes", type=float, default=0.0, help="begin no stage after so many; 0: no limit")
    add("--out", type=Path, default=Path("runs/smollm2"))
    add("--write", type=Path, default=ROOT / "docs" / "smollm2.md")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    began = time.monotonic()
    for name, work in stages(args):
        if args.minutes and time.monotonic() - began > 60 * args.minutes:
            break
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {name}", flush=True)
        work()
    write_page(args.out, args.write)
    print(f"wrote {args.write}; sets: {', '.join(SETS)}", file=sys.stderr)


if __name__ == "__main__":
    main()
