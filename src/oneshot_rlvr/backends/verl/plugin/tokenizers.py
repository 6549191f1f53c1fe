"""Tokenizers that are their own file's, in every process of a run on verl, vLLM's included.

A cluster's Python may have another transformers than the one that checked the recipe, and some
versions lose every space of a byte-level tokenizer without a word (`policy/tokenizer_guard.py`).
Both load through transformers, so what it gives them is checked there.
"""

from __future__ import annotations

from typing import Any

import wrapt

from oneshot_rlvr.policy.tokenizer_guard import check_tokenizer


@wrapt.when_imported("transformers.models.auto.tokenization_auto")
def _check_what_is_loaded(module: Any) -> None:
    load = module.AutoTokenizer.from_pretrained

    def checked(cls: Any, source: Any, *args: Any, **kwargs: Any) -> Any:
        tokenizer = load(source, *args, **kwargs)
        if not (kwargs.get("subfolder") or kwargs.get("gguf_file")):
            name = str(source)
            check_tokenizer(tokenizer, name, name=name, revision=kwargs.get("revision"))
        return tokenizer

    module.AutoTokenizer.from_pretrained = classmethod(checked)
