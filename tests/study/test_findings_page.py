"""docs/findings.md is made of the studies and of the tables that were committed, and of no more."""

import hashlib
import subprocess
from pathlib import Path
from types import SimpleNamespace

from oneshot_rlvr.config import packaged_studies
from oneshot_testing import load_file

ROOT = Path(__file__).parents[2]
findings = load_file(ROOT / "benchmarks" / "findings.py")


def test_the_page_is_what_the_tables_say():
    import json

    found = {p.stem: json.loads(p.read_text()) for p in sorted(findings.FOLDER.glob("*.json"))}
    assert findings.page(found) == findings.PAGE.read_text(), (
        "run python benchmarks/findings.py --page"
    )


def test_every_finding_has_a_claim_and_every_table_a_study():
    page = findings.PAGE.read_text()
    assert len(findings.TITLES) == 19
    assert "no study declares it yet" not in page
    names = {name.partition("/")[2] for name in packaged_studies()}
    tables = list(findings.FOLDER.glob("*.json"))
    assert {table.stem for table in tables} <= names
    assert all(table.stat().st_size < 50_000 for table in tables)


def test_the_commit_is_the_one_that_made_the_file_what_was_registered(tmp_path):
    def git(*words):
        told = [
            "git",
            "-C",
            str(tmp_path),
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@y.test",
            *words,
        ]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    commits = []
    for text in ("first", "second", "third"):
        (tmp_path / "a.toml").write_text(text)
        git("add", "a.toml")
        git("commit", "-q", "-m", text)
        commits.append(git("log", "-1", "--format=%h"))
    found = [
        findings.commit_of("a.toml", hashlib.sha256(text.encode()).hexdigest(), tmp_path)
        for text in ("first", "second", "third", "fourth")
    ]
    assert found == [*commits, "uncommitted"]


def test_a_study_that_is_refused_writes_no_old_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/studies/controls").mkdir(parents=True)
    (tmp_path / "runs/studies/controls/result.json").write_text("{}")
    for code in (2, 130):
        monkeypatch.setattr(
            findings.subprocess, "run", lambda *a, code=code, **k: SimpleNamespace(returncode=code)
        )
        assert findings.run("controls") is False
