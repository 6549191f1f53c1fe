"""Prompt templates: one benchmark asked in several ways, so that a base model is asked fairly.

The templates stand in prompts.toml beside this file; a user's own TOML file of the same shape is
taken by its path. "own" is what the benchmark itself says. Picking the strongest of several
templates flatters by chance; whoever reports it says of how many it is (the tables do).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.evaluation.benchmark import Benchmark
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.settings import explain
from oneshot_rlvr.types import Example

OWN = "own"
FILE = Path(__file__).with_name("prompts.toml")


class Template(BaseModel):
    """One way to ask. `chat` False: the bare text, without the tokenizer's chat template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field("{question}", description="text with {question} in it")
    system: str = Field("", description="a system turn; empty: none")
    chat: bool = True
    verifiers: list[str] = Field(default_factory=list, description="kinds it suits; empty: all")
    source: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A benchmark in one template: its name, the examples as they are asked, and whether the
    tokenizer's chat template is used ("auto") or not ("none"); None: as the model's settings say.
    """

    name: str
    benchmark: Benchmark
    chat_template: str | None


def read_templates(path: Path = FILE) -> dict[str, Template]:
    """The templates of a file, by name. DataError, with the key, for what is none."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read as prompt templates: {error}.") from error
    templates = {}
    for name, table in tables.items():
        try:
            templates[name] = Template.model_validate(table)
        except ValidationError as error:
            raise DataError(f"{path}, [{name}]: {explain(error, Template)}") from None
        if "{question}" not in templates[name].prompt:
            raise DataError(f"{path}, [{name}]: prompt has no {{question}} in it.")
    if not templates:
        raise DataError(f"{path} holds no prompt template; wanted tables [NAME] with a prompt.")
    return templates


def asked_in(benchmark: Benchmark, names: Sequence[str]) -> list[Asked]:
    """The benchmark in each template: names, "all", or paths of TOML files.

    "all" is the benchmark's own and every shipped template that suits its verifiers. ConfigError
    for an unknown name, with the nearest.
    """
    shipped = read_templates()
    kinds = {example.verifier for example in benchmark.examples}
    chosen: dict[str, Template | None] = {}
    for name in names:
        if name == "all":
            chosen[OWN] = None
            chosen |= {n: t for n, t in shipped.items() if _suits(t, kinds)}
        elif name == OWN:
            chosen[OWN] = None
        elif name in shipped:
            chosen[name] = shipped[name]
        elif name.endswith(".toml"):
            chosen |= read_templates(Path(name).expanduser())
        else:
            known = ["all", OWN, *shipped]
            raise ConfigError(
                f'prompt template "{name}" is not known.{nearest(name, known)} Known: '
                f"{', '.join(known)}; or the path of a .toml file."
            )
    return [_asked(benchmark, name, template) for name, template in chosen.items()]


def _suits(template: Template, kinds: set[str]) -> bool:
    return not template.verifiers or kinds <= set(template.verifiers)


def _asked(benchmark: Benchmark, name: str, template: Template | None) -> Asked:
    if template is None:
        return Asked(name, benchmark, None)
    examples = [_in_template(example, template) for example in benchmark.examples]
    return Asked(name, replace(benchmark, examples=examples), "auto" if template.chat else "none")


def _in_template(example: Example, template: Template) -> Example:
    question = template.prompt.replace("{question}", example.question)
    chat = [{"role": "user", "content": question}]
    if template.system:
        chat.insert(0, {"role": "system", "content": template.system})
    return replace(example, question=question, messages=tuple(chat))
