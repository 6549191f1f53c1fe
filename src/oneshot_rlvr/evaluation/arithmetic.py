"""Random arithmetic: questions that no model can have read, because they are drawn when asked.

After "RandomCalculation" of arXiv 2507.10532 (section 4): a question is an expression of 1, 2, 5,
10, 15 or 20 random operations, its gold the exact value. Here the operands are whole numbers and
fractions and the operations + - * /, so that every gold is a rational number. A question belongs to
one split by its own hash: validation and test share none, whatever the seeds.
"""

from __future__ import annotations

import hashlib
import random
from fractions import Fraction

from oneshot_rlvr.types import Example

OPERATIONS = (1, 2, 5, 10, 15, 20)
"""Operations in an expression; each count is a family."""

MOST_DIGITS = 8  # of numerator and denominator: longer golds ask for patience, not for arithmetic


def generate(seed: int, count: int, split: str) -> list[Example]:
    """`count` distinct questions of every number of operations; the same for the same arguments."""
    examples = []
    for operations in OPERATIONS:
        generator = random.Random(f"arithmetic/{operations}/{split}/{seed}")
        seen: set[str] = set()
        while len(seen) < count:
            text, value = _expression(generator, operations)
            if text in seen or split_of(text) != split or _digits(value) > MOST_DIGITS:
                continue
            seen.add(text)
            examples.append(_example(text, value, operations))
    return examples


def split_of(text: str) -> str:
    """Which split an expression belongs to: a hash of its text, nothing else."""
    return ("validation", "test")[hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % 2]


def _example(text: str, value: Fraction, operations: int) -> Example:
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return Example(
        id=f"arithmetic-{operations}-{digest}",
        question=f"Evaluate {text[1:-1]}.",  # without the outermost brackets
        answer=str(value),
        domain="arithmetic",
        family=f"operations_{operations:02}",
    )


def _expression(generator: random.Random, operations: int) -> tuple[str, Fraction]:
    """An expression in brackets, with so many operations, and its exact value; no division by 0."""
    if operations == 0:
        if generator.random() < 0.2:
            bottom = generator.randint(2, 9)
            top = generator.randint(1, 9)
            return f"({top}/{bottom})", Fraction(top, bottom)
        number = generator.randint(0, 100)
        return str(number), Fraction(number)
    left = generator.randrange(operations)
    first, a = _expression(generator, left)
    second, b = _expression(generator, operations - 1 - left)
    # Products and quotients of long parts have golds of hundreds of digits: sums are likelier.
    weights = (4, 4, 2, 1) if operations < 4 else (4, 4, 1, 1)
    sign = generator.choices("+-*/" if b else "+-*", weights if b else weights[:3])[0]
    value = {"+": a + b, "-": a - b, "*": a * b}[sign] if sign != "/" else a / b
    return f"({first} {sign} {second})", value


def _digits(value: Fraction) -> int:
    return max(len(str(abs(value.numerator))), len(str(value.denominator)))
