"""`oneshot diff` on a real small run: numbers, page, JSON, and everything that is refused."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
import torch

import oneshot_rlvr
from oneshot_rlvr.backends.local import run as train
from oneshot_rlvr.cli import main
from oneshot_rlvr.config import ModelConfig, parse_recipe
from oneshot_rlvr.errors import RecordsError
from oneshot_rlvr.evaluation import load_benchmark
from oneshot_rlvr.examples.prompting import encode_prompts
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.records import Run

HOSTILE = "</div><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e"


@pytest.fixture(scope="module")
def trained(small_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "diffed"
    item = {"question": "Say b.", "answer": "b", "verifier": "exact_match", "extraction": "lenient"}
    changes = {"examples.items": [item], "train.steps": 12, "optimizer.learning_rate": 0.03}
    train(small_recipe(changes), out=out)  # greedily the base says a
    return out


def test_greedy_texts_of_the_trained_model_differ_where_the_base_would_not_say_them(trained):
    found = oneshot_rlvr.diff(trained)
    assert found.page == trained / "diff.html"
    assert found.changes.texts == 3
    recipe = parse_recipe(Run(trained).info["recipe"])
    base, result = (
        load_policy(ModelConfig(path=path)) for path in (recipe.model.path, str(trained / "final"))
    )
    # A slow twin: the trained model's own greedy answers, each prefix asked of the base anew.
    examples = load_benchmark(recipe.evaluation.test).examples
    positions, changed, ranks = 0, 0, []
    for prompt in encode_prompts(examples, result.tokenizer, 64, "auto"):
        tokens = list(prompt)
        for _ in range(recipe.rollouts.max_new_tokens):
            with torch.no_grad():
                old, new = (
                    policy.model(input_ids=torch.tensor([tokens])).logits[0, -1]
                    for policy in (base, result)
                )
            choice = int(new.argmax())
            positions += 1
            if int(old.argmax()) != choice:
                changed += 1
                ranks.append(int((old > old[choice]).sum()) + 1)
            tokens.append(choice)
            if choice in result.eos_ids:
                break
    assert (found.changes.positions, found.changes.changed) == (positions, changed)
    assert changed > 0
    assert sorted(row["rank"] for row in found.changed) == sorted(ranks)
    assert found.changes.share.value == pytest.approx(changed / positions)


def test_a_second_call_says_the_same(trained, tmp_path):
    one, two = (
        oneshot_rlvr.diff(
            trained, author="base", temperature=1.0, seed=3, out=tmp_path / f"{n}.html"
        )
        for n in "12"
    )
    assert one.as_dict() == two.as_dict()
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()
    other = oneshot_rlvr.diff(
        trained, author="base", temperature=1.0, seed=4, out=tmp_path / "3.html"
    )
    assert other.as_dict() != one.as_dict()


def test_a_model_that_was_not_trained_does_not_differ(small_recipe, tmp_path, capsys):
    train(small_recipe({"optimizer.learning_rate": 1e-12}), out=tmp_path / "still")
    assert main(["diff", str(tmp_path / "still")]) == 0
    out = capsys.readouterr().out
    assert "differs at 0.00 % of the positions (0)" in out
    assert "Not one choice of" in (tmp_path / "still" / "diff.html").read_text()


def test_the_table_and_json_tell_the_same(trained, capsys):
    assert main(["diff", str(trained), "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert main(["diff", str(trained)]) == 0
    out = capsys.readouterr().out
    assert f"({told['changed']:,})" in out
    assert len(told["changed_positions"]) == told["changed"]
    assert sum(band["count"] for band in told["ranks"]) == told["changed"]
    assert "Rank of the new choice in the base's list" in out
    assert f"Page: {trained / 'diff.html'}" in out


def hostile_page(trained, tmp_path):
    questions = tmp_path / "hostile.jsonl"
    row = {"question": HOSTILE, "answer": "a", "verifier": "exact_match", "extraction": "lenient"}
    questions.write_text(json.dumps(row) + "\n")
    found = oneshot_rlvr.diff(
        trained, benchmarks=[str(questions)], max_new_tokens=4, max_prompt_tokens=200,
        out=tmp_path / "page.html",
    )  # fmt: skip
    from oneshot_rlvr.report.token_diff import Piece, Text, render

    texts = [
        Text(HOSTILE, 1, [Piece(HOSTILE, HOSTILE + '" onmouseover="alert(1)'), Piece("a", "")])
    ]
    found = type(found)(
        run=HOSTILE, author=found.author, benchmarks=[HOSTILE], temperature=0.0,
        changes=found.changes, pairs=[(HOSTILE, HOSTILE, 1, 2.0)], changed=[],
    )  # fmt: skip
    return render(found, texts)


def test_hostile_text_stays_text_and_nothing_may_run(trained, tmp_path):
    html = hostile_page(trained, tmp_path)
    assert "<script" not in html
    assert "<img" not in html
    assert not re.search(r'onmouseover="', html)
    assert "default-src 'none'" in unescape(html)
    assert not re.search(r"(?:src|href)=", html.replace("img src=x", ""))
    assert "unicode-bidi: isolate" in html


@pytest.mark.browser
def test_the_page_opens_without_a_word_and_runs_nothing(trained, tmp_path, visit):
    page = tmp_path / "hostile.html"
    page.write_text(hostile_page(trained, tmp_path))
    opened = visit(page.as_uri(), drawn=False)
    assert opened.said == []
    assert opened.asked == [page.as_uri()]
    assert opened.evaluate("document.title").startswith("</div><script>")
    assert opened.evaluate("document.querySelectorAll('script, img').length") == 0
    assert opened.evaluate("document.querySelectorAll('.changed').length") == 1


def test_another_file_at_the_pages_place_stays_unless_it_may_go(trained, tmp_path):
    page = tmp_path / "d.html"
    page.write_text("mine")
    with pytest.raises(RecordsError, match=r"d\.html"):
        oneshot_rlvr.diff(trained, max_new_tokens=4, out=page)
    assert page.read_text() == "mine"
    assert oneshot_rlvr.diff(trained, max_new_tokens=4, out=page, overwrite=True).page == page
    assert page.read_text() != "mine"
