"""Sampler against trainer in low precision, and what a float32 head costs: docs/precision.md.

    python benchmarks/speed/low_precision.py             # some minutes on one core; writes the page

Runs of the embedded recipe whose trainer multiplies in bfloat16 (autocast) and whose sampler does
not, with each `algorithm.sampler_correction`; the bias that such a sampler gives one update. The
head: log-probabilities and gradient of bfloat16 weights against float64, now and as plain bfloat16
products have them; times alternate in one process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean, median

import torch

from oneshot_rlvr.algorithms.correction import corrected
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.policy.head import token_scores

PAGE = Path(__file__).parents[2] / "docs" / "precision.md"
MODES = ("none", "token_truncate", "token_mask", "sequence_mask")
TOLD = ("sampler_gap", "sampler_kl", "sampler_effective_share", "sampler_masked_share", "accuracy")


def run_with(mode: str, steps: int) -> dict[str, float]:
    """Means over the steps of a run."""
    recipe = load_recipe(
        "tiny_one_shot",
        {
            "model.autocast": "bfloat16",
            "algorithm.sampler_correction": mode,
            "train.steps": steps,
            "train.save_every": 0,
            "evaluation.validation": None,
            "evaluation.test": None,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        run(recipe, out=Path(folder) / "run")
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    return {key: fmean(m[f"train/{key}"] for m in metrics) for key in TOLD}


def bias() -> dict[str, float]:
    """How far the expected policy gradient is off, as a share of its size, by correction: one
    position of 4,000 words, all of them counted, its sampler's logits products in bfloat16; and the
    size of the noise that 1,024 draws have."""
    generator, double = torch.Generator().manual_seed(0), torch.float64
    hidden = torch.randn(64, generator=generator, dtype=double)
    weight = 0.5 * torch.randn(4000, 64, generator=generator, dtype=double)
    advantages = (torch.rand(4000, generator=generator) < 0.3).double()
    trainer = (weight @ hidden / 0.6).log_softmax(0)
    sampler = ((weight.bfloat16() @ hidden.bfloat16()).double() / 0.6).log_softmax(0)
    mask = torch.ones(4000, 1, dtype=torch.bool)

    def gradient(drawn_by: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        scores = drawn_by.exp() * weights
        scores = scores * (advantages - (scores * advantages).sum())
        return scores - trainer.exp() * scores.sum()

    exact = gradient(trainer, torch.ones(4000, dtype=double))
    found = {}
    for mode in MODES:
        weights, _ = corrected(trainer[:, None], sampler[:, None], mask, mode, 2.0, 0.0)
        found[mode] = ((gradient(sampler, weights[:, 0]) - exact).norm() / exact.norm()).item()
    centred = advantages - (trainer.exp() * advantages).sum()
    squares = (
        trainer.exp() * centred**2 * (1 - 2 * trainer.exp() + trainer.exp().square().sum())
    ).sum()
    noise = (squares - exact.square().sum()).clamp(min=0).sqrt() / 1024**0.5
    return {**found, "noise": (noise / exact.norm()).item()}


def head(repeats: int) -> dict[str, float]:
    """Errors in nats and shares, and the time of both passes against plain bfloat16's."""
    generator = torch.Generator().manual_seed(0)
    M, D, V = 1024, 256, 8192
    hidden = torch.randn(M, D, generator=generator).bfloat16()
    weight = (5 / D**0.5 * torch.randn(V, D, generator=generator)).bfloat16()
    tokens = torch.randint(0, V, (M,), generator=generator)

    def ours(h: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return token_scores(h, w, None, tokens, 0.6)[0]

    def plain(h: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        parts = zip(h.split(64), tokens.split(64), strict=True)
        logs = [(((a @ w.T).to(torch.promote_types(a.dtype, torch.float32))) / 0.6).log_softmax(-1)
                .gather(1, t[:, None])[:, 0] for a, t in parts]  # fmt: skip
        return torch.cat(logs)

    def passes(score, dtype: torch.dtype):  # type: ignore[no-untyped-def]
        # Copies: a tensor that has the type already would keep the gradients of earlier passes.
        h, w = (x.to(dtype, copy=True).requires_grad_() for x in (hidden, weight))
        began = time.perf_counter()
        logs = score(h, w)
        logs.sum().backward()
        return logs.detach().double(), w.grad.double(), time.perf_counter() - began

    exact, gradient, _ = passes(plain, torch.float64)
    found = {}
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        for name, score in (("ours", ours), ("plain", plain)):
            logs, grad, spent = passes(score, torch.bfloat16)
            seconds[name].append(spent)
            found[f"{name}_nats"] = (logs - exact).abs().mean().item()
            found[f"{name}_gradient"] = ((grad - gradient).norm() / gradient.norm()).item()
    return {**found, "ratio": median(seconds["ours"]) / median(seconds["plain"])}


def main() -> None:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    h = head(args.repeats)
    lines = [
        "# Low precision, measured",
        "",
        f"Generated by `python benchmarks/speed/low_precision.py` (torch {torch.__version__}, "
        "one core); do not edit.",
        "",
        f"The embedded recipe for {args.steps} steps, its trainer in bfloat16 products, its "
        "sampler in float32; means over",
        "the steps. What the columns are: [metrics](metrics.md); the corrections: "
        "[algorithms](algorithms.md).",
        "",
        "| correction | mean gap, nats | KL(sampler, trainer), nats | effective share | masked | "
        "accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for mode in MODES:
        told = run_with(mode, args.steps)
        print(mode, told, flush=True)
        lines.append(
            f"| `{mode}` | {told['sampler_gap']:.4f} | {told['sampler_kl']:.2e} | "
            f"{told['sampler_effective_share']:.4f} | {told['sampler_masked_share']:.4f} | "
            f"{told['accuracy']:.3f} |"
        )
    off = bias()
    lines += [
        "",
        "A sampler that is off by bfloat16 rounding: how far the expected policy gradient of one "
        "position is from the true one,",
        "as a share of its size (4,000 words, all counted; the gradient of 1,024 draws has noise "
        f"of {100 * off['noise']:.0f} %):",
        "",
        "| correction | " + " | ".join(f"`{mode}`" for mode in MODES) + " |",
        "|---|" + "---|" * len(MODES),
        "| off by | " + " | ".join(f"{100 * off[mode]:.2g} %" for mode in MODES) + " |",
        "",
        "The output head with bfloat16 weights (1,024 tokens, width 256, 8,192 words, temperature "
        "0.6) against float64:",
        "",
        "| head | mean error of a log-probability, nats | error of the head's gradient | time |",
        "|---|---|---|---|",
        f"| float32 sums (this package) | {h['ours_nats']:.1e} | "
        f"{100 * h['ours_gradient']:.2f} % | {h['ratio']:.2f} |",
        f"| bfloat16 products | {h['plain_nats']:.1e} | {100 * h['plain_gradient']:.2f} % | 1 |",
        "",
    ]
    args.out.write_text("\n".join(lines), encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
