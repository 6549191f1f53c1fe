"""A ranking mixed with diversity: what tells examples apart, a column's values or embeddings.

How the two are weighed is in `selection.diversity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.selection import Ranking, diversified
from oneshot_rlvr.types import Example


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
