"""What runs inside verl's own processes, loaded through verl's hook for external modules.

    VERL_USE_EXTERNAL_MODULES=oneshot_rlvr.backends.verl.plugin

verl imports this while it is itself being imported, in every process of a run. Nothing of verl is
edited: names are registered in verl's registries, and a few functions are replaced when the module
that holds them has been imported. Everything here imports verl, Ray and torch; nothing else in the
package imports anything here.

cpu.py            verl's platform for machines without an accelerator
hf_rollout.py     a rollout engine of plain transformers, `rollout.name=hf`
hf_server.py      its server and the adapter that brings it new weights
trainer.py        verl's trainer, which also writes every rollout for our records
reward_manager.py verl's reward manager, which also tells the reward about the rollout
stops.py          an answer also ends where the chat template ends a turn
tokenizers.py     a tokenizer that reads other ids than its file says ends the run
"""

from __future__ import annotations

import os

import wrapt


@wrapt.when_imported("verl.utils.import_utils")
def _forget_trl(module: object) -> None:
    # verl asks TRL for a class (a causal model with a value head) that TRL 1 no longer has, and
    # fails where such a TRL is installed beside it. It needs the class for no recipe of ours.
    module.is_trl_available = lambda: False  # type: ignore[attr-defined]


@wrapt.when_imported("verl.trainer.ppo.v1.trainer_sync")
def _register_trainer(module: object) -> None:
    if not os.environ.get("ONESHOT_VERL_RECORDS"):
        return
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

    from oneshot_rlvr.backends.verl.plugin.trainer import recording

    TRAINER_REGISTRY["sync"] = recording(module.PPOTrainerSync)  # type: ignore[attr-defined]


if os.environ.get("VERL_PLATFORM") == "cpu":
    from oneshot_rlvr.backends.verl.plugin import cpu as cpu

from oneshot_rlvr.backends.verl.plugin import hf_rollout as hf_rollout  # noqa: E402
from oneshot_rlvr.backends.verl.plugin import stops as stops  # noqa: E402
from oneshot_rlvr.backends.verl.plugin import tokenizers as tokenizers  # noqa: E402
