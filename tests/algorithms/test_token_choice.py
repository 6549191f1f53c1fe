"""Which tokens learn (covariance, entropy), dual clip: by hand, slow twins, verl's and TRL's."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from oneshot_rlvr.algorithms import get_algorithm
from oneshot_rlvr.algorithms.batch import LossInputs
from oneshot_rlvr.algorithms.objectives import clipped_surrogate
from oneshot_rlvr.algorithms.token_choice import clip_cov, covariances, kl_cov, most_uncertain
from oneshot_rlvr.config import AlgorithmConfig, parse_recipe
from oneshot_rlvr.errors import ConfigError
from oneshot_testing import load_file

DOUBLE = torch.float64
NO_TERMS = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}
AVERAGES = {
    "token": "token-mean",
    "sequence": "seq-mean-token-mean",
    "fixed_length": "seq-mean-token-sum-norm",
}


def tensor(rows):
    return torch.tensor(rows, dtype=DOUBLE)


def drawn(seed, rows=8, columns=9):
    """Log-probs, old ones, advantages, entropies, mask; ragged, and exact in float32 (TRL's)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator).double()

    mask = torch.arange(columns)[None] < torch.randint(
        1, columns + 1, (rows, 1), generator=generator
    )
    logprobs = -2 * draw(rows, columns).abs()
    old = logprobs + 0.4 * draw(rows, columns)
    return logprobs, old, draw(rows, 1) * mask, draw(rows, columns).abs(), mask


def inputs(logprobs, old, advantages, entropy, mask, config, **choice):
    weights = get_algorithm(config.name).weights(mask.double(), config, mask.shape[1])
    return LossInputs(logprobs, old, advantages, weights, entropy, **choice)


# By hand. -------------------------------------------------------------------------------------


def test_covariances_by_hand():
    # Means over the three tokens: log p -2, A 1; the fourth is padding.
    found = covariances(tensor([[-1, -2, -3, 7]]), tensor([[2, 1, 0, 9]]),
                        torch.tensor([[True, True, True, False]]))  # fmt: skip
    assert found.tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_clip_cov_takes_the_smallest_draws_between_the_bounds():
    covs = tensor([[0.5, 1.5, 2.0, 3.0, 6.0, 2.5]])
    mask = torch.tensor([[True, True, True, True, True, False]])
    clipped = torch.tensor([[False, False, True, False, False, False]])
    draws = tensor([[0.0, 0.9, 0.1, 0.2, 0.0, 0.0]])
    # Between 1 and 5 stand numbers 1, 2 (clipped already) and 3; a fifth of 5 tokens is one.
    one = clip_cov(covs, mask, clipped, draws, 0.2, 1.0, 5.0)
    assert one.tolist() == [[False, False, False, True, False, False]]
    every = clip_cov(covs, mask, clipped, draws, 1.0, 1.0, 5.0)
    assert every.tolist() == [[False, True, False, True, False, False]]
    assert not clip_cov(covs, mask, clipped, draws, 1.0, 7.0, 8.0).any()


def test_kl_cov_takes_the_largest_and_at_least_one():
    covs = tensor([[0.5, -1.5, 2.0, 9.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert kl_cov(covs, mask, 2e-4).tolist() == [[False, False, True, False]]
    assert kl_cov(covs, mask, 0.7).tolist() == [[True, False, True, False]]


def test_the_most_uncertain_by_hand():
    # The 0.6 quantile of 0, 1, 2, 3, 4 is 2.4.
    entropy = tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 99.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = most_uncertain(entropy, mask, 0.4)
    assert found.tolist() == [[False, False, False], [True, True, False]]
    assert most_uncertain(entropy, mask, 1.0).equal(mask)
    ties = most_uncertain(torch.zeros(2, 3, dtype=DOUBLE), mask, 0.2)
    assert ties.equal(mask)  # nothing tells them apart
    assert not most_uncertain(entropy, torch.zeros_like(mask), 0.5).any()


def test_dual_clip_by_hand():
    # Ratios 5, 5, 2, 1/2 with advantages -1, 1, -1, -1; clipping at 0.8 and 1.2, dual clip at 3.
    logprobs = tensor([math.log(5), math.log(5), math.log(2), math.log(0.5)]).requires_grad_()
    advantages = tensor([-1.0, 1.0, -1.0, -1.0])
    found = clipped_surrogate(logprobs, torch.zeros(4, dtype=DOUBLE), advantages, 0.2, 0.2, 3.0)
    assert found.loss_N_T.tolist() == pytest.approx([3.0, -1.2, 2.0, 0.8])
    assert found.bounded_N_T.tolist() == [True, False, False, False]
    found.loss_N_T.sum().backward()
    assert logprobs.grad.tolist() == pytest.approx([0.0, 0.0, 2.0, 0.0])


# Slow twins of whole losses, token by token. --------------------------------------------------


def twin(x, config, learned=None, penalised=None):
    logprobs, old, advantages, _, mask = (v.detach().numpy() for v in x)
    rows = []
    for n in range(len(mask)):
        row = []
        for t in np.flatnonzero(mask[n]):
            a, ratio = advantages[n, t], math.exp(logprobs[n, t] - old[n, t])
            held = min(max(ratio, 1 - config.clip_low), 1 + config.clip_high)
            loss = -ratio * a if config.covariance == "kl" else -min(ratio * a, held * a)
            if config.dual_clip and a < 0:
                loss = min(loss, -config.dual_clip * a)
            if penalised is not None and penalised[n, t]:
                loss += config.covariance_coefficient * abs(logprobs[n, t] - old[n, t])
            row.append(loss if learned is None or learned[n, t] else 0.0)
        rows.append(row)
    if config.averaging == "sequence":
        return np.mean([np.mean(row) for row in rows])
    if config.averaging == "fixed_length":
        return np.sum([np.sum(row) for row in rows]) / (len(rows) * mask.shape[1])
    return np.mean([value for row in rows for value in row])


@pytest.mark.parametrize("averaging", AVERAGES)
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "reinforce_plus_plus", "ppo"])
@pytest.mark.parametrize(
    "settings",
    [
        {"dual_clip": 2.0},
        {"covariance": "clip", "covariance_share": 0.1, "covariance_low": 0.1, "dual_clip": 2.0},
        {"covariance": "kl", "covariance_share": 0.2, "covariance_coefficient": 0.7},
        {"top_entropy_share": 0.3},
    ],
    ids=["dual clip", "clip-cov", "kl-cov", "top entropy"],
)
def test_losses_equal_a_slow_twin(name, settings, averaging):
    config = AlgorithmConfig(name=name, averaging=averaging, **{**NO_TERMS, **settings},
                             kl_place="loss")  # fmt: skip
    bounded = 0
    for seed in range(4):
        x = drawn(seed)
        logprobs, old, advantages, entropy, mask = x
        generator = torch.Generator().manual_seed(seed)
        learned = penalised = None
        covs = covariances(logprobs, advantages, mask)
        by_hand = [(n, t) for n, t in np.argwhere(mask.numpy())]
        count = max(1, int(config.covariance_share * len(by_hand)))
        mean_a = np.mean([advantages[n, t].item() for n, t in by_hand])
        mean_p = np.mean([logprobs[n, t].item() for n, t in by_hand])
        of = {
            (n, t): (advantages[n, t].item() - mean_a) * (logprobs[n, t].item() - mean_p)
            for n, t in by_hand
        }
        if config.covariance == "clip":
            draws = torch.rand(mask.shape, generator=generator, dtype=DOUBLE)
            clipped = clipped_surrogate(logprobs, old, advantages, config.clip_low,
                                        config.clip_high).clipped_N_T  # fmt: skip
            cut = clip_cov(covs, mask, clipped, draws, config.covariance_share,
                           config.covariance_low, config.covariance_high)  # fmt: skip
            able = [c for c in by_hand if 0.1 < of[c] < 5 and not clipped[c]]
            chosen = sorted(able, key=lambda c: draws[c].item())[:count]
            assert {tuple(c) for c in np.argwhere(cut.numpy())} == set(chosen)
            assert chosen
            learned = mask & ~cut
        elif config.covariance == "kl":
            penalised = kl_cov(covs, mask, config.covariance_share)
            chosen = sorted(by_hand, key=lambda c: -of[c])[:count]
            assert {tuple(c) for c in np.argwhere(penalised.numpy())} == set(chosen)
        elif config.top_entropy_share < 1:
            learned = most_uncertain(entropy, mask, config.top_entropy_share)
            values = sorted(entropy[c].item() for c in by_hand)
            place = (len(values) - 1) * (1 - config.top_entropy_share)
            low = math.floor(place)
            threshold = values[low] + (place - low) * (values[low + 1] - values[low])
            assert {tuple(c) for c in np.argwhere(learned.numpy())} == {
                c for c in by_hand if entropy[c] >= threshold
            }
        choice = {"learned_N_T": learned, "penalised_N_T": penalised}
        given = inputs(*x, config, **{k: v if v is None else v.double() for k, v in choice.items()})
        found = get_algorithm(name).loss(given, config)
        assert found.loss.item() == pytest.approx(twin(x, config, learned, penalised), abs=1e-12)
        bounded += found.terms.get("dual_clip_share", torch.zeros(())).item() > 0
    assert bounded or not config.dual_clip


@pytest.mark.parametrize(
    "settings",
    [{"dual_clip": 2.0}, {"covariance": "kl", "covariance_coefficient": 0.7}, {}],
    ids=["dual clip", "kl-cov", "some tokens"],
)
def test_gradients_pass_finite_differences(settings):
    logprobs, *others = drawn(1)
    config = AlgorithmConfig(**NO_TERMS, **settings)
    chosen = (others[2] > others[2].median()).double()
    key = "penalised_N_T" if config.covariance == "kl" else "learned_N_T"

    def loss(logprobs):
        given = inputs(logprobs, *others, config, **{key: chosen})
        return get_algorithm("grpo").loss(given, config).loss

    assert torch.autograd.gradcheck(loss, logprobs.requires_grad_())


def test_tokens_that_do_not_learn_have_no_policy_gradient_and_keep_their_other_terms():
    logprobs, *others = drawn(2)
    entropy = others[2].requires_grad_()
    learned = (torch.arange(9)[None] % 2 == 0) & others[3]
    config = AlgorithmConfig(kl_coefficient=0.0, entropy_coefficient=0.5)
    given = inputs(logprobs.requires_grad_(), *others, config, learned_N_T=learned.double())
    get_algorithm("grpo").loss(given, config).loss.backward()
    inside = others[3]
    assert not logprobs.grad[inside & ~learned].any()
    assert torch.equal(entropy.grad != 0, inside)


# Values that cannot work. ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"algorithm": {"dual_clip": 1.1}}, "within the ratios that clipping leaves"),
        ({"algorithm": {"dual_clip": -1.0}}, "dual_clip"),
        ({"algorithm": {"name": "gspo", "dual_clip": 3.0}}, "which gspo has no use for"),
        ({"algorithm": {"covariance": "cov"}}, 'covariance.*"clip"'),
        ({"algorithm": {"name": "cispo", "covariance": "clip"}}, "which cispo has no use for"),
        ({"algorithm": {"covariance_share": 0.1}}, "belongs to algorithm.covariance"),
        ({"algorithm": {"covariance_share": 0.0, "covariance": "clip"}}, "covariance_share"),
        ({"algorithm": {"covariance": "kl", "covariance_low": 0.5}}, 'covariance = "clip"'),
        ({"algorithm": {"covariance": "clip", "covariance_coefficient": 2.0}}, 'covariance = "kl"'),
        ({"algorithm": {"covariance": "clip", "covariance_low": 6.0}}, "must be the smaller"),
        ({"algorithm": {"covariance": "kl", "clip_high": 0.28}}, "in place of clipping"),
        ({"algorithm": {"covariance": "kl", "dual_clip": 3.0}}, "in place of clipping"),
        ({"algorithm": {"covariance": "kl"}}, "with one update of a step's rollouts"),
        ({"algorithm": {"top_entropy_share": 0.0}}, "top_entropy_share"),
        ({"algorithm": {"top_entropy_share": 1.5}}, "top_entropy_share"),
        (
            {"algorithm": {"top_entropy_share": 0.2}, "train": {"zero_variance_share": 0.5}},
            "compares all tokens",
        ),
        (
            {"algorithm": {"covariance": "clip"}, "train": {"zero_variance_share": 0.5}},
            "compares all tokens",
        ),
    ],
)
def test_values_that_cannot_work_are_one_clear_error(tables, said):
    with pytest.raises(ConfigError, match=said) as refused:
        parse_recipe(tables)
    assert len(str(refused.value).splitlines()) == 1


def test_dapo_with_its_own_clip_widths_takes_kl_cov():
    parse_recipe(
        {"algorithm": {"name": "dapo", "covariance": "kl"}, "train": {"updates_per_rollout": 4}}
    )


# Their equals. --------------------------------------------------------------------------------


def verls(config, x):
    """verl's own loss with the settings that a recipe becomes, and its gradient."""
    from verl.trainer.ppo import core_algos
    from verl.workers.config import ActorConfig
    from verl.workers.config.actor import PolicyLossConfig

    from oneshot_rlvr.backends.verl.policy_loss import ACTOR, policy_loss

    told = policy_loss(parse_recipe({
        "algorithm": config.model_dump(exclude_defaults=True) | {"name": config.name},
        "train": {"updates_per_rollout": 4},
    }), "vanilla")  # fmt: skip
    own = {key.removeprefix(f"{ACTOR}."): value for key, value in told.items()}
    losses = {k.partition(".")[2]: own.pop(k) for k in list(own) if k.startswith("policy_loss.")}
    actor = ActorConfig(
        strategy="fsdp2", rollout_n=1, ppo_micro_batch_size_per_gpu=1,
        policy_loss=PolicyLossConfig(**losses), **own,
    )  # fmt: skip
    logprobs, old, advantages, _, mask = x
    theirs = logprobs.detach().clone().requires_grad_()
    loss, metrics = core_algos.get_policy_loss_fn(losses["loss_mode"])(
        old_log_prob=old, log_prob=theirs, advantages=advantages, response_mask=mask.double(),
        loss_agg_mode=AVERAGES[config.averaging], config=actor,
    )  # fmt: skip
    loss.backward()
    return loss, theirs.grad, metrics


@pytest.mark.verl
@pytest.mark.parametrize("averaging", AVERAGES)
@pytest.mark.parametrize("seed", range(4))
def test_verl_clips_a_second_time_alike(averaging, seed):
    config = AlgorithmConfig(averaging=averaging, dual_clip=1.6, **NO_TERMS)
    x = drawn(seed)
    ours = x[0].clone().requires_grad_()
    found = get_algorithm("grpo").loss(inputs(ours, *x[1:], config), config)
    found.loss.backward()
    loss, gradient, metrics = verls(config, x)
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-7)
    assert torch.allclose(ours.grad, gradient, atol=1e-7)
    if averaging == "token":
        told = found.terms["dual_clip_share"].item()
        assert told == pytest.approx(metrics["actor/pg_clipfrac_lower"])
        assert told > 0


@pytest.mark.verl
@pytest.mark.parametrize("averaging", AVERAGES)
@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_verl_has_the_same_clip_cov(averaging, share, seed, monkeypatch):
    config = AlgorithmConfig(
        averaging=averaging, covariance="clip", covariance_share=share, covariance_low=0.1,
        covariance_high=3.0, **NO_TERMS,
    )  # fmt: skip
    x = drawn(seed)
    logprobs, old, advantages, _, mask = x
    # verl draws from torch's generator: here the first candidates in reading order, as below.
    monkeypatch.setattr(torch, "randperm", torch.arange)
    draws = torch.arange(mask.numel(), dtype=DOUBLE).view(mask.shape) / mask.numel()
    clipped = clipped_surrogate(logprobs, old, advantages, 0.2, 0.2).clipped_N_T
    cut = clip_cov(covariances(logprobs, advantages, mask), mask, clipped, draws, share, 0.1, 3.0)
    assert cut.any()
    ours = logprobs.clone().requires_grad_()
    choice = {"learned_N_T": (mask & ~cut).double()}
    found = get_algorithm("grpo").loss(inputs(ours, *x[1:], config, **choice), config)
    found.loss.backward()
    loss, gradient, metrics = verls(config, x)
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-7)
    assert torch.allclose(ours.grad, gradient, atol=1e-7)
    assert metrics["actor/pg_clipfrac"] == pytest.approx(int(cut.sum()) / int(mask.sum()))


@pytest.mark.verl
@pytest.mark.parametrize("averaging", AVERAGES)
@pytest.mark.parametrize("share", [2e-4, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_verl_has_the_same_kl_cov(averaging, share, seed):
    config = AlgorithmConfig(
        averaging=averaging, covariance="kl", covariance_share=share, covariance_coefficient=0.3,
        **NO_TERMS,
    )  # fmt: skip
    x = drawn(seed)
    logprobs, _, advantages, _, mask = x
    ours = logprobs.clone().requires_grad_()
    chosen = kl_cov(covariances(logprobs, advantages, mask), mask, share)
    given = inputs(ours, *x[1:], config, penalised_N_T=chosen.double())
    found = get_algorithm("grpo").loss(given, config)
    found.loss.backward()
    loss, gradient, _ = verls(config, x)
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-7)
    assert torch.allclose(ours.grad, gradient, atol=1e-7)


def trls(config, x, mask=None):
    """TRL's own loss with the settings that a recipe becomes, and its gradient."""
    from trl import GRPOTrainer

    from oneshot_rlvr.backends.trl.translate import grpo_config

    recipe = parse_recipe(
        {"algorithm": config.model_dump(exclude_defaults=True) | {"name": config.name},
         "train": {"updates_per_rollout": 4}}
    )  # fmt: skip
    told = grpo_config(recipe)
    logprobs, old, advantages, entropy, full = x
    second = logprobs.detach().clone().requires_grad_()
    high = told["epsilon_high"]
    beside = load_file(Path(__file__).with_name("test_against_trl.py"))
    trainer = beside.stand_in(told["loss_type"], config, second, entropy, high=high)
    trainer.args.delta = told["delta"]
    trainer.top_entropy_quantile = told["top_entropy_quantile"]
    trainer.accelerator.pad_across_processes = lambda values, **_: values
    trainer.get_high_entropy_mask = lambda *a: GRPOTrainer.get_high_entropy_mask(trainer, *a)
    advantages_N = (advantages * full).sum(1) / full.sum(1)
    mask = full if mask is None else mask
    loss = beside.theirs(GRPOTrainer, trainer, mask, old, None, advantages_N)
    loss.backward()
    return loss, second.grad


@pytest.mark.trl
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("seed", range(4))
def test_trl_clips_a_second_time_alike(name, seed):
    off = {"dynamic_sampling": False, "overlong_buffer_share": 0.0}
    config = AlgorithmConfig(name=name, dual_clip=1.6, **NO_TERMS, **off)
    x = drawn(seed, columns=23)  # dr_grpo's fixed length, in the stand-in
    ours = x[0].clone().requires_grad_()
    found = get_algorithm(name).loss(inputs(ours, *x[1:], config), config)
    found.loss.backward()
    loss, gradient = trls(config, x)
    assert found.terms["dual_clip_share"] > 0
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-7)
    assert torch.allclose(ours.grad, gradient, atol=1e-7)


@pytest.mark.trl
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "cispo"])
@pytest.mark.parametrize("share", [0.2, 0.37])
@pytest.mark.parametrize("seed", range(4))
def test_trl_learns_from_the_same_uncertain_tokens(name, share, seed):
    off = {"dynamic_sampling": False, "overlong_buffer_share": 0.0}
    config = AlgorithmConfig(name=name, top_entropy_share=share, **NO_TERMS, **off)
    x = drawn(seed, columns=23)
    ours = x[0].clone().requires_grad_()
    learned = most_uncertain(x[3], x[4], share)
    assert 0.1 < learned.sum() / x[4].sum() < 0.5
    given = inputs(ours, *x[1:], config, learned_N_T=learned.double())
    found = get_algorithm(name).loss(given, config)
    found.loss.backward()
    loss, gradient = trls(config, x)
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-7)
    assert torch.allclose(ours.grad, gradient, atol=1e-7)


@pytest.mark.trl
@pytest.mark.parametrize("name", ["grpo", "dapo", "cispo"])
def test_trl_leaves_the_same_truncated_rollouts_out(name):
    off = {"dynamic_sampling": False, "overlong_buffer_share": 0.0}
    config = AlgorithmConfig(name=name, mask_truncated=True, **NO_TERMS, **off)
    x = drawn(3, columns=23)
    finished = torch.arange(len(x[4]))[:, None] % 3 != 0
    kept = x[4] & finished
    ours = x[0].clone().requires_grad_()
    given = inputs(ours, *x[1:4], kept, config)
    found = get_algorithm(name).loss(given, config)
    found.loss.backward()
    # TRL's completion_mask of those rows is all 0, by the rule of its own source.
    loss, gradient = trls(config, x, mask=_by_trls_rule(x[4], finished))
    assert found.loss.item() == pytest.approx(loss.item(), abs=1e-7)
    assert torch.allclose(ours.grad, gradient, atol=1e-7)


def _by_trls_rule(mask, finished):
    """The lines of TRL's own method that mask what has no end, run on our mask."""
    import inspect
    import textwrap
    from types import SimpleNamespace

    from trl import GRPOTrainer

    source = inspect.getsource(GRPOTrainer._generate_and_score_completions).split("\n")
    begin = next(n for n, line in enumerate(source) if "if self.mask_truncated_completions" in line)
    end = next(n for n, line in enumerate(source) if line.strip().startswith("loss_mask ="))
    ids = [[5] * int(m.sum() - 1) + [1 if f else 5] for m, f in zip(mask, finished, strict=True)]
    space = {
        "self": SimpleNamespace(
            mask_truncated_completions=True, eos_token_ids=[1],
            _tokenizer=SimpleNamespace(pad_token_id=0),
        ),
        "torch": torch, "completion_ids_list": ids, "device": "cpu",
        "completion_mask": mask.int(), "tool_mask": None,
    }  # fmt: skip
    exec(textwrap.dedent("\n".join(source[begin:end])), space)  # noqa: S102
    return space["completion_mask"].bool()


def test_the_two_choices_reach_a_part_of_a_batch_as_they_reach_the_whole():
    config = AlgorithmConfig(covariance="kl", **NO_TERMS)
    x = drawn(5)
    chosen = (x[3] > 0.5).double()
    whole = inputs(*x, config, learned_N_T=chosen, penalised_N_T=chosen)
    algorithm = get_algorithm("grpo")

    def part(rows):
        values = {f.name: getattr(whole, f.name) for f in dataclasses.fields(whole)}
        cut = {key: None if v is None else v[rows] for key, v in values.items()}
        return algorithm.loss(LossInputs(**cut), config).loss.item()

    both = part(slice(0, 3)) + part(slice(3, 8))
    assert both == pytest.approx(algorithm.loss(whole, config).loss.item(), abs=1e-12)
