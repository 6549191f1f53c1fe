r"""Each verifier beside an older checkout's: CPU time in turns, the ratio new / old of each load.

    python benchmarks/verifiers_beside_old.py OLD_CHECKOUT [--turns 5] [--loads numeric ...]

Every measurement is a process of its own with PYTHONPATH at one of the two checkouts, old and new
in turns, each first as often as the other. A process grades the texts of a load one by one
(`Verifier.check`: read, decide, compare) in `--passes` passes and reports the fastest pass's CPU
time, its children's included. As in a run, every pass asks the same questions (50 golds, or 50 sets
of options) and gets new answers, so that what is kept of a gold helps and what is kept of an answer
helps only where answers are few (letters of options); imports and tables are warm. A ratio below 1
means faster. CPU time hardly depends on what else runs, a ratio in turns less. With `--limit 1.0`
it ends with 1 where the median of a load's ratios is above that. Two checkouts may give different
verdicts (that is what the work on them is for): how many texts each takes for right stands beside.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parents[1]
REASONING = (
    "We know that the first part takes 4 of them and the second 8, so that together they are 12. "
    "Let me check this step by step: 3 times 4 is 12, and half of that is 6. The units agree. "
)
OPTIONS = [
    ["a magnet", "a copper wire", "a glass rod", "a rubber band"],
    ["evaporation", "condensation", "freezing", "melting of the ice"],
    ["The Moon", "Mars", "The Sun", "Venus"],
    ["It doubles.", "It halves.", "It stays the same.", "It becomes zero."],
]
GOLDS = [random.Random(50).randrange(10**6) + place for place in range(50)]
Row = tuple[str, str, str, dict[str, Any]]  # kind, gold, text, options


def boxed(answer: str) -> str:
    """A text with its reasoning and the answer in a box."""
    return f"{REASONING}So the answer is $\\boxed{{{answer}}}$."


def numbers(rng: random.Random) -> Iterator[Row]:
    """Plain numbers, as most answers of a half-trained model are."""
    for gold in GOLDS * 8:
        n = gold if rng.random() < 0.3 else rng.randrange(10**6)
        yield "math_answer", str(gold), boxed(rng.choice([f"{n}", f"{n}.5"])), {}


def expressions(rng: random.Random) -> Iterator[Row]:
    """What sympy has to compare."""
    makers = (
        (r"\frac{%d}{7}", r"\frac{%d}{7}"), (r"%d\sqrt{3}", r"%d\sqrt{3}"), ("x^2+%dx", "%dx+x^2"),
        ("(%d, 2)", r"\left(%d, 2\right)"), (r"\frac{%d\pi}{9}", r"%d\cdot\frac{\pi}{9}"),
        (r"\{%d, 3\}", "3, %d"),
    )  # fmt: skip
    for gold, answer in makers * 5:
        n = rng.randrange(1000, 10**6)
        yield "math_answer", gold % (n + rng.randrange(2)), boxed(answer % n), {}


def numeric(rng: random.Random) -> Iterator[Row]:
    """Numbers with money, names, separators and words behind them; no conversion."""
    spellings = (
        "%d",
        r"\$%d",
        "x = %d",
        r"%d \text{ apples}",
        "%d.0",
        r"\text{Total} = %d",
        "%d%%",
    )
    for spelling in spellings * 60:
        gold = rng.choice(GOLDS)
        n = gold if rng.random() < 0.3 else rng.randrange(10**6)
        yield "numeric", str(gold), boxed(spelling % n), {}


def units(rng: random.Random) -> Iterator[Row]:
    """Numbers that are converted."""
    pairs = (("%d mg", "%d.5 g"), ("%d km/h", r"%d\ \text{m/s}"), ("%d h", "%d min"))
    for gold, answer in pairs * 60:
        yield "numeric", gold % rng.choice(GOLDS), boxed(answer % rng.randrange(10**6)), {}


def choices(rng: random.Random) -> Iterator[Row]:
    """Letters and texts of options, in boxes and in prose."""
    spellings = (
        r"\boxed{%s}", "The answer is (%s).", r"\boxed{\text{(%s)}}", "Well.\nSo (%s) is correct",
        "I think A or B could be.\n\nAnswer: %s",
    )  # fmt: skip
    for spelling in spellings * 60:
        number = rng.randrange(50)
        options = [f"{text} {GOLDS[number]}" for text in OPTIONS[number % 4]]
        place = rng.randrange(4)
        said = options[place] if rng.random() < 0.2 else "ABCD"[place]
        gold = "ABCD"[rng.randrange(4)]
        yield "multiple_choice", gold, REASONING + spelling % said, {"choices": options}


def texts(rng: random.Random) -> Iterator[Row]:
    """Words in a box, with and without LaTeX's dress."""
    for spelling in ("%s", r"\text{%s}", "%s.", "**%s**", r"the \textbf{%s}") * 80:
        gold = rng.choice(GOLDS)
        n = gold if rng.random() < 0.3 else rng.randrange(10**6)
        yield "exact_match", f"Paris {gold}", boxed(spelling % f"Paris {n}"), {}


def patterns(rng: random.Random) -> Iterator[Row]:
    """Dates against a pattern."""
    for _ in range(400):
        said = f"{rng.randrange(1900, 2100)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 40)}"
        yield "regex_match", r"20\d\d-\d\d-\d\d", boxed(said), {}


def values(rng: random.Random) -> Iterator[Row]:
    """JSON in a fence against a value."""
    for _ in range(400):
        gold = rng.choice(GOLDS)
        n = gold if rng.random() < 0.3 else rng.randrange(10**6)
        wanted, said = (
            json.dumps({"sum": v, "items": [1, 2, {"a": v}], "name": "x"}) for v in (gold, n)
        )
        yield "json_answer", wanted, f"{REASONING}\n```json\n{said}\n```", {}


def schemas(rng: random.Random) -> Iterator[Row]:
    """JSON against a schema."""
    schema = {"type": "object", "properties": {"sum": {"type": "number", "multipleOf": 0.5}}}
    for _ in range(200):
        said = json.dumps({"sum": rng.randrange(10**6) / 4})
        yield "json_answer", "", f"{REASONING}\n```json\n{said}\n```", {"schema": schema}


def parts(rng: random.Random) -> Iterator[Row]:
    """A number that is also written as asked."""
    for _ in range(200):
        n = rng.choice(GOLDS)
        both = [{"verifier": "numeric"}, {"verifier": "regex_match", "answer": "[0-9]+"}]
        yield "all_of", str(n), boxed(rng.choice(["%d", "%d.0"]) % n), {"parts": both}


def moves(rng: random.Random) -> Iterator[Row]:
    """A first move."""
    fen = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"
    for said in ("e4", "1. d4!", "Nf3", "g1f3", r"\text{e4}") * 40:
        yield "chess_move", rng.choice(["e4, d4", "Nf3"]), boxed(said), {"fen": fen}


def code(rng: random.Random) -> Iterator[Row]:
    """Functions in the sandbox; without bubblewrap, as processes with limits."""
    for _ in range(8):
        body = f"```python\ndef add(a, b):\n    return a + b + {rng.randrange(2)}\n```"
        tests = {"tests": f"assert add({rng.randrange(10**6)}, 0) > 0\nassert add(2, 2) == 4"}
        yield "python_code", "", body, tests


LOADS = {
    made.__name__: made
    for made in (
        numbers, expressions, numeric, units, choices, texts, patterns, values, schemas, parts,
        moves, code,
    )
}  # fmt: skip


def measure(load: str, passes: int) -> dict[str, float]:
    """CPU seconds a text, of the fastest pass, and the share that is right in the last one."""
    from oneshot_rlvr.types import Example
    from oneshot_rlvr.verifiers import get_verifier
    from oneshot_rlvr.verifiers.sandbox import confine

    best, right = float("inf"), 0
    for number in range(passes + 1):
        rows = list(LOADS[load](random.Random(number)))
        examples = [Example("x", "q", gold, kind, extra=extra) for kind, gold, _, extra in rows]
        if load == "code" and confine.unusable() is not None:
            for example in examples:
                example.extra["sandbox"] = "rlimits_only"  # type: ignore[index]
        kind = get_verifier(rows[0][0])
        began = _cpu()
        right = sum(kind.check(row[2], ex).correct for row, ex in zip(rows, examples, strict=True))
        if number:  # the first one imports and builds tables
            best = min(best, _cpu() - began)
    return {"seconds": best / len(rows), "right": right / len(rows)}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _run(checkout: Path, load: str, passes: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", load]
    env = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--passes", str(passes)], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Prints a row a load; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", nargs="?", type=Path, help="another checkout of this repository")
    parser.add_argument("--new", type=Path, default=HERE)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS, metavar="LOAD")
    parser.add_argument("--limit", type=float)
    parser.add_argument("--measure", choices=LOADS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.passes)))
        return 0
    if args.old is None:
        parser.error("name the other checkout")
    sides = {"old": args.old.resolve(), "new": args.new.resolve()}
    slow = []
    for load in args.loads:
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for turn in range(args.turns):
            for name in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
                taken[name].append(_run(sides[name], load, args.passes))
        pairs = list(zip(taken["new"], taken["old"], strict=True))
        ratios = [new["seconds"] / old["seconds"] for new, old in pairs]
        microseconds = 1e6 * median(new["seconds"] for new in taken["new"])
        new, old = pairs[-1]
        print(
            f"{load:12} new/old {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); "
            f"new {microseconds:.1f} us a text; "
            f"right: new {new['right']:.2f}, old {old['right']:.2f}",
            flush=True,
        )
        if median(ratios) > (args.limit or float("inf")):
            slow.append(load)
    if slow:
        print(f"above {args.limit}: {', '.join(slow)}")
    return int(bool(slow))


if __name__ == "__main__":
    raise SystemExit(main())
