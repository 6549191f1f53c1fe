"""Memory and time of log-probabilities from hidden states, loss and backward: ours, plain, TRL's.

    python benchmarks/logprobs.py                      4,096 tokens, 151,936 words, width 1,536
    python benchmarks/logprobs.py --vocabulary 32000   another size

Each way runs in a process of its own, on the same seeded inputs in float32. Memory is the most that
the process held during loss and backward, beyond what it held before and the head's gradient (the
kernel's high-water mark). Plain and TRL make all logits first. TRL's way is left out where TRL is
not installed. Values and gradients are compared with the plain way's. Prints JSON; needs Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

TEMPERATURE = 0.6


def main() -> None:
    """Runs every way and tells what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--out", type=Path, help="JSON file; printed either way")
    parser.add_argument("--way", help=argparse.SUPPRESS)  # a child's
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        child(arguments)
        return
    sizes = [arguments.tokens, arguments.vocabulary, arguments.width]
    ways = ["plain", "ours"] + (["trl"] if find_spec("trl") else [])
    told: dict[str, object] = dict(zip(("tokens", "vocabulary", "width"), sizes, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            command = [sys.executable, __file__, "--way", way, "--results", folder]
            for name, value in zip(("tokens", "vocabulary", "width"), sizes, strict=True):
                command += [f"--{name}", str(value)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            told[way] = json.loads(output)
        for way in ways[1:]:
            told[f"{way}_over_plain"] = compared(told["plain"], told[way], Path(folder), way)
    text = json.dumps(told, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def child(arguments: argparse.Namespace) -> None:
    """One way: its time, its memory, and its results to a file."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(arguments.vocabulary, arguments.width, generator=generator)
    weight.mul_(arguments.width**-0.5).requires_grad_()
    hidden = torch.randn(arguments.tokens, arguments.width, generator=generator).requires_grad_()
    tokens = torch.randint(0, arguments.vocabulary, (arguments.tokens,), generator=generator)
    advantages = torch.randn(arguments.tokens, generator=generator)
    logprobs_of = WAYS[arguments.way]
    small = [x[:8].detach().clone().requires_grad_() for x in (hidden, weight)]
    logprobs_of(*small, tokens[:8] % 8).sum().backward()  # libraries load, threads start
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    start = time.perf_counter()
    logprobs = logprobs_of(hidden, weight, tokens)
    (-(advantages * logprobs).mean()).backward()
    seconds = time.perf_counter() - start
    gradient = weight.grad.numel() * weight.grad.element_size()
    beyond = resident("VmHWM") - before - gradient
    rows = torch.linspace(0, arguments.vocabulary - 1, 1000).long()
    save_file(
        {
            "logprobs": logprobs.detach(),
            "hidden_gradient": hidden.grad,
            "weight_gradient": torch.cat([weight.grad[rows], weight.grad[tokens]]),
        },
        arguments.results / f"{arguments.way}.safetensors",
    )
    print(json.dumps({"seconds": round(seconds, 1), "megabytes_beyond": round(beyond / 2**20)}))


def plain(hidden, weight, tokens):
    """All logits, their log-softmax, the tokens' own."""
    logs = (hidden @ weight.T / TEMPERATURE).log_softmax(-1)
    return logs.gather(1, tokens[:, None])[:, 0]


def ours(hidden, weight, tokens):
    """In parts, entropy included."""
    from oneshot_rlvr.policy.head import token_scores

    return token_scores(hidden, weight, None, tokens, TEMPERATURE)[0]


def trl(hidden, weight, tokens):
    """All logits, then TRL's selective log-softmax (rows of 512 tokens, as of a batch)."""
    from trl.trainer.utils import selective_log_softmax

    rows = max(1, len(tokens) // 512)
    logits = (hidden @ weight.T).view(rows, -1, weight.shape[0])
    return selective_log_softmax(logits, tokens.view(rows, -1), temperature=TEMPERATURE).flatten()


WAYS = {"plain": plain, "ours": ours, "trl": trl}


def resident(key: str) -> int:
    """Bytes of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this kernel does not tell {key}")


def compared(before: dict, after: dict, folder: Path, way: str) -> dict:
    """Ratios, and the largest differences: of values as they are, of gradients by the largest."""
    from safetensors.torch import load_file

    reference, other = (load_file(folder / f"{name}.safetensors") for name in ("plain", way))
    told = {
        "memory": round(after["megabytes_beyond"] / before["megabytes_beyond"], 4),
        "time": round(after["seconds"] / before["seconds"], 2),
    }
    for name, tensor in reference.items():
        gap = (tensor - other[name]).abs().max().item()
        scale = 1.0 if name == "logprobs" else tensor.abs().max().item()
        told[f"{name}_gap"] = float(f"{gap / scale:.2g}")
    return told


if __name__ == "__main__":
    main()
