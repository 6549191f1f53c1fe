"""Fenced blocks (``` or ~~~) of a text: where models put code and JSON. Not here: their meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FENCE = re.compile(
    r"((?:[ \t]{0,12}>)*[ \t]{0,12}(?:(?:[-*+]|\d{1,3}[.)])[ \t]{1,4})?)"
    r"(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n]*"
)
_LINES = re.compile(f"^{_FENCE.pattern}", re.MULTILINE)
_MARKER = re.compile(r"[-*+]|\d{1,3}[.)]")  # of an item of a list, with the fence on its line
DEEPER = 3  # columns by which a closing fence may be further in than the opening one (CommonMark)


def fences(text: str) -> list[tuple[str, str]]:
    """(language in lower case, content) of every fenced block, in order.

    A block that never closes is none at the end of the text (a truncated answer); before another
    one that opens it ends there. What indents or quotes the fence (a list, `>`) is taken off its
    lines; a fence further in, in a docstring say, is part of the block.
    """
    return _read(text)[0]


def open_fence(text: str) -> tuple[str, str] | None:
    """(language, content) of a last block that never closes, or None."""
    return _read(text)[1]


def _read(text: str) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    marks = _fences(text)
    found, opened = _paired(text, marks)
    if opened is None:
        return found, None
    within = [mark for mark in marks if mark.start() > opened.start()]
    if len(within) == 1 and not within[0][3]:  # closed further in than it was opened
        return [*found, _block(opened, text[opened.end() + 1 : within[0].start()])], None
    return found, _block(opened, text[opened.end() + 1 :].rstrip().removesuffix(opened[2]))


def _fences(text: str) -> list[re.Match[str]]:
    """Lines that open or close a block. Found by their marks: most lines of a text have none."""
    if "~~~" in text:
        return list(_LINES.finditer(text))
    found = []
    place = text.find("```")
    while place >= 0:
        match = _FENCE.match(text, text.rfind("\n", 0, place) + 1)
        if match:
            found.append(match)
        place = text.find("```", match.end() if match else place + 3)
    return found


def _paired(
    text: str, marks: list[re.Match[str]]
) -> tuple[list[tuple[str, str]], re.Match[str] | None]:
    """The blocks between fences, and the fence of one that is still open at the end."""
    found = []
    opened: re.Match[str] | None = None
    for fence in marks:
        if opened is None:
            opened = fence
        elif fence[2].startswith(opened[2]) and len(fence[1]) <= len(opened[1]) + DEEPER:
            found.append(_block(opened, text[opened.end() + 1 : fence.start()]))
            opened = fence if fence[3] else None
    return found, opened


def _block(opened: re.Match[str], content: str) -> tuple[str, str]:
    language = opened[3].lower().strip("{}.")
    if opened[1]:
        margin = _MARKER.sub(lambda mark: " " * len(mark[0]), opened[1])
        content = "\n".join(_without(margin, line) for line in content.split("\n"))
    return language, content


def _without(margin: str, line: str) -> str:
    if line.startswith(margin):
        return line[len(margin) :]
    if ">" in margin:
        return re.sub(r"^(?:[ \t]{0,12}>)*[ \t]?", "", line)
    blank = len(line) - len(line.lstrip(" \t"))
    return line[min(blank, len(margin)) :]


def last_fence(text: str, languages: Sequence[str]) -> str | None:
    """The content of the last closed block in one of the languages ("" is none given), or None."""
    blocks = [content for language, content in fences(text) if language in languages]
    return blocks[-1] if blocks else None
