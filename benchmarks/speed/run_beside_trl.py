"""A whole 1-shot run on the embedded model beside TRL's GRPOTrainer, to the same number of steps.

    python benchmarks/speed/run_beside_trl.py --steps 150 [--kl 0.001 --entropy 0.001 --repeats 1]

In the environment of `make peers`. The embedded recipe: one example, 16 rows of 8 rollouts, natural
lengths up to 144 tokens, learning rate 2e-4, temperature 0.8, reward and grading the same. Ours is
`oneshot train` as a user runs it (records, checkpoints; no validation inside the clock; what numba
compiles, once per machine, was compiled before); TRL saves and logs nothing. They take turns, every
turn with a seed of its own, the same for both. After each run the model answers the validation
questions, 4 answers each, outside the clock, with a bootstrap interval over questions. TRL's best
settings here: all 128 rollouts in one batch, both threads, no gradient checkpointing, freed pages
kept. Rollouts without advantage: ours computes `--share` of them, TRL all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from common import ratio, save, settle

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.config import Recipe, load_recipe
from oneshot_rlvr.evaluation import evaluate
from oneshot_rlvr.policy import Policy, load_policy
from oneshot_rlvr.records import Run
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rewards.trl import TrlReward
from oneshot_rlvr.rollouts import make_engine
from oneshot_rlvr.running.prepare import prepare


def main() -> None:
    """One set of terms."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--kl", type=float, default=0.0)
    parser.add_argument("--entropy", type=float, default=0.0)
    parser.add_argument("--share", type=float, default=0.125)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    settle(args.threads)
    settings = {
        "train.steps": args.steps,
        "train.eval_every": 0,
        "train.threads": args.threads,
        "train.zero_variance_share": args.share,
        "algorithm.kl_coefficient": args.kl,
        "algorithm.entropy_coefficient": args.entropy,
    }
    ours(load_recipe("tiny_one_shot", {**settings, "train.steps": 2}))  # compiles
    rows = []
    for seed in range(args.repeats):
        recipe = load_recipe("tiny_one_shot", {**settings, "train.seed": seed})
        for name, train in (("ours", ours), ("trl", trl)):
            seconds, policy, phases = train(recipe)
            mean, low, high = accuracy(recipe, policy)
            told = {"accuracy": mean, "low": low, "high": high}
            rows.append({"seed": seed, "who": name, "seconds": seconds, **told, **phases})
            print(rows[-1], flush=True)
    taken = {who: [row["seconds"] for row in rows if row["who"] == who] for who in ("ours", "trl")}
    rows[0]["times faster"] = ratio(taken, "trl", "ours")
    terms = "terms" if args.kl or args.entropy else "policy"
    save(f"run-{args.steps}-{terms}", vars(args), rows)


def ours(recipe: Recipe) -> tuple[float, Policy, dict[str, float]]:
    """Seconds of the run, the trained policy, and the seconds of the run's phases."""
    alone = recipe.model_copy(
        update={
            "evaluation": recipe.evaluation.model_copy(update={"validation": None, "test": None})
        }
    )
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        result = run(alone, out=Path(out) / "run")
        taken = time.perf_counter() - began
        final = recipe.model.model_copy(update={"path": str(result.directory / "final")})
        timings = Run(result.directory).timings()
        phases = {
            f"{phase} s": float(timings[f"{phase}_seconds"].sum())
            for phase in ("generate", "update")
        }
        return taken, load_policy(final), phases


def trl(recipe: Recipe) -> tuple[float, Policy, dict[str, float]]:
    """The same of TRL, which does not tell its phases."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    policy = load_policy(recipe.model)
    with Scorer(recipe.reward, seed=0) as scorer:
        ready = prepare(recipe, scorer)
    example, tokens = ready.examples[0], ready.prompt_tokens[0]
    text = policy.tokenizer.decode(tokens)
    assert tuple(policy.tokenizer(text)["input_ids"]) == tokens
    rows, group = recipe.rollouts.prompts_per_step, recipe.rollouts.group_size
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], logging_steps=10**6,
        save_strategy="no", disable_tqdm=True, max_steps=recipe.train.steps,
        learning_rate=recipe.optimizer.learning_rate, lr_scheduler_type="constant",
        adam_beta1=recipe.optimizer.betas[0], adam_beta2=recipe.optimizer.betas[1],
        weight_decay=recipe.optimizer.weight_decay, optim="adamw_torch",
        max_grad_norm=recipe.optimizer.gradient_clip, per_device_train_batch_size=rows * group,
        num_generations=group, max_completion_length=recipe.rollouts.max_new_tokens,
        temperature=recipe.rollouts.temperature, top_k=0, beta=recipe.algorithm.kl_coefficient,
        entropy_coef=recipe.algorithm.entropy_coefficient, gradient_checkpointing=False,
        scale_rewards="group", loss_type="dapo", seed=recipe.train.seed,
    )  # fmt: skip
    reward = TrlReward(recipe.reward)
    row: dict[str, Any] = {"prompt": text, "answer": example.answer, "verifier": example.verifier}
    began = time.perf_counter()
    trainer = GRPOTrainer(
        policy.model, reward_funcs=reward, args=config, processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list([row] * rows),
    )  # fmt: skip
    trainer.train()
    taken = time.perf_counter() - began
    reward.close()
    return taken, policy, {}


def accuracy(recipe: Recipe, policy: Policy) -> tuple[float, float, float]:
    """On the recipe's validation questions: value and interval."""
    assert recipe.evaluation.validation is not None
    with Scorer(recipe.reward, seed=0) as scorer:
        ready = prepare(recipe, scorer)
        result = evaluate(
            make_engine("shared_prefix", policy), policy.tokenizer, scorer,
            ready.benchmarks["validation"], recipe.evaluation.validation,
            max_new_tokens=recipe.rollouts.max_new_tokens,
            max_prompt_tokens=recipe.rollouts.max_prompt_tokens,
        )  # fmt: skip
    told = result.summary["overall"]["accuracy"]
    return told["value"], told["low"], told["high"]


if __name__ == "__main__":
    main()
