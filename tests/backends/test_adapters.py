"""A run that trains adapters: its result is a plain model, and an interruption changes nothing."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from oneshot_rlvr.backends.local import run
from oneshot_rlvr.policy import load_policy
from oneshot_rlvr.policy.lora import has_adapters

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
