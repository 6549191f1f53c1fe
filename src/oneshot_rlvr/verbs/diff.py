"""`diff`: a run -> where its base and its result differ, token by token, on the same texts.

One of the two writes answers to held-out questions, both read them, and at every position their
choices and distributions are compared (`policy.differences`, `analysis.token_changes`). What comes
out is a table, JSON, and one page with the texts in which the changed tokens are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.verbs.loading import load_subject
from oneshot_rlvr.verbs.subjects import (
    base_of,
    find_benchmark,
    find_model,
    given_settings,
    own_benchmark,
)

if TYPE_CHECKING:
    from oneshot_rlvr.analysis.token_changes import TokenChanges
    from oneshot_rlvr.policy.differences import Positions
    from oneshot_rlvr.types import Rollout

PAGE = "diff.html"
CALL = 64
"""Questions asked in one call of the engine."""

Author = Literal["trained", "base"]


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs, and where it is written.

    `changes` by benchmark taken together; `pairs`: (the base's token, the new one, times, median
    rank), as texts; `changed`: every changed position, as JSON has it.
    """

    run: str
    author: Author
    benchmarks: list[str]
    temperature: float
    changes: TokenChanges
    pairs: list[tuple[str, str, int, float]]
    changed: list[dict[str, Any]] = field(repr=False)
    page: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "run": self.run,
            "texts_by": self.author,
            "benchmarks": self.benchmarks,
            "temperature": self.temperature,
            **self.changes.as_dict(),
            "tokens": [
                {"base": old, "trained": new, "count": count, "median_rank": rank}
                for old, new, count, rank in self.pairs
            ],
            "changed_positions": self.changed,
        }


def diff(
    run: str | Path,
    *,
    author: Author = "trained",
    benchmarks: Sequence[str] | None = None,
    seed: int | None = None,
    temperature: float = 0.0,
    questions: int | None = None,
    max_new_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    data_dir: str | Path | None = None,
    engine: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Diff:
    """Where the model that a run began with and the one that it made would go on differently.

    run: a finished run, or one of its checkpoints. author: who writes the texts that both read, at
    `temperature` (0: greedily), one to a question. benchmarks: whose questions (None: the run's
    test set, or its validation set); seed, questions, max_new_tokens, max_prompt_tokens, data_dir,
    engine: as for `evaluate`. out: the page (None: diff.html inside the run); another file that
    lies there stays without `overwrite`. progress: told (what, done, in all).
    RunError for an unfinished run or a model of no run, ConfigError where nothing is to be asked.
    """
    from oneshot_rlvr.analysis.token_changes import token_changes
    from oneshot_rlvr.report.token_diff import write

    if author not in ("trained", "base"):
        raise ConfigError(f'the texts are by "{author}"; wanted trained or base.')
    trained = find_model(run)
    if trained.run is None:
        raise RunError(
            f"{run} is no run, so that its base is not known; give a run's directory or one of its "
            "checkpoints."
        )
    base = base_of(trained)
    recipe, names, own_seed = own_benchmark(trained.recipe, benchmarks)
    if max_prompt_tokens is not None:
        longer = {"max_prompt_tokens": max_prompt_tokens}
        rollouts_config = recipe.rollouts.model_copy(update=longer)
        recipe = recipe.model_copy(update={"rollouts": rollouts_config})
    if not names:
        raise ConfigError(
            f"{trained.run} was tested on nothing, so that there are no questions for the texts to "
            "answer; name some with --benchmarks."
        )
    seed = own_seed if seed is None else seed
    given = given_settings(
        seed,
        samples=1,
        temperature=temperature,
        questions=questions,
        max_new_tokens=max_new_tokens,
    )
    found = [find_benchmark(name, recipe, given, data_dir) for name in names]
    # The one that only reads needs no engine of its own.
    sides = {
        name: load_subject(subject, engine if name == author else "hf")
        for name, subject in (("base", base), ("trained", trained))
    }
    rollouts: list[Rollout] = []
    asked: list[str] = []
    for benchmark, config in found:
        count = None if progress is None else partial(progress, benchmark.name)
        texts = _answers(sides[author], benchmark, config, recipe, seed, count)
        rollouts += texts
        asked += [benchmark.examples[r.row].question for r in texts]
    positions = _compared(sides, rollouts, recipe.train.micro_batch_tokens, progress)
    changes = token_changes(positions, len(rollouts))
    say = _Words(sides["trained"].tokenizer)
    pairs = [(say(p.base), say(p.trained), p.count, p.rank) for p in changes.pairs]
    result = Diff(
        run=str(run),
        author=author,
        benchmarks=[benchmark.name for benchmark, _ in found],
        temperature=temperature,
        changes=changes,
        pairs=pairs,
        changed=_changed(positions, say),
        page=Path(out) if out is not None else trained.run / PAGE,
    )
    assert result.page is not None
    marked = _marked(positions, rollouts, asked, changes.by_text, say)
    # The run's own page is made from its models, anew each time.
    write(result.page, result, marked, overwrite=overwrite or out is None)
    return result


def _answers(
    side: Any,
    benchmark: Any,
    config: Any,
    recipe: Any,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> list[Rollout]:
    """One answer to every question, in their order, asked and drawn as the benchmark is."""
    from oneshot_rlvr.evaluation.decoding import prompts_of, sampling_of
    from oneshot_rlvr.rollouts import StreamKey

    rollouts, model = recipe.rollouts, recipe.model
    prompts = prompts_of(
        benchmark.examples, side.tokenizer, config, max_prompt_tokens=rollouts.max_prompt_tokens,
        chat_template=model.chat_template, arguments=model.template_arguments,
    )  # fmt: skip
    sampling = sampling_of(config, config.max_new_tokens or rollouts.max_new_tokens)
    key, answers = StreamKey(seed, f"diff:{benchmark.name}"), []
    for start in range(0, len(prompts), CALL):
        answers += side.engine.generate(prompts[start : start + CALL], 1, sampling, key)
        if progress is not None:
            progress(len(answers), len(prompts))
    return answers


def _compared(
    sides: dict[str, Any],
    rollouts: Sequence[Rollout],
    most_tokens: int,
    progress: Callable[[str, int, int], None] | None,
) -> Positions:
    """Both models' positions on all texts, a micro-batch at a time."""
    import numpy as np

    from oneshot_rlvr.policy.decoder import unsupported
    from oneshot_rlvr.policy.differences import Positions, differences
    from oneshot_rlvr.train.batching import micro_batches

    base, trained = sides["base"].policy, sides["trained"].policy
    parts, done = [], 0
    batches = micro_batches(
        [r.prompt_tokens for r in rollouts],
        [r.tokens for r in rollouts],
        most_tokens,
        shared=unsupported(base.model) is None,
    )
    for members in batches:
        part = differences(
            base.model,
            trained.model,
            [rollouts[n].prompt_tokens for n in members],
            [rollouts[n].tokens for n in members],
            pad_id=base.pad_id,
        )
        parts.append(replace(part, text=np.array(members)[part.text]))
        done += len(members)
        if progress is not None:
            progress("comparing", done, len(rollouts))
    return Positions.joined(parts)


class _Words:
    """Tokens as texts; a token that is part of a character shows a replacement for it."""

    def __init__(self, tokenizer: Any):
        from oneshot_rlvr.records.files import clean_text

        self._tokenizer, self._clean = tokenizer, clean_text
        self._known: dict[int, str] = {}

    def __call__(self, token: int) -> str:
        if token not in self._known:
            self._known[token] = self._clean(str(self._tokenizer.decode([token])))
        return self._known[token]


def _changed(found: Positions, say: _Words) -> list[dict[str, Any]]:
    return [
        {
            "text": int(found.text[m]),
            "position": int(found.place[m]),
            "token": say(int(found.token[m])),
            "base": say(int(found.base_choice[m])),
            "trained": say(int(found.trained_choice[m])),
            "rank": int(found.rank[m]),
            "kl_nats": float(found.kl[m]),
        }
        for m in (found.base_choice != found.trained_choice).nonzero()[0]
    ]


def _marked(
    found: Positions, rollouts: Sequence[Rollout], asked: Sequence[str], by_text: Any, say: _Words
) -> list[Any]:
    """The texts for the page, those with most changes first."""
    from oneshot_rlvr.report.token_diff import SHOWN, Piece, Text

    order = sorted(range(len(rollouts)), key=lambda n: (-int(by_text[n]), n))[:SHOWN]
    texts = []
    for n in order:
        pieces = []
        for m in (found.text == n).nonzero()[0]:
            old, new = int(found.base_choice[m]), int(found.trained_choice[m])
            note = ""
            if old != new:
                note = (
                    f"base: {say(old)!r}, trained: {say(new)!r} (rank {int(found.rank[m])} in the "
                    f"base's list), KL {float(found.kl[m]):.2g} nats"
                )
            pieces.append(Piece(say(int(found.token[m])), note))
        texts.append(Text(asked[n], int(by_text[n]), pieces))
    return texts
