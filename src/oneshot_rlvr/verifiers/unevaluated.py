r"""Whether an answer is carried out: `3*4` and `\sqrt{144}` are not, 12 and `2\sqrt{3}` are.

For `evaluated = "simplified"`. Arithmetic of bare numbers must be done, fractions reduced, roots of
perfect powers taken; what the gold itself leaves undone (`2^{2020}`) may stay. Imports sympy.
"""

from __future__ import annotations

import re
from typing import Any

import sympy

from oneshot_rlvr.verifiers import expressions, values
from oneshot_rlvr.verifiers.layout import Named, Node, Relation, Sequence, Union, Value
from oneshot_rlvr.verifiers.numbers import plain_number

MAX_NODES = 400
_BARE_FRACTION = re.compile(r"\\[dt]?frac\s?(\d)\s?(\d)(?!\d)")
_COUNTED = re.compile(r"\\(?:[dt]?binom|gcd|lcm|choose)(?![A-Za-z])")
# Of numbers alone, these come to a number: log_2 8, |-3|, sin 30 degrees, a sum with its ends.
_CARRIED_OUT = (sympy.Function, sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit)


def as_simple(said: Node | None, wanted: Node | None) -> bool:
    """Whether the answer leaves nothing undone that the gold does not leave undone as well."""
    left = [undone(leaf) for leaf in _leaves(said)]
    allowed = {kind for leaf in _leaves(wanted) for kind in undone(leaf)}
    return all(kinds <= allowed for kinds in left)


def undone(latex: str) -> frozenset[str]:
    """The kinds of arithmetic that an expression leaves undone."""
    core = values.core(latex)
    core = _BARE_FRACTION.sub(r"\\frac{\1}{\2}", core)
    if plain_number(core) is not None:
        return frozenset({"fraction"} if _reducible(core) else ())
    value = expressions.expression(core)
    if _COUNTED.search(core) and getattr(value, "is_number", False):
        return frozenset({"function"})  # the grammar evaluates it
    if not isinstance(value, sympy.Basic):
        return frozenset()
    found: set[str] = set()
    for node in list(sympy.preorder_traversal(value))[:MAX_NODES]:
        kind = _kind(node)
        if kind:
            found.add(kind)
    if r"\times 10" in latex:
        found -= {"product", "power"}  # scientific notation
    return frozenset(found)


def _kind(node: Any) -> str | None:
    numbers = [arg for arg in node.args if getattr(arg, "is_Rational", False) or arg.is_Float]
    if node.is_Add and len(numbers) > 1:
        return "sum"
    if node.is_Mul:
        whole = [n for n in numbers if n != -1]
        inverse = [a for a in node.args if a.is_Pow and a.exp == -1 and a.base.is_Rational]
        if len(whole) == len(inverse) == 1 and whole[0].is_Integer and inverse[0].base.is_Integer:
            bottom = abs(inverse[0].base)
            return "fraction" if bottom == 1 or sympy.igcd(whole[0], bottom) > 1 else None
        return "product" if len(whole) + len(inverse) > 1 and len(whole) > 0 else None
    if node.is_Pow and node.base.is_Rational and node.exp.is_Rational:
        if node.exp.is_Integer:
            return "power" if node.exp != -1 else None
        return "root" if node.exp > 0 and not (node.base**node.exp).is_Pow else None
    if isinstance(node, sympy.factorial) and numbers:
        return "factorial"
    return "function" if isinstance(node, _CARRIED_OUT) and not node.free_symbols else None


def _reducible(text: str) -> bool:
    parts = [
        int(p)
        for p in text.replace("{", " ").replace("}", " ").replace("/", " ").split()
        if p.isdigit()
    ]
    return len(parts) == 2 and (parts[1] == 1 or sympy.igcd(*parts) > 1)


def _leaves(node: Node | None) -> list[str]:
    if isinstance(node, Value):
        return [node.latex]
    if isinstance(node, Sequence):
        return [leaf for item in node.items for leaf in _leaves(item)]
    if isinstance(node, Union):
        return [leaf for item in node.parts for leaf in _leaves(item)]
    if isinstance(node, Named):
        return _leaves(node.value)
    if isinstance(node, Relation):
        return _leaves(node.sides[-1])
    return []
