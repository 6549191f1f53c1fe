"""A loaded tokenizer against the file it came from.

transformers 5 builds some tokenizers from the class that tokenizer_config.json names and not from
tokenizer.json: 5.5 to 5.20 gave byte-level vocabularies SentencePiece's rules where the class is
LlamaTokenizer (every space and line break was lost, as with DeepSeek's distilled models), and
Qwen2Tokenizer splits by Qwen2's expression whatever the file says. Neither warns, and a model that
reads other ids than it was trained on answers badly for a reason nobody sees.

Not here: whether a tokenizer fits its model (`load.py`).
"""

from __future__ import annotations

from typing import Any

from oneshot_rlvr.errors import ModelError

# Words, digits, spaces, line breaks, indentation and mathematics: where splitting rules differ.
PROBE = "The sum of 1234 and 56 is\n\n  1290, so x^2 = \\frac{1}{2}.\n"


def check_tokenizer(tokenizer: Any, source: str, *, name: str, revision: str | None = None) -> None:
    """ModelError unless PROBE has the ids that `tokenizers` gives for tokenizer.json read alone,
    and they are the text that they are there.

    source: directory or hub name that the tokenizer was loaded from. name: what to call it in the
    error. A source without tokenizer.json (a slow tokenizer) has nothing to be compared with, and
    its text alone is checked: words that were apart must not come back joined.
    """
    alone = _read_alone(source, revision)
    if alone is None:
        check_text(tokenizer, name=name)
        return
    ids, expected = _ids(tokenizer), alone.encode(PROBE, add_special_tokens=False).ids
    # Without what opens a SentencePiece text: decoders keep that space or drop it.
    text, wanted = tokenizer.decode(ids).strip(" "), alone.decode(expected).strip(" ")
    if text.split() != wanted.split():
        raise ModelError(_sentence(tokenizer, name, "loses spaces and line breaks"))
    if ids != expected:
        at = next(
            (i for i, pair in enumerate(zip(ids, expected, strict=False)) if pair[0] != pair[1]),
            min(len(ids), len(expected)),
        )
        raise ModelError(_sentence(tokenizer, name, f"gives other ids from token {at} on"))
    if text != wanted:
        raise ModelError(_sentence(tokenizer, name, "gives back other spaces or line breaks"))


def check_text(tokenizer: Any, *, name: str) -> None:
    """ModelError where words that were apart come back joined."""
    # A vocabulary that cannot spell the probe loses letters, never only what lies between them.
    back = tokenizer.decode(_ids(tokenizer))
    if back != PROBE and back.split() == ["".join(PROBE.split())]:
        raise ModelError(_sentence(tokenizer, name, "loses every space and line break"))


def _ids(tokenizer: Any) -> list[int]:
    return list(tokenizer(PROBE, add_special_tokens=False).input_ids)


def _sentence(tokenizer: Any, name: str, what: str) -> str:
    import transformers

    return (
        f'The tokenizer of "{name}" {what}: transformers {transformers.__version__} reads it as '
        f"{type(tokenizer).__name__}, and its tokenizer.json says otherwise. Set "
        '"tokenizer_class": "PreTrainedTokenizerFast" in its tokenizer_config.json, which follows '
        "the file, or use another version of transformers."
    )


def _read_alone(source: str, revision: str | None) -> Any:
    """The `tokenizers.Tokenizer` of the source's tokenizer.json; None where it has none."""
    from tokenizers import Tokenizer
    from transformers.utils import cached_file

    path = cached_file(
        source,
        "tokenizer.json",
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if path is None else Tokenizer.from_file(path)
