"""TRL's door: a `reward_funcs` callable for its GRPOTrainer. Needs no TRL to import.

    from oneshot_rlvr.rewards.trl import TrlReward
    trainer = GRPOTrainer(model, reward_funcs=TrlReward(), train_dataset=data, ...)

The data set's columns say how to grade a row: `solution` or `answer` is the gold, or a worked
solution that ends in it; `verifier` names the kind (default math_answer); the kind's options stand
in columns of their own names, or all in one column `extra` (a table, or JSON text of one).
Signature: TRL's documentation, "Using a custom reward function".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.examples.columns import gold_of
from oneshot_rlvr.examples.values import decoded, native
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.rewards.scorer import Scorer
from oneshot_rlvr.types import Example, Rollout
from oneshot_rlvr.verifiers import get_verifier

GOLD_COLUMNS = ("solution", "answer", "ground_truth")


class TrlReward:
    """Callable as TRL calls a reward function; the workers live as long as it does."""

    def __init__(
        self,
        config: RewardConfig | None = None,
        *,
        verifier: str = "math_answer",
        seed: int = 0,
    ):
        arm = (config or RewardConfig()).arm
        if not ARMS.load(arm).alone:
            raise ConfigError(
                f"arm {arm!r} needs a rollout's group or the policy, which TRL does not tell a "
                "reward function. Use an arm that looks at the response."
            )
        self._scorer = Scorer(config or RewardConfig(), seed=seed)
        self._verifier = verifier
        # TRL logs a reward function under this name.
        self.__name__ = f"oneshot_{(config or RewardConfig()).arm}"

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float]:
        """One reward per completion, in order. Errors: as `Scorer.score`."""
        count = len(completions)
        ids = completion_ids if completion_ids is not None else [()] * count
        prompts = prompts if prompts is not None else [""] * count
        examples = {
            str(i): self._example(i, _text(prompts[i]), columns, count) for i in range(count)
        }
        rollouts = [
            Rollout(i, 0, str(i), (), tuple(ids[i]), (), _text(completions[i]), True)
            for i in range(count)
        ]
        step = int(getattr(trainer_state, "global_step", 0) or 0)
        return [graded.reward for graded in self._scorer.score(rollouts, examples, step)]

    def close(self) -> None:
        """End the grading processes."""
        self._scorer.close()

    def _example(self, row: int, question: str, columns: Mapping[str, Any], count: int) -> Example:
        own = {name: c[row] for name, c in columns.items() if _is_column(c, count)}
        present = [name for name in GOLD_COLUMNS if own.get(name) is not None]
        if not present:
            raise DataError(
                f"row {row} of the batch has no gold; wanted a column named "
                f"{', '.join(GOLD_COLUMNS[:-1])} or {GOLD_COLUMNS[-1]}. The columns that came: "
                f"{', '.join(columns) or 'none'}."
            )
        verifier = str(own.get("verifier") or self._verifier)
        where = f"row {row} of the batch"
        extra = table(where, "extra", own.get("extra"))
        for name in get_verifier(verifier).options:
            if own.get(name) is not None:
                extra[name] = native(own[name])
        gold = _first_gold(where, own, present, verifier)
        return Example(str(row), question, gold, verifier, extra=extra)


def _first_gold(where: str, own: Mapping[str, Any], columns: Sequence[str], verifier: str) -> str:
    """The gold of the first column that states one: `solution` may be prose beside an `answer`.

    DataError, of the first column, where none does.
    """
    faults = []
    for column in columns:
        try:
            gold = gold_of(where, column, own[column], verifier)
        except DataError as error:
            faults.append(error)
            continue
        if gold:
            return gold
    if len(faults) == len(columns):
        raise faults[0]
    return ""  # the options say it all


def table(where: str, column: str, value: Any) -> dict[str, Any]:
    """The options of a row: a table, JSON text of one, or nothing. DataError for anything else."""
    told = decoded(value)
    if told is None:
        return {}
    if not isinstance(told, Mapping):
        raise DataError(
            f'{where}, field "{column}", is {str(value)[:60]!r}; wanted a table of options, or '
            "JSON text of one."
        )
    return native(told)


def _is_column(values: Any, count: int) -> bool:
    array = hasattr(values, "tolist") and getattr(values, "ndim", 0) > 0  # a column of numpy's
    sequence = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    return (array or sequence) and len(values) == count


def _text(turns: Any) -> str:
    """A completion's text: itself, or the last turn of a chat."""
    if isinstance(turns, str):
        return turns
    if isinstance(turns, Sequence) and turns and isinstance(turns[-1], Mapping):
        return str(turns[-1].get("content") or "")
    return str(turns)
