"""The two sides of a comparison for `oneshot evaluate`: models answered now, or answers read back.

A side is one model, several seeds of one, a server, or folders of stored answers. Not here: what is
printed of it (`evaluation_tables`), and the verb's flags (`evaluate`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation import EvaluationResult
    from oneshot_rlvr.evaluation.comparison import Comparison, Samples
    from oneshot_rlvr.evaluation.endpoint import Endpoint

FOLDER = Path("evaluations")
"""Where graded answers go, a folder a model, unless --samples-out says another."""


class Side:
    """The models of one side, answered or read back: samples by benchmark, one list a model."""

    def __init__(self, names: Sequence[Any], args: argparse.Namespace, endpoint: Endpoint | None):
        self.samples: dict[str, list[Samples]] = {}
        self.results: dict[str, list[EvaluationResult]] = {}
        self.name = ", ".join(str(getattr(name, "name", name)) for name in names)
        if endpoint is not None:
            self.name = f"{endpoint.model} at {endpoint.url}"
            self._answer("", args, endpoint)
        for name in [] if endpoint is not None else names:
            stored = stored_answers(name)
            if stored is None:
                self._answer(name, args, None)
            else:
                self._take(stored)

    @property
    def missing(self) -> bool:
        """Whether a server left answers out."""
        return any(result.failures for some in self.results.values() for result in some)

    def summaries(self) -> dict[str, Any]:
        """Summary by benchmark; a list of them where the side has several models."""
        found = {key: [result.summary for result in some] for key, some in self.results.items()}
        return {key: some[0] if len(some) == 1 else some for key, some in found.items()}

    def show(self) -> None:
        """A table a benchmark; the templates of one benchmark in one table."""
        from oneshot_rlvr.cli.evaluation_tables import print_evaluation, print_prompts

        by_benchmark: dict[str, dict[str, Any]] = {}
        for key, some in self.results.items():
            for number, result in enumerate(some):
                summary = result.summary
                name = str(summary.get("benchmark") or key)  # a file's stem, not its path
                if len(some) > 1:
                    print_evaluation(f"{name}, {number + 1} of {len(some)}", summary)
                elif summary.get("prompt", "own") == key.rpartition(":")[2]:
                    named = by_benchmark.setdefault(name, {})
                    named[summary["prompt"]] = summary
                else:
                    print_evaluation(name, summary)
        for benchmark, summaries in by_benchmark.items():
            print_prompts(benchmark, summaries)

    def _answer(self, name: Any, args: argparse.Namespace, endpoint: Endpoint | None) -> None:
        from oneshot_rlvr import api
        from oneshot_rlvr.cli.progress import AnswerCount
        from oneshot_rlvr.evaluation.store import file_name, place_beside, slug, write_samples

        label = endpoint.model if endpoint is not None else str(getattr(name, "name", name))
        folder = Path(args.samples_out) if args.samples_out else FOLDER / slug(label)
        if args.samples_out and (len(args.models) > 1 or args.against):
            folder /= slug(label)
        with closing(AnswerCount()) as count:
            results = api.evaluate(
                name,
                benchmarks=names_in(args.benchmarks or "tiny"),
                seed=args.seed,
                samples=args.samples,
                temperature=args.temperature,
                questions=args.questions,
                max_new_tokens=args.max_new_tokens,
                max_prompt_tokens=args.max_prompt_tokens,
                data_dir=args.data_dir,
                prompts=names_in(args.prompts),
                engine=args.engine,
                endpoint=endpoint,
                journals=folder,
                progress=count,
            )
        for key, result in results.items():
            self.results.setdefault(key, []).append(result)
            self.samples.setdefault(_key(result.samples[0]), []).append(result.samples)
            facts = result.summary
            path = folder / file_name(
                facts["benchmark"],
                facts["prompt"],
                facts["samples"],
                facts["temperature"],
                facts["seed"],
            )
            path = place_beside(path, result.samples)
            write_samples(path, result.samples)
            say(f"graded answers: {path}", file=sys.stderr)

    def _take(self, files: Mapping[Path, list[dict[str, Any]]]) -> None:
        from oneshot_rlvr.evaluation import EvaluationResult
        from oneshot_rlvr.evaluation.run import summed_up

        for rows in files.values():
            facts = {name: rows[0].get(name) for name in ("benchmark", "temperature", "seed")}
            facts |= {"prompt": rows[0].get("prompt") or "own", "model": rows[0].get("model")}
            result = EvaluationResult(rows, summed_up(rows, facts))
            self.results.setdefault(_key(rows[0]), []).append(result)
            self.samples.setdefault(_key(rows[0]), []).append(rows)


def compare_sides(ours: Side, theirs: Side) -> list[Comparison]:
    """One comparison a shared benchmark, ours after theirs. ConfigError where none is shared."""
    from oneshot_rlvr.errors import ConfigError
    from oneshot_rlvr.evaluation.comparison import compare

    shared = [key for key in ours.samples if key in theirs.samples]
    if not shared:
        raise ConfigError(
            f"the sides share no benchmark: {', '.join(ours.samples)} on one, "
            f"{', '.join(theirs.samples)} on the other."
        )
    return [compare(key, theirs.samples[key], ours.samples[key]) for key in shared]


def _key(sample: Mapping[str, Any]) -> str:
    benchmark, prompt = str(sample.get("benchmark")), sample.get("prompt") or "own"
    return benchmark if prompt == "own" else f"{benchmark}:{prompt}"


def stored_answers(name: Any) -> dict[Path, list[dict[str, Any]]] | None:
    """The samples that a path holds; None for a model, a run, or a name."""
    from oneshot_rlvr.evaluation.store import read_samples, sample_files

    path = Path(name) if isinstance(name, str) else None
    if path is None or not path.exists() or (path / "run.json").exists():
        return None
    if path.is_dir() and not any(path.glob("*.parquet")):
        return None
    return {file: read_samples(file) for file in sample_files(path)}


def names_in(text: str) -> list[str]:
    """The names of a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
