r"""Boxes: where a text states its final answer as `\boxed{...}`.

Braces are balanced as TeX reads them (`\{` and `\}` are not grouping), in one pass over the text.
A box that never closes (a truncated answer) is no box; the last one that closes counts.
Not here: what the content means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_JOINT_CHARS = 80
_OPENING = "\\boxed"
_TOKEN = re.compile(r"(\\boxed\s{0,8}\{)|\\(?:.|$)|([{}])", re.DOTALL)
# A box with at most one level of braces in it, as most are: what `boxes` would find, at once.
_PLAIN = r"[^{}\\]*(?:\\[^{}][^{}\\]*)*"
_ONLY = re.compile(rf"\\boxed\s{{0,8}}\{{({_PLAIN}(?:\{{{_PLAIN}\}}{_PLAIN})*)\}}")
# What may stand between boxes that are one list answer: spaces, commas, "and", "or", \quad and the
# marks that open and close inline mathematics; in \text{} also "for part (a) and".
_JOINT = re.compile(
    r"(?:\s|,|;|\$|\\[()\[\],;:! ]|~|\b(?:and|or)\b|\\q?quad\b|\\(?:vee|lor)\b"
    r"|\\text\s?\{\s{0,8}(?:for (?:part|case|problem|question) \(?\w{1,3}\)?\s{0,8})?,?\s{0,8}"
    r"(?:and|or|,)?\s{0,8}\})*"
)
# `x = \boxed{1}, y = \boxed{2}`
_NAME = re.compile(r"(?<![\w}^+\-*/])([A-Za-z](?:_\s?(?:\{\w{1,4}\}|\w))?)\s{0,4}=\s{0,4}$")


@dataclass(frozen=True, slots=True)
class Box:
    """One complete box: text[start:end] is the whole of it, `content` is inside its braces."""

    start: int
    end: int
    content: str


def boxes(text: str) -> list[Box]:
    """Complete boxes that stand inside no other complete box, in order."""
    first = text.find(_OPENING)
    if first < 0:
        return []
    found: list[Box] = []
    open_braces: list[tuple[int, int] | None] = []  # (start, content start) of a box, None: a brace
    for token in _TOKEN.finditer(text, first):
        if token[1] is not None:
            open_braces.append((token.start(), token.end()))
        elif token[2] == "{":
            open_braces.append(None)
        elif token[2] == "}" and open_braces:
            opened = open_braces.pop()
            if opened is not None:
                while found and found[-1].start > opened[0]:
                    found.pop()  # it stood inside this one
                found.append(Box(opened[0], token.end(), text[opened[1] : token.start()]))
    return found


def last_boxes(text: str) -> tuple[str, ...]:
    r"""Contents of the final run of boxes: `\boxed{1} and \boxed{2}` is one list answer.

    A run that repeats one and the same content is that content once; one that gives several
    unknowns their values keeps the names: `x = \boxed{1}, y = \boxed{2}`.
    """
    first = text.find(_OPENING)
    if first < 0:
        return ()
    only = _ONLY.match(text, first)
    if only and text.find(_OPENING, first + 1) < 0:
        return (only[1].strip(),)
    found = boxes(text)
    if len(found) == 1:
        return (_unwrapped(found[0].content),)
    while len(found) > 1 and not found[-1].content.strip():
        found.pop()  # an empty box after a good one states nothing new
    if not found:
        return ()
    run = [found[-1]]
    for box in reversed(found[:-1]):
        named = _NAME.search(text, box.end, run[-1].start)
        end = named.start() if named else run[-1].start
        if end - box.end > MAX_JOINT_CHARS or not _JOINT.fullmatch(text, box.end, end):
            break
        run.append(box)
    contents = [_unwrapped(box.content) for box in reversed(run)]
    names = [_NAME.search(text, max(0, box.start - 40), box.start) for box in reversed(run)]
    unknowns = [name[1] for name in names if name]
    if len(set(unknowns)) == len(contents) > 1:
        return tuple(f"{n} = {content}" for n, content in zip(unknowns, contents, strict=True))
    return (contents[0],) if len(set(contents)) == 1 else tuple(contents)


def last_box(text: str) -> str | None:
    """What the final run of boxes holds, comma-joined; None without a complete box."""
    contents = last_boxes(text)
    return (contents[0] if len(contents) == 1 else ", ".join(contents)) if contents else None


def _unwrapped(content: str) -> str:
    """A box whose whole content is a box is that inner box."""
    content = content.strip()
    if _OPENING not in content:
        return content
    for _ in range(8):  # deeper nests are left as they are
        inner = boxes(content)
        if not (len(inner) == 1 and inner[0].start == 0 and inner[0].end == len(content)):
            break
        content = inner[0].content.strip()
    return content
