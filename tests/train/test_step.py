"""One step of learning: its gradient, its metrics, and what it leaves alone."""

import copy
import dataclasses
import math

import pytest
import torch

from oneshot_rlvr.algorithms.batch import Advantages
from oneshot_rlvr.config import (
    AlgorithmConfig,
    OptimizerConfig,
    Recipe,
    RewardConfig,
    RolloutsConfig,
    TrainConfig,
    parse_recipe,
)
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.policy import Reference, sequence_logprobs
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train import step as step_module
from oneshot_rlvr.train.forward import Forward, Known
from oneshot_rlvr.train.rows import generated_mask
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Verdict

P, G, T = 4, 3, 12
PROMPTS = [
    Prompt(row, Example(str(row), text, ""), tuple(text.encode()))
    for row, text in enumerate(["2+2=", "2+2=", "a longer one", "2+2="])
]


def recipe(**sections):
    settings = {
        "rollouts": {"prompts_per_step": P, "group_size": G, "temperature": 0.8},
        "algorithm": {"kl_coefficient": 0.1, "entropy_coefficient": 0.05},
        "optimizer": {"learning_rate": 1e-3, "gradient_clip": 0.0},
        "train": {"micro_batch_tokens": 10**6},
    }
    for name, section in sections.items():
        settings[name] = {**settings[name], **section}
    return Recipe(
        rollouts=RolloutsConfig(**settings["rollouts"]),
        algorithm=AlgorithmConfig(**settings["algorithm"]),
        optimizer=OptimizerConfig(**settings["optimizer"]),
        train=TrainConfig(**settings["train"]),
    )


@pytest.fixture
def policy():
    return random_policy("qwen2", seed=1, scale=0.1)


def rollouts_of(policy, temperature=0.8):
    key = StreamKey(0, "test", 0)
    return make_engine("auto", policy).generate(PROMPTS, G, Sampling(temperature, T), key)


def grade(rollouts, rewards):
    verdict = Verdict(False, Reason.MISMATCH)
    return [Graded(r, verdict, reward) for r, reward in zip(rollouts, rewards, strict=True)]


@pytest.fixture
def graded(policy):
    return grade(rollouts_of(policy), [1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0])  # row 1: no variance


def moved_reference(policy):
    """A reference that differs from the policy, so that the KL term has a gradient."""
    reference = Reference(policy.model)
    generator = torch.Generator().manual_seed(3)
    for parameter in reference.model.parameters():
        parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return reference


def capture(trainer, monkeypatch):
    """Gradients that reach the optimizer, one list per update; the weights stay."""
    seen = []

    def record():
        seen.append([p.grad.clone() for p in trainer.policy.model.parameters()])

    monkeypatch.setattr(trainer.optimizer, "step", record)
    return seen


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients])


def expected_loss(policy, reference, graded, config):
    """The paper's loss, row by row from the model's own logits, one mean over all tokens."""
    temperature, algorithm = config.rollouts.temperature, config.algorithm
    terms = []
    for p in range(P):
        group = graded[p * G : (p + 1) * G]
        rewards = torch.tensor([g.reward for g in group], dtype=torch.float32)
        equal = rewards.max() == rewards.min()
        for g in group:
            advantage = 0.0 if equal else (g.reward - rewards.mean()) / (rewards.std() + 1e-6)
            r = g.rollout
            ids = torch.tensor([[*r.prompt_tokens, *r.tokens]])
            response = torch.tensor(r.tokens)[:, None]

            def logs_of(model, ids=ids, r=r):
                return (
                    model(ids).logits[0, len(r.prompt_tokens) - 1 : -1] / temperature
                ).log_softmax(-1)

            logs = logs_of(policy.model)
            with torch.no_grad():
                fixed = logs_of(reference.model).gather(1, response)[:, 0]
            chosen = logs.gather(1, response)[:, 0]
            d = fixed - chosen
            terms.append(
                -(chosen - chosen.detach()).exp() * advantage
                + algorithm.kl_coefficient * (d.exp() - d - 1)
                + algorithm.entropy_coefficient * (logs.exp() * logs).sum(-1)
            )
    return torch.cat(terms).mean()


def test_the_gradient_is_that_of_the_published_loss(policy, graded, monkeypatch):
    reference = moved_reference(policy)
    trainer = TrainStep(policy, recipe(), reference=reference)
    seen = capture(trainer, monkeypatch)
    metrics = trainer.update(graded).metrics
    policy.model.zero_grad()
    loss = expected_loss(policy, reference, graded, recipe())
    loss.backward()
    expected = flat(p.grad for p in policy.model.parameters())
    assert (flat(seen[0]) - expected).norm() < 1e-5 * expected.norm()
    assert metrics["train/loss"] == pytest.approx(loss.item(), abs=1e-6)
    assert metrics["train/gradient_norm"] == pytest.approx(expected.norm().item(), rel=1e-4)


@pytest.mark.parametrize("averaging", ["token", "sequence"])
@pytest.mark.parametrize("budget", [1, 40, 100])
def test_the_gradient_does_not_depend_on_the_split(budget, averaging, graded, monkeypatch):
    policy = random_policy("qwen2", seed=1, scale=0.1, dtype=torch.float64)
    reference = moved_reference(policy)
    gradients, losses = [], []
    for tokens in (10**6, budget):
        config = recipe(algorithm={"averaging": averaging}, train={"micro_batch_tokens": tokens})
        trainer = TrainStep(policy, config, reference=reference)
        seen = capture(trainer, monkeypatch)
        losses.append(trainer.update(graded).metrics["train/loss"])
        gradients.append(flat(seen[0]))
    assert (gradients[0] - gradients[1]).norm() < 1e-6 * gradients[0].norm()
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_the_first_update_has_a_ratio_of_exactly_one(policy, graded):
    metrics = TrainStep(policy, recipe()).update(graded).metrics
    assert metrics["train/ratio_max"] == metrics["train/ratio_min"] == 1
    assert metrics["train/clip_share"] == 0


def test_metrics_and_advantages_are_those_of_the_rollouts(policy, graded):
    result = TrainStep(policy, recipe()).update(graded)
    metrics = result.metrics
    assert metrics["train/zero_variance_share"] == 0.25
    assert metrics["train/kl"] == pytest.approx(0, abs=1e-9)  # the reference is the start
    assert 0 < metrics["train/entropy_nats"] < math.log(259)
    assert metrics["train/logprob_gap"] < 1e-4
    assert metrics["train/skipped_updates"] == 0
    assert metrics["optimizer/learning_rate"] == 1e-3
    assert len(result.advantages) == P * G
    assert result.advantages[3:6] == [0, 0, 0]
    assert result.advantages[:3] == pytest.approx([2 / 3**0.5, -1 / 3**0.5, -1 / 3**0.5], rel=1e-4)


def test_the_gap_shows_a_sampler_that_is_not_the_policy(policy):
    other = random_policy("qwen2", seed=2, scale=0.1)
    graded = grade(rollouts_of(other), [1.0, 0.0, 0.0] * P)
    assert TrainStep(policy, recipe()).update(graded).metrics["train/logprob_gap"] > 0.1


def test_learning_raises_the_probability_of_what_was_rewarded(policy, graded):
    def probability(wanted):
        chosen = [g.rollout for g in graded if g.reward == wanted]
        scores = sequence_logprobs(
            policy.model,
            [r.prompt_tokens for r in chosen],
            [r.tokens for r in chosen],
            0.8,
            pad_id=0,
        )
        return scores.logprobs_N_T.sum().item()

    before = probability(1), probability(0)
    config = recipe(algorithm={"kl_coefficient": 0.0, "entropy_coefficient": 0.0})
    trainer = TrainStep(policy, config)
    for _ in range(3):
        trainer.update(graded)
    assert probability(1) > before[0]
    assert probability(0) < before[1]


def test_several_updates_split_the_rows_and_keep_the_old_logprobs(policy, graded):
    twin = random_policy("qwen2", seed=1, scale=0.1)
    config = recipe(train={"updates_per_rollout": 2}, optimizer={"learning_rate": 0.01})
    trainer = TrainStep(policy, config)
    metrics = trainer.update(graded).metrics
    assert metrics["train/ratio_max"] > 1.001  # the second update is off-policy
    # By hand: an update of the first two rows, then one of the others against the first log-probs.
    by_hand = TrainStep(twin, recipe(optimizer={"learning_rate": 0.01}))
    rollouts = [g.rollout for g in graded]
    old = by_hand.forward.known(rollouts[6:], old=True, reference=False, values=False)
    advantages_N_1 = torch.tensor(trainer.update(graded).advantages)[:, None]
    for part, known in ((slice(0, 6), Known()), (slice(6, 12), old)):
        own = Advantages(advantages_N_1[part] * generated_mask(rollouts[part]))
        by_hand._one_update(rollouts[part], own, known)
    fresh = random_policy("qwen2", seed=1, scale=0.1)
    TrainStep(fresh, config).update(graded)
    for a, b in zip(fresh.model.parameters(), twin.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_gradient_is_clipped_to_the_limit(policy, graded, monkeypatch):
    trainer = TrainStep(policy, recipe(optimizer={"gradient_clip": 0.01}))
    seen = capture(trainer, monkeypatch)
    norm = trainer.update(graded).metrics["train/gradient_norm"]
    assert norm > 0.01
    assert flat(seen[0]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_gradient_below_the_limit_is_left_as_it_is(policy, graded, monkeypatch):
    gradients = []
    for limit in (0.0, 1e6):
        trainer = TrainStep(policy, recipe(optimizer={"gradient_clip": limit}))
        seen = capture(trainer, monkeypatch)
        trainer.update(graded)
        gradients.append(flat(seen[0]))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_an_update_that_is_not_finite_is_skipped_and_counted(reward, policy, graded):
    before = copy.deepcopy(policy.model.state_dict())
    trainer = TrainStep(policy, recipe())
    broken = grade([g.rollout for g in graded], [reward, *(g.reward for g in graded[1:])])
    metrics = trainer.update(broken).metrics
    assert metrics["train/skipped_updates"] == 1
    assert "train/gradient_norm" not in metrics
    assert all(math.isfinite(value) for value in metrics.values())
    assert trainer.optimizer.state_dict()["state"] == {}
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert trainer.update(graded).metrics["train/skipped_updates"] == 0


def test_rows_without_advantage_cost_no_backward_pass_and_change_nothing(graded, monkeypatch):
    policies = [random_policy("qwen2", seed=1, scale=0.1) for _ in range(2)]
    off = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}
    with_gradient = []
    scores = Forward.scores

    def watched(self, rollouts, **options):
        with_gradient.extend([torch.is_grad_enabled()] * len(rollouts))
        return scores(self, rollouts, **options)

    monkeypatch.setattr(Forward, "scores", watched)
    metrics = TrainStep(policies[0], recipe(algorithm=off)).update(graded).metrics
    assert sorted(with_gradient) == [False] * 3 + [True] * 9
    monkeypatch.setattr(Forward, "scores", scores)
    # An entropy weight of 1e-30 adds nothing in float32, and keeps every row in the graph.
    almost_off = {"kl_coefficient": 0.0, "entropy_coefficient": 1e-30}
    full = TrainStep(policies[1], recipe(algorithm=almost_off)).update(graded).metrics
    for name in ("train/loss", "train/entropy_nats", "train/gradient_norm"):
        assert metrics[name] == pytest.approx(full[name], rel=1e-5)
    for a, b in zip(policies[0].model.parameters(), policies[1].model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-6)


def test_without_any_gradient_momentum_and_decay_go_on(policy, graded):
    config = recipe(algorithm={"kl_coefficient": 0.0, "entropy_coefficient": 0.0})
    trainer = TrainStep(policy, config)
    trainer.update(graded)
    before = [p.detach().clone() for p in policy.model.parameters()]
    metrics = trainer.update(grade([g.rollout for g in graded], [1.0] * P * G)).metrics
    assert metrics["train/zero_variance_share"] == 1
    assert metrics["train/gradient_norm"] == 0
    moved = [not torch.equal(a, b) for a, b in zip(before, policy.model.parameters(), strict=True)]
    assert all(moved)


def test_an_entropy_only_run_raises_the_entropy(policy, graded):
    config = recipe(
        algorithm={"policy_coefficient": 0.0, "kl_coefficient": 0.0, "entropy_coefficient": 1.0}
    )
    trainer = TrainStep(policy, config)
    first = trainer.update(graded).metrics["train/entropy_nats"]
    trainer.update(graded)
    assert trainer.update(graded).metrics["train/entropy_nats"] > first


def test_the_reference_is_computed_only_where_the_kl_term_is_on(policy, graded, monkeypatch):
    asked = []
    monkeypatch.setattr(step_module, "Reference", lambda model: asked.append(model))
    trainer = TrainStep(policy, recipe(algorithm={"kl_coefficient": 0.0}), reference=object())
    assert trainer.reference is None
    assert asked == []
    assert "train/kl" not in trainer.update(graded).metrics


def test_the_learning_rate_follows_the_steps_done(policy, graded):
    config = recipe(optimizer={"learning_rate": 0.4, "warmup_steps": 4})
    trainer = TrainStep(policy, config)
    rates = [trainer.update(graded).metrics["optimizer/learning_rate"] for _ in range(2)]
    assert rates == pytest.approx([0.1, 0.2])
    resumed = TrainStep(policy, config)
    resumed.load_state(trainer.state())
    assert resumed.update(graded).metrics["optimizer/learning_rate"] == pytest.approx(0.3)


def test_rollouts_that_form_no_rows_are_refused(policy, graded):
    for wrong in (graded[:-1], [*graded[:2], graded[4], graded[3], graded[2], *graded[5:]]):
        with pytest.raises(ValueError, match="rows of one size"):
            TrainStep(policy, recipe()).update(wrong)


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt2"])
def test_other_architectures_learn_too(architecture):
    policy = random_policy(architecture, scale=0.1)
    graded = grade(rollouts_of(policy), [1.0, 0.0, 0.0] * P)
    metrics = TrainStep(policy, recipe()).update(graded).metrics
    assert metrics["train/logprob_gap"] < 1e-4
    assert metrics["train/gradient_norm"] > 0


@pytest.mark.parametrize("name", ["dr_grpo", "reinforce", "gspo"])
def test_what_is_logged_is_a_mean_over_tokens_whatever_the_loss_averages(policy, graded, name):
    """5.3 nats a token were once told as 0.02: multiplied by mean length / max_new_tokens."""
    settings = {"name": name, "kl_coefficient": 0.1, "entropy_coefficient": 0.05}
    told = TrainStep(policy, recipe(algorithm=settings), reference=moved_reference(policy))
    metrics = told.update(graded).metrics
    twin = random_policy("qwen2", seed=1, scale=0.1)
    rollouts = [g.rollout for g in graded]
    prompts, answers = [r.prompt_tokens for r in rollouts], [r.tokens for r in rollouts]
    own = sequence_logprobs(twin.model, prompts, answers, 0.8, pad_id=0)
    reference = moved_reference(twin).logprobs(prompts, answers, 0.8, pad_id=0)
    inside = own.generated_mask_N_T
    d = (reference.logprobs_N_T - own.logprobs_N_T)[inside]
    assert metrics["train/entropy_nats"] == pytest.approx(
        own.entropy_N_T[inside].mean().item(), rel=1e-5
    )
    assert metrics["train/kl"] == pytest.approx((d.exp() - d - 1).mean().item(), rel=1e-4)


def test_the_entropy_controller_steers_by_nats_a_token(policy, graded):
    # About 5.5 nats a token; by max_new_tokens = 3,072 it would be told as 0.02, below the target.
    settings = {"name": "dr_grpo", "entropy_coefficient": 0.01, "entropy_target": 3.0}
    trainer = TrainStep(policy, recipe(algorithm={**settings, "kl_coefficient": 0.0}))
    metrics = trainer.update(graded).metrics
    assert metrics["train/entropy_nats"] > 4
    assert trainer.entropy_coefficient == 0  # above the target the bonus rests
    assert trainer._controlled == pytest.approx(0.005)  # and falls


def test_the_clip_share_counts_tokens_also_in_a_sum_over_a_fixed_length(policy, graded):
    settings = {"name": "dr_grpo", "clip_low": 1e-9, "clip_high": 1e-9}
    several = recipe(algorithm=settings, train={"updates_per_rollout": 2, "epochs": 2})
    trainer = TrainStep(policy, several)
    trainer.update(graded)
    metrics = trainer.update(graded).metrics
    # Half the updates are the first of their rollouts, whose ratio is 1; in the others almost every
    # token of a group with an advantage that moved outwards is clipped.
    assert metrics["train/clip_share"] > 0.1


def test_a_saturated_group_moves_by_what_its_rewards_differ_and_no_more(policy):
    rewards = [1.0, 0.999, 0.998, 1.0, 1.0, 0.0, 1.0, 0.999, 1.0, 0.0, 0.0, 0.0]
    settings = recipe(algorithm={"entropy_coefficient": 0.0, "kl_coefficient": 0.0})
    blown_up = TrainStep(policy, settings).update(grade(rollouts_of(policy), rewards)).advantages
    assert max(map(abs, blown_up[:3])) > 0.9
    penal = settings.model_copy(update={"reward": RewardConfig(length_penalty=0.01)})
    held = TrainStep(policy, penal).update(grade(rollouts_of(policy), rewards)).advantages
    # Row 0: 0.001 from the mean, by the least std of verdicts, 1 / sqrt(3).
    assert held[:3] == pytest.approx([0.001732, 0, -0.001732], abs=1e-6)
    assert held[3:6] == pytest.approx(blown_up[3:6])  # verdicts decide as they did


@pytest.mark.parametrize("cut", [{"top_p": 0.8}, {"top_k": 5}, {"min_p": 0.1}], ids=str)
def test_rollouts_that_were_cut_train_the_cut_policy(policy, cut):
    asked, key = Sampling(0.8, T, **cut), StreamKey(0, "test", 0)
    rollouts = make_engine("auto", policy).generate(PROMPTS, G, asked, key)
    graded = grade(rollouts, [1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0])
    reference = Reference(policy.model)
    whole = TrainStep(copy_of(policy), recipe(), reference=reference).update(graded).metrics
    own = TrainStep(copy_of(policy), recipe(rollouts=cut), reference=reference).update(graded)
    assert own.metrics["train/logprob_gap"] < 1e-3
    assert own.metrics["train/sampler_kl"] < 1e-6
    # As who draws from a part and trains the whole.
    assert whole["train/logprob_gap"] > 0.05
    assert whole["train/sampler_kl"] > 0.005
    # The policy that is trained is a narrower one than the reference, whose part it was drawn from.
    assert own.metrics["train/entropy_nats"] < whole["train/entropy_nats"]


def copy_of(policy):
    return dataclasses.replace(policy, model=copy.deepcopy(policy.model))


def test_several_updates_of_cut_rollouts_are_refused():
    with pytest.raises(ConfigError, match="compares distributions over different sets"):
        parse_recipe({"rollouts": {"top_p": 0.9}, "train": {"updates_per_rollout": 2}})


@pytest.mark.parametrize(("key", "value"), [("repetition_penalty", 1.1), ("stop", ["x"])])
def test_what_has_no_place_in_training_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=rf"rollouts\.{key} is .*evaluation\.test\.{key}"):
        parse_recipe({"rollouts": {key: value}})
