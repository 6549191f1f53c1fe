"""Which instructions of this CPU multiply bfloat16 numbers and add in float32, if any.

    amx          a whole tile at once: 16 rows, 16 columns and 32 places of the inner axis (Intel
                 from 2023 on); Linux lends it to a process that asks
    avx512_bf16  a vector of pairs of places (AMD from Zen 4 on, some of Intel's)

Not here: the products themselves (`narrow_tiles.py`).
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from typing import Any

from llvmlite import binding
from numba.core import config

# From Linux' asm/prctl.h and asm/fpu/types.h: a process asks once for the room of the tiles.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILES = 158, 0x1023, 18


@cache
def instructions() -> str:
    """ "amx", "avx512_bf16", or "" where there are none; `NUMBA_CPU_FEATURES` leaves some out."""
    features = _features()
    if not (features.get("avx512f") and features.get("avx512bw")):
        return ""
    if features.get("amx-tile") and features.get("amx-bf16") and _tiles_are_lent():
        return "amx"
    return "avx512_bf16" if features.get("avx512bf16") else ""


def _features() -> dict[str, bool]:
    told: Any = getattr(config, "CPU_FEATURES", None)
    if told is None:
        return dict(binding.get_host_cpu_features())
    return {word[1:]: word[0] == "+" for word in str(told).split(",") if word}


def _tiles_are_lent() -> bool:
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    try:
        return int(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILES)) == 0
    except (OSError, AttributeError):
        return False
