"""Which tokens end a rollout, in every backend: one rule, read from model, tokenizer and template.

A base model's end-of-text token is often not the one with which its chat template ends an
assistant's turn (Qwen2.5-Math: `<|endoftext|>` and `<|im_end|>`). Sampled behind such a template,
the model ends its turn and goes on to invent the next one, which would be graded. So both end a
rollout. Not here: sampling, and prompts (`examples/prompting.py`). No torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)

_SAID = "Zq7w9"  # an assistant's answer that no template contains
_CONVERSATION = (
    {"role": "user", "content": "Say it."},
    {"role": "assistant", "content": _SAID},
)


def end_ids(tokenizer: Any, *holders: Any, name: str, template: bool = True) -> tuple[int, ...]:
    """Ids that end a rollout, ascending: whatever model, tokenizer and chat template call the end.

    `holders` are configurations with an `eos_token_id`; `template` False: the tokenizer's chat
    template is not used, so its turns have no end. A warning where the template's is no end of
    text.
    """
    found: set[int] = set()
    for holder in (*holders, tokenizer):
        value = getattr(holder, "eos_token_id", None)
        if value is not None:
            values: Iterable[Any] = value if isinstance(value, (list, tuple)) else (value,)
            found.update(int(v) for v in values)
    turn = turn_end(tokenizer) if template else None
    if turn is not None and turn not in found:
        log.warning(
            'the chat template of "%s" ends an assistant\'s turn with %r (id %d), which is none of '
            "the model's end-of-text tokens %s; rollouts end there too.",
            *(name, tokenizer.convert_ids_to_tokens(turn), turn, sorted(found)),
        )
        found.add(turn)
    return tuple(sorted(found))


def turn_end(tokenizer: Any) -> int | None:
    """The special token that the chat template writes behind what an assistant said.

    None: there is no template, it refuses a plain conversation, or ordinary text or nothing
    follows.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None
    try:
        text = tokenizer.apply_chat_template([dict(t) for t in _CONVERSATION], tokenize=False)
    except Exception:  # a template is code of its own and raises what it likes
        return None
    _, said, tail = str(text).rpartition(_SAID)
    tail = tail.lstrip()
    if not said or not tail:
        return None
    first = tokenizer.encode(tail, add_special_tokens=False)[:1]
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    return int(first[0]) if first and first[0] in special else None


def saved_end_ids(
    tokenizer: Any, path: str, *, template: bool = True, **loading: Any
) -> tuple[int, ...]:
    """As `end_ids`, of a model on the disk or the hub that is not loaded.

    `loading` goes to transformers (`revision`, `trust_remote_code`).
    """
    from transformers import AutoConfig, GenerationConfig

    holders = []
    for kind in (AutoConfig, GenerationConfig):
        known = {k: v for k, v in loading.items() if kind is AutoConfig or k == "revision"}
        try:
            holders.append(kind.from_pretrained(path, **known))
        except (OSError, ValueError):  # a model without a generation config
            continue
    return end_ids(tokenizer, *holders, name=path, template=template)
