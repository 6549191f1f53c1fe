"""Examples -> prompt tokens, by the tokenizer's own chat template where it has one.

Torch-free: any object with the few members of `ChatTokenizer` serves. Not here: truncation. A
prompt that does not fit is refused, because a cut question is another question.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.types import Example


class ChatTokenizer(Protocol):
    """What prompting needs of a Hugging Face tokenizer."""

    bos_token_id: int | None
    chat_template: Any

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any:
        """The chat's tokens under "input_ids", with return_dict=True."""

    def encode(self, text: str, **options: Any) -> list[int]:
        """The text's tokens."""


def encode_prompts(
    examples: Sequence[Example],
    tokenizer: ChatTokenizer,
    max_prompt_tokens: int,
    chat_template: str = "auto",
    arguments: Mapping[str, Any] | None = None,
) -> list[tuple[int, ...]]:
    """One tuple of token ids per example, in order.

    `chat_template` "auto" uses the tokenizer's template and opens the assistant's turn; without a
    template, or with "none", the turns' texts are joined by a blank line behind what the tokenizer
    itself puts in front of a text (`opening`). `arguments` are names that the template reads
    (enable_thinking). DataError: a prompt of more than `max_prompt_tokens` tokens or of none, or a
    chat that the template refuses. ConfigError for arguments that no template reads.
    """
    templated = chat_template == "auto" and bool(getattr(tokenizer, "chat_template", None))
    if arguments:
        _refuse_unread(arguments, tokenizer if templated else None)
    encoded = []
    for example in examples:
        if templated:
            tokens = _templated(example, tokenizer, arguments or {})
        else:
            tokens = _bare(example, tokenizer)
        if len(tokens) > max_prompt_tokens:
            raise DataError(
                f'The prompt of example "{example.id}" has {len(tokens)} tokens, the limit is '
                f"{max_prompt_tokens}. Raise rollouts.max_prompt_tokens or leave the example out."
            )
        if not tokens:
            raise DataError(f'The prompt of example "{example.id}" has no tokens.')
        encoded.append(tokens)
    return encoded


def with_system(examples: Sequence[Example], system: str | None) -> list[Example]:
    """The examples with this system turn in place of their own; "" for none, None as they are."""
    if system is None:
        return list(examples)
    opening = [{"role": "system", "content": system}] if system else []
    return [
        dataclasses.replace(
            example,
            messages=(*opening, *(turn for turn in example.chat() if turn["role"] != "system")),
        )
        for example in examples
    ]


_OWN = (
    "tokenize",
    "return_dict",
    "add_generation_prompt",
    "continue_final_message",
    "conversation",
)
"""What we tell transformers ourselves."""


def _refuse_unread(arguments: Mapping[str, Any], tokenizer: ChatTokenizer | None) -> None:
    """A name that stands nowhere in the template would change nothing, in silence."""
    template = getattr(tokenizer, "chat_template", None)
    texts = template.values() if isinstance(template, Mapping) else [template]
    words = set(re.findall(r"\w+", " ".join(map(str, texts)))) if template else set()
    for name in arguments:
        if name in _OWN or name not in words:
            told = (
                f'"{name}", which the chat template of the tokenizer does not read'
                if template
                else f'"{name}", and prompts have no chat template that could read it'
            )
            raise ConfigError(f"template_arguments has {told}. Leave it out.")


def _templated(
    example: Example, tokenizer: ChatTokenizer, arguments: Mapping[str, Any]
) -> tuple[int, ...]:
    chat = example.chat()
    try:
        return _apply(chat, tokenizer, arguments)
    except Exception as error:  # a template is code of its own and raises what it likes
        # Some templates (Gemma's) know no system turn; its text then opens the user's first turn.
        if chat[0]["role"] == "system" and len(chat) > 1 and chat[1]["role"] == "user":
            opening = {"role": "user", "content": f"{chat[0]['content']}\n\n{chat[1]['content']}"}
            try:
                return _apply([opening, *chat[2:]], tokenizer, arguments)
            except Exception:  # the first error is the one to show
                pass
        roles = ", ".join(turn["role"] for turn in chat)
        raise DataError(
            f'The chat template of the tokenizer refuses example "{example.id}" ({roles}): '
            f"{' '.join(str(error).split())}. Change its turns, or set "
            'model.chat_template = "none".'
        ) from error


def _apply(
    chat: list[dict[str, str]], tokenizer: ChatTokenizer, arguments: Mapping[str, Any]
) -> tuple[int, ...]:
    encoding = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, **arguments
    )
    return tuple(int(token) for token in encoding["input_ids"])


def _bare(example: Example, tokenizer: ChatTokenizer) -> tuple[int, ...]:
    text = "\n\n".join(turn["content"] for turn in example.chat())
    return (*opening(tokenizer), *tokenizer.encode(text, add_special_tokens=False))


def opening(tokenizer: ChatTokenizer) -> tuple[int, ...]:
    """The beginning-of-text token where the tokenizer puts it in front of a text, else nothing.

    Many have one that they never add (SmolLM2's opens the turns of its chats).
    """
    bos = tokenizer.bos_token_id
    return (int(bos),) if bos is not None and list(tokenizer.encode("")[:1]) == [bos] else ()
