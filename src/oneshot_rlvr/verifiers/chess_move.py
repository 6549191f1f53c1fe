"""chess_move: one legal move in a position, and one of the best.

`extra["fen"]` is the position. The gold lists the best moves (SAN or UCI, separated by commas or
spaces). With `mate_in = n` a move also counts if it forces mate within n moves of the side to
move, whatever the other side replies: that is played out, not looked up. The answer may be SAN
(`Nf3`, `O-O`, `e8=Q+`) or UCI (`g1f3`), with figurines (`♘f3`), a move number, check marks and
`!?`; a promotion may be `e8(Q)`, `e8/Q` or `e8Q`, a move long (`Ng1-f3`, `e2-e4`).

Needs the package `chess` (GPL-3, hence an optional extra, imported only here).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import chess

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, correct, option, shown, wrong
from oneshot_rlvr.verifiers.extraction import final_answer
from oneshot_rlvr.verifiers.fonts import FONT

MAX_ANSWER_CHARS = 100
MAX_MATE = 4  # moves; a proof visits some 30 ** (2 n - 1) positions at worst
_NUMBER = re.compile(r"\b[0-9]{1,3}\s?\.(?:\s?\.\.|\u2026)?\s*")
_LATEX = re.compile(rf"{FONT}\s?\{{([^{{}}]*)\}}")
_CASTLING = re.compile(r"\b[0o]-[0o](-[0o])?\b", re.IGNORECASE)
# Figurines of both colours; a pawn's has no letter.
_FIGURINES = str.maketrans(
    dict(zip("♔♚♕♛♖♜♗♝♘♞", "KKQQRRBBNN", strict=True))
    | {"♙": "", "♟": "", "\ufe0e": "", "\ufe0f": ""}
    | {"×": "x", "–": "-", "—": "-", "‑": "-", "−": "-"}
)
_PROMOTION = re.compile(r"(?<=[a-h][18])\s?(?:\(\s?=?([QRBNqrbn])\s?\)|[/=]\s?([QRBNqrbn])\b)")
_MARKS = re.compile(
    r"\be\.\s?p\.?|\b(?:check(?:mate)?|mate)\b|\s*\\times(?![a-z])\s*|\\(?=#)", re.IGNORECASE
)
_LONG = re.compile(r"([KQRBN]?)([a-h][1-8])[-x:]([a-h][1-8])((?:=?[QRBNqrbn])?)")
_FIELDS = 4  # of a FEN that a position needs: pieces, side to move, castling, en passant


RULES = {
    "no-answer": "No answer was stated where one is read.",
    "too-long": "The stated answer is longer than any answer is.",
    "several": "It names several moves.",
    "no-move": "It spells no move.",
    "illegal": "The move is not legal in the position.",
    "best": "The move is held against the best ones, and played out where a mate is asked for.",
}


class ChessMove(Verifier):
    """Options: answer_tags, fen, mate_in, extraction, golds (further best moves)."""

    name = "chess_move"
    options = frozenset({"answer_tags", "fen", "mate_in", "extraction", "golds"})
    rules = RULES

    def extract(self, text: str, example: Example) -> str | Verdict:
        answer = final_answer(text, example)
        if answer is None and example.extra.get("extraction") == "lenient":
            lines = text.strip()[-1000:].splitlines()
            answer = lines[-1] if lines else None
        if not answer:
            return wrong(Reason.NO_ANSWER, answer, rule="no-answer")
        if len(answer) > MAX_ANSWER_CHARS:
            return wrong(Reason.UNPARSEABLE, answer[:MAX_ANSWER_CHARS], rule="too-long")
        return answer

    def compare(self, answer: str, example: Example) -> Verdict:
        board = _board(example)
        best, mate_in = _best(example), _mate_in(example)
        words = move_words(answer)
        if not words:
            return wrong(Reason.NO_ANSWER, answer, rule="no-move")
        moves = {_move(board, word) for word in words}
        if len(moves) > 1:
            return wrong(Reason.AMBIGUOUS, answer, rule="several")
        (move,) = moves
        if move is None:
            return wrong(Reason.UNPARSEABLE, answer, rule="no-move")
        if move not in board.legal_moves:
            return wrong(Reason.MISMATCH, answer, rule="illegal", legal=False)
        if move in best or (mate_in and forces_mate(board, move, mate_in)):
            return correct(answer, rule="best", move=move.uci())
        return wrong(Reason.MISMATCH, answer, rule="best", move=move.uci())

    def gold_text(self, example: Example) -> str:
        """The first best move, boxed; "" where only `mate_in` is given."""
        words = move_words(example.answer)
        return f"\\boxed{{{words[0]}}}" if words else ""

    def check_gold(self, example: Example) -> None:
        """DataError for a bad position, a best move that is illegal, or a mate that is none."""
        board = _board(example)
        best, mate_in = _best(example), _mate_in(example)
        if not best and not mate_in:
            raise DataError(f"example {example.id!r}: chess_move needs a best move or mate_in.")
        if mate_in and not any(forces_mate(board, m, mate_in) for m in best or board.legal_moves):
            raise DataError(f"example {example.id!r}: there is no mate in {mate_in}.")


def move_words(text: str) -> list[str]:
    """The words of an answer that could be moves, without numbers, marks and decoration."""
    plain = _LATEX.sub(lambda m: m[1], text).translate(_FIGURINES)
    plain = _MARKS.sub(lambda m: "x" if "times" in m[0] else " ", plain)
    plain = plain.replace("$", " ").replace("\\", " ")
    plain = _PROMOTION.sub(lambda m: "=" + (m[1] or m[2]).upper(), plain)
    plain = _CASTLING.sub(lambda m: "O-O-O" if m[1] else "O-O", _NUMBER.sub(" ", plain))
    words = (word.strip("*`\"'()[].,;:").rstrip("!?+#") for word in re.split(r"[\s,;]+", plain))
    return [word for word in words if word]


def forces_mate(board: Any, move: Any, within: int) -> bool:
    """Whether the move mates within so many moves of its side against every defence."""
    board.push(move)
    try:
        if board.is_checkmate():
            return True
        if within <= 1 or not any(board.legal_moves):  # stalemate is no mate
            return False
        return all(_answered(board, reply, within - 1) for reply in list(board.legal_moves))
    finally:
        board.pop()


def _answered(board: Any, reply: Any, within: int) -> bool:
    board.push(reply)
    try:
        return any(forces_mate(board, move, within) for move in list(board.legal_moves))
    finally:
        board.pop()


def _move(board: Any, word: str) -> Any | None:
    """The move that a word spells, legal or not; None for what is no move."""
    for spelling in (word, _LONG.sub(_as_san, word)):
        try:
            return board.parse_san(spelling)
        except ValueError:
            pass
    if _LONG.fullmatch(word):
        word = _LONG.sub(r"\2\3\4", word).replace("=", "")
    try:
        return chess.Move.from_uci(word.lower())
    except ValueError:
        pass
    # SAN of an illegal move: nothing that can be played, but a move all the same.
    if re.fullmatch(r"[KQRBN]?[a-h]?[1-8]?x?[a-h][1-8](?:=?[QRBN])?|O-O(?:-O)?", word):
        return chess.Move.null()
    return None


def _as_san(match: re.Match[str]) -> str:
    """Ng1-f3 as SAN has it, the square from which it moves kept: Ng1f3; of a pawn e4 or exd5."""
    piece, start, end, promotion = match.groups()
    if piece:
        return f"{piece}{start}{end}"
    takes = f"{start[0]}x" if start[0] != end[0] else ""
    return f"{takes}{end}{promotion.upper()}"


def _board(example: Example) -> Any:
    fen = option(example, "fen", str, "")
    if not fen.strip():
        raise DataError(
            f"example {example.id!r}: chess_move needs the position in a column fen, such as "
            '"6k1/5ppp/8/8/8/8/5PPP/R5K1 w - - 0 1"; from the question it is not read.'
        )
    if fen.split() and len(fen.split()) < _FIELDS:
        raise DataError(
            f"example {example.id!r}: option fen {shown(fen)} is cut short: "
            "without its fields for the side to move, castling and en passant nobody may castle in "
            "it, whatever was meant. "
            'Add them, as in "... w KQkq -", with - for what is not possible.'
        )
    try:
        return _position(fen).copy(stack=False)
    except ValueError as error:
        raise DataError(f"example {example.id!r}: option fen {shown(fen)}: {error}.") from None


@lru_cache(maxsize=256)
def _position(fen: str) -> Any:
    """The board, which must not be moved on. ValueError for one without a move to make."""
    board = chess.Board(fen)
    if not board.is_valid() or not any(board.legal_moves):
        raise ValueError("it is no position with a move to make")
    return board


def _best(example: Example) -> frozenset[Any]:
    further = option(example, "golds", (list, tuple), ())
    golds = " ".join([example.answer, *map(str, further)])
    try:
        return _best_moves(option(example, "fen", str, ""), golds)
    except ValueError as error:
        raise DataError(f"example {example.id!r}: the gold move {error}.") from None


@lru_cache(maxsize=1024)
def _best_moves(fen: str, golds: str) -> frozenset[Any]:
    board = chess.Board(fen)
    moves = {word: _move(board, word) for word in move_words(golds)}
    for word, move in moves.items():
        if move is None or move not in board.legal_moves:
            raise ValueError(f"{shown(word)} is not legal in the position")
    return frozenset(moves.values())


def _mate_in(example: Example) -> int:
    value = option(example, "mate_in", int, 0)
    if not 0 <= value <= MAX_MATE:
        raise DataError(
            f"example {example.id!r}: option mate_in is {value}; wanted 1 to {MAX_MATE}."
        )
    return value
