r"""The same verdicts with each of the grammar's two parsers, which differ by antlr runtime.

latex2sympy2_extended ships one for antlr 4.9.3, which the peers' environment has because Hydra
wants it, and one for 4.13.2, which this project's own has. The first one reads no percentage. Every
test here is run in both environments: as it is, and marked for `make test-peers`.
"""

import json
from pathlib import Path

import pytest

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers import get_verifier
from oneshot_testing import load_file

HERE = Path(__file__).parent
argued = load_file(HERE / "cases_argued.py")
kind = get_verifier("math_answer")


@pytest.fixture(params=["own", pytest.param("peers", marks=pytest.mark.verl)])
def environment(request):
    return request.param


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        (r"5\%, 6\%", r"6\%, 5\%", True),
        (r"5\%, 6\%", r"5\%, 7\%", False),
        (r"5\%, 6\%", r"0.05, 0.06", True),
        (r"[5\%, 10\%]", r"[5\%,10\%]", True),
        (r"[5\%, 10\%]", r"(5\%,10\%)", False),
        (r"[5\%, 10\%]", r"[0.05, 0.1]", True),
        (r"[5\%, 10\%]", r"5\% \le x \le 10\%", True),
        (r"\{5\%, 6\%\}", r"\{6\%, 5\%\}", True),
        (r"(20\%, 30\%)", r"(30\%, 20\%)", False),
        (r"\frac{100}{3}\%", r"33\frac{1}{3}\%", True),
        (r"x\%", r"x\%", True),
        (r"x\%", r"y\%", False),
        (r"\frac{x}{2}\%", r"\frac{x}{200}", True),
        (r"\frac{1}{2} + 5\%", r"0.55", True),
        (r"\frac{1}{2} + 5\%", r"5.5", False),
        (r"\Gamma(5)", "24", True),
        (r"\gamma + 1", r"1 + \gamma", True),
        (r"\frac{3+4i}{5}", r"\frac{4}{5} i + \frac{3}{5}", True),
        (r"\binom{5}{2}", "10", True),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", True),
        (r"\lfloor 2.5 \rfloor", "2", True),
        (r"\log_2 8", "3", True),
        (r"\sum_{k=1}^{4} k", "10", True),
    ],
)  # fmt: skip
def test_a_verdict_is_the_same_with_either_parser(environment, gold, said, expected):
    verdict = kind.check(rf"\boxed{{{said}}}", Example("x", "", gold))
    assert verdict.correct is expected, verdict


def test_every_mathematical_row_of_the_cases_gets_its_verdict_with_either_parser(environment):
    rows = [json.loads(line) for line in (HERE / "cases.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["kind"] == "math_answer"]
    missed = {
        row["id"]
        for row in rows
        if kind.check(
            row["text"],
            Example(row["id"], "", row["gold"], extra={"extraction": row.get("extraction")}),
        ).correct
        is not row["expected"]
    }
    assert len(rows) > 400
    assert missed == set(argued.ARGUED)
