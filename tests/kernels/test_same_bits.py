"""An image's result has the same bits in any batch, at any place in it, and with any number of threads.

The same for a row of a matrix product. Shapes are drawn at random: around tiles, tails, passes over the weights, and the
point from which few rows are multiplied without packing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
from kigraph.kernels.contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from kigraph.kernels.devices import HOST
from kigraph.kernels.kernel import Kernel, Query
from kigraph.kernels.registry import kernels_of
from kigraph.kernels.tensor import TensorType

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

NDArray = np.ndarray[Any, Any]


def run(
    kernel: Kernel, contract: Contract[Any], arrays: list[NDArray], params: Any, constant: bool, threads: int
) -> NDArray:
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    constants = frozenset(range(1, len(arrays))) if constant else frozenset[int]()
    query = Query(contract, types, contract.check(types, params), params, constants, threads)
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({i: arrays[i] for i in constants}))
    y = np.full(query.outputs[0].dims, np.nan, arrays[0].dtype)
    inputs = [None if i in prepared.absorbed else a for i, a in enumerate(arrays)]
    prepared.bind(inputs, [y], HOST.allocate(max(prepared.workspace_bytes, 64)))()
    return y


def check(
    kernel: Kernel, contract: Contract[Any], x: NDArray, weights: list[NDArray], params: Any, constant: bool = True
) -> None:
    """Every element along the first axis of x alone, and all together, in two orders, with 1 to 4 threads."""
    alone = [run(kernel, contract, [x[i : i + 1], *weights], params, constant, 1) for i in range(len(x))]
    wanted = np.concatenate(alone).tobytes()
    backwards = np.concatenate(alone[::-1]).tobytes()
    for threads in (1, 2, 3, 4):
        assert run(kernel, contract, [x, *weights], params, constant, threads).tobytes() == wanted
    turned = np.ascontiguousarray(x[::-1])
    assert run(kernel, contract, [turned, *weights], params, constant, 2).tobytes() == backwards


def check_all(x: NDArray, weights: list[NDArray], params: Conv2DParams, constant: bool = True) -> None:
    """With every kernel that takes the convolution."""
    arrays = [x, *weights]
    types = tuple(TensorType(a.dtype, a.shape) for a in arrays)
    constants = frozenset([1, 2]) if constant else frozenset[int]()
    query = Query(CONV2D, types, CONV2D.check(types, params), params, constants)
    kernels = [k for k in kernels_of("cython", CONV2D) if k.supports(query) is None]
    assert kernels
    for kernel in kernels:
        check(kernel, CONV2D, x, weights, params, constant)


def normal(rng: np.random.Generator, *shape: int) -> NDArray:
    return rng.standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("turn", range(12))
def test_conv2d(turn: int, seed: int) -> None:
    rng = np.random.default_rng((seed, turn))
    height, width, cin, cout = (int(rng.integers(low, high)) for low, high in ((7, 24), (7, 24), (1, 70), (1, 140)))
    windows = ((3, 3), (1, 7), (7, 1), (1, 1), (5, 5), (1, 3), (3, 1), (2, 4))
    kh, kw = windows[turn % len(windows)]
    if turn >= len(windows):
        cin += 400  # several passes over the weights
    stride = int(rng.integers(1, 3))
    dilation = int(rng.integers(1, 3)) if stride == 1 else 1
    height, width = height + 6 * dilation, width + 6 * dilation
    params = Conv2DParams((stride, stride), ("SAME", "VALID")[int(rng.integers(2))], (dilation, dilation), "relu")
    x = normal(rng, 3, height, width, cin)
    check_all(x, [normal(rng, kh, kw, cin, cout), normal(rng, cout)], params, bool(turn % 3))


@pytest.mark.parametrize("window", [(3, 3), (1, 7), (7, 1), (5, 5), (1, 3), (3, 1)])
def test_conv2d_as_in_inception(window: tuple[int, int], seed: int) -> None:
    """Stride 1 and SAME: what the kernels with fewer multiplications take."""
    rng = np.random.default_rng(seed)
    x, w = normal(rng, 2, 13, 17, 48), normal(rng, *window, 48, 100)
    check_all(x, [w, normal(rng, 100)], Conv2DParams(padding="SAME", activation="relu"))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("k", "n"), [(1, 1), (5, 3), (40, 17), (300, 700), (2100, 90), (700, 1100)])
@pytest.mark.parametrize(
    "kernel", [k for k in kernels_of("cython", MATMUL) if k.precision in (None, "bf16")][:2], ids=lambda k: k.name
)
def test_matmul(kernel: Kernel, k: int, n: int, constant: bool, seed: int) -> None:
    if kernel.precision == "bf16" and not constant:
        pytest.skip("packs constant weights only")
    rng = np.random.default_rng((seed, k))
    b, bias = normal(rng, k, n), normal(rng, n)
    for rows in (2, 4, 5, 14, 33):
        check(kernel, MATMUL, normal(rng, rows, k), [b, bias], MatMulParams(activation="relu6"), constant)


@pytest.mark.parametrize("channels", [1, 17, 64, 200])
@pytest.mark.parametrize("contract", [MAX_POOL2D, AVG_POOL2D], ids=lambda c: c.name)
def test_pool2d(contract: Contract[Any], channels: int, seed: int) -> None:
    rng = np.random.default_rng((seed, channels))
    for strides, padding in (((1, 1), "SAME"), ((2, 2), "VALID")):
        x = normal(rng, 4, int(rng.integers(5, 40)), int(rng.integers(5, 40)), channels)
        kernel, _ = kernels_of("cython", contract)
        check(kernel, contract, x, [], Pool2DParams((3, 3), strides, padding))  # type: ignore[arg-type]


def test_depthwise_conv2d(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel, _ = kernels_of("cython", DEPTHWISE_CONV2D)
    x, w = normal(rng, 3, 30, 21, 50), normal(rng, 3, 3, 50, 1)
    check(kernel, DEPTHWISE_CONV2D, x, [w, normal(rng, 50)], Conv2DParams(padding="SAME", activation="relu6"))
