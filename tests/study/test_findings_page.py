"""docs/findings.md is made of the studies and of the tables that were committed, and of no more."""

from pathlib import Path

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
