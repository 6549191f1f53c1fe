"""math_answer on what models write and on what a sceptic tries: by hand, one line a case."""

import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason
from oneshot_rlvr.verifiers import get_verifier


def check(kind, gold, text, **extra):
    return get_verifier(kind).check(text, Example("x", "q", gold, kind, extra=extra))


MATHS_EQUAL = [
    ("12.8", "12.8"),
    ("12.8", r"\frac{64}{5}"),
    ("1/3", "0.333333"),
    (r"\frac{3}{7}", r"\dfrac37"),
    ("208", "52*4=208"),
    ("64 - 27 = 37", "37"),  # a gold that is arithmetic states what it comes to
    ("2+3 = 5", "4+1"),
    (r"\frac{1}{2} = 0.5", "0.5"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    (r"\begin{pmatrix}1\\ \frac{1}{2}\end{pmatrix}", r"\begin{pmatrix}1\\0.5\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\ 3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    ("5", "x=5"),
    ("x=5", "5"),
    ("1,234", "1234"),
    ("1234", r"1{,}234"),
    ("1234", r"1\,234"),
    ("1024", "2^10"),
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"(3, \frac{\pi}{2})", r"\left( 3, \pi/2 \right)"),
    (r"\{1, 2\}", "2, 1"),
    (r"[0, \infty)", r"\left[0,\infty\right)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    (r"20\%", "20%"),
    (r"20\%", "0.2"),
    (r"12.5\%", "12.5"),
    (r"\frac{1}{8}", r"12.5\%"),
    ("90", r"90^\circ"),
    ("15", r"15\text{ cm}"),
    (r"\text{Evelyn}", "evelyn"),
    ("C", "(C)"),
    ("4:40 a.m.", r"4:40\text{ AM}"),
    ("4.5e33", r"4.5 \times 10^{33}"),
    ("1.6e-19", "1.6 x 10^-19"),
    ("np.arcsin(10/13)", r"\arcsin\frac{10}{13}"),
    ("-1./3", r"-\frac13"),
    (r"m_{\max}=n^{2}-n-1", "n^2-n-1"),
    # emphasis, colour, spacing, labels and lead-ins around a value
    ("12.8", r"\text{12.8}"),
    ("12.8", r"\mathbf{12.8}"),
    ("6", r"\;6\,"),
    ("6", r"\displaystyle 6"),
    ("6", r"\color{red}{6}"),
    ("6", r"\underline{6}"),
    ("6", "6。"),
    ("6", "\uff16"),
    ("12.8", r"\approx 12.8"),
    ("12.8", r"x \approx 12.8"),
    (r"\sqrt{2}", r"\sqrt{2} \approx 1.41"),
    ("5", r"\text{The answer is } 5"),
    ("12", r"\textbf{(B)}\ 12"),
    ("12", "(B) 12"),
    ("B", r"\textbf{(B)}"),
    ("C", r"\text{C}"),
    # numbers
    ("1.5", "1 1/2"),
    ("12.8", r"12\frac{4}{5}"),
    ("1/3", r"0.\overline{3}"),
    ("1", r"0.\overline{9}"),
    ("12.8", "12.8..."),
    ("-3", "\u22123"),
    ("-1/2", r"\frac{-1}{2}"),
    ("1000000", r"1{,}000{,}000"),
    ("1000000", "1 000 000"),
    ("90", r"90\degree"),
    ("x^2", "x²"),
    (r"\emptyset", r"\varnothing"),
    (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"),
    ("2^{2020}", "2^{2020}"),
    # units, which math_answer does not compare
    ("12.8", r"12.8\,\text{lb}"),
    ("12.8", r"12.8 \text{ pounds per square foot}"),
    ("27", r"27~\text{cm}^3"),
    ("27", "27 in^3"),
    ("27", r"27 \, \text{m/s}^2"),
    ("10", r"10 \frac{\text{m}}{\text{s}}"),
    ("10", r"10 \text{ m} \cdot \text{s}^{-1}"),
    ("3200", r"3200 \mathrm{~cm}^{3}"),
    ("25", r"25^{\circ} \mathrm{C}"),
    ("3, 4", r"3 \text{ cm}, 4 \text{ cm}"),
    (r"2\sqrt{3}", r"2\sqrt{3} \text{ cm}"),
    ("115", "115 people"),
    ("10", "10 dollars"),
    ("3.5", "3.5 meters per second"),
    ("6m", "6"),
    ("5", "5cm"),
    # lists, sets, intervals, relations
    ("2,4", r"x=2 \text{ or } x=4"),
    ("2,4", r"x \in \{2,4\}"),
    ("2,4", "x_1 = 2, x_2 = 4"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    (r"\frac{-1+\sqrt5}{2}, \frac{-1-\sqrt5}{2}", r"\frac{-1 \pm \sqrt{5}}{2}"),
    (r"(1,2),(3,4)", r"(3,4) \text{ and } (1,2)"),
    ("x>3", r"(3,\infty)"),
    (r"(0,1)\cup(2,3)", r"(2,3)\cup(0,1)"),
    (r"(-\infty,2)\cup(2,\infty)", r"\mathbb{R}\setminus\{2\}"),
    ("y=2x+1", "2x+1"),
    ("2x+1", "y=2x+1"),
    (r"\frac{4}{2} \text{ OR } 2", "2"),
    (r"\text{ellipse}", r"\text{an ellipse}"),
]
MATHS_DIFFERENT = [
    ("2+3 = 6", "6"),  # a false chain states nothing, as a gold too
    ("x+3 = 5", "5"),
    ("0 = 0", "0"),
    ("3 = 3", "3"),
    (r"\begin{pmatrix}1\\ 2\end{pmatrix}", r"\begin{pmatrix}2\\ 1\end{pmatrix}"),
    (r"\begin{pmatrix}1\ 2\end{pmatrix}", r"\begin{pmatrix}1\\ 2\end{pmatrix}"),
    ("12.8", "12.9"),
    ("3", "3,4"),
    ("3", "1, 2, 3"),
    ("3", r"3 \text{ or } 4"),
    ("7", "3 4"),  # not a sum
    ("3", "3?"),
    ("(1,2)", "(2,1)"),
    ("[0,1]", "(0,1)"),
    ("x^2", "y^2"),
    (r"\text{Evelyn}", "nylevE"),  # not a product of symbols
    ("4:40 a.m.", "4:41 a.m."),  # not the 4 in it
    ("1.6e-19", "6.6e-34"),  # not equal for rounding to 0 both
    ("0", "1e-9"),
    ("1000.5", "1000.6"),
    (r"\infty", r"-\infty"),
    # a letter behind a value is a variable, not a unit
    ("5", "5t"),
    ("5t", "5"),
    ("2ab", "2"),
    (r"2\pi r h", r"2\pi r"),
    (r"\frac{1}{m} t", r"\frac{1}{m}"),
    (r"\frac{1}{\sqrt{2}}c", r"\frac{1}{\sqrt{2}}"),
    (r"3e^2", r"3"),
    # hedges
    ("12.8", r"12.8 \text{ or } 13"),
    (r"\frac{1}{2}", r"\frac{1}{2} \text{ OR } \frac{1}{3}"),
    ("12.8", r"\text{12.8 or 13}"),
    ("12.8", r"12.8 \pm 1"),
    ("12.8", "[12, 13]"),
    ("12.8", r"x \ne 12.8"),
    ("12.8", r"\text{not } 12.8"),
    ("12.8", r"\le 12.8"),
    ("12.8", "> 12.8"),
    ("12.8", "12.8?"),
    ("12.8", "12.8 | 13"),
    ("12.8", r"12.8 \lor 13"),
    ("12.8", "12.8=13"),
    (r"1+\sqrt2", r"1\pm\sqrt{2}"),
    ("1, 2, 3", r"\{1, 2, 3, \ldots\}"),
    # words that change a number
    ("5", r"5 \text{ dozen}"),
    ("5", "5 million"),
    ("5", "5 or more"),
    ("5", "5 squared"),
    ("0.5", "5%"),
    ("5%", "6%"),
    # what means nothing, or anything
    ("12.8", "x"),
    ("12.8", r"\frac{0}{0}"),
    ("12.8", r"\text{NaN}"),
    ("12.8", r"\mathbb{R}"),
    ("x+y=5", "5"),
    ("x+y=5", "x+y=6"),
    # near misses
    ("12.8", "12.80001"),
    ("12.8", "1280"),
    ("1.2", "1,2"),
    ("1024", "10,24"),
    ("1/3", "0.333"),
    (r"\pi", "3.14"),
    ("2^{2020}", "2^{2021}"),
    ("99999999999999999999", "99999999999999999998"),
    ("(2,4)", "(4,2)"),
    ("(1,2),(3,4)", "(2,1),(4,3)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
    (r"\sqrt[3]{2}", r"\sqrt{2}"),
    ("4343_6", "4344_6"),
    ("6", "six"),
    ("B", "A, B"),
    ("B", r"\text{A or B}"),
    (r"\text{Alice}", r"\text{Alice and Bob}"),
]


@pytest.mark.parametrize(("gold", "answer"), MATHS_EQUAL)
def test_equal_mathematics_is_correct(gold, answer):
    assert check("math_answer", gold, rf"so \boxed{{{answer}}}.").correct


@pytest.mark.parametrize(("gold", "answer"), MATHS_DIFFERENT)
def test_different_mathematics_is_wrong(gold, answer):
    verdict = check("math_answer", gold, rf"so \boxed{{{answer}}}.")
    assert not verdict.correct
    assert verdict.reason in (Reason.MISMATCH, Reason.UNPARSEABLE)


def test_a_percentage_answers_a_bare_gold_only_where_the_question_asks_for_one():
    kind = get_verifier("math_answer")
    for gold, said in (("20", r"\boxed{20\%}"), ("12.5", r"\boxed{12.5\%}")):
        assert kind.check(said, Example("x", "What percent of them are red?", gold)).correct
        assert not kind.check(said, Example("x", "How many of them are red?", gold)).correct


def test_an_empty_box_after_a_good_one_takes_nothing_back():
    assert check("math_answer", "5", r"\boxed{5} and so \boxed{}").correct
    assert check("math_answer", "5", r"\boxed{}").reason is Reason.NO_ANSWER


@pytest.mark.parametrize(
    ("gold", "answer", "done"),
    [
        ("12", "12", True),
        ("12", "3*4", False),
        ("12", r"\sqrt{144}", False),
        ("12", "10+2", False),
        ("3/2", r"\frac{3}{2}", True),
        ("3/2", r"\frac{6}{4}", False),
        (r"2\sqrt{3}", r"2\sqrt{3}", True),
        ("2^{2020}", "2^{2020}", True),  # the gold leaves it so
        ("x^2+1", "1+x^2", True),
        ("5", "x = 5", True),
        ("120", "5!", False),
        ("6.02e23", r"6.02 \times 10^{23}", True),
        (r"\frac34", r"\frac34", True),
        (r"\frac34", r"\frac68", False),
        (r"2\sqrt{3}", r"\sqrt{12}", False),
        (r"\sqrt{12}", r"\sqrt{12}", True),
        (r"\frac{\sqrt{3}}{2}", r"\frac{\sqrt{3}}{2}", True),
        ("12", r"\log_2 4096", False),
        (r"\ln 2", r"\ln 2", True),
        ("0.5", r"\sin 30^\circ", False),
        ("12", r"|{-12}|", False),
        ("12", r"\binom{12}{1}", False),
        ("12", r"\lfloor 12.3 \rfloor", False),
        ("10", r"\sum_{k=1}^{4} k", False),
        (r"\sin x", r"\sin x", True),
    ],
)
def test_simplified_asks_for_arithmetic_that_is_carried_out(gold, answer, done):
    text = rf"\boxed{{{answer}}}"
    assert check("math_answer", gold, text).correct
    verdict = check("math_answer", gold, text, evaluated="simplified")
    assert verdict.correct is done
    assert done or verdict.details["rule"] == "unevaluated"


def test_an_unknown_policy_is_an_error():
    with pytest.raises(DataError, match="evaluated"):
        check("math_answer", "5", r"\boxed{5}", evaluated="often")


@pytest.mark.parametrize(
    ("gold", "answer", "places", "right"),
    [
        (r"\frac{1}{3}", "0.33", 2, True),
        (r"\frac{1}{3}", "0.34", 2, False),
        (r"\frac{1}{3}", "0.3", 2, False),
        (r"\frac{1}{3}", "0.33", 3, False),
        ("0.333", "0.33", 2, True),
        (r"2\pi", "6.28", 2, True),
        (r"2\pi", "6.3", 2, False),
        ("5", "5.004", 2, True),
        ("5", "5.006", 2, False),
        ("5", "4", 0, False),  # whole numbers are not rounded
        (r"\frac{1}{3}", r"\frac{33}{100}", 2, False),  # nor are fractions
        (r"(\frac{3}{5}, \frac{8}{3}]", "(0.6, 2.67]", 2, True),
        (r"\frac{x}{3}", "0.33x", 2, False),
        (r"33\frac{1}{3}\%", r"33.33\%", 2, True),
        (r"33\frac{1}{3}\%", r"33.4\%", 2, False),
    ],
)
def test_decimals_are_compared_to_as_many_places_as_the_example_says(gold, answer, places, right):
    text = rf"\boxed{{{answer}}}"
    assert check("math_answer", gold, text, decimals=places).correct is right
    assert not check("math_answer", gold, text).correct


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("[-2, 7]", r"-2 \le x \le 7"),
        (r"x \in [-2, 7]", r"-2 \le x \le 7"),
        (r"(-\infty, 1) \cup (1, \infty)", r"x \ne 1"),
    ],
)
def test_an_inequality_answers_a_set_unless_the_example_asks_for_the_set(gold, answer):
    text = rf"\boxed{{{answer}}}"
    assert check("math_answer", gold, text).correct
    assert not check("math_answer", gold, text, inequality_for_set=False).correct
    assert check("math_answer", gold, rf"\boxed{{{gold}}}", inequality_for_set=False).correct
    inequality = r"-2 \le x \le 7"
    said = check("math_answer", inequality, r"\boxed{[-2, 7]}", inequality_for_set=False)
    assert said.correct  # the other way round it is what was asked


@pytest.mark.parametrize(
    "options", [{"decimals": 7}, {"decimals": -1}, {"decimals": "2"}, {"inequality_for_set": "no"}]
)
def test_options_that_make_no_sense_are_refused_when_examples_are_loaded(options):
    (name,) = options
    with pytest.raises(DataError, match=name):
        get_verifier("math_answer").check_gold(Example("x", "q", "5", extra=options))


def test_every_rule_that_decides_is_told_in_words():
    kind = get_verifier("math_answer")
    for gold, answer in [*MATHS_EQUAL, *MATHS_DIFFERENT]:
        verdict = check("math_answer", gold, rf"\boxed{{{answer}}}")
        assert verdict.details["rule"] in kind.rules, verdict


def test_a_list_of_boxes_is_one_answer_and_only_a_list_answer_equals_it():
    assert check("math_answer", "1, 2", r"$\boxed{1}$ and $\boxed{2}$").correct
    assert not check("math_answer", "2", r"$\boxed{1}$ and $\boxed{2}$").correct


def test_any_of_several_golds_is_right():
    assert check("math_answer", "1", r"\boxed{2}", golds=["2", "3"]).correct
    assert not check("math_answer", "1", r"\boxed{4}", golds=["2", "3"]).correct


@pytest.mark.parametrize("answer", ["@@@", "???", "{", "=", r"\frac{1}", ")(", "!!"])
def test_two_unparseable_texts_are_never_equal(answer):
    # One that cannot be read is told from one that is merely wrong; as a gold it is an error.
    assert check("math_answer", "5", rf"\boxed{{{answer}}}").correct is False
    if not any(c.isalnum() for c in answer):
        with pytest.raises(DataError):
            get_verifier("math_answer").check_gold(Example("x", "q", answer))
