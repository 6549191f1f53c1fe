"""Which instructions for bfloat16 numbers a CPU has; either kind makes the same products."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding
from numba.core import config

from oneshot_rlvr.kernels import cache, narrow

HELPERS = Path(__file__).parents[1] / "helpers"
ALL = "+avx512f,+avx512bw,+avx512bf16,+amx-tile,+amx-bf16"


@pytest.fixture
def told(monkeypatch):
    """What is found on a CPU with these features, whose tiles are lent or not."""

    def use(features, lent=True):
        monkeypatch.setattr(config, "CPU_FEATURES", features)
        monkeypatch.setattr(narrow, "_tiles_are_lent", lambda: lent)
        return narrow.instructions.__wrapped__()

    return use


@pytest.mark.parametrize(
    ("features", "lent", "found"),
    [
        (ALL, True, "amx"),
        (ALL, False, "avx512_bf16"),
        (ALL.replace("+amx-bf16", "-amx-bf16"), True, "avx512_bf16"),
        (ALL.replace("+avx512bf16", "-avx512bf16"), True, "amx"),
        (ALL.replace("+avx512bf16", "-avx512bf16"), False, ""),
        ("+avx2,+fma", True, ""),
    ],
)
def test_the_best_that_the_cpu_lends_is_taken(told, features, lent, found):
    assert told(features, lent) == found


def test_what_one_process_compiled_is_not_read_by_one_that_was_lent_less(monkeypatch):
    found = set()
    for can in ("amx", "avx512_bf16", ""):
        monkeypatch.setattr(cache, "instructions", lambda can=can: can)
        found.add(cache.sources_key.__wrapped__())
    assert len(found) == 3


@pytest.mark.skipif(
    not binding.get_host_cpu_features().get("avx512bf16"), reason="this CPU has no AVX512-BF16"
)
def test_products_without_tiles_are_products_too(tmp_path):
    features = binding.get_host_cpu_features()
    for name in features:
        features[name] &= not name.startswith("amx")
    code = (
        "import narrow_twins as t; from oneshot_rlvr.kernels import narrow\n"
        "assert narrow.instructions() == 'avx512_bf16'\n"
        "t.tiles_are_products(); t.products_forward_and_backward(); print('fine')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={
            **os.environ, "NUMBA_CPU_FEATURES": features.flatten(),
            "NUMBA_CPU_NAME": binding.get_host_cpu_name(), "NUMBA_CACHE_DIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path]),
        },
    )  # fmt: skip
    assert done.stdout == "fine\n", done.stderr
