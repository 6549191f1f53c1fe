"""A recipe from a file or nested tables, and back to text.

Not here: reading examples, loading models, anything that touches a disk except the recipe file.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from oneshot_rlvr.config.recipe import Recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.settings import NAMED_TABLES, RecipeField, explain, fields_of, unknown_key

STUDIES = "studies/"
"""The folder of studies among the recipes (`oneshot_rlvr.study`)."""

_ONE_OF = ("examples.path", "examples.items")
"""Two ways to one thing: whichever is laid over a recipe replaces the one that stands in it."""


def recipes_directory() -> Path:
    """Where the recipes that ship with the package lie: inside the wheel, or in the checkout."""
    inside = Path(__file__).parents[1] / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "recipes"


def packaged_recipes() -> list[str]:
    """Names that `load_recipe` knows without a file: `tiny_one_shot`, `ablations/nothing`, ..."""
    return [name for name in _packaged() if not name.startswith(STUDIES)]


def packaged_studies() -> list[str]:
    """Names of the studies that ship: `studies/controls`, ... They are no recipes."""
    return [name for name in _packaged() if name.startswith(STUDIES)]


def _packaged() -> list[str]:
    directory = recipes_directory()
    found = (path.relative_to(directory).with_suffix("") for path in directory.rglob("*.toml"))
    return sorted(path.as_posix() for path in found)


def is_recipe(path: str | Path) -> bool:
    """Whether `load_recipe` has a file for it."""
    try:
        _recipe_file(Path(path))
    except ConfigError:
        return False
    return True


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe file, with dotted overrides over it (`{"train.steps": 10}`).

    `path` is a TOML file or, where no such file exists, the name of a packaged recipe
    (`tiny_one_shot`, `recipes/tiny_one_shot.toml`). A recipe may name another as its `base`, over
    which it is laid key by key; the override "base" replaces that name. `examples.path` laid over
    a recipe that has `examples.items` replaces them, and the other way round. Paths inside a recipe
    are relative to the current directory, or to the recipe's where they are not there; `base` is
    relative to the file that names it. ConfigError for a
    missing file, broken TOML (file and line), an unknown key (the nearest named) or a wrong value
    (key, what came, what was wanted).
    """
    file, given = _recipe_file(Path(path)), dict(overrides or {})
    data = _tables(file)
    if "base" in given:
        data["base"] = given.pop("base")
    data = _over_base(data, file, [])
    _beside(data, file.parent)
    try:
        return with_overrides(data, given)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def with_overrides(tables: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """A recipe's tables with dotted keys laid over them. ConfigError as `parse_recipe`."""
    data = copy.deepcopy(dict(tables))
    _make_way(data, [key for key, value in overrides.items() if value is not None])
    for key, value in overrides.items():
        if key in NAMED_TABLES and isinstance(value, str):
            value = {**_decoding_of(data, key), "benchmark": value}
        _set_dotted(data, key, value)
    return parse_recipe(data)


def load_layers(base: str | Path, *layers: str | Path | Mapping[str, Any]) -> Recipe:
    """A recipe, and over it layer upon layer: dotted overrides, or the keys of another recipe's own
    file, whose base does not count. Errors as `load_recipe`."""
    file = _recipe_file(Path(base))
    data = _over_base(_tables(file), file, [])
    for layer in layers:
        if isinstance(layer, Mapping):
            _make_way(data, [key for key, value in layer.items() if value is not None])
            for key, value in layer.items():
                _set_dotted(data, key, value)
        else:
            own = {k: v for k, v in _tables(_recipe_file(Path(layer))).items() if k != "base"}
            examples = own.get("examples")
            _make_way(data, [f"examples.{k}" for k in examples] if examples else [])
            data = _merged(data, own)
    try:
        return parse_recipe(data)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def parse_recipe(data: Mapping[str, Any]) -> Recipe:
    """A recipe from nested tables. ConfigError: dotted key, what came, what was wanted.

    Strict: `steps = "10"` and `steps = true` are mistakes, not 10 and 1.
    """
    try:
        # Through JSON, whose strict mode takes a list for a tuple and refuses every other guess.
        return Recipe.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(explain(error, Recipe)) from None


def resolve_recipe(
    recipe: Recipe | str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Recipe:
    """A recipe in any of its forms, checked. ConfigError says what is wrong with it."""
    if isinstance(recipe, str | Path):
        return load_recipe(recipe, overrides)
    if overrides:
        raise ConfigError(
            "overrides go with a recipe file or name; put the values into the recipe itself."
        )
    return recipe if isinstance(recipe, Recipe) else parse_recipe(recipe)


def recipe_fields() -> list[RecipeField]:
    """Every key of a recipe with its type in words, default and meaning, for help and docs."""
    return fields_of(Recipe)


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe, every default written out; a key that is None is left out."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def fingerprint(recipe: Recipe) -> str:
    """SHA-256 (hex) of the recipe's canonical JSON: equal exactly when every setting is."""
    canonical = json.dumps(recipe.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _tables(file: Path) -> dict[str, Any]:
    """What a file says, `base` included."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        problem, _, place = str(error).rstrip(")").partition(" (at ")
        line = re.sub(r"\bend of document\b", "its end", place) or "unknown line"
        raise ConfigError(f"{file}, {line}: not valid TOML: {problem}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not UTF-8 text (byte {error.start}); a recipe is a TOML file."
        ) from None


def _over_base(data: dict[str, Any], file: Path, above: list[Path]) -> dict[str, Any]:
    """The tables laid over those of the recipe that they name as `base`, and of its base."""
    name = data.pop("base", None)
    if name is None:
        return data
    if not isinstance(name, str):
        raise ConfigError(f"{file}: base is {name!r}; wanted a recipe's name or file.")
    beside = file.parent / name
    base = beside if beside.is_file() else _recipe_file(Path(name))
    chain = [*above, file.resolve()]
    if base.resolve() in chain:
        circle = " -> ".join(path.stem for path in [*chain, base])
        raise ConfigError(f"{file}: base leads back to a recipe above it ({circle}).")
    under = _over_base(_tables(base), base, chain)
    own = data.get("examples")
    _make_way(under, [f"examples.{key}" for key in own] if isinstance(own, dict) else [])
    return _merged(under, data)


def _beside(data: Mapping[str, Any], folder: Path) -> None:
    """Files that a recipe names and that are not in the current folder, but are beside it."""
    examples, evaluation = data.get("examples"), data.get("evaluation")
    tables = [(examples, "path")]
    for name in ("validation", "test"):
        table = evaluation.get(name) if isinstance(evaluation, dict) else None
        if isinstance(table, str) and isinstance(evaluation, dict):
            tables.append((evaluation, name))
        tables += [(table, "path"), (table, "benchmark")]
    for table, key in tables:
        named = table.get(key) if isinstance(table, dict) else None
        if not (isinstance(table, dict) and isinstance(named, str) and Path(named).suffix):
            continue
        if not Path(named).exists() and (folder / named).is_file():
            table[key] = str(folder / named)


def _decoding_of(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """How the benchmark that stands in a recipe is asked: another one in its place is asked so."""
    table, _, leaf = key.partition(".")
    stands = (data.get(table) or {}).get(leaf)
    kept = ("samples", "temperature", "seed", "max_new_tokens")
    return {k: stands[k] for k in kept if k in stands} if isinstance(stands, dict) else {}


def _make_way(data: dict[str, Any], coming: Collection[str]) -> None:
    """Drops the example source that stands in `data` where the other one comes (both: neither)."""
    examples = data.get("examples")
    for comes, stands in (_ONE_OF, _ONE_OF[::-1]):
        if comes in coming and stands not in coming and isinstance(examples, dict):
            examples.pop(stands.partition(".")[2], None)


def _merged(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; everything else, lists too, is replaced."""
    for key, value in over.items():
        below = under.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            value = _merged(below, value)
        under[key] = value
    return under


def _recipe_file(path: Path) -> Path:
    if path.is_dir():
        inside = sorted(p for p in path.glob("*.toml") if p.is_file())
        hint = f" Did you mean {inside[0]}?" if inside else ""
        raise ConfigError(f"{path} is a directory; wanted a recipe file (TOML).{hint}")
    if path.is_file():
        if path.suffix in (".jsonl", ".json", ".csv", ".parquet"):
            raise ConfigError(
                f"{path} holds examples and is no recipe. Give it to one: "
                f"`oneshot train tiny_one_shot --examples.path {path}`."
            )
        return path
    known = packaged_recipes()
    name = path.with_suffix("") if path.suffix == ".toml" else path
    name = Path(*name.parts[1:]) if name.parts[:1] == ("recipes",) else name
    if name.as_posix() in known:
        return recipes_directory() / f"{name.as_posix()}.toml"
    near = nearest(name.as_posix(), known) or nearest(
        path.stem, {k.rpartition("/")[2]: k for k in known}
    )
    raise ConfigError(
        f"no recipe at {path}.{near} Give a TOML file or the name of a "
        f"packaged recipe: {', '.join(known)}."
    )


def _set_dotted(data: dict[str, Any], key: str, value: Any) -> None:
    *tables, leaf = key.split(".")
    here = data
    for depth, name in enumerate(tables, start=1):
        below = here.setdefault(name, {})
        if not isinstance(below, dict):
            table = ".".join(tables[:depth])
            if below is not None:
                raise ConfigError(f"{unknown_key(key, Recipe)} ({table} is not a table.)")
            below = here[name] = {}  # an override turned the table off before
        here = below
    here[leaf] = value
