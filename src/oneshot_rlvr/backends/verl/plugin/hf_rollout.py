"""Registers the rollout engine `hf` with verl: no vLLM, no SGLang; for small models and tests."""

from __future__ import annotations

from typing import Any

import wrapt

_SERVER = "oneshot_rlvr.backends.verl.plugin.hf_server"


@wrapt.when_imported("verl.workers.rollout.replica")
def _register_replica(module: Any) -> None:
    def load() -> Any:
        from oneshot_rlvr.backends.verl.plugin.hf_server import HfReplica

        return HfReplica

    module.RolloutReplicaRegistry.register("hf", load)


@wrapt.when_imported("verl.workers.rollout.base")
def _register_adapter(module: Any) -> None:
    module._ROLLOUT_REGISTRY[("hf", "async")] = f"{_SERVER}.HfAdapter"
