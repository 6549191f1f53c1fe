"""The model card: what a reader of the final checkpoint needs, and no Markdown of a stranger's."""

from __future__ import annotations

import re

from oneshot_rlvr.records import Run
from oneshot_rlvr.report.model_card import model_card, run_card
from oneshot_testing import markdown_rows


def test_the_card_tells_example_result_measure_recipe_and_licence(finished_run):
    run = Run(finished_run)
    card = run_card(run)
    for needle in (
        "library_name: transformers",
        "license: apache-2.0",
        "What is 52 * 4?",
        "208",
        "| all | 84 |",
        "| math | 48 |",
        "| simple interest | 12 |",
        "Difference, paired by question: +",
        "answers in a box",
        "test set (benchmark tiny, seed 7): 84 questions, 4 answers each, temperature 0.6",
        "`final`",
        "prompts_per_step = 2",
        "## Licence",
    ):
        assert needle in card
    assert card.startswith("---\n")
    assert "\n\n\n" not in card


def test_the_card_of_another_model_claims_no_licence_for_its_weights(finished_run):
    info = Run(finished_run).info
    recipe = {**info["recipe"], "model": {"path": "Qwen/Qwen2.5-Math-1.5B", "revision": "abc"}}
    card = model_card({**info, "recipe": recipe}, {})
    assert "license:" not in card
    assert "`Qwen/Qwen2.5-Math-1.5B` at `abc`" in card
    assert "its licence applies" in card
    assert "Nothing held out was measured" in card


def test_a_validation_alone_is_called_optimistic(build, tmp_path):
    run = Run(build(tmp_path / "run", steps=10, test=False))
    assert "so its numbers are optimistic" in run_card(run)


def test_hostile_text_cannot_leave_its_fence(finished_run):
    info = Run(finished_run).info
    hostile = "```\n# owned\n````\n<script>|x|`"
    example = {**info["examples"][0], "question": hostile, "answer": hostile}
    recipe = {**info["recipe"], "name": hostile, "model": {"path": hostile}}
    card = model_card({**info, "examples": [example], "recipe": recipe}, {})
    outside = re.sub(r"^(`{3,})[a-z]*\n.*?^\1$", "", card, flags=re.DOTALL | re.MULTILINE)
    assert "# owned" not in outside.replace("# #", "").splitlines()
    assert "<script>" not in outside
    assert "`````text\n" in card


def test_an_empty_run_has_a_card():
    card = model_card({}, {})
    assert "Nothing held out was measured" in card
    assert "None" not in card


def test_summaries_alone_make_the_same_card_but_for_the_paired_difference(finished_run):
    run = Run(finished_run)
    summaries = {key: run.summary(*key) for key in run.evaluations()}
    card, whole = model_card(run.info, summaries).splitlines(), run_card(run).splitlines()
    assert [line for line in whole if line not in card] == [
        line for line in whole if line.startswith("Difference")
    ]


def test_the_checkpoint_that_was_chosen_is_the_one_told(build, tmp_path):
    run = Run(build(tmp_path / "run", steps=30, test=False))
    card = run_card(run, step=10)
    after = run.summary("validation", 10)["overall"]["accuracy"]["value"]
    assert "Checkpoint: step 10" in card
    row = next(row for row in markdown_rows(card) if row[0].startswith("all"))
    assert any(f"{100 * after:.1f}%" in cell for cell in row[1:])
