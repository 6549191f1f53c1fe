"""A study's result as Parquet, Markdown and LaTeX. Numbers in, text out; nothing is computed.

Shares are shown in per cent, differences in points; correlations as they are.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

Result = Mapping[str, Any]
_TIDY = ("arms", "differences", "claims", "base_ways", "pass_at_k", "curves", "budgets")


def parquet(result: Result) -> bytes:
    """results.parquet: every number of the study, a row each kind of it; `kind` says which."""
    rows = []
    for kind in _TIDY:
        for row in result[kind]:
            flat = {**row, **{f"claim_{k}": v for k, v in row.get("claim", {}).items()}}
            flat.pop("claim", None)
            rows.append({"kind": kind, "study": result["study"], "sha256": result["sha256"],
                         **{k: _cell(v) for k, v in flat.items()}})  # fmt: skip
    frame = pd.DataFrame(rows)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """Lists and tables as text, so that a column has one kind."""
    return str(value) if isinstance(value, list | dict | tuple) else value


def number(value: float | None, *, signed: bool = False, share: bool = True) -> str:
    """ "70.1", "+3.4", "0.52"; a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    sign = "+" if signed else ""
    text = f"{100 * value:{sign}.1f}" if share else f"{value:{sign}.2f}"
    return text.replace("-", "−")


def interval(row: Mapping[str, Any], *, signed: bool = False, share: bool = True) -> str:
    """ "70.1 [68.0, 72.2]"."""
    value = number(row["value"], signed=signed, share=share)
    low, high = row.get("low"), row.get("high")
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return value
    ends = (number(end, signed=signed, share=share) for end in (low, high))
    return f"{value} [{', '.join(ends)}]"


def p_text(p: float | None) -> str:
    """A p-value in three digits."""
    if p is None or math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def wanted(claim: Mapping[str, Any], way: str = "") -> str:
    """A claim's rule: "accuracy of outcome over base, test: above 0 points"; `way`: how the base
    was asked."""
    share = claim["statistic"] != "rank_correlation"
    at = claim["threshold"]
    amount = f"{100 * at:g} points" if share and claim["against"] else f"{100 * at:g} %"
    if not share:
        amount = f"{at:g}"
    what = claim["arm"] or f"{len(claim['arms'])} arms by {claim['score']}"
    over = f" over {claim['against']}" if claim["against"] else ""
    over += f" ({way})" if way else ""
    only = "".join(f", {key} {value}" for key, value in claim["only"].items())
    where = f", {claim['benchmark']}" if claim["benchmark"] else ""
    return f"{claim['statistic']} of {what}{over}{only}{where}: {claim['relation']} {amount}"


def claim_number(row: Mapping[str, Any]) -> str:
    """The value of a claim with its interval."""
    share = row["claim"]["statistic"] != "rank_correlation"
    return interval(row, signed=bool(row["claim"]["against"]) or not share, share=share)


CLAIMS: Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]] = (
    ("claim", lambda row: str(row["claim"]["name"])),
    ("rule", lambda row: wanted(row["claim"], row["way"])),
    ("paper", lambda row: str(row["claim"]["paper"]) or "–"),
    ("found [95 %]", claim_number),
    ("p, Holm", lambda row: p_text(row["corrected"])),
    ("verdict", lambda row: f"{row['verdict']}{': ' + row['why'] if row['why'] else ''}"),
)


def runs_in_words(names: Iterable[str]) -> str:
    """ "outcome (seeds 0, 1), base" of the names "outcome, seed 0", "outcome, seed 1", "base"."""
    seeds: dict[str, list[str]] = {}
    for name in names:
        arm, _, seed = name.partition(", seed ")
        seeds.setdefault(arm, []).extend([seed] if seed else [])
    return ", ".join(
        f"{arm} (seed{'s' if len(of) > 1 else ''} {', '.join(of)})" if of else arm
        for arm, of in seeds.items()
    )


def failed(result: Result) -> list[str]:
    """What failed, a line for each cause: "outcome (seeds 0, 1): why"."""
    by_cause: dict[str, list[str]] = {}
    for name, why in result["failures"].items():
        by_cause.setdefault(why, []).append(name)
    return [f"{runs_in_words(names)}: {why}" for why, names in by_cause.items()]


BUDGET_COLUMNS = 4
"""The last ones of `arms_table`: seeds, rollouts, tokens, and what of the budget differs."""


def arms_table(result: Result, benchmark: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows: accuracy and the difference to each control, an arm a row."""
    controls = list(dict.fromkeys(row["against"] for row in result["differences"]))
    head = ["arm", "accuracy, % [95 %]", *(f"over {c}, points [95 %]" for c in controls)]
    head += ["seeds", "rollouts", "tokens", "differs in"]
    spent = {row["arm"]: row for row in result["budgets"]}
    rows = []
    for row in result["arms"]:
        if row["benchmark"] != benchmark:
            continue
        own = {d["against"]: d for d in result["differences"]
               if d["arm"] == row["arm"] and d["benchmark"] == benchmark}  # fmt: skip
        budget = spent.get(row["arm"], {})
        cells = [row["arm"] + (f" ({row['way']})" if row["arm"] == "base" else ""), interval(row)]
        for control in controls:
            found = own.get(control)
            cells.append(
                "–"
                if found is None
                else f"{interval(found, signed=True)}, p {p_text(found['p_holm'])}"
            )
        cells += [
            str(len(row["seeds"])) if row["seeds"] else "–",
            f"{budget['rollouts']:,}" if budget.get("rollouts") else "–",
            f"{budget['tokens']:,.0f}" if budget.get("tokens") else "–",
            "; ".join(f"{key} {was} → {now}" for key, (was, now) in budget["differs"].items())
            if budget.get("differs") else "–",
        ]  # fmt: skip
        rows.append(cells)
    return head, rows


def markdown(result: Result) -> str:
    """The whole result in Markdown tables."""
    lines = [f"# {plain(result['title'] or result['study'])}", ""]
    if result["note"]:
        lines += [plain(result["note"]), ""]
    lines += [
        f"Study `{result['study']}`, file {result['sha256'][:12]}, registered before its runs; "
        f"seeds {', '.join(map(str, result['seeds']))}; checkpoint: {result['checkpoint']}; "
        f"intervals over {result['intervals']}.",
        "",
    ]
    if result["claims"]:
        head = [name for name, _ in CLAIMS]
        lines += _markdown_table(head, [[f(row) for _, f in CLAIMS] for row in result["claims"]])
    for benchmark in result["benchmarks"]:
        lines += [f"## {plain(benchmark)}", "", *_markdown_table(*arms_table(result, benchmark))]
        lines += _markdown_table(
            ["the base, asked", "accuracy, % [95 %]"],
            [[row["way"] + (" (strongest: compared)" if row["strongest"] else ""), interval(row)]
             for row in result["base_ways"] if row["benchmark"] == benchmark],
        )  # fmt: skip
    for cause in failed(result):
        lines += [plain(f"Failed: {cause}"), ""]
    if result["unfinished"]:
        lines.append(plain(f"Not done: {runs_in_words(result['unfinished'])}."))
    return "\n".join(lines).rstrip() + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line: no cell, tag, link, emphasis or formula of
    its own."""
    marks = r"[\\`*<|~$]|(?<!\w)_|_(?!\w)|(?<=\])\(|&(?=\w+;|#)"
    return re.sub(marks, lambda match: f"\\{match[0]}", inert(text))


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(map(plain, cells))} |"

    return [line(head), "|---" * len(head) + "|", *map(line, rows), ""]


_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "−": "$-$", "–": "--", "→": r"$\to$", "<": "$<$", ">": "$>$"}  # fmt: skip


def tex(text: str) -> str:
    """Text that LaTeX prints as it is; at the begin of a row, too, where [ and * would be read as
    more of the line break before."""
    escaped = re.sub(r"[\\&%$#_{}~^−–→<>]", lambda match: _TEX[match[0]], inert(text))
    return re.sub(r"^([\[*])", r"{\1}", escaped)


def inert(text: str) -> str:
    """One line, without characters that steer."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def latex(result: Result) -> str:
    """The claims, and each benchmark's arms, as tabular environments (booktabs)."""
    head = [name for name, _ in CLAIMS]
    parts = [
        f"% study {result['study']}, file {result['sha256']}",
        r"% needs \usepackage{booktabs}; letters beyond Latin need XeLaTeX or LuaLaTeX",
    ]
    if result["claims"]:
        parts.append(_tabular(head, [[f(row) for _, f in CLAIMS] for row in result["claims"]]))
    for benchmark in result["benchmarks"]:
        parts.append(f"% {tex(benchmark)}")
        parts.append(_tabular(*arms_table(result, benchmark)))
    return "\n".join(parts) + "\n"


def _tabular(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [rf"\begin{{tabular}}{{{'l' * len(head)}}}", r"\toprule"]
    lines += [" & ".join(map(tex, head)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(tex, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
