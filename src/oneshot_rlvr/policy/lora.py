"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) in place of training every weight.

PEFT puts them into the model where it stands, so names and forward passes stay those of the model,
and switching them off gives the base back: a KL reference that costs no memory. There is no
dropout: a policy that differs between sampling and training would not be one policy.

Adapters are float32 whatever the base is: steps of 1e-5 are smaller than the spacing of 16-bit
numbers, and so is what they change in a weight. A merged weight in bfloat16 keeps 6.5 % of an
update after 5 steps of 1e-5 and 39 % after 100; so what is saved is a plain model in float32, the
adapters merged in, and what samples has them beside the base or in weights as wide. `save_adapter`
writes the adapters by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oneshot_rlvr.config import LoraConfig
from oneshot_rlvr.errors import ConfigError, MissingDependencyError
from oneshot_rlvr.policy.logprobs import Tokens, TokenScores, sequence_logprobs
from oneshot_rlvr.policy.wide import wide_type

_NAME = "default"  # PEFT's name of a model's first adapter
_EXACT = "adapter.safetensors"
BITS_PER_WEIGHT, LARGEST_RANK = 2, 256


def rank_for(rollouts: int, numbers: int) -> int:
    """The least power of two, at most 256, whose adapters hold what so many rollouts teach.

    A rollout's verdict teaches one bit at most, and a weight holds about two (Allen-Zhu and Li
    2024, arXiv 2404.05405); `numbers` are those of adapters of rank 1. Schulman et al. 2025, "LoRA
    without regret", thinkingmachines.ai: the rank matters where the data hold more than the
    adapters, and rank 1 serves policy gradients.
    """
    rank = 1
    while rank < LARGEST_RANK and BITS_PER_WEIGHT * rank * numbers < rollouts:
        rank *= 2
    return rank


def add_adapters(model: nn.Module, config: LoraConfig, seed: int) -> None:
    """Puts adapters into the model and leaves only them trainable; at first they change nothing.

    ConfigError where no layer has a target's name, or the rank is still to be found
    (`train.footprint.with_rank`); MissingDependencyError without PEFT.
    """
    if not config.rank:
        raise ConfigError("model.lora.rank is 0 here, where a number is wanted: 1 or more.")
    peft = _peft()
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=config.targets or "all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if name}
    unknown = [target for target in config.targets or () if target not in names]
    if unknown:
        linear = sorted(
            {
                name.rpartition(".")[2]
                for name, module in model.named_modules()
                if isinstance(module, nn.Linear)
            }
        )
        raise ConfigError(
            f'model.lora.targets has "{unknown[0]}", which the model has no layer of. Its linear '
            f"layers: {', '.join(linear)}."
        )
    # Its random half is drawn from a generator of its own: equal seeds give equal runs.
    with torch.random.fork_rng(devices=_cuda_devices(model)):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(settings, model)
    for parameter in adapter_tensors(model).values():
        parameter.data = parameter.data.to(wide_type(parameter.dtype))
    model.eval()


def has_adapters(model: nn.Module) -> bool:
    """Whether `add_adapters` was here."""
    return any(hasattr(module, "lora_A") for module in model.modules())


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The base, inside."""
    layers: list[Any] = _layers(model)
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


class BaseReference:
    """The model without its adapters as the KL reference: no copy, and it cannot be refreshed."""

    def __init__(self, model: nn.Module):
        self.model = model

    @torch.no_grad()
    def logprobs(
        self,
        prompts: Sequence[Tokens],
        responses: Sequence[Tokens],
        temperature: float,
        *,
        pad_id: int,
    ) -> TokenScores:
        """As `sequence_logprobs`, without gradient and without adapters."""
        with without_adapters(self.model):
            return sequence_logprobs(
                self.model, prompts, responses, temperature, pad_id=pad_id, with_entropy=False
            )


@torch.no_grad()
def merged_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The state of the plain model that the adapters make of the base, by the plain names; one
    merged weight at a time, so that the model is never there twice. Those are float32 or wider,
    the others as they are."""
    adapted = {f"{name}.base_layer.weight": layer for name, layer in _named_layers(model).items()}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            continue
        if name in adapted:
            tensor = _merged(adapted[name])
        yield name.replace(".base_layer.", "."), tensor


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """All of `merged_weights`, every one in float32 or wider; shared weights stay shared."""
    widened: dict[int, Tensor] = {}
    state = {}
    kept = []  # no address is used twice while the table lasts
    for name, tensor in merged_weights(model):
        kept.append(tensor)
        if tensor.is_floating_point():
            place = tensor.data_ptr()
            tensor = widened.setdefault(place, tensor.to(wide_type(tensor.dtype)))
        state[name] = tensor
    return state


@torch.no_grad()
def merge_adapters(model: nn.Module) -> None:
    """Makes it, where it stands, the plain model that is saved: float32 or wider, with adapters
    added in.

    A head that was trained apart from the embedding it was tied to is tied no longer.
    """
    ties = bool(getattr(model.config, "tie_word_embeddings", False))
    apart = ties and head_apart(model)
    model.to(wide_type(next(model.parameters()).dtype))
    for name, layer in _named_layers(model).items():
        plain, weight = layer.base_layer, _merged(layer)
        plain.weight = nn.Parameter(weight, requires_grad=False)
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, plain)
    if ties and not apart:
        head, embedding = _ends(model)
        if head is not None and embedding is not None:
            head.weight = embedding.weight
    elif apart:
        model.config.tie_word_embeddings = False  # type: ignore[union-attr]
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def head_apart(model: nn.Module) -> bool:
    """Whether output head and input embedding differ, by adapters or as weights of their own."""
    head, embedding = _ends(model)
    if head is None or embedding is None:
        return False
    if hasattr(head, "lora_A") or hasattr(embedding, "lora_A"):
        return True
    a, b = head.weight, embedding.weight
    return not (a is b or a.data_ptr() == b.data_ptr() or torch.equal(a, b))


def _ends(model: Any) -> tuple[Any, Any]:
    return model.get_output_embeddings(), model.get_input_embeddings()


def _named_layers(model: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def _merged(layer: Any) -> Tensor:
    """Its plain weight, in float32 or wider."""
    weight: Tensor = layer.base_layer.weight
    wide = wide_type(weight.dtype)
    return weight.to(wide) + layer.get_delta_weight(_NAME).to(wide)


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The adapters' own weights by the model's names."""
    return {name: p for name, p in model.named_parameters() if ".lora_" in name}


@torch.no_grad()
def load_adapter_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts `adapter_tensors` back. KeyError or RuntimeError for those of other adapters."""
    for name, parameter in adapter_tensors(model).items():
        parameter.copy_(tensors[name])


@dataclass(frozen=True, slots=True)
class Adapters:
    """A copy of a model's adapters on the CPU, which outlives their merging."""

    targets: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    @staticmethod
    def of(model: nn.Module) -> Adapters:
        """Those that the model has now."""
        targets = {name.rpartition(".")[2] for name in _named_layers(model)}
        tensors = {n: t.detach().to("cpu", copy=True) for n, t in adapter_tensors(model).items()}
        return Adapters(tuple(sorted(targets)), tensors)


def save_adapter(adapters: Adapters, base_name: str, config: LoraConfig, directory: Path) -> None:
    """Writes the adapters alone, as PEFT reads them (`PeftModel.from_pretrained(base, DIR)`)."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    settings = _peft().LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=list(adapters.targets),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_name,
        inference_mode=True,
    )
    settings.save_pretrained(str(directory))
    tensors = {
        f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": tensor.contiguous()
        for name, tensor in adapters.tensors.items()
    }
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    readable_like(directory / "adapter_config.json")


def readable_like(file: Path) -> None:
    """Gives the weights in a file's directory, and below, the mode that the umask gave the file.

    safetensors 0.8 makes files that only their owner may read, whatever the umask.
    """
    for weights in file.parent.glob("**/*.safetensors"):
        weights.chmod(file.stat().st_mode)


def save_exact(model: nn.Module, directory: Path) -> None:
    """Beside a merged model: the adapters bit for bit, from which a run goes on."""
    from safetensors.torch import save_file

    tensors = {n: t.detach().cpu().contiguous() for n, t in adapter_tensors(model).items()}
    save_file(tensors, directory / _EXACT)


def load_exact(model: nn.Module, directory: Path) -> None:
    """Puts `save_exact` back; the base stays as it is."""
    from safetensors.torch import load_file

    load_adapter_tensors(model, load_file(directory / _EXACT))


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "lora_A")]


def _cuda_devices(model: nn.Module) -> list[torch.device]:
    return [p.device for p in list(model.parameters())[:1] if p.device.type == "cuda"]


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingDependencyError(
            f"model.lora needs PEFT, which is not installed ({error}). "
            'Install it with: pip install "oneshot-rlvr[lora]"'
        ) from error
    return peft
