"""What a step does with options for one-example runs: RL-ZVP, chosen tokens, masks, weights."""

import dataclasses
import math

import pytest
import torch

from oneshot_rlvr.algorithms import ALGORITHMS
from oneshot_rlvr.algorithms.batch import Advantages
from oneshot_rlvr.algorithms.token_choice import most_uncertain
from oneshot_rlvr.config import Recipe, parse_recipe
from oneshot_rlvr.policy import head, sequence_logprobs
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train.forward import Known
from oneshot_rlvr.train.rows import generated_mask
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.train.survey import chosen_tokens, weighed
from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Verdict

P, G, T = 4, 3, 12
PROMPTS = [
    Prompt(row, Example(str(row), text, ""), tuple(text.encode()))
    for row, text in enumerate(["2+2=", "2+2=", "a longer one", "2+2="])
]
REWARDS = [1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0]  # row 1 all wrong, row 2 all right
NO_TERMS = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}


def recipe(algorithm, train=None) -> Recipe:
    return parse_recipe(
        {
            "rollouts": {
                "prompts_per_step": P, "group_size": G, "temperature": 0.8, "max_new_tokens": T,
            },
            "algorithm": {**NO_TERMS, **algorithm},
            "optimizer": {"learning_rate": 0.01, "gradient_clip": 0.0},
            "train": {"micro_batch_tokens": 10**6, **(train or {})},
        }
    )  # fmt: skip


def new_policy(dtype=torch.float32):
    return random_policy("qwen2", seed=1, scale=0.1, dtype=dtype)


@pytest.fixture(scope="module")
def graded():
    key = StreamKey(0, "test", 0)
    rollouts = make_engine("auto", new_policy()).generate(PROMPTS, G, Sampling(0.8, T), key)
    # Of some length, and half of them cut.
    rollouts = [
        dataclasses.replace(
            r, tokens=r.tokens[: 3 + n % 5], logprobs=r.logprobs[: 3 + n % 5], finished=n % 2 == 0
        )
        for n, r in enumerate(rollouts)
    ]
    verdict = Verdict(False, Reason.MISMATCH)
    return [Graded(r, verdict, reward) for r, reward in zip(rollouts, REWARDS, strict=True)]


def weights(policy):
    return torch.cat([p.detach().double().flatten() for p in policy.model.parameters()])


def learned(graded, algorithm, train=None, dtype=torch.float32):
    """Weights and result of one step."""
    policy = new_policy(dtype)
    result = TrainStep(policy, recipe(algorithm, train)).update(graded)
    return weights(policy), result


def scores(graded, policy):
    rollouts = [g.rollout for g in graded]
    return sequence_logprobs(
        policy.model, [r.prompt_tokens for r in rollouts], [r.tokens for r in rollouts], 0.8,
        pad_id=policy.pad_id,
    )  # fmt: skip


PRACTICES = {
    "rl-zvp": ({"zero_variance_coefficient": 0.5}, {}),
    "weights": ({"positive_weight": 0.1}, {}),
    "dual clip": ({"dual_clip": 1.3}, {"updates_per_rollout": 4, "epochs": 2}),
    "clip-cov": (
        {"covariance": "clip", "covariance_share": 0.2, "covariance_low": 0.01},
        {"updates_per_rollout": 4, "epochs": 2},
    ),
    "kl-cov": (
        {"covariance": "kl", "covariance_share": 0.2},
        {"updates_per_rollout": 4, "epochs": 2},
    ),
    "top entropy": ({"top_entropy_share": 0.3}, {"updates_per_rollout": 2}),
    "truncated": ({"mask_truncated": True}, {}),
    "all of them": (
        {
            "zero_variance_coefficient": 0.5, "negative_weight": 2.0, "covariance": "clip",
            "covariance_share": 0.2, "covariance_low": 0.01, "top_entropy_share": 0.5,
            "mask_truncated": True, "dual_clip": 1.3,
        },
        {"updates_per_rollout": 4, "epochs": 2},
    ),
}  # fmt: skip
CASES = pytest.mark.parametrize("case", PRACTICES.values(), ids=PRACTICES)


@CASES
def test_each_changes_what_is_learned_and_says_what_it_did(case, graded):
    algorithm, train = case
    plain, _ = learned(graded, {}, train)
    found, result = learned(graded, algorithm, train)
    assert not torch.equal(found, plain)
    keys = {
        "zero_variance_coefficient": "zero_variance_shaped_share",
        "dual_clip": "dual_clip_share",
        "covariance": "covariance_share",
        "top_entropy_share": "top_entropy_share",
        "mask_truncated": "masked_truncated_share",
    }
    told = {f"train/{metric}" for key, metric in keys.items() if key in algorithm}
    assert {k for k in result.metrics if k.removeprefix("train/") in keys.values()} == told
    for key in told:
        assert 0 < result.metrics[key] <= 1, key


@CASES
def test_none_depends_on_how_the_batch_is_split(case, graded):
    algorithm, train = case
    whole, told = learned(graded, algorithm, train, torch.float64)
    parts, again = learned(graded, algorithm, {**train, "micro_batch_tokens": 20}, torch.float64)
    assert (whole - parts).abs().max() < 1e-9
    assert again.advantages == pytest.approx(told.advantages, abs=1e-12)
    for key, value in told.metrics.items():
        assert again.metrics[key] == pytest.approx(value, abs=1e-6), key


@CASES
def test_the_compiled_head_and_torchs_own_learn_the_same(case, graded, monkeypatch):
    algorithm, train = case
    compiled, told = learned(graded, algorithm, train)
    monkeypatch.setattr(head, "_compiles", lambda *_: False)
    eager, again = learned(graded, algorithm, train)
    assert (compiled - eager).abs().max() < 2e-4 < 0.01  # AdamW's first steps are of size 0.01
    for key, value in told.metrics.items():
        assert again.metrics[key] == pytest.approx(value, abs=1e-4), key


@CASES
def test_each_is_the_same_a_second_time(case, graded):
    first, told = learned(graded, *case)
    second, again = learned(graded, *case)
    assert torch.equal(first, second)
    assert told == again


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_every_algorithm_can_do_it_does(name, graded):
    algorithm = {
        "name": name, "overlong_buffer_share": 0.0, "dynamic_sampling": False,
        "mask_truncated": True, "top_entropy_share": 0.5, "positive_weight": 0.5,
    }  # fmt: skip
    found, result = learned(graded, algorithm, {"updates_per_rollout": 2})
    plain, _ = learned(graded, {**algorithm, "top_entropy_share": 1.0}, {"updates_per_rollout": 2})
    assert not torch.equal(found, plain)
    assert result.metrics["train/skipped_updates"] == 0
    assert result.metrics["train/gradient_norm"] > 0


def test_a_group_of_equal_rewards_learns_from_its_entropies(graded):
    policy = new_policy()
    entropy_N_T = scores(graded, policy).entropy_N_T.detach().double()
    _, result = learned(graded, {"zero_variance_coefficient": 0.5})
    mask = generated_mask([g.rollout for g in graded])
    for n in range(3, 6):  # all wrong: the certain tokens lose
        own = entropy_N_T[n][mask[n]]
        assert result.advantages[n] == pytest.approx(
            -0.5 * (own.max() - own).mean().item(), abs=1e-5
        )
    for n in range(6, 9):  # all right: the uncertain ones gain
        assert result.advantages[n] == pytest.approx(
            0.5 * entropy_N_T[n][mask[n]].mean().item(), abs=1e-5
        )
    assert result.metrics["train/zero_variance_share"] == 0.5
    assert result.metrics["train/zero_variance_shaped_share"] == 0.5
    plain = learned(graded, {})[1]
    assert result.advantages[:3] == plain.advantages[:3]
    assert plain.advantages[3:9] == [0] * 6


def test_several_updates_take_the_entropies_of_the_sampling_policy(graded):
    once = learned(graded, {"zero_variance_coefficient": 0.5})[1].advantages
    often = learned(graded, {"zero_variance_coefficient": 0.5}, {"updates_per_rollout": 4})[1]
    assert often.advantages == pytest.approx(once, abs=1e-5)


def test_the_policy_term_learns_from_the_uncertain_tokens_alone(graded, monkeypatch):
    policy = new_policy(torch.float64)
    trainer = TrainStep(policy, recipe({"top_entropy_share": 0.3}))
    found = []

    def keep():
        found.append([p.grad.clone() for p in policy.model.parameters()])

    monkeypatch.setattr(trainer.optimizer, "step", keep)
    result = trainer.update(graded)
    policy.model.zero_grad()
    told = scores(graded, policy)
    mask = generated_mask([g.rollout for g in graded])
    chosen = most_uncertain(told.entropy_N_T, mask, 0.3)
    advantages = torch.tensor(result.advantages, dtype=torch.float64)[:, None]
    (-(told.logprobs_N_T * advantages * chosen).sum() / mask.sum()).backward()
    for mine, expected in zip(found[0], policy.model.parameters(), strict=True):
        assert torch.allclose(mine, expected.grad, atol=1e-10)
    assert result.metrics["train/top_entropy_share"] == pytest.approx(
        int(chosen.sum()) / int(mask.sum()), abs=1e-6
    )


class TestTruncated:
    def test_what_was_cut_takes_no_part_in_the_loss_but_in_its_groups_comparison(self, graded):
        """The step is that of the finished rollouts alone, with the advantages of all."""
        found, result = learned(graded, {"mask_truncated": True}, dtype=torch.float64)
        plain = learned(graded, {}, dtype=torch.float64)[1].advantages
        kept = [n for n, g in enumerate(graded) if g.rollout.finished]
        assert [result.advantages[n] for n in kept] == pytest.approx([plain[n] for n in kept])
        assert not any(a for n, a in enumerate(result.advantages) if n not in kept)
        policy = new_policy(torch.float64)
        by_hand = TrainStep(policy, recipe({}))
        rollouts = [g.rollout for g in graded]
        mask = generated_mask(rollouts)[kept]
        advantages = Advantages(torch.tensor(plain, dtype=torch.float64)[kept, None] * mask)
        by_hand._one_update([rollouts[n] for n in kept], advantages, Known())
        assert (weights(policy) - found).abs().max() < 1e-12
        tokens = [len(r.tokens) for r in rollouts]
        cut = sum(t for n, t in enumerate(tokens) if n not in kept)
        assert result.metrics["train/masked_truncated_share"] == pytest.approx(cut / sum(tokens))

    @pytest.mark.parametrize("settings", [{}, {"top_entropy_share": 0.5}])
    def test_a_step_of_which_all_was_cut_learns_nothing_and_is_no_fault(self, graded, settings):
        cut = [
            dataclasses.replace(g, rollout=dataclasses.replace(g.rollout, finished=False))
            for g in graded
        ]
        trainer = TrainStep(
            new_policy(), recipe({"mask_truncated": True, **settings}, {"term_norms_every": 1})
        )
        metrics = trainer.update(cut).metrics
        assert metrics["train/masked_truncated_share"] == 1
        assert metrics["train/skipped_updates"] == 0
        assert metrics["train/gradient_norm"] == 0
        assert trainer.skipped_in_a_row == 0
        assert all(map(math.isfinite, metrics.values()))
        assert trainer.update(graded).metrics["train/gradient_norm"] > 0

    def test_with_a_share_of_the_idle_rows_too(self, graded):
        _, result = learned(graded, {"mask_truncated": True}, {"zero_variance_share": 0.5})
        assert result.metrics["train/gradient_norm"] > 0


def test_clip_cov_draws_others_at_every_step_and_the_same_after_a_resume(graded):
    algorithm = {"covariance": "clip", "covariance_share": 0.05, "covariance_low": -99.0,
                 "covariance_high": 99.0}  # fmt: skip
    trainer = TrainStep(new_policy(), recipe(algorithm))
    cuts = []
    inner = trainer._one_update

    def watched(rollouts, advantages, known, weights):
        cuts.append(weights.learned_N_T.clone())
        return inner(rollouts, advantages, known, weights)

    trainer._one_update = watched
    for _ in range(3):
        trainer.update(graded)
    assert not cuts[0].equal(cuts[1])
    trainer.steps_done = 1
    trainer.update(graded)
    assert cuts[3].equal(cuts[1])


def test_kl_cov_penalises_what_left_the_old_policy(graded):
    algorithm = {"covariance": "kl", "covariance_share": 1.0, "covariance_coefficient": 50.0}
    train = {"updates_per_rollout": 8, "epochs": 8}
    held = learned(graded, algorithm, train)[1].metrics
    free = learned(graded, {**algorithm, "covariance_coefficient": 1e-9}, train)[1].metrics
    assert held["train/ratio_max"] < free["train/ratio_max"]
    assert held["train/covariance_share"] == pytest.approx(1.0)


def test_kl_cov_reaches_rollouts_without_advantage(graded):
    """The gradient is that of the penalty alone, and their backward pass is not left out."""
    policy = new_policy(torch.float64)
    algorithm = {"covariance": "kl", "covariance_share": 1.0, "covariance_coefficient": 2.0}
    trainer = TrainStep(policy, recipe(algorithm, {"updates_per_rollout": 2}))
    rollouts = [g.rollout for g in graded]
    before = trainer.forward.known(rollouts, old=True, reference=False, values=False)
    before.old = [x - 0.1 * (-1) ** n for n, x in enumerate(before.old)]
    mask = generated_mask(rollouts)
    nothing = Advantages(torch.zeros(mask.shape, dtype=torch.float64))
    every = weighed(rollouts, trainer.algorithm, trainer.recipe)
    chosen, told = chosen_tokens(every, rollouts, nothing, before, trainer.forward, (0, 1))
    assert told["covariance_share"] == pytest.approx(1.0)
    found = []
    trainer.optimizer.step = lambda: found.extend(p.grad for p in policy.model.parameters())
    trainer._one_update(rollouts, nothing, before, chosen)
    policy.model.zero_grad()
    logprobs_N_T = scores(graded, policy).logprobs_N_T
    sign_N_1 = torch.tensor([[(-1.0) ** n] for n in range(len(rollouts))])
    (2.0 * (sign_N_1 * logprobs_N_T * mask).sum() / mask.sum()).backward()
    for mine, expected in zip(found, policy.model.parameters(), strict=True):
        assert torch.allclose(mine, expected.grad, atol=1e-10)
