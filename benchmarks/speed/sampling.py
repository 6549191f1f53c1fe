"""Sampling 256 rollouts of one prompt: the shared-prefix engine beside HF generate, and the peak.

    python benchmarks/speed/sampling.py --size 3.2M --lengths full [--vllm] [--repeats 5]

`full`: every rollout has 128 tokens. `natural`: lengths as in the embedded world, geometric with
the mean that `--mean` says, the same for both: HF generate stops at the longest, as it does.
vLLM (the environment of `make peers`) holds the same weights in the same process.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import torch
from common import (
    NEVER,
    model,
    parameters,
    prompt,
    ratio,
    save,
    settle,
    turns,
)

from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine

ROLLOUTS, TOKENS, PROMPT = 256, 128, 50


def main() -> None:
    """One size, one kind of lengths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="3.2M", choices=["0.8M", "3.2M", "30M"])
    parser.add_argument("--lengths", default="full", choices=["full", "natural"])
    parser.add_argument("--mean", type=float, default=40.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vllm", action="store_true")
    args = parser.parse_args()
    settle(args.threads)
    natural = args.lengths == "natural"
    policy = model(args.size, ends=natural)
    end = policy.eos_ids[0] if natural else NEVER
    if natural:
        _let_it_end(policy, end, 1 / args.mean)
    asked = prompt(PROMPT)
    engine = make_engine("shared_prefix", policy)
    ids = torch.tensor([asked.tokens]).repeat(ROLLOUTS, 1)
    generated: list[int] = []

    def ours() -> None:
        rollouts = engine.generate(
            [asked], ROLLOUTS, Sampling(1.0, TOKENS), StreamKey(0, "bench", len(generated))
        )
        generated.append(sum(len(r.tokens) for r in rollouts))

    @torch.inference_mode()
    def hf() -> None:
        policy.model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=True,
            temperature=1.0, top_k=0, eos_token_id=end if natural else None, pad_token_id=0,
        )  # fmt: skip

    works: dict[str, Any] = {"ours": ours, "hf": hf}
    if args.vllm:
        works["vllm"] = _vllm(policy, asked)
    taken = turns(works, args.repeats)
    flops = 2 * parameters(policy)
    counts = generated[1:]
    row: dict[str, Any] = {
        "size": args.size,
        "lengths": args.lengths,
        "parameters": parameters(policy),
        "tokens": median(counts),
        "tokens/s": median(n / s for n, s in zip(counts, taken["ours"], strict=True)),
        "hf tokens/s": median(n / s for n, s in zip(counts, taken["hf"], strict=True)),
        "share of peak": median(
            flops * n / s / p for n, s, p in zip(counts, taken["ours"], taken["peak"], strict=True)
        ),
        "times hf": ratio(taken, "hf", "ours"),
    }
    if args.vllm:
        row["times vllm"] = ratio(taken, "vllm", "ours")
    name = f"sampling-{args.size}-{args.lengths}" + ("-vllm" if args.vllm else "")
    save(name, vars(args) | {"rollouts": ROLLOUTS, "prompt": PROMPT, "taken": taken}, [row])


def _let_it_end(policy: Any, end: int, share: float) -> None:
    """Makes end-of-text about so likely at every position, for both engines alike."""
    head = policy.model.lm_head
    rate = torch.tensor(share / (1 - share) * (head.weight.shape[0] - 1)).log().item()
    forward = head.forward
    bias = torch.zeros(head.weight.shape[0])
    bias[end] = rate
    head.bias = torch.nn.Parameter(bias)
    assert forward(torch.zeros(1, head.weight.shape[1]))[0, end] == bias[end]


def _vllm(policy: Any, asked: Any) -> Any:
    """vLLM on the same weights, its own sampler, all rollouts of a call in one request."""
    import tempfile

    from vllm import LLM, SamplingParams, TokensPrompt

    directory = tempfile.mkdtemp()
    policy.model.save_pretrained(directory)
    policy.tokenizer.save_pretrained(directory)
    llm = LLM(
        directory, dtype="float32", max_model_len=256, max_num_seqs=ROLLOUTS, enforce_eager=True,
        enable_prefix_caching=True, gpu_memory_utilization=0.2, seed=0,
    )  # fmt: skip
    settings = SamplingParams(
        n=ROLLOUTS, temperature=1.0, max_tokens=TOKENS, ignore_eos=True, logprobs=0,
        detokenize=False,
    )  # fmt: skip
    return lambda: llm.generate(
        [TokensPrompt(prompt_token_ids=list(asked.tokens))], settings, use_tqdm=False
    )


if __name__ == "__main__":
    main()
