"""Every rollout of a run, once: what each step's texts say. Bounded memory, a part at a time.

Counting is done by Arrow on whole columns; parts are read in a few threads, each dropped when it is
counted, so that 2 million rollouts need no more memory than the largest parts. Only a sample of
each step is looked at for gibberish, which needs Python. Not here: what the counts mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from oneshot_rlvr.analysis import gibberish, reflection
from oneshot_rlvr.records import Run

COLUMNS = ("text", "correct", "finished", "reward")


@dataclass(frozen=True, slots=True)
class Pass:
    """`steps`: one row a step; `contexts`: where the words of reflection stood."""

    steps: pd.DataFrame
    contexts: pd.DataFrame


def read_rollouts(
    run: Run,
    patterns: Mapping[str, str] = reflection.PATTERNS,
    *,
    sampled: int = 64,
    threads: int = 2,
) -> Pass:
    """Columns of `steps`: step, rollouts, correct (count), reward (mean), truncated (count),
    characters (mean), word:NAME (answers that say it), any_word, gibberish and looked_at (counts
    among the first `sampled` rollouts of a step).

    The words that count as known for gibberish are those of the first steps and of the questions.
    """
    steps = run.rollout_steps()
    known = gibberish.vocabulary(_first_texts(run, steps[: gibberish.FIRST_STEPS], sampled))
    known |= gibberish.vocabulary(_questions(run))

    def one(step: int) -> tuple[dict[str, float], list[dict[str, object]]] | None:
        table = run.rollout_table_if_whole(step, COLUMNS)
        return None if table is None else _counted(step, table, patterns, known, sampled)

    rows: list[dict[str, float]] = []
    contexts: list[dict[str, object]] = []
    with ThreadPoolExecutor(threads) as pool:
        for counted in filter(None, pool.map(one, steps)):
            rows.append(counted[0])
            contexts += counted[1]
    return Pass(
        pd.DataFrame(rows, columns=None if rows else ["step"]),
        reflection.spread(pd.DataFrame(contexts, columns=list(reflection.CONTEXT_COLUMNS))),
    )


def _counted(
    step: int,
    table: pa.Table,
    patterns: Mapping[str, str],
    known: frozenset[str],
    sampled: int,
) -> tuple[dict[str, float], list[dict[str, object]]]:
    text = table["text"]
    counts, contexts = reflection.count(step, text, patterns)
    looked = text.slice(0, sampled).to_pylist()
    strange = sum(gibberish.is_gibberish(item, known) for item in looked if item is not None)
    finished = pc.sum(table["finished"]).as_py() or 0
    row = {
        "step": step,
        "rollouts": len(table),
        "correct": pc.sum(table["correct"]).as_py() or 0,
        "reward": pc.mean(table["reward"]).as_py(),
        "truncated": len(table) - finished,
        "characters": pc.mean(pc.utf8_length(text)).as_py(),
        **counts,
        "gibberish": strange,
        "looked_at": len(looked),
    }
    return row, contexts


def _first_texts(run: Run, steps: Sequence[int], sampled: int) -> list[str]:
    return [
        text
        for step in steps
        for table in [run.rollout_table_if_whole(step, ["text"])]
        if table is not None
        for text in table["text"].slice(0, sampled).to_pylist()
        if text
    ]


def _questions(run: Run) -> list[str]:
    examples = run.info.get("examples")
    items = [examples] if isinstance(examples, Mapping) else examples or []
    return [str(item.get("question", "")) for item in items if isinstance(item, Mapping)]
