"""Verdicts and speed of math_answer beside math-verify, mathruler and verl's math_dapo.

    python benchmarks/verifiers.py [--data DIR] [--workers 2] [--no-speed] [--out results.json]

Verdicts: every mathematical row of tests/verifiers/cases.jsonl and, where the published files are
at hand (`--data` or $ONESHOT_DATA_DIR), mutations and equivalent rewritings of their golds
(tests/verifiers/mutations.py), by family: wrong accepted, right refused, undecided (nothing was
read, or the grader raised or took more than two seconds), milliseconds a verdict. A grader that is
not installed is left out by name. Lenient rows are shown to ours alone: the others know no such
reading.

Speed: `Scorer` beside math-verify called in a plain loop. Two loads. `repeats`: 1,024 rollouts of
one problem, as a one-shot batch has them (few distinct answers, most of them plain numbers).
`different`: 1,000 answers of which no two are alike, a third of them plain numbers, the rest
expressions. The workers are started and warm before the clock starts, as in the second and every
later step of a run; `cold` tells the first. math-verify is warmed up likewise. Verdicts on these
two loads must be identical.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.types import Example

REASONING = (
    "We know that P = k A V^3. When V = 8 and A = 2 the pressure is 4 pounds, so k = 4 / 1024. "
    "Now the pressure on 4 square feet of sail is 32 pounds, so V^3 = 32 / (4 k). Let me compute "
    "this step by step and check the units on the way. "
)
# Answers to the paper's first example (gold 12.8) with the shares of a half-trained model.
REPEATED = {
    "12.8": 470, "12.7": 120, "16": 90, r"\frac{64}{5}": 60, "8": 60, "12": 50, "12.80": 40,
    "13": 30, "32": 20, "12.6992": 20, "10": 15, r"8\sqrt[3]{4}": 12, "16.0": 10, "64/5": 7,
    r"12.8 \text{ mph}": 6, "V=12.8": 4, r"\sqrt[3]{2048}": 4, "12.8 miles": 3, r"2^{11/3}": 2,
    "128": 1,
}  # fmt: skip


def repeats(rng: random.Random) -> tuple[list[str], list[Example]]:
    """1,024 texts of one example."""
    answers = [answer for answer, count in REPEATED.items() for _ in range(count)]
    rng.shuffle(answers)
    example = Example("pi1", "q", "12.8")
    return [_text(a) for a in answers], [example] * len(answers)


def different(rng: random.Random) -> tuple[list[str], list[Example]]:
    """1,000 texts with distinct answers, each of its own example; about half are right."""
    makers = [
        lambda n: (f"{n}", f"{n}"),
        lambda n: (rf"\frac{{{n}}}{{{n + 3}}}", rf"\frac{{{2 * n}}}{{{2 * n + 6}}}"),
        lambda n: (rf"{n}\sqrt{{3}}", rf"\frac{{{3 * n}}}{{\sqrt{{3}}}}"),
        lambda n: (f"x^2+{n}x", f"x(x+{n})"),
        lambda n: (f"({n}, {n + 1})", rf"\left({n}, {n + 1}\right)"),
        lambda n: (rf"\{{{n}, {n + 2}\}}", f"{n + 2}, {n}"),
        lambda n: (rf"\frac{{{n}\pi}}{{7}}", rf"{n}\cdot\frac{{\pi}}{{7}}"),
        lambda n: (f"{n}.5", rf"\frac{{{2 * n + 1}}}{{2}}"),
        lambda n: (f"{n + 7}", f"{n}+7"),
    ]
    texts, examples = [], []
    for n in range(1000):
        gold, answer = makers[n % len(makers)](1000 + n)
        if rng.random() < 0.5:
            answer = makers[n % len(makers)](3000 + n)[1]
        texts.append(_text(answer))
        examples.append(Example(str(n), "q", gold))
    return texts, examples


def _text(answer: str) -> str:
    return f"{REASONING}So the answer is $\\boxed{{{answer}}}$."


def by_math_verify(texts: list[str], examples: list[Example]) -> list[bool]:
    """The plain loop that a reward function of three lines runs."""
    from math_verify import parse, verify

    return [
        bool(verify(parse(f"${example.answer}$"), parse(text)))
        for text, example in zip(texts, examples, strict=True)
    ]


def measure(
    name: str, texts: list[str], examples: list[Example], workers: int
) -> dict[str, object]:
    """Seconds of both, best of three, and whether the verdicts agree."""
    config = RewardConfig(workers=workers)
    start = time.perf_counter()
    with Scorer(config, seed=0) as scorer:
        scorer.grade_texts(texts, examples)
        cold = time.perf_counter() - start
        ours, mine = _timed(lambda: [v.correct for v in scorer.grade_texts(texts, examples)])
    by_math_verify(texts[:20], examples[:20])
    theirs, their = _timed(lambda: by_math_verify(texts, examples))
    differing = [
        (examples[i].answer, texts[i][len(REASONING) :])
        for i in range(len(texts))
        if mine[i] != their[i]
    ]
    return {
        "load": name,
        "texts": len(texts),
        "right": sum(mine),
        "scorer_seconds": round(ours, 4),
        "scorer_cold_seconds": round(cold, 3),
        "math_verify_seconds": round(theirs, 3),
        "times_faster": round(theirs / ours, 1),
        "differing_verdicts": differing,
    }


TESTS = Path(__file__).parents[1] / "tests" / "verifiers"
MUTATIONS, REWRITINGS = 5000, 2000
LONGEST_SECONDS = 2
MATHS = ("dsr_sub", "math500", "aime24", "aime25", "amc23", "minerva_math", "olympiadbench")
Case = tuple[str, str, str, bool, dict[str, object]]  # family, gold, text, wanted, options
Grader = Callable[[str, str, dict[str, object]], bool | None]


def cases(data: Path | None) -> Iterator[Case]:
    """The handed rows, then mutated and rewritten published golds."""
    for line in (TESTS / "cases.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "math_answer":
            options = {"extraction": row.get("extraction", "strict")}
            yield row["family"], row["gold"], row["text"], row["expected"], options
    if data is None:
        return
    golds, mutations = _module("golds"), _module("mutations")
    found = [e for name in MATHS for e in golds.read(data, name) if e.id not in golds.BROKEN]
    texts = list(dict.fromkeys(e.answer for e in found))
    rng = random.Random(0)
    for make, expected, count in (
        (mutations.wrong, False, MUTATIONS),
        (mutations.equivalent, True, REWRITINGS),
    ):
        made = [(rule, gold, said) for gold in texts for rule, said in make(gold)]
        name = "rewriting" if expected else "mutation"
        for rule, gold, said in rng.sample(made, min(count, len(made))):
            yield f"{name}: {rule}", gold, f"\\boxed{{{said}}}", expected, {}
    for gold in texts:
        yield "published gold", gold, f"\\boxed{{{gold}}}", True, {}


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def graders() -> dict[str, Grader]:
    """The graders that are installed, by name. Each says right, wrong or None for undecided."""
    from oneshot_rlvr.types import Reason
    from oneshot_rlvr.verifiers import get_verifier

    kind = get_verifier("math_answer")

    def ours(gold: str, text: str, options: dict[str, object]) -> bool | None:
        verdict = kind.check(text, Example("x", "", gold, extra=options))
        undecided = verdict.reason in (Reason.UNPARSEABLE, Reason.NO_ANSWER)
        return None if undecided else verdict.correct

    found: dict[str, Grader] = {"oneshot": ours}
    try:
        from math_verify import parse, verify

        def by_math_verify(gold: str, text: str, options: dict[str, object]) -> bool | None:
            said = parse(text, parsing_timeout=None)
            wanted = parse(f"\\boxed{{{gold}}}", parsing_timeout=None)
            return bool(verify(wanted, said, timeout_seconds=None)) if said and wanted else None

        found["math-verify"] = by_math_verify
    except ImportError:
        print("math-verify is not installed")
    try:
        from mathruler.grader import extract_boxed_content, grade_answer

        def mathruler(gold: str, text: str, options: dict[str, object]) -> bool | None:
            said = extract_boxed_content(text)
            return None if said == "None" else bool(grade_answer(said, gold))

        found["mathruler"] = mathruler
    except ImportError:
        print("mathruler is not installed")
    try:
        from verl.utils.reward_score.math_dapo import compute_score

        def math_dapo(gold: str, text: str, options: dict[str, object]) -> bool | None:
            told = compute_score(text, gold)  # its default, as verl's recipes call it
            return None if told["pred"] in (None, "[INVALID]") else bool(told["acc"])

        found["verl math_dapo"] = math_dapo
    except ImportError:
        print("verl is not installed")
    return found


def _overdue(*_: object) -> None:
    raise TimeoutError


def judged(grader: Grader, gold: str, text: str, options: dict[str, object]) -> bool | None:
    """The verdict, or None where the grader raised or took too long."""
    signal.signal(signal.SIGALRM, _overdue)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    try:
        return grader(gold, text, options)
    except Exception:
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def verdict_table(data: Path | None) -> list[dict[str, object]]:
    """One row a family and grader; the last rows are the totals."""
    families: dict[str, list[Case]] = defaultdict(list)
    for case in cases(data):
        families[case[0]].append(case)
    rows: list[dict[str, object]] = []
    totals: dict[str, list[float]] = {}
    for name, grader in graders().items():
        judged(grader, "2", "\\boxed{1+1}", {})  # imports and tables
        for family, members in families.items():
            lenient = any(options.get("extraction") == "lenient" for *_, options in members)
            if lenient and name != "oneshot":
                continue
            start = time.perf_counter()
            told = [judged(grader, gold, text, options) for _, gold, text, _, options in members]
            spent = time.perf_counter() - start
            counts = [
                len(members),
                sum(v is True and not m[3] for v, m in zip(told, members, strict=True)),
                sum(v is not True and m[3] for v, m in zip(told, members, strict=True)),
                sum(v is None for v in told),
                1000 * spent,
            ]
            rows.append(_row(family, name, counts))
            if not lenient:
                totals[name] = [
                    a + b for a, b in zip(totals.get(name, [0] * 5), counts, strict=True)
                ]
    return rows + [_row("all strict families", name, counts) for name, counts in totals.items()]


def _row(family: str, grader: str, counts: list[float]) -> dict[str, object]:
    texts = int(counts[0])
    return {
        "family": family,
        "grader": grader,
        "texts": texts,
        "wrong_accepted": int(counts[1]),
        "right_refused": int(counts[2]),
        "undecided": int(counts[3]),
        "milliseconds": round(counts[4] / texts, 2),
    }


def print_table(rows: list[dict[str, object]]) -> None:
    """Markdown: a line a family; for each grader accepted wrong / refused right / undecided, ms."""
    names = list(dict.fromkeys(str(row["grader"]) for row in rows))
    families = list(dict.fromkeys(str(row["family"]) for row in rows))
    print("| family | texts | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    for family in families:
        cells = {row["grader"]: row for row in rows if row["family"] == family}
        told = [
            "{wrong_accepted} / {right_refused} / {undecided}, {milliseconds} ms".format(**cells[n])
            if n in cells
            else ""
            for n in names
        ]
        texts = next(iter(cells.values()))["texts"]
        print(f"| {family} | {texts} | " + " | ".join(told) + " |")


def _versions() -> dict[str, str]:
    found = {}
    for package in ("math-verify", "mathruler", "verl", "sympy", "antlr4-python3-runtime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _timed(work: object) -> tuple[float, list[bool]]:
    best, result = float("inf"), []
    for _ in range(3):
        start = time.perf_counter()
        result = work()  # type: ignore[operator]
        best = min(best, time.perf_counter() - start)
    return best, result


def main() -> int:
    """Print the table, then one JSON object a load; exit code 1 if a target of speed is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("ONESHOT_DATA_DIR"))
    parser.add_argument("--no-speed", action="store_true", help="the table of verdicts alone")
    args = parser.parse_args()
    table = verdict_table(Path(args.data) if args.data else None)
    print_table(table)
    print(json.dumps(_versions()))
    targets = {"repeats": 20.0, "different": 1.5}
    loads = () if args.no_speed else (("repeats", repeats), ("different", different))
    results = [measure(name, *make(random.Random(0)), args.workers) for name, make in loads]
    for result in results:
        print(json.dumps(result))
    if args.out:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), **_versions()}
        told = {"machine": machine, "verdicts": table, "speed": results}
        args.out.write_text(json.dumps(told, indent=1) + "\n")
    missed = [r for r in results if r["times_faster"] < targets[str(r["load"])]]  # type: ignore[operator]
    return 1 if missed or any(r["differing_verdicts"] for r in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
