"""A lean view of Llama, Qwen2 and Qwen3 on the weights of their Hugging Face module.

Nothing is copied and nothing is cached: parameters are read where they lie at every call, so
weights that change every step can never be stale. The pieces (`embed`, `attention_inputs`,
`after_attention`, `logits`) are composed by the shared-prefix engine for sampling and by
`shared_forward.py` for training; both process a prompt once for all rollouts that share it.

Source: the modelling files of transformers 5 for these families; equality is tested. Not here:
architectures beyond these (`unsupported` says why) and sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneshot_rlvr.policy.norm import rms_norm
from oneshot_rlvr.policy.wide import wide_linear

_FAMILIES = ("llama", "qwen2", "qwen3")


def unsupported(model: nn.Module) -> str | None:
    """Why this view cannot stand for `model`, or None where it can."""
    config: Any = model.config
    if config.model_type not in _FAMILIES:
        return f'architecture "{config.model_type}" is none of {", ".join(_FAMILIES)}'
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in ("default", "linear", "llama3", "yarn"):
        return f'rotary embedding of type "{rope}" changes with the length of the text'
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "some layers attend within a sliding window"
    if getattr(config, "hidden_act", "silu") != "silu":
        return f'activation "{config.hidden_act}" is not silu'
    return None


def norms_heads(layer: Any) -> bool:
    """Whether queries and keys are normed (Qwen3)."""
    return hasattr(layer.self_attn, "q_norm")


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary factors of some positions, broadcastable over (..., heads, head size)."""

    cosine: Tensor
    signed_sine: Tensor  # first half negated, so that a roll by half a head does the rest

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(x * self.cosine, x.roll(x.shape[-1] // 2, -1), self.signed_sine)


class Decoder:
    """The pieces of the forward pass. Shapes: any leading axes, then width; KV heads are `kv`.

    `narrow`: compiled loops that stand for them make products of bfloat16 numbers.
    """

    def __init__(self, model: nn.Module, narrow: bool = False):
        reason = unsupported(model)
        if reason is not None:
            raise ValueError(f"the decoder view cannot stand for {type(model).__name__}: {reason}")
        self.model, self.narrow = cast(Any, model), narrow
        self.body: Any = self.model.model
        config: Any = self.model.config
        self.layers: list[Any] = list(self.body.layers[: config.num_hidden_layers])
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.head_size = int(self.layers[0].self_attn.head_dim)

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (...) to vectors (..., width)."""
        return self.body.embed_tokens(tokens)

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (..., head size / 2) of positions (...), in the weights' type."""
        rotary = self.body.rotary_emb
        wide = torch.promote_types(self.dtype, torch.float32)
        angles = positions[..., None].to(wide) * rotary.inv_freq.to(wide)
        cosine = (angles.cos() * rotary.attention_scaling).to(self.dtype)
        sine = (angles.sin() * rotary.attention_scaling).to(self.dtype)
        return cosine, sine

    def rotation(self, positions: Tensor) -> Rotation:
        """Rotary factors (..., 1, head size) for positions (...), in the weights' type."""
        cosine, sine = self.angles(positions)
        return Rotation(
            torch.cat([cosine, cosine], -1).unsqueeze(-2),
            torch.cat([-sine, sine], -1).unsqueeze(-2),
        )

    def attention_inputs(
        self, layer: Any, x: Tensor, rotation: Rotation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (..., heads, size), keys and values (..., kv, size); queries and keys rotated."""
        normed, attention = self.norm(layer.input_layernorm, x), layer.self_attn
        return self.rotated(
            layer,
            attention.q_proj(normed),
            attention.k_proj(normed),
            attention.v_proj(normed),
            rotation,
        )

    def rotated(
        self, layer: Any, query: Tensor, key: Tensor, value: Tensor, rotation: Rotation
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the projections gave (..., heads * size) by heads, normed (Qwen3) and rotated."""
        query, key, value = self.by_heads(layer, query, key, value)
        return rotation(query), rotation(key), value

    def by_heads(
        self, layer: Any, query: Tensor, key: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same, not rotated."""
        query, key, value = (y.view(*y.shape[:-1], -1, self.head_size) for y in (query, key, value))
        if norms_heads(layer):
            query = self.norm(layer.self_attn.q_norm, query)
            key = self.norm(layer.self_attn.k_norm, key)
        return query, key, value

    def after_attention(self, layer: Any, x: Tensor, mixed: Tensor) -> Tensor:
        """The rest of a layer: `mixed` (..., heads * size) is what attention read."""
        x = x + layer.self_attn.o_proj(mixed)
        normed = self.norm(layer.post_attention_layernorm, x)
        mlp = layer.mlp
        return x + mlp.down_proj(F.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))

    def logits(self, x: Tensor) -> Tensor:
        """Last layer's output (..., width) to logits (..., V), while sampling in float32 or wider:
        the trainer's are (`wide.py`), and the two must agree on what was sampled from."""
        head, states = self.model.lm_head, self.final_norm(x)
        narrow = type(head) is nn.Linear and torch.finfo(head.weight.dtype).bits < 32
        if torch.is_grad_enabled() or not narrow:
            return head(states)
        flat = states.reshape(-1, states.shape[-1])
        return wide_linear(flat, head.weight, head.bias).view(*states.shape[:-1], -1)

    def final_norm(self, x: Tensor) -> Tensor:
        """What the output head reads."""
        return self.norm(self.body.norm, x)

    def norm(self, module: Any, x: Tensor) -> Tensor:
        """Root-mean-square norm of the last axis."""
        return rms_norm(x, module.weight, module.variance_epsilon)

    @property
    def dtype(self) -> torch.dtype:
        return self.body.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.body.embed_tokens.weight.device
