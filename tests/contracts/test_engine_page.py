"""docs/engine.md names what exists, lists every file of the room, and stays short."""

import importlib
import re
from operator import attrgetter
from pathlib import Path

import pytest

import oneshot_rlvr

ROOT = Path(__file__).parents[2]
PACKAGE = Path(oneshot_rlvr.__file__).parent
TEXT = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
FILES = re.findall(r"`((?:\w+/)+\w+\.py)(?::([\w.]+))?`", TEXT)


@pytest.mark.parametrize(("file", "name"), FILES, ids=[":".join(f).rstrip(":") for f in FILES])
def test_what_the_page_names_exists(file, name):
    if file.startswith("tests/"):
        assert (ROOT / file).is_file()
        return
    assert (PACKAGE / file).is_file()
    if name:
        module = importlib.import_module("oneshot_rlvr." + file[:-3].replace("/", "."))
        assert attrgetter(name)(module)


def test_the_drawing_names_what_exists():
    drawing = TEXT.split("```")[1]
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    names = set(re.findall(r"\b\w+_\w+\b|\b[A-Z]\w+[a-z][A-Z]\w+\b", drawing))
    assert {"SharedPrefixEngine", "attend_backward", "draw_one"} <= names
    for name in names:
        assert re.search(rf"\b(def|class) {name}\b", sources) or list(
            PACKAGE.rglob(f"{name}.py")
        ), name


def test_the_page_lists_every_file_of_the_room_in_at_most_120_lines():
    assert len(TEXT.splitlines()) <= 120
    files = {f"kernels/{path.name}" for path in (PACKAGE / "kernels").glob("[!_]*.py")}
    rows = set(re.findall(r"`(kernels/\w+\.py)`", TEXT.partition("## The room")[2]))
    assert not files - rows, f"docs/engine.md, the room `kernels/`, has no row for {files - rows}"
    assert re.search(r"benchmarks/speed/beside_old\.py", TEXT)
    assert (ROOT / "benchmarks" / "speed" / "beside_old.py").is_file()
