"""The pieces of the loss: hand calculations, slow numpy twins, finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot_rlvr.algorithms.advantages import (
    group_centred,
    group_normalized,
    leave_one_out,
    zero_variance,
)
from oneshot_rlvr.algorithms.averaging import AVERAGING, fixed_length, sequence_mean, token_mean
from oneshot_rlvr.algorithms.objectives import clipped_surrogate
from oneshot_rlvr.algorithms.regularizers import k3_kl

DOUBLE = torch.float64


def random_tensors(count, shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator, dtype=DOUBLE) for _ in range(count)]


class TestAdvantages:
    def test_one_right_of_four(self):
        # mean 1/4, unbiased variance (9/16 + 3/16) / 3 = 1/4, std 1/2
        got = group_normalized(torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=DOUBLE), 1e-6)
        assert got[0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)

    @pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1 / 3, -7e5])
    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
    def test_equal_rewards_give_exactly_zero(self, reward, dtype):
        rewards = torch.full((3, 7), reward, dtype=dtype)
        rewards[1] = torch.arange(7)
        advantages = group_normalized(rewards, 1e-6)
        assert not advantages[[0, 2]].any()
        assert advantages[1].any()
        assert zero_variance(rewards).tolist() == [True, False, True]

    def test_rewards_that_hardly_differ_give_small_advantages(self):
        advantages = group_normalized(torch.tensor([[0.5, 0.5 + 1e-9]], dtype=DOUBLE), 1e-6)
        assert advantages.abs().max() < 1e-3

    def test_a_floor_holds_down_rows_of_small_spread_and_leaves_the_others(self):
        rewards = torch.tensor([[0.5, 0.5, 0.5, 0.502], [1.0, 0.0, 0.0, 0.0]], dtype=DOUBLE)
        got = group_normalized(rewards, 1e-6, floor=0.1)
        # Row 0: mean 0.5005, std 0.001, which counts as 0.1. Row 1: std 1/2, above the floor.
        expected = [-0.005, -0.005, -0.005, 0.015, 1.5, -0.5, -0.5, -0.5]
        assert got.flatten().tolist() == pytest.approx(expected, rel=1e-4)
        assert group_normalized(rewards, 1e-6)[0].abs().max() > 1.4  # without it: blown up to 1.5

    def test_scores_between_0_and_1_by_hand(self):
        # mean 1/2, unbiased variance (1/4 + 0 + 1/4 + 0) / 3 = 1/6
        rewards = torch.tensor([[0.0, 0.5, 1.0, 0.5]], dtype=DOUBLE)
        got = group_normalized(rewards, 0.0)[0].tolist()
        assert got == pytest.approx([-(1.5**0.5), 0.0, 1.5**0.5, 0.0])
        # A floor above the spread scales all alike: (r - 1/2) / 0.8.
        floored = group_normalized(rewards, 0.0, floor=0.8)[0].tolist()
        assert floored == pytest.approx([-0.625, 0.0, 0.625, 0.0])
        assert group_centred(rewards)[0].tolist() == [-0.5, 0.0, 0.5, 0.0]
        # RLOO: r minus the mean of the others; 0 - 2/3, 1/2 - 1/2, 1 - 1/3, 1/2 - 1/2.
        assert leave_one_out(rewards)[0].tolist() == pytest.approx([-2 / 3, 0.0, 2 / 3, 0.0])

    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
    def test_scores_that_differ_by_rounding_alone_are_equal(self, dtype):
        sums = [0.1 + 0.2, 0.3, 3 * 0.1, 1 - 0.7]
        assert len(set(sums)) > 1
        rewards = torch.tensor([sums, [0.3, 0.3, 0.3, 0.3 + 1e-5]], dtype=dtype)
        assert zero_variance(rewards).tolist() == [True, False]
        advantages = group_normalized(rewards, 1e-9)
        assert not advantages[0].any()
        assert advantages[1, 3] == pytest.approx(1.5, rel=0.05)

    def test_each_row_is_its_own_group(self):
        rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0], [5.0, 1.0]], dtype=DOUBLE)
        together = group_normalized(rewards, 1e-6)
        for p in range(3):
            assert torch.equal(group_normalized(rewards[p : p + 1], 1e-6)[0], together[p])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=6))
    def test_equal_a_numpy_twin(self, rewards):
        got = group_normalized(torch.tensor(rewards, dtype=DOUBLE), 1e-6).numpy()
        for row, group in zip(got, rewards, strict=True):
            expected = (np.array(group) - np.mean(group)) / (np.std(group, ddof=1) + 1e-6)
            assert row == pytest.approx(expected, abs=1e-9)
            assert abs(row.sum()) < 1e-9


class TestClippedSurrogate:
    @pytest.mark.parametrize(
        ("ratio", "advantage", "loss", "clipped"),
        [
            (1.0, 2.0, -2.0, False),
            (1.1, 2.0, -2.2, False),
            (1.5, 2.0, -2.6, True),  # a good token already raised: held at 1.3
            (0.5, 2.0, -1.0, False),  # a good token lowered: pulled back without limit
            (1.5, -2.0, 3.0, False),  # a bad token raised: pushed down without limit
            (0.5, -2.0, 1.6, True),  # a bad token already lowered: held at 0.8
            (0.5, 0.0, 0.0, False),
        ],
    )
    def test_by_hand(self, ratio, advantage, loss, clipped):
        logprob = torch.tensor([[math.log(ratio) - 3.0]], dtype=DOUBLE)
        old, weight = torch.full_like(logprob, -3.0), torch.tensor([[advantage]], dtype=DOUBLE)
        surrogate = clipped_surrogate(logprob, old, weight, clip_low=0.2, clip_high=0.3)
        assert surrogate.loss_N_T.item() == pytest.approx(loss)
        assert surrogate.ratio_N_T.item() == pytest.approx(ratio)
        assert surrogate.clipped_N_T.item() == clipped

    def test_clipping_takes_the_gradient_away(self):
        logprobs = torch.log(torch.tensor([[1.5, 0.5, 1.5, 0.5]], dtype=DOUBLE)).requires_grad_()
        advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0]], dtype=DOUBLE)
        clipped_surrogate(
            logprobs, torch.zeros_like(logprobs), advantages, 0.2, 0.2
        ).loss_N_T.sum().backward()
        assert logprobs.grad[0].tolist() == pytest.approx([0, 0, 1.5, -0.5])

    def test_on_policy_the_gradient_is_minus_the_advantage(self):
        (logprobs, advantages) = random_tensors(2, (3, 4))
        logprobs.requires_grad_()
        loss = clipped_surrogate(logprobs, logprobs.detach(), advantages, 0.2, 0.2).loss_N_T
        loss.sum().backward()
        assert torch.equal(logprobs.grad, -advantages)

    def test_equal_a_numpy_twin(self):
        logprobs, old, advantages = random_tensors(3, (6, 9), scale=0.5)
        got = clipped_surrogate(logprobs, old, advantages[:, :1], 0.2, 0.28)
        for n in range(6):
            for t in range(9):
                ratio, a = np.exp(float(logprobs[n, t] - old[n, t])), float(advantages[n, 0])
                expected = -min(ratio * a, min(max(ratio, 0.8), 1.28) * a)
                assert got.loss_N_T[n, t].item() == pytest.approx(expected)

    def test_finite_differences(self):
        logprobs, old, advantages = random_tensors(3, (4, 5), seed=1, scale=0.4)
        logprobs.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x: clipped_surrogate(x, old, advantages, 0.2, 0.28).loss_N_T, (logprobs,)
        )

    def test_a_far_off_ratio_stays_finite(self):
        logprobs = torch.tensor([[0.0, -1e4]], requires_grad=True)
        old = torch.tensor([[-1e4, 0.0]])
        loss = clipped_surrogate(logprobs, old, torch.tensor([[-1.0]]), 0.2, 0.2).loss_N_T
        loss.sum().backward()
        assert loss.isfinite().all()
        assert logprobs.grad.isfinite().all()


class TestK3:
    def test_by_hand(self):
        got = k3_kl(torch.tensor([[-1.0]], dtype=DOUBLE), torch.tensor([[-2.0]], dtype=DOUBLE))
        assert got.item() == pytest.approx(math.exp(-1) + 1 - 1)

    def test_zero_at_the_reference_and_positive_elsewhere(self):
        logprobs, reference = random_tensors(2, (5, 6))
        assert not k3_kl(logprobs, logprobs).any()
        assert (k3_kl(logprobs, reference) > 0).all()

    def test_its_mean_over_the_policys_samples_is_the_divergence(self):
        policy, reference = (x.log_softmax(-1) for x in random_tensors(2, (7,), seed=2))
        mean = (policy.exp() * k3_kl(policy, reference)).sum()
        assert mean.item() == pytest.approx(float((policy.exp() * (policy - reference)).sum()))

    def test_finite_differences(self):
        logprobs, reference = random_tensors(2, (4, 5), seed=3)
        logprobs.requires_grad_()
        assert torch.autograd.gradcheck(lambda x: k3_kl(x, reference), (logprobs,))

    def test_a_far_off_policy_stays_finite(self):
        logprobs = torch.tensor([[0.0, -1e4]], requires_grad=True)
        k3_kl(logprobs, torch.tensor([[-1e4, 0.0]])).sum().backward()
        assert logprobs.grad.isfinite().all()


class TestAveraging:
    MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)

    def test_token_mean_by_hand(self):
        assert token_mean(self.MASK, 4).tolist() == [[0.25, 0.25, 0.25, 0], [0.25, 0, 0, 0]]

    def test_sequence_mean_by_hand(self):
        got = sequence_mean(self.MASK, 4)
        assert got[0].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 0])
        assert got[1].tolist() == [0.5, 0, 0, 0]

    def test_fixed_length_by_hand(self):
        got = fixed_length(self.MASK, 5)  # 2 rollouts of at most 5 tokens
        assert got[0].tolist() == pytest.approx([0.1, 0.1, 0.1, 0])
        assert got[1].tolist() == pytest.approx([0.1, 0, 0, 0])

    @pytest.mark.parametrize("name", list(AVERAGING))
    def test_weights_add_up_and_leave_padding_out(self, name):
        lengths = torch.randint(1, 9, (20, 1), generator=torch.Generator().manual_seed(0))
        mask = torch.arange(8)[None] < lengths
        weights = AVERAGING[name](mask, 8)
        share = mask.sum().item() / (20 * 8) if name == "fixed_length" else 1.0
        assert weights.sum().item() == pytest.approx(share)
        assert torch.equal(weights > 0, mask)

    @pytest.mark.parametrize("name", list(AVERAGING))
    def test_nothing_generated_weighs_nothing(self, name):
        assert not AVERAGING[name](torch.zeros(2, 3, dtype=torch.bool), 3).any()
