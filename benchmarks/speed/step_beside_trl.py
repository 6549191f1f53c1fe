"""One training step at full length: ours beside TRL's GRPOTrainer, taking turns in one process.

    python benchmarks/speed/step_beside_trl.py --prompt 50 --tokens 128 [--kl 0.001 --entropy 0.001]

In the environment of `make peers`. One prompt, 256 rollouts in one group, one optimizer step. TRL
gets the same model, prompt, number of tokens, threads and allocator settings; no gradient
checkpointing, no logging, no saving, float32; of `--trl-batches`, the rows at a time, the fastest
in a step of each. A turn of ours runs between two of TRL's steps, so both meet the same machine.
`--peak-memory ours|trl` instead tells what one step adds to the process's memory.

Shares of the matmul peak count 2 (sampling) and 6 (update) FLOPs a parameter and new token; "all"
also counts attention's products, whose work no implementation can leave out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from statistics import median
from typing import Any

import torch
from common import (
    NEVER,
    attention_flops,
    matmul_peak,
    model,
    parameters,
    prompt,
    ratio,
    save,
    settle,
    share_of_peak,
)

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train.footprint import peak_bytes
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict


def main() -> None:
    """One shape, one set of terms."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="3.2M")
    parser.add_argument("--rollouts", type=int, default=256)
    parser.add_argument("--prompt", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--kl", type=float, default=0.0)
    parser.add_argument("--entropy", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trl-batches", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--micro-batch-tokens", type=int, default=16896)
    parser.add_argument("--peak-memory", choices=["ours", "trl"])
    args = parser.parse_args()
    settle(args.threads)
    if args.peak_memory:
        _peak_memory(args)
        return
    tried = {batch: trl_steps(args, batch, 2, lambda: None)[1] for batch in args.trl_batches}
    batch = min(tried, key=lambda b: tried[b])
    step = Ours(args)
    step.run()
    taken: dict[str, list[float]] = {k: [] for k in ("ours", "sampling", "update", "trl", "peak")}

    def turn() -> None:
        taken["peak"].append(matmul_peak())
        sampled, updated = step.run()
        taken["sampling"].append(sampled)
        taken["update"].append(updated)
        taken["ours"].append(sampled + updated)

    taken["trl"] = trl_steps(args, batch, args.repeats + 1, turn)[1:]
    for name in ("ours", "sampling", "update", "peak"):
        taken[name] = taken[name][1:]
    weights, tokens = parameters(step.policy), args.rollouts * args.tokens
    attention = attention_flops(step.policy, args.prompt, args.tokens)
    row = {
        "prompt": args.prompt,
        "tokens": args.tokens,
        "terms": f"kl {args.kl}, entropy {args.entropy}",
        "step s": median(taken["ours"]),
        "sampling s": median(taken["sampling"]),
        "update s": median(taken["update"]),
        "trl step s": median(taken["trl"]),
        "times trl": ratio(taken, "trl", "ours"),
        "sampling share": share_of_peak(taken, "sampling", 2 * weights * tokens),
        "update share": share_of_peak(taken, "update", 6 * weights * tokens),
        "step share": share_of_peak(taken, "ours", 8 * weights * tokens),
        "sampling, all": share_of_peak(taken, "sampling", (2 * weights + attention) * tokens),
        "update, all": share_of_peak(taken, "update", (6 * weights + 3 * attention) * tokens),
        "step, all": share_of_peak(taken, "ours", (8 * weights + 4 * attention) * tokens),
        "trl batch": batch,
    }
    terms = "terms" if args.kl or args.entropy else "policy"
    save(
        f"step-{args.prompt}x{args.tokens}-{terms}",
        vars(args) | {"taken": taken, "trl tried": tried},
        [row],
    )


class Ours:
    """Engine and update on one model; rewards alternate, as they do for TRL."""

    def __init__(self, args: argparse.Namespace):
        self.policy = model(args.size)
        self._args, self._asked = args, prompt(args.prompt)
        recipe = {
            "rollouts": {
                "prompts_per_step": 1, "group_size": args.rollouts, "temperature": 1.0,
                "max_new_tokens": args.tokens,
            },
            "algorithm": {"kl_coefficient": args.kl, "entropy_coefficient": args.entropy},
            "train": {"micro_batch_tokens": args.micro_batch_tokens},
        }  # fmt: skip
        self._engine = make_engine("shared_prefix", self.policy)
        self._trainer = TrainStep(self.policy, Recipe.model_validate(recipe))
        self._steps = 0

    def run(self) -> tuple[float, float]:
        """Seconds of sampling and of the update."""
        args, began = self._args, time.perf_counter()
        self._steps += 1
        rollouts = self._engine.generate(
            [self._asked], args.rollouts, Sampling(1.0, args.tokens),
            StreamKey(0, "bench", self._steps),
        )  # fmt: skip
        sampled = time.perf_counter()
        assert all(len(r.tokens) == args.tokens for r in rollouts)
        self._trainer.update([_graded(r) for r in rollouts])
        return sampled - began, time.perf_counter() - sampled


def _graded(rollout: Rollout) -> Graded:
    right = rollout.index % 2 == 0
    verdict = Verdict(right, Reason.CORRECT if right else Reason.MISMATCH)
    return Graded(rollout, verdict, float(right))


def trl_steps(args: argparse.Namespace, batch: int, steps: int, between: Any) -> list[float]:
    """Seconds of each of TRL's steps, `batch` rows at a time; `between` is called before each."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    policy = model(args.size)
    taken: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            between()
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            taken.append(time.perf_counter() - self.began)

    def reward(completions: list[Any], **_: Any) -> list[float]:
        assert len(completions) == args.rollouts
        return [float(i % 2 == 0) for i in range(len(completions))]

    batch = min(batch, args.rollouts)
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], logging_steps=10**6,
        save_strategy="no", disable_tqdm=True, max_steps=steps, learning_rate=1e-6,
        per_device_train_batch_size=batch, gradient_accumulation_steps=args.rollouts // batch,
        num_generations=args.rollouts, max_completion_length=args.tokens, temperature=1.0,
        top_k=0, beta=args.kl, entropy_coef=args.entropy, gradient_checkpointing=False,
        generation_kwargs={"eos_token_id": None}, optim="adamw_torch", weight_decay=0.01,
    )  # fmt: skip
    text = bytes(prompt(args.prompt).tokens).decode()
    if args.kl:  # TRL reads its reference from where the model says it came from
        directory = tempfile.mkdtemp()
        policy.model.save_pretrained(directory)
        policy.model.config.name_or_path = directory  # type: ignore[union-attr]
    trainer = GRPOTrainer(
        policy.model, reward_funcs=reward, args=config, processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list([{"prompt": text}] * 8), callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    assert len(taken) == steps
    return taken


def _peak_memory(args: argparse.Namespace) -> None:
    """Prints the bytes that one step adds to the process's peak."""
    peak = partial(peak_bytes, "cpu")
    if args.peak_memory == "ours":
        step = Ours(args)
        before = peak()
        step.run()
        print(peak() - before)
        return
    befores: list[int] = []
    trl_steps(args, args.trl_batches[0], 1, lambda: befores.append(peak()))
    print(peak() - befores[0])


if __name__ == "__main__":
    torch.manual_seed(0)
    assert NEVER
    main()
