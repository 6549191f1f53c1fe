"""The bare question on verl begins as the model's own tokenizer begins a text."""

import pytest

from oneshot_rlvr.backends.verl.export import placeless
from oneshot_rlvr.backends.verl.inputs import target_for
from oneshot_rlvr.backends.verl.translate import BARE_TEMPLATE, translate
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.examples.prompting import encode_prompts
from oneshot_rlvr.policy import save_policy
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.types import Example


@pytest.mark.parametrize("adds", [False, True])
def test_the_bare_template_has_a_beginning_of_text_where_the_tokenizer_adds_it(adds, tmp_path):
    from tokenizers import processors
    from transformers import AutoTokenizer

    policy = random_policy("llama")
    tokenizer = policy.tokenizer
    if adds:
        bos = tokenizer.bos_token
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
    save_policy(policy, tmp_path / "model")
    recipe = load_recipe(
        "tiny_one_shot",
        {"model.path": str(tmp_path / "model"), "model.chat_template": "none"},
    )
    target = target_for(recipe, placeless(tmp_path, False), "cpu")
    assert target.opens is adds
    template = translate(recipe, target)["actor_rollout_ref.model.custom_chat_template"]
    assert template == BARE_TEMPLATE[adds]
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    example = Example("a", "Hi", "1", messages=({"role": "user", "content": "Hi"},) * 2)
    (tokens,) = encode_prompts([example], loaded, 100, "none")
    loaded.chat_template = template  # what verl does with it
    theirs = loaded.apply_chat_template(
        example.chat(), add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert list(tokens) == list(theirs["input_ids"])
    assert (tokens[0] == loaded.bos_token_id) is adds
