"""Every gold of the published files passes its own verifier, but for two that are broken."""

from dataclasses import replace
from pathlib import Path

import pytest

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Reason
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.sandbox import confine
from oneshot_testing import load_file

golds = load_file(Path(__file__).with_name("golds.py"))


@pytest.mark.parametrize("name", [n for n in golds.ROWS if n != "humaneval"])
def test_every_gold_passes_its_own_verifier(data_dir, name):
    examples = golds.read(data_dir, name)
    assert len(examples) == golds.ROWS[name]
    with Scorer(RewardConfig(workers=2, timeout_seconds=20), seed=0) as scorer:
        bad = {identity for identity, _ in scorer.bad_golds(examples)}
    assert bad == {identity for identity in golds.BROKEN if identity.startswith(f"{name}/")}


@pytest.mark.parametrize("name", ["gsm8k", "aime24", "amc23"])
def test_integer_golds_pass_as_mathematics_and_their_successors_fail(data_dir, name):
    examples = [replace(e, verifier="math_answer") for e in golds.read(data_dir, name)]
    texts = [f"so it is \\boxed{{{e.answer}}}." for e in examples]
    numbers = [float(e.answer.replace(",", "")) for e in examples]
    wrong = [f"\\boxed{{{int(n) + 1}}}" for n in numbers]
    with Scorer(RewardConfig(workers=2), seed=0) as scorer:
        assert all(v.correct for v in scorer.grade_texts(texts, examples))
        assert not any(v.correct for v in scorer.grade_texts(wrong, examples))


MATHS = [
    "dsr_sub",
    "math500",
    "aime24",
    "aime25",
    "amc23",
    "minerva_math",
    "olympiadbench",
    "gsm8k",
]


def test_the_cheap_path_never_changes_a_verdict_on_published_golds(data_dir):
    examples = [
        replace(e, verifier="math_answer")
        for name in MATHS
        for e in golds.read(data_dir, name)
        if e.id not in golds.BROKEN
    ]
    verifier = get_verifier("math_answer")
    compared = 0
    for example, following in zip(examples, [*examples[1:], examples[0]], strict=True):
        for answer in (example.answer, following.answer, f"{example.answer}1"):
            quick = verifier.quick(answer, example)
            if quick is not None:
                compared += 1
                full = verifier.compare(answer, example)
                assert (quick.correct, quick.reason) == (full.correct, full.reason), example
    assert compared > 5000


@pytest.mark.parametrize("name", ["arc_easy_validation", "arc_challenge_validation", "gsm8k"])
def test_the_cheap_path_never_changes_a_verdict_of_the_other_kinds(data_dir, name):
    examples = golds.read(data_dir, name)
    answers = [[e.answer, str(e.extra.get("choices", e.answer)), "A", "B", "1"] for e in examples]
    with Scorer(RewardConfig(), seed=0) as scorer:
        for number in range(5):
            said = [a[number] for a in answers]
            graded = scorer.grade_texts([f"\\boxed{{{a}}}" for a in said], examples)
            for example, answer, verdict in zip(examples, said, graded, strict=True):
                full = get_verifier(example.verifier).compare(answer, example)
                assert (verdict.correct, verdict.reason) == (full.correct, full.reason), example


@pytest.mark.skipif(confine.unusable() is not None, reason=f"no sandbox: {confine.unusable()}")
def test_humaneval_solutions_pass_and_mutated_ones_fail(data_dir):
    examples = golds.read(data_dir, "humaneval")
    assert len(examples) == golds.ROWS["humaneval"]
    kind = get_verifier("python_code")
    solutions = [kind.gold_text(e) for e in examples]
    # The mutant returns what the solution does, wrapped, so it runs and is wrong everywhere.
    mutants = [
        f"```python\n{e.answer}\n_right = {e.extra['entry_point']}\n"
        f"def {e.extra['entry_point']}(*a): return [_right(*a), 0]\n```"
        for e in examples
    ]
    with Scorer(RewardConfig(workers=2, timeout_seconds=20), seed=0) as scorer:
        right = scorer.grade_texts(solutions, examples)
        wrong = scorer.grade_texts(mutants[::3], examples[::3])
    assert {e.id: v for e, v in zip(examples, right, strict=True) if not v.correct} == {}
    assert {e.id for e, v in zip(examples[::3], wrong, strict=True) if v.correct} == set()
    # A solution that calls itself meets the mutant's list and raises.
    assert {v.reason for v in wrong} <= {Reason.MISMATCH, Reason.ERROR}
