"""Jobs on a real Ray cluster of this machine, through its Jobs API: a head and nothing else.

Its ports are its own, so that a Ray that is here already (of a run, of another test) is not met.
Nobody waits for it to be up: the launcher has to.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

import oneshot_rlvr
from oneshot_rlvr.backends.verl.jobs_api import JobsApi
from oneshot_rlvr.config import load_recipe, to_toml
from oneshot_rlvr.errors import RunError
from oneshot_rlvr.records import Run

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]

HEAD = "ONESHOT_TEST_HEAD"
TINY = {
    "backend.name": "verl",
    "backend.python": sys.executable,
    "backend.start_minutes": 8.0,
    "backend.stall_minutes": 4.0,
    "model.device": "cpu",
    "rollouts.engine": "hf",
    "rollouts.prompts_per_step": 2,
    "rollouts.group_size": 4,
    "rollouts.max_prompt_tokens": 64,
    "rollouts.max_new_tokens": 48,
    "train.steps": 2,
    "train.save_every": 1,
    "evaluation.validation": None,
    "evaluation.test": None,
}


def carrying(name: str, beginning: str) -> list[str]:
    """Live processes whose variable of that name begins so: "number command"."""
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ().get(name, "")
            if told.startswith(beginning) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        except (psutil.Error, OSError):
            continue
    return found


def left_of(run: Path) -> list[str]:
    """Processes of a run that are still there."""
    return carrying("ONESHOT_VERL_RECORDS", str(run))


def gone(run: Path) -> bool:
    """Whether a run's processes end: Ray tells a job's end some seconds before the last of them."""
    deadline = time.monotonic() + 120
    while left_of(run) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left_of(run) == []


@pytest.fixture(scope="module")
def head(free_ports):
    """The address of a cluster that has only begun to start."""
    mark, folder = secrets.token_hex(6), tempfile.mkdtemp(prefix="rh-")
    dashboard, agent, client = free_ports(3)
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    kept = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *(f"--temp-dir={folder}", "--port=0", "--num-cpus=16", "--num-gpus=1"),
            *("--include-dashboard=true", "--dashboard-host=127.0.0.1"),
            *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
            *("--min-worker-port=0", "--max-worker-port=0", f"--ray-client-server-port={client}"),
        ],
        env={**os.environ, HEAD: mark, "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=open(Path(folder) / "start.log", "w"),  # noqa: SIM115 - the child's
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        process.terminate()
        deadline = time.monotonic() + 60
        while (left := carrying(HEAD, mark)) and time.monotonic() < deadline:
            for words in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(words.split()[0]), signal.SIGKILL)
            time.sleep(0.2)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.notes, self.steps = [], []

    def start(self, total_steps):
        """Nothing."""

    def step(self, step, metrics):
        self.steps.append(step)

    def note(self, text):
        self.notes.append(text)

    def close(self):
        """Nothing."""


def test_grpo_as_a_job_of_a_cluster_that_is_only_starting(head, tmp_path, same_rewards):
    told = Notes()
    shaped = {
        "reward.arm": "random",
        "reward.random_share": 0.5,
        "reward.format_penalty": 0.25,
        "reward.length_penalty": 0.5,
        "algorithm.std_floor": 0.0,
        "reward.length_free_tokens": 0,
        "reward.length_full_tokens": 48,
    }
    result = oneshot_rlvr.train(
        "tiny_one_shot",
        overrides={**TINY, **shaped, "backend.ray_address": head},
        out=tmp_path / "run",
        progress=told,
    )
    assert told.steps == [1, 2]
    assert any("waiting for the cluster" in note for note in told.notes), told.notes
    assert any(note.startswith("verl, ") for note in told.notes), told.notes
    run = Run(result.directory)
    assert run.status == "finished"
    assert run.metrics()["step"].tolist() == [1, 2]
    assert (result.directory / "final" / "model.safetensors").exists()
    steps = sorted(path.name for path in (result.directory / "checkpoints").iterdir())
    assert steps == ["step-000001", "step-000002"]
    assert "main_ppo" in (result.directory / "verl" / "out" / "log.txt").read_text()
    assert gone(tmp_path / "run")
    same_rewards(run)
    assert len(set(run.rollouts()["reward"])) > 2  # the deductions were met


def test_a_job_that_fails_shows_its_first_error(head, tmp_path):
    with pytest.raises(RunError, match=r"verl ended at step 0 of 2: .*GPU"):
        oneshot_rlvr.train(
            "tiny_one_shot",
            overrides={**TINY, "backend.ray_address": head, "backend.gpus_per_node": 2},
            out=tmp_path / "run",
        )
    assert gone(tmp_path / "run")


def test_ctrl_c_stops_the_job_and_leaves_no_process(head, tmp_path):
    (tmp_path / "tiny.toml").write_text(to_toml(load_recipe("tiny_one_shot", TINY)))
    main = "import sys; from oneshot_rlvr.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "train", "tiny.toml", "--ray-address", head]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )
    try:
        deadline = time.monotonic() + 480
        while not (running := left_of(tmp_path / "run")) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert running
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "Stopped before its first save" in said
    identity = next(word for word in said.split() if word.startswith("oneshot-"))
    assert JobsApi(head).info(identity)["status"] == "STOPPED"
    assert gone(tmp_path / "run")
