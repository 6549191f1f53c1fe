"""Our losses against TRL's trainers' own `_compute_loss`, on random ragged batches.

The trainer is a stand-in that hands it our log-probabilities; the formula is TRL's.
"""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from oneshot_rlvr.algorithms import get_algorithm
from oneshot_rlvr.algorithms.batch import LossInputs
from oneshot_rlvr.algorithms.controllers import (
    applied_entropy_coefficient,
    next_entropy_coefficient,
)
from oneshot_rlvr.config import AlgorithmConfig
from oneshot_rlvr.policy.head import token_scores

pytestmark = pytest.mark.trl

DOUBLE = torch.float64
MOST = 23  # tokens a rollout may have


class Accelerator:
    """One process."""

    num_processes = 1
    sync_gradients = True

    def gather(self, x):
        return x

    def reduce(self, x, reduction):
        return x


def stand_in(loss_type, config, logprobs, entropies, *, level="token", high=None):
    arguments = SimpleNamespace(
        use_bias_correction_kl=False,
        delta=None,
        steps_per_generation=1,
        entropy_target=config.entropy_target,
        entropy_coef_delta=config.entropy_rate,
        entropy_coef_max=config.entropy_coefficient_max,
        entropy_coef_min=0.0,
    )
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, entropies, None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=config.kl_coefficient,
        args=arguments,
        loss_type=loss_type,
        epsilon_low=config.clip_low,
        epsilon_high=config.clip_high if high is None else high,
        use_vllm=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=MOST,
        accelerator=Accelerator(),
        _entropy_bonus_enabled=bool(config.entropy_coefficient),
        use_adaptive_entropy=config.entropy_target is not None,
        entropy_coef=config.entropy_coefficient,
        _last_world_entropy=float("inf"),
        _entropy_window_stats=None,
        _metrics={"train": defaultdict(list)},
    )


def ragged(seed, rows=10, columns=19):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    lengths = torch.randint(1, columns + 1, (rows, 1), generator=generator)
    mask = torch.arange(columns)[None] < lengths
    return draw, mask


def theirs(trainer_class, trainer, mask, old, reference, advantages):
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1).long(),
        "prompt_mask": torch.ones(len(mask), 1).long(),
        "completion_ids": torch.zeros(mask.shape).long(),
        "completion_mask": mask.double(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "old_logps": (old * mask).sum(1),
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum().double(),
    }
    return trainer_class._compute_loss(trainer, None, inputs)


def ours(config, logprobs, old, advantages_N, mask, entropy, reference):
    algorithm = get_algorithm(config.name)
    return algorithm.loss(
        LossInputs(
            logprobs_N_T=logprobs,
            old_logprobs_N_T=old,
            advantages_N_T=advantages_N[:, None] * mask,
            weights_N_T=algorithm.weights(mask.double(), config, MOST),
            entropy_N_T=entropy,
            reference_logprobs_N_T=reference,
        ),
        config,
    ).loss


CASES = [
    ("grpo", "bnpo", "token", {}),  # TRL's name of the mean over all tokens
    ("grpo", "grpo", "token", {"averaging": "sequence"}),
    ("dapo", "dapo", "token", {}),
    ("dr_grpo", "dr_grpo", "token", {}),
    ("gspo", "grpo", "sequence", {}),
    ("cispo", "cispo", "token", {}),
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(("name", "loss_type", "level", "settings"), CASES)
def test_grpo_losses_and_their_gradients(name, loss_type, level, settings, beta, seed):
    from trl import GRPOTrainer

    config = AlgorithmConfig(
        name=name, kl_coefficient=beta, entropy_coefficient=0.0, kl_place="loss", **settings
    )
    draw, mask = ragged(seed)
    first = (-draw(*mask.shape).abs()).requires_grad_()
    second = first.detach().clone().requires_grad_()
    old, reference = (first.detach() + 0.3 * draw(*mask.shape) for _ in range(2))
    entropy, advantages = draw(*mask.shape).abs(), draw(len(mask))
    got = ours(config, first, old, advantages, mask, entropy, reference if beta else None)
    high = 1 + config.clip_high if name == "cispo" else None  # TRL's bound is the ratio itself
    trainer = stand_in(loss_type, config, second, entropy, level=level, high=high)
    expected = theirs(GRPOTrainer, trainer, mask, old, reference, advantages)
    assert got.item() == pytest.approx(expected.item(), abs=1e-6)
    got.backward()
    expected.backward()
    if level == "sequence" and beta == 0.0:
        # TRL spreads a rollout's gradient over its tokens as ours does, 1 / length each.
        assert torch.allclose(first.grad, second.grad, atol=1e-6)
    elif level == "token":
        assert torch.allclose(first.grad, second.grad, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_entropy_bonus(seed):
    from trl import GRPOTrainer

    config = AlgorithmConfig(kl_coefficient=0.0, entropy_coefficient=0.03)
    draw, mask = ragged(seed)
    logprobs, entropy = -draw(*mask.shape).abs(), draw(*mask.shape).abs()
    advantages = draw(len(mask))
    got = ours(config, logprobs, logprobs, advantages, mask, entropy, None)
    trainer = stand_in("bnpo", config, logprobs, entropy)
    expected = theirs(GRPOTrainer, trainer, mask, logprobs, None, advantages)
    assert got.item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_adaptive_entropy_coefficient_takes_the_same_steps():
    from trl import GRPOTrainer

    config = AlgorithmConfig(
        kl_coefficient=0.0, entropy_coefficient=0.01, entropy_target=0.8, entropy_rate=0.004,
        entropy_coefficient_max=0.02,
    )  # fmt: skip
    draw, mask = ragged(0)
    logprobs, coefficient = -draw(*mask.shape).abs(), config.entropy_coefficient
    trainer = stand_in("bnpo", config, logprobs, None)
    seen, last = [], None
    for size in (0.5, 0.5, 0.5, 0.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0.5, 1.5):
        entropy = torch.full(mask.shape, size, dtype=DOUBLE)
        trainer._get_per_token_logps_and_entropies = lambda *a, e=entropy, **k: (logprobs, e, None)
        advantages = draw(len(mask))
        if last is not None:  # TRL's first step is one without a bonus
            applied = applied_entropy_coefficient(coefficient, last, config)
            now = config.model_copy(update={"entropy_coefficient": applied})
            mine = ours(now, logprobs, logprobs, advantages, mask, entropy, None)
            got = theirs(GRPOTrainer, trainer, mask, logprobs, None, advantages)
            assert mine.item() == pytest.approx(got.item(), abs=1e-6)
        else:
            theirs(GRPOTrainer, trainer, mask, logprobs, None, advantages)
        last = size
        coefficient = next_entropy_coefficient(coefficient, size, config)
        seen.append(coefficient)
        assert coefficient == pytest.approx(trainer.entropy_coef, abs=1e-12)
    assert {0.0, 0.02} <= set(seen)  # both bounds were reached


@pytest.mark.parametrize("seed", range(4))
def test_rloo_on_policy_has_the_gradient_of_whole_answers(seed):
    from trl import RLOOTrainer

    config = AlgorithmConfig(name="rloo", kl_coefficient=0.0, kl_place="reward")
    draw, mask = ragged(seed)
    first = (-draw(*mask.shape).abs()).requires_grad_()
    second = first.detach().clone().requires_grad_()
    advantages = draw(len(mask))
    entropy = draw(*mask.shape).abs()
    # TRL sums over the answer; our mean over a fixed length is that sum by MOST.
    got = MOST * ours(config, first, first.detach(), advantages, mask, entropy, None)
    trainer = stand_in(None, config, second, entropy)
    expected = theirs(RLOOTrainer, trainer, mask, second.detach(), None, advantages)
    got.backward()
    expected.backward()
    assert torch.allclose(first.grad, second.grad, atol=1e-6)


def test_logprobs_and_entropies():
    from trl.trainer.utils import selective_log_softmax_and_entropy

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 20, 8, generator=generator, dtype=DOUBLE)
    weight = torch.randn(30, 8, generator=generator, dtype=DOUBLE)
    tokens = torch.randint(0, 30, (3, 20), generator=generator)
    got = token_scores(hidden.flatten(0, 1), weight, None, tokens.flatten(), 0.6)
    expected = selective_log_softmax_and_entropy(hidden @ weight.T, tokens, temperature=0.6)
    for mine, trls in zip(got, expected, strict=True):
        assert torch.allclose(mine, trls.flatten(), atol=1e-6)
