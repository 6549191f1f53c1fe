"""Texts with the verdict that a careful reader gives, by family: every row of cases.jsonl.

cases_argued.py names the rows whose wanted verdict we hold to be wrong, each with the reason.
"""

import json
from pathlib import Path

import pytest

from oneshot_rlvr.types import Example
from oneshot_rlvr.verifiers import get_verifier
from oneshot_testing import load_file

HERE = Path(__file__).parent
argued = load_file(HERE / "cases_argued.py")

ROWS = [json.loads(line) for line in (HERE / "cases.jsonl").read_text("utf-8").splitlines()]
OWN = ("id", "kind", "gold", "text", "expected", "family")


def _verdict(row):
    extra = {key: value for key, value in row.items() if key not in OWN}
    example = Example(row["id"], "", row["gold"], row["kind"], extra=extra)
    return get_verifier(row["kind"]).check(row["text"], example)


def test_the_rows_are_all_there_and_named_once():
    assert len({row["id"] for row in ROWS}) == len(ROWS) == 670
    assert set(argued.ARGUED) <= {row["id"] for row in ROWS}


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row["id"] not in argued.ARGUED],
    ids=lambda row: row["id"],
)
def test_a_text_gets_the_verdict_that_a_careful_reader_gives(row):
    assert _verdict(row).correct is row["expected"]


@pytest.mark.parametrize("identity", argued.ARGUED)
def test_an_argued_row_gets_the_verdict_that_is_argued_for(identity):
    row = next(row for row in ROWS if row["id"] == identity)
    assert _verdict(row).correct is not row["expected"]
