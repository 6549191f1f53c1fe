"""Rows as examples: layouts, ids, repetitions, choices, and every mistake a file can hold."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from oneshot_rlvr.config import ExamplesConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.examples import load_examples, load_file

ITEM = {"question": "2 + 2?", "answer": "4"}
SUFFIX = "Answer in \\boxed{}."


def items(*rows, **options):
    return load_examples(ExamplesConfig(items=list(rows), **options))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def verl(index, question, gold, **more):
    return {
        "data_source": "deepscaler", "ability": "math",
        "prompt": [{"role": "user", "content": question}],
        "reward_model": {"style": "rule", "ground_truth": gold},
        "extra_info": {"index": index, "split": "train"}, **more,
    }  # fmt: skip


# Real files of the paper.


def test_the_paper_s_training_set_of_128_equal_rows_is_one_example(data_dir):
    (example,) = load_file(data_dir / "one_shot_rlvr" / "pi1_r128.parquet")
    assert (example.id, example.answer, example.verifier) == ("124", "12.8", "math_answer")
    assert (example.domain, example.family) == ("math", "deepscaler")
    assert example.question.endswith("output the final answer within \\boxed{}.")
    assert example.chat() == [{"role": "user", "content": example.question}]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("merge_pi1_pi13_r128", ["124", "682"]),
        ("merge_pi1_pi2_pi13_pi1209_r128", ["124", "267", "682", "789"]),
    ],
)
def test_merged_training_sets_hold_each_example_once(data_dir, name, ids):
    assert [e.id for e in load_file(data_dir / "one_shot_rlvr" / f"{name}.parquet")] == ids


def test_the_pool_is_whole_although_two_of_its_questions_occur_twice(data_dir):
    pool = load_file(data_dir / "one_shot_rlvr" / "dsr_sub.parquet")
    assert [e.id for e in pool] == [str(i) for i in range(1209)]
    assert [e.id for e in pool if not e.answer] == ["265"]
    assert len({(e.question, e.answer) for e in pool}) == 1207


def test_one_example_is_picked_out_of_the_pool_by_its_id(data_dir):
    path = str(data_dir / "one_shot_rlvr" / "dsr_sub.parquet")
    (example,) = load_examples(ExamplesConfig(path=path, ids=["124"]))
    (published,) = load_file(data_dir / "one_shot_rlvr" / "pi1_r128.parquet")
    assert (example.question, example.answer) == (published.question, published.answer)
    assert len(load_examples(ExamplesConfig(path=path, exclude=["265"]))) == 1208


# Layouts.


def test_own_columns_give_every_field_and_keep_the_others_as_options():
    row = ITEM | {"id": 7, "verifier": "numeric", "domain": "sums", "family": "add", "unit": "kg"}
    (example,) = items(row)
    assert (example.id, example.verifier, example.domain, example.family) == (
        "7", "numeric", "sums", "add",
    )  # fmt: skip
    assert dict(example.extra) == {"unit": "kg"}
    assert example.chat() == [{"role": "user", "content": "2 + 2?"}]


def test_own_columns_may_hold_a_whole_chat():
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    (example,) = items({"messages": chat, "answer": 4})
    assert example.chat() == chat
    assert (example.question, example.answer) == ("2 + 2?", "4")


def test_trl_prompts_may_be_text_or_chat_and_solutions_answers_or_workings():
    chat = [{"role": "user", "content": "2 + 2?"}]
    for prompt in ("2 + 2?", chat):
        for solution in ("4", "$4$", r"It is 2 + 2 = \boxed{4}."):
            (example,) = items({"prompt": prompt, "solution": solution})
            assert (example.question, example.answer) == ("2 + 2?", "4")
            assert example.chat() == chat


def test_verl_columns_take_id_from_the_index_and_options_from_extra_info():
    row = verl(124, "q", "12.8", source_file="a.parquet")
    row["extra_info"]["unit"] = "mph"
    (example,) = items(row)
    assert (example.id, example.answer, example.domain) == ("124", "12.8", "math")
    assert dict(example.extra) == {"split": "train", "unit": "mph", "source_file": "a.parquet"}


def test_the_suffix_is_appended_once_to_every_layout_s_last_user_turn():
    asked = f"2 + 2? {SUFFIX}"
    assert items(ITEM, prompt_suffix=SUFFIX)[0].question == asked
    assert items({"prompt": "2 + 2?", "solution": "4"}, prompt_suffix=SUFFIX)[0].question == asked
    for question in ("2 + 2?", asked):
        (example,) = items(verl(0, question, "4"), prompt_suffix=SUFFIX)
        assert example.question == example.messages[-1]["content"] == asked
    assert items(verl(0, "2 + 2?", "4"))[0].question == "2 + 2?"
    turns = [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]
    (example,) = items({"prompt": turns, "solution": "4"}, prompt_suffix=SUFFIX)
    assert [turn["content"] for turn in example.messages] == [f"a {SUFFIX}", "b"]


def test_columns_are_renamed_before_the_layout_is_told():
    rows = [{"problem": "q", "solution": r"\boxed{4}", "answer": "4"}, ITEM]
    assert [e.question for e in items(*rows, rename={"problem": "question"})] == ["q", "2 + 2?"]
    with pytest.raises(DataError, match=r'no column "problm" to rename.*nearest is "problem"'):
        items(*rows, rename={"problm": "question"})


# Ids and repetitions.


def test_repeated_rows_are_one_example_and_ids_are_row_numbers():
    other = {"question": "3 + 3?", "answer": "6"}
    assert [(e.id, e.answer) for e in items(ITEM, ITEM, other, ITEM)] == [("0", "4"), ("2", "6")]


def test_equal_questions_under_two_ids_are_two_examples():
    assert [e.id for e in items(ITEM | {"id": "a"}, ITEM | {"id": "b"})] == ["a", "b"]


def test_the_same_question_with_another_gold_or_verifier_is_another_example():
    assert len(items(ITEM, ITEM | {"answer": "5"}, ITEM | {"verifier": "numeric"})) == 3


def test_one_id_on_two_examples_is_refused_with_both_places():
    with pytest.raises(DataError, match=r'items\[1\] has the id "a", which examples.items\[0\]'):
        items(ITEM | {"id": "a"}, {"id": "a", "question": "3 + 3?", "answer": "6"})
    with pytest.raises(DataError, match='the id "1"'):  # a row's number is an id as well
        items(ITEM | {"id": "1"}, {"question": "3 + 3?", "answer": "6"})


def test_first_ids_and_exclude_choose_and_unknown_ids_are_told():
    rows = [ITEM | {"id": name} for name in ("alpha", "beta", "gamma")]
    assert [e.id for e in items(*rows, first=2)] == ["alpha", "beta"]
    assert [e.id for e in items(*rows, exclude=["alpha"])] == ["beta", "gamma"]
    assert [e.id for e in items(*rows, ids=["gamma", "alpha"])] == ["alpha", "gamma"]
    for setting in ("ids", "exclude"):
        with pytest.raises(DataError, match=f'examples.{setting} names "betta".*"beta"'):
            items(*rows, **{setting: ["betta"]})
    with pytest.raises(DataError, match="leave none of 3 examples"):
        items(*rows, exclude=["alpha", "beta", "gamma"])


# Mistakes.


def test_neither_path_nor_items_is_a_config_error():
    with pytest.raises(ConfigError, match="both unset"):
        load_examples(ExamplesConfig())


def test_an_empty_pool_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"empty\.jsonl holds no examples"):
        load_file(write(tmp_path / "empty.jsonl", []))
    with pytest.raises(DataError, match=r"examples\.items holds no examples"):
        items()


@pytest.mark.parametrize(
    ("row", "lacking", "near"),
    [
        ({"qestion": "q", "answer": "4"}, "question", "qestion"),
        ({"problem": "q", "answer": "4"}, "question", "problem"),
        ({"question": "q", "anser": "4"}, "answer", "anser"),
        ({"question": "q", "final_answer": "4"}, "answer", "final_answer"),
        ({"prompt": "q", "extra_info": {}, "reward_modle": {}}, "reward_model", "reward_modle"),
    ],
)
def test_a_wrong_column_is_told_with_the_nearest(tmp_path, row, lacking, near):
    columns = "verl" if lacking == "reward_model" else "auto"
    path = write(tmp_path / "pool.jsonl", [row])
    with pytest.raises(DataError, match=rf'pool\.jsonl has no column "{lacking}".*"{near}"'):
        load_examples(ExamplesConfig(path=path, columns=columns))


def test_a_layout_asked_for_is_not_guessed_away():
    with pytest.raises(DataError, match='no column "prompt"'):
        items(ITEM, columns="trl")


@pytest.mark.parametrize("gold", [None, "", "  ", float("nan")])
@pytest.mark.parametrize("column", ["answer", "solution"])
def test_an_example_without_gold_is_told_with_its_line(tmp_path, column, gold):
    question = "question" if column == "answer" else "prompt"
    rows = [{question: f"q{i}", column: "4"} for i in range(3)]
    rows[2][column] = gold
    with pytest.raises(DataError, match=rf'line 3 has no gold in "{column}"'):
        load_file(write(tmp_path / "pool.jsonl", rows))
    del rows[2][column]
    with pytest.raises(DataError, match=rf'line 3 has no gold in "{column}"'):
        load_file(write(tmp_path / "pool.jsonl", rows))


def test_an_empty_csv_cell_is_no_gold(tmp_path):
    (tmp_path / "pool.csv").write_text("question,answer\nq,4\nr,\n")
    with pytest.raises(DataError, match='line 3 has no gold in "answer"'):
        load_file(tmp_path / "pool.csv")


def test_a_verl_row_without_gold_is_told():
    row = verl(0, "q", None)
    with pytest.raises(DataError, match=r'no gold in "reward_model\.ground_truth"'):
        items(row)
    with pytest.raises(DataError, match='field "reward_model", is text'):
        items(row | {"reward_model": "4"})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": 5, "answer": "4"}, r'field "question", is 5, a int; wanted text'),
        ({"question": ["q"], "answer": "4"}, r'field "question\[0\]", is text; wanted a turn'),
        ({"question": "  ", "answer": "4"}, r'field "question", is blank'),
        ({"question": "q", "answer": ["4"]}, r'field "answer", is a list; wanted the gold'),
        ({"question": "q", "answer": True}, r'field "answer", is a truth value'),
        ({"question": "q", "answer": "4", "id": {"a": 1}}, r'field "id", is an object'),
        ({"question": "q\ud800", "answer": "4"}, r'field "question", holds half a character'),
        ({"prompt": [], "solution": "4"}, r"has no user turn"),
        ({"prompt": [{"role": "user"}], "solution": "4"}, r'field "prompt\[0\]", is an object'),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image"}]}], "solution": "4"},
            r'field "prompt\[0\]", is an object; wanted a turn',
        ),
    ],
)
def test_fields_that_are_not_text_are_told(row, said):
    with pytest.raises(DataError, match=r"examples\.items\[0\].*" + said):
        items(row)


# Golds that would train on nothing, and tables that came as text.

WORKED = "She makes 9 * 2 = 18 dollars every day.\n#### 18"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "How much?", "answer": WORKED},
        {"prompt": "How much?", "solution": WORKED},
        verl(0, "How much?", WORKED),
        {"question": "How much?", "answer": "So we get \\boxed{18}."},
    ],
)
def test_a_worked_solution_gives_its_answer_in_every_layout(row):
    assert items(row)[0].answer == "18"


def test_a_gold_that_is_prose_is_refused_by_the_name_of_its_row(tmp_path):
    path = write(tmp_path / "p.jsonl", [ITEM, {"question": "a", "answer": "The answer is 72."}])
    with pytest.raises(DataError, match=r'p\.jsonl, line 2, field "answer", is prose .*boxed'):
        load_file(path)
    assert load_file(path, verifier="exact_match")[1].answer == "The answer is 72."


@pytest.mark.parametrize("gold", [["4", "5"], {"a": 4}, np.array(["4", "5"]), math.inf])
@pytest.mark.parametrize("layout", ["own", "trl", "verl"])
def test_a_list_or_a_table_is_no_gold(layout, gold):
    rows = {
        "own": {"question": "q", "answer": gold},
        "trl": {"prompt": "q", "solution": gold},
        "verl": verl(0, "q", gold),
    }
    with pytest.raises(DataError, match="wanted the gold as text or a number"):
        items(rows[layout])


USER, SAID = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}


@pytest.mark.parametrize("column", ["messages", "prompt"])
def test_a_chat_stops_at_the_last_user_turn_so_that_no_prompt_holds_the_solution(column):
    gold = "answer" if column == "messages" else "solution"
    (example,) = items({column: [USER, SAID], gold: "4"})
    assert example.chat() == [USER]
    again = {"role": "user", "content": "and twice that?"}
    (example,) = items({column: [USER, SAID, again, SAID], gold: "8"})
    assert example.chat() == [USER, SAID, again]
    assert example.question == "and twice that?"
    for name in ("Assistant", "model", "gpt"):  # whatever the assistant is called
        (example,) = items({column: [USER, {**SAID, "role": name}], gold: "4"})
        assert example.chat() == [USER]


def test_json_text_of_a_chat_and_of_options_is_read(tmp_path):
    row = verl(7, "2 + 2?", "4", ability="sums")
    texts = {k: json.dumps(row[k]) for k in ("prompt", "reward_model")}
    texts["extra_info"] = json.dumps({"index": 7, "verifier": "numeric", "rel_tol": 0.1})
    (example,) = items(row | texts)
    assert example.chat() == [USER]
    assert (example.id, example.verifier, example.answer) == ("7", "numeric", "4")
    assert dict(example.extra) == {"rel_tol": 0.1}
    # A question may look like JSON and be none, or no chat.
    assert items({"prompt": "[1, 2] sorted?", "solution": "4"})[0].question == "[1, 2] sorted?"
    assert items({"prompt": "[1, 2]", "solution": "4"})[0].question == "[1, 2]"


def test_options_that_are_no_table_are_refused_instead_of_dropped():
    with pytest.raises(DataError, match=r'field "extra_info", is text; wanted a table'):
        items(verl(0, "2 + 2?", "4") | {"extra_info": "index=0"})
    with pytest.raises(DataError, match=r"a chat that Python has printed"):
        items({"prompt": "[{'role': 'user', 'content': 'a'}]", "solution": "4"})


def test_arrays_as_options_become_lists():
    row = {"question": "q", "answer": "B", "verifier": "multiple_choice"}
    (example,) = items(row | {"choices": np.array(["x", "y"])})
    assert example.extra == {"choices": ["x", "y"]}
    info = {"index": 0, "verifier": "multiple_choice", "choices": np.array(["x", "y"])}
    (example,) = items(verl(0, "q", "B") | {"extra_info": info})
    assert example.extra == {"choices": ["x", "y"]}
    assert type(example.extra["choices"]) is list
