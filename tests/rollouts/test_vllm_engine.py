"""vLLM as an engine, beyond what all engines promise: weights, prefixes, seeds, manners."""

import json
import logging
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from oneshot_rlvr.config import LoraConfig, RolloutsConfig, VLLMConfig
from oneshot_rlvr.errors import ConfigError, MissingDependencyError, ModelError
from oneshot_rlvr.policy import sequence_logprobs
from oneshot_rlvr.policy.lora import adapter_tensors, add_adapters, without_adapters
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import ENGINES, Sampling, StreamKey, make_engine
from oneshot_rlvr.types import Example, Prompt

KEY = StreamKey(seed=5, purpose="vllm", step=2)
# Longer than a block of vLLM's cache (128 positions on a CPU): shorter prompts are never cached.
LONG = tuple((7 * i + 3) % 250 for i in range(300))


def prompt(row, tokens):
    return Prompt(row, Example(str(row), "", ""), tuple(tokens))


def gap(policy, rollouts, temperature):
    """Largest difference between the rollouts' log-probabilities and the policy's own."""
    scores = sequence_logprobs(
        policy.model,
        [r.prompt_tokens for r in rollouts],
        [r.tokens for r in rollouts],
        temperature,
        pad_id=policy.pad_id,
        with_entropy=False,
    )
    return max(
        abs(ours - theirs)
        for r, ours_T in zip(rollouts, scores.logprobs_N_T.tolist(), strict=True)
        for ours, theirs in zip(ours_T[: len(r.tokens)], r.logprobs, strict=True)
    )


def shift(policy, size=0.1):
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(size * torch.randn_like(parameter))


@pytest.fixture
def policy():
    torch.manual_seed(0)  # of what the tests add to its weights
    return random_policy("qwen2", seed=3, hidden=128, tie_word_embeddings=True)


@pytest.mark.vllm
def test_a_changed_weight_changes_what_a_cached_prompt_is_answered_with(policy):
    engine = make_engine("vllm", policy)
    for _ in range(3):
        rollouts = engine.generate([prompt(0, LONG)], 4, Sampling(1.0, 12), KEY)
        assert gap(policy, rollouts, 1.0) < 1e-4
        shift(policy)


@pytest.mark.vllm
def test_a_prefix_that_is_not_forgotten_would_show_in_the_logprobs(policy, monkeypatch):
    from oneshot_rlvr.rollouts import vllm_engine

    engine = make_engine("vllm", policy)
    engine.generate([prompt(0, LONG)], 4, Sampling(1.0, 12), KEY)
    monkeypatch.setattr(vllm_engine._Running, "forget_prefixes", lambda self: None)
    shift(policy)
    stale = engine.generate([prompt(0, LONG)], 4, Sampling(1.0, 12), KEY)
    assert gap(policy, stale, 1.0) > 0.1


@pytest.mark.vllm
@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_reaches_vllm(tied):
    torch.manual_seed(0)
    policy = random_policy("qwen2", seed=1, hidden=128, tie_word_embeddings=tied)
    engine = make_engine("vllm", policy)
    for name, parameter in policy.model.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(0.2 * torch.randn_like(parameter))
        rollouts = engine.generate([prompt(0, (1, 2, 3))], 2, Sampling(1.0, 6), KEY)
        assert gap(policy, rollouts, 1.0) < 1e-4, name
        with torch.no_grad():
            parameter.copy_(before)


@pytest.mark.vllm
def test_adapters_are_part_of_the_weights(policy):
    add_adapters(policy.model, LoraConfig(rank=4, alpha=8.0), seed=0)
    engine = make_engine("vllm", policy)
    before = engine.generate([prompt(0, LONG)], 2, Sampling(0.0, 8), KEY)
    with torch.no_grad():
        for parameter in adapter_tensors(policy.model).values():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    after = engine.generate([prompt(0, LONG)], 2, Sampling(0.0, 8), KEY)
    assert gap(policy, after, 1.0) < 1e-4
    with without_adapters(policy.model):
        assert gap(policy, after, 1.0) > 0.1
    assert [r.logprobs for r in after] != [r.logprobs for r in before]


def small_update(policy, size):
    """Adapters moved by a few steps of 1e-5: what they change is far below bfloat16's spacing."""
    with torch.no_grad():
        for name, parameter in adapter_tensors(policy.model).items():
            if "lora_B" in name:
                parameter.copy_(size * torch.randn_like(parameter).sign())


@pytest.mark.vllm
def test_in_bfloat16_the_whole_update_is_sampled_from():
    """Merged bfloat16 weights kept 6.5 % of an update of 5 steps of 1e-5."""
    torch.manual_seed(0)
    policy = random_policy("qwen2", seed=3, hidden=128, dtype=torch.bfloat16)
    add_adapters(policy.model, LoraConfig(rank=8, alpha=16.0), seed=0)
    engine = make_engine("vllm", policy, RolloutsConfig(vllm=VLLMConfig(dtype="bfloat16")))
    asked = [prompt(row, LONG[row : row + 40]) for row in range(8)]

    def told(rollouts):
        return torch.tensor([value for r in rollouts for value in r.logprobs])

    base = engine.generate(asked, 1, Sampling(0.0, 1), KEY)
    small_update(policy, 2e-4)
    moved = engine.generate(asked, 1, Sampling(0.0, 1), KEY)
    assert engine_has_adapters_beside()
    assert (told(moved) - told(base)).abs().max() > 0  # merged and rounded, nearly all is lost
    small_update(policy, 5e-2)
    far = engine.generate(asked, 1, Sampling(0.0, 1), KEY)
    assert gap(policy, far, 1.0) < 0.1


def engine_has_adapters_beside():
    from oneshot_rlvr.rollouts import vllm_engine

    return vllm_engine._running.beside is not None


@pytest.mark.vllm
@pytest.mark.parametrize("tied", [True, False])
def test_an_adapted_head_is_sampled_in_merged_float32_weights(tied):
    torch.manual_seed(0)
    policy = random_policy(
        "qwen2", seed=3, hidden=128, dtype=torch.bfloat16, tie_word_embeddings=tied
    )
    add_adapters(policy.model, LoraConfig(rank=4, alpha=8.0, targets=["lm_head"]), seed=0)
    with torch.no_grad():
        for parameter in adapter_tensors(policy.model).values():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    engine = make_engine("vllm", policy)
    rollouts = engine.generate([prompt(0, LONG[:20])], 4, Sampling(1.0, 6), KEY)
    assert not engine_has_adapters_beside()
    assert gap(policy, rollouts, 1.0) < 0.4  # the trainer's states are bfloat16
    with without_adapters(policy.model):
        assert gap(policy, rollouts, 1.0) > 1.0


@pytest.mark.vllm
def test_a_weight_that_does_not_reach_vllm_is_found_before_the_first_rollout(policy, monkeypatch):
    from oneshot_rlvr.rollouts import vllm_engine

    whole = vllm_engine.weights
    monkeypatch.setattr(
        vllm_engine,
        "weights",
        lambda *a, **k: (w for w in whole(*a, **k) if "down_proj" not in w[0]),
    )
    vllm_engine._stop()
    with pytest.raises(ModelError, match="does not compute this model"):
        make_engine("vllm", policy)


@pytest.mark.vllm
def test_a_rollout_keeps_its_seed_in_any_company(policy):
    from oneshot_rlvr.rollouts.vllm_engine import seeds

    rows = [prompt(row, (row + 1, 2, 3)) for row in (4, 9)]
    both = seeds(rows, 3, KEY)
    assert len(set(both)) == 6
    assert seeds(rows[1:], 3, KEY) == both[3:]
    assert seeds(rows, 2, KEY) == [both[0], both[1], both[3], both[4]]
    assert not set(seeds(rows, 3, replace(KEY, step=3))) & set(both)
    engine = make_engine("vllm", policy)
    together = engine.generate(rows, 3, Sampling(1.0, 10), KEY)
    alone = engine.generate(rows[1:], 2, Sampling(1.0, 10), KEY)
    assert [r.tokens for r in alone] == [r.tokens for r in together[3:5]]


@pytest.mark.vllm
def test_tokens_come_as_often_as_the_temperature_says():
    policy = random_policy("qwen2", seed=3, hidden=128, scale=0.1)
    rollouts = make_engine("vllm", policy).generate(
        [prompt(0, (1, 2, 3))], 3000, Sampling(0.7, 1), KEY
    )
    with torch.inference_mode():
        logits = policy.model(torch.tensor([[1, 2, 3]])).logits[0, -1].double()
    expected_V = (logits / 0.7).softmax(-1).numpy()
    seen_V = np.bincount([r.tokens[0] for r in rollouts], minlength=len(expected_V)) / 3000
    # Four standard deviations of a frequency; some of the 259 are that far by chance once in 60.
    allowed_V = 4.5 * np.sqrt(expected_V * (1 - expected_V) / 3000) + 1 / 3000
    assert (np.abs(seen_V - expected_V) <= allowed_V).all()
    assert expected_V.max() < 0.9  # so that it was not all one token


@pytest.mark.vllm
@pytest.mark.parametrize(
    "cut", [{"top_p": 0.7}, {"top_k": 3}, {"min_p": 0.2}, {"top_k": 9, "min_p": 0.1}], ids=str
)
def test_logprobs_are_of_the_cut_distribution(policy, cut):
    from oneshot_rlvr.policy.truncation import truncate

    sampling = Sampling(0.9, 8, **cut)
    for r in make_engine("vllm", policy).generate([prompt(0, (5, 6, 7))], 6, sampling, KEY):
        ids = torch.tensor([[*r.prompt_tokens, *r.tokens]])
        with torch.inference_mode():
            logits = policy.model(ids).logits[0, 2:-1].double() / 0.9
        logs = truncate(logits, **cut).log_softmax(-1)
        expected = logs.gather(1, torch.tensor(r.tokens)[:, None])[:, 0]
        assert r.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.vllm
def test_top_p_beside_min_p_is_refused_because_vllm_orders_them_otherwise(policy):
    with pytest.raises(ConfigError, match=r"vLLM cuts by min_p first.*Give one of them"):
        make_engine("vllm", policy).generate(
            [prompt(0, LONG)], 1, Sampling(1.0, 4, top_p=0.9, min_p=0.1), KEY
        )


@pytest.mark.vllm
def test_two_policies_take_turns(policy):
    other = random_policy("qwen2", seed=8, hidden=128, tie_word_embeddings=True)
    first, second = make_engine("vllm", policy), make_engine("vllm", other)
    for engine, own in [(first, policy), (second, other), (first, policy)]:
        rollouts = engine.generate([prompt(0, LONG)], 2, Sampling(1.0, 6), KEY)
        assert gap(own, rollouts, 1.0) < 1e-4


@pytest.mark.vllm
def test_a_sleeper_answers_as_before(policy):
    # Nothing is freed on a CPU; the order of sleeping, waking and loading is the GPU's.
    from oneshot_rlvr.rollouts import vllm_engine

    engine = make_engine("vllm", policy)
    expected = engine.generate([prompt(0, LONG)], 3, Sampling(1.0, 8), KEY)
    vllm_engine._running.sleeps = True
    vllm_engine._running.llm.sleep(level=2)
    try:
        assert engine.generate([prompt(0, LONG)], 3, Sampling(1.0, 8), KEY) == expected
        assert engine.generate([prompt(0, LONG)], 3, Sampling(1.0, 8), KEY) == expected
    finally:
        vllm_engine._stop()


@pytest.mark.vllm
def test_what_vllm_cannot_hold_is_refused_before_it_is_asked(policy):
    tight = RolloutsConfig(vllm=VLLMConfig(cache_gibibytes=0.001))
    engine = make_engine("vllm", policy, tight)
    with pytest.raises(ConfigError, match=r"may take 300 \+ 1700 tokens .*cache_gibibytes"):
        engine.generate([prompt(0, LONG)], 2, Sampling(1.0, 1700), KEY)
    assert len(engine.generate([prompt(0, LONG)], 2, Sampling(1.0, 5), KEY)) == 2


@pytest.mark.vllm
def test_a_model_that_vllm_cannot_run_is_refused_with_the_way_out():
    with pytest.raises(ModelError, match=r"head_dim.*Set rollouts.engine"):
        make_engine("vllm", random_policy("qwen2", hidden=32))  # heads of 8


@pytest.mark.vllm
def test_after_an_interrupted_call_the_next_one_is_whole(policy, monkeypatch):
    from oneshot_rlvr.rollouts import vllm_engine

    engine = make_engine("vllm", policy)
    expected = engine.generate([prompt(0, LONG)], 3, Sampling(1.0, 8), KEY)
    step = vllm_engine._running.llm.llm_engine.step

    def interrupted():
        step()
        raise KeyboardInterrupt

    monkeypatch.setattr(vllm_engine._running.llm.llm_engine, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.generate([prompt(1, LONG)], 3, Sampling(1.0, 8), KEY)
    assert engine.generate([prompt(0, LONG)], 3, Sampling(1.0, 8), KEY) == expected


@pytest.mark.vllm
def test_starting_vllm_leaves_the_process_as_it_was(policy):
    from oneshot_rlvr.rollouts import vllm_engine

    vllm_engine._stop()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    drawn = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    loader = {name: os.environ.get(name) for name in ("LD_PRELOAD", "LD_LIBRARY_PATH")}
    threads = torch.get_num_threads()
    make_engine("vllm", policy)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == drawn
    assert {name: os.environ.get(name) for name in loader} == loader
    assert torch.get_num_threads() == threads
    torch.set_num_threads(threads + 1)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)


@pytest.mark.vllm
@pytest.mark.timeout(900)
@pytest.mark.parametrize("trained", [{}, {"model.lora.rank": 4}])
def test_a_run_through_vllm_learns_from_the_same_logprobs(tmp_path, trained):
    run = tmp_path / "run"
    overrides = {
        "rollouts.engine": "vllm", "rollouts.prompts_per_step": 4, "train.steps": 3,
        "evaluation.validation.questions": 1, "evaluation.validation.samples": 1,
        "evaluation.test.questions": 1, "evaluation.test.samples": 1, **trained,
    }  # fmt: skip
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from oneshot_rlvr.cli import main; sys.exit(main())",
         "train", "tiny_one_shot", "--out", str(run), *words],
        capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(0 < step["train/logprob_gap"] < 1e-3 for step in steps)
    assert all(step["train/tokens"] > 32 * 10 for step in steps)
    assert json.loads((run / "run.json").read_text())["info"]["engine"] == "vllm"


@pytest.fixture
def no_vllm(monkeypatch):
    """As where vLLM is not installed."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "oneshot_rlvr.rollouts.vllm_engine", raising=False)


def test_without_vllm_the_extra_is_named(no_vllm):
    with pytest.raises(MissingDependencyError, match=r'pip install "oneshot-rlvr\[vllm\]"'):
        ENGINES.load("vllm")


def test_auto_on_a_gpu_without_vllm_falls_back_and_says_why(no_vllm, caplog):
    policy = replace(random_policy("llama"), device=torch.device("cuda"))
    with caplog.at_level(logging.WARNING):
        assert make_engine("auto", policy).name == "shared_prefix"
    assert "do not use vLLM" in caplog.text
    assert "oneshot-rlvr[vllm]" in caplog.text


def test_auto_on_a_gpu_takes_the_next_engine_where_vllm_refuses_the_model(caplog, monkeypatch):
    def refuses(policy, rollouts=None):
        raise ModelError("vLLM 0 does not start with it: no such kernel.")

    monkeypatch.setattr(type(ENGINES), "load", lambda self, name: refuses)
    from oneshot_rlvr.rollouts.auto import make_auto_engine

    policy = replace(random_policy("llama"), device=torch.device("cuda"))
    with caplog.at_level(logging.WARNING):
        assert make_auto_engine(policy).name == "shared_prefix"
    assert "no such kernel" in caplog.text
