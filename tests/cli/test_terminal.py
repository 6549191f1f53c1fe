"""Text from outside is shown, and steers nothing."""

from __future__ import annotations

import ast
import io
import logging
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

import oneshot_rlvr.cli
from oneshot_rlvr.cli import main
from oneshot_rlvr.cli.terminal import console, inert, say

HOSTILE = "a\x1b]0;owned\x07b\x1b[2J\x9b31m\rc\x7f\u202ed"
STEERING = set(map(chr, [*range(9), *range(11, 32), *range(0x7F, 0xA0), 0x202E]))


def test_every_character_that_steers_is_shown_and_the_rest_is_kept():
    assert inert(HOSTILE) == "a␛]0;owned␇b␛[2J\ufffd31m␍c␡\ufffdd"
    assert inert("1\t2\n3 é 漢 😀 \xa0") == "1\t2\n3 é 漢 😀 \xa0"


def test_lines_and_tables_hold_none(capsys):
    say("family", HOSTILE)
    assert not STEERING & set(capsys.readouterr().out)
    out = io.StringIO()
    table = Table()
    table.add_column(Text(HOSTILE))
    table.add_row(Text(HOSTILE))
    console(file=out, width=100).print(table)
    assert not STEERING & set(out.getvalue())
    assert "owned" in out.getvalue()


def test_what_rich_itself_steers_with_stays():
    out = io.StringIO()
    console(file=out, force_terminal=True, color_system="standard").print(
        Text(HOSTILE, style="red")
    )
    assert out.getvalue().startswith("\x1b[31ma␛]0;")
    assert out.getvalue().count("\x1b") == 2  # red, and its end


@pytest.mark.parametrize("command", [["report", HOSTILE], ["list", HOSTILE], ["train", HOSTILE]])
def test_an_error_that_repeats_what_it_was_given_steers_nothing(command, capsys):
    assert main(command) == 2
    assert not STEERING & set(capsys.readouterr().err)


def test_a_warning_that_repeats_a_server_s_words_steers_nothing(capsys):
    assert main(["list", "algorithms"]) == 0
    told = logging.getLogger("oneshot_rlvr").makeRecord(
        "oneshot_rlvr.x", logging.WARNING, __file__, 1, "it says: %s", (HOSTILE,), None
    )
    logging.lastResort.handle(told)  # where no handler is set, as in the command
    err = capsys.readouterr().err
    assert "owned" in err
    assert not STEERING & set(err)


def test_every_verb_prints_through_this_file():
    files = sorted(Path(oneshot_rlvr.cli.__file__).parent.glob("*.py"))
    assert len(files) > 15
    for file in files:
        called = {
            node.func.id
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        if file.name != "terminal.py":
            assert not called & {"print", "Console"}, file.name
