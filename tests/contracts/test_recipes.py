"""What every packaged recipe promises: it loads, says itself offline, and keeps its word."""

import socket

import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import load_recipe, packaged_recipes

GPUS = ("gpu_24gb", "gpu_80gb", "gpu_8x80gb")


def test_the_recipes_that_are_promised_are_there():
    promised = {
        "tiny_one_shot", "paper_qwen25_math_1p5b_pi1", "paper_qwen25_math_1p5b_pi13",
        "paper_qwen25_math_1p5b_full_pool", "llama32_3b", "r1_distill", "verl_cluster",
        *(f"{gpu}_qwen25_math_1p5b_pi1" for gpu in GPUS),
    }  # fmt: skip
    assert promised <= set(packaged_recipes())


@pytest.mark.parametrize("name", packaged_recipes())
def test_a_dry_run_needs_no_network(name, monkeypatch, capsys):
    class Local(socket.socket):
        """Golds are checked in processes, which are woken through a socket of this machine."""

        def __init__(self, family=socket.AF_INET, *args, **kwargs):
            assert family == socket.AF_UNIX, "a dry run opened a socket to the network"
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", Local)
    assert main(["train", name, "--dry-run", "--no-measure"]) == 0
    assert "# the run:" in capsys.readouterr().out
    assert load_recipe(name).note


@pytest.mark.parametrize("gpu", GPUS)
def test_recipes_for_gpus_learn_by_the_papers_numbers(gpu):
    """But for the adapters' learning rate: a place to run changes no result on purpose."""
    paper = load_recipe("paper_qwen25_math_1p5b_pi1").model_dump()
    here = load_recipe(f"{gpu}_qwen25_math_1p5b_pi1").model_dump()
    for recipe in (paper, here):
        for key in ("name", "note", "backend"):
            recipe.pop(key)
        for key in ("engine", "vllm"):
            recipe["rollouts"].pop(key)
        recipe["train"].pop("micro_batch_tokens")
        for key in ("dtype", "autocast", "gradient_checkpointing", "lora"):
            recipe["model"].pop(key)
        if gpu == "gpu_24gb":
            recipe["optimizer"].pop("learning_rate")
    assert here == paper
