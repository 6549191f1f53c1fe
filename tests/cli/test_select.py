"""`oneshot select`: a history given, made or replaced by a probe; ranking and sets on disk."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tomli_w

import oneshot_rlvr
from oneshot_rlvr.cli import main
from oneshot_rlvr.cli.ranking_table import sparkline
from oneshot_rlvr.examples import load_file

OPTIONS = {"answer": "a", "verifier": "exact_match", "extraction": "lenient"}


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Six examples; one whose gold no verifier accepts, one whose id is rich markup."""
    monkeypatch.chdir(tmp_path)  # answers of probes are kept below it
    rows = [{"id": f"say-{n}", "question": f"{n}: say a.", **OPTIONS} for n in range(4)]
    rows.append({"id": "[red]x[/red]", "question": "[bold]x: say a.", **OPTIONS, "domain": "other"})
    rows.append({"id": "blank", "question": "?", **OPTIONS, "verifier": "numeric"})
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capsys, *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), captured.err


def test_a_history_ranks_the_pool_and_cuts_sets(capsys, pool, tmp_path):
    history = tmp_path / "history.json"
    visits = {"say-0": [0.5, 0.5], "say-1": [0, 1], "[red]x[/red]": [0, 0.5], "gone": [1, 1]}
    history.write_text(json.dumps(visits))
    out, sets = tmp_path / "rank.parquet", tmp_path / "sets"
    argv = ["select", pool, "--history", history, "--out", out, "--sets", sets, "--batch", 7]
    code, told, err = run(capsys, *argv, "--ranks", "1,3")
    assert (code, err) == (0, "")
    ranking = pq.read_table(out)
    assert ranking["id"].to_pylist()[:3] == ["say-1", "[red]x[/red]", "say-0"]
    assert ranking["rank"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert ranking["score"].to_pylist() == [0.25, 0.0625, 0.0, None, None, None]
    assert "[red]x[/red]" in told
    assert "1 histories are of no example of the pool (the first: 'gone')" in told
    assert "3 of 6 examples of the pool have no history" in told
    assert "▁█" in told
    files = sorted(path.name for path in sets.iterdir())
    # No set of 16: the pool has 6 examples.
    assert files == ["rank1-3_r7.parquet", "top1_r7.parquet", "top2_r7.parquet", "top4_r7.parquet"]
    assert [e.id for e in load_file(sets / "rank1-3_r7.parquet")] == ["say-1", "say-0"]
    assert pq.read_metadata(sets / "top4_r7.parquet").num_rows == 7


def test_a_probe_asks_the_base_and_tells_its_cost(capsys, pool, babbler):
    argv = ["select", pool, "--probe", 8, "--model", babbler, "--max-new-tokens", 6]
    code, told, _ = run(capsys, *argv, "--temperature", 1)
    assert code == 0
    assert "Ranking by pass_rate, 6 examples" in told
    assert "1 examples whose gold their own verifier rejects were not asked: 'blank'" in told
    assert re.search(r"Cost: 40 answers, \d+ tokens, \d+ s\.", told)
    code, entropy, _ = run(capsys, *argv, "--temperature", 1, "--score", "entropy")
    assert "Ranking by entropy" in entropy
    code, _, err = run(capsys, *argv, "--score", "variance")
    assert code == 2
    assert "a probe is one visit: use pass_rate or entropy" in err


def test_a_probe_that_was_killed_goes_on_to_the_same_ranking(capsys, pool, babbler, monkeypatch):
    from oneshot_rlvr.evaluation import run as evaluation

    argv = ["select", pool, "--probe", 4, "--model", babbler, "--max-new-tokens", 6]
    argv += ["--temperature", 1]
    assert run(capsys, *argv, "--history-out", "one", "--out", "straight.parquet")[0] == 0
    asked, dies, calls = [], [True], evaluation._calls

    def one_a_call(prompts, group_size, new_tokens, max_rows, max_tokens):
        for call in calls(prompts, group_size, new_tokens, group_size, max_tokens):
            if dies[0] and len(asked) == 2:
                raise KeyboardInterrupt
            asked.append(len(call))
            yield call

    monkeypatch.setattr(evaluation, "_calls", one_a_call)
    assert run(capsys, *argv, "--history-out", "two", "--out", "killed.parquet")[0] == 130
    dies[0] = False
    asked.clear()
    assert run(capsys, *argv, "--history-out", "two", "--out", "killed.parquet")[0] == 0
    assert sum(asked) == 3  # of five that can be asked, two were answered before
    assert Path("killed.parquet").read_bytes() == Path("straight.parquet").read_bytes()


def test_a_history_is_made_by_training_over_the_pool_and_reused(
    capsys, pool, small_recipe, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "short.toml"
    recipe.write_text(tomli_w.dumps(small_recipe().model_dump(mode="json", exclude_none=True)))
    argv = ["select", pool, "--make-history", recipe, "--visits", 4, "--out", "rank.parquet"]
    code, told, err = run(capsys, *argv)
    assert code == 0, err
    # Five examples that can be graded, 4 visits each, 2 rows a step.
    assert re.search(r"Cost: 10 steps, 160 answers, [\d,]+ tokens, \d+ s\.", told)
    assert "1 of 6 examples of the pool have no history" in told
    rows = {row["id"]: row for row in pq.read_table("rank.parquet").to_pylist()}
    assert sum(row["visits"] for row in rows.values()) == 20
    eighths = [8 * share for row in rows.values() for share in row["history"]]
    assert all(float(share).is_integer() for share in eighths)
    _, again, _ = run(capsys, *argv)
    assert "reused the finished run in runs/history-pool" in again
    assert (
        again.replace("Note: reused the finished run in runs/history-pool (same settings). ", "")
        == told
    )
    # Its directory is a history like any other.
    _, given, _ = run(capsys, "select", pool, "--history", "runs/history-pool", "--score", "gain")
    assert "Ranking by gain" in given
    shutil.rmtree("runs")


def test_the_scores_without_a_history_need_none(capsys, pool):
    code, told, _ = run(capsys, "select", pool, "--score", "first", "--top", 2)
    assert code == 0
    assert "say-0" in told
    assert "say-1" in told
    assert "say-2" not in told
    assert "visits" not in told


def test_diversity_takes_the_other_domain_second(capsys, pool, tmp_path):
    out = tmp_path / "rank.parquet"
    argv = ["select", pool, "--score", "first", "--diversity", 0.9, "--out", out]
    assert run(capsys, *argv)[0] == 0
    assert pq.read_table(out)["id"].to_pylist()[:3] == ["say-0", "[red]x[/red]", "say-1"]


MISTAKES = {
    "no history": ([], "score variance needs a history: give one (--history)"),
    "a probe of nothing": (["--probe", "2"], "give both, --probe N and --model MODEL"),
    "two histories": (["--history", "x", "--probe", "2", "--model", "tiny"], "give one"),
    "no such history": (["--history", "/no/such"], "no history at /no/such"),
    "no such score": (["--score", "varience"], 'Did you mean "variance"?'),
    "no number": (["--score", "first", "--k", "1,x"], '--k is "1,x"; wanted whole numbers'),
    "too many": (["--score", "first", "--sets", "s", "--k", "9"], "rank 9 is asked for"),
    "beyond the batch": (
        ["--score", "first", "--sets", "s", "--k", "4", "--batch", "2"],
        "batch of 2",
    ),
    "another file": (["--score", "first", "--out", "a.csv"], "is written as .parquet"),
    "a category alone": (["--score", "first", "--category", "domain"], "--diversity 0.5"),
    "one category": (
        ["--score", "first", "--diversity", "1", "--category", "family"],
        "the same family",
    ),
    "no embeddings": (
        ["--score", "first", "--diversity", "1", "--embeddings", "no.parquet"],
        "no.parquet",
    ),
}


@pytest.mark.parametrize(("argv", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(capsys, pool, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "select", pool, *argv)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


def test_the_paper_s_pool_through_the_command(capsys, data_dir, tmp_path):
    folder = data_dir / "one_shot_rlvr"
    argv = ["select", folder / "dsr_sub.parquet", "--history", folder / "acc_step_500.json"]
    code, told, _ = run(capsys, *argv, "--sets", tmp_path, "--out", tmp_path / "rank.parquet")
    assert code == 0
    assert "99 of 1,209 examples were never solved and 5 always" in told
    top = pq.read_table(tmp_path / "rank.parquet")["id"].to_pylist()
    assert (top[:5], top[12]) == (["124", "267", "531", "931", "212"], "682")
    ours, theirs = tmp_path / "top1_r128.parquet", folder / "pi1_r128.parquet"
    assert pq.read_table(ours).to_pylist() == pq.read_table(theirs).to_pylist()
    assert pq.read_table(tmp_path / "top16_r128.parquet").num_rows == 128


def test_a_sparkline_has_a_block_a_visit_or_means_of_equal_parts():
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.0, 1.0] * 4, width=4) == "▅▅▅▅"
    assert len(sparkline([0.3] * 1000)) == 28
    assert sparkline([]) == ""


def test_select_is_a_function_too(pool):
    chosen = oneshot_rlvr.select(pool, score="random", seed=5)
    assert sorted(chosen.ranking.ids) == sorted(chosen.examples)
    assert chosen.cost is None
    assert chosen.files == []


def numbered(tmp_path, name, count, **columns):
    rows = [
        {"id": f"{name}-{n}", "question": f"{name} {n}: say a.", **columns} for n in range(count)
    ]
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_probe_that_stops_early_says_what_it_saved(capsys, babbler, tmp_path):
    """One that the babbler says half the time, and eleven golds that it never says."""
    rows = [{"id": "half", "question": "Say a.", **OPTIONS, "answer": "a"}]
    rows += [{"id": f"no-{n}", "question": f"{n}!", **OPTIONS, "answer": "zz"} for n in range(11)]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["select", pool, "--probe", 512, "--model", babbler, "--max-new-tokens", 2]
    argv += ["--temperature", 1]
    code, told, _ = run(capsys, *argv, "--stop-early", 1)
    assert code == 0
    saved, most, settled = re.search(
        r"stopping early saved ([\d,]+) of ([\d,]+) answers: (\d+) of 12 examples were", told
    ).groups()
    cost = int(re.search(r"Cost: ([\d,]+) answers", told)[1].replace(",", ""))
    assert most == "6,144"
    assert cost == 6144 - int(saved.replace(",", ""))
    assert int(saved.replace(",", "")) > 1000
    assert int(settled) == 12
    assert "with probability 0.95 at least" in told
    assert re.search(r"1 .{1,3} half", told)
    again = run(capsys, *argv, "--stop-early", 1)[1]
    assert re.sub(r", \d+ s", "", again) == re.sub(r", \d+ s", "", told)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stop-early", 2], "stopping early is a probe's"),
        (["--probe", 64, "--stop-early", 2, "--score", "entropy"], "no score but pass_rate"),
        (["--probe", 64, "--stop-early", 5], "wanted 1 to 4"),
        (["--probe", 8, "--stop-early", 1], "looks only once"),
        (["--probe", 8, "--score", "gradient"], "--validation SET (a benchmark or a file"),
        (["--probe", 8, "--validation", "tiny"], "--validation is tiny and is for gradients: give"),
        (["--probe", 8, "--alignment", "cosine"], "--alignment is cosine and is for gradients"),
        (
            ["--score", "first", "--gradients-of", "adapters"],
            "--gradients-of is adapters and is for",
        ),
        (["--probe", 8, "--temperature", -1], "--temperature is -1; wanted a number from 0 on"),
        (["--probe", 8, "--temperature", "nan"], "--temperature is nan; wanted"),
        (["--probe", 8, "--max-new-tokens", 0], "--max-new-tokens is 0; wanted at least 1"),
        (["--probe", 8, "--visits", 3], "--visits is 3 and is for --make-history RECIPE"),
        (["--score", "first", "--temperature", 0.5], "--temperature is 0.5 and is for --probe N"),
        (
            ["--score", "first", "--history-out", "x"],
            "--history-out is x and is for --make-history",
        ),
        (
            ["--probe", 8, "--score", "gradient", "--validation", "tiny", "--history-out", "x"],
            "or for a --probe N that takes no gradients",
        ),
        (["--probe", 1, "--score", "gradient", "--validation", "tiny"], "needs at least 2"),
        (
            ["--probe", 8, "--score", "gradient", "--validation", "tiny", "--temperature", 0],
            "at temperature 0 all answers are one",
        ),
    ],
)
def test_words_of_a_probe_that_do_not_go_together(words, message, capsys, pool, babbler):
    model = ["--model", babbler] if "--probe" in words else []
    code, _, err = run(capsys, "select", pool, *words, *model)
    assert code == 2
    assert message in err


def test_gradients_rank_the_pool_and_tell_their_cost(capsys, babbler, tmp_path):
    pool = numbered(tmp_path, "train", 5, **OPTIONS)
    held_out = numbered(tmp_path, "held", 4, **OPTIONS)
    argv = ["select", pool, "--probe", 16, "--model", babbler, "--max-new-tokens", 3]
    argv += ["--temperature", 1, "--score", "gradient", "--validation", held_out]
    code, told, _ = run(capsys, *argv)
    assert code == 0
    assert "Ranking by gradient, 5 examples" in told
    assert re.search(r"gradients of [\d,]+ weights \(last layer\)", told)
    assert "the two halves of the 4 validation questions have a cosine of" in told
    # 5 + 4 questions of 16 answers.
    assert re.search(r"Cost: 144 answers, \d+ tokens, \d+ s, at most [\d,]+ MiB of memory", told)
    scores = oneshot_rlvr.select(
        pool, probe=16, model=babbler, max_new_tokens=3, temperature=1.0, score="gradient",
        validation=str(held_out), gradients_of="adapters",
    ).ranking.score_E  # fmt: skip
    # Questions that differ in a digit teach the same: saying a.
    assert (scores > 0.5).sum() >= 3
    assert (abs(scores) <= 1).all()


def test_a_question_in_pool_and_validation_set_is_refused(capsys, babbler, pool):
    argv = ["select", pool, "--probe", 4, "--model", babbler, "--score", "gradient"]
    code, _, err = run(capsys, *argv, "--validation", pool)
    assert code == 2
    assert "in both the training and the validation set" in err
