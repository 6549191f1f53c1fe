r"""Whether two laid-out answers are the same answer: the rules for lists, brackets and relations.

`Matcher.equal` decides and leaves the name of the rule that decided in `rule` (RULES tells it in
words, as `oneshot verify --explain` does). Single expressions are compared in values.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence as Items

from oneshot_rlvr.verifiers import values
from oneshot_rlvr.verifiers.intervals import (
    FLIPPED,
    as_set,
    interval_of,
    is_name_node,
    two_intervals,
)
from oneshot_rlvr.verifiers.layout import Named, Node, Relation, Sequence, Union, Value
from oneshot_rlvr.verifiers.names import is_name, is_plain, stem
from oneshot_rlvr.verifiers.numbers import DECIMALS
from oneshot_rlvr.verifiers.words import Words

# What a relation is read from its right; others (p \\to q) cannot be.
_BACKWARDS = {
    **FLIPPED,
    **{mark: mark for mark in ("=", "\\ne", "\\approx", "\\equiv", "\\sim", "\\propto")},
    "\\subset": "\\supset",
    "\\supset": "\\subset",
    "\\subseteq": "\\supseteq",
    "\\supseteq": "\\subseteq",
    "\\ll": "\\gg",
    "\\gg": "\\ll",
}
_ORDERED = frozenset({"(", "<", "[", "matrix"})
_AND = re.compile(r",\s*(?:and\s+)?|\s+and\s+|\s+&\s+")


class Matcher:
    """One comparison. percent_asked: a bare gold may be a percentage, as the question wants one;
    decimals: the places to which a decimal must agree; inequality_for_set: `a < x < b` may answer
    `(a, b)`."""

    def __init__(
        self,
        percent_asked: bool = False,
        decimals: int = DECIMALS,
        inequality_for_set: bool = True,
    ) -> None:
        self.percent_asked = percent_asked
        self.decimals = decimals
        self.inequality_for_set = inequality_for_set
        self.rule = "expression"

    def equal(self, wanted: Node, said: Node) -> bool:
        """Whether `said` answers `wanted`."""
        if isinstance(wanted, Words) or isinstance(said, Words):
            if isinstance(wanted, Words) and isinstance(said, Words):
                return self._by("words", _each(wanted) == _each(said))
            if not (_letter(wanted) or _letter(said)):
                return self._by("words", values.plain(wanted) == values.plain(said) != "")
            wanted, said = _as_value(wanted), _as_value(said)
        wanted, said = _zipped(wanted), _zipped(said)
        if isinstance(wanted, Named):
            return self.equal(wanted.value, said)
        if isinstance(said, Named):
            if not (is_name(said.name) or said.name == ""):
                return self._by("left-side", False)
            return self.equal(wanted, said.value)
        if isinstance(wanted, Relation):
            return self._relation(wanted, said)
        if isinstance(said, Relation):
            return self._stated(wanted, said)
        if isinstance(wanted, Union) or isinstance(said, Union):
            return self._by("union", self._any_order(_parts(wanted), _parts(said)))
        if isinstance(wanted, Sequence) or isinstance(said, Sequence):
            return self._sequences(wanted, said)
        assert isinstance(wanted, Value)
        assert isinstance(said, Value)
        verdict, rule = values.equal(wanted.latex, said.latex, self.percent_asked, self.decimals)
        return self._by(rule, verdict)

    def _by(self, rule: str, verdict: bool) -> bool:
        self.rule = rule
        return verdict

    # Lists, tuples, sets, intervals, vectors.

    def _sequences(self, wanted: Node, said: Node) -> bool:
        left, right = _sequence(wanted), _sequence(said)
        if left is None or right is None:
            return self._by("brackets", False)
        if not _brackets_agree(left, right):
            return self._by("brackets", False)
        if left.opening in _ORDERED or right.opening in _ORDERED or self._names_differ(left, right):
            return self._by("order", self._in_order(*_arranged(left.items, right.items)))
        return self._by("list", self._any_order(left.items, right.items))

    def _names_differ(self, left: Sequence, right: Sequence) -> bool:
        """Whether the items are values of different unknowns, so that their order says which."""
        wanted, said = _names(left.items), _names(right.items)
        distinct = len({stem(n) for n in wanted}) > 1
        if (
            distinct
            and said
            and {n.replace(" ", "") for n in said} == {n.replace(" ", "") for n in wanted}
        ):
            return False  # both name them: compared by name
        return distinct or (not wanted and len({stem(n) for n in said}) > 1)

    def _in_order(self, wanted: Items[Node], said: Items[Node]) -> bool:
        return len(wanted) == len(said) and all(map(self.equal, wanted, said))

    def _any_order(self, wanted: Items[Node], said: Items[Node]) -> bool:
        """Equal as sets: a list with repeats is what it lists."""
        if len(wanted) > values.MAX_LIST or len(said) > values.MAX_LIST:
            return False
        unmet = list(wanted)
        for item in said:
            if not any(self.equal(other, item) for other in wanted):
                return False
            unmet = [other for other in unmet if not self.equal(other, item)]
        return not unmet

    # Equations, inequalities and other relations.

    def _stated(self, wanted: Node, said: Relation) -> bool:
        """A value (or set) against a statement about one."""
        if set(said.marks) <= {"=", "\\approx"}:
            return self._chain(wanted, said)
        if not self.inequality_for_set:
            return self._by("relation", False)
        if isinstance(wanted, Union) and (outside := two_intervals(said)) is not None:
            return self.equal(wanted, outside)
        interval = interval_of(said)
        if interval is not None and isinstance(wanted, (Sequence, Union)) and not _bare(wanted):
            return self._by("interval", self.equal(wanted, interval[1]))
        return self._by("relation", False)

    def _chain(self, wanted: Node, said: Relation) -> bool:
        """`x = a = b`: every side a name or equal to the next; the last one (or, before an
        approximation, the exact one) is the answer."""
        sides = [side for side in said.sides if not is_name_node(side)]
        marks = [m for m, side in zip(said.marks, said.sides[1:], strict=True)]
        if not sides:
            sides, marks = [said.sides[-1]], []
        named = len(said.sides) - len(sides)
        if any(is_name_node(side) for side in said.sides[named:]) and len(sides) > 1:
            return self._by("left-side", False)
        joints = marks[named:] if named else marks
        for left, right, mark in zip(sides, sides[1:], joints, strict=False):
            if mark == "=":
                if not self.equal(left, right):
                    return self._by("left-side", False)
            elif not _approximates(left, right):
                return self._by("approximation", False)
        verdict = self.equal(wanted, sides[-1])
        if not verdict and "\\approx" in joints:
            verdict = any(self.equal(wanted, side) for side in sides[:-1])
        return verdict

    def _relation(self, wanted: Relation, said: Node) -> bool:
        if set(wanted.marks) <= {"=", "\\approx"}:
            return self._equation(wanted, said)
        if isinstance(said, Relation):
            return self._by("relation", self._same_relation(wanted, said))
        if isinstance(said, Union) and (outside := two_intervals(wanted)) is not None:
            return self.equal(outside, said)
        interval = interval_of(wanted)
        if interval is not None and isinstance(said, (Sequence, Union)) and not _bare(said):
            return self._by("interval", self.equal(interval[1], said))
        last = wanted.sides[-1]
        if wanted.marks == ("\\equiv",) and isinstance(last, Value) and isinstance(said, Value):
            return self._by(
                "relation", values.canonical(last.latex) == values.canonical(said.latex)
            )
        return self._by("relation", False)

    def _equation(self, wanted: Relation, said: Node) -> bool:
        first, last = wanted.sides[0], wanted.sides[-1]
        named = is_name_node(first)
        if not isinstance(said, Relation):
            if named or self._true_arithmetic(wanted):
                return self.equal(last, said)
            return self._by("left-side", False)
        if not set(said.marks) <= {"=", "\\approx"}:
            return self._by("relation", False)
        if _same_text(first, said.sides[0]):
            return self.equal(last, Relation(said.sides, said.marks) if named else said.sides[-1])
        if named and values.is_constant(last):
            other = said.sides[0]
            if _names_conflict(first, other):
                return self._by("left-side", False)  # x = 5 and y = 5 are two answers
            if _plain_name(said.sides[-1]) and len(said.sides) == 2:
                return self.equal(wanted, Relation(said.sides[::-1], said.marks))  # 5 = x
            return self._chain(last, said)
        if self._by("equation", self._same_relation(wanted, said)):
            return True
        function = (
            named and is_name_node(said.sides[0]) and not _names_conflict(first, said.sides[0])
        )
        return self.equal(last, said.sides[-1]) if function else self._by("equation", False)

    def _true_arithmetic(self, wanted: Relation) -> bool:
        """Whether a gold is arithmetic that comes to its right side: `64 - 27 = 37` states 37."""
        first, last = wanted.sides[0], wanted.sides[-1]
        return (
            set(wanted.marks) == {"="}
            and not _same_text(first, last)
            and all(map(values.is_constant, wanted.sides))
            and all(self.equal(side, last) for side in wanted.sides[:-1])
        )

    def _same_relation(self, wanted: Relation, said: Relation) -> bool:
        """The same sides and marks (also read backwards), or one a multiple of the other."""
        if len(wanted.sides) != len(said.sides):
            return False
        backwards = tuple(_BACKWARDS.get(m, "") for m in said.marks[::-1])
        for sides, marks in ((said.sides, said.marks), (said.sides[::-1], backwards)):
            if marks == wanted.marks and self._in_order(wanted.sides, sides):
                return True
        if len(wanted.marks) != 1 or not all(
            isinstance(side, (Value, Words)) for side in (*wanted.sides, *said.sides)
        ):
            return False
        sign = values.multiple(
            [values.text(side) for side in wanted.sides], [values.text(side) for side in said.sides]
        )
        if wanted.marks[0] in ("=", "\\ne"):
            return wanted.marks == said.marks and sign in (1, -1)
        flipped = FLIPPED.get(said.marks[0])
        return (sign == 1 and wanted.marks == said.marks) or (
            sign == -1 and flipped == wanted.marks[0]
        )


def _brackets_agree(wanted: Sequence, said: Sequence) -> bool:
    left, right = wanted.opening + wanted.closing, said.opening + said.closing
    if left == right:
        return True
    if left == "":
        return right in ("{}", "()", "<>")
    if right == "":
        return left in ("{}", "()", "<>")
    return {left, right} == {"()", "<>"}


def _sequence(node: Node) -> Sequence | None:
    """A node as a sequence; one value is the set of it, and no interval."""
    if isinstance(node, Sequence):
        if len(node.items) == 1 and node.opening not in ("{", ""):
            return None if node.opening != "<" else node
        return node
    return Sequence("", "", (node,)) if isinstance(node, (Value, Words)) else None


def _parts(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Union):
        return node.parts
    if isinstance(node, Sequence) and not node.opening:
        return tuple(as_set(item) for item in node.items)
    return (as_set(node),)


def _each(said: Words) -> list[str]:
    """What words name, in no order: "Ann and Bob" are Bob and Ann."""
    return sorted(_AND.split(said.text))


def _zipped(node: Node) -> Node:
    """`(y, x) = (1, 2)` as (y = 1, x = 2); other nodes as they are."""
    if not isinstance(node, Relation) or node.marks != ("=",):
        return node
    names, said = node.sides
    if (
        not (isinstance(names, Sequence) and isinstance(said, Sequence))
        or len(names.items) != len(said.items)
        or len(names.items) < 2
        or not is_name_node(names)
    ):
        return node
    items = zip(names.items, said.items, strict=True)
    return Sequence(said.opening, said.closing, tuple(Relation(pair, ("=",)) for pair in items))


def _arranged(wanted: Items[Node], said: Items[Node]) -> tuple[Items[Node], Items[Node]]:
    """The values of both in one order: by their names where both have them, coordinates by x, y
    and z where one has them, else as they stand."""
    left, right = _names(wanted), _names(said)
    if len(left) == len(wanted) == len(right) == len(said) and set(left) == set(right):
        by_name = dict(zip(right, _values(said), strict=True))
        return _values(wanted), [by_name[name] for name in left]
    return _by_coordinate(wanted, left), _by_coordinate(said, right)


def _by_coordinate(items: Items[Node], names: Items[str]) -> Items[Node]:
    found = _values(items)
    if len(set(names)) != len(items) or not set(names) <= {"x", "y", "z"}:
        return found
    return [value for _, value in sorted(zip(names, found, strict=True), key=lambda pair: pair[0])]


def _names(items: Items[Node]) -> list[str]:
    """The names of items that are `name = value`; [] unless the first one is."""
    found = []
    for item in items:
        if isinstance(item, Relation) and set(item.marks) == {"="} and is_name_node(item.sides[0]):
            found.append(values.text(item.sides[0]))
    return found


def _values(items: Items[Node]) -> list[Node]:
    """Items without their names."""
    return [
        item.sides[-1]
        if isinstance(item, Relation) and item.marks == ("=",) and is_name_node(item.sides[0])
        else item
        for item in items
    ]


def _bare(node: Node) -> bool:
    return (
        isinstance(node, Sequence)
        and not node.opening
        and not all(isinstance(item, (Relation, Sequence)) for item in node.items)
    )


def _plain_name(node: Node) -> bool:
    return isinstance(node, (Words, Value)) and is_plain(values.text(node))


def _names_conflict(wanted: Node, said: Node) -> bool:
    """Whether both sides name, and not the same: x and y, f(x) and g(x); y may stand for f(x)."""
    if _plain_name(wanted) and _plain_name(said):
        return True
    primes = [
        values.text(node).count("'") + values.text(node).count("prime") for node in (wanted, said)
    ]
    if primes[0] != primes[1]:
        return True  # y' and y
    heads = [values.canonical(values.text(node)).partition("(") for node in (wanted, said)]
    return all(mark for _, mark, _ in heads) and heads[0][0] != heads[1][0]


def _same_text(left: Node, right: Node) -> bool:
    if isinstance(left, (Value, Words)) and isinstance(right, (Value, Words)):
        return values.canonical(values.text(left)) == values.canonical(values.text(right))
    return left == right


def _letter(node: Node) -> bool:
    return isinstance(node, Words) and len(node.text) == 1


def _as_value(node: Node) -> Node:
    return Value(node.text) if isinstance(node, Words) else node


def _approximates(exact: Node, rounded: Node) -> bool:
    if isinstance(exact, (Value, Words)) and isinstance(rounded, (Value, Words)):
        return values.rounds_to(values.text(exact), values.text(rounded))
    if isinstance(exact, Sequence) and isinstance(rounded, Sequence):
        return len(exact.items) == len(rounded.items) and all(
            map(_approximates, exact.items, rounded.items)
        )
    return False
