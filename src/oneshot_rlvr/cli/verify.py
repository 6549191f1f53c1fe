"""`oneshot verify`: what a verifier says of one text, or of every row of a file. Needs no torch.

One text: exit code 0 for correct, 1 for not. A file: 0 when every row could be graded, right or
wrong; 1 when a row could not (its line says why, and the rows after it are graded all the same).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say

if TYPE_CHECKING:
    from oneshot_rlvr.rewards import Scorer
    from oneshot_rlvr.types import Example, Verdict

ROWS_AT_A_TIME = 1024
BAD_GOLD, GRADER_ERROR = "bad_gold", "grader_error"
"""Reasons that are no verdict: the row's gold or options, or the grader itself, are unfit."""


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "verify",
        help="grade texts against gold answers",
        description=(
            "Grades one text (--kind, --gold, --text) or the rows of a JSONL file (--file) with "
            'the keys "kind", "gold", "text" and the kind\'s options under their own names. '
            "Reading is lenient unless an option says extraction = strict."
        ),
    )
    parser.add_argument("--kind", help="see `oneshot list verifiers`")
    parser.add_argument("--gold", default="", help="the verified answer")
    parser.add_argument("--text", help="the model's text; - reads standard input")
    parser.add_argument("--file", metavar="JSONL", help="rows to grade; - reads standard input")
    parser.add_argument(
        "--options",
        metavar="JSON",
        default="{}",
        help='the kind\'s options, such as {"rel_tol": 0.01} (default: %(default)s)',
    )
    parser.add_argument(
        "--explain", action="store_true", help="tell which rule decided each verdict"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument(
        "--workers", type=int, default=1, help="grading processes (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS",
        help="deadline of one verdict (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sandbox",
        choices=("bubblewrap", "rlimits_only"),
        default="bubblewrap",
        help="python_code: rlimits_only runs code unconfined (default: %(default)s)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints a line per text; the exit code as the module says."""
    from oneshot_rlvr.config import parse_recipe
    from oneshot_rlvr.errors import ConfigError, DataError
    from oneshot_rlvr.rewards import Scorer

    if (args.file is None) == (args.text is None):
        raise ConfigError("oneshot verify needs --text (with --kind and --gold) or --file, one.")
    options = _options(args.options)
    reward = {"workers": args.workers, "timeout_seconds": args.timeout, "sandbox": args.sandbox}
    config = parse_recipe({"reward": reward}).reward
    with Scorer(config, seed=0) as scorer:
        if args.file is not None:
            return _grade_file(scorer, args, options)
        if args.kind is None:
            raise ConfigError("oneshot verify --text needs --kind. See `oneshot list verifiers`.")
        text = sys.stdin.read() if args.text == "-" else args.text
        row = {**options, "kind": args.kind, "gold": args.gold, "text": text}
        (answer,) = _graded(scorer, [row])
        if args.json:
            _print_json(answer, args.kind if args.explain else None)
        elif answer["correct"] is None:
            raise DataError(answer["error"])
        else:
            say(_told(answer, args.gold))
            if args.explain:
                say("  " + _explained(answer, args.kind))
        return 0 if answer["correct"] else 1


def _grade_file(scorer: Scorer, args: argparse.Namespace, options: dict[str, Any]) -> int:
    reasons: Counter[str] = Counter()
    ungraded = 0
    number = 0
    for rows in _chunks(args.file, options, args.kind):
        for row, answer in zip(rows, _graded(scorer, rows, number), strict=True):
            number += 1
            reasons[answer["reason"]] += 1
            ungraded += answer["correct"] is None
            if args.json:
                kind = row.get("kind") if isinstance(row, Mapping) and args.explain else None
                _print_json(answer, kind)
            else:
                gold = row.get("gold", "") if isinstance(row, Mapping) else ""
                say(f"{number}: {_told(answer, gold)}")
                if args.explain and isinstance(row, Mapping):
                    say("  " + _explained(answer, row.get("kind")))
        sys.stdout.flush()
    if not args.json:
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        say(f"{number} rows: {counts or 'none'}")
    return 1 if ungraded else 0


def _chunks(
    path: str, options: dict[str, Any], kind: str | None
) -> Iterator[list[dict[str, Any] | str]]:
    """Rows as tables, or as the sentence that says why a line is none."""
    with ExitStack() as stack:
        lines = sys.stdin if path == "-" else stack.enter_context(open(path, encoding="utf-8"))
        rows = (_row(n, line, options, kind) for n, line in enumerate(lines, 1) if line.strip())
        while chunk := list(islice(rows, ROWS_AT_A_TIME)):
            yield chunk


def _row(number: int, line: str, options: dict[str, Any], kind: str | None) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"line {number} is not JSON: {error}."
    if not isinstance(row, dict):
        return f"line {number} is a {type(row).__name__}; wanted an object."
    given = {**options, **row}
    if kind is not None:
        given.setdefault("kind", kind)
    return given


def _graded(scorer: Scorer, rows: list[Any], rows_before: int = 0) -> list[dict[str, Any]]:
    """One answer per row, in order. A row that cannot be graded harms no other."""
    from oneshot_rlvr.errors import DataError, OneshotError

    answers: list[dict[str, Any] | None] = [None] * len(rows)
    texts: list[str] = []
    examples: list[Example] = []
    places: list[int] = []  # examples[i] is of rows[places[i]]
    for number, row in enumerate(rows):
        try:
            text, example = _read(f"row {rows_before + number + 1}", row)
            texts.append(text)
            examples.append(example)
            places.append(number)
        except OneshotError as error:
            kind = BAD_GOLD if isinstance(error, (DataError, KeyError)) else GRADER_ERROR
            answers[number] = _unfit(kind, str(error))
    try:
        faults = dict(scorer.bad_golds(examples))
        fit = [i for i, e in enumerate(examples) if e.id not in faults]
        verdicts = scorer.grade_texts([texts[i] for i in fit], [examples[i] for i in fit])
        for i, verdict in zip(fit, verdicts, strict=True):
            answers[places[i]] = _answer(verdict)
        for place, example in zip(places, examples, strict=True):
            if example.id in faults:
                answers[place] = _unfit(BAD_GOLD, faults[example.id])
    except OneshotError:  # one at a time, so that each row gets its own answer
        for place, text, example in zip(places, texts, examples, strict=True):
            answers[place] = _alone(scorer, text, example)
    return [answer for answer in answers if answer is not None]


def _alone(scorer: Scorer, text: str, example: Example) -> dict[str, Any]:
    from oneshot_rlvr.errors import DataError, OneshotError

    try:
        scorer.check_golds([example])
        return _answer(scorer.grade_texts([text], [example])[0])
    except OneshotError as error:
        kind = BAD_GOLD if isinstance(error, DataError) else GRADER_ERROR
        return _unfit(kind, str(error))


def _read(identity: str, row: Any) -> tuple[str, Example]:
    """The text and the example of a row; DataError, UnknownNameError for one that is unfit."""
    from oneshot_rlvr.errors import DataError
    from oneshot_rlvr.types import Example
    from oneshot_rlvr.verifiers import get_verifier

    if isinstance(row, str):
        raise DataError(row)
    kind, text, gold = row.get("kind"), row.get("text"), row.get("gold")
    if not isinstance(kind, str) or not isinstance(text, str):
        missing = "kind" if not isinstance(kind, str) else "text"
        raise DataError(f'the row has no "{missing}"; wanted "kind", "gold" and "text", all texts.')
    known = get_verifier(kind).options
    extra = {key: value for key, value in row.items() if key not in ("kind", "gold", "text")}
    if "extraction" in known:
        extra.setdefault("extraction", "lenient")
    if isinstance(gold, list) and gold and "golds" in known:
        gold, extra["golds"] = gold[0], [*gold[1:], *extra.get("golds", [])]
    return text, Example(identity, "", _gold_text(kind, gold), verifier=kind, extra=extra)


def _gold_text(kind: str, gold: Any) -> str:
    if gold is None:
        return ""
    if isinstance(gold, str):
        return gold
    return json.dumps(gold, ensure_ascii=False)  # numbers, and the values of json_answer


def _answer(verdict: Verdict) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "correct": verdict.correct,
        "reason": str(verdict.reason),
        "extracted": verdict.extracted,
    }
    if verdict.score != float(verdict.correct):  # the kind says more than yes or no
        answer["score"] = verdict.score
    if verdict.details:
        answer["details"] = dict(verdict.details)
    return answer


def _unfit(reason: str, error: str) -> dict[str, Any]:
    return {"correct": None, "reason": reason, "extracted": None, "error": error}


def _told(answer: Mapping[str, Any], gold: Any) -> str:
    if answer["correct"] is None:
        return f"{answer['reason']}: {answer['error']}"
    read = "nothing" if answer["extracted"] is None else repr(answer["extracted"])
    return f"{answer['reason']}: read {read}, gold {gold!r}"


def _explained(answer: Mapping[str, Any], kind: Any) -> str:
    """The rule that decided, in its kind's words; the verdict's reason where it names none."""
    from oneshot_rlvr.errors import OneshotError
    from oneshot_rlvr.verifiers import get_verifier

    rule = answer.get("details", {}).get("rule")
    if rule is None:
        return f"rule: none named ({answer['reason']})"
    try:
        told = get_verifier(kind).rules.get(rule, "") if isinstance(kind, str) else ""
    except OneshotError:
        told = ""
    return f"rule {rule}: {told}".rstrip(": ")


def _print_json(answer: dict[str, Any], explained_kind: Any = None) -> None:
    """One object a line; the rule that decided only where an explanation is asked for."""
    if explained_kind is not None:
        answer = {**answer, "explanation": _explained(answer, explained_kind)}
    else:
        details = {k: v for k, v in answer.get("details", {}).items() if k != "rule"}
        answer = {k: v for k, v in answer.items() if k != "details"}
        if details:
            answer["details"] = details
    # ASCII only: a model's text may hold what no terminal or pipe can encode.
    say(json.dumps(answer))


def _options(text: str) -> dict[str, Any]:
    from oneshot_rlvr.errors import ConfigError

    try:
        options = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--options is not JSON: {error}.") from None
    if not isinstance(options, dict):
        raise ConfigError(f"--options is {text}; wanted a JSON object.")
    return options
