"""The page of `oneshot diff`: numbers, tokens, and texts with the changed tokens marked.

One file without a script, in the looks of the report. Questions, answers and tokens are hostile:
the template escapes them, marks of direction stay inside their token, and a content security policy
lets nothing run and nothing be fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from oneshot_rlvr.analysis.token_changes import TOP
from oneshot_rlvr.records.files import write_outputs
from oneshot_rlvr.report.page import asset, environment
from oneshot_rlvr.report.words import percent

SHOWN = 24
"""Texts on the page, those with most changes."""

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A token's text; `note` says what changed there, empty where nothing did."""

    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Text:
    """An answer, token by token, and how many of them changed."""

    question: str
    changed: int
    pieces: Sequence[Piece]


def write(path: Path, found: Any, texts: Sequence[Text], *, overwrite: bool = False) -> None:
    """Writes the page of a `verbs.diff.Diff`. RecordsError where the file cannot be written, or
    another lies there and `overwrite` is not given."""
    write_outputs({path: render(found, texts).encode("utf-8", "replace")}, overwrite=overwrite)


def render(found: Any, texts: Sequence[Text]) -> str:
    """The page as text."""
    return (
        environment()
        .get_template("token_diff.html.j2")
        .render(
            found=found,
            changes=found.changes,
            top=TOP,
            texts=texts,
            headline=_headline(found.changes),
            policy=POLICY,
            css=Markup(asset("page.css") + asset("token_diff.css")),
            token=token_text,
        )
    )


def _headline(changes: Any) -> str:
    if not changes.changed:
        return f"Not one choice of {changes.positions:,} differs"
    return f"At {percent(changes.share.value)} of the positions training chose another token"


def token_text(text: str) -> str:
    """A token as a table shows it: in marks, what cannot be seen as an escape."""
    return repr(text)
