"""A whole run: what is measured when, which checkpoint is the result, and what is left of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from oneshot_rlvr import evaluate as answered
from oneshot_rlvr.backends import local
from oneshot_rlvr.backends.local import run
from oneshot_rlvr.records import Run
from oneshot_rlvr.train.step import TrainStep


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_base_is_validated_first_and_the_test_set_touched_once_at_the_end(
    small_recipe, tmp_path, monkeypatch, watcher
):
    asked: list[tuple[str, list[int]]] = []
    watch = watcher()

    def count(engine, tokenizer, scorer, benchmark, *rest, **options):
        asked.append((benchmark.name, list(watch.steps)))
        return evaluate(engine, tokenizer, scorer, benchmark, *rest, **options)

    evaluate = local.evaluate
    monkeypatch.setattr(local, "evaluate", count)
    run(small_recipe({"train.steps": 5}), out=tmp_path / "run", progress=watch)
    assert asked == [
        ("validation", []),
        ("validation", [1]),  # of step 2, whose end is told after it
        ("validation", [1, 2, 3]),
        ("validation", [1, 2, 3, 4]),
        ("test", [1, 2, 3, 4, 5]),
        ("test", [1, 2, 3, 4, 5]),
    ]
    recorded = [("test", 0), ("test", 5), *(("validation", s) for s in (0, 2, 4, 5))]
    assert Run(tmp_path / "run").evaluations() == recorded


def test_the_base_is_tested_as_it_was_before_training(small_recipe, small, tmp_path):
    recipe = small_recipe()
    assert recipe.evaluation.test is not None
    assert recipe.evaluation.test.path is not None
    name = recipe.evaluation.test.path
    untrained = answered(recipe.model.path, benchmarks=[name], samples=2, temperature=1.0,
                             max_new_tokens=recipe.rollouts.max_new_tokens)[name]  # fmt: skip
    texts = [sample["text"] for sample in untrained.samples]
    assert Run(small).samples("test", 0)["text"].tolist() == texts
    assert Run(small).samples("test", 4)["text"].tolist() != texts


def test_the_test_of_the_base_is_not_repeated_by_a_resume(
    small_recipe, tmp_path, monkeypatch, watcher
):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(), out=out, progress=watcher(at="test set: trained"))
    before = (out / "evaluations/test-base.parquet").stat().st_mtime_ns
    notes = watcher()
    run(small_recipe(), out=out, resume=True, progress=notes)
    assert [note for note in notes.notes if note.startswith("test")] == [
        "test set: trained model (step 4)"
    ]
    assert (out / "evaluations/test-base.parquet").stat().st_mtime_ns == before


@pytest.fixture
def validates_as(monkeypatch):
    """Replaces the accuracy of validations by one told for each step."""

    def use(accuracy: Mapping[int, float]) -> None:
        trainers: list[TrainStep] = []

        def remembered(*args, **options):
            trainers.append(TrainStep(*args, **options))
            return trainers[-1]

        def evaluate(engine, tokenizer, scorer, benchmark, *rest, **options):
            result = really(engine, tokenizer, scorer, benchmark, *rest, **options)
            if benchmark.name == "validation":
                told = result.summary["overall"]["accuracy"]
                told["value"] = accuracy[trainers[-1].steps_done]
            return result

        really = local.evaluate
        monkeypatch.setattr(local, "evaluate", evaluate)
        monkeypatch.setattr(local, "TrainStep", remembered)

    return use


@pytest.mark.parametrize(
    ("accuracy", "chosen"),
    [
        ({0: 0.9, 2: 0.1, 4: 0.6, 6: 0.6, 8: 0.3}, 4),
        ({0: 0.5, 2: 0.0, 4: 0.0, 6: 0.0, 8: 0.0}, 2),  # never improves: the earliest
    ],
)
@pytest.mark.parametrize("stop", [None, 7])
def test_the_result_is_the_earliest_best_validation(
    small_recipe, tmp_path, validates_as, accuracy, chosen, stop, watcher
):
    validates_as(accuracy)
    best = {"train.steps": 8, "train.checkpoint_rule": "best_validation", "train.save_every": 3}
    out = tmp_path / "run"
    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            run(small_recipe(best), out=out, progress=watcher(after=stop))
    result = run(small_recipe(best), out=out, resume=True)
    assert result.summary["step"] == chosen
    assert result.summary["checkpoint_rule"] == "best_validation"
    assert ("test", chosen) in Run(out).evaluations()
    assert ("test", 8) not in Run(out).evaluations()
    weights = (out / "final/model.safetensors").read_bytes()
    kept = out / f"checkpoints/step-{chosen:06d}/model.safetensors"
    assert kept.read_bytes() == weights
    # And those are the weights of a run that ends there.
    run(small_recipe({"train.steps": chosen}), out=tmp_path / "short")
    assert (tmp_path / "short/final/model.safetensors").read_bytes() == weights
    assert f"Checkpoint: step {chosen}." in (out / "final/README.md").read_text()


def test_a_lost_best_is_trained_again(
    small_recipe, tmp_path, validates_as, watcher, assert_same_run
):
    validates_as({0: 0.0, 2: 0.1, 4: 0.6, 6: 0.6, 8: 0.3})
    best = {"train.steps": 8, "train.checkpoint_rule": "best_validation"}
    run(small_recipe(best), out=tmp_path / "straight")
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(best), out=out, progress=watcher(after=7))
    assert names_in(out / "checkpoints") == ["step-000004", "step-000006"]
    shutil.rmtree(out / "checkpoints/step-000004")
    # Stopped once more when step 4 is back: step 6 would be whole again, and its records are gone.
    again = watcher(after=5)
    with pytest.raises(KeyboardInterrupt):
        run(small_recipe(best), out=out, resume=True, progress=again)
    assert again.steps == [1, 2, 3, 4, 5]
    last = watcher()
    result = run(small_recipe(best), out=out, resume=True, progress=last)
    assert last.steps == [5, 6, 7, 8]
    assert result.summary["step"] == 4
    assert_same_run(tmp_path / "straight", out)


def test_a_run_without_held_out_sets_trains_and_says_so(small_recipe, tmp_path):
    bare = {"evaluation.validation": None, "evaluation.test": None}
    result = run(small_recipe(bare), out=tmp_path / "run")
    assert result.summary == {"step": 4, "checkpoint_rule": "final"}
    assert "Nothing held out was measured" in (tmp_path / "run/final/README.md").read_text()


def test_the_final_model_is_an_ordinary_directory_with_a_card(small):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    final = small / "final"
    model = AutoModelForCausalLM.from_pretrained(final)
    tokenizer = AutoTokenizer.from_pretrained(final)
    assert tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say a."}], add_generation_prompt=True, tokenize=False
    ) == "Say a.\n> "  # fmt: skip
    prompt = tokenizer("Say a.\n> ", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        said = model.generate(prompt, max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(said[0, prompt.shape[1] :])
    last = small / "checkpoints/step-000004"
    assert (final / "model.safetensors").read_bytes() == (last / "model.safetensors").read_bytes()
    card = (final / "README.md").read_text()
    for words in ("Say a.", "Gold answer", "95% interval", "Checkpoint: step 4", "[rollouts]"):
        assert words in card
    assert not [n for n in names_in(final) if n.endswith((".bin", ".pt", ".pth", ".pkl", ".part"))]
    assert not (small / "final.part").exists()


def test_run_json_tells_what_is_needed_to_do_it_again(small_recipe, small):
    told = Run(small)
    assert told.status == "finished"
    assert told.info["recipe"] == small_recipe().model_dump(mode="json")
    assert told.info["examples"][0]["question"] == "Say a."
    assert told.info["model"]["parameters"] > 1000
    assert told.info["threads"] == 1
    assert told.info["held_out"]["test"]["questions"] == 3
    assert {"python", "torch", "transformers", "oneshot-rlvr"} <= told.info["versions"].keys()
    assert {"cores", "memory_gib", "processor"} <= told.info["machine"].keys()
    result = told.result
    assert result is not None
    assert (result["step"], result["checkpoint_rule"]) == (4, "final")
    for name in ("validation", "test"):
        assert result[name]["before"] == told.summary(name, 0)
        assert result[name]["after"] == told.summary(name, 4)


def test_loading_and_saving_print_nothing(small_recipe, tmp_path, capfd):
    run(small_recipe({"train.steps": 1}), out=tmp_path / "run")
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
