"""The estimate of memory: exact for what is held, sensible for the rest, and never in the way."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from oneshot_rlvr.config import LoraConfig, load_recipe
from oneshot_rlvr.policy.head import KEPT_BYTES
from oneshot_rlvr.train import footprint as room
from oneshot_rlvr.train.footprint import (
    HEADROOM,
    Shape,
    described,
    estimate,
    peak_bytes,
    propose,
    read_shape,
)

# Qwen2.5-Math-1.5B: its config.json, and the parameters that its weights hold.
QWEN = Shape(1_543_714_304, 28, 1536, 8960, 12, 2, 128, 151_936, 4)
GIB = 1 << 30


def paper(**changes):
    return load_recipe("paper_qwen25_math_1p5b_pi1", changes)


def with_model(**changes):
    recipe = paper()
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=changes)})


def test_what_is_held_is_counted_by_hand():
    held = estimate(paper(), QWEN, "cpu", 16384).held
    n = 1_543_714_304
    assert held["weights"] == held["gradients"] == held["KL reference"] == 4 * n
    assert held["optimizer"] == 8 * n
    narrow = dataclasses.replace(QWEN, weight_bytes=2)
    held = estimate(paper(**{"algorithm.kl_coefficient": 0.0}), narrow, "cpu", 16384).held
    assert (held["weights"], held["optimizer"]) == (2 * n, 12 * n)  # with float32 masters
    assert "KL reference" not in held


SMALL = Shape(1000, 3, 10, 20, 2, 1, 5, 99, 4)


def small(**changes):
    return paper(
        **{
            "rollouts.prompts_per_step": 2,
            "rollouts.group_size": 3,
            "rollouts.max_new_tokens": 7,
            "rollouts.max_prompt_tokens": 5,
            **changes,
        }
    )


def test_what_a_micro_batch_leaves_behind_is_counted_by_hand():
    # Queries 2 x 5, keys and values 5 each: 20 a token. A layer keeps 6 x 10 + 2 x 20 + 3 x 20.
    layer = 6 * 10 + 2 * 20 + 3 * 20
    assert estimate(small(), SMALL, "cpu", 8).update == 8 * 3 * layer * 4
    assert estimate(small(), SMALL, "cpu", 1 << 20).update == 2 * 3 * (7 + 5) * 3 * layer * 4
    narrow = small(**{"model.autocast": "bfloat16"})
    assert room._token_bytes(narrow, SMALL, "cuda") == 3 * layer * 2
    assert estimate(narrow, SMALL, "cpu", 8).update == 8 * 3 * layer * 4
    recomputed = estimate(small(**{"model.gradient_checkpointing": True}), SMALL, "cpu", 8).update
    assert recomputed == 8 * (3 * 10 + layer) * 4


def test_the_samplers_keys_and_values_are_counted_by_hand():
    # 6 rollouts of 7 tokens; a key and a value of 5 numbers in each of 3 layers.
    assert estimate(small(), SMALL, "cpu", 8).sampling == 6 * 7 * 3 * 2 * 5 * 4


def test_a_critic_of_its_own_is_held_with_its_gradients_and_moments_and_a_shared_one_is_not():
    own = estimate(small(**{"algorithm.name": "ppo"}), SMALL, "cpu", 8).held
    assert own["critic"] == 1000 * (4 + 4 + 8)
    shared = {"algorithm.name": "ppo", "algorithm.critic": "shared"}
    assert "critic" not in estimate(small(**shared), SMALL, "cpu", 8).held


def test_the_peak_is_what_is_held_and_the_larger_of_what_takes_turns():
    few, many = (estimate(small(), SMALL, "cpu", tokens) for tokens in (1, 1 << 20))
    assert few.sampling > few.update
    assert many.update > many.sampling
    assert few.peak == sum(few.held.values()) + few.sampling
    assert many.peak == sum(many.held.values()) + many.update


def test_the_embedded_models_shape_is_read_without_its_weights():
    from oneshot_rlvr.policy import load_policy

    recipe = load_recipe("tiny_one_shot")
    shape, device = read_shape(recipe)
    assert device == "cpu"
    assert shape.parameters == sum(p.numel() for p in load_policy(recipe.model).model.parameters())
    assert shape.weight_bytes == 4


def test_memory_grows_with_the_micro_batch_up_to_all_rollouts():
    # Beside the logits that are kept, as many as may be for each.
    peaks = [
        estimate(paper(), QWEN, "cpu", tokens).update - KEPT_BYTES for tokens in (1024, 2048, 4096)
    ]
    assert peaks[1] == 2 * peaks[0]
    assert peaks[2] == 4 * peaks[0]
    few = paper(**{"rollouts.prompts_per_step": 1, "rollouts.group_size": 2})
    assert estimate(few, QWEN, "cpu", 1 << 20) == estimate(few, QWEN, "cpu", 1 << 30)


def test_recomputing_layers_and_adapters_save_memory():
    plain = estimate(paper(), QWEN, "cpu", 16384)
    recomputed = estimate(with_model(gradient_checkpointing=True), QWEN, "cpu", 16384)
    assert recomputed.update < plain.update / 5
    adapters = estimate(with_model(lora=LoraConfig(rank=16)), QWEN, "cpu", 16384)
    # Rank 16 on all linear layers of this model is 18.5 M weights (PEFT's own count).
    assert adapters.held["optimizer"] == pytest.approx(8 * 18.5e6, rel=0.1)


@pytest.mark.parametrize("free", [40 * GIB, 80 * GIB])
def test_the_proposal_is_the_largest_that_fits(free):
    tokens = propose(paper(), QWEN, "cpu", free)
    assert tokens is not None
    assert estimate(paper(), QWEN, "cpu", tokens).peak <= HEADROOM * free
    assert estimate(paper(), QWEN, "cpu", 2 * tokens).peak > HEADROOM * free


def test_nothing_is_proposed_where_the_weights_alone_do_not_fit(monkeypatch):
    assert propose(paper(), QWEN, "cpu", 8 * GIB) is None
    monkeypatch.setattr(room, "free_bytes", lambda device: 100 << 20)
    text = "\n".join(described(load_recipe("tiny_one_shot")))
    assert "does NOT fit into the 100 MiB that are free here" in text
    assert "no micro-batch fits" in text


def test_a_model_that_cannot_be_read_is_one_line_of_the_dry_run(tmp_path):
    recipe = load_recipe("tiny_one_shot", {"model.path": str(tmp_path)})
    (line,) = described(recipe)
    assert line.startswith("memory:    not estimated")
    assert "config.json" in line


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no proc(5) here")
def test_a_peak_is_of_the_process_itself_and_not_of_the_one_that_started_it() -> None:
    held = bytearray(
        1 << 30
    )  # getrusage of a child begins with it, though it is none of the child's
    held[:: 1 << 12] = b"x" * (1 << 18)
    code = "from oneshot_rlvr.train.footprint import peak_bytes; print(peak_bytes('cpu'))"
    told = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    del held
    assert 100 << 20 < told < 1 << 30
    assert peak_bytes("cpu") > 1 << 30
