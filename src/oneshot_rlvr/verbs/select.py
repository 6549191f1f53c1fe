"""Which example: a pool, its history from wherever it comes, a ranking, and training sets cut.

Orchestration of `selection` (scores), `pool` (what a model makes of the pool) and
`examples.writers`; what the verb `select` calls. Not here: the scores, or printing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from oneshot_rlvr.config import Recipe
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.examples import Published
from oneshot_rlvr.examples.writers import repeated, rows_in, schema_of, write_rows
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.selection import (
    SCORES,
    History,
    Ranking,
    diversified,
    from_run,
    from_samples,
    rank,
    read_history,
)
from oneshot_rlvr.selection.history import without_visits
from oneshot_rlvr.types import Example

if TYPE_CHECKING:
    from oneshot_rlvr.verbs.pool import Cost

SIZES = (1, 2, 4, 16)
BATCH = 128  # rows of the paper's training sets


@dataclass(frozen=True, slots=True)
class Selection:
    """The ranking, what making its history cost (None: it was there), and the files written."""

    ranking: Ranking
    examples: Mapping[str, Example]
    cost: Cost | None
    notes: list[str]
    files: list[Path]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the history comes from: exactly one of `path`, `recipe`, `rollouts`; none for scores
    that need none. `model` and `model_recipe` are for a probe, `visits` and `out` for a recipe."""

    path: str | Path | None = None
    recipe: Recipe | None = None
    visits: int | None = None
    out: Path | None = None
    rollouts: int | None = None
    model: str = ""
    model_recipe: Recipe | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None


def default_score(source: Source) -> str:
    """The paper's variance where there are visits; for a probe, closeness to 1/2."""
    return "pass_rate" if source.rollouts is not None else "variance"


def history_of(
    source: Source,
    pool: str | Path,
    examples: Sequence[Example],
    *,
    score: str,
    verifier: str,
    seed: int,
    progress: Any = None,
    answered: Callable[[int, int], None] | None = None,
) -> tuple[History, Cost | None, list[str]]:
    """The pool's history, what it cost, and what was noted on the way."""
    ids = [example.id for example in examples]
    if source.path is not None:
        return read_history(source.path).of_pool(ids), None, []
    if source.recipe is not None:
        from oneshot_rlvr.verbs.pool import train_over

        out = source.out or Path("runs") / f"history-{Path(pool).stem}"
        tried = train_over(
            source.recipe,
            pool,
            examples,
            verifier=verifier,
            visits=source.visits,
            out=out,
            progress=progress,
        )
        assert tried.run is not None
        return from_run(tried.run).of_pool(ids), tried.cost, tried.notes
    if source.rollouts is not None:
        from oneshot_rlvr.verbs.pool import probe

        tried = probe(
            source.model,
            source.model_recipe or Recipe(),
            examples,
            rollouts=source.rollouts,
            temperature=source.temperature,
            seed=seed,
            max_new_tokens=source.max_new_tokens,
            progress=answered,
        )
        return from_samples(tried.samples).of_pool(ids), tried.cost, tried.notes
    if SCORES.load(score).visits:
        raise ConfigError(
            f"score {score} needs a history: give one (--history), make one (--make-history "
            "RECIPE), or ask the base (--probe N --model MODEL). Without one there are "
            f"{', '.join(name for name in SCORES if not SCORES.load(name).visits)}."
        )
    return without_visits(ids), None, []


def mixed(
    ranking: Ranking,
    examples: Sequence[Example],
    *,
    count: int,
    weight: float,
    category: str | None,
    embeddings: str | Path | None,
) -> Ranking:
    """The ranking with its first `count` taken for diversity as well (`selection.diversity`)."""
    if not weight:
        if category is not None or embeddings is not None:
            raise ConfigError(
                "a category or embeddings are for a mix with diversity; set its weight "
                "(--diversity 0.5)"
            )
        return ranking
    vectors = None if embeddings is None else read_embeddings(embeddings, ranking.history.ids)
    labels = None
    if category is not None or embeddings is None:
        labels = _labels(examples, category or "domain")
    return diversified(ranking, count, weight, categories=labels, embeddings_E_D=vectors)


def _labels(examples: Sequence[Example], category: str) -> list[str]:
    labels = [
        str(getattr(e, category) if category in ("domain", "family") else e.extra.get(category, ""))
        for e in examples
    ]
    if len(set(labels)) < 2:
        known = ["domain", "family", *dict.fromkeys(key for e in examples for key in e.extra)]
        raise DataError(
            f"every example has the same {category} ({labels[0]!r}), which tells none apart; name "
            f"another column (--category; there are {', '.join(known[:12])}) or give --embeddings."
            f"{nearest(category, known) if category not in known else ''}"
        )
    return labels


def read_embeddings(path: str | Path, ids: Sequence[str]) -> np.ndarray:
    """One vector an id, in their order, from a Parquet file with the columns id and embedding."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} is not readable Parquet: {' '.join(str(error).split())}"
        ) from error
    if not {"id", "embedding"} <= set(table.column_names):
        raise DataError(
            f"{path} has the columns {', '.join(table.column_names)}; wanted id and embedding "
            "(a list of numbers)"
        )
    names = [str(name) for name in table["id"].to_pylist()]
    known = dict(zip(names, table["embedding"].to_pylist(), strict=True))
    if len(known) < len(names):
        raise DataError(f"{path} gives {len(names) - len(known)} ids more than one embedding")
    missing = [name for name in ids if known.get(name) is None]
    if missing:
        raise DataError(
            f"{path} has no embedding for {len(missing)} of {len(ids)} examples, the first "
            f"{missing[0]!r}"
        )
    vectors = [known[name] for name in ids]
    sizes = {len(vector) for vector in vectors}
    if len(sizes) > 1:
        raise DataError(
            f"{path} has embeddings of {min(sizes)} to {max(sizes)} numbers; wanted one"
        )
    return np.array(vectors, dtype=np.float64)


def write_ranking(ranking: Ranking, path: str | Path) -> Path:
    """The ranking's table as Parquet."""
    import pyarrow.parquet as pq

    path = Path(path)
    if path.suffix != ".parquet":
        raise ConfigError(f'{path} ends in "{path.suffix}"; a ranking is written as .parquet')
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(ranking.to_table(), path, compression="zstd")
    return path


def write_sets(
    ranking: Ranking,
    published: Published,
    pool: str | Path,
    folder: str | Path,
    *,
    sizes: Sequence[int] | None = None,
    ranks: Sequence[int] = (),
    batch: int = BATCH,
    columns: str = "auto",
) -> list[Path]:
    """Training sets: of the first k examples for every size, and of the ranks given, if any.

    `sizes` None takes 1, 2, 4 and 16 as far as the pool has them. ConfigError for a size or rank
    that the pool has not; DataError for more examples than the batch has rows.
    """
    ids = ranking.ids
    if sizes is None:
        sizes = [size for size in SIZES if size <= min(len(ids), batch)]
    for number in (*sizes, *ranks):
        if not 1 <= number <= len(ids):
            raise ConfigError(f"rank {number} is asked for; the pool has 1 to {len(ids):,}")
    rows = rows_in(published, columns)
    by_id = {e.id: row for e, row in zip(published.examples, rows, strict=True)}
    schema = schema_of(pool) if columns in ("auto", published.layout) else None
    wanted = [(f"top{size}", ids[:size]) for size in sizes]
    if ranks:
        name = "rank" + "-".join(str(number) for number in ranks)
        wanted.append((name, [ids[number - 1] for number in ranks]))
    return [
        write_rows(
            Path(folder) / f"{name}_r{batch}.parquet",
            repeated([by_id[i] for i in chosen], batch),
            schema,
        )
        for name, chosen in wanted
    ]


def choose(
    published: Published,
    pool: str | Path,
    source: Source,
    *,
    score: str | None = None,
    verifier: str = "math_answer",
    seed: int = 0,
    diversity: float = 0.0,
    category: str | None = None,
    embeddings: str | Path | None = None,
    mixed_first: int = SIZES[-1],
    progress: Any = None,
    answered: Callable[[int, int], None] | None = None,
) -> Selection:
    """The pool's ranking; no file is written but the run of a history that is made."""
    score = score or default_score(source)
    SCORES.load(score)  # an unknown name is told before anything is trained
    examples = published.examples
    history, cost, notes = history_of(
        source,
        pool,
        examples,
        score=score,
        verifier=verifier,
        seed=seed,
        progress=progress,
        answered=answered,
    )
    ranking = mixed(
        rank(history, score, seed=seed),
        examples,
        count=mixed_first,
        weight=diversity,
        category=category,
        embeddings=embeddings,
    )
    by_id = {example.id: example for example in examples}
    return Selection(ranking, by_id, cost, notes + ranking.notes(), [])
