"""Every verdict of the kinds that read an answer says which rule decided."""

import pytest

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers import get_verifier

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
VERDICTS = [
    ("numeric", "5 mg", r"\boxed{5}", {}, "number"),
    ("numeric", "5 mg", r"\boxed{6 mg}", {}, "number"),
    ("numeric", "5 mg", r"\boxed{0.005 g}", {}, "conversion"),
    ("numeric", "5 mg", r"\boxed{5 g}", {}, "conversion"),
    ("numeric", "5 mg", r"\boxed{5 m}", {}, "unit"),
    ("numeric", "5", r"\boxed{5x}", {}, "unit"),
    ("numeric", "5", r"\boxed{x > 5}", {}, "unreadable"),
    ("numeric", "5", "5", {}, "no-answer"),
    ("numeric", "120/80", r"\boxed{120/80}", {}, "pressure"),
    ("numeric", "120/80", r"\boxed{1.5}", {}, "pressure"),
    ("multiple_choice", "B", "(B)", {}, "option"),
    ("multiple_choice", "B", "(A)", {}, "option"),
    ("multiple_choice", "B", "not (B)", {}, "nothing-concluded"),
    ("multiple_choice", "B", "A or B", {}, "several"),
    ("multiple_choice", "B", "A. x\nB. y", {"choices": ["x", "y"]}, "list"),
    ("exact_match", "a", r"\boxed{a}", {}, "text"),
    ("exact_match", "a", r"\boxed{b}", {}, "text"),
    ("regex_match", "a+", r"\boxed{aa}", {}, "pattern"),
    ("json_answer", "1", "1", {}, "value"),
    ("json_answer", "1", "[", {}, "no-json"),
    ("json_answer", "", "1", {"schema": {"type": "string"}}, "schema"),
    ("chess_move", "e4", r"\boxed{e4}", {"fen": START}, "best"),
    ("chess_move", "e4", r"\boxed{e5}", {"fen": START}, "illegal"),
    ("chess_move", "e4", r"\boxed{pawn}", {"fen": START}, "no-move"),
    ("python_code", "", "no code", {"tests": "assert f() == 1"}, "no-code"),
]


@pytest.mark.parametrize(("kind", "gold", "text", "options", "rule"), VERDICTS)
def test_a_verdict_names_the_rule_that_decided(kind, gold, text, options, rule):
    if kind == "chess_move":
        pytest.importorskip("chess", reason="the extra `chess` (GPL-3) is not installed")
    verifier = get_verifier(kind)
    verdict = verifier.check(text, Example("x", "q", gold, kind, extra=options))
    assert verdict.details["rule"] == rule
    assert verifier.rules[rule].endswith(".")
