"""Stop texts: where an answer ends because it says something, not because of a token.

Texts are known only after decoding, and a stop text may lie across tokens; so engines look at what
is running every few positions (`Stops`), and the answer is cut when all is there (`cut_at_stop`).
Where it is cut does not depend on when it was looked at. No torch. Not here: end-of-text tokens
(`policy/ends.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

EVERY = 32
"""Positions between two looks: what is decoded in vain, at most."""


def texts_of(tokenizer: Any, tokens_N: Sequence[Sequence[int]]) -> list[str]:
    """The texts of token sequences, without special tokens."""
    return list(
        tokenizer.batch_decode(
            tokens_N, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
    )


def cut_at_stop(
    tokens: Sequence[int], text: str, stop: Sequence[str], tokenizer: Any
) -> tuple[int, str] | None:
    """(tokens kept, text kept) of an answer that has a stop text in it; None for any other.

    The tokens are the fewest whose text has one; the text ends before it.
    """
    if not any(words in text for words in stop):
        return None

    def stopped(length: int) -> bool:
        (begun,) = texts_of(tokenizer, [tokens[:length]])
        return any(words in begun for words in stop)

    length = bisect_left(range(len(tokens)), True, key=stopped)
    (begun,) = texts_of(tokenizer, [tokens[:length]])
    found = [place for words in stop if (place := begun.find(words)) >= 0]
    # Only all tokens together may say it: a decoder may strip what ends or begins a text.
    return length, (begun[: min(found)] if found else text[: min(_places(text, stop))])


def _places(text: str, stop: Sequence[str]) -> list[int]:
    return [place for words in stop if (place := text.find(words)) >= 0]


class Stops:
    """Looks whether running answers have said a stop text."""

    def __init__(self, stop: Sequence[str], tokenizer: Any):
        self._stop, self._tokenizer = tuple(stop), tokenizer
        # A character may take four tokens: the end of an answer in which a text could have come.
        self._tail = EVERY + 4 * max(map(len, stop), default=0) + 8

    def __bool__(self) -> bool:
        return bool(self._stop)

    def said(self, tokens_n: Sequence[Sequence[int]]) -> list[bool]:
        """Of each answer so far, looked at no more than `EVERY` tokens ago."""
        if not tokens_n:
            return []  # tokenizers decode an empty batch to one empty text
        tails = texts_of(self._tokenizer, [tokens[-self._tail :] for tokens in tokens_n])
        return [
            any(words in tail for words in self._stop)
            # By itself an end may read otherwise than behind its beginning.
            and any(words in texts_of(self._tokenizer, [tokens])[0] for words in self._stop)
            for tail, tokens in zip(tails, tokens_n, strict=True)
        ]
