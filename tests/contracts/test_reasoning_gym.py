"""Every generator of reasoning-gym: examples, golds, scores, and texts that mean harm."""

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from oneshot_rlvr.config import ExamplesConfig, RewardConfig
from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples import load_examples, load_file
from oneshot_rlvr.examples.generated import REFUSED
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example, Reason, Rollout
from oneshot_rlvr.verifiers import get_verifier

try:
    from reasoning_gym.factory import DATASETS
except ImportError:  # an environment without the extra collects this file too
    DATASETS = {}

pytestmark = pytest.mark.skipif(not DATASETS, reason="the extra `reasoning-gym` is not installed")

SMALL = {  # settings that make a generator quick
    "knight_swap": "&min_nodes=6&max_nodes=6",
}
NO_GOLD = {  # several answers are right, and the generator gives none
    "boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour",
}  # fmt: skip


def examples(name, settings=""):
    return load_file(f"reasoning_gym:{name}?seed=7&size=3{SMALL.get(name, '')}{settings}")


def test_generators_are_refused_for_a_reason_or_walked():
    assert len(DATASETS) == 106
    assert set(REFUSED) < set(DATASETS)
    for name, reason in REFUSED.items():
        with pytest.raises(DataError, match="is not offered") as told:
            examples(name)
        assert reason in str(told.value)


@pytest.mark.parametrize("name", sorted(set(DATASETS) - set(REFUSED)))
def test_a_generator_gives_examples_whose_golds_score_1_and_other_texts_less(name):
    verifier, found = get_verifier("reasoning_gym"), examples(name)
    assert found
    for example in found:
        assert (example.verifier, example.family) == ("reasoning_gym", name)
        # As it comes back out of a file: an entry is JSON text.
        back = Example(**json.loads(json.dumps({f: getattr(example, f) for f in
                       ("id", "question", "answer", "verifier", "extra")})))  # fmt: skip
        verifier.check_gold(back)
        assert bool(example.answer) == (name not in NO_GOLD)
        if example.answer:
            assert verifier.check(verifier.gold_text(back), back).score == 1.0
        for text in ("<answer>x y z</answer>", r"\boxed{[[}", example.question, ""):
            verdict = verifier.check(text, back)
            assert not verdict.correct
            assert 0 <= verdict.score < 0.5
    assert [e.question for e in examples(name)] == [e.question for e in found]


def test_no_text_is_ever_evaluated(tmp_path):
    marker = tmp_path / "ran"
    text = f"<answer>[open({str(marker)!r}, 'w').close() or 'x']</answer>"
    for name in sorted(set(DATASETS) - set(REFUSED)):
        verdict = get_verifier("reasoning_gym").check(text, examples(name)[0])
        assert not verdict.correct
        assert not marker.exists(), name


def test_every_evaluator_that_a_scorer_calls_is_known_here():
    # What runs text as code, by name; all but sympy's others are replaced in every module.
    replaced = {"eval", "exec", "parse_expr", "sympify"}
    watched = replaced | {"compile", "__import__", "lambdify", "parse_latex", "loads_pickle"}
    root = Path(find_spec("reasoning_gym").origin).parent
    calls = {}
    for path in root.rglob("*.py"):
        if "contrib" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                regular = isinstance(node.func, ast.Attribute) and name == "compile"  # re.compile
                if name in watched and not regular:
                    calls.setdefault(name, set()).add(path.stem)
    assert set(calls) == {"eval", "exec", "parse_expr"}
    assert calls["exec"] == {"codeio"}


def test_arithmetic_is_read_and_scored_in_part():
    (example, *_) = load_file("reasoning_gym:countdown?seed=1&size=2")
    entry = json.loads(example.extra["entry"])
    numbers = entry["metadata"]["numbers"]
    verifier = get_verifier("reasoning_gym")
    right = verifier.check(rf"so it is \boxed{{{entry['metadata']['expression']}}}", example)
    assert (right.correct, right.score) == (True, 1.0)
    off = verifier.check(f"<answer>{' + '.join(map(str, numbers))} + 0</answer>", example)
    assert (off.correct, off.reason, off.score) == (False, Reason.MISMATCH, 0.05)
    bomb = verifier.check("<answer>().__class__</answer>", example)
    assert (bomb.correct, bomb.score) == (False, 0.01)  # what its scorer gives any text


def test_seed_size_and_level_make_pools_and_held_out_sets_that_share_nothing():
    pool = load_file("reasoning_gym:chain_sum?seed=0&size=50")
    held_out = load_file("reasoning_gym:chain_sum?seed=1&size=50")
    assert len({e.question for e in pool}) == len(pool) == 50
    assert not {e.question for e in pool} & {e.question for e in held_out}
    easy = load_file("reasoning_gym:chain_sum?level=0&size=30")
    hard = load_file("reasoning_gym:chain_sum?level=3&size=30")
    assert sum(len(e.question) for e in hard) > 1.2 * sum(len(e.question) for e in easy)
    (one,) = load_examples(
        ExamplesConfig(path="reasoning_gym:chain_sum?max_terms=2", first=1, prompt_suffix="Box it.")
    )
    assert one.question.endswith("Box it.")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("reasoning_gym:countdow", "Did you mean .*countdown"),
        ("reasoning_gym:chain_sum?terms=2", "takes no such settings"),
        ("reasoning_gym:chain_sum?min_terms=9&max_terms=2", "takes no such settings"),
        ("reasoning_gym:chain_sum?size=0", "size of 1 to"),
        ("reasoning_gym:chain_sum?seed", "name=value"),
        ("reasoning_gym:chain_sum?level=-1", "level is -1"),
        ("reasoning_gym:chain_sum?level=11", "level is 11; its levels end at 10"),
        ("reasoning_gym:chain_sum?size=true", "size of 1 to"),
    ],
)
def test_a_name_or_setting_that_is_not_there_is_one_clear_error(path, told):
    with pytest.raises(DataError, match=told):
        load_file(path)


def test_scores_come_back_from_a_worker_and_a_broken_example_is_told():
    asked = examples("countdown")
    text = f"<answer>{asked[0].answer}</answer>"
    rollouts = [Rollout(i, 0, asked[0].id, (), (), (), t, True) for i, t in enumerate((text, "5"))]
    with Scorer(RewardConfig(arm="score", timeout_seconds=30.0), seed=0) as scorer:
        scorer.check_golds(asked)
        graded = scorer.score(rollouts, {asked[0].id: asked[0]}, step=1)
        assert [g.reward for g in graded] == [1.0, 0.0]
        broken = Example("b", "q", "4", "reasoning_gym", extra={"generator": "countdown"})
        with pytest.raises(DataError, match="option entry is"):
            scorer.check_golds([broken])
        none = Example("b", "q", "4", "reasoning_gym", extra={"generator": "os", "entry": "{}"})
        with pytest.raises(DataError, match="reasoning-gym does not have"):
            scorer.check_golds([none])
