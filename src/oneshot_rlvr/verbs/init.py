"""`init`: a folder to begin one's own 1-shot run in: examples, held-out questions, a recipe.

What is written is a start that works as it stands, on the embedded model; the questions of a
domain are in `examples/starters/DOMAIN.toml`. Nothing that is there is replaced.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oneshot_rlvr import examples
from oneshot_rlvr.errors import ConfigError, UnknownNameError
from oneshot_rlvr.registry import nearest

STARTERS = Path(examples.__file__).parent / "starters"
EXAMPLES, HELD_OUT, RECIPE, README = "examples.jsonl", "held_out.jsonl", "recipe.toml", "README.md"

ALSO_CALLED = {
    "finance": ("accounting", "banking", "business", "economics", "money"),
    "health": ("healthcare", "medical", "medicine", "nursing", "pharmacy", "clinical"),
    "education": ("school", "science", "teaching", "quiz", "choices", "exam"),
    "code": ("coding", "programming", "python", "software"),
    "chess": ("games",),
    "math": ("maths", "mathematics", "arithmetic", "algebra"),
}
"""Other words for a domain, for advice only."""

_RECIPE = """\
# 1-shot RLVR on the examples beside this file. Every key is a flag too: oneshot train --help
base = "tiny_one_shot" # the embedded model, minutes on a CPU
name = {name}
note = {note}

[examples]
path = "examples.jsonl"

[train]
steps = 40

# Asked before and after. Validation steers and test only tells; here there is no validation.
[evaluation]
validation = "none"

[evaluation.test]
benchmark = "held_out.jsonl"
samples = 8
temperature = 0.6

# Another model: any directory or hub name that transformers loads.
# [model]
# path = "Qwen/Qwen2.5-1.5B-Instruct"
"""

_README = """\
1-shot RLVR on my own example ({about}).
`{examples}` has what is trained on, `{held_out}` what is only tested: one JSON object a line.
Train: `oneshot train {folder}/{recipe}`; it ends with accuracy before and after, and a report.
Was it the example? Beside it: `oneshot train {folder}/{recipe} --reward.arm random --out runs/c`.
What a row may say (verifiers, units, tests): `oneshot list verifiers`, `oneshot verify --help`.
"""


def domains() -> dict[str, str]:
    """The domains that there are, with a line about each."""
    return {path.stem: _read(path)["about"] for path in sorted(STARTERS.glob("*.toml"))}


def init(folder: str | Path, *, domain: str = "math") -> list[Path]:
    """Writes the start of a run of one's own into a folder that has none; the files written.

    UnknownNameError for a domain that is not there. ConfigError where one of the files is there and
    is another: nothing is written then. RecordsError for a folder that cannot be written.
    """
    from oneshot_rlvr.records.files import write_outputs

    folder, known = Path(folder), domains()
    if domain not in known:
        meant = next((d for d, words in ALSO_CALLED.items() if domain.lower() in words), None)
        hint = f' Did you mean "{meant}"?' if meant else nearest(domain, known)
        raise UnknownNameError(
            f'"{domain}" is not a known domain.{hint} Known: {", ".join(known)}.'
        )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder, or a name that is free.")
    starter = _read(STARTERS / f"{domain}.toml")
    name = folder.resolve().name or domain
    texts = {
        EXAMPLES: _lines(starter["examples"]),
        HELD_OUT: _lines(starter["held_out"]),
        RECIPE: _RECIPE.format(name=json.dumps(name), note=json.dumps(starter["about"])),
        README: _README.format(
            about=starter["about"],
            examples=EXAMPLES,
            held_out=HELD_OUT,
            folder=folder,
            recipe=RECIPE,
        ),
    }
    files = {folder / name: text.encode("utf-8") for name, text in texts.items()}
    # What is there as it would be written is of a call that was cut short.
    taken = [path for path, data in files.items() if path.exists() and not _is(path, data)]
    if taken:
        raise ConfigError(
            f"{folder} holds {taken[0].name} already, which is kept; choose another folder."
        )
    return write_outputs(files)


def _is(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
