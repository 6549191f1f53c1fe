"""`answer_tags`: the last complete <answer>...</answer> is what every kind reads."""

import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
KINDS = {
    "math_answer": ("5", "5", "6", {}),
    "numeric": ("5 mg", "5 mg", "6 mg", {}),
    "exact_match": ("Paris", "paris", "Rome", {}),
    "regex_match": ("[0-9]{4}", "2025", "x", {"sample": "2024"}),
    "multiple_choice": ("B", "(B)", "A", {"choices": ["x", "y"]}),
    "json_answer": ('{"a": 1}', '```json\n{"a": 1}\n```', '{"a": 2}', {}),
    "chess_move": ("e4", "e4", "d4", {"fen": START}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_complete_tags_hold_the_answer(kind):
    if kind == "chess_move":
        pytest.importorskip("chess", reason="the extra `chess` (GPL-3) is not installed")
    gold, right, wrong, options = KINDS[kind]
    example = Example("x", "q", gold, kind, extra={"answer_tags": True, **options})
    verifier = get_verifier(kind)
    verifier.check_gold(example)

    def check(text):
        return verifier.check(text, example)

    boxed = right if kind == "json_answer" else rf"\boxed{{{right}}}"
    assert check(f"<think>hm</think> <answer> {right} </answer>").correct
    assert check(f"<answer>{boxed}</answer> done").correct
    assert check(
        f"<answer>{wrong}</answer> no <answer>{right}</answer> and <answer>{wrong}"
    ).correct
    assert not check(f"<answer>{wrong}</answer> so \\boxed{{{right}}}").correct
    assert not check(f"<answer>{right}</answer> <answer>{wrong}</answer>").correct
    for none in (right, boxed, f"<answer>{right}", f"{right}</answer>", "<answer></answer>", ""):
        assert check(none).reason is Reason.NO_ANSWER


def test_lenient_reads_a_text_without_tags_as_ever():
    extra = {"answer_tags": True, "extraction": "lenient"}
    example = Example("x", "q", "5", "numeric", extra=extra)
    assert get_verifier("numeric").check("The answer is 5.", example).correct
    assert get_verifier("numeric").check(r"\boxed{5}", example).correct
    assert not get_verifier("numeric").check(r"\boxed{5} <answer>6</answer>", example).correct


def test_code_stands_in_its_fence_inside_the_tags():
    example = Example(
        "x", "q", "", "python_code", extra={"tests": "assert f() == 1", "answer_tags": True}
    )
    text = "```python\ndef g(): pass\n```\n<answer>\n```python\ndef f(): return 1\n```\n</answer>"
    assert get_verifier("python_code").extract(text, example).strip() == "def f(): return 1"


def test_another_value_than_a_boolean_is_an_error():
    example = Example("x", "q", "5", "numeric", extra={"answer_tags": "yes"})
    with pytest.raises(DataError, match=r"'x'.*answer_tags.*'yes'"):
        get_verifier("numeric").check("5", example)
