"""Gradient alignment in the tiny world: right labels align with held-out ones, wrong do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation import Benchmark
from oneshot_rlvr.tiny import tasks
from oneshot_rlvr.verbs.aligning import align


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("tiny_one_shot", {"train.threads": 1, "reward.workers": 0})


@pytest.fixture(scope="module")
def sets():
    """Six additions, the same six questions with wrong golds, and ten held-out additions."""
    right = tasks.generate("add", 0, 6, "train")
    wrong = [
        replace(e, id=f"wrong-{e.id}", question=f"{e.question} ", answer=str(int(e.answer) + 1))
        for e in right
    ]
    return right, wrong, Benchmark("held", tasks.generate("add", 0, 10, "validation"))


def test_right_labels_align_better_than_wrong_ones(recipe, sets):
    right, wrong, validation = sets
    tried = align("tiny", recipe, [*right, *wrong], validation, rollouts=16, temperature=0.8)
    assert tried.alignment is not None
    good, bad = (np.array([tried.alignment[e.id] for e in examples]) for examples in (right, wrong))
    assert good.mean() > 0.1
    assert good.mean() > bad.mean() + 0.05
    # Told: (12 + 10) questions of 16 answers, and the memory.
    assert tried.cost.answers == 22 * 16
    assert tried.cost.tokens > 22 * 16
    assert tried.cost.peak_bytes > 100 << 20
    assert "last layer" in tried.notes[0]


def test_the_same_seed_gives_the_same_numbers_and_another_kind_the_same_signs(recipe, sets):
    right, _, validation = sets
    settings = {"rollouts": 8, "temperature": 0.8, "seed": 5}
    one, two = (align("tiny", recipe, right, validation, **settings) for _ in range(2))
    assert one.alignment == two.alignment
    assert [s["correct"] for s in one.samples] == [s["correct"] for s in two.samples]
    inner = align("tiny", recipe, right, validation, kind="inner_product", **settings)
    weighed = align("tiny", recipe, right, validation, kind="learnability", **settings)
    solved = {
        e.id: np.mean([s["correct"] for s in one.samples if s["example_id"] == e.id]) for e in right
    }
    for name, cosine in one.alignment.items():
        assert np.sign(inner.alignment[name]) == np.sign(cosine)
        # Both sides' p (1 - p) are at most 1/4.
        assert abs(weighed.alignment[name]) <= solved[name] * (1 - solved[name]) / 4 + 1e-9
        assert (weighed.alignment[name] == 0) is (solved[name] in (0.0, 1.0))


def test_what_gives_no_gradient_is_refused(recipe, sets):
    right, wrong, validation = sets
    hopeless = Benchmark("hopeless", [replace(wrong[0], answer="1234567")])
    with pytest.raises(DataError, match="no validation question has both"):
        align("tiny", recipe, right[1:], hopeless, rollouts=2, temperature=0.8)
    with pytest.raises(ConfigError, match='of "everything"; wanted last_layer or adapters'):
        align("tiny", recipe, right, validation, rollouts=2, place="everything")
