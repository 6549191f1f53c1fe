"""A benchmark: its questions as Examples, from a file, the hub, or a generator.

`load_benchmark` is the one reader for shipped TOML files, users' own and plain example files. A
benchmark keeps every published row, in order. Not here: what the TOML may say (description.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import BenchmarkConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation.benchmarks import BENCHMARKS
from oneshot_rlvr.evaluation.builders import BUILDERS, Builder
from oneshot_rlvr.evaluation.description import (
    PLACEHOLDER,
    Decoding,
    Description,
    Schema,
    read_description,
)
from oneshot_rlvr.examples import READERS, Row, load_file, locate, read_rows
from oneshot_rlvr.examples.columns import to_example
from oneshot_rlvr.examples.controls import without_suffix
from oneshot_rlvr.examples.gold import FORMS
from oneshot_rlvr.examples.readers import names_a_file
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.types import Example

_CORE = ("id", "question", "answer", "domain", "family")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Questions with golds, ids unique. `decoding` is how its published numbers were sampled.

    `bare` has the questions themselves by id, without prompt and options; an example that is not in
    it is its own.
    """

    name: str
    examples: list[Example]
    description: str = ""
    decoding: Decoding = field(default_factory=Decoding)
    bare: Mapping[str, str] = field(default_factory=dict)

    def bare_question(self, example: Example) -> str:
        """What is asked, without what a prompt puts around it."""
        return self.bare.get(example.id) or without_suffix(example).question


def load_benchmark(config: BenchmarkConfig, data_dir: str | Path | None = None) -> Benchmark:
    """The benchmark that a recipe's table names.

    `benchmark` is a shipped name, the path of a TOML file, or "file" with `path`, a file of
    examples. Files are looked for in `data_dir`, then in $ONESHOT_DATA_DIR, there with or without
    the folder that the benchmark names and under any suffix that is read (.jsonl, .parquet ...); a
    benchmark found nowhere there is read from its hub. `questions` keeps the first n (generated: n
    a family).
    ConfigError for an unknown name; DataError for questions that cannot be read, or that are not
    as many as were published.
    """
    if data_dir is not None and not Path(data_dir).is_dir():
        raise DataError(f"{data_dir} is not a directory; give the folder that holds the data.")
    folders = [Path(data_dir)] if data_dir else []
    if config.benchmark == "file":
        return _from_examples(config, folders)
    if config.benchmark not in BENCHMARKS and names_a_file(config.benchmark):
        named = config.model_copy(update={"benchmark": "file", "path": config.benchmark})
        return _from_examples(named, folders)
    if config.benchmark.endswith(".toml"):
        path = Path(config.benchmark).expanduser()
        name, described = path.stem, read_description(path)
        folders = [path.parent, *folders]
    elif config.benchmark in BENCHMARKS:
        name, described = config.benchmark, BENCHMARKS.load(config.benchmark)
    else:
        raise ConfigError(
            f'benchmark is "{config.benchmark}".{nearest(config.benchmark, BENCHMARKS)} '
            f'Known: {", ".join(BENCHMARKS)}; or the path of a .toml file; or "file" with a path.'
        )
    if described.generator is not None:
        asked = _generated(config, described)
    else:
        asked = _published(name, described, config.path, folders)[: config.questions or None]
    return Benchmark(
        name,
        [example for example, _ in asked],
        described.title or name,
        described.decoding,
        {example.id: bare for example, bare in asked},
    )


def _from_examples(config: BenchmarkConfig, folders: Sequence[Path]) -> Benchmark:
    if config.path is None:
        raise ConfigError('benchmark is "file" but path is not set; give the file of examples.')
    examples = load_file(config.path, split=config.split, folders=folders)
    name = Path(config.path).name.partition(".")[0] or "file"
    return Benchmark(name, examples[: config.questions or None], f"examples of {config.path}")


def _generated(config: BenchmarkConfig, described: Description) -> list[tuple[Example, str]]:
    """`questions` items of every family, of the split and seed asked for, each with its question
    as it is without a prompt."""
    count = config.questions or described.per_family
    if described.generator == "arithmetic":
        from oneshot_rlvr.evaluation import arithmetic

        drawn = arithmetic.generate(config.seed, count, config.split)
        return [(_prompted(example, described), example.question) for example in drawn]
    from oneshot_rlvr.tiny import tasks

    wanted = described.domains or [family.domain for family in tasks.FAMILIES.values()]
    return [
        (example, example.question)
        for name, family in tasks.FAMILIES.items()
        if family.domain in wanted
        for example in tasks.generate(name, config.seed, count, config.split)
    ]


def _prompted(example: Example, described: Description) -> Example:
    """A generated example with the description's prompt, system turn and options."""
    question = described.prompt.replace("{question}", example.question)
    return dataclasses.replace(
        example,
        question=question,
        messages=tuple(_chat(question, described)),
        extra={**described.options, **example.extra},
    )


def _chat(prompt: str, described: Description) -> list[dict[str, str]]:
    user = {"role": "user", "content": prompt}
    return [{"role": "system", "content": described.system}, user] if described.system else [user]


def _published(
    name: str, described: Description, path: str | None, folders: Sequence[Path]
) -> list[tuple[Example, str]]:
    """All rows of the file at `path`, of the benchmark's own file, or of its hub's copy."""
    wanted = path or described.file
    if path is None and described.hub is not None:
        found = _local(wanted, folders) if wanted else None
        wanted = None if found is None else str(found)
    from_hub = wanted is None
    schema = described.schema_of(hub=from_hub)
    if wanted is not None:
        rows = read_rows(wanted, folders=folders)
    elif described.hub is not None:
        rows = read_rows(described.hub.path, split=described.hub.split)
    else:
        raise DataError(f'The benchmark "{name}" names no file and no hub data set.')
    # A file that the user names may be a part of the benchmark; the published one must be whole.
    if path is None and schema.rows is not None and len(rows) != schema.rows:
        raise DataError(
            f'The benchmark "{name}" was published with {schema.rows} rows and '
            f"{wanted or (described.hub and described.hub.id)} has {len(rows)}; "
            "it is cut, or another version."
        )
    examples = [_example(row, number, described, schema) for number, row in enumerate(rows)]
    if not examples:
        raise DataError(f'The benchmark "{name}" has no rows in {wanted}.')
    _refuse_double_ids(name, [example for example, _ in examples])
    return examples


def _local(file: str, folders: Sequence[Path]) -> Path | None:
    """The benchmark's file, in its folder or not, under any suffix that is read; None: nowhere."""
    path = Path(file)
    stem = path.name.partition(".")[0]
    suffixes = [known + packed for known in READERS for packed in ("", ".gz")]
    names = [path.name, *(f"{stem}{suffix}" for suffix in suffixes)]
    for name in dict.fromkeys([*(str(path.parent / n) for n in names), *names]):
        found = locate(name, folders)
        if found is not None:
            return found
    return None


def _example(row: Row, number: int, described: Description, schema: Schema) -> tuple[Example, str]:
    """One published row, in our columns, with the benchmark's prompt around its question; and the
    question itself."""
    columns = {"question": "question", "answer": "answer"} | (schema.columns or {})
    if described.builder is not None:
        builder: Builder = BUILDERS.load(described.builder)
        _refuse_missing(row, builder.needs, "this benchmark")
        try:
            row = Row(row.where, {**row.fields, **builder.build(row.fields)})
        except (ValueError, TypeError, LookupError) as error:
            raise DataError(f"{row.where} does not fit this benchmark: {error}.") from None
        columns |= {name: name for name in builder.makes}
    fields = {ours: value for ours in columns if (value := _taken(row, columns[ours])) is not None}
    for ours in {"question", "answer", *PLACEHOLDER.findall(described.prompt)}:
        if fields.get(ours) is None:
            theirs = columns.get(ours, ours)
            _refuse_missing(row, [theirs] if isinstance(theirs, str) else theirs, f"the {ours}")
            raise DataError(f'{row.where} has nothing in "{theirs}", which gives the {ours}.')
    try:
        gold = FORMS[schema.gold or "plain"](fields["answer"])
    except TypeError as error:
        raise DataError(f'{row.where}, field "{columns["answer"]}", is {error}.') from None
    if gold is None:
        raise DataError(f'{row.where} has no gold in "{columns["answer"]}" (form {schema.gold}).')
    if described.shuffle:
        fields["choices"] = _shuffled(row, fields)
    prompt = PLACEHOLDER.sub(lambda m: _shown(m[1], fields.get(m[1], m[0])), described.prompt)
    drafted: dict[str, Any] = {"id": number, **described.options, **fields}
    drafted |= {"messages": _chat(prompt, described), "question": None, "answer": gold}
    example = to_example(Row(row.where, drafted), "own", verifier=described.verifier)
    return example, str(fields["question"])


def _taken(row: Row, theirs: str | Sequence[str]) -> Any:
    """A column as it is; several as one list, lists among them joined to it, blanks left out."""
    if isinstance(theirs, str):
        return row.fields.get(theirs)
    values: list[Any] = []
    for name in theirs:
        value = row.fields.get(name)
        values += value if isinstance(value, list | tuple) else [value]
    kept = [value for value in values if value is not None and value != ""]
    return kept or None


def _refuse_missing(row: Row, wanted: Sequence[str], purpose: str) -> None:
    for name in wanted:
        if row.fields.get(name) is None:
            known = ", ".join(row.fields)
            takes = purpose if purpose == "this benchmark" else f"this benchmark takes {purpose}"
            verb = "which this benchmark needs" if takes == purpose else f"from which {takes}"
            raise DataError(
                f'{row.where} has no "{name}", {verb}; it has {known}.'
                f"{nearest(name, [n for n in row.fields if row.fields[n] is not None])}"
            )


def _shuffled(row: Row, fields: Mapping[str, Any]) -> list[Any]:
    """The options in an order that the row's own id draws: the same for every model and seed."""
    choices = fields.get("choices")
    if not isinstance(choices, list | tuple) or len(choices) < 2:
        raise DataError(f"{row.where} has no list of choices to shuffle.")
    key = str(fields.get("id", fields["question"])).encode()
    seed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    return random.Random(seed).sample(list(choices), len(choices))


def _shown(name: str, value: Any) -> str:
    """A field inside a prompt: text as it is; options as lines "A. text", other lists as lines."""
    if isinstance(value, Mapping) and {"label", "text"} <= set(value):
        pairs = list(zip(value["label"], value["text"], strict=True))
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list | tuple) and name != "choices":
        return "\n".join(str(item) for item in value)
    elif isinstance(value, list | tuple):
        pairs = list(zip(string.ascii_uppercase, value, strict=False))
    else:
        return str(value)
    return "\n".join(f"{label}. {text}" for label, text in pairs)


def _refuse_double_ids(name: str, examples: Sequence[Example]) -> None:
    seen: dict[str, int] = {}
    for number, example in enumerate(examples):
        if example.id in seen:
            raise DataError(
                f'The benchmark "{name}" gives the id "{example.id}" to rows {seen[example.id]} '
                f"and {number}; ids must be unique, or leave the id column out."
            )
        seen[example.id] = number
