"""verl's checkpoints as plain Hugging Face directories, in the type asked for.

verl keeps shards, optimizer and generators for its own resume, and beside them (our setting) the
whole weights with configuration and tokenizer. Those it writes in the type it trains in, under a
configuration that says bfloat16 whatever they are; here both agree. Tensors are read and written
one file at a time (safetensors; nothing is unpickled).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import RecordsError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.train.checkpoint import (
    checkpoint_directory,
    checkpoint_steps,
    drop_checkpoints_after,
    prune_checkpoints,
    written_beside,
)

WEIGHTS, INDEX = "*.safetensors", "model.safetensors.index.json"


def saved_steps(checkpoints: Path) -> list[int]:
    """Steps of which verl has written everything, in order."""
    latest = latest_step(checkpoints)
    found = (checkpoints).glob("global_step_*")
    steps = [int(m[1]) for p in found if (m := re.fullmatch(r"global_step_(\d+)", p.name))]
    return sorted(step for step in steps if step <= latest)


def latest_step(checkpoints: Path) -> int:
    """The step that verl's own resume continues after; 0 where it would begin anew."""
    try:
        return int((checkpoints / "latest_checkpointed_iteration.txt").read_text().strip())
    except (OSError, ValueError):
        return 0


def plain_weights(checkpoints: Path, step: int) -> Path:
    """The Hugging Face part of a checkpoint. RunError where it holds no weights."""
    directory = checkpoints / f"global_step_{step}" / "actor" / "huggingface"
    if not any(directory.glob(WEIGHTS)):
        raise RunError(f"{directory} holds no weights (*.safetensors); see verl's log")
    return directory


class PlainCheckpoints:
    """verl's checkpoints as plain directories of the run, checkpoints/step-000020, as they come.

    So they are named, loaded, evaluated and kept as a local run's: the newest
    `train.keep_checkpoints`, and the best validated one where that is the result. verl's own, which
    its resume needs, stay below verl/out/checkpoints, as many.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: Path,
        source: Path,
        dtype: str,
        note: Callable[[str], None] = lambda text: None,
    ):
        self._recipe, self._run, self._source = recipe, run, source
        self._dtype, self._note = dtype, note
        self._seen: set[int] = set()

    def take(self) -> None:
        """Brings over what is new, then drops what is not to be kept."""
        new = [step for step in saved_steps(self._source) if step not in self._seen]
        for step in new:
            self._seen.add(step)
            target = checkpoint_directory(self._run, step)
            if target.exists():
                continue
            try:
                source = plain_weights(self._source, step)
                with written_beside(target, f"the checkpoint of step {step}") as directory:
                    to_plain(source, directory, self._dtype)
            except (RunError, RecordsError):
                if step in saved_steps(self._source):
                    raise
                # Dropped in the meantime.
                self._note(f"warning: verl dropped its checkpoint of step {step} early")
        if new and checkpoint_steps(self._run):
            prune_checkpoints(self._run, self._recipe.train.keep_checkpoints, self._best())

    def drop_after(self, step: int) -> None:
        """What verl will train again."""
        drop_checkpoints_after(self._run, step)

    def result(self) -> int:
        """The step that is the result, by `train.checkpoint_rule`."""
        best = self._best()
        return best[0] if best else self._recipe.train.steps

    def _best(self) -> list[int]:
        """The step of the best validation, the earliest of equals, of those that are there; none
        where that is not the rule."""
        if self._recipe.train.checkpoint_rule != "best_validation":
            return []
        run, there = Run(self._run), set(checkpoint_steps(self._run))
        measured = {
            step: run.summary("validation", step)["overall"]["accuracy"]["value"]
            for name, step in run.evaluations()
            if name == "validation" and step in there
        }
        return [max(measured, key=lambda step: (measured[step], -step))] if measured else []


def to_plain(source: Path, target: Path, dtype: str) -> Path:
    """Copies a Hugging Face directory, its floating weights as `dtype`, told so in config.json.

    Adapters, which verl saves beside the weights under PEFT's names, are added in. `target` is
    made where it is not there, and should be empty.
    """
    wanted = getattr(torch, dtype)
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(source.glob(WEIGHTS))
    adapters = _adapters(files)
    scale = _scale(source) if adapters else 1.0
    places: dict[str, str] = {}
    for path in sorted(source.iterdir()):
        if path.suffix != ".safetensors":
            shutil.copy2(path, target / path.name)
            continue
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            kept = file.metadata() or {}
        plain = {}
        for name, tensor in tensors.items():
            if ".lora_" in name:
                continue
            layer = name.removesuffix(".base_layer.weight")
            if layer in adapters:
                down, up = adapters[layer]
                tensor = tensor.float() + scale * (up.float() @ down.float())
            value = tensor.to(wanted) if tensor.is_floating_point() else tensor
            plain[_plain_name(name)] = value.contiguous()
        save_file(plain, target / path.name, metadata={"format": "pt", **kept})
        places |= dict.fromkeys(plain, path.name)
    config = target / "config.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    told.pop("torch_dtype", None)
    config.write_text(json.dumps({**told, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")
    index = target / INDEX
    if index.exists():
        told = json.loads(index.read_text(encoding="utf-8"))
        index.write_text(json.dumps({**told, "weight_map": places}, indent=2), encoding="utf-8")
    return target


def _plain_name(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _adapters(files: list[Path]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """{layer, by PEFT's name: (A, B)}; its weight changes by scale * B A."""
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if match := re.fullmatch(r"(.+)\.lora_([AB])\.default\.weight", name):
                    halves.setdefault(match[1], {})[match[2]] = file.get_tensor(name)
    return {layer: (half["A"], half["B"]) for layer, half in halves.items()}


def _scale(source: Path) -> float:
    """alpha / rank, which verl writes beside the folder of weights."""
    path = source.parent / "lora_train_meta.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return float(told["lora_alpha"]) / float(told["r"])
    except (OSError, ValueError, KeyError, ZeroDivisionError) as error:
        raise RunError(
            f"{source} holds adapters, and {path.name} beside it does not tell their scale "
            f"({error}); see verl's log."
        ) from error
