"""The pages on verifiers: every example on them is run."""

import json
import re
import sys
from pathlib import Path

import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import ARMS, arms
from oneshot_rlvr.types import Reason
from oneshot_rlvr.verifiers import VERIFIERS, get_verifier
from oneshot_rlvr.verifiers.sandbox import confine

PAGES = Path(__file__).parents[2] / "docs" / "verifiers"


def test_every_kind_has_a_page_and_every_reason_is_told():
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    missing, unknown = set(VERIFIERS) - pages, pages - set(VERIFIERS)
    assert not missing, f"write docs/verifiers/NAME.md for {missing} (docs/adding.md)"
    assert not unknown, f"docs/verifiers/ has pages on {unknown}, which are not registered"
    overview = (PAGES / "README.md").read_text("utf-8")
    for name in (*VERIFIERS, *Reason):
        assert name in overview, f"docs/verifiers/README.md has no row for {name}"


@pytest.mark.parametrize("kind", list(VERIFIERS))
def test_the_examples_of_a_page_are_accepted_and_rejected_as_it_says(
    kind, capsys, tmp_path, monkeypatch
):
    if kind == "python_code" and confine.unusable() is not None:
        pytest.skip(str(confine.unusable()))
    if kind == "chess_move":
        pytest.importorskip("chess", reason="the extra `chess` (GPL-3) is not installed")
    if kind == "reasoning_gym":
        pytest.importorskip("reasoning_gym", reason="its extra is not installed")
    file = PAGES / f"{kind}.md"
    if not file.is_file():
        pytest.fail(f"write docs/verifiers/{kind}.md (docs/adding.md says what is in it)")
    page = file.read_text("utf-8")
    for name, source in re.findall(r"```python\n# (\w+)\.py\n(.*?)```", page, re.DOTALL):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        sys.modules.pop(name, None)
    blocks = re.findall(r"```jsonl\n(.*?)\n```", page, re.DOTALL)
    assert len(blocks) == 2, (
        f"{file.name} has {len(blocks)} blocks of jsonl; wanted two: accepted, rejected"
    )
    accepted, rejected = blocks
    rows = [json.loads(line) for line in (accepted + "\n" + rejected).splitlines()]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["verify", "--file", str(path), "--json", "--timeout", "20"]) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [row.get("reason", "correct") for row in rows]
    assert [v["reason"] for v in verdicts] == expected
    right = expected.count("correct")
    wanted = (
        f"docs/verifiers/{kind}.md shows {right} accepted and {len(rows) - right} rejected rows; "
    )
    assert min(right, len(rows) - right) >= 3, wanted + "wanted three of each at least"
    options = get_verifier(kind).options
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    untold = options - {"sandbox"} - told - {"isolation"}
    assert not untold, f"docs/verifiers/{kind}.md has no row for the options {untold}"


def test_the_rows_of_the_overview_get_the_verdicts_that_it_tells(capsys, tmp_path):
    page = (PAGES / "README.md").read_text("utf-8")
    blocks = re.findall(r"```jsonl\n(.*?)\n```", page, re.DOTALL)
    rows = [json.loads(line) for block in blocks for line in block.splitlines()]
    assert len(rows) >= 5
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert main(["verify", "--file", str(path), "--json", "--timeout", "20"]) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [v["reason"] for v in verdicts] == [row.get("reason", "correct") for row in rows]


def test_the_scores_on_the_page_of_rewards_are_those_that_verify_gives(capsys, tmp_path):
    page = (PAGES.parent / "rewards.md").read_text("utf-8")
    rows = [
        json.loads(line) for line in re.search(r"```jsonl\n(.*?)\n```", page, re.S)[1].split("\n")
    ]
    expected = [row.pop("score_is") for row in rows]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    main(["verify", "--file", str(path), "--json", "--timeout", "20"])
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [v["score"] for v in verdicts] == pytest.approx(expected, abs=1e-4)
    assert len(expected) >= 5


@pytest.mark.parametrize("name", list(ARMS))
def test_an_arm_is_told_wherever_arms_are_told(name):
    arm = ARMS.load(name)
    assert arm.about, f"give the arm {name} an `about` in rewards/arms.py, for `oneshot list arms`"
    page = (PAGES.parent / "rewards.md").read_text("utf-8")
    described = RewardConfig.model_fields["arm"].description or ""
    told = {
        "docs/rewards.md (a row)": f"`{name}`" in page.partition("| arm |")[2].partition("\n\n")[0],
        "rewards/arms.py (a line of the docstring)": re.search(
            rf"^{name}\b", arms.__doc__ or "", re.MULTILINE
        ),
        "config/sections.py (the description of RewardConfig.arm)": re.search(
            rf"\b{name}\b", described
        ),
    }
    missing = [place for place, found in told.items() if not found]
    assert not missing, f"the arm {name} is missing in {'; '.join(missing)}"
