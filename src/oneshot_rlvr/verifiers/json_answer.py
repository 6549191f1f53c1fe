"""json_answer: a JSON value that equals the gold and fits a JSON Schema.

Read from the last fenced block (```json or bare), else from the last box, else from the whole
text. The gold is the expected value as JSON text; `schema` alone (with an empty gold) is enough.
`match = "subset"` lets objects carry more keys than the gold's. Numbers are equal by value (1 is
1.0, and true is not 1), to `rel_tol`; keys have no order; NaN and repeated keys are no JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.extraction import tagged
from oneshot_rlvr.verifiers.fences import last_fence

MAX_ANSWER_CHARS = 100_000
MAX_SCHEMAS = 64  # that are kept compiled
MATCHES = ("exact", "subset")
_OPENING = re.compile(r"[\[{]")


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "no-json": "What was read is no strict JSON value.",
    "schema": "The value does not fit the schema.",
    "value": "Compared as JSON values, after the schema.",
}


class JsonAnswer(Verifier):
    """Options: answer_tags, schema, match ("exact" or "subset"), rel_tol (default 0)."""

    name = "json_answer"
    options = frozenset({"answer_tags", "schema", "match", "rel_tol"})
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        inside = tagged(text, example)
        if inside is None:
            return wrong(Reason.NO_ANSWER, rule="no-answer")
        text = inside
        answer = last_fence(text, ("json", ""))
        if answer is None:
            answer = last_box(text)
        if answer is None:
            answer = text
        answer = answer.strip()
        if not answer:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:200], rule="too-long", too_long=len(answer))
        return answer

    def quick(self, answer: str, example: Example) -> Verdict | None:
        # A schema may hold patterns, which jsonschema hands to a backtracking engine.
        return None if example.extra.get("schema") is not None else self.compare(answer, example)

    def warm(self) -> None:
        import jsonschema  # noqa: F401

    def compare(self, answer: str, example: Example) -> Verdict:
        wanted, schema = _gold(example), _validator(example)
        subset, rel_tol = _options(example)
        try:
            said = read_json(answer)
        except ValueError as error:
            reason = Reason.UNPARSEABLE if _OPENING.search(answer) else Reason.NO_ANSWER
            return wrong(reason, answer, rule="no-json", error=str(error)[:200])
        if schema is not None:
            try:
                fault = next(iter(schema.iter_errors(said)), None)
            except RecursionError:
                return wrong(Reason.UNPARSEABLE, answer, rule="no-json", error="nested too deep")
            if fault is not None:
                return wrong(Reason.MISMATCH, answer, rule="schema", schema=fault.message[:200])
        if wanted is not _ANYTHING and not same_json(wanted, said, subset, rel_tol):
            return wrong(Reason.MISMATCH, answer, rule="value")
        return correct(answer, rule="value")

    def gold_text(self, example: Example) -> str:
        """The gold in a fenced block."""
        return f"```json\n{example.answer}\n```" if example.answer.strip() else ""

    def check_gold(self, example: Example) -> None:
        """DataError for a gold that is no JSON, a schema that is none, or one that rejects it."""
        _gold(example)
        _validator(example)
        if self.gold_text(example):
            super().check_gold(example)


_ANYTHING = object()


def read_json(text: str) -> Any:
    """A strict JSON value. ValueError for anything else: repeated keys, NaN, endless nests."""
    try:
        return _STRICT.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def same_json(wanted: Any, said: Any, subset: bool = False, rel_tol: float = 0.0) -> bool:
    """Whether two JSON values are equal; with `subset`, said objects may have further keys."""
    if isinstance(wanted, bool) or isinstance(said, bool) or wanted is None or said is None:
        return wanted is said
    if isinstance(wanted, (int, float)) and isinstance(said, (int, float)):
        if isinstance(wanted, int) and isinstance(said, int):
            return wanted == said
        return wanted == said or (rel_tol > 0 and math.isclose(wanted, said, rel_tol=rel_tol))
    if isinstance(wanted, str) and isinstance(said, str):
        return wanted == said
    if isinstance(wanted, list) and isinstance(said, list):
        return len(wanted) == len(said) and all(
            same_json(w, s, subset, rel_tol) for w, s in zip(wanted, said, strict=True)
        )
    if isinstance(wanted, dict) and isinstance(said, dict):
        if not (wanted.keys() <= said.keys() if subset else wanted.keys() == said.keys()):
            return False
        return all(same_json(value, said[key], subset, rel_tol) for key, value in wanted.items())
    return False


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is given twice")
    return table


_STRICT = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_once)
_parsed_gold = lru_cache(maxsize=256)(read_json)  # nothing changes what it returns


def _gold(example: Example) -> Any:
    if not example.answer.strip():
        if example.extra.get("schema") is None:
            raise DataError(
                f"example {example.id!r}: json_answer needs a gold, a schema, or both; it has "
                "neither."
            )
        return _ANYTHING
    try:
        return _parsed_gold(example.answer)
    except ValueError as error:
        raise DataError(
            f"example {example.id!r}: the gold {shown(example.answer)} is not JSON: {error}."
        ) from None


def _options(example: Example) -> tuple[bool, float]:
    """Whether objects may have further keys, and the tolerance of numbers."""
    if "match" not in example.extra and "rel_tol" not in example.extra:
        return False, 0.0
    rel_tol = float(option(example, "rel_tol", (int, float), 0.0))
    return _option_match(example) == "subset", rel_tol


def _option_match(example: Example) -> str:
    value = option(example, "match", str, "exact")
    if value not in MATCHES:
        raise DataError(
            f'example {example.id!r}: option match is {value!r}; wanted "exact" or "subset".'
        )
    return value


def _validator(example: Example) -> Any:
    schema = example.extra.get("schema")
    if schema is None:
        return None
    if not isinstance(schema, (Mapping, bool)):
        raise DataError(
            f"example {example.id!r}: option schema is {shown(str(schema))}; wanted a JSON Schema "
            "as a table."
        )
    key = repr(schema)
    try:
        if key not in _VALIDATORS:
            if len(_VALIDATORS) >= MAX_SCHEMAS:
                _VALIDATORS.clear()
            _VALIDATORS[key] = _compiled(json.dumps(schema, sort_keys=True))
        return _VALIDATORS[key]
    except ValueError as error:
        raise DataError(f"example {example.id!r}: the schema is not valid: {error}.") from None


_VALIDATORS: dict[str, Any] = {}  # by the text of the schema


def _multiple_of(validator: Any, step: Any, value: Any, schema: Any) -> Iterator[Any]:
    """multipleOf, on the decimals that are written: 4.02 is a multiple of 0.01."""
    if isinstance(value, (int, float)) and not (value is True or value is False):
        if _is_multiple(value, step):
            return
        import jsonschema

        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {step!r}")


def _is_multiple(value: int | float, step: int | float) -> bool:
    if type(value) is float:
        if not math.isfinite(value):
            return False
        steps = value / step  # to a millionth of a step, below 10**8 of them
        if abs(steps) < 1e8 and abs(steps - round(steps)) > 1e-6:
            return False
    elif type(step) is int:
        return value % step == 0
    top, bottom = _ratio(value)
    step_top, step_bottom = _ratio(step)
    return top * step_bottom % (bottom * step_top) == 0


def _ratio(number: int | float) -> tuple[int, int]:
    """The decimal that is written, as a fraction."""
    if number == int(number):
        return int(number), 1
    return Decimal(repr(number)).as_integer_ratio()


def _compiled(schema: str) -> Any:
    import jsonschema
    import referencing

    table = json.loads(schema)
    draft = jsonschema.validators.validator_for(table, default=jsonschema.Draft202012Validator)
    rules = {"multipleOf": _multiple_of, "divisibleBy": _multiple_of}
    kind = jsonschema.validators.extend(
        draft, {key: rule for key, rule in rules.items() if key in draft.VALIDATORS}
    )
    try:
        kind.check_schema(table)
    except jsonschema.SchemaError as error:
        raise ValueError(error.message) from None
    return kind(table, registry=referencing.Registry())  # an empty registry fetches nothing
