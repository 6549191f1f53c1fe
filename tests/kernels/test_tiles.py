"""Tiles, products, exponential and maximum against numpy."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from oneshot_rlvr.kernels import elementary, tiles
from oneshot_rlvr.kernels.tiles import PANEL, TALL, WIDTH

VECTORS = {
    1: (tiles.columns_1, tiles.columns_1_add),
    2: (tiles.columns_2, tiles.columns_2_add),
    4: (tiles.columns_4, tiles.columns_4_add),
}


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@njit
def call(columns, a, a0, a_row, a_k, rows, b, b0, b_k, count, c, c0, c_row):
    columns(a, a0, a_row, a_k, rows, b, b0, b_k, count, c, c0, c_row)


@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, TALL, TALL + 3, 2 * TALL + 7])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_columns_are_a_matrix_product(vectors, rows, adds, transposed):
    width, count = vectors * WIDTH, 37
    a, b, c = random(rows, count), random(count + 1, width + 3), random(rows + 1, width + 5)
    wanted = c.copy()
    wanted[1:, 2 : 2 + width] = a @ b[1:, 3:] + (c[1:, 2 : 2 + width] if adds else 0)
    given = np.ascontiguousarray(a.T) if transposed else a
    strides = (1, rows) if transposed else (count, 1)
    place = (width + 3) + 3, (width + 5) + 2
    columns = VECTORS[vectors][adds]
    call(columns, given, 0, *strides, rows, b, place[0], width + 3, count, c, place[1], width + 5)
    np.testing.assert_allclose(c, wanted, atol=2e-5)


def test_a_sum_of_nothing_is_zero_or_what_was_there():
    c = np.full((3, PANEL), 7.0, np.float32)
    call(tiles.columns_2_add, c, 0, 1, 1, 3, c, 0, 1, 0, c, 0, PANEL)
    assert (c == 7).all()
    call(tiles.columns_2, c, 0, 1, 1, 3, c, 0, 1, 0, c, 0, PANEL)
    assert (c == 0).all()


@njit
def exp_of(x, out):
    for i in range(len(x)):
        out[i] = elementary.exp(x[i])


def test_the_exponential_is_right_to_some_units_in_the_last_place():
    x = np.linspace(-87, 88, 1_000_003).astype(np.float32)
    out = np.empty_like(x)
    exp_of(x, out)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(out / exact - 1).max() < 3e-7


def test_the_exponential_of_what_is_very_small_or_no_number():
    x = np.array([-1000.0, -math.inf, math.nan, 0.0], np.float32)
    out = np.empty_like(x)
    exp_of(x, out)
    assert (out[:2] < 2e-38).all()
    assert math.isnan(out[2])
    assert out[3] == 1


@pytest.mark.parametrize("length", [1, 2, 31, 1000])
def test_the_largest(length):
    x = random(length)
    for place in sorted({0, length // 2, length - 1}):
        x[place] = 100 + place
        assert elementary.largest(x) == x[place]


def test_what_is_on_disk_is_known_before_the_first_call(tmp_path):
    module = tmp_path / "loops.py"
    module.write_text(
        "from oneshot_rlvr.kernels.compiling import compiled, on_disk\n"
        "@compiled\n"
        "def twice(x):\n"
        "    return 2 * x\n"
        "print(on_disk(twice), twice(4), on_disk(twice))\n"
    )

    def told():
        command = [sys.executable, "-c", "import loops"]
        place = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        return subprocess.run(
            command, cwd=tmp_path, env=place, capture_output=True, text=True
        ).stdout

    assert [told(), told()] == ["False 8 True\n", "True 8 True\n"]
