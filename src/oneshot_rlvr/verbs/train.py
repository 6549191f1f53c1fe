"""The verbs as Python functions: what the command line calls and the package exposes.

Orchestration only: each function finds its inputs, calls one room after the other and returns what
came out. Printing is the command line's; the method is in the rooms. The rooms that need torch are
imported inside the functions, so that asking for help costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.verbs.evaluate import ask, evaluate, probe_contamination, regrade, set_threads
from oneshot_rlvr.verbs.subjects import Subject, base_of, find_benchmark, find_model

if TYPE_CHECKING:
    from oneshot_rlvr.analysis import Analysis
    from oneshot_rlvr.config import Recipe
    from oneshot_rlvr.running.directory import RunResult
    from oneshot_rlvr.types import Example
    from oneshot_rlvr.verbs.select import Selection

__all__ = [
    "Subject",
    "ask",
    "base_of",
    "evaluate",
    "find_benchmark",
    "find_model",
    "probe_contamination",
    "regrade",
    "report",
    "resolve",
    "run_directory",
    "select",
    "set_threads",
    "train",
]

DEMO_RECIPE = "tiny_one_shot"
DEMO_DIRECTORY = Path("runs/demo")


def train(
    recipe: Recipe | str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fork: str | None = None,
    progress: Any = None,
    stopping: Any = None,
) -> RunResult:
    """Trains as a recipe says, evaluates before and after, and writes the run with its report.

    recipe: a Recipe, a TOML file, the name of a packaged recipe, or nested tables.
    overrides: dotted keys over it, {"train.steps": 10}; not with a Recipe, which is resolved.
    out: the run's directory; None takes runs/NAME, the recipe's name.
    resume: continue the run in `out`, or return it where it is finished (`result.reused`). Without
        it a directory that holds a run is refused.
    fork: RUN or RUN@STEP: a new run that begins with that run's checkpoint, its steps counting on.
    progress: told of steps and notes; see `oneshot_rlvr.cli.progress.Progress`.
    stopping: an `oneshot_rlvr.train.stopping.Stopping`, to end the run after a step; resume it.
    Returns the directory, the closing summary, whether a finished run was reused, and after which
        step the run was stopped, if it was.
    Raises errors of `oneshot_rlvr.errors`: a recipe, examples, model or directory that cannot be.
    """
    resolved = resolve(recipe, overrides)  # before torch is imported, which takes seconds
    from oneshot_rlvr.backends import BACKENDS

    if fork is not None and resolved.backend.name != "local":
        raise ConfigError(
            f"--fork begins with a checkpoint of this package, which the backend "
            f"{resolved.backend.name} does not read. Fork with backend.name=local."
        )
    origin = {} if fork is None else {"fork": fork}
    result = BACKENDS.load(resolved.backend.name)(
        resolved,
        out=run_directory(resolved, out),
        resume=resume,
        **origin,
        progress=progress,
        stopping=stopping,
    )
    if result.stopped_after is None and _report_is_stale(result.directory):
        report(result.directory)
    return result


def select(
    pool: str | Path,
    *,
    history: str | Path | None = None,
    make_history: Recipe | str | Path | Mapping[str, Any] | None = None,
    visits: int | None = None,
    history_out: str | Path | None = None,
    probe: int | None = None,
    model: str | Path | None = None,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    score: str | None = None,
    seed: int = 0,
    diversity: float = 0.0,
    category: str | None = None,
    embeddings: str | Path | None = None,
    out: str | Path | None = None,
    sets: str | Path | None = None,
    sizes: Sequence[int] | None = None,
    ranks: Sequence[int] = (),
    batch: int = 128,
    columns: str = "auto",
    verifier: str = "math_answer",
    progress: Any = None,
    answered: Callable[[int, int], None] | None = None,
) -> Selection:
    """Ranks a pool of examples by a score, and writes training sets of the first ones.

    pool: a file of examples or a hub data set; `verifier` is for rows that name none.
    history: a run's directory, the paper's JSON, a table (example, visit, accuracy), or graded
        samples. make_history: a recipe to train briefly over the pool with, in `history_out`,
        every example asked about `visits` times (None: the recipe's steps). probe: that many
        answers of `model` to every example, without training. One of the three, or none for the
        scores random and first.
    score: see `oneshot list scores`; None: variance, for a probe pass_rate.
    diversity: 0 (the score alone) to 1, by `category` (a column; None: domain) or `embeddings` (a
        Parquet file with id and embedding).
    out: where the ranking goes (.parquet). sets: a folder for training sets of the first k
        examples for k in `sizes` (None: 1, 2, 4, 16), and of `ranks`, each repeated to `batch`
        rows, in the layout `columns` (own, verl, trl; auto: the pool's, its rows as published).
    progress, answered: told of a history's steps and a probe's answers (done, in all).
    """
    from oneshot_rlvr.examples import load_published
    from oneshot_rlvr.verbs.select import Source, choose, write_ranking, write_sets

    given = [history is not None, make_history is not None, probe is not None]
    if sum(given) > 1:
        raise ConfigError("history, make_history and probe are three ways to one thing; give one.")
    if (probe is None) != (model is None):
        raise ConfigError("a probe asks a model: give both, --probe N and --model MODEL.")
    if probe is not None and probe < 1:
        raise ConfigError(f"probe is {probe}; wanted at least 1 answer an example.")
    subject = None if model is None else find_model(model)
    source = Source(
        path=history,
        recipe=None if make_history is None else resolve(make_history),
        visits=visits,
        out=None if history_out is None else Path(history_out),
        rollouts=probe,
        model="" if subject is None else subject.path,
        model_recipe=None if subject is None else subject.recipe,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    if subject is not None:
        set_threads(subject.recipe.train.threads)
    published = load_published(pool, verifier=verifier)
    chosen = choose(
        published,
        pool,
        source,
        score=score,
        verifier=verifier,
        seed=seed,
        diversity=diversity,
        category=category,
        embeddings=embeddings,
        mixed_first=max([*(sizes or (16,)), *ranks]),
        progress=progress,
        answered=answered,
    )
    if out is not None:
        chosen.files.append(write_ranking(chosen.ranking, out))
    if sets is not None:
        chosen.files.extend(
            write_sets(
                chosen.ranking,
                published,
                pool,
                sets,
                sizes=sizes,
                ranks=ranks,
                batch=batch,
                columns=columns,
            )
        )
    return chosen


def variants(
    examples: str | Path,
    out: str | Path,
    *,
    ids: Sequence[str] | None = None,
    wrong_labels: float = 0.0,
    kind: str = "near",
    question: str | None = None,
    strip_suffix: bool = False,
    prompt: str | None = None,
    shots: Sequence[str | Path] = (),
    columns: str = "auto",
    batch: int | None = None,
    verifier: str = "math_answer",
    seed: int = 0,
) -> tuple[Path, list[Example]]:
    """Writes controls made of a file's examples (all, or `ids`); the file and what is in it.

    wrong_labels: a share of wrong golds of a `kind`: near (guessable), other (another example's),
    unguessable. question, strip_suffix, prompt: other ways to ask. shots: files whose examples go
    before every question, with their answers. columns, batch: as in `select`.
    """
    from oneshot_rlvr.examples import load_published
    from oneshot_rlvr.verbs.variants import read_shots, varied, write_examples

    published = load_published(examples, verifier=verifier, ids=ids)
    found = varied(
        published.examples,
        wrong_labels=wrong_labels,
        kind=kind,
        question=question,
        strip_suffix=strip_suffix,
        prompt=prompt,
        shots=read_shots(shots),
        seed=seed,
    )
    return write_examples(found, published, out, columns=columns, batch=batch), found


def analyse(
    runs: str | Path | Sequence[str | Path],
    *,
    level: float = 0.95,
    steps: int = 5,
    words: Sequence[str] = (),
    targets: Sequence[float] | None = None,
    by: str = "domain",
    texts: bool = True,
    out: str | Path | None = None,
    suffix: str = "csv",
) -> Analysis:
    """What happened in one run or several, as named tables (`tables`) with notes.

    level, steps: training is saturated when its accuracy has been `level` for so many steps.
    words: more words of self-reflection to count. targets: accuracies whose cost is told.
    by: domain or family, what the cross-domain matrix is made of. texts: read every rollout; False
    leaves out what needs them (reflection, gibberish, exact accuracy).
    out: a folder for the tables, `suffix` csv or parquet.
    """
    from oneshot_rlvr.analysis import analyse as look
    from oneshot_rlvr.analysis import write_tables
    from oneshot_rlvr.analysis.cost import TARGETS
    from oneshot_rlvr.analysis.everything import Settings

    if by not in ("domain", "family"):
        raise ConfigError(f'by is "{by}"; wanted domain or family.')
    settings = Settings(
        level=level,
        steps=steps,
        words=tuple(words),
        targets=TARGETS if targets is None else tuple(targets),
        by=by,
        texts=texts,
    )
    found = look([runs] if isinstance(runs, str | Path) else runs, settings)
    if out is not None:
        found.files.extend(write_tables(found, out, suffix))
    return found


def report(run: str | Path, out: str | Path | None = None) -> Path:
    """Writes a run as one HTML file that needs no network; None: report.html inside the run."""
    from oneshot_rlvr.report import report as write_report

    return write_report(run, out)


def resolve(
    recipe: Recipe | str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Recipe:
    """A recipe in any of its forms, checked. ConfigError says what is wrong with it."""
    from oneshot_rlvr.config import Recipe, load_recipe, parse_recipe

    if isinstance(recipe, str | Path):
        return load_recipe(recipe, overrides)
    if overrides:
        raise ConfigError(
            "overrides go with a recipe file or name; put the values into the recipe itself."
        )
    return recipe if isinstance(recipe, Recipe) else parse_recipe(recipe)


def run_directory(recipe: Recipe, out: str | Path | None) -> Path:
    """Where the run goes: `out`, or runs/NAME."""
    if out is not None:
        return Path(out)
    if recipe.name in ("", ".", "..") or Path(recipe.name).name != recipe.name:
        raise ConfigError(
            f'name is "{recipe.name}", which cannot name a directory under runs/; rename the '
            "recipe or give the directory (--out DIR)."
        )
    return Path("runs") / recipe.name


def _report_is_stale(directory: Path) -> bool:
    written = directory / "report.html"
    return (
        not written.exists() or written.stat().st_mtime < (directory / "run.json").stat().st_mtime
    )
