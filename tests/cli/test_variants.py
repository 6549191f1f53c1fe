"""`oneshot variants`: control files that read back; wrong labels are wrong to the verifier."""

from __future__ import annotations

import json

import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.examples import load_file
from oneshot_rlvr.rewards.arms import made_wrong
from oneshot_rlvr.verifiers import get_verifier

ROWS = [
    {"id": str(n), "question": f"Half of {2 * n + 1}?", "answer": f"\\frac{{{2 * n + 1}}}{{2}}"}
    for n in range(8)
]


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(capsys, *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("kind", ["near", "other", "unguessable"])
def test_wrong_labels_are_wrong_and_the_others_stay(capsys, pool, tmp_path, kind):
    out = tmp_path / "wrong.parquet"
    argv = ["variants", pool, "--out", out, "--wrong-labels", 0.5, "--kind", kind]
    code, told, _ = run(capsys, *argv)
    assert (code, told) == (0, f"Wrote {out}: 8 examples, 4 with a wrong label\n")
    before = {e.id: e for e in load_file(pool)}
    wrong = 0
    for example in load_file(out):
        true = before[example.id]
        right = get_verifier("math_answer").check(f"\\boxed{{{example.answer}}}", true).correct
        assert right is ("true_answer" not in example.extra)
        if not right:
            wrong += 1
            assert example.extra["true_answer"] == true.answer
            if kind == "near":
                assert example.answer == made_wrong(true)
    assert wrong == 4


def test_an_example_is_asked_otherwise_and_repeated(capsys, pool, tmp_path):
    out = tmp_path / "simple.jsonl"
    argv = ["variants", pool, "--out", out, "--ids", "3", "--question", "7 / 2 = ?", "--batch", 4]
    assert run(capsys, *argv, "--columns", "verl")[0] == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 4
    assert rows[0]["prompt"] == [{"role": "user", "content": "7 / 2 = ?"}]
    assert rows[0]["reward_model"]["ground_truth"] == "\\frac{7}{2}"


def test_a_template_of_the_evaluation_is_a_prompt(capsys, pool, tmp_path):
    out = tmp_path / "asked.jsonl"
    assert run(capsys, "variants", pool, "--out", out, "--prompt", "qwen_math")[0] == 0
    first = load_file(out)[0]
    assert [turn["role"] for turn in first.chat()] == ["system", "user"]


def test_the_published_example_is_asked_bare_and_put_in_context(capsys, pool, tmp_path, data_dir):
    pi1 = data_dir / "one_shot_rlvr" / "pi1_r128.parquet"
    out = tmp_path / "bare.parquet"
    assert run(capsys, "variants", pi1, "--out", out, "--strip-suffix", "--batch", 128)[0] == 0
    (bare,) = load_file(out)
    assert bare.question.endswith("is \\( 32 \\) pounds.")
    assert (bare.id, bare.answer) == ("124", "12.8")
    shown = tmp_path / "shown.jsonl"
    assert run(capsys, "variants", pool, "--out", shown, "--in-context", pi1)[0] == 0
    for example in load_file(shown):
        assert [turn["role"] for turn in example.chat()] == ["user", "assistant", "user"]
        assert "\\boxed{12.8}" in example.chat()[1]["content"]


MISTAKES = {
    "no number": (["--ids", "9"], 'names "9"'),
    "beyond a share": (["--wrong-labels", "60"], "wanted 0 to 1"),
    "one wording for many": (["--question", "?"], "another wording is for one example"),
    "no template": (["--prompt", "qwen_maths"], 'Did you mean "qwen_math"'),
    "in its own context": (["--in-context", "pool.jsonl"], "gives its answer away"),
}


@pytest.mark.parametrize(("argv", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(capsys, pool, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "variants", pool, "--out", tmp_path / "x.jsonl", *argv)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x.jsonl").exists()
