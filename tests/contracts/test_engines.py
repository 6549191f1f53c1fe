"""What every rollout engine promises, checked for every entry of the registry."""

import pytest
import torch

from oneshot_rlvr.policy import sequence_logprobs
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import ENGINES, Engine, Sampling, StreamKey, make_engine
from oneshot_rlvr.types import Example, Prompt

ALL_ENGINES = [
    pytest.param(name, marks=pytest.mark.vllm) if name == "vllm" else name for name in ENGINES
]
# "scripted" samples from a written distribution, not from the policy's model.
MODEL_ENGINES = [engine for engine in ALL_ENGINES if engine != "scripted"]
KEY = StreamKey(seed=1, purpose="test", step=4)


def prompts_of(*texts):
    return [
        Prompt(row, Example(str(row), text, "a"), tuple(text.encode()))
        for row, text in enumerate(texts)
    ]


def small_policy(architecture, seed):
    # Heads of 32: vLLM's kernels for CPUs know no smaller ones.
    return random_policy(architecture, seed=seed, hidden=128)


PROMPTS = prompts_of("2+2=", "What is 3*4?", "2+2=", "x")


@pytest.fixture(scope="module")
def policy():
    return small_policy("qwen2", seed=3)


def test_the_registry_holds_the_engines_that_ship():
    ship = {"auto", "shared_prefix", "hf", "scripted", "vllm"}
    assert set(ENGINES) == ship, (
        f"rollouts/__init__.py:ENGINES and the names in this test differ in {set(ENGINES) ^ ship}"
    )


@pytest.mark.parametrize("name", ALL_ENGINES)
def test_rollouts_come_ordered_with_everything_filled_in(name, policy):
    engine = make_engine(name, policy)
    assert isinstance(engine, Engine)
    rollouts = engine.generate(PROMPTS, 3, Sampling(1.0, 9), KEY)
    assert [(r.row, r.index) for r in rollouts] == [(p, g) for p in range(4) for g in range(3)]
    for r in rollouts:
        assert r.prompt_tokens == PROMPTS[r.row].tokens
        assert r.example_id == PROMPTS[r.row].example.id
        assert 1 <= len(r.tokens) <= 9
        assert len(r.logprobs) == len(r.tokens)
        assert all(logprob <= 0 for logprob in r.logprobs)
        assert all(isinstance(token, int) for token in r.tokens)
        assert r.finished == (r.tokens[-1] in policy.eos_ids)
        assert all(token not in policy.eos_ids for token in r.tokens[:-1])
        assert r.finished or len(r.tokens) == 9


@pytest.mark.parametrize("name", ALL_ENGINES)
def test_the_same_call_gives_the_same_rollouts_and_another_key_others(name, policy):
    engine = make_engine(name, policy)
    first = engine.generate(PROMPTS, 2, Sampling(1.0, 12), KEY)
    assert engine.generate(PROMPTS, 2, Sampling(1.0, 12), KEY) == first
    other = engine.generate(PROMPTS, 2, Sampling(1.0, 12), StreamKey(1, "test", 5))
    assert [r.tokens for r in other] != [r.tokens for r in first]


@pytest.mark.parametrize("name", ALL_ENGINES)
def test_no_two_rollouts_of_a_prompt_share_a_stream(name, policy):
    rollouts = make_engine(name, policy).generate(
        prompts_of("same", "same"), 8, Sampling(1.0, 12), KEY
    )
    assert len({r.tokens for r in rollouts}) == 16


ARCHITECTURES = ["qwen2", "qwen3", "llama", "gpt2"]
# shared_prefix knows Llama, Qwen2 and Qwen3; that it refuses others is tested where it lives.
PAIRS = [(n, a) for n in ENGINES for a in ARCHITECTURES if n != "scripted"]
KNOWN = [
    pytest.param(*pair, marks=pytest.mark.vllm) if pair[0] == "vllm" else pair
    for pair in PAIRS
    if pair != ("shared_prefix", "gpt2")
]


@pytest.mark.parametrize(("name", "architecture"), KNOWN)
def test_greedy_tokens_equal_hf_generate(name, architecture):
    policy = small_policy(architecture, seed=5)
    rollouts = make_engine(name, policy).generate(PROMPTS, 1, Sampling(0.0, 25), KEY)
    for rollout in rollouts:
        ids = torch.tensor([rollout.prompt_tokens])
        with torch.inference_mode():
            expected = policy.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=25, do_sample=False
            )
        assert list(rollout.tokens) == expected[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("name", MODEL_ENGINES)
def test_greedy_tokens_under_a_penalty_equal_hf_generate(name, policy):
    sampling = Sampling(0.0, 25, repetition_penalty=1.4)
    plain = make_engine(name, policy).generate(PROMPTS, 1, Sampling(0.0, 25), KEY)
    penalised = make_engine(name, policy).generate(PROMPTS, 1, sampling, KEY)
    assert [r.tokens for r in plain] != [r.tokens for r in penalised]
    for rollout in penalised:
        ids = torch.tensor([rollout.prompt_tokens])
        with torch.inference_mode():
            expected = policy.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=25, do_sample=False,
                repetition_penalty=1.4,
            )  # fmt: skip
        assert list(rollout.tokens) == expected[0, ids.shape[1] :].tolist()


CUT = [{"top_p": 0.7}, {"top_k": 5}, {"min_p": 0.2}, {"top_k": 9, "top_p": 0.9},
       {"repetition_penalty": 1.3, "top_p": 0.8}]  # fmt: skip


@pytest.mark.parametrize("settings", CUT, ids=str)
@pytest.mark.parametrize("name", MODEL_ENGINES)
def test_logprobs_are_those_of_what_transformers_would_draw_from(name, settings, policy):
    from transformers.generation import logits_process as theirs

    rollouts = make_engine(name, policy).generate(PROMPTS, 5, Sampling(0.8, 12, **settings), KEY)
    for r in rollouts:
        ids = torch.tensor([[*r.prompt_tokens, *r.tokens]])
        with torch.inference_mode():
            logits = policy.model(ids).logits[0].double()
        for place, token in enumerate(r.tokens):
            before = ids[:, : len(r.prompt_tokens) + place]
            row = logits[before.shape[1] - 1][None]
            if penalty := settings.get("repetition_penalty"):
                row = theirs.RepetitionPenaltyLogitsProcessor(penalty)(before, row)
            row = theirs.TemperatureLogitsWarper(0.8)(before, row)
            for key, warper in (
                ("top_k", theirs.TopKLogitsWarper),
                ("top_p", theirs.TopPLogitsWarper),
                ("min_p", theirs.MinPLogitsWarper),
            ):
                if key in settings:
                    row = warper(settings[key], min_tokens_to_keep=1)(before, row)
            expected = float(row.log_softmax(-1)[0, token])
            assert r.logprobs[place] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", MODEL_ENGINES)
def test_logprobs_equal_a_recomputation(name, temperature, policy):
    rollouts = make_engine(name, policy).generate(PROMPTS, 9, Sampling(temperature, 30), KEY)
    for r in rollouts:
        ids = torch.tensor([[*r.prompt_tokens, *r.tokens]])
        with torch.inference_mode():
            logits = policy.model(ids).logits[0, len(r.prompt_tokens) - 1 : -1].double()
        logs = (logits / temperature).log_softmax(-1)
        expected = logs.gather(1, torch.tensor(r.tokens)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(r.logprobs, dtype=torch.float64), expected, atol=1e-4)


@pytest.mark.parametrize("name", MODEL_ENGINES)
def test_new_weights_are_used_at_once(name):
    policy = small_policy("qwen2", seed=3)
    engine = make_engine(name, policy)
    before = engine.generate(PROMPTS, 1, Sampling(0.0, 8), KEY)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    after = engine.generate(PROMPTS, 1, Sampling(0.0, 8), KEY)
    fresh = make_engine(name, policy).generate(PROMPTS, 1, Sampling(0.0, 8), KEY)
    assert after == fresh
    assert [r.tokens for r in after] != [r.tokens for r in before]


@pytest.mark.parametrize("name", MODEL_ENGINES)
def test_sync_turns_to_another_policy(name, policy):
    other = small_policy("qwen2", seed=4)
    engine = make_engine(name, policy)
    engine.sync(other)
    synced = engine.generate(PROMPTS, 1, Sampling(0.0, 8), KEY)
    assert synced == make_engine(name, other).generate(PROMPTS, 1, Sampling(0.0, 8), KEY)


@pytest.mark.parametrize("name", MODEL_ENGINES)
def test_sampled_logprobs_are_those_of_the_trainer(name, policy):
    rollouts = make_engine(name, policy).generate(PROMPTS, 4, Sampling(0.8, 15), KEY)
    scores = sequence_logprobs(
        policy.model,
        [r.prompt_tokens for r in rollouts],
        [r.tokens for r in rollouts],
        0.8,
        pad_id=policy.pad_id,
    )
    for r, logprobs in zip(rollouts, scores.logprobs_N_T.tolist(), strict=True):
        assert logprobs[: len(r.tokens)] == pytest.approx(r.logprobs, abs=1e-4)


@pytest.mark.parametrize("name", ALL_ENGINES)
def test_nothing_to_do_is_done(name, policy):
    assert make_engine(name, policy).generate([], 4, Sampling(1.0, 5), KEY) == []
