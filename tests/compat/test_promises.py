"""What others build on, held against text files: a change of it is seen in a diff, and decided.

`golden/` has a file a subject: the functions of the package, the keys of a recipe, the records of a
run, the columns that verl, TRL and we read and write. A difference is not an error by itself, but
whoever makes one says so in the changelog and writes the file anew (the failure tells how).
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import oneshot_rlvr
from oneshot_rlvr import types
from oneshot_rlvr.backends.verl.convert import RENAMED
from oneshot_rlvr.backends.verl.data import to_verl
from oneshot_rlvr.config import recipe_fields
from oneshot_rlvr.examples.columns import LAYOUTS as READ
from oneshot_rlvr.examples.columns import to_example
from oneshot_rlvr.examples.readers import Row
from oneshot_rlvr.examples.writers import LAYOUTS as WRITTEN
from oneshot_rlvr.records import schema
from oneshot_rlvr.records.summary import summarise
from oneshot_rlvr.rewards.trl import GOLD_COLUMNS, TrlReward
from oneshot_rlvr.rewards.verl import compute_score
from oneshot_rlvr.train.metrics import METRICS, TIMINGS

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "ONESHOT_UPDATE_GOLDEN"


def public_signatures() -> Iterator[str]:
    """Every function that `import oneshot_rlvr` offers, a parameter a line; then the nouns."""
    for name in oneshot_rlvr.__all__:
        offered = getattr(oneshot_rlvr, name)
        if callable(offered):
            yield from _signature(f"oneshot_rlvr.{name}", inspect.signature(offered))
    for noun in (types.Example, types.Rollout, types.Verdict, types.Graded):
        yield f"oneshot_rlvr.types.{noun.__name__}"
        yield from (f"    {field.name}: {field.type}" for field in fields(noun))
        yield ""


def recipe_keys() -> Iterator[str]:
    """Every key of a recipe: its type in words and its default."""
    for field in recipe_fields():
        default = json.dumps(field.default, default=str).replace("null", "none")
        yield f"{field.key} = {default}    # {field.type_text}"


def record_schemas() -> Iterator[str]:
    """What lies in a run's directory: files, columns with their types, logged keys with units."""
    yield f"version {schema.SCHEMA_VERSION}"
    directory = Path("RUN")
    for path in (
        *(directory / name for name in (schema.RUN, schema.METRICS, schema.TIMINGS)),
        schema.rollout_part(directory, 20),
        schema.evaluation_stem(directory, "test", 0).with_suffix(".parquet"),
        schema.evaluation_stem(directory, "test", 20).with_suffix(".json"),
    ):
        yield path.as_posix()
    for title, columns in (
        ("rollouts/*.parquet", schema.ROLLOUT_COLUMNS),
        ("evaluations/*.parquet", schema.SAMPLE_COLUMNS),
    ):
        yield f"\n{title}"
        yield from (f"    {column.name}: {column.type}" for column in columns)
    for title, declared in (("metrics.jsonl", METRICS), ("timings.jsonl", TIMINGS)):
        yield f"\n{title}"
        yield from ("    step", *(f"    {key} [{cells[0]}]" for key, cells in declared.items()))
    yield "\nevaluations/*.json"
    parts = ("groups", "domains", "families")
    answers = [
        {
            **dict.fromkeys(("group", "domain", "family"), "NAME"),
            "example_id": "a",
            "text": "",
            "tokens": 1,
            "finished": True,
            "boxed": False,
            "correct": right,
            "reason": "correct" if right else "mismatch",
        }
        for right in (True, False)
    ]
    summary = summarise(answers, benchmark="tiny", temperature=0.6, seed=7)
    overall = summary["overall"]
    yield from (f"    {key}" for key, _ in _flat(summary) if not key.startswith(parts))
    assert [summary[part]["NAME"] for part in parts] == [overall] * 3
    yield from (f"    {part}.NAME: as overall" for part in parts)


def columns() -> Iterator[str]:
    """What a layout is recognised by, what we write in it, what reading that gives, the doors."""
    example = types.Example(
        id="7", question="2 + 3?", answer="5", verifier="numeric", domain="algebra",
        family="linear", extra={"tolerance": 0.5},
    )  # fmt: skip
    for layout, required in READ.items():
        row = WRITTEN[layout](example)
        read = to_example(Row("row 1", row), layout, verifier="math_answer")
        yield f"{layout}: recognised by {' and '.join(required)}"
        yield from (f"    written  {key} = {json.dumps(value)}" for key, value in _flat(row))
        yield from (f"    read     {line}" for line in _told(read))
        yield ""
    yield "the training file of the backend verl"
    (row,) = to_verl([example])
    yield from (f"    {key} = {json.dumps(value)}" for key, value in _flat(row))
    yield "\nverl's metrics under our names"
    yield from (f"    {theirs} -> {ours}" for theirs, ours in RENAMED.items())
    yield ""
    yield from _signature(
        "oneshot_rlvr.rewards.verl.compute_score", inspect.signature(compute_score)
    )
    yield from _signature("oneshot_rlvr.rewards.trl.TrlReward", inspect.signature(TrlReward))
    call = inspect.signature(TrlReward.__call__)
    yield from _signature("oneshot_rlvr.rewards.trl.TrlReward.__call__", call)
    yield f"gold, the first that is there: {', '.join(GOLD_COLUMNS)}"


SUBJECTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "public_signatures": public_signatures,
    "recipe_keys": recipe_keys,
    "record_schemas": record_schemas,
    "columns": columns,
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_others_build_on_is_as_promised(subject):
    path = GOLDEN / f"{subject}.txt"
    now = "\n".join(SUBJECTS[subject]()).rstrip() + "\n"
    if os.environ.get(UPDATE) == "1":
        path.write_text(now, encoding="utf-8")
    promised = path.read_text(encoding="utf-8")
    if now != promised:
        pytest.fail(_broken(path, promised, now), pytrace=False)


def test_there_is_no_golden_file_without_a_subject():
    assert {path.stem for path in GOLDEN.iterdir()} == set(SUBJECTS)


def test_a_broken_promise_shows_the_difference_and_says_how_to_decide():
    told = _broken(GOLDEN / "recipe_keys.txt", "train.steps = 2000\n", "train.steps = 20\n")
    assert "-train.steps = 2000\n+train.steps = 20" in told
    assert "CHANGELOG.md" in told
    assert "ONESHOT_UPDATE_GOLDEN=1 python -m pytest tests/compat" in told


def test_every_subject_says_something():
    for tell in SUBJECTS.values():
        assert len(list(tell())) > 10


def _broken(path: Path, promised: str, now: str) -> str:
    diff = difflib.unified_diff(
        promised.splitlines(), now.splitlines(), f"promised ({path.name})", "now", lineterm=""
    )
    return "\n".join(
        [
            *diff,
            "",
            "Others build on this. Changing it is a decision: say so in CHANGELOG.md (what breaks, "
            "what to do), then write the file anew and have it reviewed:",
            f"    {UPDATE}=1 python -m pytest tests/compat",
        ]
    )


def _signature(name: str, signature: inspect.Signature) -> Iterator[str]:
    yield f"{name}("
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "    *"
        # Annotations are strings in these modules; without their quotes they read as written.
        yield f"    {str(parameter).replace(repr(parameter.annotation), str(parameter.annotation))}"
    returned = signature.return_annotation
    yield ")\n" if returned is signature.empty else f") -> {returned}\n"


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    for key, below in value.items():
        if isinstance(below, Mapping) and below:
            yield from _flat(below, f"{above}{key}.")
        else:
            yield f"{above}{key}", below


def _told(example: types.Example) -> Iterator[str]:
    told = {field.name: getattr(example, field.name) for field in fields(example)}
    yield from (f"{name} = {json.dumps(value)}" for name, value in told.items() if value)
