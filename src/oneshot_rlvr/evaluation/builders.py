"""Rows of a published data set -> our fields, where a table of columns cannot say it.

A benchmark's TOML names one of these as `builder`. Most need none. Not here: prompts, golds'
forms, verifiers' rules. Nothing of a row is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneshot_rlvr.errors import MissingDependencyError
from oneshot_rlvr.registry import Registry

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Builder:
    """`build(fields)` gives the fields named in `makes`; `needs` are the columns that it reads.

    ValueError, TypeError or LookupError for a row that makes no sense.
    """

    needs: tuple[str, ...]
    makes: tuple[str, ...]
    build: Callable[[Fields], dict[str, Any]]


def _humaneval(fields: Fields) -> dict[str, Any]:
    """The gold is a body: with the prompt before it, it is a function."""
    return {
        "id": fields["task_id"],
        "question": fields["prompt"],
        "answer": fields["prompt"] + fields["canonical_solution"],
        "tests": fields["test"],
        "entry_point": fields["entry_point"],
        "prefix": fields["prompt"],
    }


def _finqa(fields: Fields) -> dict[str, Any]:
    """A report around a table, and a gold that is a number or yes/no."""
    table = "\n".join(" | ".join(str(cell) for cell in line) for line in fields["table"])
    parts = [_text(fields["pre_text"]), table, _text(fields["post_text"])]
    gold = str(fields["exe_ans"]).strip()
    yes_or_no = gold.lower() in ("yes", "no")
    return {
        "id": fields["id"],
        "question": "\n\n".join([*filter(None, parts), f"Question: {fields['question']}"]),
        "answer": gold,
        "verifier": "exact_match" if yes_or_no else "numeric",
    }


def _chess_puzzle(fields: Fields) -> dict[str, Any]:
    """The published position is before the opponent's move: it is played, the reply is asked."""
    try:
        import chess
    except ImportError as error:
        raise MissingDependencyError(
            f"chess puzzles need a package that is not installed ({error}). "
            'Install it with: pip install "oneshot-rlvr[chess]"'
        ) from error
    moves = _words(fields["Moves"])
    if len(moves) < 2:
        raise ValueError(f"Moves is {fields['Moves']!r}; wanted the opponent's move and a reply")
    board = chess.Board(fields["FEN"])
    board.push(board.parse_uci(moves[0]))
    side = "White" if board.turn == chess.WHITE else "Black"
    built: dict[str, Any] = {
        "id": fields["PuzzleId"],
        "question": f"Position (FEN): {board.fen()}\n{side} to move. Find the best move.",
        "answer": moves[1],
        "fen": board.fen(),
    }
    if "mateIn1" in _words(fields["Themes"]):
        built["mate_in"] = 1  # "any move that checkmates should win", says the data set's page
    return built


def _words(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else [str(item) for item in value]


def _text(lines: Sequence[str] | str) -> str:
    return lines if isinstance(lines, str) else "\n".join(lines)


humaneval = Builder(
    needs=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
    makes=("id", "question", "answer", "tests", "entry_point", "prefix"),
    build=_humaneval,
)
finqa = Builder(
    needs=("id", "pre_text", "post_text", "table", "question", "exe_ans"),
    makes=("id", "question", "answer", "verifier"),
    build=_finqa,
)
chess_puzzle = Builder(
    needs=("PuzzleId", "FEN", "Moves", "Themes"),
    makes=("id", "question", "answer", "fen", "mate_in"),
    build=_chess_puzzle,
)

BUILDERS = Registry(
    "builder", {name: f"{__name__}:{name}" for name in ("humaneval", "finqa", "chess_puzzle")}
)
