"""Examples as tokens: the template where there is one, the bare question elsewhere."""

from __future__ import annotations

import pytest

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples.prompting import encode_prompts
from oneshot_rlvr.types import Example

Q = Example("a", "Hi", "1")
CHAT = ({"role": "system", "content": "S"}, {"role": "user", "content": "Hi"})


class Tokenizer:
    """Characters as tokens; a template that writes role letters, `<u>Hi<a>`."""

    bos_token_id: int | None = None
    adds_bos = True
    chat_template: str | None = "template"

    def __init__(self, system: bool = True):
        self.system = system

    def apply_chat_template(self, conversation, **options):
        assert options == {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
        if not self.system and any(turn["role"] == "system" for turn in conversation):
            raise RuntimeError("System role not supported")
        text = "".join(f"<{turn['role'][0]}>{turn['content']}" for turn in conversation) + "<a>"
        return {"input_ids": [ord(c) for c in text], "attention_mask": [1] * len(text)}

    def encode(self, text, add_special_tokens=True):
        adds = add_special_tokens and self.adds_bos and self.bos_token_id is not None
        return [self.bos_token_id] * adds + [ord(c) for c in text]


def text(tokens: tuple[int, ...]) -> str:
    return "".join(map(chr, tokens))


def test_the_template_opens_the_assistant_s_turn():
    (tokens,) = encode_prompts([Q], Tokenizer(), 100)
    assert text(tokens) == "<u>Hi<a>"


def test_without_a_template_the_question_stands_alone_behind_the_beginning_of_text():
    tokenizer = Tokenizer()
    assert text(encode_prompts([Q], tokenizer, 100, chat_template="none")[0]) == "Hi"
    tokenizer.bos_token_id = 0
    assert encode_prompts([Q], tokenizer, 100, chat_template="none") == [(0, ord("H"), ord("i"))]
    tokenizer.chat_template = None
    assert encode_prompts([Q], tokenizer, 100) == [(0, ord("H"), ord("i"))]


def test_a_beginning_of_text_that_the_tokenizer_never_adds_is_not_added():
    tokenizer = Tokenizer()
    tokenizer.bos_token_id, tokenizer.adds_bos = 0, False
    assert text(encode_prompts([Q], tokenizer, 100, chat_template="none")[0]) == "Hi"


def test_a_bare_chat_is_its_turns_with_a_blank_line_between():
    example = Example("a", "Hi", "1", messages=CHAT)
    assert text(encode_prompts([example], Tokenizer(), 100, chat_template="none")[0]) == "S\n\nHi"


def test_a_system_turn_that_the_template_refuses_opens_the_user_s_turn():
    example = Example("a", "Hi", "1", messages=CHAT)
    assert text(encode_prompts([example], Tokenizer(), 100)[0]) == "<s>S<u>Hi<a>"
    assert text(encode_prompts([example], Tokenizer(system=False), 100)[0]) == "<u>S\n\nHi<a>"


def test_a_chat_that_the_template_refuses_is_told_with_its_id():
    late = (CHAT[1], CHAT[0], CHAT[1])
    with pytest.raises(DataError, match=r'refuses example "a" \(user, system, user\): System role'):
        encode_prompts([Example("a", "Hi", "1", messages=late)], Tokenizer(system=False), 100)


def test_a_prompt_of_exactly_the_limit_fits_and_one_more_is_refused():
    assert len(encode_prompts([Q], Tokenizer(), 8)[0]) == 8
    with pytest.raises(DataError, match=r'example "a" has 8 tokens, the limit is 7'):
        encode_prompts([Q], Tokenizer(), 7)


def test_a_prompt_without_tokens_is_refused():
    with pytest.raises(DataError, match="has no tokens"):
        encode_prompts([Example("a", "", "1")], Tokenizer(), 7, chat_template="none")
