"""Two models on the same texts: slow twins in float64, ties, and any architecture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oneshot_rlvr.policy.differences import Positions, compare_logits, differences, ranks
from oneshot_rlvr.policy.random_model import random_policy

PROMPTS = [(1, 2, 3), (4, 5), (1, 2, 3)]
RESPONSES = [(7, 8, 9, 10), (11,), (12, 13)]


def twin(base: list[float], trained: list[float], token: int) -> tuple[int, int, int, int, float]:
    """Choices, ranks and KL of one position, in plain Python."""
    order = sorted(range(len(base)), key=lambda v: (-base[v], v))
    old = order[0]
    new = min(range(len(trained)), key=lambda v: (-trained[v], v))

    def logs(logits: list[float]) -> list[float]:
        total = math.log(sum(math.exp(x - max(logits)) for x in logits)) + max(logits)
        return [x - total for x in logits]

    p, q = logs(trained), logs(base)
    kl = sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
    return old, new, order.index(new) + 1, order.index(token) + 1, kl


def test_choices_ranks_and_divergences_agree_with_plain_python():
    generator = torch.Generator().manual_seed(0)
    # Whole numbers: many ties.
    base, trained = (torch.randint(-3, 4, (50, 11), generator=generator).float() for _ in range(2))
    token_M = torch.randint(0, 11, (50,), generator=generator)
    found = compare_logits(base, trained, token_M)
    for m in range(50):
        old, new, rank, token_rank, kl = twin(
            base[m].tolist(), trained[m].tolist(), int(token_M[m])
        )
        assert int(found.base_choice_M[m]) == old
        assert int(found.trained_choice_M[m]) == new
        assert int(found.rank_M[m]) == rank
        assert int(found.token_rank_M[m]) == token_rank
        assert float(found.kl_M[m]) == pytest.approx(kl, abs=1e-12)


def test_of_equal_logits_the_lower_id_stands_first():
    logits = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert [int(ranks(logits, torch.tensor([v]))) for v in range(4)] == [3, 1, 2, 4]


def test_a_model_does_not_differ_from_itself():
    model = random_policy().model
    found = differences(model, model, PROMPTS, RESPONSES, pad_id=0)
    assert np.array_equal(found.base_choice, found.trained_choice)
    assert (found.rank == 1).all()
    assert (found.kl == 0).all()


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "gemma2"])
def test_positions_are_those_of_the_models_own_forward_pass(architecture):
    options = {} if architecture != "gpt2" else {"n_embd": 32, "n_layer": 2, "n_head": 4}
    base, trained = (
        random_policy(architecture, seed=seed, **options).model.eval() for seed in (1, 2)
    )
    found = differences(base, trained, PROMPTS, RESPONSES, pad_id=0)
    assert found.text.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert found.place.tolist() == [0, 1, 2, 3, 0, 0, 1]
    m = 0
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        tokens = torch.tensor([[*prompt, *response]])
        with torch.no_grad():
            logits = [model(input_ids=tokens).logits[0].double() for model in (base, trained)]
        for t, token in enumerate(response):
            at = len(prompt) - 1 + t
            old, new, rank, token_rank, kl = twin(
                logits[0][at].tolist(), logits[1][at].tolist(), token
            )
            assert found.token[m] == token
            assert (found.base_choice[m], found.trained_choice[m]) == (old, new)
            assert (found.rank[m], found.token_rank[m]) == (rank, token_rank)
            assert found.kl[m] == pytest.approx(kl, rel=1e-4, abs=1e-6)
            m += 1


def test_how_many_positions_are_held_at_once_changes_nothing(monkeypatch):
    base, trained = (random_policy(seed=seed).model for seed in (1, 2))
    whole = differences(base, trained, PROMPTS, RESPONSES, pad_id=0)
    monkeypatch.setattr("oneshot_rlvr.policy.differences._LOGITS", 2 * 259)
    parts = differences(base, trained, PROMPTS, RESPONSES, pad_id=0)
    assert np.array_equal(whole.rank, parts.rank)
    np.testing.assert_allclose(whole.kl, parts.kl, rtol=1e-6, atol=1e-9)


def test_parts_are_joined_in_the_order_of_texts():
    def part(text: int, place: int) -> Positions:
        whole, real = np.array([text]), np.array([0.0])
        return Positions(whole, np.array([place]), whole, whole, whole, whole, whole, real)

    joined = Positions.joined([part(2, 0), part(0, 1), part(0, 0)])
    assert joined.text.tolist() == [0, 0, 2]
    assert joined.place.tolist() == [0, 1, 0]
