"""docs/papers.md names every recipe that ships, and none that does not."""

import re
from pathlib import Path

from oneshot_rlvr.config import packaged_recipes
from oneshot_testing import markdown_rows

PAGE = Path(__file__).parents[2] / "docs" / "papers.md"


def test_the_page_names_every_recipe_and_no_other():
    rows = markdown_rows(PAGE.read_text())
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row[-1])}
    assert named == set(packaged_recipes())
    assert len(named) >= 20
