"""Sampling, grading and summing up: what a result depends on, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation import Benchmark, evaluate, grading_config, has_recheck
from oneshot_rlvr.evaluation.store import EXTRA_COLUMNS
from oneshot_rlvr.records.schema import SAMPLE_COLUMNS
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rollouts import uniforms
from oneshot_rlvr.types import Example, Rollout

# Questions of different lengths, so that calls do not follow the benchmark's order.
EXAMPLES = [
    Example(
        id=f"e{i}", question="?" * (1 + i * 7 % 5), answer=str(i), family=f"f{i % 2}", domain="d",
        extra={"group": "math" if i < 4 else "other"},
    )
    for i in range(6)
]  # fmt: skip
BENCHMARK = Benchmark("six", EXAMPLES)


class Tokenizer:
    bos_token_id = None
    chat_template = None

    def apply_chat_template(self, conversation, **options):
        raise AssertionError("there is no template")

    def encode(self, text, **options):
        return [ord(c) for c in text]


class Engine:
    """Says the gold in a box where its uniform is below `skill`, else something else."""

    name = "fake"

    def __init__(self, skill=0.5):
        self.skill = skill
        self.calls: list[list[int]] = []
        self.sizes: list[tuple[int, int]] = []

    def sync(self, policy):
        raise AssertionError("evaluation never changes the policy")

    def generate(self, prompts, group_size, sampling, key):
        self.calls.append([p.row for p in prompts])
        tokens = max(len(p.tokens) for p in prompts) + sampling.max_new_tokens
        self.sizes.append((len(prompts) * group_size, len(prompts) * group_size * tokens))
        self.sampling = sampling
        return [
            self.rollout(prompt, index, float(uniforms(key, prompt.row, index, 0)))
            for prompt in prompts
            for index in range(group_size)
        ]

    def rollout(self, prompt, index, draw):
        text = f"{draw} \\boxed{{{prompt.example.answer}}}"
        if draw >= self.skill:
            text = f"{draw} Wait, let me recheck: 77."
        tokens = tuple(range(prompt.row + 1))
        return Rollout(
            prompt.row, index, prompt.example.id, prompt.tokens, tokens, (0.0,) * len(tokens),
            text, finished=draw < self.skill,
        )  # fmt: skip


def run(engine=None, *, samples=8, temperature=0.6, seed=3, benchmark=BENCHMARK, **options):
    config = BenchmarkConfig(
        benchmark="file", samples=samples, temperature=temperature, seed=seed,
        max_new_tokens=options.pop("own_tokens", None),
    )  # fmt: skip
    options = {"max_new_tokens": 10, "max_prompt_tokens": 9} | options
    with Scorer(RewardConfig(workers=0), seed=0) as scorer:
        return evaluate(engine or Engine(), Tokenizer(), scorer, benchmark, config, **options)


def test_samples_come_by_question_then_number_with_the_columns_of_the_records():
    samples = run(samples=3).samples
    assert [(s["example_id"], s["sample"]) for s in samples] == [
        (f"e{q}", k) for q in range(6) for k in range(3)
    ]
    assert set(samples[0]) == {*SAMPLE_COLUMNS.names, *EXTRA_COLUMNS.names}
    assert [s["tokens"] for s in samples] == [q + 1 for q in range(6) for _ in range(3)]


def test_verdicts_and_marks_of_each_sample_are_its_text_s():
    for sample in run().samples:
        right = "\\boxed" in sample["text"]
        assert sample["correct"] is sample["boxed"] is sample["finished"] is right
        assert sample["reason"] == ("correct" if right else "no_answer")
        assert sample["extracted"] == (sample["answer"] if right else None)


def test_a_model_that_knows_everything_scores_one_and_one_that_knows_nothing_zero():
    assert run(Engine(skill=1.0)).summary["overall"]["accuracy"]["value"] == 1.0
    assert run(Engine(skill=0.0)).summary["overall"]["accuracy"]["value"] == 0.0


def test_the_summary_has_its_parts_by_hand():
    result = run(samples=4)
    summary, samples = result.summary, result.samples
    right = sum(s["correct"] for s in samples) / 24
    overall = summary["overall"]
    assert 0 < right < 1
    assert overall["accuracy"]["value"] == pytest.approx(right)
    assert overall["accuracy"]["n"] == overall["questions"] == 6
    assert overall["boxed_share"] == pytest.approx(right)
    assert overall["truncated_share"] == overall["recheck_share"] == pytest.approx(1 - right)
    assert overall["tokens_mean"] == 3.5
    assert overall["reasons"] == {"correct": right * 24, "no_answer": 24 - right * 24}
    assert (summary["benchmark"], summary["samples"], summary["seed"]) == ("six", 4, 3)
    assert set(summary["families"]) == {"f0", "f1"}
    assert summary["groups"]["math"]["questions"] == 4
    assert summary["groups"]["other"]["questions"] == 2


def test_a_sample_depends_neither_on_its_call_nor_on_how_many_are_asked_for():
    whole = run(samples=150).samples
    split = Engine()
    assert run(split, samples=150, max_rows=70).samples == whole
    assert len(split.calls) > 6
    few = run(samples=5).samples
    assert few == [s for s in whole if s["sample"] < 5]
    # The first questions alone give what they give among all.
    front = run(samples=5, benchmark=Benchmark("six", EXAMPLES[:2])).samples
    assert front == few[:10]


def test_all_samples_are_drawn_apart_and_anew_for_another_seed_or_benchmark():
    def draws(**options):
        return {s["text"].split()[0] for s in run(samples=150, **options).samples}

    base = draws()
    assert len(base) == 900
    assert not base & draws(seed=4)
    assert not base & draws(benchmark=Benchmark("other", EXAMPLES))


def test_calls_are_bounded_in_rows_and_tokens_and_hold_prompts_of_like_length():
    engine = Engine()
    run(engine, samples=8, max_rows=16)
    assert max(rows for rows, _ in engine.sizes) == 16
    lengths = [len(EXAMPLES[row].question) for call in engine.calls for row in call]
    assert lengths == sorted(lengths, reverse=True)
    engine = Engine()
    run(engine, samples=8, max_tokens=8 * 2 * 15)
    assert max(tokens for _, tokens in engine.sizes) <= 8 * 2 * 15
    assert sorted(row for call in engine.calls for row in call) == list(range(6))


def test_a_question_that_alone_exceeds_the_bounds_is_still_asked():
    engine = Engine()
    run(engine, samples=8, max_rows=1, max_tokens=1)
    assert sorted(row for call in engine.calls for row in call) == list(range(6))


def test_progress_counts_answers_to_the_last():
    seen: list[tuple[int, int]] = []
    run(samples=70, max_rows=128, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (420, 420)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_the_benchmark_s_own_token_limit_comes_first():
    engine = Engine()
    assert run(engine, own_tokens=5).summary["max_new_tokens"] == 5
    assert engine.sampling.max_new_tokens == 5
    run(engine)
    assert engine.sampling.max_new_tokens == 10


def test_one_greedy_sample_is_taken_and_several_are_refused():
    engine = Engine()
    assert run(engine, samples=1, temperature=0.0).summary["samples"] == 1
    assert engine.sampling.temperature == 0
    with pytest.raises(ConfigError, match="samples is 8 at temperature 0"):
        run(samples=8, temperature=0.0)


def test_a_bad_gold_and_a_long_prompt_stop_before_anything_is_generated():
    engine = Engine()
    bad = Benchmark("bad", [Example("x", "?", "", verifier="numeric")])
    with pytest.raises(DataError, match="'x'"):
        run(engine, benchmark=bad)
    with pytest.raises(DataError, match='"e2" has 5 tokens, the limit is 4'):
        run(engine, max_prompt_tokens=4)
    assert not engine.calls


def test_grading_takes_deadline_and_workers_from_the_run_and_never_the_arm():
    reward = RewardConfig(arm="wrong_label", wrong_label="7", timeout_seconds=2.0, workers=3)
    assert grading_config(reward) == RewardConfig(timeout_seconds=2.0, workers=3)


def test_training_on_a_wrong_label_leaves_evaluation_on_the_true_one():
    reward = RewardConfig(arm="wrong_label", wrong_label="999", workers=0)
    config = BenchmarkConfig(benchmark="file", temperature=0.6)
    with Scorer(grading_config(reward), seed=0) as scorer:
        result = evaluate(
            Engine(1.0), Tokenizer(), scorer, BENCHMARK, config,
            max_new_tokens=5, max_prompt_tokens=9,
        )  # fmt: skip
    assert result.summary["overall"]["accuracy"]["value"] == 1.0


@pytest.mark.parametrize("text", ["Let me recheck.", "I rethink this", "recalculating: 4"])
def test_texts_that_recheck_themselves_are_told(text):
    assert has_recheck(text)
    assert not has_recheck("The check came to 4.")


def test_examples_and_evaluation_import_without_torch():
    code = (
        "import sys, oneshot_rlvr.evaluation, oneshot_rlvr.examples.prompting\n"
        "found = {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
