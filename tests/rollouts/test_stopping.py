"""Stop texts: where answers are cut, whoever looks and whenever."""

import dataclasses

import pytest
import torch

from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey
from oneshot_rlvr.rollouts.engine import to_rollouts
from oneshot_rlvr.rollouts.hf import HFEngine
from oneshot_rlvr.rollouts.scripted import AnsweringEngine, ScriptedEngine
from oneshot_rlvr.rollouts.shared_prefix import SharedPrefixEngine
from oneshot_rlvr.types import Example, Prompt

KEY = StreamKey(seed=2, purpose="stops", step=0)
PROMPTS = [Prompt(r, Example(str(r), t, ""), tuple(t.encode())) for r, t in enumerate("ab")]


@pytest.fixture(scope="module")
def policy():
    return random_policy("qwen2", seed=3, scale=0.1)


def of_text(policy, text, stop, end=True):
    ids = policy.tokenizer.encode(text, add_special_tokens=False)
    ids += list(policy.eos_ids[:1]) if end else []
    (rollout,) = to_rollouts(
        PROMPTS[:1], 1, [ids], [[-1.0] * len(ids)], policy.eos_ids, policy.tokenizer, stop
    )
    return rollout


def test_the_text_ends_before_the_first_stop_text_and_the_tokens_with_it(policy):
    rollout = of_text(policy, "one two\n\nQ: three", ["Q:", "\n\n"], end=False)
    assert rollout.text == "one two"
    assert rollout.finished
    assert len(rollout.tokens) == len(rollout.logprobs) == len("one two\n\n")
    assert of_text(policy, "ab", ["ab", "b"]).text == ""


def test_an_answer_without_one_stays_as_it_is(policy):
    for end in (True, False):
        plain, asked = (of_text(policy, "one two", stop, end) for stop in ((), ("three",)))
        assert plain == asked
        assert asked.finished is end


def test_a_stop_text_of_several_bytes_a_letter_is_found(policy):
    assert of_text(policy, "naïve — Ω!", ["— Ω"]).text == "naïve "


@pytest.mark.parametrize("engine_class", [HFEngine, SharedPrefixEngine])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_answers_are_those_without_it_cut_at_the_first(engine_class, dtype, temperature):
    policy = random_policy("qwen2", seed=3, scale=0.1, dtype=dtype)
    policy = dataclasses.replace(policy, eos_ids=(258,))
    engine, groups = engine_class(policy), 1 if temperature == 0 else 20
    asked = Sampling(temperature, 150)
    whole = engine.generate(PROMPTS, groups, asked, KEY)
    stop = (whole[0].text[40:41], "zz")
    cut = engine.generate(PROMPTS, groups, dataclasses.replace(asked, stop=stop), KEY)
    assert sum(len(r.tokens) for r in cut) < sum(len(r.tokens) for r in whole)
    for long, short in zip(whole, cut, strict=True):
        places = [p for words in stop if (p := long.text.find(words)) >= 0]
        assert short.text == (long.text[: min(places)] if places else long.text)
        assert short.tokens == long.tokens[: len(short.tokens)]
        assert short.logprobs == pytest.approx(long.logprobs[: len(short.tokens)], abs=1e-5)
        assert short.finished is (bool(places) or long.finished)


def test_what_has_said_it_is_soon_decoded_no_more(policy, monkeypatch):
    engine, computed = SharedPrefixEngine(policy), []
    from oneshot_rlvr.rollouts import compiled_state

    decode = compiled_state.CompiledState.decode

    def counted(self, *args):
        drawn = decode(self, *args)
        computed.append(self.computed)
        return drawn

    monkeypatch.setattr(compiled_state.CompiledState, "decode", counted)
    one = dataclasses.replace(policy, eos_ids=(258,))
    engine = SharedPrefixEngine(one)
    text = engine.generate(PROMPTS[:1], 1, Sampling(0.0, 200), KEY)[0].text
    engine.generate(PROMPTS[:1], 1, Sampling(0.0, 200, stop=(text[:2],)), KEY)
    assert computed == [199, 32]


def test_scripted_engines_stop_too(policy):
    def spell(_prompt, generated):
        wanted = b"one. two. three."[len(generated) % 16]
        spelled = policy.tokenizer.convert_tokens_to_ids(policy.tokenizer.tokenize(chr(wanted))[0])
        return [50.0 if token == spelled else 0.0 for token in range(259)]

    asked = Sampling(1.0, 100, stop=(" two",))
    for rollout in ScriptedEngine(policy, spell).generate(PROMPTS[:1], 2, asked, KEY):
        assert rollout.text == "one."
    said = AnsweringEngine(policy, {"0": ["x. y"]}).generate(
        PROMPTS[:1], 1, Sampling(1.0, 9, stop=(".",)), KEY
    )
    assert said[0].text == "x"
