"""Controls made on purpose from examples: wrong labels, other prompts, the example in context.

    corrupted     a share of the examples gets a wrong gold, guessable or not (arXiv 2504.20571,
                  tables 5 and 12: a near label costs little, an unguessable one much)
    asked_as      the same example with its question in other words
    in_context    other questions, with the example and its answer before them and no training

Pure: examples in, examples out, a seed for randomness. Which labels are wrong is for a verifier to
say, so it is passed in. Not here: files, prompt templates (`evaluation.prompts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example

TRUE_ANSWER = "true_answer"
"""Key of `Example.extra` that keeps the gold which a wrong label stands for."""

PAPER_SUFFIX = "Let's think step by step and output the final answer within \\boxed{}."
"""What ends every prompt of the paper's pool."""

Label = Callable[[Example, int], str]
"""(example, attempt from 0) -> a label that is meant to be wrong."""

ATTEMPTS = 20


def corrupted(
    examples: Sequence[Example],
    share: float,
    label: Label,
    relabelled: Callable[[Example, str], Example | None],
    seed: int = 0,
) -> list[Example]:
    """The examples in their order, round(share * E) of them with a wrong gold.

    relabelled: gives the example with the label, or None where the label is not wrong; up to 20
    labels are tried. Which examples are taken depends on seed and ids alone, and those of a smaller
    share are among those of a larger one. The true gold stays in `extra["true_answer"]`. DataError:
    a share outside 0..1, or an example for which no wrong label is found.
    """
    if not 0 <= share <= 1:
        raise DataError(f"the share of wrong labels is {share:g}; wanted 0 to 1")
    order = sorted(examples, key=lambda e: _draw(seed, e.id, 0))
    taken = {e.id for e in order[: round(share * len(examples))]}
    return [_corrupted(e, label, relabelled) if e.id in taken else e for e in examples]


def _corrupted(
    example: Example, label: Label, relabelled: Callable[[Example, str], Example | None]
) -> Example:
    for attempt in range(ATTEMPTS):
        wrong = relabelled(example, label(example, attempt))
        if wrong is not None:
            return replace(wrong, extra={**wrong.extra, TRUE_ANSWER: example.answer})
    raise DataError(
        f"no wrong label was found for example {example.id!r} (verifier {example.verifier}, gold "
        f"{example.answer!r:.80}) in {ATTEMPTS} attempts; leave it out or choose another kind"
    )


def unguessable(seed: int = 0) -> Label:
    """Six-digit numbers that have nothing to do with the question: no rollout comes upon them."""

    def label(example: Example, attempt: int) -> str:
        return str(100_000 + _draw(seed, example.id, attempt + 1) % 900_000)

    return label


def of_another(examples: Sequence[Example], seed: int = 0) -> Label:
    """Golds of other examples of the same verifier: wrong, but of the right kind."""
    golds: dict[str, list[str]] = {}
    for example in examples:
        golds.setdefault(example.verifier, []).append(example.answer)

    def label(example: Example, attempt: int) -> str:
        known = golds[example.verifier]
        return known[_draw(seed, example.id, attempt + 1) % len(known)]

    return label


def asked_as(example: Example, question: str) -> Example:
    """The same example, its last user turn in other words; other turns stay."""
    if not question.strip():
        raise DataError(f"the other wording of example {example.id!r} is blank")
    if not example.messages:
        return replace(example, question=question)
    last = max(i for i, turn in enumerate(example.messages) if turn["role"] == "user")
    turn = {"role": "user", "content": question}
    messages = (*example.messages[:last], turn, *example.messages[last + 1 :])
    return replace(example, question=question, messages=messages)


def without_suffix(example: Example, suffix: str = PAPER_SUFFIX) -> Example:
    """The example without the sentence that a published prompt ends with; as it is without one."""
    question = example.question.rstrip()
    if not question.endswith(suffix):
        return example
    return asked_as(example, question.removesuffix(suffix).rstrip())


def in_context(example: Example, shots: Sequence[Example]) -> Example:
    """The example asked after others and their answers, each a turn of the user and of the
    assistant; with `extra["solution"]` where a shot has one, else its gold in a box.

    The example's own system turn stays first. DataError where a shot is the example itself.
    """
    if any(shot.id == example.id or shot.question == example.question for shot in shots):
        raise DataError(
            f"example {example.id!r} is among those put before it in context, which gives its "
            "answer away"
        )
    chat = example.chat()
    system = [turn for turn in chat[:1] if turn["role"] == "system"]
    before = [
        turn
        for shot in shots
        for turn in (
            {"role": "user", "content": shot.question},
            {"role": "assistant", "content": worked(shot)},
        )
    ]
    return replace(example, messages=(*system, *before, *chat[len(system) :]))


def worked(example: Example) -> str:
    """An answer to show: the solution that the example carries, else its boxed gold."""
    solution = example.extra.get("solution")
    if isinstance(solution, str) and solution.strip():
        return solution.strip()
    return f"The answer is \\boxed{{{example.answer}}}."


def _draw(seed: int, name: str, number: int) -> int:
    """A number from seed and name alone (64 bits of SHA-256)."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}:{name}".encode()).digest()[:8])
