"""`oneshot evaluate`: graded answers to benchmarks, with 95 % intervals, and what belongs to it.

Comparing two models (--against), asking fairly (--prompts), one question side by side (--ask), the
contamination probe, and grading stored answers again. Exit code 1 where a server left answers out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.cli.decoding_flags import add_decoding, decoding_of
from oneshot_rlvr.cli.parser import Parser, names_in
from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from oneshot_rlvr.evaluation.endpoint import Endpoint
    from oneshot_rlvr.verbs.compare import Asking


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "evaluate",
        help="answer and grade benchmarks with a model, a run's result, or a server",
        description="Answers and grades benchmarks. Settings that are not given come from the "
        "run's recipe where that tests on the same benchmark, else from the benchmark's usual "
        "decoding (the paper's: 8 samples at 0.6 for AIME and AMC, else greedy). Every graded "
        "answer is kept, as Parquet.",
    )
    add = parser.add_argument
    add(
        "models",
        nargs="*",
        metavar="MODEL|RUN",
        help="hub name, model directory, `tiny`, a run's directory, or a folder of stored answers; "
        "several are seeds of one recipe (see --against); with --endpoint: the name there",
    )
    add(
        "--against",
        nargs="+",
        metavar="MODEL|RUN",
        help="compare with these, paired by question; `base`: the model that the run began with",
    )
    add(
        "--benchmarks",
        metavar="NAME[,NAME]",
        help="names (`oneshot list benchmarks`), TOML files or examples files (default: tiny)",
    )
    add("--data-dir", metavar="DIR", help="look here for benchmarks' files first")
    add(
        "--prompts",
        default="own",
        metavar="NAME[,NAME]",
        help="prompt templates: all, own (the benchmark's), names, TOML files (default: own)",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of sampling and of generated questions: a fresh test set each (default: %(default)s)",
    )
    add("--samples", type=int, metavar="K", help="answers per question, avg@K (default: as above)")
    add("--temperature", type=float, metavar="T", help="0 is greedy (default: as above)")
    add(
        "--questions",
        type=int,
        metavar="n",
        help="first n questions, generated: per family; 0: all (default: as above)",
    )
    add("--max-new-tokens", type=int, metavar="n", help="cut answers here (default: the recipe's)")
    add(
        "--max-prompt-tokens",
        type=int,
        metavar="n",
        help="longer prompts are refused (default: the recipe's)",
    )
    add_decoding(parser)
    add("--engine", metavar="NAME", help="`oneshot list engines` (default: the recipe's)")
    add("--json", action="store_true", help="print the summaries as JSON")
    add("--out", metavar="FILE", help="write the summaries to a JSON file")
    add(
        "--samples-out",
        metavar="DIR",
        help="every graded answer goes here, one Parquet a benchmark (default: evaluations/MODEL)",
    )
    add(
        "--overwrite",
        action="store_true",
        help="replace what lies where answers go (default: only the same evaluation goes on there)",
    )
    other = parser.add_argument_group("instead of benchmarks")
    other.add_argument("--ask", metavar="TEXT", help="one question: base and trained side by side")
    other.add_argument(
        "--contamination",
        action="store_true",
        help="share of questions that the model finishes word by word from their first 60 %%",
    )
    other.add_argument(
        "--regrade",
        metavar="PATH",
        help="grade stored answers again (a Parquet file or a folder of them), without the model; "
        "they go to --samples-out, or with --overwrite where they were",
    )
    served = parser.add_argument_group("a server that speaks the OpenAI protocol")
    served.add_argument("--endpoint", metavar="URL", help="such as http://localhost:8000/v1")
    served.add_argument(
        "--concurrency", type=int, default=16, metavar="n", help="requests at once (%(default)s)"
    )
    served.add_argument(
        "--retries", type=int, default=5, metavar="n", help="of a request (%(default)s)"
    )
    served.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="of a request (%(default)s)",
    )
    served.add_argument(
        "--patience",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="without any answer; then a server must list its models, or is dead; 0: no end "
        "(%(default)s)",
    )
    served.add_argument(
        "--api-key-variable",
        default="OPENAI_API_KEY",
        metavar="NAME",
        help="environment variable that holds the key (%(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Does what was asked; the exit code as the module says."""
    if args.regrade is not None:
        _refuse_answering(args)
        return _regrade(args)
    _refuse_odd(args)
    if args.ask is not None:
        return _ask(args)
    endpoint = _endpoint(args)
    if args.contamination:
        return _probe(args, endpoint)

    from oneshot_rlvr.cli.evaluation_tables import print_comparison, print_results
    from oneshot_rlvr.verbs.compare import Side, compare_sides, other_side

    # Refused before anything is asked.
    others = None if args.against is None else other_side(args.against, args.models)
    asking = _asking(args)
    _refuse_taken(args)
    ours = Side(args.models, asking, endpoint)
    document: dict[str, Any] = {"model": ours.name, "benchmarks": ours.summaries()}
    if others is None:
        if not args.json:
            print_results(ours.results)
        _write(args, document)
        return 1 if ours.missing else 0
    theirs = Side(others, asking)
    compared = compare_sides(ours, theirs)
    document |= {"against": theirs.name, "comparisons": [one.as_dict() for one in compared]}
    if not args.json:
        print_comparison(compared, ours.name, theirs.name)
    _write(args, document)
    return 1 if ours.missing or theirs.missing else 0


def _asking(args: argparse.Namespace) -> Asking:
    """The flags as a side is asked; the live line and the files' paths go to stderr."""
    from oneshot_rlvr.cli.progress import AnswerCount
    from oneshot_rlvr.verbs.compare import Asking

    return Asking(
        {
            "benchmarks": names_in(args.benchmarks or "tiny"),
            "seed": args.seed,
            "samples": args.samples,
            "temperature": args.temperature,
            "questions": args.questions,
            "max_new_tokens": args.max_new_tokens,
            "max_prompt_tokens": args.max_prompt_tokens,
            "decoding": args.decoding,
            **decoding_of(args),
            "note": lambda text: say(text, file=sys.stderr),
            "data_dir": args.data_dir,
            "prompts": names_in(args.prompts),
            "engine": args.engine,
        },
        out=args.samples_out,
        overwrite=args.overwrite,
        apart=len(args.models) > 1 or bool(args.against),
        counting=lambda: closing(AnswerCount()),
        written=lambda path: say(f"graded answers: {path}", file=sys.stderr),
    )


def _ask(args: argparse.Namespace) -> int:
    from oneshot_rlvr.cli.evaluation_tables import print_answers
    from oneshot_rlvr.verbs.ask import ask

    answers = ask(
        args.models[0],
        args.ask,
        temperature=0.0 if args.temperature is None else args.temperature,
        samples=1 if args.samples is None else args.samples,
        seed=args.seed,
        max_new_tokens=args.max_new_tokens,
        engine=args.engine,
        **decoding_of(args),
    )
    if args.json:
        say(json.dumps({side: [text for text, _ in some] for side, some in answers.items()}))
    else:
        print_answers(args.ask, answers)
    return 0


def _probe(args: argparse.Namespace, endpoint: Endpoint | None) -> int:
    from oneshot_rlvr.cli.evaluation_tables import print_probe
    from oneshot_rlvr.cli.progress import AnswerCount
    from oneshot_rlvr.records.files import refuse_unwritable
    from oneshot_rlvr.verbs.contamination import probe_contamination, write_probes
    from oneshot_rlvr.verbs.evaluate import folder_of

    label = endpoint.model if endpoint is not None else args.models[0]
    folder = folder_of(label, args.samples_out)
    refuse_unwritable(folder)
    _refuse_taken(args)
    with closing(AnswerCount()) as count:
        probes = probe_contamination(
            "" if endpoint is not None else args.models[0],
            benchmarks=names_in(args.benchmarks or "tiny"),
            questions=args.questions,
            max_prompt_tokens=args.max_prompt_tokens,
            seed=args.seed,
            data_dir=args.data_dir,
            engine=args.engine,
            endpoint=endpoint,
            journals=folder,
            progress=count,
        )
    summaries = {name: summary for name, (_, summary) in probes.items()}
    write_probes(probes, folder, overwrite=args.overwrite)
    if not args.json:
        for summary in summaries.values():
            print_probe(summary["benchmark"], summary)
    _write(args, {"model": label, "contamination": summaries})
    return 0


def _regrade(args: argparse.Namespace) -> int:
    from oneshot_rlvr.evaluation.regrade import changes
    from oneshot_rlvr.verbs.regrade import regrade

    graded = regrade(args.regrade, out=args.samples_out, overwrite=args.overwrite, seed=args.seed)
    for path, rows in graded.items():
        right, wrong = changes(rows)
        share = sum(row["correct"] for row in rows) / len(rows)
        say(
            f"{path}: {len(rows)} answers graded again, {right} became right, {wrong} became "
            f"wrong; {100 * share:.1f} % of the answers are right"
        )
    return 0


def _endpoint(args: argparse.Namespace) -> Endpoint | None:
    from oneshot_rlvr.evaluation.endpoint import endpoint_from

    if args.endpoint is None:
        return None
    return endpoint_from(
        args.endpoint,
        args.models[0] if args.models else "",
        api_key_variable=args.api_key_variable,
        concurrency=args.concurrency,
        retries=args.retries,
        timeout_seconds=args.timeout,
        patience_seconds=args.patience,
    )


def _refuse_answering(args: argparse.Namespace) -> None:
    """ConfigError for what asks a model, where stored answers are graded again."""
    from oneshot_rlvr.errors import ConfigError

    drawing = {"temperature": args.temperature, **decoding_of(args)}
    given = [key for key, value in drawing.items() if value is not None]
    if args.decoding != "benchmark":
        given.insert(0, "decoding")
    if given:
        flag = given[0].removesuffix("s").replace("_", "-")
        raise ConfigError(
            f"--{flag} is for answers that are drawn now, and --regrade asks no model; leave it "
            "out."
        )


def _refuse_odd(args: argparse.Namespace) -> None:
    """ConfigError for words that do not go together."""
    from oneshot_rlvr.errors import ConfigError

    if args.endpoint is not None and (args.ask or args.engine or len(args.models) > 1):
        raise ConfigError(
            "--endpoint goes with one model name, and neither with --ask nor --engine."
        )
    if not args.models and args.endpoint is None:
        raise ConfigError(
            "oneshot evaluate needs a MODEL or RUN, --endpoint URL, or --regrade PATH."
        )
    if len(args.models) > 1 and (args.ask or args.contamination):
        raise ConfigError("--ask and --contamination take one model.")
    if args.decoding != "benchmark" and (args.ask or args.contamination):
        raise ConfigError("--decoding is for benchmarks; give --temperature, --top-p ... instead.")
    if args.contamination and any(value is not None for value in decoding_of(args).values()):
        raise ConfigError("--contamination continues greedily; leave the decoding out.")


_DECIDES_NOTHING = (
    *("out", "json", "overwrite", "run", "verb", "samples_out"),
    *("api_key_variable", "concurrency", "retries", "timeout", "patience"),
)


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The words of the command on which its summaries depend."""
    every = {key: value for key, value in vars(args).items() if key not in _DECIDES_NOTHING}
    return {key: value for key, value in every.items() if value is not None and value is not False}


def _earlier(args: argparse.Namespace) -> dict[str, Any] | None:
    """The summaries at --out, where this very command wrote them."""
    try:
        document = json.loads(Path(args.out).read_bytes())
        same = document["asked"] == json.loads(json.dumps(_asked(args)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(document) if same else None


def _refuse_taken(args: argparse.Namespace) -> None:
    """RecordsError, before anything is asked, where --out cannot be written, or holds what another
    command asked for. The same command may go on where a server left answers out."""
    from oneshot_rlvr.records.files import refuse_taken, refuse_unwritable

    if not args.out:
        return
    out = Path(args.out)
    refuse_unwritable(out.absolute().parent)
    if (out.is_file() or out.is_dir()) and _earlier(args) is None:
        refuse_taken(out, overwrite=args.overwrite)


def _write(args: argparse.Namespace, document: Mapping[str, Any]) -> None:
    """Prints the summaries, and writes them where only their like may be replaced."""
    from oneshot_rlvr.records.files import write_outputs

    text = json.dumps({"asked": _asked(args), **document}, indent=2) + "\n"
    if args.json:
        say(text, end="")
    if args.out:
        earlier = _earlier(args)
        goes_on = earlier is not None and _lacks_answers(earlier)
        write_outputs({Path(args.out): text.encode()}, overwrite=args.overwrite or goes_on)


def _lacks_answers(document: Mapping[str, Any]) -> bool:
    """Whether summaries were made while a server had left answers out."""
    found = document.get("benchmarks", {}).values()
    every = [one for some in found for one in (some if isinstance(some, list) else [some])]
    return any("missing" in summary for summary in every)
