r"""Which part of a text is its final answer: one rule for all kinds that read a box.

`strict` (the default, for training): the last complete `\boxed{}` or nothing. `lenient`: a box
first, then other stated final answers (statements.py). The option is `example.extra["extraction"]`.
"""

from __future__ import annotations

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.statements import announced_answer, stated_answer

EXTRACTIONS = ("strict", "lenient")


def is_lenient(example: Example) -> bool:
    """Whether the example asks for lenient reading. DataError for an unknown value."""
    value = example.extra.get("extraction") or "strict"
    if value not in EXTRACTIONS:
        raise DataError(
            f'example {example.id!r}: option extraction is {value!r}; wanted "strict" or "lenient".'
        )
    return bool(value == "lenient")


def final_text(text: str, example: Example) -> str | None:
    """As `final_answer`, for kinds whose answer is a text: lenient ends with the whole text."""
    answer = last_box(text)
    if answer is None and is_lenient(example):
        answer = announced_answer(text) or text
    return answer.strip() if answer is not None else None


def final_answer(text: str, example: Example) -> str | None:
    """The final answer that the text states, stripped; "" for an empty box; None for none."""
    lenient = is_lenient(example)
    answer = last_box(text)
    if answer is None and lenient:
        answer = stated_answer(text, example.question)
    return answer.strip() if answer is not None else None
