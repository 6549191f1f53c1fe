"""The paper's findings on the embedded world, study by study: docs/findings/, docs/findings.md.

    python benchmarks/findings.py                    # all studies, on after any interruption
    python benchmarks/findings.py controls rivals    # these
    python benchmarks/findings.py --page             # only the page, from the tables that are there

Each study is `oneshot study NAME`; when it is done its numbers are written as JSON below 50 KB, and
the page is made of those files alone. The rule of a claim stands in its study's file; the page
names the commit by which that file became what was registered before the runs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oneshot_rlvr.config import packaged_studies, recipes_directory
from oneshot_rlvr.records.files import to_json
from oneshot_rlvr.study import tables

ROOT = Path(__file__).parents[1]
FOLDER, PAGE = ROOT / "docs" / "findings", ROOT / "docs" / "findings.md"
MOST_BYTES = 50_000
LATE = ("choice", "two_bases", "post_saturation", "pass_at_k")
"""Long ones last."""

TITLES = {
    1: "one example against the base",
    2: "one example against the full pool",
    3: "two and four examples",
    4: "format only",
    5: "random reward",
    6: "wrong labels",
    7: "the example in context",
    8: "selected, random and worst examples",
    9: "other families, other domains",
    10: "post-saturation gain and over-fitting",
    11: "self-reflection",
    12: "the ablation table",
    13: "entropy bonus and temperature",
    14: "GRPO, PPO and the others",
    15: "label noise",
    16: "pass@k crossing",
    17: "another base model",
    18: "rivals",
    19: "aligned base",
}


PREAMBLE = """Made by `benchmarks/findings.py` from the tables beside it (findings/); do not edit.
Each row is a claim that its study's file declared before its runs (the commit by which the file
became what was registered stands in the row): what was published, what was found here with its
interval of 95 %, the p-value after Holm's correction over the study's claims, and the
verdict by the declared rule. The base is asked as the arms are, as in the papers, but where
a claim says "in its strongest way". Differences are in points of avg@4 on 400 held-out
questions, pass@k in points, correlations as they are. The world was built to have
latent skill ([how](tiny_world.md)): a finding that holds here shows the mechanism, one
that does not is as welcome. How intervals are made: [studies](study.md)."""


def studies() -> list[str]:
    """The studies of the embedded world that ship, long ones last."""
    names = [name.partition("/")[2] for name in packaged_studies()]
    tiny = [name for name in names if not name.startswith("paper_")]
    return sorted(tiny, key=lambda name: (name in LATE, name != "controls", name))


def run(name: str) -> bool:
    """Runs one study to its end and writes its table; whether it got there."""
    command = [sys.executable, "-c", "from oneshot_rlvr.cli import main; raise SystemExit(main())"]
    done = subprocess.run([*command, "study", name])
    result = Path("runs/studies") / name / "result.json"
    if done.returncode not in (0, 1) or not result.exists():  # stopped, or refused: an old result
        return False
    write(name, json.loads(result.read_text(encoding="utf-8")))
    return True


def write(name: str, result: dict[str, Any]) -> None:
    """The study's numbers without what only a picture needs, and the commit of its file."""
    kept = {key: value for key, value in result.items() if key != "curves"}
    kept["commit"] = commit_of(f"recipes/studies/{name}.toml", result["sha256"])
    text = to_json(kept, indent=1)
    if len(text) > MOST_BYTES:
        text = to_json(kept)
    if len(text) > MOST_BYTES:
        raise SystemExit(f"{name}.json would have {len(text):,} bytes; at most {MOST_BYTES:,}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_bytes(text + b"\n")


def commit_of(file: str, sha256: str, root: Path = ROOT) -> str:
    """The commit by which a file came to have these bytes; "uncommitted" where none did."""
    git = ["git", "-C", str(root)]
    listed = subprocess.run(
        [*git, "log", "--format=%h", "--", file], capture_output=True, text=True
    )
    for commit in listed.stdout.split():
        shown = subprocess.run([*git, "show", f"{commit}:{file}"], capture_output=True)
        if hashlib.sha256(shown.stdout).hexdigest() == sha256:
            return commit
    return "uncommitted"


def _claims(name: str, result: dict[str, Any] | None) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """A study's claims with what was found: value, seeds, p, verdict; dashes before it was run."""
    if result is None:
        file = recipes_directory() / "studies" / f"{name}.toml"
        for claim in tomllib.loads(file.read_text(encoding="utf-8"))["claims"]:
            yield claim, ["–", "–", "–", "–"]
        return
    for row in result["claims"]:
        why = f" ({row['why']})" if row["why"] else ""
        found = [tables.claim_number(row), str(row["seed_count"]), tables.p_text(row["corrected"])]
        yield row["claim"], [*found, f"**{row['verdict']}**{why}"]


def page(results: dict[str, dict[str, Any]]) -> str:
    """docs/findings.md."""
    rows: dict[int, list[str]] = {number: [] for number in TITLES}
    for name in studies():
        commit = results[name]["commit"] if name in results else "not run yet"
        for claim, found in _claims(name, results.get(name)):
            if (number := claim.get("finding")) is None:
                continue
            cells = [str(number), claim["name"], claim.get("paper") or "–", *found,
                     f"`{name}`, {commit}"]  # fmt: skip
            rows[number].append(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |")
    tried = sum(len(result["claims"]) for result in results.values())
    lines = [
        "# The paper's findings on the embedded world",
        "",
        "    make findings       # every study below, on after any interruption, then this page",
        "",
        textwrap.fill(PREAMBLE, 110),
        "",
        "| | claim | published | found [95 %] | seeds | p | verdict | study, commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, title in TITLES.items():
        lines.append(f"| **{number}** | **{title}** | | | | | | |")
        lines += rows[number] or [f"| {number} | | | | | | no study declares it yet | |"]
    shown = ", ".join(f"{n} ({len(r['claims'])})" for n, r in results.items()) or "none"
    lines += [
        "",
        textwrap.fill(
            f"Claims tried, by study: {shown}; {tried} in all. Nothing was tuned on the test "
            "questions: no setting of an arm was changed after they had been asked.",
            110,
        ),
    ]
    failed = {
        f"{n}: {task}": why for n, r in results.items() for task, why in r["failures"].items()
    }
    lines += [f"Failed, {task}: {why}" for task, why in failed.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is asked, then writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="studies (default: all)")
    parser.add_argument("--page", action="store_true", help="run nothing")
    args = parser.parse_args()
    stopped = False
    for name in [] if args.page else args.names or studies():
        print(f"== {name}", flush=True)
        if not run(name):
            stopped = True
            break
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.json"))
    }
    PAGE.write_text(page(found), encoding="utf-8")
    print(f"wrote {PAGE}")
    raise SystemExit(130 if stopped else 0)


if __name__ == "__main__":
    main()
