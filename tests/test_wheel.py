"""The wheel: everything the demo needs is inside, and it runs where no checkout is near.

Costs no download: built without isolation, installed without dependencies into a virtual
environment that reads this one's site-packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_recipes_and_weights_are_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f"oneshot_rlvr/recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")}
    assert len(recipes) >= 3
    assert recipes <= names
    weights = ROOT / "src/oneshot_rlvr/tiny/weights"
    inside = {f"oneshot_rlvr/tiny/weights/{path.name}" for path in weights.iterdir()}
    assert any(name.endswith(".safetensors") for name in inside)
    assert inside <= names
    assert "oneshot_rlvr/py.typed" in names
    assert not any(name.startswith(("tests/", "recipes/")) for name in names)


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 12e6


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The bin folder of an environment with this wheel and, by a path, this one's packages."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    install = ("-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet")
    call(sys.executable, *install, wheel, cwd=environment)
    print_site = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(call(python, "-c", print_site, cwd=environment).strip())
    # Only a path is added: .pth files found there, this checkout's editable install among them,
    # are not read, and the wheel's own files come first.
    (site / "host.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = call(python, "-c", "import oneshot_rlvr; print(oneshot_rlvr.__file__)", cwd=environment)
    assert Path(where.strip()).is_relative_to(environment)
    return environment / "bin"


def test_the_installed_command_finds_its_recipes_in_an_empty_folder(installed, tmp_path):
    listed = call(installed / "oneshot", "list", "recipes", cwd=tmp_path)
    assert "tiny_one_shot" in [line.split()[0] for line in listed.splitlines()]
    dry = call(installed / "oneshot", "train", "tiny_one_shot", "--dry-run", cwd=tmp_path)
    assert "# a step:" in dry
    assert list(tmp_path.iterdir()) == []


def test_the_installed_package_trains_its_own_model_in_an_empty_folder(installed, tmp_path):
    small = ("--train.steps", "1", "--rollouts.prompts_per_step", "2", "--train.threads", "1")
    quick = ("--evaluation.validation", "none", "--evaluation.test.questions", "1")
    out = call(installed / "oneshot", "train", "tiny_one_shot", *small, *quick, cwd=tmp_path)
    assert "overall" in out
    run = tmp_path / "runs" / "tiny_one_shot"
    assert (run / "report.html").stat().st_size > 10_000
    assert list((run / "final").glob("*.safetensors"))
    # The same again takes the finished run as it is.
    again = call(
        *(installed / "oneshot", "train", "tiny_one_shot", *small, *quick, "--resume"), cwd=tmp_path
    )
    assert "Reused the finished run" in again
