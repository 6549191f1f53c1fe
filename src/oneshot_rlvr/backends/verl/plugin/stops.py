"""verl's agent loop, which also ends an answer where the chat template ends an assistant's turn.

verl's servers stop at the end-of-text tokens of the model's generation config alone. A base model
whose template ends turns with another token would go on and invent the next turn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import wrapt

from oneshot_rlvr.policy.ends import turn_end

_once = lru_cache(maxsize=8)(turn_end)  # a template is rendered once a process, not once an answer


@wrapt.when_imported("verl.experimental.agent_loop.single_turn_agent_loop")
def _stop_at_the_end_of_a_turn(module: Any) -> None:
    loop = module.SingleTurnAgentLoop
    run = loop.run

    async def run_to_the_end_of_the_turn(
        self: Any, sampling_params: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        end = _once(self.tokenizer)
        if end is not None:
            stops = {*(sampling_params.get("stop_token_ids") or ()), end}
            sampling_params = {**sampling_params, "stop_token_ids": sorted(stops)}
        return await run(self, sampling_params, *args, **kwargs)

    loop.run = run_to_the_end_of_the_turn
