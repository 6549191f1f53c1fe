"""The rollout engine `hf` for verl: one Ray actor a training rank, sampling with transformers.

verl asks for one answer a call, concurrently; the server batches what arrives within a moment. Each
request draws from its own generator, seeded by the recipe's seed and the number of the request
among those of its prompt and weights, so that group mates differ and a batch's composition changes
nothing. (Which mate gets which number depends on arrival; the set of answers does not.)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from typing import Any

import ray
import torch
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from oneshot_rlvr.policy.truncation import truncate

GATHER_SECONDS = 0.05
LARGEST_BATCH = 256


class HfServer:
    """Samples answers; `generate` may be called many times at once."""

    def __init__(self, path: str, config: Any):
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(int(os.environ.get("ONESHOT_VERL_THREADS", "1")))
        self.model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        self.config = config
        self.global_steps: int | None = None
        ends = self.model.generation_config.eos_token_id or self.model.config.eos_token_id
        self.ends = frozenset(ends if isinstance(ends, list) else [ends])
        self.pad = self.model.config.pad_token_id or 0
        self.asked: Counter[str] = Counter()
        self.queue: asyncio.Queue[Any] | None = None
        self.task: Any = None

    async def generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        request_id: str | None = None,
        **_: Any,
    ) -> Any:
        """One answer to one prompt."""
        if self.queue is None:
            self.queue = asyncio.Queue()
            self.task = asyncio.ensure_future(self._serve())
        answer = asyncio.get_running_loop().create_future()
        prompt = list(prompt_ids)
        key = (
            f"{self.config.seed} {self.global_steps} {sampling_params.get('temperature')} {prompt}"
        )
        self.asked[key] += 1
        digest = hashlib.sha256(f"{key} {self.asked[key]}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big") >> 1
        await self.queue.put((prompt, dict(sampling_params), seed, answer))
        return await answer

    async def _serve(self) -> None:
        assert self.queue is not None
        while True:
            batch = [await self.queue.get()]
            await asyncio.sleep(GATHER_SECONDS)
            while not self.queue.empty() and len(batch) < LARGEST_BATCH:
                batch.append(self.queue.get_nowait())
            try:
                outputs = await asyncio.to_thread(self._sample, [item[:3] for item in batch])
            except Exception as error:  # each caller gets it; the server goes on
                for *_, answer in batch:
                    answer.set_exception(error)
            else:
                for (*_, answer), output in zip(batch, outputs, strict=True):
                    answer.set_result(output)

    @torch.no_grad()
    def _sample(self, asked: list[tuple[list[int], dict[str, Any], int]]) -> list[Any]:
        """Prompts padded on the left, one token for all at a time, until all have ended."""
        prompts, params, seeds = zip(*asked, strict=True)
        N, P = len(prompts), max(map(len, prompts))
        ids_N_P = torch.full((N, P), self.pad)
        mask_N_T = torch.zeros((N, P), dtype=torch.long)
        for n, prompt in enumerate(prompts):
            ids_N_P[n, P - len(prompt) :] = torch.tensor(prompt)
            mask_N_T[n, P - len(prompt) :] = 1
        limits = [self._limit(p, q) for p, q in zip(prompts, params, strict=True)]
        heat_N_1 = torch.tensor([float(q.get("temperature", 1.0)) for q in params])[:, None]
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        tokens: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[float]] = [[] for _ in prompts]
        running = set(range(N))
        past, step_N_T = None, ids_N_P
        while running:
            places = (mask_N_T.cumsum(1) - 1).clamp(min=0)[:, -step_N_T.shape[1] :]
            output = self.model(
                input_ids=step_N_T,
                attention_mask=mask_N_T,
                position_ids=places,
                past_key_values=past,
                use_cache=True,
            )
            past = output.past_key_values
            logits_N_V = output.logits[:, -1].float()
            best_N = logits_N_V.argmax(-1)
            logits_N_V = logits_N_V / heat_N_1.masked_fill(heat_N_1 == 0, 1.0)
            for n in sorted(running):
                logits_N_V[n : n + 1] = _cut(logits_N_V[n : n + 1], params[n])
            lp_N_V = torch.log_softmax(logits_N_V, -1)
            next_N = torch.full((N,), self.pad)
            for n in sorted(running):
                greedy = heat_N_1[n, 0] == 0
                drawn = torch.multinomial(lp_N_V[n].exp(), 1, generator=draws[n])[0]
                token = int(best_N[n] if greedy else drawn)
                next_N[n] = token
                tokens[n].append(token)
                logprobs[n].append(float(lp_N_V[n, token]))
                ends = self.ends.union(params[n].get("stop_token_ids") or ())
                if token in ends or len(tokens[n]) >= limits[n]:
                    running.discard(n)
            step_N_T = next_N[:, None]
            mask_N_T = torch.cat([mask_N_T, torch.ones(N, 1, dtype=torch.long)], 1)
        return [
            TokenOutput(
                token_ids=t,
                log_probs=lp if q.get("logprobs") else None,
                stop_reason="completed",
                extra_fields={"global_steps": self.global_steps},
            )
            for t, lp, q in zip(tokens, logprobs, params, strict=True)
        ]

    def _limit(self, prompt: list[int], params: dict[str, Any]) -> int:
        room = self.config.prompt_length + self.config.response_length - len(prompt)
        asked = params.get("max_tokens") or params.get("max_new_tokens")
        return int(min(asked or self.config.response_length, room))

    async def load_weights(self, state: dict[str, Any], global_steps: int | None) -> int:
        """New weights by name, in place."""
        own = dict(self.model.named_parameters(remove_duplicate=False))
        for name, values in state.items():
            own[name].data.copy_(torch.as_tensor(values))
        self.global_steps = global_steps
        self.asked.clear()
        return len(state)

    async def nothing(self, *_: Any, **__: Any) -> None:
        """What other engines do about memory; this one keeps no cache between calls."""

    wake_up = sleep = abort_all_requests = resume_generation = clear_kv_cache = nothing
    release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


def _cut(logits_1_V: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:
    """What a request's top_p and top_k leave; verl says 1 and -1 for off."""
    top_p, top_k = float(params.get("top_p", 1.0)), int(params.get("top_k", -1))
    return truncate(logits_1_V, top_p=top_p, top_k=max(0, top_k))


class HfAdapter(BaseRollout):
    """Lives in a training rank and pushes its weights to the rank's server."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1):
        super().__init__(config, model_config, device_mesh)
        self.server: Any = None

    async def resume(self, tags: Any) -> None:
        """Nothing was released."""

    async def release(self) -> None:
        """Nothing to release."""

    async def update_weights(
        self,
        weights: Any,
        global_steps: int | None = None,
        wire_format: str = "named_tensors",
        **_: Any,
    ) -> None:
        """All weights, through Ray's object store."""
        from verl.workers.rollout.utils import ensure_async_iterator

        if wire_format != "named_tensors":
            raise ValueError(f"the engine hf takes named tensors, not {wire_format}")
        state = {}
        async for name, weight in ensure_async_iterator(weights):
            state[name] = weight.detach().float().cpu().numpy()
        if self.server is None:
            self.server = ray.get_actor(_name(int(os.environ["RANK"])))
        await self.server.load_weights.remote(state, global_steps)


class HfReplica(RolloutReplica):
    """Starts the server of a replica."""

    async def launch_servers(self) -> None:
        """One actor without resources of its own: it shares the training rank's processor."""
        path = getattr(self.model_config, "local_path", None) or self.model_config["path"]
        server = (
            ray.remote(HfServer)
            .options(
                name=_name(self.replica_rank), num_cpus=0, max_concurrency=self.max_concurrency
            )
            .remote(path, self.config)
        )
        self.servers = [server]
        await server.nothing.remote()
        self._server_handle, self._server_address = server, f"hf:{self.replica_rank}"


def _name(rank: int) -> str:
    return f"oneshot_hf_server_{rank}"
