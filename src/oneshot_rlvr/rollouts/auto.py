"""What `rollouts.engine = "auto"` stands for: the fastest engine that knows the architecture."""

from __future__ import annotations

import logging

from oneshot_rlvr.config import RolloutsConfig
from oneshot_rlvr.errors import ConfigError, MissingDependencyError, ModelError
from oneshot_rlvr.policy.decoder import unsupported
from oneshot_rlvr.policy.load import Policy
from oneshot_rlvr.rollouts.engine import Engine
from oneshot_rlvr.rollouts.hf import HFEngine
from oneshot_rlvr.rollouts.shared_prefix import SharedPrefixEngine

log = logging.getLogger(__name__)


def make_auto_engine(policy: Policy, rollouts: RolloutsConfig | None = None) -> Engine:
    """On a GPU `vllm` where it is installed and starts; else `shared_prefix` where the decoder view
    can stand for the model; else `hf`. Says why it is not the better one.

    Never vLLM on a CPU: it takes longer to start there than a run of a model that a CPU can train.
    """
    if policy.device.type == "cuda":
        from oneshot_rlvr.rollouts import make_engine

        try:
            return make_engine("vllm", policy, rollouts)
        except (MissingDependencyError, ModelError, ConfigError) as error:
            log.warning("rollouts do not use vLLM: %s", error)
    reason = unsupported(policy.model)
    if reason is None:
        return SharedPrefixEngine(policy, rollouts=rollouts)
    log.warning("rollouts use the plain engine (hf), not shared_prefix: %s", reason)
    return HFEngine(policy)
