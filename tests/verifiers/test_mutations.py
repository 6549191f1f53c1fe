"""Mutated published golds are wrong, rewritten ones right: shares over samples, by measurement."""

import random
from pathlib import Path

import pytest

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example
from oneshot_testing import load_file

HERE = Path(__file__).parent
MATHS = ("dsr_sub", "math500", "aime24", "aime25", "amc23", "minerva_math", "olympiadbench")


golds, mutations = (load_file(HERE / f"{name}.py") for name in ("golds", "mutations"))


def _accepted(data_dir, make, count):
    """Of `count` made texts: how many there are, and the (rule, gold, text) that are accepted."""
    found = [e for name in MATHS for e in golds.read(data_dir, name) if e.id not in golds.BROKEN]
    texts = list(dict.fromkeys(e.answer for e in found))
    made = [(rule, gold, said) for gold in texts for rule, said in make(gold)]
    made = random.Random(0).sample(made, count)
    with Scorer(RewardConfig(workers=2, timeout_seconds=20), seed=0) as scorer:
        verdicts = scorer.grade_texts(
            [f"\\boxed{{{said}}}" for _, _, said in made],
            [Example(str(i), "", gold) for i, (_, gold, _) in enumerate(made)],
        )
    return {row for row, verdict in zip(made, verdicts, strict=True) if verdict.correct}, made


def test_of_mutated_golds_at_most_two_in_a_thousand_pass(data_dir):
    accepted, made = _accepted(data_dir, mutations.wrong, 5000)
    assert len(accepted) <= 0.002 * len(made), sorted(accepted)
    assert {"digit", "sign", "left-side", "approximation"} <= {rule for rule, _, _ in made}


def test_of_rewritten_golds_at_most_one_in_a_hundred_is_refused(data_dir):
    accepted, made = _accepted(data_dir, mutations.equivalent, 2000)
    refused = set(made) - accepted
    assert len(refused) <= 0.01 * len(made), sorted(refused)


@pytest.mark.parametrize(
    ("gold", "rule", "text"),
    [
        ("12", "approximation", r"12 \approx 13"),
        ("12", "left-side", "2x=12"),
        ("(8,-2)", "brackets", "[8,-2]"),
        ("(8,-2)", "order", "(-2,8)"),
        ("2516_8", "base", "2516_{9}"),
        ("R-r", "case", "R-R"),
    ],
)
def test_each_rule_changes_what_it_says(gold, rule, text):
    assert (rule, text) in set(mutations.wrong(gold))


def test_a_symmetric_or_wordy_gold_is_left_alone():
    assert not any(rule == "sign" for rule, _ in mutations.wrong(r"\pm 3"))
    assert not any(rule == "case" for rule, _ in mutations.wrong(r"\text{Evelyn}"))
    assert not any(rule == "order" for rule, _ in mutations.wrong("1, 2"))
