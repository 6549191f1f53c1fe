r"""How an answer is laid out: lists, brackets, relations, unions, read from its text alone.

`laid_out` turns a respelled answer (spelling.py) into a tree whose leaves are single expressions
(`Value`) or words. The LaTeX grammar sees leaves only: it reads `(8,-2)` and `\{8,-2\}` into
objects that math-verify compares as equal, and takes every equation for its right side.
Not here: what an expression means (values.py), what equals what (matching.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from oneshot_rlvr.verifiers.fonts import FONT
from oneshot_rlvr.verifiers.trailing_units import without_units
from oneshot_rlvr.verifiers.words import Words, words

MAX_DEPTH = 12  # of brackets inside brackets that are looked into
MAX_ITEMS = 256

_VISUAL = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|middle)(?=\s?(?:[\[\](){}|./<>]|\\[{}|]|\\[lr]?(?:angle|vert|brace"
    r"|brack|ceil|floor|Vert)(?![A-Za-z])))\s?\.?"
)
_SPELLED = (
    (re.compile(r"\\lbrace(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\lbrack(?![A-Za-z])"), "["),
    (re.compile(r"\\rbrack(?![A-Za-z])"), "]"),
    (re.compile(r"\\(?:leq|leqslant|leqq|le)(?![A-Za-z])|<=|=<|<\s="), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant|geqq|ge)(?![A-Za-z])|>=|>\s=|=>(?!=)"), r"\\ge "),
    (re.compile(r"\\(?:neq|ne|not\s?=)(?![A-Za-z])|!=|\\not\s?="), r"\\ne "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:simeq|thickapprox|approxeq|cong(?![A-Za-z]))(?![A-Za-z])|~="), r"\\approx "),
    (re.compile(r"(?<!\\)\\(?:space|enspace|thinspace|,|;|:|!|>|\s)(?![A-Za-z])"), " "),
)
_TOKEN = re.compile(
    rf"\\begin\s?\{{[a-zA-Z*]{{1,20}}\}}|\\end\s?\{{[a-zA-Z*]{{1,20}}\}}|{FONT}\s?\{{[^{{}}]*\}}"
    r"|\\[lr]angle(?![A-Za-z])|\\[A-Za-z]+|\\.|[\[\](){}]|.",
    re.DOTALL,
)
_OPENING = frozenset({"(", "[", "{", "\\{", "\\langle"})
_CLOSING = frozenset({")", "]", "}", "\\}", "\\rangle"})
_LIST_TEXT = re.compile(rf"{FONT}\s?\{{[\s,;~]*(?:,|;|and|or|AND|OR|&)[\s,;~]*\}}")
_LIST_TOKENS = frozenset({",", "\\lor", "\\vee", "\\quad", "\\qquad"})
_RELATIONS = frozenset(
    {
        "=", "<", ">", "\\le", "\\ge", "\\ne", "\\approx", "\\equiv", "\\sim", "\\propto", "\\to",
        "\\rightarrow", "\\Rightarrow", "\\implies", "\\mapsto", "\\subset", "\\subseteq",
        "\\supset", "\\supseteq", "\\notin", "\\mid", "\\nmid", "\\ll", "\\gg", "\\not",
    }
)  # fmt: skip
_MEMBER = frozenset({"\\in"})
_UNION = frozenset({"\\cup"})
_THOUSANDS = re.compile(r"[-+]?\s?\\?\$?\s?(?!0)\d{1,3}(?:,\d{3})+(?:\.\d+)?")
# 0,5 and 1000,99 are no lists: a comma that cannot part thousands, before decimals. 1,22 may be a
# list or not: symbolic.py compares it as both.
_DECIMAL_COMMA = re.compile(r"([-+]?0),(\d{1,12})|([-+]?\d{4,}),(\d{1,2})")
_WORD_BETWEEN = re.compile(
    r"(?<=[\s)\]}\d])(?:,\s?)?(?:and|or|OR|AND)(?=[\s(\[\\\d-])|(?<=\d)or(?=[A-Z]\()"
)
_COMMA_WORD = re.compile(rf",\s*(?:\\quad|\\qquad|,|{FONT}\s?\{{\s*(?:and|or)\s*\}})\s*")
_COLUMN = re.compile(r"\\begin\s?\{([bpvBV]?matrix|array)\}\s?(?:\{[clr|\s]{1,20}\})?")
_SET_BUILDER = re.compile(
    r"^\s*[A-Za-z](?:\\in\s?\\mathbb\s?\{?R\}?)?\s*(?:\\mid(?![A-Za-z])|\||:)\s*(.+)$"
)
_RANGE = re.compile(
    r"\s*(?:\\text\s?\{[a-z\s,]*\}\s?)?([a-z])\s?\\in\s?\\(?:mathbb|mathbf|Bbb)\s?\{?[ZN]\}?(?:[_^]\S{1,3})?\s*"
)
_UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|hat|vec|boldsymbol|bm|widehat)\s?\{?\s?\\?([ijk])(?:math)?\s?\}?(?:\s?\})?(?![A-Za-z])"
)
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Value:
    """One expression, as LaTeX."""

    latex: str


@dataclass(frozen=True, slots=True)
class Relation:
    r"""Sides and the relations between them: `a < b \le c` has three sides and two marks."""

    sides: tuple[Node, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Named:
    r"""`name \in set` or `(x, y) = (1, 2)`: a statement of membership."""

    name: str
    value: Node


@dataclass(frozen=True, slots=True)
class Sequence:
    r"""Items between brackets; a bare list has none ("" and ""), a vector "<" and ">"."""

    opening: str
    closing: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Union:
    r"""Parts joined by `\cup`."""

    parts: tuple[Node, ...]


Node = Value | Words | Relation | Named | Sequence | Union


def laid_out(text: str) -> Node | None:
    """The layout of a respelled answer; None for an empty one."""
    text = _VISUAL.sub("", text)
    for pattern, replacement in _SPELLED:
        text = pattern.sub(replacement, text)
    return _node(text, 0)


def _node(text: str, depth: int) -> Node | None:
    text = _bare(text)
    if not text:
        return None
    said = words(text)
    if said is not None:
        return said
    if depth > MAX_DEPTH:
        return Value(text)
    if _THOUSANDS.fullmatch(text):
        return Value(text.replace(",", ""))
    decimal = _DECIMAL_COMMA.fullmatch(text)
    if decimal:
        return Value(f"{decimal[1] or decimal[3]}.{decimal[2] or decimal[4]}")
    rows = split(text, frozenset({";"}))[0]
    if len(rows) > 1:
        return _sequence("", "", rows, depth)
    items, _ = split(_COMMA_WORD.sub(",", _WORD_BETWEEN.sub(",", text)), _LIST_TOKENS, _LIST_TEXT)
    items = [item for item in items if item.strip()]
    if len(items) > 1:
        items = _without_ranges(items)
    if len(items) > 1:
        return _sequence("", "", items, depth)
    if not items:
        return None
    text = items[0].strip() if items[0].strip() != text else text
    return _statement(text, depth)


def _without_ranges(items: list[str]) -> list[str]:
    r"""Items but `k \in \mathbb{Z}`, which says what the k of another one may be."""
    ranges = [_RANGE.fullmatch(item) for item in items]
    others = [item for item, found in zip(items, ranges, strict=True) if found is None]
    letters = [found[1] for found in ranges if found]
    used = all(any(letter in item for item in others) for letter in letters)
    return others if others and used else items


def _statement(text: str, depth: int) -> Node | None:
    sides, marks = split(text, _RELATIONS)
    if marks:
        nodes = tuple(_node(side, depth + 1) or Value("") for side in sides)
        return Relation(nodes, tuple(marks))
    member, marks = split(text, _MEMBER)
    if len(marks) == 1:
        value = _node(member[1], depth + 1)
        return Named(member[0].strip(), value) if value is not None else None
    parts, marks = split(text, _UNION)
    if marks:
        nodes = tuple(_node(part, depth + 1) or Value("") for part in parts)
        return Union(nodes)
    return _bracketed(text, depth)


def _bracketed(text: str, depth: int) -> Node | None:
    matrix = _COLUMN.match(text)
    if matrix and text.rstrip().endswith(f"\\end{{{matrix[1]}}}"):
        body = text[matrix.end() : text.rindex("\\end")]
        if "\\begin" not in body:
            return _matrix(body, depth)
    first, last = _ends(text)
    if first in _OPENING and last in _CLOSING:
        inside = text[len(first) : len(text) - len(last)]
        if first == "\\{":
            builder = _SET_BUILDER.match(inside)
            if builder:
                return _node(builder[1], depth + 1)
        parts = split(inside, frozenset({",", ";"}))[0]
        mark = {"\\{": "{", "\\langle": "<"}.get(first, first)
        close = {"\\}": "}", "\\rangle": ">"}.get(last, last)
        if len(parts) > 1:
            return _sequence(mark, close, parts, depth)
        if inside.lstrip().startswith("\\begin") and mark in "([":
            return _node(inside, depth + 1)
        if (mark != "(" and mark != "{") or first == "\\{":
            return _sequence(mark, close, parts, depth) if inside.strip() else Value(text)
        if mark == "(" and close == ")":
            inner = _node(inside, depth + 1)
            return inner if not isinstance(inner, Words) else Value(text)
    vector = _unit_vectors(text)
    if vector is not None:
        return vector
    if _PLUS_MINUS.search(text):
        plus = _PLUS_MINUS.sub(lambda m: "+" if m[1] == "pm" else "-", text)
        minus = _PLUS_MINUS.sub(lambda m: "-" if m[1] == "pm" else "+", text)
        return Sequence("", "", (Value(plus.lstrip("+ ")), Value(minus.lstrip("+ "))))
    return Value(without_units(text) if depth else text)


def _unit_vectors(text: str) -> Sequence | None:
    r"""`3\mathbf{i} - 2\mathbf{j}` as the vector (3, -2)."""
    if not _UNIT_VECTOR.search(text):
        return None
    parts = {"i": "0", "j": "0"}
    start = 0
    for unit in _UNIT_VECTOR.finditer(text):
        share = text[start : unit.start()].strip().removeprefix("+").strip()
        parts[unit[1]] = {"": "1", "-": "-1"}.get(share, share)
        start = unit.end()
        if split(share, frozenset({"+"}))[1] or "-" in share[1:]:
            return None
    if text[start:].strip():
        return None
    return Sequence("<", ">", tuple(Value(parts[name]) for name in "ijk" if name in parts))


def _matrix(body: str, depth: int) -> Node | None:
    rows = [row for row in split(body, frozenset({"\\\\"}))[0] if row.strip()]
    cells = [split(row, frozenset({"&"}))[0] for row in rows]
    if len(cells) == 1 or all(len(row) == 1 for row in cells):
        return _sequence("<", ">", [cell for row in cells for cell in row], depth)
    nodes = [_sequence("<", ">", row, depth) for row in cells]
    if any(node is None for node in nodes):
        return None
    return Sequence("matrix", "matrix", tuple(node for node in nodes if node is not None))


def _sequence(opening: str, closing: str, parts: list[str], depth: int) -> Sequence | None:
    if len(parts) > MAX_ITEMS:
        return None
    items: list[Node] = []
    for part in parts:
        node = _node(part, depth + 1)
        if node is None:
            return None
        spread = isinstance(node, Sequence) and not node.opening and r"\pm" in part
        items.extend(node.items if isinstance(node, Sequence) and spread else (node,))
    return Sequence(opening, closing, tuple(items))


def split(
    text: str, marks: frozenset[str], texts: re.Pattern[str] | None = None
) -> tuple[list[str], list[str]]:
    """The parts of a text between marks that stand outside all brackets, and the marks."""
    parts, found, depth, start = [], [], 0, 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in _OPENING or mark.startswith("\\begin"):
            depth += 1
        elif mark in _CLOSING or mark.startswith("\\end"):
            depth -= 1
        elif depth == 0 and (mark in marks or (texts is not None and texts.fullmatch(mark))):
            parts.append(text[start : token.start()])
            found.append(mark)
            start = token.end()
    parts.append(text[start:])
    return parts, found


def _ends(text: str) -> tuple[str, str]:
    """The bracket that opens a text and the one that closes it at its very end, else empty."""
    depth, first, last = 0, "", ""
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in _OPENING or mark.startswith("\\begin"):
            depth += 1
        elif mark in _CLOSING or mark.startswith("\\end"):
            depth -= 1
            if depth == 0 and token.end() < len(text):
                return "", ""
        if token.start() == 0:
            if depth != 1:
                return "", ""
            first = mark
        last = mark
    return (first, last) if depth == 0 else ("", "")


def _bare(text: str) -> str:
    """Without outer spaces, a final full stop and braces that hold the whole."""
    text = text.strip()
    for _ in range(4):
        first, last = _ends(text)
        if first != "{" or last != "}":
            break
        text = text[1:-1].strip()
    return text
