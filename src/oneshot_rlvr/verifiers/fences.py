"""Fenced blocks (``` or ~~~) of a text: where models put code and JSON. Not here: their meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FENCE = re.compile(
    r"^((?:[ \t]{0,12}>)*[ \t]{0,12})(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n]*$", re.MULTILINE
)


def fences(text: str) -> list[tuple[str, str]]:
    """(language in lower case, content) of every closed fenced block, in order.

    A block that never closes (a truncated answer) is none. What indents or quotes the fence (a
    list, `>`) is taken off its lines.
    """
    return _read(text)[0]


def open_fence(text: str) -> tuple[str, str] | None:
    """(language, content) of a last block that never closes, or None."""
    return _read(text)[1]


def _read(text: str) -> tuple[list[tuple[str, str]], tuple[str, str] | None]:
    found = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[2].startswith(opened[2]) and not fence[3]:
            found.append(_block(opened, text[opened.end() + 1 : fence.start()]))
            opened = None
    if opened is None:
        return found, None
    return found, _block(opened, text[opened.end() + 1 :].rstrip().removesuffix(opened[2]))


def _block(opened: re.Match[str], content: str) -> tuple[str, str]:
    language = opened[3].lower().strip("{}.")
    margin = opened[1]
    if margin:
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
