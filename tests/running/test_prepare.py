"""Bad input to a run: one clear error, before anything is trained or written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.errors import ConfigError, OneshotError
from oneshot_rlvr.evaluation import Benchmark
from oneshot_rlvr.running.prepare import keep_apart
from oneshot_rlvr.types import Example


def model_with(babbler: Path, folder: Path, **changes: Any) -> str:
    """A copy of the model whose config.json is changed."""
    shutil.copytree(babbler, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


def foreign_tokenizer(babbler: Path, folder: Path) -> str:
    from transformers import AutoTokenizer

    shutil.copytree(babbler, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["one", "more"])
    tokenizer.save_pretrained(folder)
    return str(folder)


def item(**changes: Any) -> list[dict[str, Any]]:
    lenient = {"verifier": "exact_match", "extraction": "lenient"}
    return [{"id": "a", "question": "Say a.", "answer": "a", **lenient, **changes}]


Mistake = Callable[[Path, Path], dict[str, Any]]
MISTAKES: dict[str, tuple[Mistake, str]] = {
    "no examples": (lambda b, t: {"examples.items": None}, "examples.path and examples.items"),
    "missing file": (
        lambda b, t: {"examples.items": None, "examples.path": str(t / "none.jsonl")},
        "none.jsonl",
    ),
    "missing held-out file": (
        lambda b, t: {"evaluation.test.path": str(t / "none.jsonl")},
        "none.jsonl",
    ),
    "no gold": (lambda b, t: {"examples.items": item(answer=" ")}, "has no gold"),
    "gold its verifier rejects": (
        lambda b, t: {"examples.items": item(answer="...")},
        "example 'a': the gold '...' is rejected by its own verifier exact_match",
    ),
    "gold its verifier cannot read": (
        lambda b, t: {"examples.items": item(verifier="numeric", answer="many")},
        "the gold 'many' is not a number",
    ),
    "long prompt": (
        lambda b, t: {"examples.items": item(question="long " * 20)},
        "rollouts.max_prompt_tokens",
    ),
    "trained on a test question": (
        lambda b, t: {"examples.items": item(question="test 1:  say a.")},
        "1 question is in both the training and the test set, for example 'test 1: say a.'",
    ),
    "too many positions": (
        lambda b, t: {"rollouts.max_new_tokens": 250},
        "knows 256 positions; set rollouts.max_new_tokens to at most 247.",
    ),
    "too many positions in the test alone": (
        lambda b, t: {"evaluation.test.max_new_tokens": 250},
        "set evaluation.test.max_new_tokens to at most 239.",
    ),
    "prompts longer than the model": (
        lambda b, t: {"model.path": model_with(b, t / "short", max_position_embeddings=8)},
        "knows 8 positions; leave its long prompts out.",
    ),
    "several greedy answers": (
        lambda b, t: {"evaluation.test.temperature": 0.0},
        "samples is 2 at temperature 0",
    ),
    "no model": (lambda b, t: {"model.path": str(t / "none")}, "none"),
    "no tokenizer that fits": (
        lambda b, t: {"model.path": foreign_tokenizer(b, t / "foreign")},
        "has token ids up to 260 but the model embeds only 259",
    ),
    "no algorithm": (lambda b, t: {"algorithm.name": "grop"}, 'Did you mean "grpo"?'),
    "no engine": (lambda b, t: {"rollouts.engine": "hff"}, 'Did you mean "hf"?'),
    "no arm": (lambda b, t: {"reward.arm": "randm"}, 'Did you mean "random"?'),
    "no wrong label": (lambda b, t: {"reward.arm": "wrong_label"}, "Set reward.wrong_label"),
    "wrong label that is right": (
        lambda b, t: {"reward.arm": "wrong_label", "reward.wrong_label": "a"},
        "is the right answer",
    ),
    "no benchmark": (
        lambda b, t: {"evaluation.test.benchmark": "math50"},
        'Did you mean "math500"?',
    ),
}


@pytest.mark.parametrize(("mistake", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_clear_error_before_anything_is_written(
    small_recipe, babbler, tmp_path, mistake, words
):
    recipe = small_recipe(mistake(babbler, tmp_path))
    with pytest.raises(OneshotError) as caught:
        run(recipe, out=tmp_path / "run")
    message = str(caught.value)
    assert words in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "suffix",
    [
        "Let's think step by step and output the final answer within \\boxed{}.",
        "Please reason step by step.",
    ],
)
def test_a_suffix_does_not_hide_a_test_question(suffix):
    held = "How many whole numbers lie between 10 and 100?"
    with pytest.raises(ConfigError, match="1 question is in both the training and the test set"):
        keep_apart(
            [Example("a", f"{held} {suffix}", "89")],
            {"test": Benchmark("b", [Example("b", held, "89")])},
        )


def test_a_question_too_short_to_be_looked_for_is_compared_bare():
    """ "1 + 1?" stands inside many a question by chance; what stands around it is known here."""
    suffix = "Let's think step by step and output the final answer within \\boxed{}."
    asked = Benchmark("b", [Example("b", "Solve. 1 + 1? Box it.", "2")], bare={"b": "1 + 1?"})
    with pytest.raises(ConfigError, match="1 question is in both the training and the test set"):
        keep_apart([Example("a", f"1 + 1? {suffix}", "2")], {"test": asked})
    keep_apart([Example("a", f"1 + 1 + 1? {suffix}", "3")], {"test": asked})


def test_near_duplicates_are_told_and_not_refused(caplog):
    held = "A train leaves the town at noon and runs at sixty miles an hour to the far north coast"
    sets = {"test": Benchmark("b", [Example("b", f"{held} of the land. When is it there?", "1")])}
    with caplog.at_level("WARNING"):
        keep_apart([Example("a", f"{held} of an island. When is it there?", "1")], sets)
    assert "1 questions of the test set are nearly the same" in caplog.text
