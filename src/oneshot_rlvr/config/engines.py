"""`[rollouts.vllm]`: what the vLLM engine may take of a machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from oneshot_rlvr.config.section import Positive, Section


class VLLMConfig(Section):
    """Read by `rollouts.engine = "vllm"` alone. `dtype` is the type that weights and products are
    rounded to while sampling, so it changes what is sampled from; nothing else here does."""

    memory_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.4,
        description="of the GPU's memory, for vLLM's weights, keys and values, while it samples",
    )
    sleep: bool = Field(
        True, description="on a GPU: give that memory back between calls, for the update"
    )
    cache_gibibytes: Annotated[float, Field(gt=0.0, le=1e5)] | None = Field(
        None, description="on a CPU: memory of keys and values; None: what is needed, at most 4"
    )
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "auto", description="auto: on CUDA the policy's own if of 16 bits, else bfloat16"
    )
    max_sequences: Positive = Field(256, description="decoded together at most")
    eager: bool = Field(
        False, description="on a GPU: no CUDA graphs; starts sooner, samples more slowly"
    )
