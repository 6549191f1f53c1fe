"""`variants`: a file of examples -> a file of controls, in the layout of any trainer.

Puts `examples.controls`, the verifiers' word on what is wrong, and the prompt templates together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation.benchmark import Benchmark
from oneshot_rlvr.evaluation.prompts import asked_in
from oneshot_rlvr.examples import Published, load_file, load_published
from oneshot_rlvr.examples.controls import (
    Label,
    asked_as,
    corrupted,
    in_context,
    of_another,
    unguessable,
    without_suffix,
)
from oneshot_rlvr.examples.writers import repeated, rows_in, write_rows
from oneshot_rlvr.rewards.arms import made_wrong, with_wrong_label
from oneshot_rlvr.types import Example

KINDS = {
    "near": "near the gold, hence guessable: the number plus 1, the next option",
    "other": "the gold of another example of the file",
    "unguessable": "a six-digit number that has nothing to do with the question",
}
"""Kinds of wrong label."""


def variants(
    examples: str | Path,
    out: str | Path,
    *,
    ids: Sequence[str] | None = None,
    wrong_labels: float = 0.0,
    kind: str = "near",
    question: str | None = None,
    strip_suffix: bool = False,
    prompt: str | None = None,
    shots: Sequence[str | Path] = (),
    columns: str = "auto",
    batch: int | None = None,
    verifier: str = "math_answer",
    seed: int = 0,
    overwrite: bool = False,
) -> tuple[Path, list[Example]]:
    """Writes controls made of a file's examples (all, or `ids`); the file and what is in it.

    wrong_labels: a share of wrong golds of a `kind`: near (guessable), other (another example's),
    unguessable. question, strip_suffix, prompt: other ways to ask. shots: files whose examples go
    before every question, with their answers. columns, batch: as in `select`. RecordsError where
    `out` holds another file and `overwrite` is not given.
    """
    published = load_published(examples, verifier=verifier, ids=ids)
    found = varied(
        published.examples,
        wrong_labels=wrong_labels,
        kind=kind,
        question=question,
        strip_suffix=strip_suffix,
        prompt=prompt,
        shots=read_shots(shots),
        seed=seed,
    )
    path = write_examples(found, published, out, columns=columns, batch=batch, overwrite=overwrite)
    return path, found


def varied(
    examples: Sequence[Example],
    *,
    wrong_labels: float = 0.0,
    kind: str = "near",
    question: str | None = None,
    strip_suffix: bool = False,
    prompt: str | None = None,
    shots: Sequence[Example] = (),
    seed: int = 0,
) -> list[Example]:
    """The examples as controls. Wording first (strip, question, prompt), then context, then labels.

    question: other words for one example. prompt: the name of a template (`oneshot evaluate
    --prompts`) or a TOML file with one. ConfigError, DataError for what cannot be made.
    """
    found = [without_suffix(e) for e in examples] if strip_suffix else list(examples)
    if question is not None:
        if len(found) != 1:
            raise ConfigError(
                f"another wording is for one example and there are {len(found)}; choose it by its "
                "id (--ids)"
            )
        found = [asked_as(found[0], question)]
    if prompt is not None:
        asked = asked_in(Benchmark("variants", found), [prompt])
        if len(asked) != 1:
            raise ConfigError(f'prompt "{prompt}" names {len(asked)} templates; wanted one')
        found = asked[0].benchmark.examples
    if shots:
        found = [in_context(example, shots) for example in found]
    if wrong_labels:
        found = corrupted(found, wrong_labels, _label(kind, found, seed), _if_wrong, seed)
    return found


def _label(kind: str, examples: Sequence[Example], seed: int) -> Label:
    if kind not in KINDS:
        raise ConfigError(f'kind of wrong label is "{kind}"; wanted {", ".join(KINDS)}')
    if kind == "near":
        return lambda example, attempt: made_wrong(example)
    return unguessable(seed) if kind == "unguessable" else of_another(examples, seed)


def _if_wrong(example: Example, label: str) -> Example | None:
    """The example with the label where its verifier says that it is wrong, and can be read."""
    from oneshot_rlvr.verifiers import get_verifier

    try:
        wrong = with_wrong_label(example, RewardConfig(wrong_label=label))
    except ConfigError:  # it is right
        return None
    verifier = get_verifier(wrong.verifier)
    try:
        verifier.check_gold(wrong)  # a gold that no answer can meet would be no label at all
    except DataError:
        return None
    return wrong


def write_examples(
    examples: Sequence[Example],
    published: Published,
    out: str | Path,
    *,
    columns: str = "auto",
    batch: int | None = None,
    overwrite: bool = False,
) -> Path:
    """The examples in a layout (auto: the file's own), each repeated to the batch where given."""
    layout = published.layout if columns == "auto" else columns
    # What changed is not as published any more: the rows are made from the examples.
    rows = rows_in(replace(published, examples=list(examples), layout="changed"), layout)
    return write_rows(out, repeated(rows, batch) if batch else rows, overwrite=overwrite)


def read_shots(paths: Sequence[str | Path]) -> list[Example]:
    """The distinct examples of files, to be put in context."""
    return [example for path in paths for example in load_file(path)]
