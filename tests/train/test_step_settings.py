"""What a step does under the settings that the paper's run leaves off."""

import dataclasses
import math

import pytest
import torch

from oneshot_rlvr.config import (
    AlgorithmConfig,
    OptimizerConfig,
    Recipe,
    RolloutsConfig,
    TrainConfig,
)
from oneshot_rlvr.policy import logprobs
from oneshot_rlvr.policy.optimizer import load_state_tensors, state_tensors
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.train import forward
from oneshot_rlvr.train.learner import LearnerState
from oneshot_rlvr.train.step import TrainStep
from oneshot_rlvr.types import Example, Graded, Prompt, Reason, Verdict

P, G, T = 4, 3, 8
PROMPTS = [
    Prompt(row, Example(str(row), text, ""), tuple(text.encode()))
    for row, text in enumerate(["2+2=", "2+2=", "a longer one", "2+2="])
]
REWARDS = [1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0]  # row 1: no variance
NO_TERMS = {"kl_coefficient": 0.0, "entropy_coefficient": 0.0}


def recipe(algorithm, train=None, rate=1e-3):
    return Recipe(
        rollouts=RolloutsConfig(
            prompts_per_step=P, group_size=G, temperature=0.8, max_new_tokens=T
        ),
        algorithm=AlgorithmConfig(**algorithm),
        optimizer=OptimizerConfig(learning_rate=rate),
        train=TrainConfig(**{"micro_batch_tokens": 60, **(train or {})}),
    )


def new_policy():
    return random_policy("qwen2", seed=1, scale=0.1)


@pytest.fixture
def policy():
    return new_policy()


@pytest.fixture(scope="module")
def graded():
    key = StreamKey(0, "test", 0)
    rollouts = make_engine("auto", new_policy()).generate(PROMPTS, G, Sampling(0.8, T), key)
    verdict = Verdict(False, Reason.MISMATCH)
    return [Graded(r, verdict, reward) for r, reward in zip(rollouts, REWARDS, strict=True)]


def with_rewards(graded, rewards):
    return [dataclasses.replace(g, reward=r) for g, r in zip(graded, rewards, strict=True)]


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


@pytest.mark.parametrize(
    "name",
    [
        "grpo",
        "dr_grpo",
        "dapo",
        "reinforce",
        "rloo",
        "reinforce_plus_plus",
        "ppo",
        "gspo",
        "cispo",
        "raft",
    ],
)
def test_every_algorithm_makes_an_update(name, policy, graded):
    before = weights(policy)
    result = TrainStep(policy, recipe({"name": name, "overlong_buffer_share": 0.0})).update(graded)
    assert not torch.equal(weights(policy), before)
    assert result.metrics["train/gradient_norm"] > 0
    assert result.metrics["train/skipped_updates"] == 0
    right, wrong = ([result.advantages[n] for n in rows] for rows in ([0, 6, 7, 10], [1, 2, 8, 9]))
    assert min(right) > max(wrong)


class TestEpochs:
    def test_every_epoch_goes_over_all_rows_with_the_first_logprobs(self, policy, graded):
        config = recipe({**NO_TERMS}, {"epochs": 2, "updates_per_rollout": 4}, rate=0.01)
        trainer = TrainStep(policy, config)
        seen = []
        update = trainer._one_update

        def watched(rollouts, advantages, known, *rest):
            seen.append(([r.row for r in rollouts], known.old is not None))
            return update(rollouts, advantages, known, *rest)

        trainer._one_update = watched
        metrics = trainer.update(graded).metrics
        half, other = [0] * G + [1] * G, [2] * G + [3] * G
        assert [rows for rows, _ in seen] == [half, other, half, other]
        # The first update is on-policy; the same rows in the second epoch are measured from there.
        assert [known for _, known in seen] == [False, True, True, True]
        assert metrics["train/ratio_max"] > 1.001

    def test_the_learning_rate_counts_every_update(self, policy, graded):
        config = recipe({**NO_TERMS}, {"epochs": 2, "updates_per_rollout": 2})
        warm = config.model_copy(
            update={"optimizer": OptimizerConfig(learning_rate=0.4, warmup_steps=4)}
        )
        trainer = TrainStep(policy, warm)
        rates = [trainer.update(graded).metrics["optimizer/learning_rate"] for _ in range(2)]
        assert rates == pytest.approx([0.2, 0.4])


IN_REWARD = {"name": "reinforce_plus_plus", "kl_coefficient": 0.5, "entropy_coefficient": 0.0}


class TestDivergenceInTheReward:
    def test_at_the_reference_it_changes_nothing(self, policy, graded):
        with_it = TrainStep(policy, recipe(IN_REWARD)).update(graded)
        without = TrainStep(new_policy(), recipe({**IN_REWARD, "kl_coefficient": 0.0}))
        assert with_it.advantages == pytest.approx(without.update(graded).advantages, abs=1e-6)
        assert with_it.metrics["train/kl"] == pytest.approx(0, abs=1e-6)

    def test_tokens_that_left_the_reference_lose_reward(self, policy, graded):
        trainer = TrainStep(policy, recipe({**IN_REWARD, "name": "rloo"}))
        generator = torch.Generator().manual_seed(3)
        for parameter in trainer.reference.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        rollouts = [g.rollout for g in graded]
        known = trainer.forward.known(rollouts, old=True, reference=True, values=False)
        result = trainer.update(graded)
        for p in range(P):  # by hand: r - b * sum of log-ratios, against the others' mean
            own = [
                graded[n].reward - 0.5 * (known.old[n] - known.reference[n]).sum().item()
                for n in range(p * G, p * G + G)
            ]
            for i in range(G):
                others = (sum(own) - own[i]) / (G - 1)
                assert result.advantages[p * G + i] == pytest.approx(own[i] - others, abs=1e-5)


class TestReference:
    def test_it_becomes_the_policy_every_n_steps_and_not_between(self, policy, graded):
        trainer = TrainStep(policy, recipe({"reference_refresh_every": 2}, rate=0.01))
        first = weights(trainer.reference)
        trainer.update(graded)
        assert torch.equal(weights(trainer.reference), first)
        trainer.update(graded)
        assert torch.equal(weights(trainer.reference), weights(policy))
        assert trainer.update(graded).metrics["train/kl"] == pytest.approx(0, abs=1e-6)

    def test_frozen_it_stays_where_it_was(self, policy, graded):
        trainer = TrainStep(policy, recipe({}, rate=0.01))
        first = weights(trainer.reference)
        trainer.update(graded)
        assert torch.equal(weights(trainer.reference), first)
        assert trainer.state().tensors == {}


class TestEntropyTarget:
    def test_the_coefficient_rises_below_the_target_and_rests_above(self, policy, graded):
        below = {"entropy_target": 50.0, "entropy_coefficient": 0.01, "entropy_rate": 0.02}
        trainer = TrainStep(policy, recipe(below))
        applied = [trainer.update(graded).metrics["train/entropy_coefficient"] for _ in range(3)]
        assert applied == pytest.approx([0.01, 0.03, 0.05])
        above = TrainStep(new_policy(), recipe({**below, "entropy_target": 0.01}))
        applied = [above.update(graded).metrics["train/entropy_coefficient"] for _ in range(2)]
        assert applied == [0.01, 0.0]


class TestOverlong:
    def test_the_longest_answers_lose_reward_and_give_a_row_variance(self, policy, graded):
        lengths = [len(g.rollout.tokens) for g in graded[:G]]
        short = dataclasses.replace(
            graded[0].rollout,
            tokens=graded[0].rollout.tokens[:2],
            logprobs=graded[0].rollout.logprobs[:2],
        )
        row = [dataclasses.replace(graded[0], rollout=short), *graded[1:]]
        assert max(lengths[1:]) == T  # at the limit
        equal = with_rewards(row, [1.0] * P * G)
        off = TrainStep(policy, recipe({"name": "dapo", "overlong_buffer_share": 0.0}))
        on = TrainStep(new_policy(), recipe({"name": "dapo", "overlong_buffer_share": 0.5}))
        assert off.update(equal).metrics["train/zero_variance_share"] == 1
        result = on.update(equal)
        assert result.metrics["train/overlong_penalty"] > 0
        assert result.advantages[0] > 0 > min(result.advantages[1:G])


class TestCritic:
    @pytest.mark.parametrize("critic", ["own", "shared"])
    def test_values_approach_the_returns(self, critic, policy, graded):
        settings = {
            "name": "ppo", "critic": critic, "critic_learning_rate": 0.02, "value_clip": 0.0,
            **NO_TERMS,
        }  # fmt: skip
        trainer = TrainStep(policy, recipe(settings, rate=1e-4))
        first = trainer.update(graded).metrics
        for _ in range(25):
            last = trainer.update(graded).metrics
        assert first["train/explained_variance"] == pytest.approx(0, abs=1e-6)  # values of 0
        assert last["train/value_loss"] < 0.7 * first["train/value_loss"]
        assert last["train/explained_variance"] > 0.2
        assert last["train/critic_gradient_norm"] > 0

    def test_first_values_are_zero_so_the_first_advantages_are_returns(self, policy, graded):
        trainer = TrainStep(policy, recipe({"name": "ppo", **NO_TERMS}))
        plain = TrainStep(new_policy(), recipe({"name": "reinforce_plus_plus", **NO_TERMS}))
        assert trainer.update(graded).advantages == pytest.approx(plain.update(graded).advantages)

    def test_an_own_trunk_leaves_the_policy_to_the_policy_term(self, graded):
        moved = {}
        for coefficient in (0.0, 5.0):
            policy = new_policy()
            settings = {"name": "ppo", "value_coefficient": coefficient, **NO_TERMS}
            trainer = TrainStep(policy, recipe(settings))
            trainer.critic_optimizer.step = lambda: None  # equal values, hence equal advantages
            with torch.no_grad():
                trainer.critic.head.weight.fill_(0.1)  # a gradient would reach the trunk below it
            for _ in range(2):
                trainer.update(graded)
            moved[coefficient] = weights(policy)
        assert torch.equal(moved[0.0], moved[5.0])

    def test_an_own_trunk_is_a_copy_that_learns_by_itself(self, policy, graded):
        trainer = TrainStep(policy, recipe({"name": "ppo", "critic": "own", **NO_TERMS}))
        assert trainer.critic.model is not None
        own, theirs = trainer.critic.model.parameters(), policy.model.parameters()
        assert not {p.data_ptr() for p in own} & {p.data_ptr() for p in theirs}
        before = {name: p.clone() for name, p in trainer.critic.named_parameters()}
        for _ in range(2):
            trainer.update(graded)
        moved = {
            name.partition(".")[0]
            for name, p in trainer.critic.named_parameters()
            if not torch.equal(p, before[name])
        }
        assert moved == {"head", "trunk"}

    def test_a_shared_trunk_is_the_policy_s_and_only_the_head_is_the_critic_s(self, policy):
        critic = TrainStep(policy, recipe({"name": "ppo", "critic": "shared", **NO_TERMS})).critic
        assert critic.model is None
        assert [name for name, _ in critic.named_parameters()] == ["head.weight", "head.bias"]

    def test_a_shared_trunk_learns_from_both(self, graded):
        moved = {}
        for coefficient in (0.0, 5.0):
            policy = new_policy()
            settings = {
                "name": "ppo", "critic": "shared", "value_coefficient": coefficient, **NO_TERMS,
            }  # fmt: skip
            trainer = TrainStep(policy, recipe(settings))
            for _ in range(2):  # the head begins at zero and passes nothing on before it has moved
                trainer.update(graded)
            moved[coefficient] = weights(policy)
        assert not torch.equal(moved[0.0], moved[5.0])

    def test_the_gradient_does_not_depend_on_the_split(self, graded):
        moved = []
        for budget in (1, 10**6):
            policy = new_policy()
            settings = {"name": "ppo", "critic": "shared", **NO_TERMS}
            TrainStep(policy, recipe(settings, {"micro_batch_tokens": budget})).update(graded)
            moved.append(weights(policy))
        assert torch.allclose(*moved, atol=2e-5)


@pytest.mark.parametrize(
    "algorithm",
    [{"name": "grpo"}, {"name": "ppo"}, {"name": "ppo", "critic": "shared"}],
    ids=["grpo", "own critic", "shared critic"],
)
def test_prompts_computed_once_give_the_gradients_of_the_padded_computation(
    algorithm, graded, monkeypatch
):
    def gradients():
        policy = new_policy()
        trainer = TrainStep(policy, recipe({**algorithm, "kl_coefficient": 0.1}))
        if trainer.critic is not None:  # at zero it would pass nothing on to a shared trunk
            head = trainer.critic.head.weight.data
            head.copy_(torch.linspace(-1, 1, head.numel())[None] / 8)
        seen = {}

        def record(who, parameters):
            seen[who] = torch.cat([p.grad.flatten() for p in parameters])

        critic = [] if trainer.critic is None else trainer.critic.parameters()
        with monkeypatch.context() as patch:
            learners = [("policy", trainer.optimizer, list(policy.model.parameters()))]
            if critic:
                learners.append(("critic", trainer.critic_optimizer, critic))
            for who, optimizer, parameters in learners:
                patch.setattr(optimizer, "step", lambda w=who, p=parameters: record(w, p))
            trainer.update(graded)
        return seen

    shared = gradients()
    for module in (logprobs, forward):
        monkeypatch.setattr(module, "unsupported", lambda model: "told not to")
    padded = gradients()
    assert shared.keys() == padded.keys()
    for who, gradient in padded.items():
        assert gradient.norm() > 0
        assert (shared[who] - gradient).norm() < 1e-5 * gradient.norm(), who


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "ppo"},
        {"name": "ppo", "critic": "shared"},
        {"reference_refresh_every": 2},
        {"entropy_target": 50.0},
    ],
    ids=["own critic", "shared critic", "refreshed reference", "entropy target"],
)
def test_a_step_after_a_restored_state_is_the_step_it_would_have_been(algorithm, graded):
    config = recipe(algorithm, rate=0.01)
    straight = TrainStep(new_policy(), config)
    for _ in range(3):
        straight.update(graded)
    state = straight.state()
    state = LearnerState({n: t.detach().clone() for n, t in state.tensors.items()}, state.values)
    saved = {n: t.clone() for n, t in straight.policy.model.state_dict().items()}
    optimizer = state_tensors(straight.optimizer)
    resumed = TrainStep(new_policy(), config)
    resumed.policy.model.load_state_dict(saved)
    load_state_tensors(resumed.optimizer, optimizer)
    resumed.load_state(state)
    for _ in range(2):
        assert resumed.update(graded).metrics == straight.update(graded).metrics
    assert torch.equal(weights(resumed.policy), weights(straight.policy))


def test_a_state_of_another_learner_is_refused(graded):
    own = TrainStep(new_policy(), recipe({"name": "ppo"})).state()
    with pytest.raises(KeyError):
        TrainStep(new_policy(), recipe({"name": "ppo"})).load_state(LearnerState({}, own.values))


def test_a_critic_that_explodes_skips_the_whole_update(policy, graded):
    trainer = TrainStep(policy, recipe({"name": "ppo", **NO_TERMS}))
    before = weights(policy)
    with torch.no_grad():
        trainer.critic.head.bias.fill_(math.inf)
    metrics = trainer.update(graded).metrics
    assert metrics["train/skipped_updates"] == 1
    assert torch.equal(weights(policy), before)
    assert all(math.isfinite(value) for value in metrics.values())
