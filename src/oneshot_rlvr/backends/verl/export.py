"""`oneshot export RECIPE --to verl`: the files of a run on verl, and the exact command.

    run.sh               environment and `python -m verl.trainer.main_ppo ...`
    recipe.toml          the recipe, resolved
    model/               the embedded model, where the recipe trains it
    training.parquet, validation.parquet, examples.json, reward.json     (inputs.py)

The directory may be moved; run.sh finds the files beside itself. verl's workers import
`oneshot_rlvr`, so it must be installed beside verl.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from oneshot_rlvr.backends.exporters import Exported
from oneshot_rlvr.backends.verl.correction import Settings
from oneshot_rlvr.backends.verl.hydra import arguments
from oneshot_rlvr.backends.verl.inputs import read_inputs, target_for, write_inputs
from oneshot_rlvr.backends.verl.translate import (
    Places,
    Target,
    environment,
    translate,
)
from oneshot_rlvr.config import Recipe, to_toml
from oneshot_rlvr.records.files import write_atomic
from oneshot_rlvr.rewards import Scorer

SCRIPT = "run.sh"


def export(recipe: Recipe, out: Path) -> Exported:
    """Writes the files. ConfigError for what verl has no counterpart for, before any is written."""
    root = out.resolve()
    validation = recipe.evaluation.validation
    held_out = {} if validation is None else {"validation": validation}
    translate(recipe, target_for(recipe, placeless(root, bool(held_out))))
    with Scorer(recipe.reward, seed=recipe.train.seed) as scorer:
        inputs = read_inputs(recipe, held_out, scorer)
    out.mkdir(parents=True, exist_ok=True)
    target = target_for(recipe, write_inputs(recipe, inputs, root, root / "out"))
    if recipe.model.path == "tiny":  # it lies in this installation, which others may not have
        target = replace(target, model=shutil.copytree(target.model, str(root / "model")))
    (out / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    script = out / SCRIPT
    text = script_text(translate(recipe, target), environment(recipe, target), root)
    # Last and whole: without it nothing of a half-written directory passes for one.
    write_atomic(script, text.encode("utf-8"))
    script.chmod(0o755)
    return Exported(sorted(out.iterdir()), f"bash {script}", list(_notes(recipe, target)))


def placeless(root: Path, validates: bool) -> Places:
    """Where the files will lie, for a translation before they are written."""
    validation = root / "validation.parquet" if validates else None
    return Places(root / "training.parquet", validation, root / "reward.json", root / "out")


def script_text(settings: Settings, variables: dict[str, str], root: Path) -> str:
    """A shell script that trains, wherever the directory lies."""
    lines = [
        "#!/usr/bin/env bash",
        "# Trains with verl 0.9.1; needs oneshot_rlvr beside it. PYTHON names its Python.",
        "set -euo pipefail",
        'DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"',
        *(f"export {name}={_quoted(value, root)}" for name, value in variables.items()),
        'exec "${PYTHON:-python}" -m verl.trainer.main_ppo \\',
        *(f"  {_quoted(argument, root)} \\" for argument in arguments(settings)),
        '  "$@"',
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str, root: Path) -> str:
    """For a shell, with `root` as $DIR; Hydra's own quotes around it are escaped already."""
    escaped = re.sub(r'([\\"$`])', r"\\\1", text)
    return '"' + escaped.replace(str(root), "$DIR") + '"'


def _notes(recipe: Recipe, target: Target) -> Iterator[str]:
    if recipe.model.device == "auto":
        yield "model.device is auto: written for GPUs; --model.device cpu writes it for processors"
    if recipe.algorithm.covariance is not None:
        yield (
            "verl takes the means of covariances over a micro-batch, the recipe over a whole "
            "update: a larger train.micro_batch_tokens brings them together"
        )
    if recipe.evaluation.test is not None:
        yield "the test set is not asked: `oneshot evaluate` does that with the trained model"
    if recipe.optimizer.warmup_steps:
        yield "verl's warm-up begins at a rate of 0, one step behind ours"
    if target.model == recipe.model.path:
        yield f"verl downloads the model {target.model} from its hub"
