"""A ranking on disk: its table, and training sets cut from its first examples.

The rows are those of the pool, repeated to a batch; layouts are in `examples.writers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples import Published
from oneshot_rlvr.examples.writers import repeated, rows_in, schema_of, write_rows
from oneshot_rlvr.selection import Ranking

SIZES = (1, 2, 4, 16)
BATCH = 128  # rows of the paper's training sets


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
