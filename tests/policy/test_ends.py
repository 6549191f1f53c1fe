"""Which tokens end a rollout: the model's, the tokenizer's, and the chat template's."""

import logging

import pytest
import torch

from oneshot_rlvr.policy import make_policy
from oneshot_rlvr.policy.ends import end_ids, saved_end_ids, turn_end
from oneshot_rlvr.policy.random_model import byte_tokenizer, random_policy
from oneshot_rlvr.rollouts import make_engine
from oneshot_rlvr.rollouts.engine import Sampling
from oneshot_rlvr.rollouts.randomness import StreamKey
from oneshot_rlvr.types import Example, Prompt

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IM_START, IM_END, END_OF_TEXT = 256, 257, 258


def base_tokenizer(template=CHATML):
    """As base models have it: the end of text is not the end of a turn."""
    tokenizer = byte_tokenizer(template)
    tokenizer.eos_token = "<|endoftext|>"
    return tokenizer


def base_policy(template=CHATML, **options):
    policy = random_policy("qwen2", tokenizer=base_tokenizer(template))
    for config in (policy.model.config, policy.model.generation_config):
        config.eos_token_id = END_OF_TEXT
    return make_policy(policy.model, policy.tokenizer, name="base", **options)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, IM_END),
        # A thinking template writes into the turn before what was said.
        ("{% for m in messages %}<think>\n\n</think>{{ m.content }}<|im_end|>{% endfor %}", IM_END),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }} <|endoftext|>{% endfor %}", 258),
        # Ordinary text behind a turn, nothing, or a template that refuses: no token ends it.
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}", None),
        (
            "{% for m in messages %}{{ m.content }}{% if not loop.last %}\n{% endif %}{% endfor %}",
            None,
        ),
        ("{{ raise_exception('no assistants here') }}", None),
        (None, None),
    ],
)
def test_the_template_tells_the_token_that_ends_a_turn(template, end):
    assert turn_end(base_tokenizer(template)) == end


def test_a_base_model_s_rollouts_end_with_the_turn_too_and_a_warning_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        policy = base_policy()
    assert policy.eos_ids == (IM_END, END_OF_TEXT)
    assert "ends an assistant's turn with '<|im_end|>' (id 257)" in caplog.text
    assert "[258]" in caplog.text


def test_no_warning_where_the_model_ends_with_the_turn(caplog):
    with caplog.at_level(logging.WARNING):
        assert random_policy("qwen2", tokenizer=byte_tokenizer(CHATML)).eos_ids == (IM_END,)
    assert not caplog.text


def test_bare_prompts_have_no_turns_to_end():
    assert base_policy(chat_template="none").eos_ids == (END_OF_TEXT,)


def test_a_model_on_the_disk_is_read_the_same(tmp_path):
    policy = base_policy()
    policy.model.save_pretrained(tmp_path)
    assert saved_end_ids(policy.tokenizer, str(tmp_path)) == (IM_END, END_OF_TEXT)
    assert saved_end_ids(policy.tokenizer, str(tmp_path), template=False) == (END_OF_TEXT,)
    assert end_ids(byte_tokenizer(), name="m") == (IM_END,)


@pytest.mark.parametrize("engine", ["hf", "shared_prefix"])
def test_a_rollout_ends_at_the_end_of_its_turn_and_no_invented_turn_is_graded(engine):
    policy = base_policy()
    with torch.no_grad():  # a model that ends its turn at once, and would then go on
        policy.model.lm_head = torch.nn.Linear(32, 259)
        policy.model.lm_head.weight.zero_()
        policy.model.lm_head.bias.fill_(-30.0)
        policy.model.lm_head.bias[IM_END] = 30.0
    prompt = Prompt(0, Example("a", "q", "1"), (IM_START, 97, 98))
    rollouts = make_engine(engine, policy).generate(
        [prompt], 2, Sampling(1.0, 8), StreamKey(0, "rollouts")
    )
    assert [(r.tokens, r.text, r.finished) for r in rollouts] == [((IM_END,), "", True)] * 2
