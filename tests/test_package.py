"""`import oneshot_rlvr`: light, and its verbs stay callable although two are rooms as well."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import oneshot_rlvr

VERBS = Path(oneshot_rlvr.__file__).parent / "verbs"

# Rooms that choosing, grading and reporting need; import-linter forbids them torch by the source,
# and this sees what really happens, imports inside functions and third parties included.
TORCH_FREE = [
    *("types", "errors", "registry", "settings", "config", "estimators", "records", "examples"),
    *("verifiers", "rewards", "tiny", "tiny.tasks", "rollouts", "evaluation"),
    *("selection", "analysis", "report", "study"),
    *(f"verbs.{path.stem}" for path in VERBS.glob("[!_]*.py")),
    "cli",
]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_brings_nothing_heavy():
    out = python(
        "import sys, oneshot_rlvr;"
        "print([m for m in ('torch', 'transformers', 'pydantic', 'numpy', 'pandas', 'rich')"
        " if m in sys.modules])"
    )
    assert out == "[]"


def test_the_torch_free_rooms_do_not_import_torch():
    names = ", ".join(f"oneshot_rlvr.{room}" for room in TORCH_FREE)
    out = python(
        f"import sys, {names};"
        "print([m for m in ('torch', 'transformers', 'vllm', 'ray') if m in sys.modules])"
    )
    assert out == "[]"


def test_the_verbs_are_callable_before_and_after_their_rooms_are_imported():
    # Importing the subpackage `train` sets the package's attribute of that name.
    out = python(
        "import inspect, oneshot_rlvr as o;"
        "before = [str(inspect.signature(f)) for f in (o.train, o.report, o.evaluate)];"
        "import oneshot_rlvr.train, oneshot_rlvr.report;"
        "from oneshot_rlvr.report import report;"
        "after = [str(inspect.signature(f)) for f in (o.train, o.report, o.evaluate)];"
        "print(before == after, all(map(callable, (o.train, o.report, o.evaluate))), before[1])"
    )
    assert out.startswith("True True (run:")


def test_the_version_is_that_of_the_installed_distribution():
    assert oneshot_rlvr.__version__ == version("oneshot-rlvr")


def test_python_m_is_the_command_too():
    done = subprocess.run(
        [sys.executable, "-m", "oneshot_rlvr", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"oneshot-rlvr {version('oneshot-rlvr')}")
    bad = [sys.executable, "-m", "oneshot_rlvr", "trane"]
    assert subprocess.run(bad, capture_output=True).returncode == 2
