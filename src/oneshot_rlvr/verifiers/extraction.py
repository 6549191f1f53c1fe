r"""Which part of a text is its final answer: one rule for all kinds that read a box.

`strict` (the default, for training): the last complete `\boxed{}` or nothing. `lenient`: a box
first, then other stated final answers (statements.py). The option is `example.extra["extraction"]`.
With `answer_tags = true`, as R1-style prompts ask for them, the last complete
`<answer>...</answer>` is what is read, by the rules of the kind, and a box in it need not be.
"""

from __future__ import annotations

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers.boxed import boxes, last_box
from oneshot_rlvr.verifiers.statements import announced_answer, stated_answer

EXTRACTIONS = ("strict", "lenient")
_OPEN, _CLOSE = "<answer>", "</answer>"


def is_lenient(example: Example) -> bool:
    """Whether the example asks for lenient reading. DataError for an unknown value."""
    value = example.extra.get("extraction") or "strict"
    if value not in EXTRACTIONS:
        raise DataError(
            f'example {example.id!r}: option extraction is {value!r}; wanted "strict" or "lenient".'
        )
    return bool(value == "lenient")


def has_tags(example: Example) -> bool:
    """Whether the example asks for `<answer>` tags. DataError for a value that is no boolean."""
    value = example.extra.get("answer_tags")
    if value is not None and not isinstance(value, bool):
        raise DataError(
            f"example {example.id!r}: option answer_tags is {value!r:.80}; wanted true or false."
        )
    return bool(value)


def tagged(text: str, example: Example) -> str | None:
    """What the last complete `<answer>...</answer>` holds; the text itself without the option.

    None where the tags are asked for and there are none.
    """
    if not has_tags(example):
        return text
    end = text.rfind(_CLOSE)
    start = text.rfind(_OPEN, 0, end) if end >= 0 else -1
    return text[start + len(_OPEN) : end].strip() if start >= 0 else None


def in_tags(text: str, example: Example) -> str:
    """A text as a perfect model states it: in tags where they are asked for."""
    return f"{_OPEN}{text}{_CLOSE}" if text and has_tags(example) else text


def _read(text: str, example: Example, lenient: bool) -> tuple[str, str | None]:
    """The text to read on, and the answer that its box or its tags already state."""
    if not has_tags(example):
        return text, last_box(text)
    inside = tagged(text, example)
    if inside is None:
        return text, last_box(text) if lenient else None
    box = last_box(inside)
    return inside, inside if box is None else box


def _concluded_later(text: str) -> str | None:
    """The answer that "the final answer is X" states behind the last box, which was a step then."""
    found = boxes(text)
    tail = text[found[-1].end :] if found else ""
    return announced_answer(tail) if "final answer" in tail.lower() else None


def final_text(text: str, example: Example) -> str | None:
    """As `final_answer`, for kinds whose answer is a text: lenient ends with the whole text."""
    if "extraction" not in example.extra and "answer_tags" not in example.extra:
        answer = last_box(text)
        return answer.strip() if answer is not None else None
    lenient = is_lenient(example)
    text, answer = _read(text, example, lenient)
    if answer is not None and lenient:
        answer = _concluded_later(text) or answer
    if answer is None and lenient:
        answer = announced_answer(text) or text
    return answer.strip() if answer is not None else None


def final_answer(text: str, example: Example) -> str | None:
    """The final answer that the text states, stripped; "" for an empty box; None for none."""
    if "extraction" not in example.extra and "answer_tags" not in example.extra:
        answer = last_box(text)
        return answer.strip() if answer is not None else None
    lenient = is_lenient(example)
    text, answer = _read(text, example, lenient)
    if answer is not None and lenient:
        answer = _concluded_later(text) or answer
    if answer is None and lenient:
        answer = stated_answer(text, example.question)
    return answer.strip() if answer is not None else None
