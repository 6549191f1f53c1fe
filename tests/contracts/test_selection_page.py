"""The table in docs/selection.md is what the command prints on the published files."""

from pathlib import Path

from oneshot_rlvr.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "selection.md"


def test_the_page_shows_what_the_command_prints(data_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    published = data_dir / "one_shot_rlvr"
    history = ["--history", str(published / "acc_step_500.json"), "--top", "5"]
    sets = ["--sets", str(tmp_path / "sets"), "--k", "1,2"]
    assert main(["select", str(published / "dsr_sub.parquet"), *history, *sets]) == 0
    printed = capsys.readouterr().out
    rows = [line.strip() for line in PAGE.read_text().splitlines() if line.strip()[:1] in "┃│"]
    rows = [row for row in rows if row]
    assert len(rows) == 6
    for row in rows:
        assert row in printed
    assert "382 examples share their score" in printed
