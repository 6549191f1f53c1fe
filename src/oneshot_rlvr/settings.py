"""Pydantic models told in words: fields as dotted keys, mistakes as sentences, values from text.

Knows pydantic and no recipe: `config` gives it the model. Its one aim is that a user who mistypes a
key or a value reads which key, what came, what was wanted and the nearest thing that exists.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.registry import nearest

NAMED_TABLES = ("evaluation.validation", "evaluation.test")
"""Tables for which a bare text may stand: a benchmark's name or file."""

NONE_TEXT = "none"
"""How a flag says None, which TOML has no word for (there, leave the key out)."""

ALSO_CALLED = {
    "lr": "optimizer.learning_rate",
    "max_steps": "train.steps",
    "num_train_epochs": "train.steps",
    "num_generations": "rollouts.group_size",
    "rollout_n": "rollouts.group_size",
    "batch_size": "rollouts.prompts_per_step",
    "train_batch_size": "rollouts.prompts_per_step",
    "per_device_train_batch_size": "train.micro_batch_tokens",
    "max_completion_length": "rollouts.max_new_tokens",
    "max_response_length": "rollouts.max_new_tokens",
    "max_prompt_length": "rollouts.max_prompt_tokens",
    "beta": "algorithm.kl_coefficient",
    "kl_coef": "algorithm.kl_coefficient",
    "kl_loss_coef": "algorithm.kl_coefficient",
    "entropy_coeff": "algorithm.entropy_coefficient",
    "epsilon": "algorithm.clip_low",
    "epsilon_high": "algorithm.clip_high",
    "loss_type": "algorithm.averaging",
    "num_iterations": "train.updates_per_rollout",
    "max_grad_norm": "optimizer.gradient_clip",
    "warmup": "optimizer.warmup_steps",
    "save_steps": "train.save_every",
    "eval_steps": "train.eval_every",
    "save_total_limit": "train.keep_checkpoints",
    "report_to": "tracking.trackers",
    "lora_r": "model.lora.rank",
    "lora_alpha": "model.lora.alpha",
    "model_name_or_path": "model.path",
    "torch_dtype": "model.dtype",
}
"""What TRL, verl and PEFT call a key, told where it is unknown here."""

_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
BOUNDS_OF_SLIPS = 1000
"""Bounds that far from 0 are told only to whoever is beyond one."""

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True, slots=True)
class RecipeField:
    """One key: its dotted name, its type in words, its default, and what it means."""

    key: str
    type_text: str
    default: Any
    description: str
    annotation: Any

    @property
    def table(self) -> str:
        """The TOML table that holds the key; '' for the top level."""
        return self.key.rpartition(".")[0]


def fields_of(model: type[BaseModel], prefix: str = "") -> list[RecipeField]:
    """Every key of a model, tables walked in order; an optional table is a key itself as well."""
    found: list[RecipeField] = []
    for name, info in model.model_fields.items():
        key = f"{prefix}{name}"
        annotation: Any = info.annotation
        for constraint in info.metadata:
            annotation = Annotated[annotation, constraint]
        table = table_model(annotation)
        if table is None or is_nullable(annotation):
            default = info.get_default(call_default_factory=True)
            found.append(
                RecipeField(
                    key=key,
                    type_text=type_text(annotation),
                    default=None if default is PydanticUndefined else default,
                    description=info.description or "",
                    annotation=annotation,
                )
            )
        if table is not None:
            found.extend(fields_of(table, prefix=f"{key}."))
    return found


def flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested tables by dotted key; lists are values."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{above}{key}"
        if isinstance(item, Mapping):
            found |= flat(item, f"{name}.")
        else:
            found[name] = item
    return found


def table_model(annotation: Any) -> type[BaseModel] | None:
    """The model behind `Model` or `Model | None`; None for any other type."""
    for part in _alternatives(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def is_nullable(annotation: Any) -> bool:
    """Whether None is a value of the type."""
    return type(None) in _alternatives(annotation)


def none_is_a_value(annotation: Any) -> bool:
    """Whether the text "none" is one of the values that the type lists."""
    return any(
        get_origin(part) is Literal and NONE_TEXT in get_args(part)
        for part in _alternatives(annotation)
    )


def type_text(annotation: Any, *, slips: bool = False) -> str:
    """A type in a user's words: `whole number > 0`, `"token" or "sequence"`, `text or none`.

    Bounds so far out that only a slip of the keyboard meets them are told with `slips` alone.
    """
    base, constraints = _unwrapped(annotation)
    if get_origin(base) in (Union, types.UnionType):
        # Where "none" is a value of its own, no text says None: such a key is left out instead.
        parts = [a for a in get_args(base) if a is not type(None) or not none_is_a_value(base)]
        words = [NONE_TEXT if a is type(None) else type_text(a, slips=slips) for a in parts]
    elif get_origin(base) is Literal:
        words = [json.dumps(value) for value in get_args(base)]
    elif get_origin(base) is tuple:
        each, _, limits = type_text(get_args(base)[0], slips=slips).partition(" ")
        words = [f"list of {len(get_args(base))} {each}s {limits}".rstrip()]
    elif get_origin(base) is list:
        words = ["list of tables" if get_origin(get_args(base)[0]) is dict else "list"]
    elif get_origin(base) is dict and table_model(get_args(base)[1]) is not None:
        words = ["tables by name"]
    elif table_model(base) is not None or get_origin(base) is dict:
        words = ["table"]
    else:
        words = [_NAMES.get(base, str(base))]
    bounds = " and ".join(
        f"{sign} {_bound(getattr(constraint, name))}"
        for constraint in constraints
        for name, sign in _BOUNDS.items()
        if (bound := getattr(constraint, name, None)) is not None
        and (slips or abs(bound) < BOUNDS_OF_SLIPS)
    )
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    return f"{text} {bounds}" if bounds else text


def _bound(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def value_from_text(field: RecipeField, text: str) -> Any:
    """The value that a flag's text means for a field. ConfigError says what was wanted.

    `none` is None where the field allows it and has no value of that name; a list or a table is
    written as JSON or inline TOML.
    """
    none = is_nullable(field.annotation) and not none_is_a_value(field.annotation)
    if text.strip().lower() == NONE_TEXT and none:
        return None
    if _is_container(field.annotation):
        return _structured(field, text)
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation)
    try:
        return adapter.validate_strings(text)
    except ValidationError as error:
        wanted = _wanted(field, [detail["type"] for detail in error.errors()])
        raise ConfigError(_wrong_value(field.key, text, wanted)) from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All mistakes of a validation in one line: the first in full, the others by their keys."""
    sentences = [_sentence(dict(detail), model) for detail in error.errors()]
    first, others = sentences[0], sentences[1:]
    if not others:
        return first
    return f"{first} ({len(others)} more: {' '.join(others)})"


def unknown_key(key: str, model: type[BaseModel]) -> str:
    """The sentence for a key that no table has: the nearest key first, then the table's keys.

    A table that does not exist is matched first: `example.path` means `examples.path`.
    """
    keys = [field.key for field in fields_of(model)]
    of_it = [k for k in keys if k.rpartition(".")[0] == key]
    if of_it:  # a table's name alone, as in `--model Qwen/Qwen2.5-1.5B`
        leaf_of = {k.rpartition(".")[2]: k for k in of_it}
        usual = next((leaf_of[leaf] for leaf in ("path", "name") if leaf in leaf_of), of_it[0])
        return (
            f'"{key}" is a table, which is set key by key. Did you mean "{usual}"? '
            f"Keys of [{key}]: {', '.join(leaf_of)}."
        )
    table, _, leaf = key.rpartition(".")
    tables = list(dict.fromkeys(k.rpartition(".")[0] for k in keys if "." in k))
    if table and table not in tables:
        table = next(iter(difflib.get_close_matches(table, tables, n=1, cutoff=0.6)), table)
    siblings = [k for k in keys if k.rpartition(".")[0] == table]
    if not table:  # at the top the tables are candidates as well: [trian] is near [train]
        siblings += sorted({k.partition(".")[0] for k in keys if "." in k})
    leaves = {k.rpartition(".")[2]: k for k in reversed(keys)}
    near = _closest(leaf, {k.rpartition(".")[2]: k for k in siblings})
    same = f"{table}.{leaf}"
    known = ALSO_CALLED.get(leaf)
    if known not in keys:
        known = same if same in siblings else leaves.get(leaf)
    meant = known or near or _closest(leaf, leaves)
    hint = f' Did you mean "{meant}"?' if meant else ""
    if not siblings:
        return f'unknown key "{key}".{hint} Known tables: {", ".join(tables)}.'
    where = f"Keys of [{table}]" if table else "Known at the top"
    names = ", ".join(s.rpartition(".")[2] for s in siblings)
    return f'unknown key "{key}".{hint} {where}: {names}.'


def _closest(leaf: str, keys_by_leaf: Mapping[str, str]) -> str | None:
    close = difflib.get_close_matches(leaf, list(keys_by_leaf), n=1, cutoff=0.6)
    return keys_by_leaf[close[0]] if close else None


def _sentence(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    location: Sequence[int | str] = detail["loc"]
    key = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        return unknown_key(key, model)
    if detail["type"] == "value_error":  # raised by a model's own check: already a sentence
        text = str(detail["ctx"]["error"])
        return text if text.endswith((".", "?")) else f"{text}."
    field = _field_at(location, model)
    if detail["type"] == "missing":
        return f"{key} is missing; wanted {field.type_text if field else 'a value'}."
    wanted = (
        _wanted(field, [detail["type"]])
        if field
        else "table"
        if _is_table_error(detail)
        else detail["msg"]
    )
    return _wrong_value(key, detail["input"], wanted)


def _wanted(field: RecipeField, faults: Sequence[str]) -> str:
    """The field's type in words, with its far bounds where a bound is what was not met."""
    beyond = {"less_than_equal", "less_than", "greater_than_equal", "int_parsing_size"}
    return type_text(field.annotation, slips=bool(beyond & set(faults)))


def _is_table_error(detail: Mapping[str, Any]) -> bool:
    return str(detail["type"]) in ("model_type", "model_attributes_type", "dict_type")


def _field_at(location: Sequence[int | str], model: type[BaseModel]) -> RecipeField | None:
    """The field a location lies in: `optimizer.betas.0` lies in `optimizer.betas`."""
    by_key = {field.key: field for field in fields_of(model)}
    for length in range(len(location), 0, -1):
        field = by_key.get(".".join(str(part) for part in location[:length]))
        if field is not None:
            return field
    return None


def _wrong_value(key: str, value: Any, wanted: str) -> str:
    choices = [word.strip('"') for word in wanted.replace(",", " or").split(" or ")]
    quoted = wanted.startswith('"')
    hint = nearest(value, choices) if quoted and isinstance(value, str) else ""
    article = "a " if wanted.startswith(("whole", "number", "list", "table")) else ""
    return f"{key} is {_shown(value)}; wanted {article}{wanted}.{hint}"


def _shown(value: Any, limit: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else f"{text[:limit]}..."


def _structured(field: RecipeField, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if field.key in NAMED_TABLES:
            return text
        raise ConfigError(
            f"{_wrong_value(field.key, text, field.type_text)} Write it as JSON or inline TOML."
        ) from None


def _is_container(annotation: Any) -> bool:
    return any(
        get_origin(part) in (list, dict, tuple) or table_model(part) is not None
        for part in _alternatives(annotation)
    )


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without `Annotated`, and its constraints (pydantic's FieldInfo unpacked)."""
    constraints: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *extra = get_args(annotation)
        for item in extra:
            constraints.extend(getattr(item, "metadata", None) or [item])
    return annotation, constraints


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    base, _ = _unwrapped(annotation)
    if get_origin(base) in (Union, types.UnionType):
        return tuple(part for arg in get_args(base) for part in _alternatives(arg))
    return (base,)
