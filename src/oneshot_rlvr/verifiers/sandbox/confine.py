"""Walls: the command line that starts a confined Python, and the probe that says whether it can.

`bubblewrap` is the default and refuses to work where it cannot. `rlimits_only` (said in so many
words by whoever runs this) starts an ordinary process with resource limits: no namespaces, so the
code can read files and reach the network as the user can.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from oneshot_rlvr.errors import ConfigError, GraderError, MissingDependencyError
from oneshot_rlvr.verifiers.sandbox import seccomp

SANDBOXES = ("bubblewrap", "rlimits_only")
MEMORY_BYTES = 1 << 30  # address space of a process; Python itself takes about 0.03 GB
SCRATCH_BYTES = 16 << 20  # of /tmp, the only place that can be written
FILE_BYTES = 8 << 20
OPEN_FILES = 64
PROCESSES = 64  # threads included; seccomp refuses processes as such
PROBE_SECONDS = 60.0  # on a busy machine, many times over

_LIBRARIES = ("/usr", "/lib", "/lib32", "/lib64", "/bin")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


def limits(timeout_seconds: float) -> dict[str, int]:
    """The rlimits that a confined process sets for itself before it does anything else."""
    return {
        "RLIMIT_CPU": math.ceil(timeout_seconds) + 1,  # the host's deadline comes first
        "RLIMIT_AS": MEMORY_BYTES,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_NPROC": PROCESSES,
        "RLIMIT_CORE": 0,
    }


def start(
    sandbox: str, script: str, *, pass_fds: Sequence[int] = (), stderr: int | None = None
) -> subprocess.Popen[bytes]:
    """A confined Python that runs `script`, its standard input and output on pipes.

    Errors: ConfigError for an unknown sandbox; MissingDependencyError or GraderError where
    bubblewrap cannot be used here.
    """
    if sandbox == "rlimits_only":
        command, filter_file = [_python()], None
    elif sandbox == "bubblewrap":
        fault = unusable()
        if fault is not None:
            raise fault
        command, filter_file = _bubblewrap()
    else:
        raise ConfigError(f'sandbox is {sandbox!r}; wanted "bubblewrap" or "rlimits_only".')
    return _launch(command, filter_file, script, pass_fds, stderr)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a confined process and everything in it, and reap it."""
    try:
        # rlimits_only: its own session. bubblewrap: the monitor; its namespace dies with it.
        os.killpg(process.pid, 9)
    except OSError:
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # unsent setup of a process that is gone
                pipe.close()
    process.wait()


@cache
def unusable() -> MissingDependencyError | GraderError | None:
    """Why bubblewrap cannot confine code here, or None. Probed once per process."""
    advice = (
        'python_code runs no model code without a sandbox. Install the package "bubblewrap" and '
        "allow unprivileged user namespaces, or accept an unconfined process with "
        'sandbox = "rlimits_only".'
    )
    if sys.platform != "linux" or shutil.which("bwrap") is None:
        return MissingDependencyError(f"bubblewrap (bwrap) is not installed. {advice}")
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    with complaints:
        command, filter_file = _bubblewrap()
        process = _launch(command, filter_file, "print('alive')", (), complaints.fileno())
        try:
            output, _ = process.communicate(timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            output = b""
        finally:
            kill(process)
        if output.strip() == b"alive":
            return None
        complaints.seek(0)
        reason = complaints.read(300).decode("utf-8", "replace").strip() or "no output"
    return GraderError(f"bubblewrap does not work on this machine ({reason}). {advice}")


def _launch(
    command: list[str],
    filter_file: int | None,
    script: str,
    pass_fds: Sequence[int],
    stderr: int | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            # -I: no environment, no user site; -S: no site-packages
            [*command, "-I", "-S", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if stderr is None else stderr,
            pass_fds=[*pass_fds, *([filter_file] if filter_file is not None else [])],
            env={},
            cwd="/",
            start_new_session=True,
        )
    finally:
        if filter_file is not None:
            os.close(filter_file)


def _bubblewrap() -> tuple[list[str], int | None]:
    """The bwrap command up to the Python in it, and the file descriptor of its seccomp filter."""
    bwrap = shutil.which("bwrap")
    assert bwrap is not None  # unusable() looked
    command = [bwrap, *_walls()]
    program = seccomp.program()
    filter_file = None
    if program is not None:
        filter_file, writer = os.pipe()
        os.write(writer, program)  # far smaller than a pipe's buffer
        os.close(writer)
        command += ["--seccomp", str(filter_file)]
    return [*command, "--", _python()], filter_file


@cache
def _walls() -> tuple[str, ...]:
    """What bwrap mounts and takes away: the same for every process."""
    command = [
        "--unshare-all", "--uid", "65534", "--gid", "65534", "--die-with-parent",
        "--new-session", "--clearenv", "--cap-drop", "ALL", "--hostname", "sandbox",
    ]  # fmt: skip
    for folder in _LIBRARIES:
        command += ["--ro-bind-try", folder, folder]
    command += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    for packages in _package_folders():
        command += ["--tmpfs", packages, "--remount-ro", packages]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    command += ["--proc", "/proc", "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"]
    return (*command, "--remount-ro", "/", "--chdir", "/tmp")


@cache
def _python() -> str:
    """The interpreter behind any virtual environment."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


@cache
def _package_folders() -> tuple[str, ...]:
    """Folders of installed packages inside what is mounted: hidden, this project may be there."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    prefixes = (sys.base_prefix, "/usr", "/usr/local")
    folders = [
        os.path.join(prefix, "lib", python, kind)
        for prefix in prefixes
        for python in (version, "python3")
        for kind in ("site-packages", "dist-packages")
    ]
    base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    folders += [sysconfig.get_path(kind, vars=base) for kind in ("purelib", "platlib")]
    return tuple(sorted({os.path.realpath(f) for f in folders if os.path.isdir(f)}))
