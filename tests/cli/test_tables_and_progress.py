"""What a run shows while it goes on and when it ends."""

from __future__ import annotations

import pytest

from oneshot_rlvr.cli.evaluation_tables import print_evaluation
from oneshot_rlvr.cli.progress import AnswerCount, Progress, resumable
from oneshot_rlvr.cli.tables import print_run
from oneshot_rlvr.records import RunWriter, summarise
from oneshot_testing import kept_console, table_rows


def sample(question: str, correct: bool, family: str = "add") -> dict:
    return {
        "example_id": question,
        "group": "math",
        "domain": "arithmetic",
        "family": family,
        "question": question,
        "answer": "2",
        "sample": 0,
        "text": "let me recheck" if correct else "so",
        "tokens": 4,
        "finished": correct,
        "correct": correct,
        "reason": "correct" if correct else "no_answer",
        "extracted": "2" if correct else None,
        "boxed": correct,
    }


def summary(rights: list[bool]) -> tuple[list[dict], dict]:
    samples = [sample(f"q{n}", right) for n, right in enumerate(rights)]
    return samples, summarise(samples, benchmark="tiny", temperature=0.0, seed=3)


def test_the_closing_table_shows_before_after_interval_and_change(tmp_path):
    directory = tmp_path / "run"
    with RunWriter.create(directory, {"recipe": {}}) as writer:
        writer.evaluation("test", 0, *summary([True, False, False, False]))
        writer.evaluation("test", 7, *summary([True, True, True, False]))
        writer.finish({})
    console, out = kept_console(100)
    print_run(directory, reused=True, console=console)
    text = out.getvalue()
    assert "Reused the finished run" in text
    (row,) = table_rows(text, "add")
    assert row[1].strip().startswith("25.0 [")
    assert row[2].strip().startswith("75.0 [")
    assert row[3].strip().startswith("+50.0")
    assert "overall" in text
    assert str(directory / "report.html") in text


def test_a_run_without_a_test_falls_back_to_validation(tmp_path):
    directory = tmp_path / "run"
    with RunWriter.create(directory, {"recipe": {}}) as writer:
        writer.evaluation("validation", 0, *summary([False, False]))
        writer.evaluation("validation", 5, *summary([True, False]))
        writer.finish({})
    console, out = kept_console(100)
    print_run(directory, reused=False, console=console)
    assert "validation set" in out.getvalue()
    assert "+50.0" in out.getvalue()


def test_a_run_without_evaluations_still_tells_where_things_are(tmp_path):
    directory = tmp_path / "run"
    with RunWriter.create(directory, {"recipe": {}}) as writer:
        writer.finish({})
    console, out = kept_console(100)
    print_run(directory, reused=False, console=console)
    assert "report.html" in out.getvalue()


def test_an_evaluation_shows_accuracy_and_the_shares_behind_it():
    console, out = kept_console(100)
    print_evaluation("tiny", summary([True, False, False, False])[1], console)
    (row,) = table_rows(out.getvalue(), "overall")
    assert row[1].strip().startswith("25.0 [")
    # boxed and cut off: 1 and 3 of 4 answers
    assert row[2:4] == ["  25.0 ", "    75.0 "]
    assert "says that it rechecks  25.0" in out.getvalue()
    assert "verdicts of 4 answers: correct 1, no_answer 3" in out.getvalue()
    assert "avg@1, greedy" in out.getvalue()


def test_off_a_terminal_every_tenth_step_and_the_last_are_one_line():
    console, out = kept_console(100)
    progress = Progress(console)
    progress.start(23)
    for step in range(1, 24):
        progress.step(step, {"train/accuracy": step / 100, "tokens_per_second": 1234.5})
    progress.close()
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/23", "10/23", "20/23", "23/23"]
    assert "train 0.10" in lines[1]
    assert "tokens/s 1,23" in lines[1]
    assert lines[1].endswith("left")


def test_held_out_accuracy_stays_on_the_line_between_validations():
    console, out = kept_console(100)
    progress = Progress(console, plain_every=1)
    progress.start(3)
    progress.step(1, {"validation/accuracy": 0.5})
    progress.step(2, {"train/accuracy": 0.25})
    progress.step(3, {"validation/accuracy": float("nan")})
    assert [("held-out 0.50" in line) for line in out.getvalue().splitlines()] == [True] * 3


def test_a_resumed_run_counts_its_own_steps_for_the_time_left(clock):
    clock("oneshot_rlvr.cli.progress", monotonic=iter([100.0, 102.0]).__next__)
    console, out = kept_console(100)
    progress = Progress(console, plain_every=1)
    progress.start(100)
    progress.step(60, {})
    progress.step(61, {})
    # 2 seconds for one step, 39 to go
    assert out.getvalue().splitlines()[-1].endswith("1:18 left")


@pytest.mark.parametrize("kind", ["evaluate", "train"])
def test_an_evaluation_tells_the_answers_done_and_the_time_left_now_and_then(kind, clock):
    now = [100.0]
    clock("oneshot_rlvr.cli.progress", monotonic=lambda: now[0])
    console, out = kept_console(100)
    told = AnswerCount(console) if kind == "evaluate" else Progress(console).answers
    for seconds, done in ((0, 0), (20, 10), (25, 12), (40, 20), (80, 40)):
        now[0] = 100.0 + seconds
        told("held_out", done, 40)
    # 2 seconds an answer; 25 s come too soon after the line at 20 s.
    assert out.getvalue().splitlines() == [
        "held_out: 10 of 40 answers  1:00 left",
        "held_out: 20 of 40 answers  0:40 left",
        "held_out: 40 of 40 answers",
    ]
    now[0] += 1
    told("another", 1, 8)  # one that has just begun says nothing yet
    assert len(out.getvalue().splitlines()) == 3


def test_on_a_terminal_one_line_moves_and_notes_stay():
    console, out = kept_console(100, terminal=True)
    progress = Progress(console)
    progress.start(2)
    progress.note("evaluating [the] base")
    progress.step(1, {"train/accuracy": 0.5})
    progress.close()
    progress.close()
    assert "evaluating [the] base" in out.getvalue()
    assert "step 1/2  train 0.50" in out.getvalue()


def test_an_interrupted_run_tells_how_to_go_on():
    command = ["oneshot", "train", "my recipe.toml", "--resume"]
    with (
        pytest.raises(KeyboardInterrupt, match=r"oneshot train .my recipe\.toml. --resume"),
        resumable(command),
    ):
        raise KeyboardInterrupt
