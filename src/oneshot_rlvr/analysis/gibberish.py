"""Gibberish: answers that have lost the language in which the run began.

A text is gibberish when it is strange (more than half of its words of three letters or more occur
neither in the answers of the run's first steps nor in its questions) or looping (at least 200
characters that compress to less than a sixth). The paper saw over-fitting as unintelligible
multilingual answers to the training example, the test answers still normal (arXiv 2504.20571,
section 3.2.3). Both marks are relative and rough; read the texts before you believe the rate.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

FIRST_STEPS = 5
FEWEST_WORDS = 5
STRANGE_SHARE = 0.5
LOOPING_BYTES, LOOPING_RATIO = 200, 1 / 6

# Letters of any script; digits and underscores end a word.
_WORD = re.compile(r"[^\W\d_]{3,}")


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """The words of texts, in lower case."""
    known: set[str] = set()
    for text in texts:
        known.update(_WORD.findall(text.lower()))
    return frozenset(known)


def is_gibberish(text: str, known: frozenset[str]) -> bool:
    """Whether the text is strange or looping. Linear in the text."""
    return is_strange(text, known) or is_looping(text)


def is_strange(text: str, known: frozenset[str]) -> bool:
    """More than half of its words are new. A text of fewer than five words is never strange."""
    words = _WORD.findall(text.lower())
    if len(words) < FEWEST_WORDS:
        return False
    return sum(word not in known for word in words) > STRANGE_SHARE * len(words)


def is_looping(text: str) -> bool:
    """It says the same again and again, as its compressed size tells."""
    data = text.encode("utf-8", "replace")
    return len(data) >= LOOPING_BYTES and len(zlib.compress(data, 1)) < LOOPING_RATIO * len(data)
