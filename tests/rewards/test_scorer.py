import math
import subprocess
import sys

import pytest

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import ConfigError, DataError, GraderError
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Reason, Rollout

EXAMPLES = {
    "a": Example("a", "What is 52 * 4?", "208"),
    "b": Example("b", "sine of 60 degrees", r"\frac{\sqrt{3}}{2}"),
}


def rollout(text, row=0, index=0, example="a"):
    return Rollout(row, index, example, (1,), (2,), (0.0,), text, True)


def test_plain_answers_need_no_worker_and_no_sympy():
    code = """
import sys
from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Rollout
heavy = lambda: [m for m in ("sympy", "math_verify", "pint", "torch") if m in sys.modules]
assert not heavy()
texts = ["\\\\boxed{%d}" % (200 + i) for i in range(16)]
rollouts = [Rollout(i, 0, "a", (1,), (2,), (0.0,), text, True) for i, text in enumerate(texts)]
with Scorer(RewardConfig(workers=2), seed=0) as scorer:
    examples = {"a": Example("a", "q", "208")}
    scorer.check_golds(examples.values())
    assert sum(g.reward for g in scorer.score(rollouts, examples, 1)) == 1
    assert scorer.worker_pids() == []
assert not heavy()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_verdicts_keep_the_order_of_the_texts(workers):
    texts = [r"\boxed{208}", "none", r"\boxed{8+200}", r"\boxed{1+1}", r"\boxed{209}"]
    with Scorer(RewardConfig(workers=workers), seed=0) as scorer:
        verdicts = scorer.grade([rollout(t) for t in texts], EXAMPLES)
    assert [v.reason for v in verdicts] == [
        Reason.CORRECT,
        Reason.NO_ANSWER,
        Reason.CORRECT,
        Reason.MISMATCH,
        Reason.MISMATCH,
    ]
    assert [v.correct for v in verdicts] == [v.reason is Reason.CORRECT for v in verdicts]


def test_a_text_that_never_ends_is_killed_and_the_rest_is_unharmed():
    texts = [r"\boxed{\sqrt{3}/2}", r"\boxed{9^{9^{9^{9^{9}}}}}", r"\boxed{\frac12\sqrt{3}}"]
    with Scorer(RewardConfig(workers=1, timeout_seconds=4.0), seed=0) as scorer:
        verdicts = scorer.grade([rollout(t, example="b") for t in texts], EXAMPLES)
    assert [v.reason for v in verdicts] == [Reason.CORRECT, Reason.TIMEOUT, Reason.CORRECT]


@pytest.mark.parametrize("gold", ["", "   ", "@@@", r"\frac{1}{"])
def test_a_gold_its_own_verifier_rejects_is_an_error_that_names_the_example(gold):
    examples = [Example("good", "q", "1"), Example("broken-7", "q", gold)]
    with (
        Scorer(RewardConfig(workers=0), seed=0) as scorer,
        pytest.raises(DataError, match="broken-7"),
    ):
        scorer.check_golds(examples)


def test_format_only_pays_for_a_box_whatever_it_holds():
    texts = [r"\boxed{208}", r"\boxed{1}", r"\boxed{ }", "208", r"\boxed{208"]
    with Scorer(RewardConfig(arm="format_only", workers=0), seed=0) as scorer:
        graded = scorer.score([rollout(t) for t in texts], EXAMPLES, step=1)
    assert [g.reward for g in graded] == [1, 1, 0, 0, 0]
    assert [g.verdict.correct for g in graded] == [True, False, False, False, False]


def test_the_random_reward_depends_on_seed_step_row_and_index_alone():
    rollouts = [rollout(f"text {r} {i}", r, i) for r in range(40) for i in range(25)]

    def rewards(seed, step, batch):
        config = RewardConfig(arm="random", random_share=0.3, workers=0)
        with Scorer(config, seed=seed) as scorer:
            return [g.reward for g in scorer.score(batch, EXAMPLES, step)]

    base = rewards(1, 5, rollouts)
    assert 0.25 < sum(base) / len(base) < 0.35  # 1000 draws: 0.3 +- 3.5 standard errors
    assert rewards(1, 5, rollouts[::-1]) == base[::-1]
    assert rewards(1, 5, rollouts[7:9]) == base[7:9]
    assert rewards(1, 6, rollouts) != base
    assert rewards(2, 5, rollouts) != base


def test_seeds_of_any_size_give_streams_of_their_own():
    rollouts = [rollout(f"text {i}", 0, i) for i in range(64)]
    seen = set()
    for seed in (0, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64, 2**64 + 1, 2**200):
        with Scorer(RewardConfig(arm="random", workers=0), seed=seed) as scorer:
            rewards = tuple(g.reward for g in scorer.score(rollouts, EXAMPLES, step=2))
            assert rewards == tuple(g.reward for g in scorer.score(rollouts, EXAMPLES, step=2))
        assert 16 < sum(rewards) < 48
        seen.add(rewards)
    assert len(seen) == 8


def test_without_kept_workers_there_is_a_deadline_all_the_same():
    config = RewardConfig(workers=0, timeout_seconds=6.0)
    with Scorer(config, seed=0) as scorer:
        endless, right = scorer.grade(
            [rollout(r"\boxed{9^{9^{9^{9^{9}}}}}"), rollout(r"\boxed{2^4 \cdot 13}")], EXAMPLES
        )
        assert (endless.reason, right.reason) == (Reason.TIMEOUT, Reason.CORRECT)
        assert scorer.worker_pids() == []


def test_a_fault_of_a_verifier_that_reads_in_this_process_is_named(monkeypatch):
    from oneshot_rlvr.verifiers.exact_match import ExactMatch

    monkeypatch.setattr(ExactMatch, "extract", lambda *_: 1 / 0)
    example = Example("e7", "q", "x", "exact_match")
    with Scorer(RewardConfig(), seed=0) as scorer:
        with pytest.raises(GraderError, match=r"'e7'.*ZeroDivisionError"):
            scorer.grade_texts(["x"], [example])
        with pytest.raises(GraderError, match=r"'e7'.*ZeroDivisionError"):
            scorer.check_golds([example])


def test_a_wrong_label_pays_the_wrong_answer_and_records_the_true_verdict():
    texts = [r"\boxed{208}", r"\boxed{209}"]
    with Scorer(RewardConfig(arm="wrong_label", workers=0), seed=0) as scorer:
        graded = scorer.score([rollout(t) for t in texts], EXAMPLES, step=1)
    assert [g.reward for g in graded] == [0, 1]
    assert [g.verdict.correct for g in graded] == [True, False]


def test_a_wrong_label_that_is_right_is_refused():
    config = RewardConfig(arm="wrong_label", wrong_label="208.0", workers=0)
    with Scorer(config, seed=0) as scorer, pytest.raises(ConfigError, match="right answer"):
        scorer.score([rollout("x")], EXAMPLES, step=1)


def scored(texts, arm="majority", example="a", row=0, examples=EXAMPLES):
    given = [rollout(t, row=row, index=n, example=example) for n, t in enumerate(texts)]
    with Scorer(RewardConfig(arm=arm, workers=0), seed=0) as scorer:
        return scorer.score(given, examples, step=1)


def test_the_majority_is_paid_whether_it_is_right_or_not():
    graded = scored([r"\boxed{209}", r"\boxed{208}", "nothing", r"\boxed{209}", r"\boxed{209.0}"])
    assert [g.reward for g in graded] == [1, 0, 0, 1, 1]  # 209.0 did not vote for it, and equals it
    assert [g.verdict.correct for g in graded] == [False, True, False, False, False]


def test_of_equally_frequent_answers_the_first_is_elected():
    assert [g.reward for g in scored([r"\boxed{3}", r"\boxed{208}"])] == [1, 0]


def test_every_group_elects_its_own():
    given = [rollout(rf"\boxed{{{n}}}", row=row, index=i)
             for row, answers in enumerate([(1, 1, 2), (2, 2, 1)])
             for i, n in enumerate(answers)]  # fmt: skip
    with Scorer(RewardConfig(arm="majority", workers=0), seed=0) as scorer:
        assert [g.reward for g in scorer.score(given, EXAMPLES, 1)] == [1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    "texts",
    [
        ["nothing", "", "\x1b[31m"],  # nobody answers
        [r"\boxed{9^{9^{9^{9}}}}", r"\boxed{9^{9^{9^{9}}}}", r"\boxed{\frac{}{}}"],
        [r"\boxed{" + "7" * 3000 + "}"] * 2 + [r"\boxed{x_{y_{z}}}"],
        [r"\boxed{}", r"\boxed{#### 5}", r"\boxed{<answer>5</answer>}"],
    ],
)
def test_a_majority_that_can_be_no_gold_pays_nobody_and_raises_nothing(texts):
    rewards = [g.reward for g in scored(texts)]
    assert set(rewards) <= {0.0, 1.0}
    assert len(rewards) == len(texts)


def test_where_no_answer_can_be_a_gold_the_majority_is_refused():
    code = {"a": Example("a", "f?", "", "regex_match", extra={"pattern": "x"})}
    with pytest.raises(ConfigError, match="regex_match"):
        scored(["x", "x"], examples=code)


@pytest.mark.parametrize(
    ("kind", "gold", "texts", "rewards"),
    [
        ("numeric", "5 km", ["7 km", "7000 m", "7 km", "7 s"], [1, 1, 1, 0]),
        ("exact_match", "red", ["blue", "blue", "red"], [1, 1, 0]),
        ("multiple_choice", "B", ["A", "(A)", "B"], [1, 1, 0]),
    ],
)
def test_the_kinds_that_can_vote_do(kind, gold, texts, rewards):
    extra = {"choices": ["one", "two"]} if kind == "multiple_choice" else {}
    boxed = [rf"\boxed{{{text}}}" for text in texts]
    graded = scored(boxed, examples={"a": Example("a", "q", gold, kind, extra=extra)})
    assert [g.reward for g in graded] == rewards


def test_only_the_policy_can_say_how_certain_it_is():
    assert all(math.isnan(g.reward) for g in scored(["x", r"\boxed{208}"], arm="self_certainty"))


def test_a_rollout_of_an_unknown_example_is_an_error():
    with Scorer(RewardConfig(workers=0), seed=0) as scorer, pytest.raises(DataError, match="'zzz'"):
        scorer.grade([rollout("x", example="zzz")], EXAMPLES)
