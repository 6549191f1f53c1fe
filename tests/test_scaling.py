"""docs/scaling.md: its tables are what the cost model says, and the model says what it should."""

import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from oneshot_rlvr.train import cost_model as cost
from oneshot_testing import load_file

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "docs" / "cluster"


scaling = load_file(ROOT / "benchmarks" / "scaling.py")


def test_the_pages_tables_are_the_models():
    page = scaling.PAGE.read_text()
    assert all(f"<!-- {name} -->" in page for name in scaling.TABLES)
    assert scaling.filled(page) == page, "run python benchmarks/scaling.py"


@pytest.mark.parametrize("name", list(cost.SHAPES))
def test_parameters_are_counted_as_the_models_own_files_count_them(name):
    assert cost.SHAPES[name].parameters == cost.PUBLISHED_PARAMETERS[name]


def test_the_model_is_within_a_third_of_the_published_hours():
    ratio = scaling.deepscaler_hours() / scaling.DEEPSCALER_PUBLISHED_HOURS
    assert 2 / 3 < ratio < 4 / 3


def test_lengths_have_the_mean_that_was_asked_and_are_cut():
    work = cost.Work(128, 8, 100, 800, 3072)
    drawn = cost.lengths(work, cost.Assumptions())
    assert len(drawn) == 1024
    assert abs(drawn.mean() - 800) < 2
    assert drawn.max() <= 3072
    assert drawn.min() >= 1


def test_one_answer_at_a_time_costs_its_steps():
    gpu, assumed = cost.A100, cost.Assumptions(length_spread=0.0)
    work = cost.Work(1, 1, 16, 1600, 4096)
    seconds = cost.sampling_seconds(cost.QWEN_1P5B, gpu, 1, work, assumed)
    weights = 2 * cost.QWEN_1P5B.matrix_parameters / (gpu.bandwidth * 0.6)
    assert seconds == pytest.approx(1600 * (weights + 0.012), rel=0.02)


def test_more_gpus_never_slow_a_step_and_never_beat_the_longest_answer():
    work = cost.Work(128, 8, 150, 2000, 8192)
    parts = [cost.step_seconds(cost.QWEN_7B, cost.H100, gpus, work) for gpus in (8, 32, 128, 1024)]
    assert np.all(np.diff([p["sampling"] for p in parts]) <= 0)
    assert np.all(np.diff([p["training"] for p in parts]) < 0)
    longest = cost.lengths(work, cost.Assumptions()).max()
    assert parts[-1]["sampling"] >= longest * 0.012


def test_every_recipe_for_gpus_fits_with_a_tenth_to_spare():
    from oneshot_rlvr.config import load_recipe

    assert len(scaling.PLACES) == 6
    for name, (gpu, gpus, _) in scaling.PLACES.items():
        recipe = load_recipe(name)
        memory = scaling.memory_of(recipe, gpus)
        sampling = memory.resident + recipe.rollouts.vllm.memory_share * gpu.memory
        assert memory.total < 0.9 * gpu.memory, name
        assert sampling < 0.9 * gpu.memory, name
        full = recipe.rollouts.max_prompt_tokens + recipe.rollouts.max_new_tokens
        room = cost.cache_tokens(scaling.shape_of(recipe), gpu, recipe.rollouts.vllm.memory_share)
        assert room > 8 * full, name


def test_failures_come_as_often_as_llama_3s():
    assert cost.hours_between_failures(16_384) * 419 == pytest.approx(54 * 24)
    assert cost.lost_share(1000, 2.0, 0.5) == pytest.approx(1.5 / cost.hours_between_failures(1000))


def test_the_slurm_script_is_shell_and_names_a_recipe_that_exists():
    from oneshot_rlvr.config import packaged_recipes

    script = CLUSTER / "slurm.sh"
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert _trained(script.read_text()) in packaged_recipes()


def test_the_kubernetes_job_is_a_rayjob_that_starts_the_same_recipe():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert _trained(spec["entrypoint"]) == _trained((CLUSTER / "slurm.sh").read_text())
    group = spec["rayClusterSpec"]["workerGroupSpecs"][0]
    assert group["replicas"] == group["minReplicas"] == 4
    assert f"--backend.nodes {group['replicas']}" in spec["entrypoint"]
    for pods in (spec["rayClusterSpec"]["headGroupSpec"], group):
        pod = pods["template"]["spec"]
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    gpus = group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    recipe = tomllib.loads((ROOT / "recipes" / "verl_cluster.toml").read_text())
    assert gpus == recipe["backend"]["gpus_per_node"]
    assert group["replicas"] == recipe["backend"]["nodes"]


def test_every_option_of_the_cluster_files_is_a_key_of_a_recipe():
    import re

    from oneshot_rlvr.config import recipe_fields

    keys = {field.key for field in recipe_fields()}
    found = set()
    for file in ("slurm.sh", "kuberay.yaml"):
        command = (CLUSTER / file).read_text().partition("oneshot train")[2]
        found |= set(re.findall(r"--([a-z_]+\.[a-z_]+)", command))
    assert len(found) >= 4
    assert found <= keys


def _trained(text):
    return text.partition("oneshot train ")[2].split()[0]


@pytest.mark.parametrize(
    ("name", "gigabytes", "gigabytes_a_second", "teraflops", "link"),
    [
        # As NVIDIA prints them: 16-bit tensor products with sparsity, halved here; links to
        # other GPUs both ways together.
        ("A100", 80, 2039, 624 / 2, 600 / 2),
        ("H100", 80, 3350, 1979 / 2, 900 / 2),
        ("H200", 141, 4800, 1979 / 2, 900 / 2),
        ("L40S", 48, 864, 733 / 2, 64 / 2),
        ("L4", 24, 300, 242 / 2, 64 / 2),
        ("RTX4090", 24, 1008, 330.4 / 2, 64 / 2),
    ],
)
def test_gpus_are_as_their_data_sheets_say(name, gigabytes, gigabytes_a_second, teraflops, link):
    gpu = cost.GPUS[name]
    assert gpu.memory == gigabytes * 1e9
    assert gpu.bandwidth == pytest.approx(gigabytes_a_second * 1e9)
    # The L40S's sheet has 733 sparse and 362.05 dense.
    assert gpu.flops == pytest.approx(teraflops * 1e12, rel=0.013 if name == "L40S" else 1e-3)
    assert gpu.link == link * 1e9


def test_every_gpu_has_a_data_sheet():
    assert len(cost.GPUS) == 6
