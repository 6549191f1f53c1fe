"""Whole runs, written by the writer, whose truth is known: through the function and the command."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

import oneshot_rlvr
from oneshot_rlvr.analysis import analyse
from oneshot_rlvr.analysis.everything import Settings, write_tables
from oneshot_rlvr.cli import main
from oneshot_rlvr.cli.analysis_tables import harmless
from oneshot_rlvr.errors import ConfigError, RunError
from oneshot_rlvr.records import RunWriter, summarise
from oneshot_rlvr.types import Graded, Reason, Rollout, Verdict

SENTENCE = "The area and the cube of the velocity give the answer"
SATURATED, GIBBERISH, STEPS = 12, 31, 40


def rollouts(step: int) -> list[Graded]:
    """16 rollouts. Half are right until step 7, then all; from step 21 on a quarter recheck; from
    step 31 on 3 of 16 are gibberish."""
    graded = []
    for index in range(16):
        correct = step >= 8 or index < 8
        text = f"{SENTENCE}. It is {index}. \\boxed{{1}}"
        if step >= 21 and index < 4:
            text = f"{SENTENCE}. Wait, let me recheck. \\boxed{{1}}"
        if step >= GIBBERISH and index >= 13:
            text = f"flurm{step} gribble snorf wexal tropid quilbo \\boxed{{1}}"
        rollout = Rollout(0, index, "x", (1,), (2, 3), (-0.1, -0.1), text, index != 5)
        reason = Reason.CORRECT if correct else Reason.MISMATCH
        graded.append(Graded(rollout, Verdict(correct, reason, "1"), float(correct)))
    return graded


def samples(right: int) -> list[dict]:
    """24 questions in two domains; the first `right` are answered, 4 times each."""
    return [
        {
            "example_id": f"q{q:02}", "group": "", "domain": "law" if q % 2 else "algebra",
            "family": "f", "question": "?", "answer": "1", "sample": k, "text": "1", "tokens": 3,
            "finished": True, "correct": q < right, "reason": "correct" if q < right else "error",
            "extracted": "1", "boxed": True,
        }
        for q in range(24) for k in range(4)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Held out: 6 of 24 at step 0, 12 at 20, 18 at 30, 6 at 40."""
    directory = tmp_path_factory.mktemp("known") / "run"
    info = {"examples": [{"id": "x", "question": "The wind?", "domain": "algebra"}]}
    with RunWriter.create(directory, info) as writer:
        for step in range(STEPS + 1):
            if step:
                graded = rollouts(step)
                share = sum(g.verdict.correct for g in graded) / 16
                writer.rollouts(step, graded, [0.0] * 16)
                writer.metrics(
                    step,
                    {"train/accuracy": share, "train/tokens": 32, "train/tokens_mean": 2.0,
                     "train/entropy_nats": 1 / step},
                )  # fmt: skip
                writer.timings(step, {"step_seconds": 0.5})
            right = {0: 6, 20: 12, 30: 18, 40: 6}.get(step)
            if right is not None:
                held = samples(right)
                summary = summarise(held, benchmark="b", temperature=1.0, seed=0)
                for row in held:  # both readings; the lenient one takes two questions more
                    question = int(row["example_id"][1:])
                    row |= {"strict": row["correct"], "lenient": question < right + 2}
                writer.evaluation("validation", step, held, summary)
        writer.finish({"step": STEPS})
    return directory


@pytest.fixture(scope="module")
def tables(run):
    return analyse([run], Settings(words=("gives",))).tables


def test_saturation_and_what_comes_after_are_found(tables):
    (row,) = tables["saturation"].to_dict("records")
    assert row["saturation_step"] == SATURATED
    assert (row["held_out_from"], row["held_out_to"]) == (20, 40)
    assert row["change"] == -0.25
    assert row["best_step"] == 30
    assert row["overfitting_step"] == 40
    assert row["gibberish_step"] == GIBBERISH + 4
    assert row["gibberish_share_end"] == 3 / 16
    assert tables["held_out"]["change"].tolist() == [0.0, 0.25, -0.25]


def test_curves_hold_what_was_logged_and_what_the_texts_say(tables):
    curves = tables["curves"].set_index("step")
    assert curves.loc[7, "accuracy"] == 0.5
    assert curves.loc[8, "accuracy"] == 1.0
    assert curves.loc[4, "entropy_nats"] == 0.25
    assert curves["tokens_mean"].eq(2.0).all()
    assert curves["truncated_share"].isna().all()  # not logged
    assert curves.loc[20, "recheck_per_100"] == 0.0
    assert curves.loc[21, "recheck_per_100"] == curves.loc[40, "wait_per_100"] == 25.0
    assert curves.loc[30, "gibberish_share"] == 0.0
    assert curves.loc[31, "gibberish_share"] == 3 / 16
    assert curves.loc[1, "characters_mean"] == pytest.approx(len(SENTENCE) + 20 + 6 / 16)


def test_reflection_is_counted_in_thirds_with_its_contexts(tables):
    rates = tables["reflection"].set_index(["word", "steps"])["per_100"]
    assert rates["recheck", "1-14"] == 0.0
    assert rates["recheck", "15-27"] == pytest.approx(25 * 7 / 13)
    assert rates["recheck", "28-40"] == rates["any of them", "28-40"] == 25.0
    assert rates["gives", "28-40"] == 0.0
    contexts = tables["contexts"]
    assert set(contexts["word"]) == {"recheck", "wait"}
    assert contexts["step"].min() == 21
    assert contexts["said"].str.lower().isin(["recheck", "wait"]).all()


def test_format_transfer_and_cost_are_told(tables):
    gains = tables["format"].set_index("part")["gain"]
    assert gains["gain, an answer must be boxed"] == 0.0
    assert gains["gain, format forgiven"] == 0.0
    cells = tables["cross_domain"].set_index(["trained_on", "tested_on"])["change"]
    assert set(cells.index) == {("algebra", "algebra"), ("algebra", "law"), ("algebra", "all")}
    cost = tables["cost"].set_index(["of", "target"])
    assert cost.loc[("training", 0.95), "step"] == 8
    assert cost.loc[("training", 0.95), "tokens"] == 8 * 32
    assert cost.loc[("training", 0.95), "seconds"] == 4.0
    assert cost.loc[("validation", 0.7), "step"] == 30


def test_a_run_without_rollouts_or_evaluations_is_told_as_far_as_it_goes(tmp_path):
    with RunWriter.create(tmp_path / "r", {}) as writer:
        writer.metrics(1, {"train/accuracy": 1.0})
    found = analyse([tmp_path / "r"])
    assert found.tables["curves"]["accuracy"].tolist() == [1.0]
    assert "reflection" not in found.tables
    assert len(found.notes) == 3


def test_a_run_that_has_not_begun_is_analysed(tmp_path):
    with RunWriter.create(tmp_path / "r", {}):
        pass
    assert analyse([tmp_path / "r"]).notes


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        analyse([tmp_path])
    with pytest.raises(ConfigError, match="no run is given"):
        analyse([])


def test_a_run_given_twice_is_refused_and_namesakes_are_told_apart(run, tmp_path, build):
    with pytest.raises(ConfigError, match="given twice"):
        analyse([run, run])
    one, two = build(tmp_path / "a" / "run", steps=1), build(tmp_path / "b" / "run", steps=1)
    assert analyse([one, two]).tables["curves"]["run"].unique().tolist() == ["a/run", "b/run"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_command_prints_and_exports_every_table(capsys, run, tmp_path, suffix, tables):
    argv = ["analyse", str(run), "--words", "gives", "--out", str(tmp_path), "--format", suffix]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "step 12" in out
    assert "[recheck]" in out
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    written = {path.stem: read(path) for path in tmp_path.iterdir()}
    assert set(written) == set(tables)
    assert len(written) == 9
    for name, table in tables.items():
        assert list(written[name].columns) == list(table.columns)
        assert len(written[name]) == len(table)


def test_no_cell_of_an_exported_table_is_a_formula_to_a_spreadsheet(build, tmp_path):
    hostile = "=HYPERLINK(1) wait, @x"
    run = build(tmp_path / "=run", steps=6, text=hostile)
    found = analyse([run])
    assert "=HYPERLINK(1) " in set(found.tables["contexts"]["before"])  # the text begins so
    for path in write_tables(found, tmp_path / "csv", "csv"):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        texts = [cell for cell in cells if not _number(cell)]
        assert texts
        assert not [cell for cell in texts if cell[:1] in tuple("=+-@\t\r")], path
        assert ("'=run" in cells) == ("run" in cells)
    (kept,) = [p for p in write_tables(found, tmp_path / "pq", "parquet") if p.stem == "contexts"]
    assert "=HYPERLINK(1) " in set(pd.read_parquet(kept)["before"])  # exact where nothing runs it


def _number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_without_texts_the_rollouts_are_not_read(run):
    found = oneshot_rlvr.analyse(run, texts=False).tables
    assert "reflection" not in found
    assert found["saturation"]["saturation_step"].tolist() == [SATURATED]


MISTAKES = {
    "no targets": (["--targets", "half"], '--targets is "half"'),
    "a level beyond 1": (["--level", "95"], "saturation at 95"),
    "no steps": (["--for-steps", "0"], "at least 1 step"),
}


@pytest.mark.parametrize(("argv", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(capsys, run, argv, words):
    assert main(["analyse", str(run), *argv]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_what_a_model_wrote_steers_no_terminal():
    assert harmless("a\x1b[31mred\x07\r\n\u202eb") == "a [31mred   b"


def test_markup_in_a_run_s_texts_is_shown_as_text(capsys, build, tmp_path):
    hostile = "[bold]wait[/bold] [link=http://x]y[/link] \x1b[2J [/]"
    directory = build(tmp_path / "[red]run", steps=6, text=hostile)
    assert main(["analyse", str(directory)]) == 0
    out = capsys.readouterr().out
    assert "[bold][wait][/bold] [link=http://x]y[/link]" in out.replace("\n", "")
    assert "[red]run" in out
    assert "\x1b" not in out
