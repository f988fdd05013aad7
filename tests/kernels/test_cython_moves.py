"""Transposition, the largest numbers in order, running sums and products in C: every size class next to NumPy, bit for bit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import arrange, reduce, softmax
from kigraph.kernels.tensor import TensorType

loops = pytest.importorskip("kigraph.kernels.cython.loops", reason="the C kernels are not built")

Array = np.ndarray[Any, Any]


def of(x: Array) -> TensorType:
    return TensorType(x.dtype, x.shape)


def numbered(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array whose bytes are all different, as far as they can be."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.random.default_rng(size).integers(0, 256, size, np.uint8).view(dtype).reshape(shape)


def transposed(x: Array, axes: tuple[int, ...], threads: int = 1) -> Array:
    wanted = x.transpose(axes)
    guard = np.full(wanted.size + 32, 7, np.uint8).repeat(x.itemsize).view(x.dtype)
    y = guard[16:-16].reshape(wanted.shape)
    loops.bind_transpose(x, of(x), y, of(y), axes, threads=threads)()
    assert (guard[:16].view(np.uint8) == 7).all()
    assert (guard[-16:].view(np.uint8) == 7).all()
    return y


def same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.int64, np.complex128])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (1, 9),
        (3, 5),
        (16, 16),
        (17, 33),
        (64, 64),
        (65, 130),
        (200, 3),
        (4, 301),
        (5000, 3),
        (15, 4100),
        (0, 4),
        (128, 70),
    ],
)
def test_matrices(shape: tuple[int, int], dtype: Any) -> None:
    x = numbered(shape, dtype)
    assert same(transposed(x, (1, 0)), x.T)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (2, 18, 1, 33), (1, 20, 17, 3), (2, 3, 19, 24), (5, 1, 4, 16)])
def test_every_order_of_four_axes(shape: tuple[int, ...], dtype: Any) -> None:
    x = numbered(shape, dtype)
    for axes in itertools.permutations(range(4)):
        assert same(transposed(x, axes), x.transpose(axes)), axes


@pytest.mark.parametrize("axes", [(4, 3, 2, 1, 0), (0, 3, 1, 4, 2), (0, 1, 3, 2, 4), (2, 0, 4, 1, 3)])
def test_five_axes(axes: tuple[int, ...]) -> None:
    x = numbered((3, 2, 5, 4, 7), np.float32)
    assert same(transposed(x, axes), x.transpose(axes))


@pytest.mark.parametrize("axes", [(1, 0), (0, 2, 1), (1, 0, 2), (0, 1, 2)])
def test_threads(axes: tuple[int, ...]) -> None:
    x = numbered((300, 260) if len(axes) == 2 else (7, 130, 129), np.float32)
    assert same(transposed(x, axes, 3), x.transpose(axes))


def test_channel_slices() -> None:
    wide = numbered((6, 7, 20), np.float32)
    target = np.zeros((7, 6, 30), np.float32)
    loops.bind_transpose(
        wide[..., 3:11],
        TensorType(wide.dtype, (6, 7, 8)),
        target[..., 5:13],
        TensorType(wide.dtype, (7, 6, 8)),
        (1, 0, 2),
    )()
    assert same(np.ascontiguousarray(target[..., 5:13]), np.ascontiguousarray(wide[..., 3:11].transpose(1, 0, 2)))
    assert not target[..., :5].any()
    assert not target[..., 13:].any()
    one = np.zeros((8, 6, 7), np.float32)
    loops.bind_transpose(wide[..., 3:11], TensorType(wide.dtype, (6, 7, 8)), one, of(one), (2, 0, 1))()
    assert same(one, np.ascontiguousarray(wide[..., 3:11].transpose(2, 0, 1)))
    single = np.zeros((6, 7), np.float32)
    loops.bind_transpose(
        wide[..., 3:4],
        TensorType(wide.dtype, (6, 7, 1)),
        single[:, :, None],
        TensorType(wide.dtype, (6, 7, 1)),
        (0, 1, 2),
    )()
    assert same(single, np.ascontiguousarray(wide[..., 3]))


def plain_top_k(x: Array, k: int) -> tuple[Array, Array]:
    order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return np.take_along_axis(x, order[..., :k], -1), order[..., :k]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint8, np.int32, np.uint64])
@pytest.mark.parametrize(
    ("n", "k"), [(1, 1), (5, 5), (100, 1), (100, 7), (1000, 32), (1000, 33), (300, 300), (70, 0), (2000, 31)]
)
def test_top_k(n: int, k: int, dtype: Any, call: Any) -> None:
    rng = np.random.default_rng([n, k])
    if np.dtype(dtype).kind == "f":
        x = rng.standard_normal((5, n)).round(1).astype(dtype)  # many equals, zeros of both signs
        x[0, rng.integers(0, n, 3)] = [np.inf, -np.inf, np.nan]
        x[1, rng.integers(0, n, n // 2)] = np.nan
        x[2] = np.sort(x[2])
    else:
        x = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (5, n), dtype, endpoint=True)
    for index, threads in (("int32", 1), ("int64", 3)):
        values, indices = call(reduce.TOP_K, [x], reduce.TopKParams(k, index), backend="cython", threads=threads)
        wanted = plain_top_k(x, k)
        assert indices.dtype == index
        np.testing.assert_array_equal(indices, wanted[1])
        assert same(values, np.ascontiguousarray(wanted[0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint64])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1,), 0), ((19, 33), 1), ((8, 40), 1), ((33, 19), 0), ((3, 5, 2100), 1), ((2, 0, 3), 1), ((70, 600), 0)],
)
@pytest.mark.parametrize("of", ["sum", "prod"])
def test_running_sums(of: str, shape: tuple[int, ...], axis: int, dtype: Any, call: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.uniform(0.8, 1.2, shape) if np.dtype(dtype).kind == "f" else rng.integers(0, 9, shape)).astype(dtype)
    for exclusive, reverse, threads in itertools.product((False, True), (False, True), (1, 3)):
        params = arrange.CumulativeParams(of, axis, exclusive, reverse)
        (got,) = call(arrange.CUMULATIVE, [x], params, backend="cython", threads=threads)
        line = np.flip(x, axis) if reverse else x
        wanted = (np.cumsum if of == "sum" else np.cumprod)(line, axis, dtype=dtype)
        if exclusive and x.size:
            first = np.full_like(wanted.take([0], axis), 0 if of == "sum" else 1)
            wanted = np.concatenate([first, wanted.take(range(shape[axis] - 1), axis)], axis)
        assert same(got, np.ascontiguousarray(np.flip(wanted, axis) if reverse else wanted))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200, 1000])
@pytest.mark.parametrize("contract", [softmax.SOFTMAX, softmax.LOG_SOFTMAX], ids=str)
def test_softmax_of_lines(contract: Any, n: int, call: Any) -> None:
    """Each number next to float64; a NaN or an infinity makes its line NaN and no other. x less the largest is rounded."""
    x = np.random.default_rng(n).uniform(-120, 20, (9, n)).astype(np.float32)
    x[1, n // 2], x[2, -1], x[3], x[4, 0] = np.nan, np.inf, -np.inf, -np.inf
    (got,) = call(contract, [x], softmax.SoftmaxParams(axis=-1), backend="cython")
    (columns,) = call(contract, [np.ascontiguousarray(x.T)], softmax.SoftmaxParams(axis=0), backend="cython")
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        wide -= wide.max(-1, keepdims=True)
        total = np.exp(wide).sum(-1, keepdims=True)
        wanted = wide - np.log(total) if contract is softmax.LOG_SOFTMAX else np.exp(wide) / total
    np.testing.assert_allclose(got, wanted, rtol=5e-6, atol=3e-38 if contract is softmax.SOFTMAX else 2e-7)
    np.testing.assert_allclose(columns.T, wanted, rtol=5e-6, atol=3e-38 if contract is softmax.SOFTMAX else 2e-7)


def test_products_over_any_axes(call: Any) -> None:
    x = np.random.default_rng(0).uniform(0.99, 1.01, (7, 80, 3, 70)).astype(np.float32)
    for axes in ((0,), (1,), (3,), (1, 2), (0, 1, 2, 3)):
        (got,) = call(reduce.REDUCE_PROD, [x], reduce.ReduceParams(axes), backend="cython")
        np.testing.assert_allclose(got, x.astype(np.float64).prod(axes), rtol=3e-7)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_running_sum_of_negative_zeros_keeps_their_sign(axis: int, exclusive: bool, call: Any) -> None:
    for lines in (3, 8, 11):
        x = np.full((lines, lines), -0.0, np.float32)
        (y,) = call(arrange.CUMULATIVE, [x], arrange.CumulativeParams("sum", axis, exclusive, False), backend="cython")
        assert np.signbit(y).any() != exclusive
        assert not y.any()
