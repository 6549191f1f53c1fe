"""The fast readings and proofs against the slow ones that they stand for."""

import random
from pathlib import Path

import pytest
import sympy
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from math_verify import verify

from oneshot_rlvr.verifiers import expressions, proof
from oneshot_rlvr.verifiers.expressions import expression, marked
from oneshot_rlvr.verifiers.grammar import _CONFIG, _Fast
from oneshot_rlvr.verifiers.spelling import respelled
from oneshot_testing import load_file

golds = load_file(Path(__file__).with_name("golds.py"))


def _parsed_by(kind, latex):
    try:
        return sympy.srepr(kind({}, True, False, _CONFIG).parse(latex))
    except Exception:
        return None


def test_where_the_fast_grammar_reads_it_reads_what_the_full_one_does(data_dir):
    texts = [respelled(e.answer) for n in ("math500", "dsr_sub") for e in golds.read(data_dir, n)]
    normal = [
        expressions.normalize_latex(marked(t), expressions._NORMALIZATION) for t in texts if t
    ]
    read = 0
    for latex in random.Random(0).sample(normal, 400):
        fast = _parsed_by(_Fast, latex)
        if fast is not None:
            read += 1
            assert fast == _parsed_by(_Latex2Sympy, latex), latex
    assert read > 300


def test_a_proof_never_contradicts_the_slow_comparison(data_dir):
    rng = random.Random(1)
    texts = [e.answer for n in ("math500", "olympiadbench") for e in golds.read(data_dir, n)]
    hard = [t for t in texts if any(c in t for c in "\\^nx")]
    values = [v for t in rng.sample(hard, 150) if (v := expression(respelled(t) or "")) is not None]
    proved = 0
    for value in values:
        for other in (value, rng.choice(values)):
            verdict = proof.equal(value, other)
            if verdict is not None:
                proved += 1
                assert verdict == verify(value, other, timeout_seconds=None), (value, other)
    assert proved > 50


x, y = sympy.symbols("x y", real=True)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ((x + 1) ** 2, x**2 + 2 * x + 1, True),
        (x + 1, x + 2, False),
        (sympy.sqrt(8), 2 * sympy.sqrt(2), True),
        (sympy.pi, sympy.Rational(22, 7), False),
        (1 / sympy.factorial(100), 2 / sympy.factorial(100), False),  # tiny, and not equal
        (x, y, False),
        (sympy.Float("0.333333"), sympy.Rational(1, 3), None),  # rounding decides
        (sympy.Float("12.8"), 8 * sympy.cbrt(4), False),
        (sympy.Float("0.5"), sympy.Rational(1, 2), None),
        (sympy.oo, sympy.oo, None),
        (sympy.sin(x) ** 2 + sympy.cos(x) ** 2, sympy.Integer(1), True),  # at every point
        (sympy.Abs(x), x, False),  # at a negative one
        (sympy.sqrt(1 / x), 1 / sympy.sqrt(x), True),  # where both are defined
        (sympy.sqrt(2) * 2**2020, sympy.sqrt(2) * (2**2020 + 1), None),  # 30 digits do not tell
    ],
)
def test_what_is_proved_and_what_is_left_open(left, right, expected):
    assert proof.equal(left, right) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.5e33", r"4.5 \times 10^{33}"),
        (r"1\,234\,567", "1234567"),
        ("10^33", "10^{33}"),
        ("2^(10)", "2^{10}"),
        ("sqrt(3)/2", r"\sqrt{3}/2"),
        ("-1./3", "-1/3"),
        ("$5$.", "5"),
        ("3 4", None),
        ("1 1/2", r"1\frac{1}{2}"),
        (r"0.1\overline{6}", r"\frac{1}{6}"),
        (r"\;6\,", "6"),
        (r"\textbf{(B)}\ 12", "12"),
        ("(A)+1", "(A)+1"),
        (r"1, 2, \ldots", None),
        ("exp(2)", r"\exp (2)"),
        ("expected", "expected"),
        ("", None),
    ],
)
def test_spellings_that_the_grammar_misreads_are_respelled(text, expected):
    assert respelled(text) == expected
