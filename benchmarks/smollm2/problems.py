"""Simple problems that a model of 135 M parameters may or may not solve, drawn from a seed.

Four kinds of two families each: arithmetic, word problems, reading a number, choice. A question is
in one of three splits by the hash of its text, so that pool (an example to train on is chosen
there), validation (tuned on) and test (looked at once) share none, whatever the seeds. The test set
has two more kinds that are in no pool.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SPLITS = ("pool", "validation", "test")
THINGS = ("coins", "pens", "cards", "eggs", "books", "apples", "stones", "keys")
NAMES = ("Ana", "Ben", "Mia", "Tom", "Sara", "Leo")
COLOURS = ("red", "blue", "green", "black", "white")


def _numbers(draw: random.Random, low: int, high: int, count: int) -> list[int]:
    return draw.sample(range(low, high), count)


def plus(draw: random.Random) -> tuple[str, str]:
    """A sum of two numbers."""
    a, b = _numbers(draw, 11, 90, 2)
    return f"What is {a} + {b}?", str(a + b)


def times(draw: random.Random) -> tuple[str, str]:
    """A product of two small numbers."""
    a, b = draw.randint(3, 12), draw.randint(3, 12)
    return f"What is {a} * {b}?", str(a * b)


def boxes(draw: random.Random) -> tuple[str, str]:
    """Equal groups."""
    a, b, thing = draw.randint(3, 9), draw.randint(3, 12), draw.choice(THINGS)
    return f"There are {a} boxes with {b} {thing} in each. How many {thing} are there?", str(a * b)


def gives(draw: random.Random) -> tuple[str, str]:
    """Something is given away."""
    a, b = draw.randint(20, 60), draw.randint(3, 15)
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    return f"{name} has {a} {thing} and gives away {b}. How many {thing} are left?", str(a - b)


def table(draw: random.Random) -> tuple[str, str]:
    """One entry of a short table."""
    colours = draw.sample(COLOURS, 4)
    counts = _numbers(draw, 11, 99, 4)
    asked = draw.randrange(4)
    rows = ", ".join(f"{colour}: {n}" for colour, n in zip(colours, counts, strict=True))
    return f"Stock: {rows}. How many are {colours[asked]}?", str(counts[asked])


def clock(draw: random.Random) -> tuple[str, str]:
    """A number in a sentence with others."""
    name, other = draw.sample(NAMES, 2)
    age, older, house = draw.randint(20, 60), draw.randint(61, 90), draw.randint(100, 300)
    return (
        f"{name} is {age} years old, lives at number {house}, and has a neighbour, {other}, "
        f"who is {older}. How old is {name}?",
        str(age),
    )


def largest(draw: random.Random) -> tuple[str, str, list[str]]:
    """The largest of three."""
    numbers = _numbers(draw, 11, 99, 3)
    return (
        "Which number is the largest?",
        "ABC"[numbers.index(max(numbers))],
        list(map(str, numbers)),
    )


def sum_of(draw: random.Random) -> tuple[str, str, list[str]]:
    """The right sum of three."""
    a, b = _numbers(draw, 11, 50, 2)
    options = [a + b, a + b + draw.choice((1, 2, 10)), a + b - draw.choice((1, 2, 10))]
    draw.shuffle(options)
    return f"What is {a} + {b}?", "ABC"[options.index(a + b)], list(map(str, options))


def minus(draw: random.Random) -> tuple[str, str]:
    """A difference; only in the test set."""
    a, b = draw.randint(50, 99), draw.randint(11, 49)
    return f"What is {a} - {b}?", str(a - b)


def shares(draw: random.Random) -> tuple[str, str]:
    """Equal shares; only in the test set."""
    a, b, thing = draw.randint(3, 9), draw.randint(2, 9), draw.choice(THINGS)
    return (
        f"{a * b} {thing} are shared equally among {a} children. How many does each child get?",
        str(b),
    )


KINDS: dict[str, tuple[Callable[[random.Random], tuple[Any, ...]], ...]] = {
    "arithmetic": (plus, times),
    "word": (boxes, gives),
    "reading": (table, clock),
    "choice": (largest, sum_of),
}
NEW: dict[str, tuple[Callable[[random.Random], tuple[Any, ...]], ...]] = {
    "subtraction": (minus,),
    "sharing": (shares,),
}
"""Kinds of the test set alone."""


def split_of(question: str) -> str:
    """A split by the hash of the text, nothing else."""
    return SPLITS[hashlib.blake2b(question.encode(), digest_size=2).digest()[0] % 3]


def problems(split: str, per_family: int, seed: int) -> list[Row]:
    """`per_family` distinct rows of each family; the same for the same arguments."""
    kinds = {**KINDS, **NEW} if split == "test" else KINDS
    rows = []
    for kind, families in kinds.items():
        for family in families:
            draw = random.Random(f"{family.__name__}/{split}/{seed}")
            found: dict[str, Row] = {}
            while len(found) < per_family:
                row = _row(kind, family.__name__, *family(draw))
                if split_of(row["question"]) == split:
                    found.setdefault(row["question"], row)
            rows += found.values()
    return rows


def _row(
    kind: str, family: str, question: str, answer: str, options: list[str] | None = None
) -> Row:
    row: Row = {"verifier": "numeric", "extraction": "lenient"}
    if options is not None:
        question += " " + ", ".join(f"{c}) {o}" for c, o in zip("ABC", options, strict=True)) + "."
        row = {"verifier": "multiple_choice", "extraction": "lenient"}
        row["choices"] = dict(zip("ABC", options, strict=True))
    digest = hashlib.blake2b(question.encode(), digest_size=4).hexdigest()
    told = {"id": f"{family}-{digest}", "question": question, "answer": answer}
    return {**told, "domain": kind, "family": family, **row}


PROMPTS = {
    "plain": ("", ""),
    "short": (" Answer in one short sentence.", " Answer in one short sentence."),
    "boxed": (" Answer with \\boxed{number} only.", " Answer with \\boxed{letter} only."),
}
"""What stands behind a question, of a number and of a choice. `boxed` is trained with: the base
boxes 12 to 20 % of its answers to it (validation), so that an arm for format alone has something
to reward; to `plain` it boxes none."""


def prompted(rows: list[Row], prompt: str) -> list[Row]:
    """The rows, asked so."""
    number, letter = PROMPTS[prompt]
    return [
        {**row, "question": row["question"] + (letter if "choices" in row else number)}
        for row in rows
    ]


def write(rows: list[Row], path: Path) -> Path:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
