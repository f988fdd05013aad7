"""Elementwise maps over many rows that share one short row: the row is repeated, the values are those of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.kernels.errors import KernelError
from kigraph.kernels.tensor import TensorType

loops = pytest.importorskip("kigraph.kernels.cython.loops", reason="the C kernels are not built")

Array = np.ndarray[Any, Any]


def run(op: str, inputs: list[Array], y: Array, threads: int) -> Array:
    types = [TensorType(a.dtype, a.shape) for a in inputs]
    loops.bind_map(op, inputs, types, y, TensorType(y.dtype, y.shape), threads=threads, pitched=True)()
    return y


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize(("rows", "columns"), [(1, 16), (3, 5), (7000, 2), (5001, 33), (300, 512), (77, 2500)])
@pytest.mark.parametrize("swapped", [False, True])
def test_one_row_for_all(rows: int, columns: int, dtype: Any, threads: int, swapped: bool) -> None:
    rng = np.random.default_rng([rows, columns])
    many, one = rng.uniform(-9, 9, (rows, columns)).astype(dtype), rng.uniform(-9, 9, columns).astype(dtype)
    inputs = [one, many] if swapped else [many, one]
    guard = np.full((rows + 2, columns), 99, dtype)
    run("sub", inputs, guard[1:-1], threads)
    np.testing.assert_array_equal(guard[1:-1], inputs[0] - inputs[1])
    assert (guard[[0, -1]] == 99).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_in_place(threads: int) -> None:
    rng = np.random.default_rng(0)
    many, one = rng.standard_normal((9000, 24), dtype=np.float32), rng.standard_normal(24, dtype=np.float32)
    wanted = many * one
    run("mul", [many, one], many, threads)
    np.testing.assert_array_equal(many, wanted)


def test_channel_slices_are_left_to_the_general_loops() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((500, 20), dtype=np.float32)
    one, before = rng.standard_normal(8, dtype=np.float32), wide.copy()
    run("add", [before[:, 4:12], one], wide[:, 4:12], 1)
    np.testing.assert_array_equal(wide[:, 4:12], before[:, 4:12] + one)
    np.testing.assert_array_equal(wide[:, [*range(4), *range(12, 20)]], before[:, [*range(4), *range(12, 20)]])


@pytest.mark.parametrize(("name", "count"), [("exp", 2), ("relu6_grad", 2), ("abs", 10), ("cast_f32", 10), ("add", 10)])
def test_the_c_side_says_which_element_types_a_map_takes(name: str, count: int) -> None:
    assert len(set(loops.dtypes_of(name))) == count
    assert {"float32", "float64"} <= set(loops.dtypes_of(name))


def test_an_unknown_kernel_lists_the_known_ones() -> None:
    with pytest.raises(KernelError, match=r"'arcsin'.*neg, abs.*relu6_grad"):
        loops.dtypes_of("arcsin")
