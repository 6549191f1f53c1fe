import json
import sys

import pytest

from oneshot_rlvr.cli import main


def verify(capsys, *argv):
    code = main(["verify", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_one_text_tells_verdict_and_exit_code(capsys):
    arguments = ["--kind", "math_answer", "--gold", "1/2", "--text"]
    code, out, _ = verify(capsys, *arguments, r"so \boxed{0.5}")
    assert (code, out) == (0, "correct: read '0.5', gold '1/2'\n")
    code, out, _ = verify(capsys, *arguments, r"so \boxed{0.6}", "--json")
    assert code == 1
    assert json.loads(out) == {"correct": False, "reason": "mismatch", "extracted": "0.6"}


def test_explain_tells_the_rule_that_decided(capsys):
    arguments = [
        "--kind",
        "math_answer",
        "--gold",
        "2516_8",
        "--text",
        r"\boxed{2516_9}",
        "--explain",
    ]
    code, out, _ = verify(capsys, *arguments)
    assert code == 1
    assert "rule base: A stated base" in out
    out = verify(capsys, *arguments, "--json")[1]
    assert json.loads(out)["details"] == {"rule": "base"}
    assert json.loads(out)["explanation"].startswith("rule base: ")
    # A kind that names no rule says so.
    row = ["--kind", "exact_match", "--gold", "a", "--text", "b", "--explain"]
    assert "rule" in verify(capsys, *row)[1]


def test_reading_is_lenient_unless_told_otherwise(capsys):
    arguments = ["--kind", "math_answer", "--gold", "5", "--text", "The answer is 5."]
    assert verify(capsys, *arguments)[0] == 0
    code, out, _ = verify(capsys, *arguments, "--options", '{"extraction": "strict"}')
    assert code == 1
    assert out.startswith("no_answer")


def test_a_bad_gold_is_a_mistake_of_the_caller(capsys):
    arguments = ["--kind", "numeric", "--gold", "five", "--text", "5"]
    code, out, err = verify(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "'five'" in err
    code, out, _ = verify(capsys, *arguments, "--json")
    assert code == 1
    assert json.loads(out)["reason"] == "bad_gold"


ROWS = [
    ({"kind": "math_answer", "gold": "1/2", "text": r"\boxed{0.5}"}, (True, "correct")),
    ({"kind": "math_answer", "gold": 5, "text": "The answer is 6"}, (False, "mismatch")),
    (
        {"kind": "multiple_choice", "gold": "B", "text": "so (B)", "choices": ["x", "y"]},
        (True, "correct"),
    ),
    (
        {"kind": "numeric", "gold": "5 mg", "text": r"\boxed{5.04}", "rel_tol": 0.01},
        (True, "correct"),
    ),
    ({"kind": "numeric", "gold": "5", "text": r"\boxed{5 g}", "unit": "mg"}, (False, "mismatch")),
    ({"kind": "math_answer", "gold": "", "text": "5"}, (None, "bad_gold")),
    ({"kind": "maths", "gold": "5", "text": "5"}, (None, "bad_gold")),
    ({"kind": "exact_match", "gold": "Paris"}, (None, "bad_gold")),
    ({"kind": "json_answer", "gold": {"a": [1]}, "text": '{"a": [1.0]}'}, (True, "correct")),
    ({"kind": "numeric", "gold": "5", "text": "5", "rel_tol": "much"}, (None, "bad_gold")),
    ("not JSON", (None, "bad_gold")),
    ({"kind": "exact_match", "gold": ["Paris", "Paname"], "text": "paname"}, (True, "correct")),
]


def test_a_file_gives_one_line_a_row_in_order_and_bad_rows_harm_no_other(capsys, tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row, _ in ROWS]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    code, out, _ = verify(capsys, "--file", str(path), "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [(a["correct"], a["reason"]) for a in answers] == [expected for _, expected in ROWS]
    assert code == 1  # some rows were unfit


def test_a_file_of_fit_rows_is_success_even_where_texts_are_wrong(capsys, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"gold": "5", "text": "5"}, {"gold": "5", "text": "6"}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, _ = verify(capsys, "--file", str(path), "--kind", "numeric")
    assert code == 0
    assert out.splitlines()[-1] == "2 rows: 1 correct, 1 mismatch"


def test_text_and_file_together_or_neither_is_refused(capsys):
    assert verify(capsys)[0] == 2
    assert verify(capsys, "--text", "5", "--file", "x.jsonl")[0] == 2


def test_a_text_that_no_terminal_can_encode_is_printed(capsys):
    code, out, _ = verify(
        capsys, "--kind", "exact_match", "--gold", "x", "--text", "\\boxed{\ud800}", "--json"
    )
    assert code == 1
    assert json.loads(out)["extracted"] == "\ud800"
    out.encode("ascii")


def test_verify_runs_without_torch(tmp_path):
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['transformers'] = None;"
        "from oneshot_rlvr.cli import main;"
        "sys.exit(main(['verify', '--kind', 'math_answer', '--gold', '2', '--text', '1+1']))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("workers", ["-1", "x"])
def test_a_wrong_number_of_workers_is_one_line(capsys, workers):
    code, _, err = verify(capsys, "--kind", "numeric", "--text", "5", f"--workers={workers}")
    assert code == 2
    assert err.count("\n") == 1
