"""Any text through every kind: a verdict, in time, without an exception and without a leak.

`ONESHOT_FUZZ_EXAMPLES` sets the number of texts (default 2,000 over all tests here; `make fuzz`
runs 100,000).
"""

import importlib.util
import os
import sys
import time
from decimal import Decimal

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import example as also
from hypothesis import strategies as st

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers import VERIFIERS, get_verifier
from oneshot_rlvr.verifiers.boxed import last_box
from oneshot_rlvr.verifiers.numbers import plain_number
from oneshot_rlvr.verifiers.sandbox import confine

TEXTS = int(os.environ.get("ONESHOT_FUZZ_EXAMPLES", "2000"))
DEADLINE_SECONDS = 2.0

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
SUM = '{"question": "What is 2 + 3?", "answer": "5", "metadata": {}}'
KINDS = [
    Example("0", "q", r"\frac{1}{2}", "math_answer"),
    Example("1", "q", r"\frac{1}{2}", "math_answer", extra={"extraction": "lenient"}),
    Example("2", "q", "5 mg", "numeric", extra={"extraction": "lenient"}),
    Example("3", "q", "B", "multiple_choice", extra={"choices": ["x", "y", "z"]}),
    Example("4", "q", "olleh", "exact_match", extra={"extraction": "lenient"}),
    Example("5", "q", r"[a-z]+\d", "regex_match", extra={"extraction": "lenient"}),
    Example("6", "q", '{"a": [1]}', "json_answer"),
    Example("7", "q", "[1]", "json_answer", extra={"schema": {"type": "array"}}),
    Example("8", "q", "5", "any_of", extra={"parts": [{"verifier": "math_answer"}]}),
    Example("9", "q", "5", "all_of", extra={"parts": [{"verifier": "numeric"}]}),
    Example("10", "q", "", "custom", extra={"function": "fuzz_grader:grade"}),
    Example("11", "q", "e4", "chess_move", extra={"fen": START, "extraction": "lenient"}),
    Example("12", "q", "", "python_code", extra={"tests": "assert f(1) == 2"}),
    Example("13", "q", "5", "reasoning_gym", extra={"generator": "chain_sum", "entry": SUM}),
]
if importlib.util.find_spec("reasoning_gym") is None:
    KINDS = [kind for kind in KINDS if kind.verifier != "reasoning_gym"]
if confine.unusable() is not None:  # its refusal is tested in test_sandbox_attacks.py
    KINDS = [kind for kind in KINDS if kind.verifier != "python_code"]

PIECES = [
    "\\boxed{", "}", "{", "\\frac{", "\\frac{1}{", "9**9**9**9", "9^{9^{9^{9}}}", "100000!",
    "(1000!)!", "\\sqrt{", "\\left(", "\\right)", "\x00", "\u202e", "\ud800", "𝟙", "½", "١٢",
    "1e999", "1e-999", "0/0", "1/0", "\\infty", "-", "\u2212", "$", "$$", "\\(", "\\)", "%",
    "\\%", ",", "and", "or", "\\begin{pmatrix}", "\\\\", "&", "\\end{pmatrix}",
    "the answer is ", "####", "\n", "=", "x", "\\int_0^1", "\\sum_{n=1}^{\\infty}",
    "\\lim_{x \\to 0}", "A", "(B)", "true", "null", '"', "[", "]", "```", "```json\n", "\n```",
    "1,234,567", "1 234", "kg", "°C", "USD", "\\text{", "e4", "O-O", "1",
    "```python\ndef f(x):\n    return ", "\nimport os\nos._exit(0)", "x + 1\n```", "Nf3", "e2e4",
    "\\binom{10000}{5000}", "\\prod_{k=1}^{99999} k", "\\det", "i^i", "0.1", "∞", "π", "√2",
]  # fmt: skip
piece = (
    st.sampled_from(PIECES) | st.text(max_size=12) | st.integers().map(str) | st.floats().map(str)
)
soup = st.lists(piece, max_size=40).map("".join)
boxed = soup.map(lambda s: f"so \\boxed{{{s}}}")
large = st.tuples(piece, st.integers(1, 50_000)).map(lambda p: (p[0] * p[1])[:50_000])
texts = soup | boxed | large | st.text(max_size=2000) | large.map(lambda s: f"\\boxed{{{s}}}")

lax = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="ONESHOT_FUZZ_EXAMPLES" not in os.environ,
)


@pytest.fixture(scope="module", autouse=True)
def _grader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader")
    told = "def grade(text, example):\n    return len(text) % 2 == 0\n"
    (folder / "fuzz_grader.py").write_text(told, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def scorer(_grader):
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    config = RewardConfig(workers=2, timeout_seconds=DEADLINE_SECONDS)
    with Scorer(config, seed=0) as scorer:
        yield scorer
    ends = time.monotonic() + 60
    while not {p.pid for p in psutil.Process().children(recursive=True)} <= before:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_every_kind_meets_every_text():
    missing = set(VERIFIERS) - {kind.verifier for kind in KINDS}
    missing -= set() if confine.unusable() is None else {"python_code"}
    missing -= set() if importlib.util.find_spec("reasoning_gym") else {"reasoning_gym"}
    assert not missing, f"give {missing} an example in KINDS of tests/verifiers/test_fuzz.py"


@settings(lax, max_examples=max(1, TEXTS // len(KINDS)))
@given(text=texts)
def test_any_text_through_every_kind_gives_a_verdict_in_time(scorer, text):
    start = time.monotonic()
    verdicts = scorer.grade_texts([text] * len(KINDS), KINDS)
    # Each at most its own deadline and the start of the process that replaces an overdue one.
    assert time.monotonic() - start < (DEADLINE_SECONDS + 30) * len(KINDS)
    assert len(verdicts) == len(KINDS)
    for verdict in verdicts:
        assert isinstance(verdict, Verdict)
        assert verdict.correct == (verdict.reason is Reason.CORRECT)


@pytest.fixture(scope="module")
def all_imported():
    """What a kind imports at its first use is not the time of the first text."""
    for example in KINDS:
        verifier = get_verifier(example.verifier)
        answer = verifier.extract("\\boxed{5} ```python\npass\n``` [1]", example)
        if not isinstance(answer, Verdict):
            verifier.quick(answer, example)


@settings(lax, max_examples=TEXTS)
@given(text=texts)
def test_reading_any_text_is_quick_and_raises_nothing(text, all_imported):
    start = time.process_time()  # not the time that others take from this process
    for example in KINDS:
        verifier = get_verifier(example.verifier)
        answer = verifier.extract(text, example)
        if not isinstance(answer, Verdict):
            assert isinstance(answer, str)
            verifier.quick(answer, example)
    assert time.process_time() - start < 2


MEGABYTES = ["\\boxed{", "}", "{", "\\", "$", " ", "1", '"', "```", "x = ", "(A) "]


@pytest.mark.parametrize("piece", MEGABYTES)
def test_a_megabyte_line_is_read_in_time(piece):
    text = piece * (1_000_000 // len(piece))
    for wrapped in (text, f"\\boxed{{{text}}}", f"{text} \\boxed{{5}}"):
        for example in (KINDS[1], KINDS[3], KINDS[6]):
            start = time.process_time()
            get_verifier(example.verifier).extract(wrapped, example)
            assert time.process_time() - start < 10  # quadratic would be hours


@settings(lax, max_examples=max(1, TEXTS // 8))
@given(inside=st.text(alphabet=st.characters(exclude_characters="{}\\"), max_size=50))
def test_what_stands_in_a_box_is_what_is_read(inside):
    expected = "\\boxed{" + inside + "}"
    assert last_box(f"x {expected} y") == inside.strip()


plain_values = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.tuples(st.integers(-9999, 9999), st.integers(0, 999)).map(lambda p: f"{p[0]}.{p[1]}"),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda p: f"{p[0]}/{p[1]}"),
    st.tuples(st.integers(0, 99), st.integers(1, 99)).map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
)


def _near(parts):
    whole, decimals, digits, step, exponent = parts
    value = Decimal(f"{whole}.{decimals:0{digits}d}"[: len(str(whole)) + 1 + digits])
    return f"{value:f}", f"{value + step * Decimal(10) ** exponent:f}"


# Decimals that rounding may or may not join, of up to 18 digits before the point.
near_values = st.tuples(
    st.integers(0, 10**18), st.integers(0, 10**9 - 1), st.integers(1, 9),
    st.sampled_from([Decimal(x) for x in ("1", "-1", "0.5", "1.999", "2", "2.001", "3")]),
    st.integers(-9, -1),
).map(_near)  # fmt: skip


@settings(lax, max_examples=max(1, TEXTS // 8))
@given(pair=st.tuples(plain_values, plain_values) | near_values)
@also(pair=("999999999999999936.0", "999999999999999936.1"))  # one and the same float
def test_the_cheap_path_never_changes_a_verdict_and_is_symmetric(pair):
    gold, answer = pair
    if plain_number(gold) is None or plain_number(answer) is None:
        return  # more decimals than a plain number has
    verifier = get_verifier("math_answer")
    for one, other in ((gold, answer), (gold, gold), (answer, answer)):
        quick = verifier.quick(other, Example("x", "q", one))
        back = verifier.quick(one, Example("x", "q", other))
        full = verifier.compare(other, Example("x", "q", one))
        if quick is not None:
            assert quick.correct == full.correct, (one, other)
            assert back is not None
            assert back.correct == quick.correct


@settings(lax, max_examples=max(1, TEXTS // 8))
@given(text=st.text(max_size=30).filter(lambda t: not any(c.isalnum() for c in t)))
def test_two_texts_that_cannot_be_read_are_never_equal(text):
    from oneshot_rlvr.errors import DataError

    example = Example("x", "q", text)
    try:
        get_verifier("math_answer").check_gold(example)
    except DataError:
        return
    # Whatever passes as a gold has a meaning of its own.
    from oneshot_rlvr.verifiers import symbolic

    assert symbolic.has_meaning(text)
