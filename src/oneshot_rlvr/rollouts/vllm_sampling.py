"""How vLLM is told to draw: its own settings of ours, and a seed for every rollout.

Not here: starting vLLM (`vllm_engine.py`), which is imported before these functions are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.rollouts.engine import Sampling
from oneshot_rlvr.rollouts.randomness import StreamKey, uniforms
from oneshot_rlvr.types import Prompt


def seeds(prompts: Sequence[Prompt], group_size: int, key: StreamKey) -> list[int]:
    """A seed in [0, 2^52) for every rollout, from its address (key, row, index)."""
    rows_P_1 = np.array([p.row for p in prompts])[:, None]
    uniforms_P_G = uniforms(key, rows_P_1, np.arange(group_size)[None], 0)
    return [int(u * 2.0**52) for u in uniforms_P_G.ravel()]


def refuse_another_order(sampling: Sampling) -> None:
    """ConfigError for top-p beside min-p: vLLM 0.28 cuts by min-p first, and its nucleus is then
    one of what is left. Everything else it orders as transformers does."""
    if sampling.cuts and sampling.top_p < 1 and sampling.min_p > 0:
        raise ConfigError(
            f"top_p is {sampling.top_p:g} and min_p {sampling.min_p:g}: vLLM cuts by min_p first, "
            "and what it then keeps is not what transformers and the other engines keep. Give one "
            'of them, or --engine shared_prefix (rollouts.engine = "shared_prefix").'
        )


def sampling_params(sampling: Sampling, seed: int, eos_ids: Sequence[int]) -> Any:
    """vLLM's SamplingParams. Stop texts are not among them: it has token ids and no tokenizer."""
    import vllm

    return vllm.SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        seed=seed if sampling.temperature > 0 else None,
        max_tokens=sampling.max_new_tokens,
        stop_token_ids=list(eos_ids),
        logprobs=0,  # of the sampled token alone
        flat_logprobs=True,
        detokenize=False,
        output_kind=vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
    )
