"""What vLLM is handed of a policy: weights under a checkpoint's names, and adapters beside them.

Adapters go to vLLM as they are, where it has a place for them: base and adapters are then rounded
each by itself, and what was trained is kept. Merged into 16-bit weights it would mostly be rounded
away (a step of 1e-5 is a hundredth of the spacing of bfloat16 numbers near a weight), so a model
whose adapters vLLM cannot take is sampled in merged float32 weights.

Not here: starting vLLM (`vllm_engine.py`). Nothing here imports it but to name an adapter.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from oneshot_rlvr.config import LoraConfig
from oneshot_rlvr.policy.lora import (
    Adapters,
    has_adapters,
    head_apart,
    merged_weights,
    save_adapter,
)

_ROOMS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM 0.28 makes room for."""


@dataclass(slots=True)
class Beside:
    """Adapters that vLLM has beside the base: of one rank, its scale alpha / rank."""

    rank: int
    alpha: float
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _number: int = 0

    @property
    def room(self) -> int:
        """The rank that vLLM is told."""
        return next(room for room in _ROOMS if room >= self.rank)

    def take(self, model: nn.Module) -> Any:
        """vLLM's request for the adapters as they are now; an earlier one's files are removed.

        Each has a number of its own, so that vLLM never takes an earlier one for it.
        """
        from vllm.lora.request import LoRARequest

        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="oneshot-adapters-")
        folder = Path(self._folder.name)
        shutil.rmtree(folder / str(self._number), ignore_errors=True)
        self._number += 1
        here = folder / str(self._number)
        save_adapter(Adapters.of(model), "", LoraConfig(rank=self.rank, alpha=self.alpha), here)
        return LoRARequest(f"step-{self._number}", self._number, str(here))


def beside_base(model: nn.Module) -> Beside | None:
    """How vLLM can have the model's adapters beside the base; None: it has none, or cannot."""
    layers: list[Any] = [m for m in model.modules() if hasattr(m, "lora_A")]
    ends: Any = model
    of_ends = [ends.get_output_embeddings(), ends.get_input_embeddings()]
    if not layers or any(hasattr(end, "lora_A") for end in of_ends):
        return None
    ranks = {int(next(iter(m.r.values()))) for m in layers}
    scales = {float(next(iter(m.scaling.values()))) for m in layers}
    if len(ranks) > 1 or len(scales) > 1 or max(ranks) > _ROOMS[-1]:
        return None
    (rank,), (scale,) = ranks, scales
    return Beside(rank, scale * rank)


def tied_apart(model: Any) -> bool:
    """Whether the configuration ties a head that is no longer the embedding."""
    ties = getattr(model.config, "tie_word_embeddings", False)
    return bool(ties) and has_adapters(model) and head_apart(model)


def weights(model: Any, *, beside: bool) -> Iterator[tuple[str, Tensor]]:
    """Names and values as a checkpoint has them: tied weights once, adapters added in unless they
    are `beside`."""
    # The model's own places only: a merged weight is freed, and the next may lie where it lay.
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    seen: set[int] = set()
    for name, value in _base(model) if beside else merged_weights(model):
        place = value.data_ptr()
        if place in seen:
            continue
        if place in own:
            seen.add(place)
        yield name, value.detach()


def _base(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in model.state_dict().items():
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), tensor
