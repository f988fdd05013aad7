"""Depthwise convolution in C: tiles of columns and rows next to float64, and the same bits wherever an output lies."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts.conv2d import DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.tensor import TensorType

pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

from kigraph.kernels.cython import depthwise
from kigraph.kernels.numpy import KERNELS as REFERENCES

REFERENCE = next(k for k in REFERENCES if k.contract is DEPTHWISE_CONV2D)
Array = np.ndarray[Any, Any]


def run(inputs: list[Array], params: Conv2DParams, *, threads: int = 1, kernel: Any = depthwise.KERNELS[0]) -> Array:
    types = tuple(TensorType(a.dtype, a.shape) for a in inputs)
    (out,) = DEPTHWISE_CONV2D.infer(types, params)
    y = np.empty(out.dims, out.dtype)
    kernel.prepare(Query(DEPTHWISE_CONV2D, types, (out,), params, threads=threads), NoConstants()).bind(
        inputs, [y], None
    )()
    return y


def numbers(seed: int, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("width", [3, 5, 7])
def test_next_to_float64(width: int, seed: int) -> None:
    for height, stride, dilation in product((1, 3, width), (1, 2), (1, 2)):
        inputs = numbers(seed, (2, 11, 13, 37), (height, width, 37, 1), (37,))
        params = Conv2DParams((stride, stride), "SAME", (dilation, dilation), "relu")
        exact = run([a.astype(np.float64) for a in inputs], params, kernel=REFERENCE)
        np.testing.assert_allclose(run(inputs, params), exact, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", [3, 5, 7])
def test_same_bits_wherever_an_output_lies(width: int, stride: int, seed: int) -> None:
    """Other rows, columns, tiles, images and threads than in the whole: the sums are the same."""
    x, w, bias = numbers(seed, (3, 18, 33, 48), (width, width, 48, 1), (48,))
    params = Conv2DParams((stride, stride))
    whole = run([x, w, bias], params)
    for rows, columns in ((1, 0), (0, 1), (3, 2), (5, 9)):
        part = run([x[:, stride * rows :, stride * columns :].copy(), w, bias], params)
        np.testing.assert_array_equal(part, whole[:, rows:, columns:])
    np.testing.assert_array_equal(run([x[1:2].copy(), w, bias], params), whole[1:2])
    np.testing.assert_array_equal(
        run([np.tile(x, (4, 1, 1, 1)), w, bias], params, threads=2), np.tile(whole, (4, 1, 1, 1))
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float, seed: int) -> None:
    """A weight that is not finite is multiplied with padding; an input that is not finite stays in its windows."""
    x, w, bias = numbers(seed, (1, 9, 10, 32), (5, 5, 32, 1), (32,))
    params = Conv2DParams(padding="SAME")
    w[0, 4, 5] = bad
    np.testing.assert_allclose(
        run([x, w, bias], params), run([x, w, bias], params, kernel=REFERENCE), rtol=1e-4, atol=1e-4
    )
    w[0, 4, 5] = 1
    clean = run([x, w, bias], params)
    x[0, 0, 7, 3] = bad
    found = run([x, w, bias], params)
    reached = np.zeros(found.shape, bool)
    reached[0, :3, 5:10, 3] = True
    assert not np.isfinite(found[reached]).any()
    np.testing.assert_array_equal(found[~reached], clean[~reached])


@pytest.mark.parametrize(
    "params",
    [
        Conv2DParams((2**62, 1), "SAME"),
        Conv2DParams((1, 1), "SAME", (2**60, 2**60)),
        Conv2DParams((2**59, 2), (2**61, 2**60, 3, 2)),
        Conv2DParams((1, 1), (2, 2, 40, 40), (1, 30)),
    ],
    ids=str,
)
def test_far(params: Conv2DParams, seed: int) -> None:
    inputs = numbers(seed, (2, 8, 9, 20), (3, 3, 20, 1), (20,))
    np.testing.assert_allclose(run(inputs, params), run(inputs, params, kernel=REFERENCE), rtol=1e-5, atol=1e-5)
