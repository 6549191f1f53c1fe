"""Sampling answers: engines behind one protocol.

`make_engine("auto", policy)` takes vLLM on a GPU where it is installed, else the shared-prefix
engine where it knows the architecture and the plain one elsewhere, and says why not the better one.
Nothing here imports torch until an engine is made.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.registry import Registry
from oneshot_rlvr.rollouts.engine import Engine, Sampling
from oneshot_rlvr.rollouts.randomness import StreamKey, uniforms

if TYPE_CHECKING:
    from oneshot_rlvr.config import RolloutsConfig
    from oneshot_rlvr.policy.load import Policy

ENGINES = Registry(
    "rollout engine",
    {
        "auto": "oneshot_rlvr.rollouts.auto:make_auto_engine",
        "shared_prefix": "oneshot_rlvr.rollouts.shared_prefix:SharedPrefixEngine",
        "hf": "oneshot_rlvr.rollouts.hf:HFEngine",
        "scripted": "oneshot_rlvr.rollouts.scripted:ScriptedEngine",
        "vllm": "oneshot_rlvr.rollouts.vllm_engine:VLLMEngine",
    },
    extras={"vllm": "vllm"},
)


def make_engine(name: str, policy: Policy, rollouts: RolloutsConfig | None = None) -> Engine:
    """The engine of that name over `policy`; UnknownNameError lists the names there are.

    `rollouts` is the recipe's table, for engines that have settings of their own there.
    MissingDependencyError names the extra of one that is not installed, ConfigError products that
    the engine does not make.
    """
    make = ENGINES.load(name)
    takes_settings = "rollouts" in inspect.signature(make).parameters
    engine: Engine = make(policy, rollouts=rollouts) if takes_settings else make(policy)
    if rollouts is not None and rollouts.autocast is not None and engine.name != "shared_prefix":
        raise ConfigError(
            f'rollouts.autocast is "{rollouts.autocast}" and rollouts are sampled by the engine '
            f'"{engine.name}", which has no such products (vllm has rollouts.vllm.dtype); leave it '
            "out."
        )
    return engine


__all__ = ["ENGINES", "Engine", "Sampling", "StreamKey", "make_engine", "uniforms"]
