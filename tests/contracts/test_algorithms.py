"""What every algorithm promises, checked for every entry of the registry."""

import dataclasses

import numpy as np
import pytest
import torch

from oneshot_rlvr.algorithms import ALGORITHMS, get_algorithm
from oneshot_rlvr.algorithms.averaging import AVERAGING
from oneshot_rlvr.algorithms.batch import AdvantageInputs, LossInputs
from oneshot_rlvr.config import PRESETS, AlgorithmConfig
from oneshot_rlvr.config.presets import COMPARES_GROUPS, USED_BY
from oneshot_rlvr.errors import UnknownNameError

NAMES = list(ALGORITHMS)
DOUBLE = torch.float64
CLIPPED = ["grpo", "dr_grpo", "dapo", "reinforce_plus_plus", "ppo", "gspo", "cispo"]
WITHOUT_BASELINE = ["raft"]  # a rollout counts for itself: likelihood of the rewarded ones
NO_TERMS = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}
COLUMNS = 7


def config_of(name, **values):
    return AlgorithmConfig(name=name, **values)


def everything(name, **values):
    """Every term on, with weights of their own."""
    terms = {"kl_coefficient": 0.3, "entropy_coefficient": 0.2, "policy_coefficient": 0.9}
    if name == "ppo":
        terms["value_coefficient"] = 0.7
    return config_of(name, **{**terms, "kl_place": "loss", "kl_estimator": "k3", **values})


def draw_mask(generator, rows):
    lengths = torch.randint(1, COLUMNS + 1, (rows, 1), generator=generator)
    return torch.arange(COLUMNS)[None] < lengths


def batch(name, seed=0, config=None, rows=6, advantages=None):
    """A ragged random batch; old and reference log-probs near the current ones."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    mask = draw_mask(generator, rows)
    logprobs = -draw(rows, COLUMNS).abs()
    if advantages is None:
        advantages = draw(rows, 1) * mask
    return LossInputs(
        logprobs_N_T=logprobs.requires_grad_(),
        old_logprobs_N_T=logprobs.detach() + 0.3 * draw(rows, COLUMNS),
        advantages_N_T=advantages,
        weights_N_T=get_algorithm(name).weights(
            mask.to(DOUBLE), config or config_of(name), COLUMNS
        ),
        entropy_N_T=draw(rows, COLUMNS).abs(),
        reference_logprobs_N_T=logprobs.detach() + 0.3 * draw(rows, COLUMNS),
        values_N_T=draw(rows, COLUMNS).requires_grad_() if name == "ppo" else None,
        old_values_N_T=draw(rows, COLUMNS) if name == "ppo" else None,
        returns_N_T=draw(rows, COLUMNS) if name == "ppo" else None,
    )


def step(seed=0, rewards=None, rows=4, group=3):
    """A whole step of random outcomes at the rollouts' ends, and a critic's values."""
    generator = torch.Generator().manual_seed(seed)
    mask = draw_mask(generator, rows * group)
    if rewards is None:
        rewards = torch.randint(0, 2, (rows * group,), generator=generator, dtype=DOUBLE)
    tokens = torch.zeros(mask.shape, dtype=DOUBLE)
    tokens[torch.arange(rows * group), mask.sum(1) - 1] = rewards
    values = torch.randn(mask.shape, generator=generator, dtype=DOUBLE) * mask
    return AdvantageInputs(tokens, mask, group, values)


# Slow twins, written from the papers' formulas with loops. -----------------------------------


def no_twin(name, function):
    """A name without a formula of its own must not be taken for another algorithm."""
    raise AssertionError(f"no twin for {name}: write its formula into {function} of this file")


def twin_policy(name, new, old, a, mask, config, n, t):
    """The policy loss of one token."""
    if name in ("reinforce", "rloo", "raft"):
        return -a * new[n, t]
    ratio = np.exp(new[n, t] - old[n, t])
    if name == "gspo":
        inside = np.flatnonzero(mask[n])
        ratio = np.exp(sum(new[n, i] - old[n, i] for i in inside) / len(inside))
    held = min(max(ratio, 1 - config.clip_low), 1 + config.clip_high)
    if name == "cispo":
        return -held * a * new[n, t]
    if name in ("grpo", "dr_grpo", "dapo", "reinforce_plus_plus", "ppo", "gspo"):
        return -min(ratio * a, held * a)
    no_twin(name, "twin_policy")


def twin_loss(name, inputs, config):
    """The whole loss, token by token."""
    fields = ("logprobs", "old_logprobs", "reference_logprobs", "entropy", "advantages",
              "values", "old_values", "returns")  # fmt: skip
    x = {}
    for field in fields:
        tensor = getattr(inputs, f"{field}_N_T")
        x[field] = None if tensor is None else tensor.detach().numpy()
    mask = inputs.weights_N_T.numpy() > 0
    rows = []
    for n in range(len(mask)):
        row = []
        for t in np.flatnonzero(mask[n]):
            new, a = x["logprobs"], float(x["advantages"][n, t])
            policy = twin_policy(name, new, x["old_logprobs"], a, mask, config, n, t)
            d = x["reference_logprobs"][n, t] - new[n, t]
            kl = {"k1": -d, "k2": d * d / 2, "k3": np.exp(d) - d - 1}[config.kl_estimator]
            total = config.policy_coefficient * policy + config.kl_coefficient * kl
            total -= config.entropy_coefficient * x["entropy"][n, t]
            if x["values"] is not None:
                v, before, wanted = (x[k][n, t] for k in ("values", "old_values", "returns"))
                held = min(max(v, before - config.value_clip), before + config.value_clip)
                worse = max((v - wanted) ** 2, (held - wanted) ** 2)
                total += config.value_coefficient * worse / 2
            row.append(total)
        rows.append(row)
    if config.averaging == "sequence":
        return np.mean([np.mean(row) for row in rows])
    if config.averaging == "fixed_length":
        return np.sum([np.sum(row) for row in rows]) / (len(rows) * COLUMNS)
    return np.mean([value for row in rows for value in row])


def twin_advantages(name, given, config):
    """Advantages (N, T), rollout by rollout."""
    rewards, mask = given.rewards_N_T.numpy(), given.mask_N_T.numpy()
    values, size = given.values_N_T.numpy(), given.group_size
    result = np.zeros(mask.shape)
    if name in ("ppo", "reinforce_plus_plus"):
        for n in range(len(mask)):
            length = mask[n].sum()
            for t in range(length):
                for later in range(t, length):
                    if name == "ppo":
                        after = values[n, later + 1] if later + 1 < length else 0.0
                        gain = rewards[n, later] + config.gamma * after - values[n, later]
                        share = (config.gamma * config.gae_lambda) ** (later - t)
                    else:
                        gain, share = rewards[n, later], config.gamma ** (later - t)
                    result[n, t] += share * gain
        inside = result[mask]
        scaled = (result - inside.mean()) / np.sqrt(inside.var(ddof=1) + 1e-8)
        return np.where(mask, scaled, 0.0)
    outcomes = rewards.sum(1)
    if name == "raft":  # mean over all tokens of this times -log p: the mean over right ones
        right = sum(outcomes[n] * mask[n].sum() for n in range(len(mask)))
        for n in range(len(mask)):
            result[n] = outcomes[n] * mask.sum() / right * mask[n] if right else 0.0
        return result
    for n in range(len(mask)):
        first = n - n % size
        group = outcomes[first : first + size]
        if name == "rloo":
            others = [r for i, r in enumerate(group) if first + i != n]
            advantage = outcomes[n] - np.mean(others)
        elif name == "reinforce":
            advantage = outcomes[n] - outcomes.mean()
        elif name == "dr_grpo":
            advantage = outcomes[n] - group.mean()
        elif name not in ("grpo", "dapo", "gspo", "cispo"):
            no_twin(name, "twin_advantages")
        else:
            spread = max(group.std(ddof=1), config.std_floor or 0) + config.advantage_epsilon
            advantage = (outcomes[n] - group.mean()) / spread
        result[n] = advantage * mask[n]
    return result


# The promises. -------------------------------------------------------------------------------


def test_the_registry_holds_the_algorithms_that_ship():
    assert list(PRESETS) == NAMES, (
        f"config/presets.py:PRESETS and algorithms/__init__.py:ALGORITHMS differ in "
        f"{set(PRESETS) ^ set(NAMES) or 'their order'}"
    )
    assert set(COMPARES_GROUPS) <= set(NAMES)
    assert {name for users in USED_BY.values() for name in users} <= set(NAMES)


def test_an_unknown_algorithm_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match='Did you mean "grpo"'):
        get_algorithm("grop")


@pytest.mark.parametrize("name", NAMES)
def test_an_algorithm_knows_its_name(name):
    assert get_algorithm(name).name == name
    assert config_of(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_advantages_equal_a_slow_twin(name):
    values = {"gamma": 0.9} if name in USED_BY["gamma"] else {}
    values |= {"gae_lambda": 0.8} if name == "ppo" else {}
    config = config_of(name, **values)
    for seed in range(5):
        given = step(seed)
        got = get_algorithm(name).advantages(given, config)
        expected = twin_advantages(name, given, config)
        assert np.abs(got.advantages_N_T.numpy() - expected).max() < 1e-9
        assert not got.advantages_N_T[~given.mask_N_T].any()


@pytest.mark.parametrize("averaging", list(AVERAGING))
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_equals_a_slow_twin(name, averaging):
    for seed, estimator in enumerate(["k1", "k2", "k3", "k3", "k3"]):
        config = everything(name, averaging=averaging, kl_estimator=estimator)
        inputs = batch(name, seed, config)
        got = get_algorithm(name).loss(inputs, config).loss.item()
        assert got == pytest.approx(twin_loss(name, inputs, config), abs=1e-10)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("gspo", "cispo")])
def test_the_loss_passes_finite_differences(name):
    inputs, config = batch(name, 1), everything(name)
    entropy = inputs.entropy_N_T.clone().requires_grad_()
    values = [] if inputs.values_N_T is None else [inputs.values_N_T]

    def loss(logprobs, entropy, *values):
        changed = dataclasses.replace(inputs, logprobs_N_T=logprobs, entropy_N_T=entropy)
        if values:
            changed = dataclasses.replace(changed, values_N_T=values[0])
        return get_algorithm(name).loss(changed, config).loss

    assert torch.autograd.gradcheck(loss, (inputs.logprobs_N_T, entropy, *values))


@pytest.mark.parametrize("name", ["gspo", "cispo"])
def test_where_a_factor_carries_no_gradient_the_rest_passes_finite_differences(name):
    # CISPO's weight and GSPO's split of a rollout's ratio over its tokens are constants of the
    # gradient: with them held where they are, it must be that of the remaining formula.
    inputs, config = batch(name, 1), everything(name, policy_coefficient=1.0, **NO_TERMS)
    get_algorithm(name).loss(inputs, config).loss.backward()
    new, old = inputs.logprobs_N_T.detach(), inputs.old_logprobs_N_T
    mask = inputs.weights_N_T > 0
    if name == "cispo":
        held = (new - old).exp().clamp(1 - config.clip_low, 1 + config.clip_high)
        expected = -held * inputs.advantages_N_T
    else:
        mean = ((new - old) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        ratio, a = mean.exp(), inputs.advantages_N_T
        outside = ((ratio > 1 + config.clip_high) & (a > 0)) | (
            (ratio < 1 - config.clip_low) & (a < 0)
        )
        expected = (-ratio * a).masked_fill(outside, 0.0)
    assert torch.allclose(inputs.logprobs_N_T.grad, inputs.weights_N_T * expected, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_raises_the_good_tokens_and_lowers_the_bad(name):
    inputs = batch(name, 2)
    inputs = dataclasses.replace(inputs, old_logprobs_N_T=inputs.logprobs_N_T.detach())
    get_algorithm(name).loss(inputs, config_of(name, **NO_TERMS)).loss.backward()
    generated = inputs.weights_N_T > 0
    towards = -inputs.logprobs_N_T.grad * inputs.advantages_N_T
    assert (towards[generated] > 0).all()
    assert not towards[~generated].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_right_rollout_is_better_than_a_wrong_one(name):
    given = step(3, rewards=torch.tensor([1.0, 0.0, 0.0] * 4, dtype=DOUBLE))
    given = dataclasses.replace(given, values_N_T=torch.zeros_like(given.rewards_N_T))
    advantages = get_algorithm(name).advantages(given, config_of(name)).advantages_N_T[:, 0]
    assert (advantages[::3] > 0).all()
    if name in WITHOUT_BASELINE:
        assert not advantages[1::3].any()
    else:
        assert (advantages[1::3] < 0).all()


@pytest.mark.parametrize("reward", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("ppo", *WITHOUT_BASELINE)])
def test_equal_rewards_give_no_policy_gradient(name, reward):
    algorithm, config = get_algorithm(name), config_of(name, **NO_TERMS)
    given = step(4, rewards=torch.full((12,), reward, dtype=DOUBLE))
    advantages = algorithm.advantages(given, config).advantages_N_T
    inputs = batch(name, 3, rows=12, advantages=advantages)
    algorithm.loss(inputs, config).loss.backward()
    assert not inputs.logprobs_N_T.grad.any()


@pytest.mark.parametrize("averaging", list(AVERAGING))
def test_raft_is_the_likelihood_of_the_rewarded_rollouts_alone(averaging):
    """By its definition: the mean of -log p over right rollouts' tokens; 0 where none is right."""
    algorithm, config = get_algorithm("raft"), config_of("raft", averaging=averaging)
    given = step(5, rewards=torch.tensor([1.0, 0.0, 0.0] * 4, dtype=DOUBLE))
    generator = torch.Generator().manual_seed(6)
    logprobs = -torch.randn(given.mask_N_T.shape, generator=generator, dtype=DOUBLE).abs()
    weights = algorithm.weights(given.mask_N_T.to(DOUBLE), config, COLUMNS)

    def loss(rewards):
        rewards_N_T = torch.zeros_like(given.rewards_N_T)
        rewards_N_T[:, 0] = torch.tensor(rewards, dtype=DOUBLE)
        told = dataclasses.replace(given, rewards_N_T=rewards_N_T)
        inputs = LossInputs(
            logprobs, logprobs, algorithm.advantages(told, config).advantages_N_T, weights, logprobs
        )
        return algorithm.loss(inputs, config).loss.item()

    right = [n for n in range(12) if n % 3 == 0]
    rows = [-logprobs[n][given.mask_N_T[n]].numpy() for n in right]
    if averaging == "sequence":
        wanted = np.mean([row.mean() for row in rows])
    else:
        wanted = np.concatenate(rows).mean()
    if averaging == "fixed_length":  # a sum: the token mean times the share of the room in use
        wanted *= given.mask_N_T.sum().item() / (12 * COLUMNS)
    assert loss([1.0, 0.0, 0.0] * 4) == pytest.approx(wanted, abs=1e-12)
    assert loss([0.5, 0.0, 0.0] * 4) == pytest.approx(wanted, abs=1e-12)
    assert loss([0.0] * 12) == 0


@pytest.mark.parametrize("averaging", list(AVERAGING))
@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_batch_add_up_to_the_whole(name, averaging):
    algorithm, config = get_algorithm(name), everything(name, averaging=averaging)
    inputs = batch(name, 4, config)
    whole = algorithm.loss(inputs, config)

    def part_of(rows):
        values = {f.name: getattr(inputs, f.name) for f in dataclasses.fields(inputs)}
        cut = {key: None if x is None else x[rows] for key, x in values.items()}
        return algorithm.loss(LossInputs(**cut), config)

    split = [part_of(rows) for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
    assert sum(part.loss for part in split).item() == pytest.approx(whole.loss.item(), abs=1e-12)
    for term, value in whole.terms.items():
        assert sum(p.terms[term] for p in split).item() == pytest.approx(value.item(), abs=1e-12)
    for extreme, combine in (("ratio_max", max), ("ratio_min", min)):
        combined = combine(part.extremes[extreme].item() for part in split)
        assert combined == whole.extremes[extreme].item()


@pytest.mark.parametrize("name", NAMES)
def test_a_coefficient_of_zero_takes_its_term_out(name):
    algorithm, inputs = get_algorithm(name), batch(name, 5)
    off = {"policy_coefficient": 0.0, **NO_TERMS}
    terms = {
        "policy_coefficient": ("policy_loss", 1),
        "kl_coefficient": ("kl", 1),
        "entropy_coefficient": ("entropy_nats", -1),
    }
    if name == "ppo":
        off["value_coefficient"] = 0.0
        terms["value_coefficient"] = ("value_loss", 1)
    nothing = algorithm.loss(inputs, config_of(name, kl_place="loss", **off))
    assert nothing.loss.item() == 0
    assert not nothing.loss.requires_grad
    for coefficient, (term, sign) in terms.items():
        config = config_of(name, kl_place="loss", **{**off, coefficient: 2.0})
        output = algorithm.loss(inputs, config)
        assert output.loss.item() == pytest.approx(sign * 2 * output.terms[term].item())
        assert list(output.weighted) == [term]
        assert output.weighted[term].item() == output.loss.item()  # with its coefficient


@pytest.mark.parametrize("name", NAMES)
def test_a_divergence_in_the_reward_is_measured_and_has_no_gradient(name):
    config = config_of(name, kl_place="reward", kl_coefficient=0.5, entropy_coefficient=0.0)
    output = get_algorithm(name).loss(batch(name, 5), config)
    assert output.terms["kl"] > 0 or config.kl_estimator == "k1"
    assert "kl" not in output.weighted


@pytest.mark.parametrize("name", [n for n in CLIPPED if n != "cispo"])
def test_the_clip_share_counts_the_tokens_that_clipping_stopped(name):
    config = config_of(name, averaging="token", **NO_TERMS)
    inputs = batch(name, 6, config)
    output = get_algorithm(name).loss(inputs, config)
    output.loss.backward()
    generated = inputs.weights_N_T > 0
    stopped = (inputs.logprobs_N_T.grad == 0) & generated
    assert 0 < int(stopped.sum()) < int(generated.sum())
    assert output.terms["clip_share"].item() == pytest.approx(
        int(stopped.sum()) / int(generated.sum())
    )


def test_cispo_keeps_the_gradient_of_the_tokens_it_clips():
    config = config_of("cispo", clip_high=0.1)
    inputs = batch("cispo", 6, config)
    output = get_algorithm("cispo").loss(inputs, config)
    output.loss.backward()
    assert 0.1 < output.terms["clip_share"].item() < 0.9
    assert inputs.logprobs_N_T.grad[inputs.weights_N_T > 0].all()
