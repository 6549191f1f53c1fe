"""vLLM in this process (extra `vllm`): continuous batching and paged keys and values, for a GPU.

The trainer's weights are copied into vLLM's own at every call, from memory to memory, and the
prefix cache is emptied with them: a call samples from the policy as it is, whoever changed it.
Adapters go beside the base, or in float32 weights (`vllm_weights.py`). On a GPU vLLM gives its
memory back between calls (`rollouts.vllm.sleep`).

Where it departs from the other engines: vLLM draws a token from its own generator, one per rollout,
seeded from the rollout's address. So a call repeats itself, rollouts never share a stream, but the
tokens are not those that the same seed gives elsewhere, and rounding may depend on the batch.

Not here: several GPUs (`backends/verl`), and a vLLM server over HTTP (`evaluation/endpoint`).
"""

from __future__ import annotations

import copy
import logging
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from oneshot_rlvr.config import RolloutsConfig, VLLMConfig
from oneshot_rlvr.errors import ConfigError, ModelError
from oneshot_rlvr.policy.load import TYPES, Policy
from oneshot_rlvr.policy.logprobs import sequence_logprobs
from oneshot_rlvr.policy.lora import has_adapters
from oneshot_rlvr.rollouts.capacity import CPU_BYTES, key_value_bytes
from oneshot_rlvr.rollouts.engine import Sampling, to_rollouts
from oneshot_rlvr.rollouts.randomness import StreamKey
from oneshot_rlvr.rollouts.vllm_sampling import refuse_another_order, sampling_params, seeds
from oneshot_rlvr.rollouts.vllm_weights import Beside, beside_base, tied_apart, weights
from oneshot_rlvr.types import Prompt, Rollout

# What vLLM tells of its start would break the run's own line; errors are raised anyway.
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

# vLLM and what it imports point the dynamic loader at their own libraries; the processes that this
# one starts (grading, sandboxes) must not inherit that.
_LOADER = ("LD_PRELOAD", "LD_LIBRARY_PATH")
_before = {name: os.environ.get(name) for name in _LOADER}
import vllm  # noqa: E402
import vllm.model_executor.layers.utils as vllm_layers  # noqa: E402

log = logging.getLogger(__name__)

DISAGREES_NATS = 0.25
"""Mean difference of log-probabilities from which vLLM does not compute the trainer's model.

bfloat16 against float32 gives some 0.01; a missing or misplaced weight, or stale keys and values,
several nats.
"""

# vLLM keeps state per process (memory pools, process groups), so there is one at a time; engines
# share it where it fits, each with its own policy's weights.
_running: _Running | None = None


class VLLMEngine:
    """Engine `vllm`. ModelError, at once, for a model that vLLM cannot start with."""

    name = "vllm"

    def __init__(self, policy: Policy, rollouts: RolloutsConfig | None = None):
        self.policy = policy
        self.settings = rollouts.vllm if rollouts is not None else VLLMConfig()
        _running_for(self.policy, self.settings)

    def sync(self, policy: Policy) -> None:
        """From now on sample from `policy`; its weights are copied at every call anyway."""
        self.policy = policy

    def generate(
        self, prompts: Sequence[Prompt], group_size: int, sampling: Sampling, key: StreamKey
    ) -> list[Rollout]:
        """See `Engine.generate`. ConfigError where vLLM's memory cannot hold one sequence."""
        if not prompts:
            return []
        refuse_another_order(sampling)
        policy, running = self.policy, _running_for(self.policy, self.settings)
        _check_length(running, prompts, sampling)
        tokens_N, logprobs_N = running.answers(
            policy, [p.tokens for p in prompts for _ in range(group_size)],
            seeds(prompts, group_size, key), sampling,
        )  # fmt: skip
        return to_rollouts(
            prompts, group_size, tokens_N, logprobs_N, policy.eos_ids, policy.tokenizer,
            sampling.stop,
        )  # fmt: skip


def check_agreement(
    policy: Policy, prompt: Sequence[int], tokens: Sequence[int], logprobs: Sequence[float]
) -> None:
    """ModelError where vLLM's log-probabilities of a greedy answer are not the trainer's."""
    with torch.no_grad():
        scores = sequence_logprobs(
            policy.model, [prompt], [tokens], 1.0, pad_id=policy.pad_id, with_entropy=False
        )
    ours_T = scores.logprobs_N_T[0].double().cpu()
    gap = float((ours_T - torch.tensor(logprobs, dtype=torch.float64)).abs().mean())
    if not gap <= DISAGREES_NATS:  # also where it is no number
        raise ModelError(
            f"vLLM {vllm.__version__} gives the tokens of {policy.name} other log-probabilities "
            f"than the trainer (by {gap:.2g} nats a token): it does not compute this model. Set "
            'rollouts.engine = "shared_prefix" or "hf".'
        )


@dataclass(slots=True)
class _Running:
    """The process's vLLM, and what it was started for."""

    identity: tuple[Any, ...]
    llm: Any
    sleeps: bool
    config_directory: tempfile.TemporaryDirectory[str]
    beside: Beside | None = None

    @property
    def positions(self) -> int:
        """Longest prompt and answer together."""
        return int(self.llm.llm_engine.model_config.max_model_len)

    @property
    def model(self) -> Any:
        core = self.llm.llm_engine.engine_core.engine_core
        return core.model_executor.driver_worker.worker.model_runner.model

    def answers(
        self,
        policy: Policy,
        prompts_N: Sequence[Sequence[int]],
        seeds_N: Sequence[int],
        sampling: Sampling,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Tokens (end-of-text included) and log-probabilities of every request, in order."""
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts_N]
        settings = [sampling_params(sampling, seed, policy.eos_ids) for seed in seeds_N]
        try:
            self.take_weights(policy)
            adapters = None if self.beside is None else self.beside.take(policy.model)
            outputs = self.llm.generate(requests, settings, use_tqdm=False, lora_request=adapters)
            if self.sleeps:
                self.llm.sleep(level=2)  # weights too: the next call brings new ones
        except BaseException:
            _stop()  # requests in mid-generation would turn up in the next call
            raise
        answers_N = [output.outputs[0] for output in outputs]
        return (
            [list(answer.token_ids) for answer in answers_N],
            # float32 rounding may put a certain token a hair above probability 1
            [[min(0.0, value) for value in answer.logprobs.logprobs] for answer in answers_N],
        )

    def take_weights(self, policy: Policy) -> None:
        """Copies the policy's weights, waking first what slept, and forgets all cached prefixes."""
        if self.sleeps:
            torch.cuda.empty_cache() if policy.device.type == "cuda" else None
            self.llm.wake_up(tags=["weights"])
        self.model.load_weights(weights(policy.model, beside=self.beside is not None))
        if self.sleeps:
            self.llm.wake_up(tags=["kv_cache"])
        self.forget_prefixes()

    def forget_prefixes(self) -> None:
        """Keys and values of the old weights must not serve the new ones."""
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not empty its prefix cache: a request is still running")


def _bare(model: Any) -> Any:
    """The model without PEFT's wrapping."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _check_length(running: _Running, prompts: Sequence[Prompt], sampling: Sampling) -> None:
    longest = max(len(p.tokens) for p in prompts)
    if longest + sampling.max_new_tokens > running.positions:
        raise ConfigError(
            f"A prompt and its answer may take {longest} + {sampling.max_new_tokens} tokens and "
            f"vLLM's memory holds {running.positions}; raise rollouts.vllm.memory_share (on a CPU "
            "rollouts.vllm.cache_gibibytes) or lower max_new_tokens."
        )


def _running_for(policy: Policy, settings: VLLMConfig) -> _Running:
    """The process's vLLM, started anew where model or settings differ from its own."""
    global _running
    config: Any = policy.model.config
    ranks = beside_base(policy.model)
    adapted = has_adapters(policy.model), ranks and (ranks.rank, ranks.alpha)
    identity = (config.to_json_string(), policy.device, policy.dtype, settings, adapted)
    if _running is None or _running.identity != identity:
        _stop()
        _running = _start(policy, settings, identity, ranks)
        try:
            _try(_running, policy)
        except BaseException:
            _stop()
            raise
    return _running


def _stop() -> None:
    """Ends the process's vLLM, if there is one, and frees its memory."""
    global _running
    ended, _running = _running, None
    if ended is not None:
        ended.llm.llm_engine.engine_core.shutdown()
        ended.config_directory.cleanup()
        del ended
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _start(
    policy: Policy, settings: VLLMConfig, identity: tuple[Any, ...], beside: Beside | None = None
) -> _Running:
    """A vLLM with the model's shape and no weights yet; adapters in the weights where it has no
    place for them beside."""
    on_gpu = policy.device.type == "cuda"
    if on_gpu and policy.device.index not in (None, 0):
        raise ConfigError(
            f"model.device is {policy.device} and vLLM takes the first GPU that it sees; set "
            f'CUDA_VISIBLE_DEVICES={policy.device.index} and model.device = "cuda".'
        )
    config: Any = copy.deepcopy(policy.model.config)
    config.architectures = [
        type(_bare(policy.model)).__name__
    ]  # else vLLM guesses, not always well
    if tied_apart(policy.model):
        config.tie_word_embeddings = False
    directory = tempfile.TemporaryDirectory(prefix="oneshot-vllm-")
    try:
        with _surroundings_kept(), _plain_linear_layers():
            config.save_pretrained(directory.name)
            llm = vllm.LLM(directory.name, **_arguments(policy, settings, beside))
    except Exception as error:
        directory.cleanup()
        if beside is not None:
            log.warning("vLLM samples from merged float32 weights: %s", error)
            return _start(policy, settings, identity)
        raise _refusal("does not start with", policy, error) from error
    running = _Running(identity, llm, on_gpu and settings.sleep, directory, beside)
    if running.sleeps:
        llm.sleep(level=2)
    return running


def _try(running: _Running, policy: Policy) -> None:
    """A short greedy answer, compared: some models start and then fail, or compute another."""
    prompt = list(range(min(4, policy.vocabulary_size)))
    try:
        tokens_N, logprobs_N = running.answers(policy, [prompt], [0], Sampling(0.0, 8))
    except Exception as error:
        raise _refusal("fails with", policy, error) from error
    check_agreement(policy, prompt, tokens_N[0], logprobs_N[0])


def _refusal(what: str, policy: Policy, error: Exception) -> ModelError:
    reason = " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
    return ModelError(
        f"vLLM {vllm.__version__} {what} {policy.name}: {reason}. "
        'Set rollouts.engine = "shared_prefix" or "hf".'
    )


def _arguments(
    policy: Policy, settings: VLLMConfig, beside: Beside | None = None
) -> dict[str, Any]:
    on_gpu = policy.device.type == "cuda"
    positions = getattr(policy.model.config, "max_position_embeddings", None)
    arguments: dict[str, Any] = {
        "skip_tokenizer_init": True,  # token ids go in and come out
        "load_format": "dummy",  # the weights come from the trainer
        "generation_config": "vllm",  # the recipe says how to sample, not the model's file
        "dtype": str(_dtype(policy, settings, beside)).removeprefix("torch."),
        # After temperature and truncation: the distribution that was sampled from.
        "logprobs_mode": "processed_logprobs",
        "enable_prefix_caching": True,  # a prompt's rollouts share its keys and values
        "max_num_seqs": settings.max_sequences,
        "max_model_len": -1,  # as many positions as the model knows and the memory holds
    }
    if beside is not None:
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": beside.room}
    if on_gpu:
        arguments["gpu_memory_utilization"] = settings.memory_share
        arguments["enable_sleep_mode"] = settings.sleep
        arguments["enforce_eager"] = settings.eager
    else:
        arguments["enforce_eager"] = True  # compiling takes longer than such models run
        arguments["kv_cache_memory_bytes"] = _cache_bytes(policy, settings, positions)
        # A prompt in chunks rewinds its generator, which torch's generator of the CPU cannot do.
        arguments["enable_chunked_prefill"] = False
        arguments["max_num_batched_tokens"] = max(8192, positions or 0)
    return arguments


def _cache_bytes(policy: Policy, settings: VLLMConfig, positions: int | None) -> int:
    """Memory of keys and values on a CPU: as asked, else what all sequences could ever fill."""
    if settings.cache_gibibytes is not None:
        return int(settings.cache_gibibytes * 2**30)
    filled = key_value_bytes(policy) * (positions or 0) * settings.max_sequences
    return min(CPU_BYTES, filled) or CPU_BYTES


def _dtype(policy: Policy, settings: VLLMConfig, beside: Beside | None) -> torch.dtype:
    if has_adapters(policy.model) and beside is None:
        return torch.float32  # merged: 16 bits do not hold what adapters change in a weight
    if settings.dtype != "auto":
        return TYPES[settings.dtype]
    narrow = policy.dtype if torch.finfo(policy.dtype).bits < 32 else torch.bfloat16
    return narrow if policy.device.type == "cuda" else policy.dtype


@contextmanager
def _surroundings_kept() -> Iterator[None]:
    """vLLM's start leaves the process as it was: random states, threads, loader's paths.

    `VLLM_ENABLE_V1_MULTIPROCESSING` is read at the start: 0 keeps the engine in this process, where
    weights can be copied without a disk or a socket.
    """
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    set_num_threads, threads = torch.set_num_threads, torch.get_num_threads()
    asked = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    try:
        yield
    finally:
        _restore_environment({"VLLM_ENABLE_V1_MULTIPROCESSING": asked, **_before})
        torch.set_num_threads = set_num_threads  # on a CPU vLLM replaces it by a warning
        torch.set_num_threads(threads)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def _restore_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _plain_linear_layers() -> Iterator[None]:
    """On a CPU, keeps vLLM's linear layers as they are loaded.

    vLLM 0.28 packs each weight after loading and throws the parameter away, so that later weights
    find no place (linear layers) or are not read (a tied output head).
    """
    packed = vllm_layers.dispatch_cpu_unquantized_gemm

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = lambda x, weight, bias: nn.functional.linear(x, weight, bias)

    vllm_layers.dispatch_cpu_unquantized_gemm = plain
    try:
        yield
    finally:
        vllm_layers.dispatch_cpu_unquantized_gemm = packed


_restore_environment(_before)
