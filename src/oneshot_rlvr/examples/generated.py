"""reasoning-gym's generators as files of examples: "reasoning_gym:NAME?seed=1&level=2&size=200".

`seed` draws other questions (default 0), `size` says how many (100), `level` is the difficulty of
the generator's own curriculum (0 the easiest; without it the generator's defaults); every further
setting goes to the generator's configuration. Each row carries the entry that its scorer needs, so
that grading asks nothing of the generator but the scorer (`verifiers/reasoning_gym.py`). Source:
Stojanovski et al. 2025, arXiv 2505.24760. Not here: scoring.

reasoning-gym draws question i of seed s from the number s + i, so that neighbouring seeds share all
questions but one; a seed here is spread over the generator's 2^32 first.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from oneshot_rlvr.errors import DataError, MissingDependencyError

PREFIX = "reasoning_gym:"
SIZE = 100
MOST = 100_000

REFUSED: Mapping[str, str] = {
    "codeio": "it runs code of unknown origin to make a question",
    "composite": "it mixes other generators; name those instead",
    "game_of_life_halting": "its scorer takes every text for right",
}
"""Generators that are not offered, and why (reasoning-gym 0.1.25)."""

_TUPLE, _TABLE = "__tuple__", "__table__"


def fields_of(path: str) -> list[dict[str, Any]]:
    """The rows that "reasoning_gym:NAME?..." names, in our own columns; no question twice.

    DataError for a name or setting that the generator does not know; MissingDependencyError without
    reasoning-gym.
    """
    name, settings = _read(path)
    seed, size, level = (
        settings.pop(k, d) for k, d in (("seed", 0), ("size", SIZE), ("level", None))
    )
    if not all(type(v) is int for v in (seed, size)) or not 1 <= size <= MOST or seed < 0:
        raise DataError(f"{path}: wanted seed of 0 or more and size of 1 to {MOST}.")
    settings |= {"seed": _spread(name, seed), "size": size}
    dataset = _dataset(path, name, settings, level)
    rows, asked = [], set()
    for number in range(size):
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # some draw progress
                entry = dataset[number]
        except Exception as error:
            raise DataError(
                f"{path}: {name} cannot make question {number} ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}). Change its settings, or the seed."
            ) from error
        question, answer = str(entry["question"]), entry.get("answer")
        if question in asked:
            continue
        asked.add(question)
        rows.append(
            {
                "id": f"{name}-{seed}-{number}",
                "question": question,
                # Where many answers are right, a generator gives none.
                "answer": "" if answer is None else str(answer),
                "verifier": "reasoning_gym",
                "family": name,
                "generator": name,
                "entry": json.dumps(_tagged(entry), ensure_ascii=False),
            }
        )
    return rows


def _read(path: str) -> tuple[str, dict[str, Any]]:
    name, _, query = path.removeprefix(PREFIX).partition("?")
    try:
        import reasoning_gym.factory as factory
    except ImportError as error:
        raise MissingDependencyError(
            f'"{path}" is made by reasoning-gym, which is not installed. Install it with: '
            'pip install "oneshot-rlvr[reasoning-gym]".'
        ) from error
    if name in REFUSED:
        raise DataError(f'{path}: the generator "{name}" is not offered: {REFUSED[name]}.')
    if name not in factory.DATASETS:
        from oneshot_rlvr.registry import nearest

        names = sorted(set(factory.DATASETS) - set(REFUSED))
        raise DataError(
            f'{path}: reasoning-gym has no generator "{name}" ({len(names)} there are, from '
            f"{names[0]} to {names[-1]}).{nearest(name, names)}"
        )
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise DataError(f"{path}: wanted settings as name=value&name=value behind the ?.") from None
    return name, {key: _value(text) for key, text in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _dataset(path: str, name: str, settings: dict[str, Any], level: Any) -> Any:
    import reasoning_gym.factory as factory

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if level is None:
                return factory.create_dataset(name, **settings)
            if type(level) is not int or level < 0:
                raise ValueError(f"level is {level!r}; wanted 0 (the easiest) or more")
            if name not in factory.CURRICULA:
                raise ValueError("it has no levels")
            curriculum: Any = factory.create_curriculum(name)
            top = max(len(attribute.levels) for attribute in curriculum.attributes.values()) - 1
            if level > top:  # which reasoning-gym takes for the highest, in silence
                raise ValueError(f"level is {level}; its levels end at {top}")
            curriculum.set_global_level(level)
            config = curriculum.generate_configuration(settings)
            return factory.DATASETS[name][0](config=config)
    except Exception as error:  # its checks are asserts, and its constructors raise what they like
        raise DataError(
            f"{path}: the generator {name} takes no such settings ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]})."
        ) from error


def _spread(name: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{name} {seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def _tagged(value: Any) -> Any:
    """JSON's kinds of values, and tables that stand for tuples and for tables with other keys.

    Some scorers (arc_agi, rearc) take an answer in lists for wrong where the entry had tuples.
    """
    if isinstance(value, tuple):
        return {_TUPLE: [_tagged(inner) for inner in value]}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _tagged(inner) for key, inner in value.items()}
        return {_TABLE: [[_tagged(key), _tagged(inner)] for key, inner in value.items()]}
    if isinstance(value, (set, frozenset)):
        return [_tagged(inner) for inner in sorted(value)]
    if isinstance(value, list):
        return [_tagged(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _tagged(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
