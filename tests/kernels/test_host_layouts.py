"""one_hot, pad and resample of the host next to plain loops and np.pad: every axis, tails, strides, odd values, -0.0."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kigraph.kernels.conformance import process_seed
from kigraph.kernels.contracts.indexing import ONE_HOT, OneHotParams
from kigraph.kernels.contracts.layout import PAD, PadParams
from kigraph.kernels.contracts.reduce import REDUCE_MAX, REDUCE_MIN, ReduceParams
from kigraph.kernels.contracts.resample import RESAMPLE, AxisRule, ResampleParams
from kigraph.kernels.host import indexing, layout, resample
from kigraph.kernels.host.resample_taps import Taps
from kigraph.kernels.kernel import Kernel, Query
from kigraph.kernels.numpy import reduce
from kigraph.kernels.tensor import TensorType


def _kernel(module: object, contract: object) -> Kernel:
    return next(k for k in module.KERNELS if k.contract is contract)  # type: ignore[attr-defined]


def _run(kernel: Kernel, inputs: list[np.ndarray], params: object, strided: bool = False) -> np.ndarray:
    """The result; strided: into every second element of a larger array, whose others must stay."""
    types = tuple(TensorType(x.dtype, x.shape) for x in inputs)
    (out,) = kernel.contract.check(types, params)
    whole = np.full([2 * n for n in out.dims], 77, out.dtype)
    y = whole[(..., *(slice(None, None, 2) for _ in out.dims))] if strided else np.full(out.dims, 77, out.dtype)
    assert kernel.prepare is not None
    kernel.prepare(Query(kernel.contract, types, (out,), params), None).bind(inputs, [y], None)()
    if strided and out.dims:
        assert (whole[tuple(slice(1, None, 2) for _ in out.dims)] == 77).all()
    return y


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 5), (0, 3), (3, 0)])
def test_one_hot_along_every_axis(shape: tuple[int, ...], strided: bool) -> None:
    rng = np.random.default_rng(process_seed())
    kernel = _kernel(indexing, ONE_HOT)
    for depth, kind, axis in itertools.product((0, 1, 5), ("int32", "int64", "uint8", "uint64"), range(len(shape) + 1)):
        indices = rng.integers(0 if kind[0] == "u" else -3, depth + 3, shape).astype(kind)
        if indices.size and kind == "uint64":
            indices.reshape(-1)[0] = 2**64 - 1
        for on, off in ((1.0, 0.0), (-0.0, 2.5), (0.0, -0.0), (np.nan, np.inf)):
            values = [np.array(v, np.float32) for v in (on, off)]
            y = _run(kernel, [indices, *values], OneHotParams(depth, axis), strided)
            hit = np.moveaxis(np.expand_dims(indices, -1) == np.arange(depth).astype(kind), -1, axis)
            want = np.where(hit, values[0], values[1])
            np.testing.assert_array_equal(np.ascontiguousarray(y).view(np.uint32), want.view(np.uint32))


def test_one_hot_of_strings_and_of_complex_numbers() -> None:
    kernel = _kernel(indexing, ONE_HOT)
    indices = np.array([2, 0, -1])
    y = _run(kernel, [indices, np.array(3 - 1j, "c8"), np.array(0j, "c8")], OneHotParams(3))
    np.testing.assert_array_equal(y, np.array([[0, 0, 3 - 1j], [3 - 1j, 0, 0], [0, 0, 0]], "c8"))


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, np.nan])
def test_pad_writes_every_cell_once_for_any_paddings(value: float) -> None:
    rng = np.random.default_rng(process_seed())
    kernel = _kernel(layout, PAD)
    for _ in range(40):
        rank = int(rng.integers(0, 5))
        x = rng.standard_normal(rng.integers(0, 5, rank)).astype(np.float32)
        pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (rank, 2)))
        y = _run(kernel, [x], PadParams(pads, "constant", value), bool(rng.integers(2)))
        want = np.pad(x, pads, constant_values=np.float32(value)) if rank else x
        np.testing.assert_array_equal(np.ascontiguousarray(y).view(np.uint32), np.asarray(want).view(np.uint32))


@pytest.mark.parametrize("kind", ["cubic", "area", "linear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resample_is_the_sum_of_the_taps(kind: str, dtype: type) -> None:
    """Against one product in float64; with infinities and NaN only the cells that a target reads count."""
    rng = np.random.default_rng(process_seed())
    kernel = _kernel(resample, RESAMPLE)
    place = "asymmetric" if kind == "area" else "half_pixel"
    for size, count, rest, odd in itertools.product((1, 5, 17, 40), (1, 4, 33), (3, 40), (False, True)):
        x = rng.standard_normal((2, size, rest)).astype(dtype)
        if odd:
            x[0, size // 2, 1] = rng.choice([np.inf, -np.inf, np.nan])
        rule = AxisRule(1, count, kind=kind, coordinates=place)  # type: ignore[arg-type]
        params = ResampleParams((rule,), np.dtype(dtype))
        y = _run(kernel, [x], params, bool(rng.integers(2)))
        cells, weights, _ = resample.taps_of(rule, size)
        assert weights is not None
        want = np.zeros(y.shape)
        for k in range(cells.shape[1]):
            part = np.where(weights[:, k, None] == 0, 0, x.astype(np.float64)[:, cells[:, k]])
            with np.errstate(invalid="ignore"):
                want += part * weights[:, k, None]
        np.testing.assert_allclose(y, want, rtol=2e-6, atol=1e-5)
        alone = _run(kernel, [x[1:]], params)
        np.testing.assert_array_equal(alone, y[1:])  # the bits of an item do not depend on the batch


@pytest.mark.parametrize("contract", [REDUCE_MAX, REDUCE_MIN])
def test_extremes_into_any_output(contract: object) -> None:
    rng = np.random.default_rng(process_seed())
    kernel = _kernel(reduce, contract)
    find = np.max if contract is REDUCE_MAX else np.min
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    x[1, 2, 3] = np.nan
    for axes, keep, strided in itertools.product(((0,), (1, 2), (0, 2), (), (0, 1, 2)), (False, True), (False, True)):
        y = _run(kernel, [x], ReduceParams(axes, keep), strided)
        np.testing.assert_array_equal(y, find(x, axis=axes, keepdims=keep))


def test_an_infinity_changes_no_bit_of_its_neighbours() -> None:
    """The sign of zero, too: -0 + 0 * -1 is -0 in any batch."""
    cells, weights = np.array([[0, 1], [1, 2]]), np.array([[1.0, 0.0], [0.5, 0.5]])
    x = np.array([[-0.0, -1, 2], [np.inf, 1, 1], [-0.0, -1, 2]], np.float32)[:, :, None]
    found = resample._sample(x, Taps(cells, weights, None), 1)
    assert found[0].tobytes() == found[2].tobytes() == resample._sample(x[:1], Taps(cells, weights, None), 1).tobytes()
    assert np.signbit(found[0, 0, 0])
