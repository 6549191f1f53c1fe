"""Our pieces against verl's own functions on random ragged batches: values and gradients."""

import numpy as np
import pytest
import torch

from oneshot_rlvr.algorithms import get_algorithm
from oneshot_rlvr.algorithms.averaging import AVERAGING
from oneshot_rlvr.algorithms.batch import AdvantageInputs, LossInputs
from oneshot_rlvr.algorithms.regularizers import KL_ESTIMATORS, value_loss
from oneshot_rlvr.config import AlgorithmConfig
from oneshot_rlvr.policy.head import token_scores

pytestmark = pytest.mark.verl

DOUBLE = torch.float64
SEEDS = range(4)
NO_TERMS = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}
MODES = {
    "token": "token-mean",
    "sequence": "seq-mean-token-mean",
    "fixed_length": "seq-mean-token-sum-norm",
}


@pytest.fixture(scope="module")
def core():
    from verl.trainer.ppo import core_algos

    return core_algos


def actor_config(config):
    from verl.workers.config import ActorConfig

    return ActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=config.clip_low,
        clip_ratio_high=config.clip_high,
        clip_ratio_c=1e9,  # its dual clip off: we have none
    )


def ragged(seed, rows=12, columns=17):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    lengths = torch.randint(1, columns + 1, (rows, 1), generator=generator)
    return draw, torch.arange(columns)[None] < lengths, generator


def token_rewards(mask, outcomes):
    rewards = torch.zeros(mask.shape, dtype=DOUBLE)
    rewards[torch.arange(len(mask)), mask.sum(1) - 1] = outcomes
    return rewards


def close(got, expected):
    return torch.allclose(got, expected.to(got), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_group_advantages(core, name, seed):
    _, mask, generator = ragged(seed)
    outcomes = torch.randint(0, 2, (12,), generator=generator, dtype=DOUBLE)
    rewards = token_rewards(mask, outcomes)
    given = AdvantageInputs(rewards, mask, 4)
    got = get_algorithm(name).advantages(given, AlgorithmConfig(name=name)).advantages_N_T
    groups = np.repeat(np.arange(3), 4)
    if name == "rloo":
        expected, _ = core.compute_rloo_outcome_advantage(rewards.clone(), mask.double(), groups)
    else:
        expected, _ = core.compute_grpo_outcome_advantage(
            rewards.clone(), mask.double(), groups, norm_adv_by_std_in_grpo=name == "grpo"
        )
    assert close(got, expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(1.0, 1.0), (0.95, 0.9)])
def test_generalised_advantages_and_returns(core, gamma, gae_lambda, seed):
    draw, mask, _ = ragged(seed)
    rewards, values = draw(*mask.shape) * mask, draw(*mask.shape)
    config = AlgorithmConfig(name="ppo", gamma=gamma, gae_lambda=gae_lambda)
    got = get_algorithm("ppo").advantages(AdvantageInputs(rewards, mask, 4, values), config)
    expected, returns = core.compute_gae_advantage_return(
        rewards, values, mask.double(), gamma, gae_lambda
    )
    assert close(got.advantages_N_T[mask], expected[mask])
    assert close(got.returns_N_T[mask], returns[mask])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_reinforce_plus_plus(core, gamma, seed):
    draw, mask, _ = ragged(seed)
    rewards = draw(*mask.shape) * mask
    config = AlgorithmConfig(name="reinforce_plus_plus", gamma=gamma)
    got = get_algorithm(config.name).advantages(AdvantageInputs(rewards, mask, 4), config)
    from verl.trainer.config import AlgoConfig

    expected, _ = core.compute_reinforce_plus_plus_outcome_advantage(
        rewards, mask.double(), config=AlgoConfig(gamma=gamma)
    )
    assert close(got.advantages_N_T, expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("averaging", list(AVERAGING))
@pytest.mark.parametrize(
    ("name", "loss"),
    [("grpo", "vanilla"), ("dapo", "vanilla"), ("ppo", "vanilla"), ("gspo", "gspo"),
     ("cispo", "cispo")],
)  # fmt: skip
def test_policy_losses_and_their_gradients(core, name, loss, averaging, seed):
    draw, mask, _ = ragged(seed)
    config = AlgorithmConfig(name=name, averaging=averaging, **NO_TERMS)
    ours = (-draw(*mask.shape).abs()).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    old, advantages = ours.detach() + 0.3 * draw(*mask.shape), draw(*mask.shape)
    algorithm = get_algorithm(name)
    output = algorithm.loss(
        LossInputs(
            logprobs_N_T=ours,
            old_logprobs_N_T=old,
            advantages_N_T=advantages,
            weights_N_T=algorithm.weights(mask.double(), config, mask.shape[1]),
            entropy_N_T=torch.zeros_like(old),
        ),
        config,
    )
    expected, metrics = core.get_policy_loss_fn(loss)(
        old_log_prob=old,
        log_prob=theirs,
        advantages=advantages,
        response_mask=mask.double(),
        loss_agg_mode=MODES[averaging],
        config=actor_config(config),
    )
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-6)
    output.loss.backward()
    expected.backward()
    assert close(ours.grad, theirs.grad)
    if averaging == "token":
        clipped = output.terms["clip_share"].item()
        assert clipped == pytest.approx(metrics["actor/pg_clipfrac"], abs=1e-6)
        assert clipped > 0 or name == "cispo"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("estimator", list(KL_ESTIMATORS))
def test_divergences_and_their_gradients(core, estimator, seed):
    draw, mask, _ = ragged(seed)
    ours = (-draw(*mask.shape).abs()).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    reference = ours.detach() + draw(*mask.shape)
    got = KL_ESTIMATORS[estimator](ours, reference)
    expected = core.kl_penalty(theirs, reference, estimator)
    inside = expected.detach() < 10  # beyond it verl cuts k3 off
    assert inside.double().mean() > 0.9
    assert close(got[inside], expected[inside])
    got[inside].sum().backward()
    expected[inside].sum().backward()
    assert close(ours.grad, theirs.grad)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clip", [0.2, 0.5])
def test_the_value_loss_and_its_gradient(core, clip, seed):
    draw, mask, _ = ragged(seed)
    ours = draw(*mask.shape).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    before, returns = ours.detach() + 0.5 * draw(*mask.shape), draw(*mask.shape)
    weights = AVERAGING["token"](mask.double(), mask.shape[1])
    got = (weights * value_loss(ours, before, returns, clip)).sum()
    expected, _ = core.compute_value_loss(theirs, returns, before, mask.double(), clip)
    assert got.item() == pytest.approx(expected.item(), abs=1e-6)
    got.backward()
    expected.backward()
    assert close(ours.grad, theirs.grad)


@pytest.mark.parametrize("seed", SEEDS)
def test_entropies_and_logprobs(seed):
    from verl.utils.torch_functional import entropy_from_logits, logprobs_from_logits_naive

    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(50, 8, generator=generator, dtype=DOUBLE)
    weight = torch.randn(30, 8, generator=generator, dtype=DOUBLE)
    tokens = torch.randint(0, 30, (50,), generator=generator)
    logprobs, entropy = token_scores(hidden, weight, None, tokens, 0.6)
    logits = hidden @ weight.T / 0.6
    assert close(entropy, entropy_from_logits(logits))
    assert close(logprobs, logprobs_from_logits_naive(logits, tokens))


@pytest.mark.parametrize("averaging", list(AVERAGING))
def test_averages(core, averaging):
    draw, mask, _ = ragged(5)
    values = draw(*mask.shape)
    got = (AVERAGING[averaging](mask.double(), 40) * values).sum()
    expected = core.agg_loss(values, mask.double(), MODES[averaging], loss_scale_factor=40)
    assert got.item() == pytest.approx(expected.item(), abs=1e-6)
