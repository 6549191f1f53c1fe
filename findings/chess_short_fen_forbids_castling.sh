#!/bin/sh
# chess 1.11.2 (python-chess): a FEN that stops after the pieces or the side to move is accepted, and
# its missing castling field is read as "-", "nobody may castle", not as "unknown". The position is
# valid; castling, where it is the best move, is "illegal san", and a grader calls it an illegal
# answer. The missing side to move is White likewise.
# Seen with Python 3.11. Exits non-zero if that changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q chess==1.11.2
"$folder/venv/bin/python" - <<'PYTHON'
import chess

pieces = "4k3/8/8/8/8/8/8/4K2R"
whole, short = chess.Board(f"{pieces} w K - 0 1"), chess.Board(f"{pieces} w")
print("whole:", whole.fen(), "| short:", short.fen(), short.status())
assert whole.parse_san("O-O") == chess.Move.from_uci("e1g1")
assert short.is_valid()
assert short.fen() == f"{pieces} w - - 0 1"
try:
    short.parse_san("O-O")
except chess.IllegalMoveError as error:
    print("short:", error)
else:
    raise SystemExit("a short FEN allows castling now")
PYTHON
