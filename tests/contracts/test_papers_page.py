"""docs/papers.md names every recipe that ships, and none that does not."""

import re
from pathlib import Path

from oneshot_rlvr.config import packaged_recipes, packaged_studies
from oneshot_testing import markdown_rows

PAGE = Path(__file__).parents[2] / "docs" / "papers.md"


def test_the_page_names_every_recipe_and_no_other():
    rows = markdown_rows(PAGE.read_text().partition("## Studies")[0])
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row[-1])}
    assert named == set(packaged_recipes())
    assert len(named) >= 20


def test_the_page_tells_what_the_papers_studies_expect():
    rows = markdown_rows(PAGE.read_text().partition("## Studies")[2])
    named = {row[0].strip("`") for row in rows[1:]}
    studies = {name.partition("/")[2] for name in packaged_studies()}
    assert named == {name for name in studies if name.startswith("paper_")}
    assert len(named) == 4
