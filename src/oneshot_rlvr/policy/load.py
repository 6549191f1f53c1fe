"""A policy: a causal language model with its tokenizer, loaded and saved as a plain HF directory.

Hub names, local directories, "tiny" (the embedded model) and "smollm2" go the same way. Weights
are read from safetensors, or unpacked from a GGUF file (`gguf.py`). The model stays in evaluation
mode for good: dropout between sampling and training would make the two disagree about the policy.

Not here: forward passes (`decoder.py`, `logprobs.py`) and optimisers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oneshot_rlvr import hub
from oneshot_rlvr.config import ModelConfig
from oneshot_rlvr.errors import ModelError, OneshotError, RecordsError, room
from oneshot_rlvr.policy.ends import end_ids
from oneshot_rlvr.policy.gguf import SMOLLM2, is_gguf, load_gguf, smollm2_file
from oneshot_rlvr.policy.lora import (
    has_adapters,
    head_apart,
    load_exact,
    merge_adapters,
    merged_state,
    readable_like,
    save_exact,
)
from oneshot_rlvr.policy.recompute import set_recompute
from oneshot_rlvr.policy.tokenizer_guard import check_text, check_tokenizer

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(slots=True)
class Policy:
    """`eos_ids` end a rollout (any of them); `pad_id` fills rows and is never read."""

    model: nn.Module
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    name: str
    eos_ids: tuple[int, ...]
    pad_id: int

    @property
    def vocabulary_size(self) -> int:
        """Number of rows of the input embedding (the largest id the model can read, plus 1)."""
        return int(self.model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]


def load_policy(config: ModelConfig) -> Policy:
    """Loads model and tokenizer; ModelError, in one sentence, when missing or not fitting."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = _source(config.path)
    device = device_of(config.device)
    dtype = _dtype(config.dtype, device)
    if is_gguf(source):
        with _as_model_error(f'model.path "{config.path}"'), _without_bars():
            model, tokenizer = load_gguf(source, dtype)
            check_text(tokenizer, name=config.path)
    else:
        shared: dict[str, Any] = {
            "revision": config.revision,
            "trust_remote_code": config.trust_remote_code,
        }
        with _as_model_error(f'the tokenizer of model.path "{config.path}"'):
            tokenizer = AutoTokenizer.from_pretrained(source, **shared)
            check_tokenizer(tokenizer, source, name=config.path, revision=config.revision)
        with _as_model_error(f'model.path "{config.path}"'), _without_bars():
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, use_safetensors=True, **shared
            )
    if config.gradient_checkpointing:
        set_recompute(model, config.path)
    return make_policy(
        model.to(device), tokenizer, name=config.path, chat_template=config.chat_template
    )


def make_policy(
    model: nn.Module, tokenizer: Any, *, name: str, chat_template: str = "auto"
) -> Policy:
    """A policy from a model already in memory; ModelError where tokenizer and model do not fit.

    `chat_template` "none": prompts are bare, so that the template's end of a turn ends nothing.
    """
    parameter = next(model.parameters())
    size = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    vocabulary = tokenizer.get_vocab()
    largest = max(vocabulary.values(), default=-1)
    if set(vocabulary) <= {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}:
        # transformers makes such a tokenizer when a directory has no tokenizer files
        raise ModelError(
            f'The tokenizer of "{name}" is empty; save the model\'s tokenizer beside it.'
        )
    if largest >= size:
        raise ModelError(
            f'The tokenizer of "{name}" has token ids up to {largest} but the model embeds only '
            f"{size}; use the tokenizer the model was trained with."
        )
    holders = (getattr(model, "generation_config", None), model.config)
    eos_ids = end_ids(tokenizer, *holders, name=name, template=chat_template == "auto")
    if not eos_ids:
        raise ModelError(
            f'Neither model nor tokenizer of "{name}" names an end-of-text token, so no rollout '
            "could finish; set eos_token in the tokenizer."
        )
    if max(eos_ids) >= size:
        raise ModelError(
            f'The end-of-text id {max(eos_ids)} of "{name}" is outside the model\'s {size} tokens; '
            "mend eos_token_id in its configuration."
        )
    pad_id = tokenizer.pad_token_id
    model.eval()
    return Policy(
        model=model,
        tokenizer=tokenizer,
        device=parameter.device,
        dtype=parameter.dtype,
        name=name,
        eos_ids=eos_ids,
        pad_id=int(pad_id) if pad_id is not None and 0 <= pad_id < size else eos_ids[0],
    )


def save_policy(policy: Policy, directory: str | Path) -> Path:
    """Writes an ordinary HF directory: safetensors, tokenizer with its template, generation config.

    Adapters are merged in, in float32 because a 16-bit weight does not hold what they change, and
    lie beside it for `load_weights`. A head that differs from the embedding it was tied to is
    saved, and said to be, apart. RecordsError when the disk refuses.
    """
    from safetensors import SafetensorError

    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _mend_generation_config(policy.model)
        with _without_bars(), _told_apart(policy.model):
            if has_adapters(policy.model):
                state = merged_state(policy.model)
                wide = next(iter(state.values())).dtype  # saving empties the table
                policy.model.save_pretrained(directory, state_dict=state)  # type: ignore[operator]
                _tell_type(directory, wide)
                save_exact(policy.model, directory)
            else:
                policy.model.save_pretrained(directory)  # type: ignore[operator]
        policy.tokenizer.save_pretrained(directory)
        readable_like(directory / "config.json")
    except Exception as error:
        # tokenizers raises nothing but Exception.
        if not isinstance(error, OSError | SafetensorError) and not room(error):
            raise
        raise RecordsError(
            f"The model could not be written to {directory} ({_one_line(error)}); free some space "
            "or choose another directory with --out."
        ) from error
    return directory


@contextmanager
def _told_apart(model: nn.Module) -> Iterator[None]:
    """While it is saved, the configuration says whether head and embedding are one weight."""
    config: Any = model.config
    tied = getattr(config, "tie_word_embeddings", False)
    if tied and head_apart(model):
        config.tie_word_embeddings = False
    try:
        yield
    finally:
        if tied:
            config.tie_word_embeddings = tied


def _tell_type(directory: Path, dtype: torch.dtype) -> None:
    """config.json names the type of the weights that lie beside it, not of those in memory."""
    path = directory / "config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told.pop("torch_dtype", None)
    told["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def merge_in_place(policy: Policy) -> None:
    """The policy becomes the plain model that `save_policy` would write of it, where it stands."""
    merge_adapters(policy.model)
    policy.dtype = next(policy.model.parameters()).dtype


def load_weights(policy: Policy, directory: str | Path) -> None:
    """Puts the weights that `save_policy` wrote back into the policy's model, in place, exactly.

    Through the model's own loader: transformers saves some architectures (mixtures of experts)
    under other names and shapes than they have in memory. Of a model with adapters only these are
    read; the base is what it was. ModelError for weights of another model.
    """
    if has_adapters(policy.model):
        with _as_model_error(f"the adapters in {directory}"):
            load_exact(policy.model, Path(directory))
        return
    model_type: Any = type(policy.model)
    with _as_model_error(f"the weights in {directory}"), _without_bars():
        saved, told = model_type.from_pretrained(
            directory, dtype=policy.dtype, use_safetensors=True, output_loading_info=True
        )
    state = saved.state_dict()
    wrong = sorted({*told["missing_keys"], *told["unexpected_keys"]})
    wrong += sorted(
        name
        for name, tensor in policy.model.state_dict().items()
        if name not in state or state[name].shape != tensor.shape
    )
    if wrong:
        raise ModelError(f'{directory} holds weights of another model ("{wrong[0]}" differs).')
    policy.model.load_state_dict(state)


def _source(path: str) -> str:
    """A directory, a GGUF file, or a hub name to pass on; ModelError for what holds no model."""
    if path == "tiny":
        from oneshot_rlvr import tiny

        return str(tiny.weights_directory())
    if path == SMOLLM2:
        return str(smollm2_file())
    local = Path(path).expanduser()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise ModelError(
                f'model.path "{path}" is a directory without config.json; give the directory that '
                "save_pretrained wrote."
            )
        return str(local)
    if is_gguf(path):
        return str(local)
    if local.exists():
        raise ModelError(
            f'model.path "{path}" is a file; give the model\'s directory, or a .gguf file.'
        )
    if path.startswith((".", "/", "~", "runs/")) or path.count("/") > 1:
        raise ModelError(
            f'model.path "{path}" does not exist; give an existing directory, a hub name such as '
            '"Qwen/Qwen2.5-Math-1.5B", or "tiny".'
        )
    hub.look()
    return path


def device_of(name: str) -> torch.device:
    """The device that `model.device` means here. ModelError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(
            f'model.device "{name}" is no device; use auto, cpu, cuda or cuda:N.'
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f'model.device is "{name}" but no CUDA device is present; set model.device=cpu.'
        )
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name == "float16" and device.type == "cpu":
        raise ModelError(
            'model.dtype is "float16" and the device is a CPU, which multiplies in float32 faster '
            'and more exactly; set model.dtype = "float32" (or "auto", here and on a GPU).'
        )
    return TYPES[name]


def _mend_generation_config(model: nn.Module) -> None:
    """Some published configs set a temperature without sampling; saving refuses those."""
    generation = getattr(model, "generation_config", None)
    if generation is None or generation.do_sample:
        return
    if any(getattr(generation, key, None) is not None for key in ("temperature", "top_p", "top_k")):
        generation.do_sample = True


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__


@contextmanager
def _without_bars() -> Iterator[None]:
    """Silences transformers' bars ("Loading weights"), which would break the run's own line.

    Downloads keep theirs: they take minutes.
    """
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from transformers.utils import logging

    shown, downloads_shown = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    logging.disable_progress_bar()
    if downloads_shown:
        enable_progress_bars()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
        if not downloads_shown:
            disable_progress_bars()


class _as_model_error:
    """Turns whatever a loader raises into one ModelError that names what was being loaded."""

    def __init__(self, what: str):
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OneshotError) or not isinstance(error, Exception):
            return
        raise ModelError(
            f"{self._what[0].upper()}{self._what[1:]} could not be loaded: {_one_line(error)}. "
            "Give a directory with safetensors and tokenizer files, a hub name, a .gguf file, or "
            '"tiny".'
        ) from error
