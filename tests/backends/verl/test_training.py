"""A run of verl that stands still is stopped, with its state; its steps and checkpoints are ours.

verl itself takes a minute to start, so a small program stands in for it here: a real process
that writes verl's files, starts another and then really stands still. `test_runs.py` has the
real thing.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from oneshot_rlvr.backends.verl import launch
from oneshot_rlvr.backends.verl import training as training_module
from oneshot_rlvr.backends.verl.checkpoints import PlainCheckpoints, to_plain
from oneshot_rlvr.backends.verl.convert import Converter
from oneshot_rlvr.backends.verl.export import placeless
from oneshot_rlvr.backends.verl.inputs import target_for
from oneshot_rlvr.backends.verl.training import Training
from oneshot_rlvr.config import load_recipe
from oneshot_rlvr.errors import RunError
from oneshot_rlvr.records import Run, RunWriter
from oneshot_rlvr.train.stopping import Stopping

SETTINGS = {
    "backend.name": "verl",
    "backend.start_minutes": 0.05,
    "backend.stall_minutes": 0.03,
    "model.device": "cpu",
    "rollouts.prompts_per_step": 1,
    "rollouts.group_size": 2,
    "train.steps": 3,
    "evaluation.validation": None,
}

STANDS_STILL = """
    import os, signal, subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
    print("ValueError: the weights were not sent", flush=True)
    print("waiting for all ranks", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""

ONE_STEP = """
    import json, os
    from pathlib import Path
    import pyarrow as pa
    import pyarrow.parquet as pq
    records = Path(os.environ["ONESHOT_VERL_RECORDS"])
    (records / "rollouts").mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "step": 1, "row": 0, "index": n, "example_id": "a", "prompt_tokens": [5],
            "tokens": [7, 1], "logprobs": [-0.5, -0.1], "reward": float(n), "advantage": n - 0.5,
            "logprob_gap": 0.0, "text": "x", "reason": "correct" if n else "mismatch",
            "extracted": "null", "finished": True, "acc": bool(n),
        }
        for n in (0, 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows), records / "rollouts" / "step-000001.parquet")
    data = {"training/global_step": 1, "actor/loss": 0.1, "actor/grad_norm": 1.0}
    (records / "metrics.jsonl").write_text(json.dumps({"step": 1, "data": data}) + "\\n")
"""


class Notes(list):
    """A progress that keeps what it is told."""

    note = list.append

    def start(self, total_steps):
        """Nothing."""

    def step(self, step, metrics):
        self.append(f"step {step}")


@pytest.fixture
def patience(monkeypatch, clock, tmp_path):
    """Little of it, by a clock that only begins to go once the program stands still: however busy
    the machine, it has done before all that it would do."""
    monkeypatch.setattr(launch, "PATIENCE_SECONDS", 1.0)
    began = []

    def monotonic():
        if not began and any(_stands_still(p) for p in psutil.process_iter() if _of(tmp_path, p)):
            began.append(time.monotonic())
        return time.monotonic() - began[0] if began else 0.0

    clock(training_module.__name__, monotonic=monotonic, sleep=time.sleep)


def training(folder: Path, monkeypatch, program: str, notes: Notes, writer: RunWriter) -> Training:
    module = folder / "path" / "verl" / "trainer" / "main_ppo.py"
    module.parent.mkdir(parents=True)
    for package in (module.parent, module.parents[1]):
        (package / "__init__.py").touch()
    module.write_text(textwrap.dedent(program))
    monkeypatch.setenv("PYTHONPATH", str(folder / "path"))
    recipe = load_recipe("tiny_one_shot", SETTINGS)
    places = placeless(folder / "verl", validates=False)
    places.records.mkdir(parents=True)
    return Training(
        recipe=recipe,
        target=target_for(recipe, places),
        python=Path(sys.executable),
        converter=Converter(
            recipe, writer, places.records, [], after=0, told=notes.step, note=notes.note
        ),
        checkpoints=PlainCheckpoints(recipe, writer.directory, places.checkpoints, "float32"),
        progress=notes,
        stopping=Stopping(),
    )


@pytest.mark.parametrize(
    ("program", "step", "key"),
    [
        (STANDS_STILL, 0, "start_minutes"),
        (textwrap.dedent(ONE_STEP) + textwrap.dedent(STANDS_STILL), 1, "stall_minutes"),
    ],
)
def test_a_run_that_stands_still_is_stopped_with_its_state(
    tmp_path, monkeypatch, patience, program, step, key
):
    notes = Notes()
    with RunWriter.create(tmp_path / "run", {"name": "x"}) as writer:
        made = training(tmp_path, monkeypatch, program, notes, writer)
        before = set(psutil.pids())
        with pytest.raises(RunError, match=rf"after step {step} and was stopped.*backend\.{key}"):
            made.run(after=0)
    state = next(note for note in notes if note.startswith("its processes:"))
    assert "stopped" in state  # what the operating system says of it
    assert "sleep(300)" in state  # what it had started
    assert "waiting for all ranks" in state
    assert "verl: ValueError: the weights were not sent" in notes
    assert Run(tmp_path / "run").metrics()["step"].tolist() == [1][:step]
    ends = time.monotonic() + 60
    while left := [p for p in psutil.process_iter() if p.pid not in before and _of(tmp_path, p)]:
        assert time.monotonic() < ends, left  # the kernel takes its time to end what was killed
        time.sleep(0.1)


def _of(folder: Path, process: psutil.Process) -> bool:
    try:
        return str(folder) in process.environ().get("PYTHONPATH", "")
    except (psutil.Error, OSError):
        return False


def _stands_still(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


# verl's checkpoints as the run's.


ANSWER = {
    "example_id": "q", "group": "", "domain": None, "family": None, "question": "1+1?",
    "answer": "2", "sample": 0, "text": "2", "tokens": 1, "finished": True, "correct": True,
    "reason": "correct", "extracted": "2", "boxed": False,
}  # fmt: skip


def verl_saves(source: Path, step: int, value: float) -> None:
    folder = source / f"global_step_{step}" / "actor" / "huggingface"
    folder.mkdir(parents=True)
    weights = {"w": torch.full((2,), value, dtype=torch.float32), "n": torch.tensor([3])}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16", "a": 1}))
    (source / "latest_checkpointed_iteration.txt").write_text(str(step))


def validated(writer: RunWriter, step: int, accuracy: float) -> None:
    summary = {"overall": {"accuracy": {"value": accuracy}}}
    writer.evaluation("validation", step, [ANSWER], summary)


def steps_of(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("rule", "kept", "result"),
    [
        ("final", ["step-000003", "step-000004"], 5),
        ("best_validation", ["step-000002", "step-000003", "step-000004"], 2),
    ],
)
def test_every_checkpoint_of_verl_is_a_plain_directory_of_the_run(tmp_path, rule, kept, result):
    source = tmp_path / "verl"
    settings = {"train.checkpoint_rule": rule, "train.keep_checkpoints": 2, "train.steps": 5}
    recipe = load_recipe("tiny_one_shot", settings)
    with RunWriter.create(tmp_path / "run", {"name": "x"}) as writer:
        plain = PlainCheckpoints(recipe, tmp_path / "run", source, "bfloat16")
        for step, accuracy in ((1, 0.2), (2, 0.9), (3, 0.9), (4, 0.5)):
            validated(writer, step, accuracy)
            verl_saves(source, step, float(step))
            plain.take()
        assert steps_of(tmp_path / "run") == kept
        assert plain.result() == result
    directory = tmp_path / "run" / "checkpoints" / "step-000004"
    weights = load_file(directory / "model.safetensors")
    assert weights["w"].dtype == torch.bfloat16
    assert weights["w"].tolist() == [4.0, 4.0]
    assert weights["n"].tolist() == [3]
    assert json.loads((directory / "config.json").read_text()) == {"a": 1, "dtype": "bfloat16"}


def test_what_verl_will_train_again_is_dropped(tmp_path):
    recipe = load_recipe("tiny_one_shot")
    plain = PlainCheckpoints(recipe, tmp_path / "run", tmp_path / "verl", "float32")
    for step in (1, 2):
        verl_saves(tmp_path / "verl", step, 1.0)
    plain.take()
    plain.drop_after(1)
    assert steps_of(tmp_path / "run") == ["step-000001"]


def test_a_checkpoint_that_verl_has_not_finished_is_left_alone(tmp_path):
    recipe = load_recipe("tiny_one_shot")
    plain = PlainCheckpoints(recipe, tmp_path / "run", tmp_path / "verl", "float32")
    verl_saves(tmp_path / "verl", 2, 1.0)
    (tmp_path / "verl" / "latest_checkpointed_iteration.txt").write_text("1")
    plain.take()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_adapters_are_added_into_the_plain_weights(tmp_path):
    source = tmp_path / "actor" / "huggingface"
    source.mkdir(parents=True)
    layer = "base_model.model.model.layers.0.q_proj"
    draw = torch.Generator().manual_seed(0)
    base, down, up = (torch.randn(*shape, generator=draw) for shape in ((3, 4), (2, 4), (3, 2)))
    save_file(
        {
            f"{layer}.base_layer.weight": base,
            f"{layer}.base_layer.bias": torch.ones(3),
            f"{layer}.lora_A.default.weight": down,
            "base_model.model.model.norm.weight": torch.ones(4),
        },
        source / "model-00001-of-00002.safetensors",
    )
    save_file({f"{layer}.lora_B.default.weight": up}, source / "model-00002-of-00002.safetensors")
    (source / "model.safetensors.index.json").write_text('{"weight_map": {"x": "y"}}')
    (source / "config.json").write_text("{}")
    (source.parent / "lora_train_meta.json").write_text('{"r": 2, "lora_alpha": 6}')
    plain = to_plain(source, tmp_path / "plain", "float32")
    weights = load_file(plain / "model-00001-of-00002.safetensors")
    name = "model.layers.0.q_proj"
    assert set(weights) == {f"{name}.weight", f"{name}.bias", "model.norm.weight"}
    assert torch.allclose(weights[f"{name}.weight"], base + 3.0 * up @ down, atol=1e-6)
    index = json.loads((plain / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(weights)
