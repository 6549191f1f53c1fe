"""Peak memory of one step against rollouts, ours beside TRL's, a process of its own for each.

    python benchmarks/speed/memory.py [--size 3.2M --prompt 50 --tokens 128]

What `step_beside_trl.py --peak-memory` tells: the bytes that one step, sampling and update, adds
to a process that holds the model. TRL at `--trl-batch` rows a pass; ours at its default budget.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import save

STEP = Path(__file__).with_name("step_beside_trl.py")
_MIB = 1 << 20


def main() -> None:
    """A row for every number of rollouts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="3.2M")
    parser.add_argument("--rollouts", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--prompt", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--trl-batch", type=int, default=128)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for rollouts in args.rollouts:
        ours, trl = (_bytes(args, who, rollouts) for who in ("ours", "trl"))
        rows.append(
            {
                "rollouts": rollouts,
                "ours MiB": round(ours / _MIB),
                "trl MiB": round(trl / _MIB),
                "trl / ours": trl / ours,
            }
        )
    save("memory", vars(args), rows)


def _bytes(args: argparse.Namespace, who: str, rollouts: int) -> int:
    settings = {
        "size": args.size, "rollouts": rollouts, "prompt": args.prompt, "tokens": args.tokens,
        "trl-batches": args.trl_batch, "peak-memory": who,
    }  # fmt: skip
    given = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, str(STEP), *given]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(told.stdout.split()[-1])


if __name__ == "__main__":
    main()
