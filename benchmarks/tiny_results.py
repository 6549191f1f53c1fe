"""The 5-seed result of the embedded recipe: trains every seed, then writes docs/results.md.

    python benchmarks/tiny_results.py --seeds 5 --jobs 2 --out runs/results

Finished seeds are reused, unfinished ones resumed, so it can be stopped and started. Every number
in the page comes from the records of these runs. Each seed trains with its own randomness and
meets the same test set, drawn once by the recipe's test seed; intervals over seeds are Student t.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oneshot_rlvr.analysis import saturation_step
from oneshot_rlvr.analysis.formats import format_gain
from oneshot_rlvr.estimators import Estimate, mean_interval
from oneshot_rlvr.records import Run

ROOT = Path(__file__).parents[1]
RECIPE = "tiny_one_shot"


def train_seeds(seeds: Sequence[int], jobs: int, out: Path, flags: Sequence[str]) -> list[Path]:
    """Runs `oneshot train` for every seed, `jobs` at a time with one thread each."""
    directories = [out / f"seed-{seed}" for seed in seeds]
    waiting = list(zip(seeds, directories, strict=True))
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            seed, directory = waiting.pop(0)
            command = [
                *(str(Path(sys.executable).with_name("oneshot")), "train", RECIPE),
                *("--train.seed", str(seed), "--train.threads", "1"),
                *("--train.eval_every", "5", "--out", str(directory), "--resume", *flags),
            ]
            directory.parent.mkdir(parents=True, exist_ok=True)
            log = directory.with_suffix(".log").open("ab")
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
        running[0].wait()
        if running[0].returncode:
            raise SystemExit(f"a seed failed; see the logs in {out}")
        running.pop(0)
    return directories


def seed_facts(directory: Path) -> dict[str, Any]:
    """What one run contributes."""
    run = Run(directory)
    result = run.result
    if result is None:
        raise SystemExit(f"{directory} is not finished")
    metrics, timings = run.metrics(), run.timings()
    accuracy = list(zip(metrics["step"], metrics["train/accuracy"], strict=True))
    saturated = saturation_step([(int(s), float(a)) for s, a in accuracy])
    validations = sorted(step for name, step in run.evaluations() if name == "validation")
    held_out = {
        s: run.summary("validation", s)["overall"]["accuracy"]["value"] for s in validations
    }
    after = [s for s in validations if saturated is not None and s >= saturated]
    before, trained = result["test"]["before"], result["test"]["after"]
    sides = [run.samples("test", step) for step in (0, result["step"])]
    gains = format_gain(*sides).set_index("part")["gain"]
    return {
        "before": before,
        "after": trained,
        "forgiven_gain": float(gains["gain, format forgiven"]),
        "train_accuracy": float(metrics["train/accuracy"].tail(10).mean()),
        "saturated": saturated,
        "held_out_saturated": held_out[after[0]] if after else None,
        "held_out_final": held_out[validations[-1]],
        "held_out_best": max(held_out.values()),
        "seconds": float((timings["step_seconds"] - timings["evaluate_seconds"].fillna(0)).sum()),
        "tokens": float(metrics["train/tokens"].sum()),
        "steps": int(metrics["step"].max()),
    }


def over_seeds(
    facts: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]
) -> Estimate:
    """Mean of one value a seed, Student t interval."""
    return mean_interval([value(fact) for fact in facts])


def percent(estimate: Estimate, *, signed: bool = False) -> str:
    """ "70.1 [68.0, 72.2]" in points."""
    sign = "+" if signed else ""
    text = f"{100 * estimate.value:{sign}.1f}"
    # The base is one model: equal in every seed, without a spread to tell of.
    if estimate.n < 2 or estimate.low == estimate.high:
        return text
    ends = [estimate.low, estimate.high]
    if not signed:  # a t interval does not know that shares end at 0 and 1
        ends = [min(max(end, 0.0), 1.0) for end in ends]
    low, high = (f"{100 * end:{sign}.1f}" for end in ends)
    return f"{text} [{low}, {high}]"


def row(name: str, facts: Sequence[dict[str, Any]], part: Callable[[dict[str, Any]], Any]) -> str:
    """One line of the first table: base, trained, change."""

    def accuracy(when: str) -> Callable[[dict[str, Any]], float]:
        return lambda fact: part(fact[when])["accuracy"]["value"]

    before, after = over_seeds(facts, accuracy("before")), over_seeds(facts, accuracy("after"))
    gain = over_seeds(facts, lambda f: accuracy("after")(f) - accuracy("before")(f))
    base = part(facts[0]["before"])["accuracy"]
    interval = f"[{100 * base['low']:.1f}, {100 * base['high']:.1f}]"
    return (
        f"| {name} | {100 * before.value:.1f} {interval} | {percent(after)} "
        f"| {percent(gain, signed=True)} |"
    )


def page(facts: Sequence[dict[str, Any]]) -> str:
    """What stands between the marks of docs/results.md."""
    groups = list(facts[0]["after"]["groups"])
    families = list(facts[0]["after"]["families"])
    lines = [
        "| family | base | trained | change |",
        "|---|---|---|---|",
        *(row(name, facts, lambda s, n=name: s["families"][n]) for name in families),
        *(row(f"**{n}**", facts, lambda s, n=n: s["groups"][n]) for n in groups),
        row("**all**", facts, lambda s: s["overall"]),
    ]
    share = {
        name: [
            percent(over_seeds(facts, lambda f, w=when, k=key: f[w]["overall"][k]))
            for when in ("before", "after")
        ]
        for name, key in (
            ("boxed answers", "boxed_share"),
            ("answers that recheck", "recheck_share"),
            ("answers cut off", "truncated_share"),
        )
    }
    forgiven = [
        percent(over_seeds(facts, lambda f, w=when: f[w]["overall"]["lenient"]["value"]))
        for when in ("before", "after")
    ]
    saturated = [f for f in facts if f["held_out_saturated"] is not None]
    lines += [
        "",
        "| share of test answers, % | base | trained |",
        "|---|---|---|",
        *(f"| {name} | {before} | {after} |" for name, (before, after) in share.items()),
        f"| right when a stated answer needs no box | {forgiven[0]} | {forgiven[1]} |",
        "",
    ]
    gain = over_seeds(
        facts,
        lambda f: (
            f["after"]["overall"]["accuracy"]["value"] - f["before"]["overall"]["accuracy"]["value"]
        ),
    )
    beyond = over_seeds(facts, lambda f: f["forgiven_gain"])
    lines += [
        f"Of the change of {percent(gain, signed=True)} points, {percent(beyond, signed=True)} "
        "remain when a stated answer needs no box; the rest is format.",
        "",
    ]
    lines += _saturation(facts, saturated)
    seconds = mean_interval([f["seconds"] for f in facts])
    lines += [
        "",
        f"Training accuracy, mean of the last 10 steps: "
        f"{percent(over_seeds(facts, lambda f: f['train_accuracy']))} %.",
        f"Time: {seconds.value:.0f} s a seed on one thread, validation every 5 steps left out; "
        f"{mean_interval([f['tokens'] for f in facts]).value / 1e6:.2f} M generated tokens a seed.",
    ]
    return "\n".join(lines)


def _saturation(facts: Sequence[dict[str, Any]], saturated: Sequence[dict[str, Any]]) -> list[str]:
    steps = ", ".join(str(f["saturated"]) if f["saturated"] else "never" for f in facts)
    lines = [
        f"Saturation (training accuracy at least 95 % for 5 steps in a row): step {steps}; "
        f"runs end at step {facts[0]['steps']}."
    ]
    if len(saturated) < 2:
        return [*lines, "Too few seeds saturated to tell what happens afterwards."]
    gain = mean_interval([f["held_out_final"] - f["held_out_saturated"] for f in saturated])
    low = gain.low if gain.low is not None else float("nan")
    verdict = (
        "the interval is above 0: held-out accuracy still rises after training accuracy saturated"
        if low > 0
        else "the interval reaches 0: a rise after saturation is not shown"
    )
    return [
        *lines,
        f"Held-out accuracy at the end minus that of the first validation after saturation: "
        f"{percent(gain, signed=True)} points over {gain.n} seeds; {verdict}.",
    ]


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--print-only", action="store_true", help="do not write docs/results.md")
    parser.add_argument("flags", nargs="*", help="recipe flags after --")
    args = parser.parse_args()
    directories = train_seeds(range(args.seeds), args.jobs, args.out, args.flags)
    facts = [seed_facts(directory) for directory in directories]
    (args.out / "facts.json").write_text(json.dumps(facts, indent=1))
    table = page(facts)
    print(table)
    if args.print_only:
        return
    target = ROOT / "docs" / "results.md"
    text = target.read_text(encoding="utf-8")
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    head, rest = text.split(begin, 1)
    target.write_text(f"{head}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
