"""A ranking as files: its table, and training sets cut from its first examples.

The rows are those of the pool, repeated to a batch; layouts are in `examples.writers`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.examples import Published
from oneshot_rlvr.examples.writers import encoded, repeated, rows_in, schema_of
from oneshot_rlvr.selection import Ranking

SIZES = (1, 2, 4, 16)
BATCH = 128  # rows of the paper's training sets


def refuse_no_ranking(path: str | Path, *, overwrite: bool = False) -> None:
    """Before the work: ConfigError for a name that a ranking cannot have, RecordsError where a file
    that is none lies there or cannot be written, and `overwrite` is not given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from oneshot_rlvr.records.files import refuse_taken, refuse_unwritable

    path = Path(path)
    if path.suffix != ".parquet":
        raise ConfigError(f'{path} ends in "{path.suffix}"; a ranking is written as .parquet')
    refuse_unwritable(path.parent)
    if path.exists():
        try:
            ours = b"oneshot_rlvr.score" in (pq.read_schema(path).metadata or {})
        except (OSError, pa.ArrowException):
            ours = False
        if not ours:
            refuse_taken(path, overwrite=overwrite)


def ranking_file(ranking: Ranking, path: str | Path) -> dict[Path, bytes]:
    """The ranking's table as Parquet, and where it goes."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(ranking.to_table(), buffer, compression="zstd")
    return {Path(path): buffer.getvalue()}


def training_sets(
    ranking: Ranking,
    published: Published,
    pool: str | Path,
    folder: str | Path,
    *,
    sizes: Sequence[int] | None = None,
    ranks: Sequence[int] = (),
    batch: int = BATCH,
    columns: str = "auto",
) -> dict[Path, bytes]:
    """Training sets and where they go: of the first k examples for every size, and of the ranks
    given, if any.

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
    paths = {name: Path(folder) / f"{name}_r{batch}.parquet" for name, _ in wanted}
    return {
        paths[name]: encoded(paths[name], repeated([by_id[i] for i in chosen], batch), schema)
        for name, chosen in wanted
    }
