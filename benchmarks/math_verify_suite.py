r"""math-verify's own test suite, graded by math_answer in its lenient reading.

    python benchmarks/math_verify_suite.py PATH/TO/Math-Verify/tests [--show]

The suite is not ours and not shipped: clone github.com/huggingface/Math-Verify and pass its tests
folder. Every parametrised (gold, pred, expected) is read from the sources' syntax trees, nothing of
it is run; a row's own `precision` and `allow_set_relation_comp` are the options `decimals` and
`inequality_for_set`. A gold is its last box, else the
mathematics between its dollar signs. Prints how many verdicts are as the suite wants them, how many
answers are accepted that it wants refused, and how many of the rows whose gold and text set off at
most one piece of mathematics each; --show lists the rest, among them verdicts that math_answer does
not share (`z = 3+3 = 2` for 2).
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.boxed import boxes, last_box
from oneshot_rlvr.verifiers.numbers import DECIMALS
from oneshot_rlvr.verifiers.statements import stated_answer

# `\boxed{20}$ percent.`: the suite's own reading takes what stands behind a box for its unit.
_PER_CENT_BEHIND = re.compile(r"\}\$?\s?(?:%|percent|pct)\.?\s*$")
CLOSE = 15  # characters between boxes of a gold that are one list, whatever stands there
_SET_OFF = re.compile(r"\$\$.*?\$\$|\$[^$]*\$|\\\[.*?\\\]|\\\(.*?\\\)", re.DOTALL)


def is_one_expression(gold: str, text: str) -> bool:
    """Whether neither a row's gold nor its text sets off more than one piece of mathematics."""
    return all(len(_SET_OFF.findall(side)) <= 1 for side in (gold, text))


def rows(folder: Path) -> Iterator[tuple[str, str, bool, dict[str, Any]]]:
    """(gold, text, wanted, options) of every parametrised test that is written out in literals."""
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "parametrize":
                    yield from _parametrised(call)


def _parametrised(call: ast.Call) -> Iterator[tuple[str, str, bool, dict[str, Any]]]:
    try:
        names = [name.strip() for name in ast.literal_eval(call.args[0]).split(",")]
        found = ast.literal_eval(call.args[1])
    except (ValueError, AttributeError):
        return  # computed, not written out
    wanted = "expected" if "expected" in names else "result"
    if {"gold", "pred", wanted} <= set(names):
        for values in found:
            row = dict(zip(names, values, strict=True))
            options = {
                "decimals": min(row.get("precision", DECIMALS), DECIMALS),
                "inequality_for_set": row.get("allow_set_relation_comp", True),
            }
            yield row["gold"], row["pred"], bool(row[wanted]), options


def gold_of(text: str) -> str:
    """What a gold of the suite states."""
    text = text.replace("\\\\boxed", "\\boxed").replace("\\\\text", "\\text")
    if text.startswith("\\boxed{") and last_box(text) is None:
        text += "}"  # cut short
    found = boxes(text)
    if len(found) > 1 and all(b.start - a.end <= CLOSE for a, b in pairwise(found)):
        return ", ".join(box.content for box in found)
    box = last_box(text)
    if box is not None:
        return rf"{box} \%" if _PER_CENT_BEHIND.search(text) else box
    text = text.strip()
    if text.startswith("$") and text.endswith("$"):
        return text.strip("$")
    return stated_answer(text) or text


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("tests", type=Path)
    parser.add_argument("--show", action="store_true", help="list the verdicts that differ")
    args = parser.parse_args()
    kind = get_verifier("math_answer")
    total = as_wanted = accepted = 0
    single: dict[tuple[str, str, bool], bool] = {}
    for gold, text, wanted, options in rows(args.tests):
        example = Example("x", "", gold_of(gold), extra={"extraction": "lenient", **options})
        verdict = kind.check(text, example)
        total += 1
        as_wanted += verdict.correct is wanted
        accepted += verdict.correct and not wanted
        if is_one_expression(gold, text):
            single[gold, text, wanted] = verdict.correct is wanted
        if args.show and verdict.correct is not wanted:
            print(f"wanted {wanted}: gold {gold[-80:]!r}, text {text[-120:]!r}, {verdict}")
    print(f"{as_wanted} of {total} as wanted; {accepted} accepted that should not be")
    print(f"{sum(single.values())} of {len(single)} rows of one expression, each row once")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
