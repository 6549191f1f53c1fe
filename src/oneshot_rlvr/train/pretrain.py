"""Pretraining of the tiny base model: seeded, packed, resumable, on one core in about an hour.

Rows of `row_tokens` start with a fresh document and are filled with whole documents, the last one
cut. What follows a document that does not end (a ramble) is not learned, so the model never learns
to stop it. Weight matrices are trained by Muon (momentum with orthogonalised updates; Jordan et al.
2024, in torch.optim), embeddings and vectors by AdamW; the rate is held, then decayed linearly.

Every step's documents follow from (seed, step) alone, so a resume needs only the step number.
Not here: reinforcement learning. This makes the base that the rest of the package starts from.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from oneshot_rlvr.errors import RunError
from oneshot_rlvr.policy.memory import keep_freed_pages
from oneshot_rlvr.records.files import only_writer
from oneshot_rlvr.rollouts.threads import caller_keeps_threads
from oneshot_rlvr.tiny.corpus import EARLY_MIXTURE, MIXTURE, Document, document
from oneshot_rlvr.tiny.tokenizer import build_tokenizer, save_tokenizer

NOT_LEARNED = -100


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """What makes a base model; the defaults made the packaged one."""

    tokens: int = 22_400_000
    seed: int = 0
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 384
    rows: int = 32
    row_tokens: int = 160
    matrix_rate: float = 0.008
    vector_rate: float = 0.003
    weight_decay: float = 0.05
    warmup_steps: int = 100
    hold_share: float = 0.4
    early_steps: int = 3000
    final_rate_share: float = 0.02
    threads: int = 1
    save_every: int = 250

    @property
    def steps(self) -> int:
        return math.ceil(self.tokens / (self.rows * self.row_tokens))

    def rate_share(self, step: int) -> float:
        """The learning rate of a step as a share of its peak: warm up, hold, decay."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        past_hold = max(0.0, step / self.steps - self.hold_share) / (1 - self.hold_share)
        return warm * (1 - past_hold * (1 - self.final_rate_share))


def new_model(settings: PretrainSettings, vocabulary: int) -> Qwen2ForCausalLM:
    """A fresh Qwen2-shaped model with tied embeddings; ids follow `tiny.tokenizer`."""
    torch.manual_seed(settings.seed)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def pack(
    documents: Callable[[], Document], tokenizer: Tokenizer, rows: int, row_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets [rows, row_tokens]; targets hold NOT_LEARNED after an endless document."""
    inputs = torch.empty(rows, row_tokens, dtype=torch.long)
    targets = torch.empty(rows, row_tokens, dtype=torch.long)
    for row in range(rows):
        ids: list[int] = []
        labels: list[int] = []
        ends = True
        while len(ids) <= row_tokens:
            written = documents()
            encoded = tokenizer.encode(written.text()).ids
            labels += [encoded[0] if ends else NOT_LEARNED, *encoded[1:]]
            ids += encoded
            ends = written.ends
        inputs[row] = torch.tensor(ids[:row_tokens])
        targets[row] = torch.tensor(labels[1 : row_tokens + 1])
    return inputs, targets


def batch_of_step(
    settings: PretrainSettings, tokenizer: Tokenizer, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of one step; step -1 is a batch that training never sees, for the loss reported."""
    rng = random.Random(f"pretrain/{settings.seed}/{step}")
    mixture = EARLY_MIXTURE if 0 <= step < settings.early_steps else MIXTURE
    return pack(
        lambda: document(rng, mixture=mixture), tokenizer, settings.rows, settings.row_tokens
    )


def loss_of(model: Qwen2ForCausalLM, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats a learned token."""
    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden)
    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_LEARNED
    )


def make_optimizers(
    model: Qwen2ForCausalLM, settings: PretrainSettings
) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, biases and norms."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in named if p.dim() != 2 or "embed" in name]
    return [
        torch.optim.Muon(
            matrices,
            lr=settings.matrix_rate,
            weight_decay=settings.weight_decay,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=settings.vector_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def pretrain(
    out: str | Path,
    settings: PretrainSettings | None = None,
    *,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains a base and writes an ordinary HF directory to `out`; state lives in `out/state`.

    Raises:
        RunError: `out` holds a state and `resume` is off, or its state was made otherwise, or it
        holds anything else, or another process makes it now.
    """
    with caller_keeps_threads(), only_writer(Path(out).resolve()):
        return _pretrain(Path(out), settings or PretrainSettings(), resume, say)


def _pretrain(
    out: Path, settings: PretrainSettings, resume: bool, say: Callable[[str], None]
) -> Path:
    state = out / "state"
    if (state / "progress.json").exists() and not resume:
        raise RunError(
            f"{out} already holds a pretraining; continue it with --resume or choose --out"
        )
    if not state.exists() and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} holds something else already; choose another --out")
    state.mkdir(parents=True, exist_ok=True)  # first: what is here from now on is ours
    keep_freed_pages()
    torch.set_num_threads(settings.threads)
    tokenizer = build_tokenizer(settings.seed)
    save_tokenizer(tokenizer, out)
    model = new_model(settings, tokenizer.get_vocab_size())
    optimizers = make_optimizers(model, settings)
    step, seconds_before = 0, 0.0
    if (state / "progress.json").exists():
        step, seconds_before = _load_state(state, settings, model, optimizers)
        say(f"resuming at step {step} of {settings.steps}")
    started = time.monotonic()
    held_out = batch_of_step(replace(settings, rows=64), tokenizer, -1)
    while step < settings.steps:
        for optimizer, peak in zip(
            optimizers, (settings.matrix_rate, settings.vector_rate), strict=True
        ):
            optimizer.param_groups[0]["lr"] = peak * settings.rate_share(step)
        loss = loss_of(model, *batch_of_step(settings, tokenizer, step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % settings.save_every == 0 or step == settings.steps:
            with torch.no_grad():
                held_out_loss = float(loss_of(model, *held_out))
            seconds = seconds_before + time.monotonic() - started
            tokens = step * settings.rows * settings.row_tokens
            say(
                f"step {step}/{settings.steps}  {tokens / 1e6:.1f} M tokens  "
                f"held-out loss {held_out_loss:.4f} nats  {seconds / 60:.1f} min"
            )
            _save_model(model, out)
            _save_state(state, settings, step, seconds, held_out_loss, model, optimizers)
    return out


def _save_model(model: Qwen2ForCausalLM, out: Path) -> None:
    model.save_pretrained(out, safe_serialization=True)
    GenerationConfig(eos_token_id=1, pad_token_id=0, do_sample=True).save_pretrained(out)


def _save_state(
    state: Path,
    settings: PretrainSettings,
    step: int,
    seconds: float,
    loss: float,
    model: Qwen2ForCausalLM,
    optimizers: list[torch.optim.Optimizer],
) -> None:
    """Tensors beside a small JSON, each written whole and then renamed; the JSON last."""
    state.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": p.detach().clone() for name, p in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value).clone()
    save_file(tensors, state / f"step-{step:06d}.part")
    os.replace(state / f"step-{step:06d}.part", state / f"step-{step:06d}.safetensors")
    progress = {"step": step, "seconds": seconds, "loss": loss, "settings": asdict(settings)}
    (state / "progress.part").write_text(json.dumps(progress, indent=2) + "\n")
    os.replace(state / "progress.part", state / "progress.json")
    for old in state.glob("step-*.safetensors"):
        if old.name != f"step-{step:06d}.safetensors":
            old.unlink()


def _load_state(
    state: Path,
    settings: PretrainSettings,
    model: Qwen2ForCausalLM,
    optimizers: list[torch.optim.Optimizer],
) -> tuple[int, float]:
    progress = json.loads((state / "progress.json").read_text())
    ours = asdict(settings)
    changed = [k for k, v in progress["settings"].items() if ours[k] != v and k != "threads"]
    if changed:
        raise RunError(
            f"{state.parent} was started with other settings ({', '.join(changed)}); "
            "use the same ones or another --out"
        )
    tensors = load_file(state / f"step-{progress['step']:06d}.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        full = optimizer.state_dict()
        loaded: dict[int, dict[str, torch.Tensor]] = {}
        prefix = f"optimizer.{number}."
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".", 1)
                loaded.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({**full, "state": loaded})
    return int(progress["step"]), float(progress["seconds"])
