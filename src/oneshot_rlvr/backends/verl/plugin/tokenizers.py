"""verl's tokenizers, which are their own file's, in every process of a run.

A cluster's Python may have another transformers than the one that checked the recipe, and some
versions lose every space of a byte-level tokenizer without a word (`policy/tokenizer_guard.py`).
"""

from __future__ import annotations

from typing import Any

import wrapt

from oneshot_rlvr.policy.tokenizer_guard import check_tokenizer


@wrapt.when_imported("verl.utils.tokenizer.tokenizer")
def _check_what_is_loaded(module: Any) -> None:
    load = module.hf_tokenizer

    def checked(name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        tokenizer = load(name_or_path, *args, **kwargs)
        source = str(name_or_path)
        check_tokenizer(tokenizer, source, name=source, revision=kwargs.get("revision"))
        return tokenizer

    module.hf_tokenizer = checked
