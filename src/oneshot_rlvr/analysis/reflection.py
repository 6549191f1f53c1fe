"""Self-reflection: how many answers say that they rethink, recheck, recalculate or wait.

The first three are the paper's (arXiv 2504.20571, section 3.2.4); `wait` is the word that reasoning
models are watched for; a user may add others. Rates are answers per 100 answers, an answer counting
once however often it says the word. Saying so is not doing so: read the contexts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from oneshot_rlvr.errors import ConfigError

# Any inflection, with or without a hyphen; RE2 and Python read them alike. The first three together
# are what `records.summary.rechecks` counts.
PATTERNS = {
    "rethink": r"\bre-?think",
    "recheck": r"\bre-?check",
    "recalculate": r"\bre-?calculat",
    "wait": r"\bwait\b",
}

CONTEXT_COLUMNS = ("word", "step", "before", "said", "after")
CONTEXT_CHARS = 60  # on either side
CONTEXTS_A_WORD = 10

RATE_COLUMNS = ("word", "steps", "answers", "per_100")


def with_words(words: Sequence[str]) -> dict[str, str]:
    """The patterns and a user's own words or phrases, found as they are spelt, in any case."""
    patterns = dict(PATTERNS)
    for word in words:
        plain = " ".join(word.split())
        if not plain:
            raise ConfigError("a word to look for is empty; give words such as hmm or let me check")
        if plain.lower() not in patterns:
            left = r"\b" if plain[0].isalnum() else ""
            right = r"\b" if plain[-1].isalnum() else ""
            # One space in the phrase is any white space in the text.
            body = r"\s+".join(re.escape(part) for part in plain.split())
            patterns[plain.lower()] = left + body + right
    return patterns


def count(
    step: int, text: pa.ChunkedArray, patterns: Mapping[str, str]
) -> tuple[dict[str, int], list[dict[str, object]]]:
    """({"word:NAME": answers, "any_word": answers}, one context a word) of a step's texts."""
    # One pass with all words together: few answers say any, and only these are looked at again.
    together = "|".join(f"(?:{pattern})" for pattern in patterns.values())
    said = pc.match_substring_regex(text, together, ignore_case=True)
    some = text.filter(said)
    counts = {"any_word": len(some)}
    contexts: list[dict[str, object]] = []
    for word, pattern in patterns.items():
        here = pc.match_substring_regex(some, pattern, ignore_case=True)
        counts[f"word:{word}"] = pc.sum(here).as_py() or 0
        if counts[f"word:{word}"]:
            contexts += _context(step, word, pattern, some.filter(here)[0].as_py())
    return counts, contexts


def _context(step: int, word: str, pattern: str, text: str) -> list[dict[str, object]]:
    found = _compiled(pattern).search(text)
    if found is None:  # RE2's word boundary is ASCII's; the pattern asks Python for the same
        return []
    before = text[max(0, found.start() - CONTEXT_CHARS) : found.start()]
    after = text[found.end() : found.end() + CONTEXT_CHARS]
    said = found[0]
    return [{"word": word, "step": step, "before": before, "said": said, "after": after}]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


def spread(contexts: pd.DataFrame) -> pd.DataFrame:
    """Ten contexts a word, spread over the steps that have one."""
    kept = []
    for _, rows in contexts.groupby("word", sort=False):
        places = np.linspace(0, len(rows) - 1, min(len(rows), CONTEXTS_A_WORD)).round().astype(int)
        kept.append(rows.iloc[np.unique(places)])
    return pd.concat(kept, ignore_index=True) if kept else contexts


def rates(steps: pd.DataFrame, parts: int = 3) -> pd.DataFrame:
    """Answers per 100 that say each word, in `parts` equal stretches of the run's steps."""
    rows: list[dict[str, object]] = []
    words = [name for name in steps.columns if name.startswith("word:") or name == "any_word"]
    for chunk in np.array_split(np.arange(len(steps)), min(parts, len(steps)) or 1):
        stretch = steps.iloc[chunk]
        if stretch.empty:
            continue
        answers = int(stretch["rollouts"].sum())
        span = f"{int(stretch['step'].iloc[0])}-{int(stretch['step'].iloc[-1])}"
        for name in words:
            rows.append(
                {
                    "word": name.removeprefix("word:").replace("any_word", "any of them"),
                    "steps": span,
                    "answers": answers,
                    "per_100": 100 * float(stretch[name].sum()) / answers,
                }
            )
    return pd.DataFrame(rows, columns=list(RATE_COLUMNS))
