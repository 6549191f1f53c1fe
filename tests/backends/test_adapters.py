"""A run that trains adapters: its result is a plain model, and an interruption changes nothing."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.policy.lora import has_adapters
from oneshot_rlvr.records import Run
from oneshot_rlvr.verbs.evaluate import evaluate

SETTINGS = {
    "model.lora": {"rank": 2, "alpha": 4.0},
    "train.checkpoint_rule": "best_validation",
    "model.gradient_checkpointing": True,
}


@pytest.fixture(scope="module")
def recipe(small_recipe):
    return small_recipe(SETTINGS)


@pytest.fixture(scope="module")
def straight_run(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapters") / "run"
    run(recipe, out=out)
    return out


def test_the_result_is_a_plain_model_with_the_adapters_beside_it(straight_run, recipe):
    from peft import PeftModel

    final = straight_run / "final"
    merged = AutoModelForCausalLM.from_pretrained(final).eval()
    assert not has_adapters(merged)
    base = load_policy(recipe.model).model
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        before = base(ids).logits.clone()
        joined = PeftModel.from_pretrained(base, final / "adapter").eval()
        assert torch.allclose(joined(ids).logits, merged(ids).logits, atol=1e-5)
        assert (merged(ids).logits - before).abs().max() > 1e-4  # it learned


def test_an_interrupted_run_goes_on_to_the_same_bits(
    recipe, straight_run, tmp_path, watcher, assert_same_run
):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out=out, progress=watcher(after=3))
    run(recipe, out=out, resume=True)
    assert_same_run(straight_run, out)


def test_what_was_tested_is_what_final_holds(tmp_path, small_recipe):
    """The answers of the test set, drawn again from the saved directory, are those recorded."""
    settings = {"model.dtype": "bfloat16", "model.lora": {"rank": 2, "alpha": 4.0}}
    recipe = small_recipe({**settings, "optimizer.learning_rate": 1e-5})
    out = tmp_path / "run"
    step = run(recipe, out=out).summary["step"]
    merged = AutoModelForCausalLM.from_pretrained(out / "final")
    assert merged.dtype == torch.float32
    adapters = load_file(out / "final" / "adapter" / "adapter_model.safetensors")
    assert {t.dtype for t in adapters.values()} == {torch.float32}
    base = load_policy(recipe.model).model.state_dict()
    update = merged.state_dict()["model.layers.0.mlp.up_proj.weight"].double()
    update -= base["model.layers.0.mlp.up_proj.weight"].double()
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_{}.weight"
    wanted = 2.0 * adapters[name.format("B")].double() @ adapters[name.format("A")].double()
    assert ((update - wanted).norm() / wanted.norm()).item() < 0.01
    test, tested = recipe.evaluation.test, Run(out).samples("test", step)
    found = evaluate(
        out,
        benchmarks=[test.path],
        seed=test.seed,
        samples=test.samples,
        temperature=test.temperature,
        questions=test.questions,
    )
    (again,) = found.values()
    assert [s["text"] for s in again.samples] == tested["text"].tolist()
    assert len(tested) > 4
