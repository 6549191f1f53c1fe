r"""Inequalities as the intervals that they say: `a < x \le b`, `|x| > a`, `x \ne a`.

Not here: whether two intervals are the same (matching.py).
"""

from __future__ import annotations

import re

from oneshot_rlvr.verifiers import values
from oneshot_rlvr.verifiers.layout import Node, Relation, Sequence, Union, Value
from oneshot_rlvr.verifiers.names import is_name, says_operation
from oneshot_rlvr.verifiers.words import Words

_LESS, _MORE = {"<": ">", "\\le": "\\ge"}, {">": "<", "\\ge": "\\le"}
FLIPPED = {**_LESS, **_MORE}
_SIZE = re.compile(r"(?:\||\\lvert\s?)\s?([A-Za-z])\s?(?:\||\\rvert)")


def is_name_node(node: Node) -> bool:
    """Whether a side only names something: x, f(2), (x, y), [ABC], "Total cost"."""
    if isinstance(node, Sequence):
        area = node.opening == "[" and len(node.items) == 1  # [ABC], the area of a triangle
        return (node.opening == "(" or area) and all(is_name_node(item) for item in node.items)
    if isinstance(node, Words):
        return not says_operation(node.text)
    return isinstance(node, Value) and is_name(node.latex)


def interval_of(node: Relation) -> tuple[str, Sequence] | None:
    r"""`a < x \le b` as the name and the interval; None for any other relation."""
    sides, marks = list(node.sides), list(node.marks)
    if not all(m in FLIPPED for m in marks):
        return None
    if all(m in _MORE for m in marks):
        sides, marks = sides[::-1], [FLIPPED[m] for m in marks[::-1]]
    if not all(m in _LESS for m in marks):
        return None
    low, high = Value("-\\infty"), Value("\\infty")
    name: Node
    ends: tuple[Node, str, str, Node]
    if len(sides) == 2 and (size := _SIZE.fullmatch(values.text(sides[0]))):
        name, low = Value(size[1]), Value(f"-({values.text(sides[1])})")  # |x| < a
        ends = (low, marks[0], marks[0], sides[1])
    elif len(sides) == 2 and is_name_node(sides[0]):
        name, ends = sides[0], (low, "<", marks[0], sides[1])
    elif len(sides) == 2 and is_name_node(sides[1]):
        name, ends = sides[1], (sides[0], marks[0], "<", high)
    elif len(sides) == 3 and is_name_node(sides[1]):
        name, ends = sides[1], (sides[0], marks[0], marks[1], sides[2])
    else:
        return None
    bounds = Sequence(_opening(ends[1]), _closing(ends[2]), (ends[0], ends[3]))
    return values.text(name), bounds


def as_set(node: Node) -> Node:
    """An inequality as its interval; other nodes as they are."""
    interval = interval_of(node) if isinstance(node, Relation) else None
    return node if interval is None else interval[1]


def two_intervals(node: Relation) -> Union | None:
    r"""`x \ne a`, `|x| > a` and `a < |x| < b` as two intervals; None for any other relation."""
    sides, marks = list(node.sides), list(node.marks)
    low, high = Value("-\\infty"), Value("\\infty")
    if marks == ["\\ne"] and is_name_node(sides[0]):
        return Union((Sequence("(", ")", (low, sides[1])), Sequence("(", ")", (sides[1], high))))
    if all(mark in _MORE for mark in marks):
        sides, marks = sides[::-1], [_MORE[mark] for mark in marks[::-1]]
    if (
        not all(mark in _LESS for mark in marks)
        or len(sides) not in (2, 3)
        or not _SIZE.fullmatch(values.text(sides[1]))
    ):
        return None
    near, far = sides[0], sides[2] if len(sides) == 3 else high
    inner, outer = marks[0], marks[1] if len(marks) == 2 else "<"
    left, right = _opening(inner), _closing(outer)
    mirrored = tuple(Value(f"-({values.text(end)})") for end in (far, near))
    return Union(
        (Sequence(_opening(outer), _closing(inner), mirrored), Sequence(left, right, (near, far)))
    )


def _opening(mark: str) -> str:
    return "(" if mark == "<" else "["


def _closing(mark: str) -> str:
    return ")" if mark == "<" else "]"


def conjoined(node: Node) -> Node:
    """`x > 2, x < 5` as the interval (2, 5); other nodes, and two unknowns, as they are."""
    if not isinstance(node, Sequence) or node.opening or len(node.items) != 2:
        return node
    found = [interval_of(item) for item in node.items if isinstance(item, Relation)]
    if len(found) != 2 or None in found:
        return node
    (one, first), (other, second) = (pair for pair in found if pair is not None)
    if one != other:
        return node
    if values.text(first.items[0]) == "-\\infty":
        first, second = second, first
    low, high = first.items[0], second.items[1]
    unbounded = values.text(first.items[1]), values.text(second.items[0])
    if unbounded != ("\\infty", "-\\infty") or not values.less(low, high):
        return node
    return Sequence(first.opening, second.closing, (low, high))
