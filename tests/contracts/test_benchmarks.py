"""Every shipped benchmark parses, has as many rows as were published, and scores its golds 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.evaluation import BENCHMARKS, load_benchmark
from oneshot_rlvr.evaluation import benchmarks as room
from oneshot_rlvr.examples.gold import boxed
from oneshot_rlvr.examples.readers import read_rows
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.tiny.tasks import FAMILIES
from oneshot_rlvr.verifiers import VERIFIERS, get_verifier
from oneshot_rlvr.verifiers.boxed import last_box

# Published counts, written here a second time on purpose. The first ten are tested row by row.
LOCAL_ROWS = {
    "aime24": 30, "aime25": 30, "amc23": 40, "arc_challenge": 299, "arc_easy": 570,
    "gsm8k": 1319, "math500": 500, "minerva_math": 272, "olympiadbench": 675, "humaneval": 164,
}  # fmt: skip
PUBLISHED_ROWS = LOCAL_ROWS | {
    "mbpp": 500, "gpqa_diamond": 198, "mmlu_pro": 12032, "medqa": 1273, "finqa": 1147,
    "chess_puzzles": 1000,
}  # fmt: skip
DOMAINS = sorted({family.domain for family in FAMILIES.values()})
GENERATED = {"tiny", "arithmetic", *(f"tiny_{domain}" for domain in DOMAINS)}
SMALL = {"arithmetic": 20 * 6, "tiny": 25 * len(FAMILIES)}


def test_the_registry_holds_every_file_beside_it():
    stems = {path.stem for path in Path(room.__file__).parent.glob("*.toml")}
    assert set(BENCHMARKS) == stems
    known = GENERATED | set(PUBLISHED_ROWS)
    assert stems == known, (
        f"evaluation/benchmarks/ and LOCAL_ROWS, PUBLISHED_ROWS of this test differ in "
        f"{stems ^ known}"
    )


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_description_says_what_a_reader_of_results_needs(name):
    described = BENCHMARKS.load(name)
    assert described.title
    assert described.licence
    assert described.verifier in VERIFIERS
    unknown = set(described.options) - get_verifier(described.verifier).options
    assert not unknown, f"{described.verifier} reads no option {unknown}"
    if described.generator is None:
        assert described.hub is not None
        assert described.schema_of(hub=True).rows in (PUBLISHED_ROWS[name], 674)
        assert described.source
        assert described.file
        assert described.builder or {"question", "answer"} <= set(described.columns)


@pytest.mark.parametrize("name", [*LOCAL_ROWS, *sorted(GENERATED)])
def test_every_row_is_read_and_every_gold_scores_one(name, data_dir):
    benchmark = load_benchmark(BenchmarkConfig(benchmark=name))
    examples = benchmark.examples
    described = BENCHMARKS.load(name)
    families = {f.name for f in FAMILIES.values() if f.domain in described.domains}
    expected = LOCAL_ROWS.get(name) or SMALL.get(name) or described.per_family * len(families)
    assert len(examples) == expected
    assert len({e.id for e in examples}) == expected
    assert len({e.question for e in examples}) == expected
    # tests/verifiers runs every solution of HumanEval; here it is enough that rows are built right.
    graded = examples[::16] if name == "humaneval" else examples
    with Scorer(RewardConfig(timeout_seconds=20, workers=2), seed=0) as scorer:
        assert scorer.bad_golds(graded) == []


@pytest.mark.slow
def test_every_solution_of_humaneval_passes_as_the_benchmark_builds_it(data_dir):
    examples = load_benchmark(BenchmarkConfig(benchmark="humaneval")).examples
    with Scorer(RewardConfig(timeout_seconds=60, workers=2), seed=0) as scorer:
        assert scorer.bad_golds(examples) == []


@pytest.mark.parametrize("name", [*LOCAL_ROWS, *sorted(GENERATED)])
def test_an_empty_answer_and_the_echoed_question_score_zero(name, data_dir):
    examples = load_benchmark(BenchmarkConfig(benchmark=name)).examples[::25]
    assert len(examples) >= 2
    texts = ["", "I do not know."]
    with Scorer(RewardConfig(timeout_seconds=20), seed=0) as scorer:
        for text in texts:
            verdicts = scorer.grade_texts([text] * len(examples), examples)
            assert not any(v.correct for v in verdicts)
        verdicts = scorer.grade_texts([e.question for e in examples], examples)
        assert not any(v.correct for v in verdicts)


def test_golds_are_taken_out_of_boxes_as_answers_are(data_dir):
    solutions = [
        row.fields["solution"]
        for name in ("math500", "minerva_math")
        for row in read_rows(str(data_dir / "benchmarks" / f"{name}.jsonl"))
    ]
    assert len(solutions) == 772
    # One says its number twice, in boxes joined by "or", which are a list to an answer's reader.
    alike = [s for s in solutions if "$ or $\\boxed" not in s]
    assert len(alike) == len(solutions) - 1
    differ = [s for s in alike if boxed(s) != last_box(s).replace("$ $", " ")]
    assert differ == []


def test_math500_s_golds_are_the_boxes_of_its_solutions(data_dir):
    rows = read_rows(str(data_dir / "benchmarks" / "math500.jsonl"))
    assert len(rows) == 500
    assert all(boxed(row.fields["solution"]) == row.fields["answer"] for row in rows)
