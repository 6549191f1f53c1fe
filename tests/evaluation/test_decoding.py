"""Decoding beyond the temperature: asked, recorded, sent to servers, recommended by a model."""

from __future__ import annotations

import json
import tomllib

import pytest

import oneshot_rlvr
from oneshot_rlvr.config import (
    BenchmarkConfig,
    RewardConfig,
    parse_recipe,
    recipe_fields,
    to_toml,
)
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.evaluation import Benchmark, evaluate
from oneshot_rlvr.evaluation.decoding import described, in_words, recommended
from oneshot_rlvr.evaluation.endpoint import Endpoint
from oneshot_rlvr.evaluation.served import evaluate_served
from oneshot_rlvr.examples.prompting import encode_prompts, with_system
from oneshot_rlvr.policy.generation import generation_config_file
from oneshot_rlvr.policy.random_model import byte_tokenizer, random_policy
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rollouts import Sampling, make_engine
from oneshot_rlvr.settings import value_from_text
from oneshot_rlvr.types import Example
from oneshot_rlvr.verbs.subjects import find_benchmark

EXAMPLES = [
    Example(id=f"e{i}", question=f"What is {i}?", answer=str(i), verifier="numeric")
    for i in range(3)
]
BENCHMARK = Benchmark("three", EXAMPLES)
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
    "{% if enable_thinking is defined and not enable_thinking %}(no thoughts){% endif %}"
)
ALL = {
    "temperature": 0.6, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.1, "stop": ["\n\n"],
    "system": "Be short.", "template_arguments": {"enable_thinking": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def policy():
    return random_policy("qwen2", tokenizer=byte_tokenizer(TEMPLATE))


def asked(policy, usual=None, journal=None, **settings):
    seen = []

    class Watched:
        name = "watched"

        def generate(self, prompts, group_size, sampling, key):
            seen.append((sampling, [p.tokens for p in prompts]))
            return make_engine("auto", policy).generate(prompts, group_size, sampling, key)

    config = BenchmarkConfig(benchmark="file", **settings)
    with Scorer(RewardConfig(workers=0), seed=0) as scorer:
        result = evaluate(
            Watched(), policy.tokenizer, scorer, BENCHMARK, config, max_new_tokens=12,
            max_prompt_tokens=200, journal=journal, source="w", prompt="own",
            template_arguments=usual,
        )  # fmt: skip
    return result, seen


def test_an_engine_is_asked_with_all_of_it_and_every_answer_says_so(policy):
    result, seen = asked(policy, **ALL)
    (sampling, tokens), *_ = seen
    assert sampling == Sampling(0.6, 12, 0.9, 20, 0.0, 1.1, ("\n\n",))
    texts = {policy.tokenizer.decode(t) for t in tokens}
    assert "<system>Be short.<user>What is 0?<assistant>(no thoughts)" in texts
    told = {key: value for key, value in ALL.items() if key != "temperature"}
    assert {row["decoding"] for row in result.samples} == {json.dumps(told, sort_keys=True)}
    assert json.loads(result.summary["decoding"]) == told


def test_a_plain_decoding_says_nothing(policy):
    result, _ = asked(policy)
    assert {row["decoding"] for row in result.samples} == {"{}"}
    assert in_words(result.summary["decoding"]) == ""


@pytest.mark.parametrize("key", [key for key in ALL if key != "temperature"])
def test_each_setting_makes_another_evaluation_and_answers_of_its_own(policy, tmp_path, key):
    plain, _ = asked(policy, None, tmp_path / "j.jsonl", temperature=0.6)
    other, seen = asked(policy, None, tmp_path / "j.jsonl", temperature=0.6, **{key: ALL[key]})
    assert other.identity != plain.identity
    assert sum(len(tokens) for _, tokens in seen) == 3  # nothing of the other's was taken
    again, seen = asked(policy, None, tmp_path / "j.jsonl", temperature=0.6, **{key: ALL[key]})
    assert seen == []
    assert (again.identity, again.samples) == (other.identity, other.samples)


def test_the_models_template_arguments_hold_unless_the_benchmark_has_its_own(policy):
    for own, expected in ((None, True), ({}, False), ({"enable_thinking": True}, False)):
        result, seen = asked(policy, {"enable_thinking": False}, template_arguments=own)
        text = policy.tokenizer.decode(seen[0][1][0])
        assert text.endswith("(no thoughts)") is expected
        told = json.loads(result.summary["decoding"]).get("template_arguments")
        assert told == ({"enable_thinking": False} if own is None else own or None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"top_p": 0.0}, "top_p is 0.0; wanted a number > 0 and <= 1"),
        ({"top_k": -1}, "top_k is -1; wanted a whole number >= 0"),
        ({"min_p": 1.5}, "min_p is 1.5; wanted a number >= 0 and <= 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0; wanted a number > 0"),
        ({"temperature": 0.0, "top_p": 0.9}, "top_p is 0.9 at temperature 0, which takes the best"),
        ({"temperature": 0.0, "top_k": 5}, "top_k is 5 at temperature 0"),
        ({"stop": [""]}, "stop has an empty text"),
    ],
)
def test_values_that_mean_nothing_are_one_error(settings, said):
    with pytest.raises(ConfigError) as error:
        parse_recipe({"evaluation": {"test": {"benchmark": "tiny", **settings}}})
    assert said in str(error.value)


def test_a_stop_text_that_texts_never_show_is_refused(policy):
    with pytest.raises(ConfigError, match=r"<\|im_end\|>', a special token"):
        asked(policy, stop=["<|im_end|>"])


def test_template_arguments_that_nothing_reads_are_refused(policy):
    with pytest.raises(ConfigError, match='"think", which the chat template of the tokenizer'):
        asked(policy, template_arguments={"think": True})
    bare = byte_tokenizer()
    with pytest.raises(ConfigError, match="prompts have no chat template that could read it"):
        encode_prompts(EXAMPLES, bare, 99, "auto", {"enable_thinking": False})
    with pytest.raises(ConfigError, match='template_arguments has "tokenize"'):
        encode_prompts(EXAMPLES, policy.tokenizer, 99, "auto", {"tokenize": False})
    with pytest.raises(ConfigError, match='chat_template is "none", so that no template reads'):
        parse_recipe({"model": {"chat_template": "none", "template_arguments": {"a": 1}}})


def test_a_system_turn_takes_the_place_of_the_benchmarks():
    own = Example("a", "Q", "1", messages=({"role": "system", "content": "S"},
                                           {"role": "user", "content": "Q"}))  # fmt: skip
    turns = {
        system: [(t["role"], t["content"]) for t in with_system([own], system)[0].chat()]
        for system in (None, "", "T")
    }
    assert turns == {
        None: [("system", "S"), ("user", "Q")],
        "": [("user", "Q")],
        "T": [("system", "T"), ("user", "Q")],
    }


# Servers


def test_a_server_is_asked_with_all_of_it_and_with_what_is_off_as_neutral_values(servers, tmp_path):
    def ask(journal, **settings):
        config = BenchmarkConfig(benchmark="file", seed=1, **settings)
        with (
            servers.serving(lambda body, before: "\\boxed{1}") as server,
            Scorer(RewardConfig(workers=0), seed=0) as scorer,
        ):
            result = evaluate_served(
                Endpoint(server.url, "m"), scorer, BENCHMARK, config, max_new_tokens=9,
                journal=tmp_path / journal,
            )  # fmt: skip
        return result, server.bodies

    result, bodies = ask("a.jsonl", **ALL, min_p=0.05)
    expected = {
        "top_p": 0.9, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "repeat_penalty": 1.1,
        "stop": ["\n\n"], "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    for body in bodies:
        assert {key: body[key] for key in expected} == expected
        assert body["messages"][0] == {"role": "system", "content": "Be short."}
    assert json.loads(result.samples[0]["decoding"])["min_p"] == 0.05
    plain, bodies = ask("b.jsonl", temperature=0.6)
    off = {key: bodies[0].get(key) for key in expected}
    assert off == {
        "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "repeat_penalty": 1.0,
        "stop": None, "chat_template_kwargs": None,
    }  # fmt: skip
    assert plain.identity != result.identity


def test_template_arguments_of_a_bare_continuation_are_refused(tmp_path):
    config = BenchmarkConfig(benchmark="file", template_arguments={"a": 1})
    with (
        Scorer(RewardConfig(workers=0), seed=0) as scorer,
        pytest.raises(ConfigError, match="sent without a chat template"),
    ):
        evaluate_served(
            Endpoint("http://localhost:1/v1", "m"), scorer, BENCHMARK, config, max_new_tokens=9,
            journal=tmp_path / "j.jsonl", chat_template="none",
        )  # fmt: skip


# What a model recommends


def config_of(tmp_path, **told):
    (tmp_path / "generation_config.json").write_text(json.dumps(told))
    return tmp_path / "generation_config.json"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (  # Qwen3's
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": 1},
            {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
        ),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"temperature": 0.7, "top_k": -1}, {"temperature": 0.7}),
        (  # Qwen2.5-Math's: greedy, whatever else stands there
            {"do_sample": False, "temperature": 0.7, "repetition_penalty": 1.05},
            {"temperature": 0.0, "repetition_penalty": 1.05},
        ),
        ({"repetition_penalty": 1.1}, {"temperature": 0.0, "repetition_penalty": 1.1}),
        ({"do_sample": True, "temperature": 0.0}, {"temperature": 0.0}),
    ],
)
def test_what_a_model_recommends_is_what_its_file_says(tmp_path, told, expected):
    assert recommended(config_of(tmp_path, **told), "m") == expected


def test_a_model_that_recommends_nothing_is_one_error(tmp_path):
    with pytest.raises(ConfigError, match=r"has no generation_config\.json"):
        recommended(generation_config_file(str(tmp_path)), "m")
    with pytest.raises(ConfigError, match="says nothing of decoding"):
        recommended(config_of(tmp_path, eos_token_id=3), "m")
    for broken in ("[1", "[]"):
        (tmp_path / "generation_config.json").write_text(broken)
        with pytest.raises(ConfigError, match="cannot be read as a generation config"):
            recommended(generation_config_file(str(tmp_path)), "m")


def test_given_comes_before_recommended_before_the_recipes_own():
    recipe = parse_recipe(
        {"evaluation": {"test": {"benchmark": "tiny", "samples": 4, "temperature": 1.0,
                                 "top_p": 0.5, "seed": 3}}}
    )  # fmt: skip
    advised = {"temperature": 0.6, "top_k": 20}
    _, config = find_benchmark("tiny", recipe, {"top_k": 5}, recommended=advised)
    assert (config.temperature, config.top_k, config.top_p, config.samples) == (0.6, 5, 0.5, 4)
    _, greedy = find_benchmark("tiny", recipe, {}, recommended={"temperature": 0.0})
    assert (greedy.temperature, greedy.top_p, greedy.samples) == (0.0, 1.0, 1)
    with pytest.raises(ConfigError, match=r"top_p is 0\.9 at temperature 0"):
        find_benchmark("tiny", recipe, {"temperature": 0.0, "top_p": 0.9})


def test_recommended_says_which_and_asks_so(tmp_path):
    policy = random_policy("qwen2")
    policy.model.generation_config.update(do_sample=True, temperature=0.5, top_p=0.8)
    policy.model.save_pretrained(tmp_path / "m")
    policy.tokenizer.save_pretrained(tmp_path / "m")
    notes = []
    result = oneshot_rlvr.evaluate(
        str(tmp_path / "m"), benchmarks=["tiny"], questions=1, max_new_tokens=4, samples=1,
        decoding="recommended", top_k=3, note=notes.append,
    )["tiny"]  # fmt: skip
    assert notes == [
        f"decoding that {tmp_path}/m recommends (generation_config.json): temperature 0.5, "
        "top_p 0.8"
    ]
    assert result.summary["temperature"] == 0.5
    assert json.loads(result.samples[0]["decoding"]) == {"top_p": 0.8, "top_k": 3}
    with pytest.raises(ConfigError, match='decoding is "best"; wanted "benchmark" or'):
        oneshot_rlvr.evaluate(str(tmp_path / "m"), decoding="best")
    with pytest.raises(ConfigError, match="and an endpoint's does not"):
        oneshot_rlvr.evaluate(
            endpoint=Endpoint("http://localhost:1/v1", "m"), decoding="recommended"
        )


def test_a_decoding_in_words():
    config = BenchmarkConfig(temperature=0.6, top_p=0.95, top_k=20, stop=["x"])
    assert in_words(described(config)) == 'stop ["x"], top_k 20, top_p 0.95'
    assert in_words(None) == in_words("not json") == ""


def test_a_recipe_that_says_all_of_it_is_written_and_read_back():
    told = {
        "model": {"template_arguments": {"enable_thinking": False, "budget": 5, "mood": "calm"}},
        "evaluation": {"test": {"benchmark": "tiny", **ALL}},
    }
    recipe = parse_recipe(told)
    assert parse_recipe(tomllib.loads(to_toml(recipe))) == recipe
    assert recipe.model.template_arguments["enable_thinking"] is False
    fields = {field.key: field for field in recipe_fields()}
    for key, text, value in (
        ("evaluation.test.stop", '["a", "b"]', ["a", "b"]),
        ("model.template_arguments", "{enable_thinking = false}", {"enable_thinking": False}),
        ("evaluation.test.top_p", "0.9", 0.9),
    ):
        assert value_from_text(fields[key], text) == value
