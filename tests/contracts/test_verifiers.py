"""What every verifier promises, checked for every entry of the registry.

A new kind adds an example to EXAMPLES and ALL_AT_ONCE; docs/adding.md has all the places. A new
file that is no kind is a name in HELPERS.
"""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from oneshot_rlvr import verifiers as room
from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import DataError
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers import VERIFIERS, Verifier, get_verifier
from oneshot_rlvr.verifiers.sandbox import confine

START = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
BOX = "Let's think step by step and output the final answer within \\boxed{}."
CHOICES = ["a whale", "a shark", "a trout", "a crab"]
SOLUTION = "def double(x):\n    return 2 * x"
CUSTOM = "def grade(text, example):\n    return f'boxed{{{example.answer}}}' in text\n"

# kind -> (question, gold, options); the question names all that a model might echo
EXAMPLES = {
    "math_answer": (f"What is 6 * 7? {BOX}", "42", {}),
    "numeric": (f"A dose is 5 mg per kg; what of 14 kg, in mg? {BOX}", "70 mg", {"unit": "mg"}),
    "multiple_choice": (
        "Which is a mammal?\n"
        + "\n".join(f"{c}. {t}" for c, t in zip("ABCD", CHOICES, strict=True)),
        "A",
        {"choices": CHOICES},
    ),
    "exact_match": (f"Write 'hello' backwards. {BOX}", "olleh", {}),
    "regex_match": (
        f"Give a date in 2025 as YYYY-MM-DD. {BOX}",
        r"2025-\d\d-\d\d",
        {"sample": "2025-01-31"},
    ),
    "json_answer": ('Give {"sum": 2 + 3} as JSON.', '{"sum": 5}', {}),
    "python_code": (
        "Write double(x).\n```python\ndef double(x):\n    ...\n```",
        SOLUTION,
        {"tests": "assert double(4) == 8", "entry_point": "double"},
    ),
    "chess_move": (f"Play a central pawn two squares: {START}. {BOX}", "e4, d4", {"fen": START}),
    "any_of": (
        f"What is 2 + 3? {BOX}",
        "5",
        {"parts": [{"verifier": "numeric"}, {"verifier": "exact_match", "answer": "five"}]},
    ),
    "all_of": (
        f"What is 2 + 3, in one digit? {BOX}",
        "5",
        {"parts": [{"verifier": "numeric"}, {"verifier": "regex_match", "answer": "[0-9]"}]},
    ),
    "custom": (f"What is 2 + 3? {BOX}", "5", {"function": "contract_grader:grade"}),
    "reasoning_gym": (
        f"What is 2 + 3? {BOX}",
        "5",
        {
            "generator": "chain_sum",
            "entry": '{"question": "What is 2 + 3?", "answer": "5", "metadata": {}}',
        },
    ),
}
# Every possible answer at once, where a kind has a few.
ALL_AT_ONCE = {
    "multiple_choice": r"\boxed{A}, \boxed{B}, \boxed{C}, \boxed{D}",
    "math_answer": r"\boxed{" + ",".join(map(str, range(100))) + "}",
    "numeric": r"\boxed{" + ", ".join(f"{n} mg" for n in range(100)) + "}",
    "exact_match": r"\boxed{hello olleh}",
    "chess_move": r"\boxed{e4, d4, Nf3, c4, g3}",
    "json_answer": '{"sum": [1, 2, 3, 4, 5, 6]}',
    "python_code": "```python\ndef triple(x):\n    return 3 * x\n```",
    "any_of": r"\boxed{1, 2, 3, 4, 5 five}",
    "all_of": r"\boxed{1, 2, 3, 4, 5}",
    "regex_match": r"\boxed{2024-01-01 2025-01-01}",
    "custom": r"\boxed{1} \boxed{2}",
    "reasoning_gym": r"\boxed{1, 2, 3, 4, 6}",
}


HELPERS = {
    "base", "bases", "boxed", "chains", "concluding", "expressions", "extraction", "fences",
    "fonts", "grammar", "intervals", "layout", "matching", "names", "numbers", "open_problems",
    "proof", "quantity", "readings", "scoring", "spans", "spelling", "stated_units",
    "statements", "symbolic", "trailing_units", "unevaluated", "unit_names", "units", "values",
    "words",
}  # fmt: skip
"""Files of the room that are no kind: what several kinds are made of."""


def test_every_kind_has_an_example_here():
    for name, table in (("EXAMPLES", EXAMPLES), ("ALL_AT_ONCE", ALL_AT_ONCE)):
        missing, unknown = set(VERIFIERS) - set(table), set(table) - set(VERIFIERS)
        assert not missing, f"give {missing} a row in {name} of tests/contracts/test_verifiers.py"
        assert not unknown, f"{name} has {unknown}, which verifiers/__init__.py:VERIFIERS has not"


def test_every_file_of_the_room_is_a_registered_kind_or_a_helper():
    files = {path.stem for path in Path(room.__file__).parent.glob("*.py")} - {"__init__"}
    kinds = {target.partition(":")[0].rpartition(".")[2] for target in VERIFIERS.values()}
    assert not files - kinds - HELPERS, (
        f"verifiers/ has {files - kinds - HELPERS}: register a kind in "
        "verifiers/__init__.py:VERIFIERS, or name a helper in HELPERS of this test"
    )
    assert not HELPERS - files, f"HELPERS names {HELPERS - files}, which verifiers/ has not"
    assert not HELPERS & kinds, f"{HELPERS & kinds} are registered and no helpers"


@pytest.fixture(scope="module", autouse=True)
def _grader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grader")
    (folder / "contract_grader.py").write_text(CUSTOM, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(params=list(VERIFIERS))
def example(request):
    kind = request.param
    if kind == "python_code" and confine.unusable() is not None:
        pytest.skip(str(confine.unusable()))
    if kind == "chess_move":
        pytest.importorskip("chess", reason="the extra `chess` (GPL-3) is not installed")
    if kind == "reasoning_gym":
        pytest.importorskip("reasoning_gym", reason="its extra is not installed")
    if kind not in EXAMPLES or kind not in ALL_AT_ONCE:
        pytest.fail(f"give {kind} a row in EXAMPLES and in ALL_AT_ONCE of {Path(__file__).name}")
    question, gold, extra = EXAMPLES[kind]
    return Example(f"{kind}-1", question, gold, kind, extra=extra)


def test_it_is_a_verifier_of_that_name(example):
    verifier = get_verifier(example.verifier)
    assert isinstance(verifier, Verifier)
    assert verifier.name == example.verifier
    assert set(example.extra) - {"sample"} <= verifier.options


def test_it_accepts_its_gold(example):
    verifier = get_verifier(example.verifier)
    verifier.check_gold(example)
    verdict = verifier.check(verifier.gold_text(example), example)
    assert verdict.correct
    assert verdict.reason is Reason.CORRECT


@pytest.mark.parametrize(
    "text", ["", " \n\t", r"\boxed{}", r"\boxed{ }", "I do not know.", "```\n```", "```json\n\n```"]
)
def test_it_rejects_texts_without_an_answer(example, text):
    verdict = get_verifier(example.verifier).check(text, example)
    assert not verdict.correct
    assert verdict.reason is not Reason.CORRECT


def _echoes(question):
    """The prompt as models echo it: alone, repeated, introduced, followed up, cut short."""
    yield from (question, question * 3, f"{question}\n\n{question}", f"Sure! {question}")
    yield from (f"User: {question}\nAssistant:", f"{question}\nAnswer:", f"{question}\n{BOX}")
    yield from (f"The question is:\n{question}", f"{question}\nLet me think about it.")
    yield from (question[: len(question) * part // 12] for part in range(12))


def test_it_rejects_the_echoed_prompt(example):
    golds = example.extra.get("choices", [example.answer])
    for gold in golds:  # of a choice any may be the right one, the last above all
        for text in _echoes(example.question):
            for extraction in ({}, {"extraction": "lenient"}):
                extra = {**example.extra, **extraction}
                asked = dataclasses.replace(example, answer=gold, extra=extra)
                assert not get_verifier(example.verifier).check(text, asked).correct, text


@pytest.mark.parametrize(
    "layout", ["{c}. {t}", "({c}) {t}", "- {c}: {t}", "{c}", "{t}", "{c}) {t}"]
)
@pytest.mark.parametrize("joint", ["\n", "\n\n", " ", "; "])
def test_a_list_of_options_names_none_of_them(layout, joint):
    told = joint.join(layout.format(c=c, t=t) for c, t in zip("ABCD", CHOICES, strict=True))
    for gold in "ABCD":
        example = Example("x", "q", gold, "multiple_choice", extra={"choices": CHOICES})
        for text in (told, f"Options:\n{told}", f"The answer is one of\n{told}\n"):
            assert not get_verifier("multiple_choice").check(text, example).correct, text
        right = get_verifier("multiple_choice").check(f"{told}\nThe answer is {gold}.", example)
        assert right.correct


def test_it_rejects_every_option_at_once(example):
    assert not get_verifier(example.verifier).check(ALL_AT_ONCE[example.verifier], example).correct


def test_its_stages_agree(example):
    """`quick`, where it speaks, says what `compare` says."""
    verifier = get_verifier(example.verifier)
    for text in (verifier.gold_text(example), ALL_AT_ONCE[example.verifier], r"\boxed{0}", "0"):
        answer = verifier.extract(text, example)
        if isinstance(answer, Verdict):
            continue
        quick = verifier.quick(answer, example)
        if quick is not None:
            full = verifier.compare(answer, example)
            assert (quick.correct, quick.reason) == (full.correct, full.reason)


def test_its_verdict_is_the_same_in_a_grading_process(example):
    verifier = get_verifier(example.verifier)
    texts = [verifier.gold_text(example), "", ALL_AT_ONCE[example.verifier], example.question]
    here = [verifier.check(text, example) for text in texts]
    with Scorer(RewardConfig(workers=1, timeout_seconds=20), seed=0) as scorer:
        there = scorer.grade_texts(texts, [example] * len(texts))
        scorer.check_golds([example])
    assert [(v.correct, v.reason, v.extracted) for v in here] == [
        (v.correct, v.reason, v.extracted) for v in there
    ]


def test_a_verdict_is_correct_exactly_by_its_reason_and_can_be_written_down(example):
    verifier = get_verifier(example.verifier)
    for text in (verifier.gold_text(example), "\ud800\x00", "x" * 5000):
        verdict = verifier.check(text, example)
        assert verdict.correct == (verdict.reason is Reason.CORRECT)
        json.dumps([verdict.extracted, dict(verdict.details)])


def test_a_gold_without_any_meaning_is_refused_at_load_time(example):
    meaningless = {"regex_match": "(", "json_answer": "{"}.get(example.verifier, "")
    extra = {} if example.verifier not in ("multiple_choice",) else example.extra
    broken = dataclasses.replace(example, answer=meaningless, extra=extra)
    with pytest.raises(DataError):
        get_verifier(example.verifier).check_gold(broken)


def test_kinds_import_nothing_heavy_until_needed():
    code = (
        "import sys\n"
        "from oneshot_rlvr.verifiers import VERIFIERS, get_verifier\n"
        "for kind in VERIFIERS:\n"
        "    if kind != 'chess_move': get_verifier(kind)\n"
        "heavy = {'sympy', 'math_verify', 'pint', 'jsonschema', 'torch', 'numpy', 're2', 'chess'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_chess_is_refused_with_the_way_to_install_it():
    code = (
        "import sys\nsys.modules['chess'] = None\n"
        "from oneshot_rlvr.errors import MissingDependencyError\n"
        "from oneshot_rlvr.verifiers import get_verifier\n"
        "try:\n    get_verifier('chess_move')\n"
        "except MissingDependencyError as error:\n    assert 'oneshot-rlvr[chess]' in str(error)\n"
        "else:\n    raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
