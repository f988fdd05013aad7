"""Winograd and Cook-Toom kernels: their matrices, their error, the reach of a NaN, the same bits for any batch and threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance.case import Case
from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.conv2d import CONV2D, FAST_TOLERANCES
from kigraph.kernels.devices import HOST
from kigraph.kernels.kernel import Kernel, Query
from kigraph.kernels.numerics import Numerics

cook_toom = pytest.importorskip("kigraph.kernels.cython.cook_toom")
winograd_conv2d = pytest.importorskip("kigraph.kernels.cython.winograd_conv2d")
KERNELS: tuple[Kernel, ...] = winograd_conv2d.KERNELS

Array = np.ndarray[Any, Any]


def kind_of(kernel: Kernel) -> str:
    return kernel.name.removeprefix("f32_conv2d_")


def window_of(kernel: Kernel) -> tuple[int, int]:
    """The first filter that the kernel takes."""
    down, across = winograd_conv2d._points(kind_of(kernel))
    return (1 if down is None else down.taps, across.taps)


def run(kernel: Kernel, query: Query, values: list[Array]) -> Array:
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))
    y = np.full(query.outputs[0].dims, np.nan, np.float32)
    prepared.bind(
        [None if i in prepared.absorbed else v for i, v in enumerate(values)],
        [y],
        HOST.allocate(max(prepared.workspace_bytes, 1)),
    )()
    return y


def a_case(kernel: Kernel, batch: int = 1, threads: int = 1, **options: Any) -> Case:
    return conv_case("case", (batch, 23, 19, 37), (*window_of(kernel), 70), padding="SAME", threads=threads, **options)


def b_t(points: Any) -> Array:
    """B^T (count, count): row j holds the coefficients of the product of (x - q) over the other finite points."""
    rows = np.zeros((points.count, points.count))
    for j in range(points.count - 1):
        rows[j, :-1] = np.poly([q for i, q in enumerate(points.finite) if i != j])[::-1]
    rows[-1] = np.poly(points.finite)[::-1]
    return rows


def a_t(points: Any) -> Array:
    """A^T (outputs, count)."""
    rows = np.zeros((points.outputs, points.count))
    rows[:, :-1] = np.array(points.finite) ** np.arange(points.outputs)[:, None]
    rows[-1, -1] = 1
    return rows


@pytest.mark.parametrize("kernel", KERNELS, ids=kind_of)
def test_the_matrices_compute_a_convolution(kernel: Kernel) -> None:
    rng = np.random.default_rng(1)
    for points in winograd_conv2d._points(kind_of(kernel)):
        if points is None:
            continue
        d, g = rng.standard_normal(points.count), rng.standard_normal(points.taps)
        expected = [d[i : i + points.taps] @ g for i in range(points.outputs)]
        found = a_t(points) @ ((points.g @ g) * (b_t(points) @ d))
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kernel", KERNELS, ids=kind_of)
def test_the_contract_states_the_error_bound(kernel: Kernel) -> None:
    assert kernel.contract is CONV2D
    assert kernel.tolerance == FAST_TOLERANCES[kind_of(kernel)]
    assert kernel.spreads


#: Relative L2 error on ReLU-like inputs, normal weights, 128 channels; about twice what is measured.
L2 = {
    "winograd_2x2_3x3": 6e-7, "winograd_4x4_3x3": 1.2e-6, "winograd_2x2_5x5": 1.2e-6, "winograd_4x4_5x5": 8e-6,
    "cook_toom_2_3": 5e-7,
    "cook_toom_4_3": 9e-7, "cook_toom_2_7": 2e-6, "cook_toom_4_7": 4e-6, "cook_toom_6_7": 7e-6,
}  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS, ids=kind_of)
def test_error_against_float64(kernel: Kernel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kh, kw = window_of(kernel)
    x = np.maximum(rng.standard_normal((1, 18, 18, 128)), 0).astype(np.float32)
    w = rng.standard_normal((kh, kw, 128, 32)).astype(np.float32)
    case = conv_case("case", x.shape, (kh, kw, 32), bias=False)
    found = run(kernel, case.query(), [x, w])
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (kh, kw), axis=(1, 2))
    expected = np.einsum("nijcuv,uvco->nijo", windows, w.astype(np.float64), optimize=True)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < L2[kind_of(kernel)]


@pytest.mark.parametrize("kernel", KERNELS, ids=kind_of)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_image_has_the_same_bits_in_any_batch(kernel: Kernel, threads: int, seed: int) -> None:
    one, five = a_case(kernel, activation="relu"), a_case(kernel, 5, threads, activation="relu")
    values = five.generate(seed)
    together = run(kernel, five.query(), values)
    for n in range(5):
        alone = run(kernel, one.query(), [np.ascontiguousarray(values[0][n : n + 1]), *values[1:]])
        assert alone.tobytes() == together[n : n + 1].tobytes()


@pytest.mark.parametrize("kernel", KERNELS, ids=kind_of)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_reaches_its_tile_and_no_further(kernel: Kernel, value: float, seed: int) -> None:
    case = a_case(kernel)
    values = case.generate(seed)
    clean = run(kernel, case.query(), values)
    at = (11, 9)
    values[0][0, at[0], at[1], 5] = value
    dirty = run(kernel, case.query(), values)
    kh, kw = window_of(kernel)
    depends = np.zeros(clean.shape[1:3], bool)
    depends[at[0] - kh // 2 : at[0] + kh // 2 + 1, at[1] - kw // 2 : at[1] + kw // 2 + 1] = True
    assert not np.isfinite(dirty[0][depends]).any()
    outputs = [1 if p is None else p.outputs for p in winograd_conv2d._points(kind_of(kernel))]
    near = np.zeros_like(depends)
    near[
        max(at[0] - kh // 2 - outputs[0] + 1, 0) : at[0] + kh // 2 + outputs[0],
        max(at[1] - kw // 2 - outputs[1] + 1, 0) : at[1] + kw // 2 + outputs[1],
    ] = True
    assert (dirty[0][~near] == clean[0][~near]).all()


def test_small_images_with_many_channels_keep_the_direct_kernel() -> None:
    """Four times the weights for four tiles do not pay."""
    (kernel,) = (k for k in KERNELS if kind_of(k) == "winograd_4x4_3x3")
    assert kernel.rank_of is not None
    small = conv_case("small", (1, 8, 8, 448), (3, 3, 384), padding="SAME").query()
    large = conv_case("large", (1, 35, 35, 96), (3, 3, 96), padding="SAME").query()
    assert kernel.rank_of(small) < 0 < kernel.rank_of(large)
    batch = conv_case("batch", (64, 8, 8, 448), (3, 3, 384), padding="SAME").query()
    assert kernel.rank_of(batch) == kernel.rank_of(small), "the choice must not depend on the batch"


def test_first_layers_keep_the_direct_kernel() -> None:
    """The inverse transform of 64 channels takes longer than the products of 3 that it saves."""
    for kernel in KERNELS:
        (kh, kw), rank_of = window_of(kernel), kernel.rank_of
        assert rank_of is not None
        few, more = (conv_case("c", (1, 56, 56, cin), (kh, kw, 64), padding="SAME").query() for cin in (3, 16))
        assert rank_of(few) < 0 < rank_of(more), kernel


def test_a_query_can_refuse_fewer_multiplications() -> None:
    query = conv_case("case", (1, 9, 9, 8), (3, 3, 16)).query()
    for kernel in KERNELS:
        assert (
            kernel.supports(replace(query, numerics=Numerics(winograd=False)))
            == "switched off (winograd=False or KIGRAPH_WINOGRAD=0)"
        )
