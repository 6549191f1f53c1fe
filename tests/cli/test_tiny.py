"""`oneshot tiny`: choosing an example by p(1-p), and making the base."""

from __future__ import annotations

import re

from oneshot_rlvr.cli import main
from oneshot_testing import table_rows


def test_choose_ranks_items_by_how_evenly_they_are_solved_and_tells_the_cost(capsys):
    argv = ["tiny", "choose", "--group", "all", "--per-family", "1", "--rollouts", "4"]
    argv += ["--top", "20"]
    assert main(argv) == 0
    first = capsys.readouterr().out
    shares = [row[-1].strip() for row in table_rows(first)]
    assert all(re.fullmatch(r"0\.\d{3}", share) for share in shares)
    assert len(shares) == 20
    assert shares == sorted(shares, key=float, reverse=True)
    assert re.search(r"20 items, 80 answers, [\d,]+ tokens, \d+ s; \d+ items solved", first)
    assert main(argv) == 0
    again = capsys.readouterr().out
    timeless = re.compile(r"\d+ s;")
    assert timeless.sub("", again) == timeless.sub("", first)


def test_pretrain_writes_a_model_that_can_be_named(capsys, tmp_path):
    base = tmp_path / "base"
    assert main(["tiny", "pretrain", "--out", str(base), "--tokens", "0.01"]) == 0
    assert "held-out loss" in capsys.readouterr().out
    choose = ["tiny", "choose", "--model", str(base), "--per-family", "1", "--rollouts", "2"]
    assert main(choose) == 0
    assert main(["tiny", "pretrain", "--out", str(base)]) == 2
    assert "--resume" in capsys.readouterr().err
