"""Every verb that lets a model answer asks and draws as the recipe says: the chat template's
arguments, the system turn, cuts of the distribution, stop texts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

import oneshot_rlvr
import oneshot_rlvr.rollouts
from oneshot_rlvr.backends.local import run as train
from oneshot_rlvr.evaluation import Benchmark
from oneshot_rlvr.examples import load_examples
from oneshot_rlvr.verbs.aligning import align
from oneshot_rlvr.verbs.ask import ask
from oneshot_rlvr.verbs.pool import probe

TEMPLATE = (
    "{{ mood }}|{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}> {% endif %}"
)
CUT = {"rollouts.top_p": 0.9, "rollouts.top_k": 7, "rollouts.min_p": 0.01}


@pytest.fixture(scope="module")
def moody(babbler, tmp_path_factory):
    """The babbler, whose template says in what mood it is asked."""
    folder = tmp_path_factory.mktemp("moody") / "model"
    shutil.copytree(babbler, folder)
    for name in ("chat_template.jinja",):
        (folder / name).unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "chat_template": TEMPLATE}))
    return folder


@pytest.fixture
def seen(monkeypatch):
    """What engines are asked: texts of prompts, and how answers are drawn."""
    asked = []
    make = oneshot_rlvr.rollouts.make_engine

    def spying(name, policy, rollouts=None):
        engine = make(name, policy, rollouts)
        generate = engine.generate

        def spy(prompts, group_size, sampling, key):
            asked.extend((policy.tokenizer.decode(list(p.tokens)), sampling) for p in prompts)
            return generate(prompts, group_size, sampling, key)

        monkeypatch.setattr(engine, "generate", spy)
        return engine

    monkeypatch.setattr(oneshot_rlvr.rollouts, "make_engine", spying)
    return asked


@pytest.fixture(scope="module")
def recipe(small_recipe, moody):
    return small_recipe(
        {"model.path": str(moody), "model.template_arguments": {"mood": "calm"}, **CUT}
    )


def drawn_as_trained(sampling):
    return (sampling.top_p, sampling.top_k, sampling.min_p) == (0.9, 7, 0.01)


def test_a_probe_asks_as_training_does(recipe, seen):
    pool = load_examples(recipe.examples)
    probe(recipe.model.path, recipe, pool, rollouts=2)
    assert [text for text, _ in seen] == ["calm|Say a.\n> "]
    assert all(drawn_as_trained(sampling) for _, sampling in seen)
    seen.clear()
    probe(recipe.model.path, recipe, pool, rollouts=1, temperature=0.0)
    assert not any(sampling.cuts for _, sampling in seen)


def test_gradients_are_of_what_training_draws(recipe, seen):
    pool = load_examples(recipe.examples)
    held = [replace(pool[0], id=f"held {n}", question=f"Say a, {n}.") for n in range(2)]
    align(recipe.model.path, recipe, pool, Benchmark("held", held), rollouts=16)
    texts = [text for text, _ in seen]
    assert texts == ["calm|Say a, 0.\n> ", "calm|Say a, 1.\n> ", "calm|Say a.\n> "]
    assert all(drawn_as_trained(sampling) for _, sampling in seen)


def test_diff_and_ask_ask_as_the_run_is_tested(recipe, small_recipe, moody, seen, tmp_path):
    test = {"repetition_penalty": 1.1, "stop": ["bbb"], "system": "Be short.", "top_k": 5}
    changes = {f"evaluation.test.{key}": value for key, value in test.items()}
    own = small_recipe({
        "model.path": str(moody), "model.template_arguments": {"mood": "calm"},
        "train.steps": 2, "evaluation.validation": None, **changes,
    })  # fmt: skip
    train(own, out=tmp_path / "run")
    seen.clear()
    oneshot_rlvr.diff(tmp_path / "run", temperature=1.0)
    assert len(seen) == 3
    for number, (text, sampling) in enumerate(seen):
        assert text == f"calm|Be short.\ntest {number}: say a.\n> "
        assert (sampling.repetition_penalty, sampling.stop, sampling.top_k) == (1.1, ("bbb",), 5)
    seen.clear()
    # Greedily nothing is cut off; the rest holds.
    oneshot_rlvr.diff(tmp_path / "run", overwrite=True)
    assert {(s.temperature, s.top_k, s.repetition_penalty) for _, s in seen} == {(0.0, 0, 1.1)}
    seen.clear()
    ask(tmp_path / "run", "Say a.", system="Be kind.", stop=["b"])
    assert {text for text, _ in seen} == {"calm|Be kind.\nSay a.\n> "}
    assert {sampling.stop for _, sampling in seen} == {("b",)}
