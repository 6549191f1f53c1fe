"""README, AGENTS, CONTRIBUTING and docs/: links lead somewhere, names exist, limits are kept."""

from __future__ import annotations

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest

import oneshot_rlvr
from oneshot_rlvr.cli import VERBS
from oneshot_testing import markdown_rows

ROOT = Path(__file__).parents[2]
PACKAGE = Path(oneshot_rlvr.__file__).parent
TOP = [ROOT / name for name in ("README.md", "AGENTS.md", "CONTRIBUTING.md", "findings/README.md")]
PAGES = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
WALK = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
TREE = WALK.split("```")[1].strip("\n").splitlines()
README = TOP[0].read_text(encoding="utf-8")

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|toml|md|txt|sh))?)(?::([\w.]+))?`")
PLACE = re.compile(r"((?:\w+/)+\w+\.py):([\w.]+)")

pages = pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def exists(path: str, page: Path) -> bool:
    """Below the package, the repository, or beside the page (a run's own folders are no paths)."""
    return any((base / path).exists() for base in (PACKAGE, ROOT, page.parent))


def resolve(file: str, name: str) -> object:
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return attrgetter(name)(importlib.import_module(f"oneshot_rlvr.{module}"))


def defines(file: Path, name: str) -> bool:
    """Whether a file outside the package, such as a test, has that name at its top level."""
    text = file.read_text(encoding="utf-8")
    return re.search(rf"^(?:def |class )?{name}\b", text, re.MULTILINE) is not None


def test_the_pages_are_found():
    assert len(PAGES) >= 30
    assert len(LINK.findall(README)) >= 20


@pages
def test_relative_links_resolve(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pages
def test_paths_of_rooms_and_files_that_are_named_exist(page):
    tops = {p.name for base in (PACKAGE, ROOT) for p in base.iterdir() if p.is_dir()}
    for path, name in PATH.findall(page.read_text(encoding="utf-8")):
        known = path.split("/")[0] in tops
        if not known or re.search(r"NAME|SUBJECT|ROOM|STEP|step-|\d{4}", path):
            continue
        if path.split("/")[0] in ("runs", "rollouts", "evaluations") and "." not in path:
            continue  # a run's folders
        assert exists(path, page), path
        if name and path.endswith(".py") and (PACKAGE / path).is_file():
            assert resolve(path, name) is not None, f"{path}:{name}"
        elif name:
            assert defines(ROOT / path, name), f"{path} has no {name}"


@pytest.mark.parametrize(("file", "name"), sorted(set(PLACE.findall(WALK))))
def test_every_name_of_the_walk_exists(file, name):
    assert resolve(file, name) is not None


def test_the_walk_has_the_call_tree_of_a_step_on_one_screen():
    assert len(TREE) <= 25
    assert len(PLACE.findall("\n".join(TREE))) >= 20


@pytest.mark.parametrize("line", TREE, ids=lambda line: line.split()[0])
def test_a_line_of_the_tree_is_called_from_the_line_it_hangs_on(line):
    """Its name stands in the room of the line above that is less indented."""
    number = TREE.index(line)
    depth = len(line) - len(line.lstrip())
    if depth == 0:
        return
    above = next(t for t in TREE[number::-1] if len(t) - len(t.lstrip()) < depth)
    (file, _), (_, name) = PLACE.search(above).groups(), PLACE.search(line).groups()
    room = (PACKAGE / file).parent
    sources = "".join(path.read_text(encoding="utf-8") for path in room.glob("*.py"))
    assert re.search(rf"\b{name.split('.')[-1]}\b", sources), (above, line)


def test_readme_names_where_to_add_everything_and_stays_short():
    assert len(README.splitlines()) < 150
    table = README.partition("## Where to add what")[2]
    rows = [row[0] for row in markdown_rows(table)]
    wanted = {"verb", "kernel", "verifier", "algorithm", "benchmark", "figure", "reward arm"}
    assert wanted <= set(rows)


ADDING = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
REGISTRIES = {
    "verb": "cli/__init__.py:VERBS",
    "verifier": "verifiers/__init__.py:VERIFIERS",
    "algorithm": "algorithms/__init__.py:ALGORITHMS",
    "selection score": "selection/__init__.py:SCORES",
    "engine": "rollouts/__init__.py:ENGINES",
    "figure": "report/figures/__init__.py:FIGURES",
    "reward arm": "rewards/__init__.py:ARMS",
    "tracker": "train/trackers/__init__.py:TRACKERS",
    "exporter": "backends/exporters.py:EXPORTERS",
    "tiny family": "tiny/families.py:FAMILIES",
}


@pytest.mark.parametrize("kind", [*REGISTRIES, "kernel", "benchmark"])
def test_what_can_be_added_has_its_places_and_a_command_whose_tests_exist(kind):
    part = ADDING.partition(f"\n## {kind.capitalize()}\n")[2].partition("\n## ")[0]
    assert f"`{REGISTRIES.get(kind, '')}`" in part or kind not in REGISTRIES
    (command,) = re.findall(r"^ +python -m pytest -q (tests/.+)$", part, re.MULTILINE)
    for path in re.findall(r"tests/[\w/.]+", command):
        assert (ROOT / path).exists(), path
    places = PATH.findall(part)
    assert len(places) >= 3, f"docs/adding.md tells {len(places)} places for a {kind}"
    for path, _ in places:
        assert re.search("NAME|SUBJECT", path) or exists(path, ROOT / "docs" / "x"), path


def test_the_page_of_places_stays_short_and_readme_leads_to_it():
    assert len(ADDING.splitlines()) <= 140
    assert "(docs/adding.md)" in README


def test_the_map_has_every_room_and_no_other():
    drawn = README.partition("## Map")[2].partition("Imports go down")[0]
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    lines = [line for line in drawn.splitlines() if line.startswith("      ")]
    assert set(re.findall(r"(\w+)/ ", "\n".join(lines))) == rooms
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert files <= set(re.findall(r"\w+", lines[-1]))


def test_every_verb_has_an_example_on_the_page_of_verbs():
    shown = re.findall(
        r"^    oneshot (\w+)", (ROOT / "docs" / "using.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(shown) == set(VERBS), f"docs/using.md and VERBS differ in {set(shown) ^ set(VERBS)}"


def test_agents_is_one_page_that_contributing_links_to():
    agents = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(agents.splitlines()) <= 40
    assert "(AGENTS.md)" in contributing
    assert "(CONTRIBUTING.md)" in agents
    long = {line for line in agents.splitlines() if len(line) > 60}
    assert not long & set(contributing.splitlines())  # it does not repeat it


def test_make_targets_that_are_named_exist():
    made = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for named in re.findall(r"(?:^    |`)make ([a-z0-9-]+)", text, re.MULTILINE):
            assert named in made, (page.name, named)
