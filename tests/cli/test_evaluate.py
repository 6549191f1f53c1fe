"""`oneshot evaluate` as a user runs it: tables in 80 columns, files, comparisons, refusals."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

import oneshot_rlvr
from oneshot_rlvr.cli import build_parser, main
from oneshot_rlvr.cli.evaluation_tables import print_answers, print_evaluation, print_prompts
from oneshot_rlvr.evaluation import run
from oneshot_rlvr.evaluation.prompts import read_templates
from oneshot_rlvr.evaluation.store import read_samples
from oneshot_rlvr.verbs import compare
from oneshot_testing import kept_console, table_rows, widest


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "say.jsonl"
    rows = [
        {"question": f"{n}: say a, please, and b.", "answer": "a", "verifier": "exact_match",
         "extraction": "lenient", "family": f"f{n % 2}"}
        for n in range(4)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def evaluate(babbler, questions, *more):
    given = ["--benchmarks", str(questions), "--max-new-tokens", "6", "--max-prompt-tokens", "99"]
    return main(["evaluate", str(babbler), *given, *more])


def test_a_model_is_evaluated_and_every_answer_kept(babbler, questions, workdir, capsys):
    out = workdir / "r.json"
    given = ["--samples", "4", "--temperature", "1", "--out", str(out)]
    assert evaluate(babbler, questions, *given) == 0
    (path,) = (workdir / "evaluations").glob("*/*.parquet")
    assert path.name == "say.own.k4.t1.seed0.parquet"
    samples = read_samples(path)
    summary = json.loads(out.read_text())["benchmarks"][str(questions)]
    assert len(samples) == 16
    assert summary["overall"]["accuracy"]["value"] == sum(s["correct"] for s in samples) / 16
    text = capsys.readouterr().out
    assert "avg@4, temperature 1, seed 0" in text
    assert "maj@4" in text
    assert "pass@4: at least one of 4 is right" in text
    assert "pass@1" not in text


def test_files_of_one_name_are_told_apart_and_neither_s_answers_are_lost(
    babbler, questions, workdir, capsys
):
    row = {"question": "Other: say b.", "answer": "b", "verifier": "exact_match"}
    (workdir / "other").mkdir()
    other = workdir / "other" / questions.name
    other.write_text(json.dumps(row) + "\n")
    given = ["--samples-out", "kept", "--json"]
    assert evaluate(babbler, f"{questions},{other}", *given) == 0
    summaries = json.loads(capsys.readouterr().out)["benchmarks"]
    names = {one["benchmark"]: one["overall"]["questions"] for one in summaries.values()}
    assert names == {f"{workdir.name}/say": 4, "other/say": 1}
    files = {path.name: len(read_samples(path)) for path in (workdir / "kept").glob("*.parquet")}
    assert files == {
        f"{workdir.name}-say.own.k1.t0.seed0.parquet": 4,
        "other-say.own.k1.t0.seed0.parquet": 1,
    }
    # One after the other, each alone.
    for path in (questions, other, other, questions):
        assert evaluate(babbler, path, "--samples-out", "again") == 0
    kept = sorted((workdir / "again").glob("*.parquet"))
    assert sorted(len(read_samples(path)) for path in kept) == [1, 4]
    assert kept[-1].name == "say.own.k1.t0.seed0.parquet"
    # The same file under two paths is a mistake.
    assert evaluate(babbler, f"{other},other/../other/{other.name}", *given) == 2
    assert "are one file; name each benchmark once" in capsys.readouterr().err


def test_two_models_are_compared_and_stored_answers_need_no_model(
    babbler, questions, workdir, capsys, monkeypatch
):
    given = ["--samples", "2", "--temperature", "1"]
    assert evaluate(babbler, questions, *given, "--samples-out", "a") == 0
    assert evaluate(babbler, questions, *given, "--seed", "5", "--samples-out", "b") == 0
    capsys.readouterr()
    monkeypatch.setattr(compare, "evaluate", None)  # nothing may be answered anew
    assert main(["evaluate", "a", "--against", "b", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["comparisons"]
    rights = {
        side: [s["correct"] for s in read_samples(next((workdir / side).glob("*.parquet")))]
        for side in "ab"
    }
    gain = (sum(rights["a"]) - sum(rights["b"])) / 8
    assert one["over_questions"]["value"] == pytest.approx(gain)
    assert 0 <= one["over_questions"]["p_value"] <= 1
    assert main(["evaluate", "a", "b", "--against", "b"]) == 0
    text = capsys.readouterr().out
    assert "over seeds" in text
    assert "t test over questions, with its grain" in text  # twice as many answers on one side
    assert "over seeds: n counts models of A + of B" in text
    (row,) = table_rows(text, "over seeds")
    assert row[-1].strip() == "2 + 1"
    assert widest(text) <= 80
    # Each reading shows both of its levels, of which the shown difference is one.
    readings = table_rows(text, "lenient")
    for cells in readings:
        assert cells[0].startswith("   lenient")
        ours, theirs = float(cells[1]), float(cells[2])
        assert float(cells[3].split()[0]) == pytest.approx(ours - theirs, abs=0.11)
    assert len(readings) == 1


def test_a_run_is_compared_with_its_base_and_asked_side_by_side(
    small_recipe, questions, workdir, capsys
):
    run = workdir / "run"
    oneshot_rlvr.train(small_recipe(), out=run)
    capsys.readouterr()
    assert evaluate(run, questions, "--against", "base") == 0
    text = capsys.readouterr().out
    assert f"B: {run} base" in text
    assert "A - B" in text
    # A run's own answers lie with the run; its base is another model.
    assert len(list((run / "asked").glob("*.parquet"))) == 1
    assert len(list((workdir / "evaluations").glob("*/*.parquet"))) == 1
    assert main(["evaluate", str(run), "--ask", "Say a.", "--max-new-tokens", "6"]) == 0
    text = capsys.readouterr().out
    assert "base" in text
    assert "trained" in text


def test_all_prompts_are_reported_and_the_strongest_named(babbler, questions, workdir, capsys):
    assert evaluate(babbler, questions, "--prompts", "all", "--max-prompt-tokens", "200") == 0
    text = capsys.readouterr().out
    assert "say, 7 templates" in text
    assert "strongest: " in text
    assert len(list((workdir / "evaluations").glob("*/*.parquet"))) == 7


def test_the_probe_tells_its_share_and_keeps_its_rows(babbler, questions, workdir, capsys):
    assert evaluate(babbler, questions, "--contamination") == 0
    assert "0.0 [0.0, 49.0] % of 4 questions" in capsys.readouterr().out
    assert len(list((workdir / "evaluations").glob("*/*.contamination/questions.parquet"))) == 1


def test_a_probe_that_was_killed_goes_on_and_another_lies_beside(
    babbler, questions, workdir, monkeypatch
):
    rows = [
        {"question": f"{n} is said and {n} is said again, a b a b.", "answer": "a",
         "verifier": "exact_match"}
        for n in range(4)
    ]  # fmt: skip
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    probe = ["--contamination", "--samples-out"]
    assert evaluate(babbler, questions, *probe, "straight") == 0
    asked, dies, calls = [], [True], run._calls

    def one_a_call(prompts, group_size, new_tokens, max_rows, max_tokens):
        for call in calls(prompts, group_size, new_tokens, 1, max_tokens):
            if dies[0] and len(asked) == 2:
                raise KeyboardInterrupt
            asked.append(len(call))
            yield call

    monkeypatch.setattr(run, "_calls", one_a_call)
    assert evaluate(babbler, questions, *probe, "killed") == 130
    dies[0] = False
    asked.clear()
    assert evaluate(babbler, questions, *probe, "killed") == 0
    assert sum(asked) == 2
    (path,) = (workdir / "killed").rglob("questions*.parquet")
    straight = workdir / "straight" / path.relative_to(workdir / "killed")
    assert path.read_bytes() == straight.read_bytes()
    assert evaluate(babbler, questions, *probe, "killed") == 0  # the same one is where it was
    assert len(list((workdir / "killed").rglob("questions*.parquet"))) == 1
    assert evaluate(babbler, questions, "--questions", "2", *probe, "killed") == 0
    assert len(list((workdir / "killed").rglob("questions*.parquet"))) == 2
    assert path.read_bytes() == straight.read_bytes()


def test_stored_answers_are_graded_again_in_place(babbler, questions, workdir, capsys):
    assert evaluate(babbler, questions, "--samples-out", "a") == 0
    (path,) = (workdir / "a").glob("*.parquet")
    before = read_samples(path)
    assert main(["evaluate", "--regrade", "a", "--overwrite"]) == 0
    assert "4 answers graded again, 0 became right, 0 became wrong" in capsys.readouterr().out
    after = read_samples(path)
    assert [s["correct"] for s in after] == [s["correct"] for s in before]
    assert "previous_version" in after[0]


def test_a_server_is_evaluated_and_what_it_left_out_is_the_exit_code(
    servers, questions, workdir, capsys
):
    bad = ("status", 400, {})

    def behave(body, before):
        return bad if body["messages"][-1]["content"].startswith("2") else "a"

    with servers.serving(behave) as server:
        given = ["--endpoint", server.url, "--benchmarks", str(questions)]
        assert main(["evaluate", *given]) == 1
        text = " ".join(capsys.readouterr().out.split())
        assert "1 answers never came (http_400 1); they stand in no number." in text
        assert "100.0 [43.9, 100.0]" in text
        bad = "a"
        assert main(["evaluate", *given]) == 0
        assert len(server.bodies) == 5


REFUSED = {
    "nothing to evaluate": ([], "needs a MODEL or RUN"),
    "an endpoint and an engine": (
        ["m", "--endpoint", "http://127.0.0.1:9/v1", "--engine", "hf"], "neither with --ask nor",
    ),
    "no server": (
        ["m", "--endpoint", "http://127.0.0.1:9/v1", "--retries", "0"], "unreachable",
    ),
    "no such samples": (["--regrade", "nowhere"], "holds no graded samples"),
    "a template": (["tiny", "--prompts", "boxd"], 'Did you mean "boxed"'),
    "a data folder": (["tiny", "--data-dir", "nowhere"], "is not a directory"),
    "the base of no run": (["tiny", "--against", "base"], "is no run"),
    "a blank question": (["tiny", "--ask", " "], "is blank"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_is_one_line(name, workdir, capsys):
    given, said = REFUSED[name]
    assert main(["evaluate", *given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_text_that_steers_a_terminal_or_means_markup_is_shown_as_it_is():
    to, out = kept_console(80)
    hostile = "[bold]x[/bold] \x1b[2J\x07 [/nothing] " + "y" * 200
    print_answers("q", {"base": [(hostile, True)], "trained": [("", False)]}, to)
    text = out.getvalue()
    assert "[bold]x[/bold]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "(empty)" in text
    assert "[cut off]" in text
    assert widest(text) <= 80


def test_the_tables_of_all_families_fit_eighty_columns():
    to, out = kept_console(80)
    part = {
        "accuracy": {"value": 1.0, "low": 0.999, "high": 1.0, "n": 10000},
        "strict": {"value": 1.0, "low": 0.999, "high": 1.0, "n": 10000},
        "lenient": {"value": 1.0, "low": 0.999, "high": 1.0, "n": 10000},
        "boxed_share": 1.0, "truncated_share": 1.0, "recheck_share": 1.0, "repeated_share": 1.0,
        "tokens_mean": 30721.0, "questions": 12032, "samples": 96256,
        "reasons": dict.fromkeys(("correct", "mismatch", "no_answer", "timeout"), 12345),
    }  # fmt: skip
    summary = {
        "samples": 8, "temperature": 0.6, "seed": 0, "overall": part,
        "families": {"a" * 20: part}, "groups": {},
    }  # fmt: skip
    print_evaluation("mmlu_pro", summary, to)
    print_prompts("mmlu_pro", dict.fromkeys(read_templates(), summary), to)
    assert "100.0 [99.9, 100.0]" in out.getvalue()
    assert widest(out.getvalue()) <= 80


def test_every_command_of_the_page_is_understood():
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    lines = [line.partition("#")[0] for line in page.splitlines() if "oneshot evaluate" in line]
    commands = [line.split("oneshot evaluate", 1)[1] for line in lines if line.startswith("    ")]
    assert len(commands) == 13
    for command in commands:
        args = build_parser().parse_all(["evaluate", *shlex.split(command)])
        assert args.verb == "evaluate"


def stored(folder):
    return {path.name: read_samples(path) for path in sorted(folder.glob("*.parquet"))}


def test_another_evaluation_lies_beside_and_nothing_is_replaced(babbler, questions, workdir):
    assert evaluate(babbler, questions, "--samples-out", "ev") == 0
    before = stored(workdir / "ev")
    assert [len(rows) for rows in before.values()] == [4]
    fewer = ["--questions", "2", "--samples-out", "ev"]
    assert evaluate(babbler, questions, *fewer) == 0
    assert evaluate(babbler, questions, "--max-new-tokens", "5", "--samples-out", "ev") == 0
    after = stored(workdir / "ev")
    assert sorted(len(rows) for rows in after.values()) == [2, 4, 4]
    for name, rows in before.items():
        assert after[name] == rows
    # The same one again finds its own place.
    assert evaluate(babbler, questions, *fewer) == 0
    assert stored(workdir / "ev") == after
    assert evaluate(babbler, questions, *fewer, "--overwrite") == 0
    assert len(stored(workdir / "ev")["say.own.k1.t0.seed0.parquet"]) == 2


def test_other_weights_under_one_name_are_another_evaluation(babbler, questions, workdir):
    import torch
    from safetensors.torch import load_file, save_file

    model = workdir / "model"
    shutil.copytree(babbler, model)
    assert evaluate(model, questions, "--samples-out", "ev") == 0
    weights = load_file(model / "model.safetensors")
    name = next(iter(weights))
    weights[name] = torch.nextafter(weights[name], torch.tensor(9.0))
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert evaluate(model, questions, "--samples-out", "ev") == 0
    assert [len(rows) for rows in stored(workdir / "ev").values()] == [4, 4]


def test_an_evaluation_that_was_killed_goes_on_to_the_same_answers(
    babbler, questions, workdir, monkeypatch
):
    given = ["--samples", "2", "--temperature", "1"]
    assert evaluate(babbler, questions, *given, "--samples-out", "straight") == 0
    asked, dies, calls = [], [True], run._calls

    def one_a_call(prompts, group_size, new_tokens, max_rows, max_tokens):
        for call in calls(prompts, group_size, new_tokens, group_size, max_tokens):
            if dies[0] and len(asked) == 2:
                raise KeyboardInterrupt
            asked.append(len(call))
            yield call

    monkeypatch.setattr(run, "_calls", one_a_call)
    assert evaluate(babbler, questions, *given, "--samples-out", "killed") == 130
    assert not list((workdir / "killed").glob("*.parquet"))
    dies[0] = False
    asked.clear()
    assert evaluate(babbler, questions, *given, "--samples-out", "killed") == 0
    assert sum(asked) == 2  # of four questions, two were answered before
    assert stored(workdir / "killed") == stored(workdir / "straight")


def test_a_folder_that_cannot_be_written_ends_before_the_work(babbler, questions, workdir, capsys):
    (workdir / "taken").write_text("a file")
    for flag in (["--samples-out", "taken/in"], ["--out", "taken/r.json"]):
        assert evaluate(babbler, questions, *flag) == 2
        assert "taken" in capsys.readouterr().err
    assert not list(workdir.rglob("*.journal.jsonl"))  # nothing was asked


def test_answers_that_a_file_lacks_are_told_and_damage_is_refused(
    babbler, questions, workdir, capsys
):
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert evaluate(babbler, questions, "--samples-out", "ev") == 0
    path = workdir / "ev" / "say.own.k1.t0.seed0.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 3), path)
    capsys.readouterr()
    assert main(["evaluate", "ev"]) == 1
    assert "1 answers never came (not_stored 1)" in capsys.readouterr().out
    assert main(["evaluate", "--regrade", "ev", "--samples-out", "again"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "again"]) == 1  # what it lacked it still lacks
    assert "1 answers never came (not_stored 1)" in capsys.readouterr().out
    broken = {**table.schema.metadata, b"oneshot_rlvr.expected": b"4\xff"}
    pq.write_table(table.replace_schema_metadata(broken), path)
    assert main(["evaluate", "ev"]) == 2
    assert "cannot be read as graded samples" in capsys.readouterr().err
    turned = pa.array([not value.as_py() for value in table["correct"]])
    where = table.schema.get_field_index("correct")
    pq.write_table(table.set_column(where, "correct", turned), path)
    assert main(["evaluate", "ev"]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_a_decoding_is_shown_kept_and_refused_where_it_means_nothing(
    babbler, questions, workdir, capsys
):
    given = ["--temperature", "1", "--top-p", "0.9", "--stop", "b", "--samples", "2"]
    assert evaluate(babbler, questions, *given) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert 'temperature 1, stop ["b"], top_p 0.9, seed 0' in shown
    (path,) = (workdir / "evaluations").glob("*/*.parquet")
    samples = read_samples(path)
    assert {s["decoding"] for s in samples} == {'{"stop": ["b"], "top_p": 0.9}'}
    assert not any("b" in s["text"] for s in samples)
    assert evaluate(babbler, questions, "--temperature", "0", "--top-k", "3") == 2
    assert "top_k is 3 at temperature 0" in capsys.readouterr().err
    assert evaluate(babbler, questions, "--template-argument", "thinking") == 2
    assert "wanted NAME=VALUE, as enable_thinking=false" in capsys.readouterr().err
    assert evaluate(babbler, questions, "--template-argument", "thinking=false") == 2
    assert '"thinking", which the chat template' in capsys.readouterr().err


def test_what_a_model_recommends_is_asked_and_told(babbler, questions, workdir, capsys):
    model = shutil.copytree(babbler, workdir / "advised")
    (model / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 0.7, "top_k": 5, "eos_token_id": 257})
    )
    assert evaluate(model, questions, "--decoding", "recommended", "--samples", "1") == 0
    told = capsys.readouterr()
    assert "recommends (generation_config.json): temperature 0.7, top_k 5" in told.err
    assert "temperature 0.7, top_k 5" in " ".join(told.out.split())
    (model / "generation_config.json").unlink()
    assert evaluate(model, questions, "--decoding", "recommended") == 2
    assert "has no generation_config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--top-p", "0.9"], "--top-p"),
        (["--decoding", "recommended"], "--decoding"),
        (["--stop", "x"], "--stop"),
        (["--template-argument", "a=1"], "--template-argument"),
        (["--temperature", "1"], "--temperature"),
    ],
)
def test_grading_again_refuses_what_asks_a_model(words, flag, capsys):
    assert main(["evaluate", "--regrade", "somewhere", *words]) == 2
    assert f"{flag} is for answers that are drawn now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--samples", "0"], "samples is 0; wanted a whole number > 0"),
        (["--max-new-tokens", "0"], "max_new_tokens is 0; wanted a whole number > 0"),
        (["--temperature", "-1"], "temperature is -1.0; wanted a number >= 0"),
    ],
)
def test_a_question_that_cannot_be_asked_so_is_one_clear_error(words, told, babbler, capsys):
    assert main(["evaluate", str(babbler), "--ask", "Say a.", *words]) == 2
    assert told in capsys.readouterr().err
