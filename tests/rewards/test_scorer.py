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


def test_a_rollout_of_an_unknown_example_is_an_error():
    with Scorer(RewardConfig(workers=0), seed=0) as scorer, pytest.raises(DataError, match="'zzz'"):
        scorer.grade([rollout("x", example="zzz")], EXAMPLES)
