"""Where a study and its runs lie, and whether a folder's study is the one that its file now says.

    runs/studies/NAME/     study.json and study.toml: the study as it was when it began, with the
                           file's hash; result.json, results.parquet, tables, study.html, logs/
    runs/arms/IDENTITY/    a run of any study: recipe.toml, run/ (as `oneshot train` writes it)
                           and answers/, graded; of a base model the answers alone

study.json is written before anything runs: the file's tables, what the recipes that they name came
to, and a hash of every file that is read. Not here: what is in the runs (`tasks`, `gather`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oneshot_rlvr.errors import ConfigError, RecordsError
from oneshot_rlvr.records.files import to_json, write_atomic
from oneshot_rlvr.study.file import StudyFile
from oneshot_rlvr.study.identity import NO_IDENTITY, code_version, content

STUDIES, ARMS = Path("runs/studies"), Path("runs/arms")
REGISTERED, COPY, LOCK = "study.json", "study.toml", "study.lock"
RESULT, TABLE, MARKDOWN, LATEX, PAGE = (
    "result.json",
    "results.parquet",
    "table.md",
    "table.tex",
    "study.html",
)
_FREE = ("name", "title", "note")
"""What may change after runs: words."""


def study_folder(
    file: StudyFile, out: str | Path | None = None, *, new: bool = False, trial: str = ""
) -> Path:
    """The folder of this very study, or the one in which it may begin. `trial`: what of the file
    was replaced for now, in a name's letters; such a study is not the file's and lies beside it.

    ConfigError where the file has changed since runs were made, with the keys; `new` then takes the
    next free folder, NAME-2 ...
    """
    name = f"{file.study.name}-{trial}" if trial else file.study.name
    first = Path(out) if out is not None else STUDIES / name
    if first.exists() and not first.is_dir():
        raise ConfigError(f"{first} is a file; give the study a folder with --out.")
    changed: list[str] = []
    for folder in _numbered(first):
        if not (folder / REGISTERED).exists():
            if not changed or new:
                return folder
            break
        changed = _changed(folder, file)
        if not changed:
            return folder
        latest = folder
    raise ConfigError(
        f"{file.path} has changed since its runs in {latest} were made ({'; '.join(changed[:5])}). "
        "What is claimed stands before the runs: put it back, or start another study with --new."
    )


def _numbered(first: Path) -> Iterator[Path]:
    yield first
    number = 2
    while True:
        yield first.with_name(f"{first.name}-{number}")
        number += 1


def _changed(folder: Path, file: StudyFile) -> list[str]:
    """What of the study is not as it was: its own keys, else those of the recipes that it names,
    else the files that these read."""
    told = registered(folder)
    was, now = _placeless(told["study"], file), tables_of(file)
    found = [c for c in changes(was, now) if c.split(" ")[0].split(".")[0] not in _FREE]
    if found or "recipes" not in told:  # of an earlier version
        return found
    was, now = told["recipes"], recipes_of(file)
    known = {key: value for key, value in now["base"].items() if key in was["base"]}
    found = [f"its base recipe's {change}" for change in changes(was["base"], known)]
    found += [f"arms.{change}" for change in changes(was["arms"], now["arms"])]
    files = inputs_of(file)
    return found or [
        f"{key} holds something else" for key, value in told["inputs"].items()
        if files.get(key, value) != value
    ]  # fmt: skip


def tables_of(file: StudyFile) -> dict[str, Any]:
    """The study's own tables."""
    found: dict[str, Any] = _placeless(file.study.model_dump(mode="json"), file)
    return found


def _placeless(told: Any, file: StudyFile) -> Any:
    """Without the folder of the study's file before what lies there: it may be moved."""
    if isinstance(told, dict):
        return {key: _placeless(value, file) for key, value in told.items()}
    if isinstance(told, list):
        return [_placeless(value, file) for value in told]
    return told.removeprefix(f"{file.path.parent}/") if isinstance(told, str) else told


def recipes_of(file: StudyFile) -> dict[str, dict[str, Any]]:
    """The base recipe, dotted, and of each arm the keys in which it is another; without what counts
    for no run."""
    base = _flat(file.base.model_dump(mode="json"))
    arms = {}
    for arm in file.arms.values():
        own = _flat(arm.recipe.model_dump(mode="json"))
        arms[arm.name] = {k: own.get(k) for k in {**base, **own} if own.get(k) != base.get(k)}
    found: dict[str, dict[str, Any]] = _placeless({"base": base, "arms": arms}, file)
    return found


def _flat(tables: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tables.items():
        dotted = f"{at}.{key}".strip(".")
        if dotted in NO_IDENTITY:
            continue
        if isinstance(value, dict) and value:
            found |= _flat(value, dotted)
        else:
            found[dotted] = value
    return found


def inputs_of(file: StudyFile) -> dict[str, Any]:
    """A hash of every file and folder here that the study's runs read, by key."""
    paths = {f"benchmarks.{n}.path": one.path for n, one in file.study.benchmarks.items()}
    for name, recipe in {
        "base": file.base,
        **{a.name: a.recipe for a in file.arms.values()},
    }.items():
        paths[f"examples.path of {name}"] = recipe.examples.path
        paths[f"model.path of {name}"] = recipe.model.path
    validation = file.base.evaluation.validation
    paths["evaluation.validation.path"] = validation.path if validation else None
    return {key: content(path) for key, path in paths.items() if path and Path(path).exists()}


def changes(was: Any, now: Any, key: str = "") -> list[str]:
    """Dotted keys whose values differ, with both values; of lists of tables by number."""
    if isinstance(was, dict) and isinstance(now, dict):
        keys = list(dict.fromkeys([*was, *now]))
        return [c for k in keys for c in changes(was.get(k), now.get(k), f"{key}.{k}".strip("."))]
    tables = isinstance(was, list) and any(isinstance(item, dict) for item in was)
    if tables and isinstance(now, list) and len(was) == len(now):
        pairs = enumerate(zip(was, now, strict=True), start=1)
        return [c for n, (a, b) in pairs for c in changes(a, b, f"{key}.{n}")]
    return [] if was == now else [f"{key} was {_short(was)}, now {_short(now)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def register(folder: Path, file: StudyFile) -> dict[str, Any]:
    """Writes what the study is, where it is not written yet; what is written."""
    if (folder / REGISTERED).exists():
        return registered(folder)
    from oneshot_rlvr.running.provenance import versions

    told = {
        "schema": 1,
        "sha256": file.sha256,
        "study": tables_of(file),
        "recipes": recipes_of(file),
        "inputs": inputs_of(file),
        "code_version": code_version(),
        "versions": versions(),
    }
    write_atomic(folder / COPY, file.text.encode("utf-8"))
    write_atomic(folder / REGISTERED, to_json(told, indent=1))
    return told


def registered(folder: Path) -> dict[str, Any]:
    """study.json. RecordsError where it cannot be read."""
    path = folder / REGISTERED
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if told["schema"] != 1:
            raise ValueError(f"schema {told['schema']}; this version reads 1")
        told["study"]["arms"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordsError(
            f"{path} cannot be read as a study ({error}); bring it back, or choose another folder "
            "with --out."
        ) from error
    return told
