"""Importance weights for a sampler that is not the trainer: slow twins, bias, TRL's and verl's."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from oneshot_rlvr.algorithms import get_algorithm
from oneshot_rlvr.algorithms.batch import LossInputs
from oneshot_rlvr.algorithms.correction import corrected, effective_share, gap_terms
from oneshot_rlvr.config import AlgorithmConfig, parse_recipe
from oneshot_rlvr.errors import ConfigError

MODES = ["token_truncate", "token_mask", "sequence_mask"]
DOUBLE = torch.float64


def drawn(seed=0, rows=8, columns=5, size=0.5):
    generator = torch.Generator().manual_seed(seed)
    trainer = -torch.rand(rows, columns, generator=generator, dtype=DOUBLE)
    sampler = trainer + size * torch.randn(rows, columns, generator=generator, dtype=DOUBLE)
    lengths = torch.randint(1, columns + 1, (rows, 1), generator=generator)
    return trainer, sampler, torch.arange(columns)[None] < lengths


def twin(trainer, sampler, mask, mode, cap, floor):
    """Token by token, from the papers' formulas."""
    result = np.zeros(mask.shape)
    for n in range(len(mask)):
        inside = np.flatnonzero(mask[n])
        ratios = {t: math.exp(trainer[n, t] - sampler[n, t]) for t in inside}
        whole = math.prod(ratios.values())
        for t in inside:
            if mode == "token_truncate":
                result[n, t] = min(ratios[t], cap)
            elif mode == "token_mask":
                result[n, t] = ratios[t] if floor <= ratios[t] <= cap else 0.0
            else:
                result[n, t] = whole if floor <= whole <= cap else 0.0
    return result


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("cap", "floor"), [(2.0, 0.0), (1.3, 0.6)])
def test_weights_equal_a_slow_twin(mode, cap, floor):
    for seed in range(5):
        trainer, sampler, mask = drawn(seed)
        found = corrected(trainer, sampler, mask, mode, cap, floor).weights_N_T
        expected = twin(trainer.numpy(), sampler.numpy(), mask.numpy(), mode, cap, floor)
        assert np.abs(found.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("mode", ["none", *MODES])
def test_equal_log_probabilities_weigh_everything_one(mode):
    trainer, _, mask = drawn()
    found = corrected(trainer, trainer, mask, mode, 2.0, 0.5)
    assert torch.equal(found.weights_N_T, mask.double())
    told = gap_terms(found, mask / mask.sum())
    assert told["sampler_gap"] == told["sampler_kl"] == told["sampler_masked_share"] == 0
    assert effective_share(told["sampler_ratio"].item(), told["sampler_ratio_square"].item()) == (
        pytest.approx(1.0)
    )


def test_gap_divergence_and_effective_size_by_hand():
    # Ratios 2, 1/2 and 1 of three tokens.
    sampler = torch.zeros(1, 3, dtype=DOUBLE)
    trainer = torch.tensor([[math.log(2), -math.log(2), 0.0]], dtype=DOUBLE)
    mask = torch.ones(1, 3, dtype=torch.bool)
    found = corrected(trainer, sampler, mask, "token_mask", 1.5, 0.0)
    told = {k: v.item() for k, v in gap_terms(found, mask / 3).items()}
    assert told["sampler_gap"] == pytest.approx(2 * math.log(2) / 3)
    assert told["sampler_kl"] == pytest.approx(((2 - 1 - math.log(2)) + (-0.5 + math.log(2))) / 3)
    assert told["sampler_masked_share"] == pytest.approx(1 / 3)
    # (3.5 / 3)^2 / (5.25 / 3)
    assert effective_share(told["sampler_ratio"], told["sampler_ratio_square"]) == pytest.approx(
        3.5**2 / 3 / 5.25
    )


@pytest.mark.parametrize("mode", MODES)
def test_the_policy_term_is_weighed_and_no_other(mode):
    trainer, sampler, mask = drawn(3)
    config = AlgorithmConfig(sampler_correction=mode, kl_coefficient=0.2, entropy_coefficient=0.1)
    algorithm = get_algorithm("grpo")
    inputs = LossInputs(
        logprobs_N_T=trainer.clone().requires_grad_(),
        old_logprobs_N_T=trainer,
        advantages_N_T=torch.ones_like(trainer),
        weights_N_T=algorithm.weights(mask.double(), config, 5),
        entropy_N_T=trainer.abs(),
        reference_logprobs_N_T=sampler,
        sampler_logprobs_N_T=sampler,
    )
    weighed = algorithm.loss(inputs, config)
    plain = algorithm.loss(dataclasses.replace(inputs, sampler_logprobs_N_T=None), config)
    weights = corrected(trainer, sampler, mask, mode, 2.0, 0.0).weights_N_T
    assert weighed.terms["policy_loss"].item() == pytest.approx(
        -(inputs.weights_N_T * weights).sum().item()  # ratio and advantage are 1
    )
    for term in ("kl", "entropy_nats"):
        assert torch.equal(weighed.terms[term], plain.terms[term])
    off = algorithm.loss(inputs, config.model_copy(update={"sampler_correction": "none"}))
    assert torch.equal(off.loss, plain.loss)
    assert off.terms["sampler_gap"] > 0  # told all the same


def test_a_sampler_that_rounds_to_bfloat16_biases_the_gradient_and_weights_mend_it():
    """All 4,000 next tokens counted, so that the gradients are exact and the bias is no noise."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, generator=generator, dtype=DOUBLE)
    head = 0.5 * torch.randn(4000, 64, generator=generator, dtype=DOUBLE)
    advantages = (torch.rand(4000, generator=generator) < 0.3).double()
    rounded = (head.bfloat16() @ hidden.bfloat16()).double() / 0.6
    sampler = rounded.log_softmax(0)

    def gradient(weigh, by):
        logits = (head @ hidden / 0.6).requires_grad_()
        trainer = logits.log_softmax(0)
        weights = weigh(trainer.detach()) * by.exp()
        (weights * (advantages - (weights * advantages).sum()) * trainer).sum().backward()
        return logits.grad

    trainer = (head @ hidden / 0.6).log_softmax(0)
    exact = gradient(lambda _: torch.ones(4000, dtype=DOUBLE), trainer)
    biased = gradient(lambda _: torch.ones(4000, dtype=DOUBLE), sampler)

    def weights(mode):
        mask = torch.ones(4000, 1, dtype=torch.bool)
        return lambda p: corrected(p[:, None], sampler[:, None], mask, mode, 2.0, 0.0)[0][:, 0]

    def error(found):
        return ((found - exact).norm() / exact.norm()).item()

    assert error(biased) > 0.01
    for mode in MODES:
        assert error(gradient(weights(mode), sampler)) < 1e-9, mode


@pytest.mark.parametrize(
    ("tables", "engine", "expected"),
    [
        ({}, "shared_prefix", "none"),
        ({}, "vllm", "token_truncate"),
        ({"model": {"autocast": "bfloat16"}}, "hf", "token_truncate"),
        ({"rollouts": {"autocast": "bfloat16"}}, "shared_prefix", "token_truncate"),
        (
            {"rollouts": {"autocast": "bfloat16"}, "model": {"autocast": "bfloat16"}},
            "shared_prefix",
            "token_truncate",
        ),
        ({"algorithm": {"sampler_correction": "none"}}, "vllm", "none"),
        ({"algorithm": {"sampler_correction": "sequence_mask"}}, "hf", "sequence_mask"),
    ],
)
def test_it_is_on_by_itself_where_sampler_and_trainer_differ(tables, engine, expected):
    assert parse_recipe(tables).sampler_correction(engine) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sampler_correction": "truncate"}, "sampler_correction"),
        ({"sampler_cap": 0.5}, "sampler_cap"),
        ({"sampler_floor": 0.5}, "only token_mask and sequence_mask"),
        ({"sampler_floor": 0.5, "sampler_correction": "token_truncate"}, "only token_mask"),
        ({"sampler_cap": 5.0, "sampler_correction": "none"}, '"none", which corrects nothing'),
    ],
)
def test_values_that_mean_nothing_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        parse_recipe({"algorithm": settings})


# Their equals.

BOUNDS = [("token_truncate", 2.0, 0.0), ("token_mask", 1.5, 0.5), ("sequence_mask", 3.0, 0.4)]


@pytest.mark.verl
@pytest.mark.parametrize(("mode", "cap", "floor"), BOUNDS)
def test_verl_computes_the_same_weights(mode, cap, floor):
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights

    from oneshot_rlvr.backends.verl.correction import correction

    settings = {"sampler_correction": mode, "sampler_cap": cap, "sampler_floor": floor}
    told = correction(parse_recipe({"algorithm": settings}))
    told = {key.rpartition(".")[2]: value for key, value in told.items()}
    for seed in range(4):
        trainer, sampler, mask = drawn(seed)
        theirs, _ = compute_rollout_correction_weights(trainer - sampler, mask.double(), **told)
        ours = corrected(trainer, sampler, mask, mode, cap, floor).weights_N_T
        assert torch.allclose(theirs * mask, ours, atol=1e-9)


@pytest.mark.trl
@pytest.mark.parametrize(("mode", "cap", "floor"), BOUNDS)
def test_trl_computes_the_same_loss(mode, cap, floor):
    """TRL makes its weights in the middle of a long method: the lines of its own source are run."""
    import inspect
    import textwrap
    from types import SimpleNamespace

    from trl import GRPOTrainer

    from oneshot_rlvr.backends.trl.translate import grpo_config

    settings = {"sampler_correction": mode, "sampler_cap": cap, "sampler_floor": floor}
    told = grpo_config(parse_recipe({"algorithm": settings, "rollouts": {"engine": "vllm"}}))
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions).split("\n")
    begin = next(n for n, line in enumerate(source) if "sequence_level_is = " in line)
    end = next(n for n, line in enumerate(source) if "for the reference model" in line)
    lines = textwrap.dedent("\n".join(source[begin:end]))
    names = {key: told[key] for key in told if key.startswith("vllm_importance_sampling")}
    for seed in range(4):
        trainer, sampler, mask = drawn(seed)
        space = {
            "self": SimpleNamespace(**names),
            "torch": torch,
            "math": math,
            "per_token_logps_diff": (trainer - sampler) * mask,
        }
        exec(lines, space)  # noqa: S102
        theirs = space["vllm_importance_sampling_ratio"].expand_as(trainer) * mask
        ours = corrected(trainer, sampler, mask, mode, cap, floor).weights_N_T
        assert torch.allclose(theirs, ours, atol=1e-9)
