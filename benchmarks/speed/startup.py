"""How long `import oneshot_rlvr`, `oneshot --help` and (with --demo) `oneshot demo` take.

The demo has to compile its loops, as it does once on a machine.

python benchmarks/speed/startup.py [--demo]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from statistics import median

from common import save, seconds

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import oneshot_rlvr": ["-c", "import oneshot_rlvr"],
    "oneshot --help": ["-m", "oneshot_rlvr.cli", "--help"],
}


def main() -> None:
    """Processes of their own, taking turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--demo", action="store_true", help="also `oneshot demo`, once")
    args = parser.parse_args()
    help_code = "import sys; from oneshot_rlvr.cli import main; sys.exit(main(['--help']))"
    commands = {**COMMANDS, "oneshot --help": ["-c", help_code]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.repeats):
        for name, command in commands.items():
            taken[name].append(seconds(lambda c=command: _run(c)))
    rows = [{"what": name, "seconds": median(times)} for name, times in taken.items()]
    if args.demo:
        with tempfile.TemporaryDirectory() as out:
            code = (
                "import sys; from oneshot_rlvr.cli import main; "
                f"sys.exit(main(['demo', '--out', {out + '/run'!r}]))"
            )
            # As on a new machine: nothing compiled yet.
            taken_demo = seconds(lambda: _run(["-c", code], NUMBA_CACHE_DIR=out + "/cache"))
            rows.append({"what": "oneshot demo", "seconds": taken_demo})
    save("startup", {"repeats": args.repeats, "taken": taken}, rows)


def _run(arguments: list[str], **environment: str) -> None:
    command = [sys.executable, *arguments]
    given = {**os.environ, **environment}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=given)


if __name__ == "__main__":
    main()
