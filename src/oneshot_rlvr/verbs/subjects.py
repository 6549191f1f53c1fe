"""What is evaluated, and how it is asked: a model with its recipe's settings, a benchmark's own.

A subject is a model, a run's result or its base; a benchmark is a shipped name or a file. Not here:
loading the model (`loading`) and answering (`evaluate`, `ask`, `contamination`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ConfigError, ModelError, RunError

if TYPE_CHECKING:
    from oneshot_rlvr.config import BenchmarkConfig, Recipe
    from oneshot_rlvr.evaluation import Benchmark

TINY_RECIPE = "tiny_one_shot"
RUNS = "runs"
"""The folder below which runs go that are given no directory."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to evaluate: where it is loaded from, and the recipe whose settings hold for it.

    `run` is the run's directory, None for a model of no run.
    """

    path: str
    recipe: Recipe
    run: Path | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """What records call it."""
        return self.label or self.path


def find_model(model: str | Path) -> Subject:
    """A run's result with the run's recipe; any other model with the defaults.

    `tiny` goes with the recipe that is made for it. RunError for a run that has no result yet.
    """
    from oneshot_rlvr.config import Recipe, load_recipe, parse_recipe

    if str(model) == "tiny":
        return Subject("tiny", load_recipe(TINY_RECIPE))
    path = Path(model)
    places = [(path, path / "final"), (path.parent, path), (path.parent.parent, path)]
    for run, weights in places if path.is_dir() else []:
        if not (run / "run.json").is_file():
            continue
        if not weights.is_dir():
            raise RunError(
                f"{run} has no final/ model: the run is not finished. Continue it with "
                f"`oneshot train --resume {run}`, or name one of its checkpoints."
            )
        from oneshot_rlvr.records import Run

        recipe = as_saved(parse_recipe(Run(run).info["recipe"]))
        return Subject(str(weights), recipe, run)
    # Asking the hub for a run that does not exist would cost minutes of retries.
    if not path.expanduser().exists() and _is_local(str(model)):
        raise ModelError(f"no run or model at {path}; {_what_is_there(path.expanduser().parent)}.")
    return Subject(str(model), Recipe())


def as_saved(recipe: Recipe) -> Recipe:
    """A run's recipe with the type that its saved models have: adapters are merged into float32
    weights, and 16 bits would round them away. Products have that type too: another machine may
    have no others."""
    if recipe.rollouts.autocast is not None:
        plain = recipe.rollouts.model_copy(update={"autocast": None})
        recipe = recipe.model_copy(update={"rollouts": plain})
    if recipe.model.lora is None:
        return recipe
    wide = recipe.model.model_copy(update={"dtype": "float32"})
    vllm = recipe.rollouts.vllm.model_copy(update={"dtype": "float32"})
    rollouts = recipe.rollouts.model_copy(update={"vllm": vllm})
    return recipe.model_copy(update={"model": wide, "rollouts": rollouts})


def own_benchmark(
    recipe: Recipe, benchmarks: Sequence[str] | None
) -> tuple[Recipe, list[str], int]:
    """The benchmarks to ask a run's models, and the seed of asking them: those that are given, else
    the run's test set, else its validation set, asked as the run asks it.

    The recipe that is returned has that set as its test, which is where `find_benchmark` looks for
    settings. No names where nothing is given and the run held nothing out.
    """
    own = recipe.evaluation.test or recipe.evaluation.validation
    if benchmarks is not None or own is None:
        return recipe, list(benchmarks or ()), 0
    held_out = recipe.evaluation.model_copy(update={"test": own, "validation": None})
    return recipe.model_copy(update={"evaluation": held_out}), [own.benchmark], own.seed


def base_of(subject: Subject) -> Subject:
    """The model that a run began with. RunError for a model of no run."""
    if subject.run is None:
        raise RunError(f"{subject.path} is no run, so that its base is not known; name the model.")
    return Subject(subject.recipe.model.path, subject.recipe, subject.run, f"{subject.run} base")


def subject_of(model: str | Path | Subject) -> Subject:
    """The subject itself, or the one that `find_model` finds. ConfigError for an empty name."""
    if isinstance(model, Subject):
        return model
    if not str(model):
        raise ConfigError("no model is named; give a model, a run, or an endpoint.")
    return find_model(model)


def recipe_of(subject: Subject | None) -> Recipe:
    """The recipe whose settings hold; the defaults for a server, which is no subject."""
    from oneshot_rlvr.config import Recipe

    return Recipe() if subject is None else subject.recipe


def find_benchmark(
    name: str,
    recipe: Recipe,
    given: Mapping[str, Any],
    data_dir: str | Path | None = None,
    *,
    bare: bool = False,
    recommended: Mapping[str, Any] | None = None,
) -> tuple[Benchmark, BenchmarkConfig]:
    """A benchmark, shipped or a file, and how to ask it: `given` over what a model recommends, over
    the recipe's own test.

    Where the recipe tests on something else, over the benchmark's usual decoding (the paper's avg@8
    at temperature 0.6 for AIME and AMC, one greedy answer for the others). `bare`: no decoding at
    all is wanted, the questions only.
    """
    from pydantic import ValidationError

    from oneshot_rlvr.config import BenchmarkConfig
    from oneshot_rlvr.config.sections import CUTS
    from oneshot_rlvr.evaluation import BENCHMARKS, load_benchmark
    from oneshot_rlvr.examples.readers import names_a_file
    from oneshot_rlvr.settings import explain

    is_file = name not in BENCHMARKS and not name.endswith(".toml")
    # One that is not there is looked for, and told missing, as a file of training examples is.
    is_file = is_file and (Path(name).is_file() or names_a_file(name))
    own = {"benchmark": "file", "path": name} if is_file else {"benchmark": name}
    test = recipe.evaluation.test
    tested = test is not None and test.benchmark == name and not bare
    if test is not None and tested:
        own = test.model_dump()
    told = {**(recommended or {}), **given}
    try:
        which = {key: given[key] for key in ("seed", "questions") if key in given}
        benchmark = load_benchmark(BenchmarkConfig(**{**own, **which}), data_dir)
        usual = {} if tested or bare else benchmark.decoding.model_dump()
        if told.get("temperature") == 0:
            # One greedy answer: the usual K would be K times the same, and nothing is cut off.
            for settings in (usual, own):
                for key in ("samples", *CUTS):
                    settings.pop(key, None)
        return benchmark, BenchmarkConfig(**{**usual, **own, **told})
    except ValidationError as error:
        raise ConfigError(explain(error, BenchmarkConfig)) from None


def told_apart(found: Mapping[str, Benchmark]) -> dict[str, Benchmark]:
    """Benchmarks by the name that was asked for, those of one name renamed with their parents:
    a/test.jsonl and b/test.jsonl are a/test and b/test, in every record and file name.

    ConfigError for a file that is named twice.
    """
    from oneshot_rlvr.records.files import shortest_names

    apart = dict(found)
    for name in {benchmark.name for benchmark in found.values()}:
        alike = [asked for asked, benchmark in found.items() if benchmark.name == name]
        if len(alike) > 1:
            paths = [Path(asked).resolve() for asked in alike]
            if len(set(paths)) < len(paths):
                raise ConfigError(f"{' and '.join(alike)} are one file; name each benchmark once.")
            stems = [path.with_name(path.name.partition(".")[0]) for path in paths]
            names = shortest_names(stems if len(set(stems)) == len(stems) else paths)
            for asked, label in zip(alike, names, strict=True):
                apart[asked] = replace(found[asked], name=label)
    return apart


def given_settings(seed: int, **settings: Any) -> dict[str, Any]:
    """The settings that were given (not None), under BenchmarkConfig's names."""
    given = {key: value for key, value in settings.items() if value is not None}
    return {"seed": seed, **given}


def _is_local(name: str) -> bool:
    """Whether a name can only be a path: no hub's `owner/name`, or below a folder that is here, or
    below `runs`, where runs go."""
    path = Path(name)
    return (
        name.startswith((".", "/", "~"))
        or len(path.parts) > 2
        or (len(path.parts) == 2 and (path.parts[0] == RUNS or path.parent.is_dir()))
    )


def _what_is_there(folder: Path) -> str:
    if folder.is_dir():
        return f"{folder} has {_names_in(folder)}"
    place = "" if folder.is_absolute() else f" in {Path.cwd()}"
    return f"there is no folder {folder}{place}"


def _names_in(directory: Path, limit: int = 5) -> str:
    names = sorted(path.name for path in directory.iterdir())
    return ", ".join(names[:limit] + ["..."] * (len(names) > limit)) or "nothing in it"
