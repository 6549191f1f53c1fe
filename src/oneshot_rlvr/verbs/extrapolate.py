"""`extrapolate`: two checkpoints -> the model on the line through them, beside the real one.

The weights are extrapolated (`policy.line`), written as any saved model is, and evaluated on the
run's own benchmark beside the model at b and, where the run saved it, the real one; `analysis.
extrapolation` says what that shows. Of a run with adapters the merged weights are extrapolated:
they are what acts, and a product of two extrapolated factors lies on no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.records import Run
from oneshot_rlvr.verbs.compare import Asking, Side, compare_sides
from oneshot_rlvr.verbs.evaluate import Progress
from oneshot_rlvr.verbs.subjects import Subject, as_saved, find_model, own_benchmark

if TYPE_CHECKING:
    from oneshot_rlvr.analysis.extrapolation import Claim
    from oneshot_rlvr.evaluation.comparison import Comparison
    from oneshot_rlvr.policy.line import Straightness

FACTS = "extrapolation.json"
"""Beside the model that was written: of what it was made."""


@dataclass(frozen=True, slots=True)
class Point:
    """A run at a step: where its model lies, and what names it for good ("" for a base)."""

    run: Run
    step: int
    directory: Path | None  # None: the model that the run began with
    checksum: str = ""

    @property
    def name(self) -> str:
        """As a user writes it."""
        return f"{self.run.directory}@{self.step}"


@dataclass(frozen=True, slots=True)
class Told:
    """One benchmark: the three differences and what they say of the claim."""

    gain: Comparison
    gap: Comparison | None
    moved: Comparison | None
    claim: Claim


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """The model that was written and what it is worth; `told` by benchmark."""

    directory: Path
    a: str
    b: str
    to: int
    reach: float
    reused: bool
    real: str | None
    weights: Straightness | None
    told: dict[str, Told]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": str(self.directory),
            "a": self.a,
            "b": self.b,
            "to": self.to,
            "reach": self.reach,
            "real": self.real,
            "weights": self.weights
            and {"cosine": self.weights.cosine, "error": self.weights.error},
            "benchmarks": {
                name: {
                    "claim": told.claim.word,
                    "why": told.claim.why,
                    "extrapolated_less_b": told.gain.as_dict(),
                    "extrapolated_less_real": told.gap and told.gap.as_dict(),
                    "real_less_b": told.moved and told.moved.as_dict(),
                }
                for name, told in self.told.items()
            },
            "notes": self.notes,
        }


def extrapolate(
    a: str,
    b: str,
    to: int,
    *,
    out: str | Path | None = None,
    benchmarks: Sequence[str] | None = None,
    seed: int | None = None,
    samples: int | None = None,
    temperature: float | None = None,
    questions: int | None = None,
    max_new_tokens: int | None = None,
    max_prompt_tokens: int | None = None,
    data_dir: str | Path | None = None,
    engine: str | None = None,
    overwrite: bool = False,
    counting: Callable[[], AbstractContextManager[Progress | None]] | None = None,
    written: Callable[[Path], None] | None = None,
) -> Extrapolation:
    """The model that a run would have at step `to`, were its weights to move along a line.

    a, b: RUN@STEP, two steps that one run saved (0 is the model it began with; the second may be of
    a fork of the first's run), in either order; `to` is a step after both. out: the model's
    directory (None: beside the run). benchmarks: names or files (None: what the run itself is
    tested on, its validation set where it has no test); seed, samples, temperature, questions,
    max_new_tokens, max_prompt_tokens, data_dir, engine: as for `evaluate`. overwrite: stored
    answers are replaced. counting, written: shown progress, told of files.
    ConfigError for steps that give no line, RunError for runs and steps that are not there or not
    of one another, ModelError for weights of different models.
    """
    first, second = sorted((find_point(a), find_point(b)), key=lambda point: point.step)
    _refuse_no_line(first, second, to)
    anchor = _subject(second)
    recipe, names, asked = own_benchmark(anchor.recipe, benchmarks)
    if not names:
        raise ConfigError(
            f"{second.run.directory} was tested on nothing, so that there is nothing to evaluate "
            "the extrapolated model on; name it with --benchmarks."
        )
    real = _saved(second.run, to)
    reach = (to - first.step) / (second.step - first.step)
    directory = Path(out) if out is not None else _beside(first, second, to)
    reused, weights = _write(first, second, real, reach, to, directory)
    asking = Asking(
        {
            "benchmarks": names,
            "seed": asked if seed is None else seed,
            "samples": samples,
            "temperature": temperature,
            "questions": questions,
            "max_new_tokens": max_new_tokens,
            "max_prompt_tokens": max_prompt_tokens,
            "data_dir": data_dir,
            "engine": engine,
        },
        overwrite=overwrite,
        counting=counting or nullcontext,
        written=written or (lambda path: None),
    )
    subjects = [
        Subject(str(directory), recipe, label=str(directory)),
        replace(anchor, recipe=recipe),
        *([] if real is None else [replace(_subject(real), recipe=recipe)]),
    ]
    sides = [Side([subject], asking) for subject in subjects]
    notes = []
    if real is None:
        notes.append(
            f"{second.run.directory} has no model of step {to}, so that the claim cannot be "
            f"checked; it has {_steps(second.run)}"
        )
    return Extrapolation(
        directory,
        first.name,
        second.name,
        to,
        reach,
        reused,
        None if real is None else real.name,
        weights,
        _told(sides),
        notes,
    )


def find_point(text: str) -> Point:
    """The model that RUN@STEP names. RunError where there is no such run or step."""
    match = re.fullmatch(r"(.+)@(\d+)", text)
    if match is None:
        raise ConfigError(
            f'"{text}" names no step of a run; wanted RUN@STEP, such as runs/demo@40.'
        )
    run, step = Run(match[1]), int(match[2])
    trainer = (run.info.get("backend") or {}).get("name", "local")
    if trainer != "local":
        raise RunError(
            f"{run.directory} was trained by {trainer}, whose checkpoints are not read here; "
            "extrapolate a run of the backend local."
        )
    if step == 0:
        if run.info.get("fork") is not None:
            raise RunError(
                f"{run.directory} is a fork, which began with a checkpoint and not at step 0; name "
                f"step {run.info['fork']['step']}, or step 0 of {run.info['fork']['run']}."
            )
        return Point(run, 0, None)
    found = _saved(run, step)
    if found is None:
        raise RunError(
            f"{run.directory} has no model of step {step}; it has {_steps(run)}. "
            "train.save_every and train.keep_checkpoints say which are saved and kept."
        )
    return found


def _saved(run: Run, step: int) -> Point | None:
    """The checkpoint of a step, or the result where that is of it; None where neither is there.
    RecordsError where it is damaged."""
    from oneshot_rlvr.train.checkpoint import STATE, checkpoint_steps, read_checkpoint

    if step in checkpoint_steps(run.directory):
        checkpoint = read_checkpoint(run.directory, step)
        state = json.loads((checkpoint.directory / STATE).read_text(encoding="utf-8"))
        return Point(run, step, checkpoint.directory, state["checksum"])
    if (run.result or {}).get("step") == step and (run.directory / "final").is_dir():
        run.check_final()
        return Point(run, step, run.directory / "final", f"final {run.info.get('fingerprint')}")
    return None


def _steps(run: Run) -> str:
    from oneshot_rlvr.train.checkpoint import checkpoint_steps

    steps = set(checkpoint_steps(run.directory))
    if run.status == "finished" and (run.directory / "final").is_dir():
        steps.add(int((run.result or {})["step"]))
    named = f"steps 0 (its base), {', '.join(map(str, sorted(steps)))}" if steps else "its base (0)"
    return named + ("" if run.status == "finished" else "; it is not finished")


def _refuse_no_line(first: Point, second: Point, to: int) -> None:
    if not _of_one_run(first, second):
        models = [point.run.info["recipe"]["model"]["path"] for point in (first, second)]
        other = (
            f" Their models differ too: {models[0]} and {models[1]}."
            if models[0] != models[1]
            else ""
        )
        raise RunError(
            f"{first.run.directory} and {second.run.directory} are two runs, and each moves along "
            f"a line of its own.{other} Name two steps of one run, or a run and its fork."
        )
    if first.step == second.step:
        raise ConfigError(
            f"{first.name} is named twice; a line needs two different steps of the run, which has "
            f"{_steps(first.run)}."
        )
    if to <= second.step:
        raise ConfigError(
            f"--to is {to}; wanted a step after {second.step}, the later of the two that were "
            "named: earlier ones need no prediction."
        )


def _of_one_run(first: Point, second: Point) -> bool:
    if first.run.directory.resolve() == second.run.directory.resolve():
        return True
    was = second.run.info.get("fork") or {}
    return was.get("run") == str(first.run.directory.resolve()) and first.step <= was.get("step", 0)


def _subject(point: Point) -> Subject:
    if point.directory is None:
        from oneshot_rlvr.config import parse_recipe

        recipe = as_saved(parse_recipe(point.run.info["recipe"]))
        return Subject(
            recipe.model.path, recipe, point.run.directory, f"{point.run.directory} base"
        )
    return find_model(point.directory)


def _beside(first: Point, second: Point, to: int) -> Path:
    """A folder beside the run's own."""
    run = second.run.directory.resolve()
    return second.run.directory.parent / f"{run.name}-{first.step}-{second.step}-to-{to}"


def _write(
    first: Point, second: Point, real: Point | None, reach: float, to: int, directory: Path
) -> tuple[bool, Straightness | None]:
    """Writes the model unless it lies there already; and how straight the real weights' way is."""
    from oneshot_rlvr.policy import load_policy, save_policy
    from oneshot_rlvr.policy.line import (
        exact_weights,
        put_on_line,
        refuse_other_models,
        straightness,
    )
    from oneshot_rlvr.records.files import only_writer
    from oneshot_rlvr.train.checkpoint import OPTIMIZER, written_beside

    facts = {
        "made_by": "oneshot extrapolate",
        "weights": "a + reach (b - a), arXiv 2601.04537",
        "a": {"step": first.step, "checksum": first.checksum},
        "b": {"step": second.step, "checksum": second.checksum},
        "run": str(second.run.info.get("fingerprint")),
        "to": to,
        "reach": reach,
    }
    there = _made_of(directory)
    if there is not None and there != facts:
        raise RunError(
            f"{directory} holds something else; choose another directory with --out, or remove it."
        )

    def weights_of(point: Point) -> tuple[Any, Mapping[str, Any]]:
        subject = _subject(point)
        config = subject.recipe.model.model_copy(update={"path": subject.path, "device": "cpu"})
        policy = load_policy(config)
        return policy, exact_weights(policy, point.directory or Path(), OPTIMIZER)

    policy, after = weights_of(second)
    before = weights_of(first)[1]
    refuse_other_models(before, after, (first.name, second.name))
    straight = None
    if real is not None:
        then = weights_of(real)[1]
        refuse_other_models(then, after, (real.name, second.name))
        straight = straightness(before, after, then, reach)
    if there is None:
        put_on_line(policy, before, after, reach)
        with (
            only_writer(directory.resolve()),
            written_beside(directory, "the extrapolated model", "start it again") as part,
        ):
            save_policy(policy, part)
            (part / "README.md").write_text(_card(first, second, to), encoding="utf-8")
            (part / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return there is not None, straight


def _made_of(directory: Path) -> dict[str, Any] | None:
    """What the model in the directory was made of; None for an empty or absent one."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    try:
        return dict(json.loads((directory / FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _card(first: Point, second: Point, to: int) -> str:
    return (
        f"# Extrapolated to step {to}\n\n"
        f"Not trained: its weights lie on the line through those of steps {first.step} and "
        f"{second.step} of one run (arXiv 2601.04537), written by `oneshot extrapolate`. "
        f"`{FACTS}` says of what it was made.\n"
    )


def _told(sides: Sequence[Side]) -> dict[str, Told]:
    from oneshot_rlvr.analysis.extrapolation import judged

    ours, anchor, *others = sides
    gains = {one.benchmark: one for one in compare_sides(ours, anchor)}
    gaps = {one.benchmark: one for one in compare_sides(ours, others[0])} if others else {}
    moves = {one.benchmark: one for one in compare_sides(others[0], anchor)} if others else {}
    found = {}
    for name, gain in gains.items():
        gap, moved = gaps.get(name), moves.get(name)
        claim = judged(
            gain.over_questions,
            None if gap is None else gap.over_questions,
            None if moved is None else moved.over_questions,
        )
        found[name] = Told(gain, gap, moved, claim)
    return found
