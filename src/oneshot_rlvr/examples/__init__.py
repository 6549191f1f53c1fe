"""Examples: problems with verified answers, read from files, hubs or the recipe itself.

`load_examples` is what a recipe means; `prompting` turns examples into tokens, `schedule` repeats
them to a batch. Not here: checking a gold with its verifier (`rewards`), benchmarks
(`evaluation`). Torch-free; pyarrow and datasets are imported only when a file needs them.
"""

from oneshot_rlvr.examples.load import (
    Published,
    examples_from_rows,
    load_examples,
    load_file,
    load_published,
)
from oneshot_rlvr.examples.readers import READERS, Row, locate, read_rows

__all__ = [
    "READERS",
    "Published",
    "Row",
    "examples_from_rows",
    "load_examples",
    "load_file",
    "load_published",
    "locate",
    "read_rows",
]
