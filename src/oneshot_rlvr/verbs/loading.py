"""A subject made ready to answer: its threads set, its model loaded, its engine made.

What evaluating, asking and probing begin with. Imports torch when it is called, not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oneshot_rlvr.verbs.subjects import Subject


@dataclass(frozen=True, slots=True)
class Loaded:
    """A rollout engine that holds the subject's model, and the model's tokenizer."""

    engine: Any
    tokenizer: Any
    source: str = ""
    """Names what answers: the weights' hash, their precision, device and engine."""
    policy: Any = None
    """The model itself, for what no engine does."""


def load_subject(subject: Subject, engine: str | None) -> Loaded:
    """`engine`: a name of `oneshot list engines`; None: the recipe's."""
    from oneshot_rlvr.policy import load_policy
    from oneshot_rlvr.policy.fingerprint import fingerprint
    from oneshot_rlvr.rollouts import make_engine
    from oneshot_rlvr.rollouts.threads import set_threads
    from oneshot_rlvr.train.checkpoint import refuse_damaged_model

    refuse_damaged_model(subject.path)
    rollouts = subject.recipe.rollouts
    set_threads(subject.recipe.train.threads)
    policy = load_policy(subject.recipe.model.model_copy(update={"path": subject.path}))
    name = engine or rollouts.engine
    source = f"{fingerprint(policy)} {policy.device.type} {name}"
    return Loaded(make_engine(name, policy, rollouts), policy.tokenizer, source, policy)
