"""The implicit GEMM by itself: every register tile with every tail, several passes over the output, refused arrays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.conformance.cases.conv2d import conv_case
from kigraph.kernels.contracts.elementwise import ADD
from kigraph.kernels.devices import HOST
from kigraph.kernels.errors import DTypeError, KernelError, ShapeError
from kigraph.kernels.tensor import TensorType

core = pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")
conv2d = pytest.importorskip("kigraph.kernels.cython.conv2d")
igemm = pytest.importorskip("kigraph.kernels.cython.igemm")
loops = pytest.importorskip("kigraph.kernels.cython.loops")
tiles = pytest.importorskip("kigraph.kernels.cython.tiles")

NDArray = np.ndarray[Any, Any]


def typed(a: NDArray) -> TensorType:
    return TensorType(a.dtype, a.shape)


def product(x: NDArray, w: NDArray, bias: NDArray, tile: tuple[int, int], **options: Any) -> tuple[Any, list[NDArray]]:
    """A prepared product y = x @ w + bias and the arrays to bind."""
    (m, k), n = x.shape, w.shape[1]
    y = np.full((m, n), np.nan, x.dtype)
    g = igemm.Igemm(
        [typed(x), typed(w), typed(bias)],
        typed(y),
        axes=[(1, 1, 1, 1, 1, 0, 0, 0, 0), (m, m, 1, 1, 1, 0, 0, 1, 1)],
        batch=(1, 0, 0),
        k=k,
        tile=tile,
        steps=(n, 1),
        **options,
    )
    return g, [x, g.pack(w), bias, y, HOST.allocate(g.workspace_bytes)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("vectors", range(1, len(core.TILE_MR) + 1))
def test_every_tile_and_tail(dtype: str, vectors: int) -> None:
    rng = np.random.default_rng(vectors)
    lanes = core.F32_LANES if dtype == "float32" else core.F64_LANES
    for pixels in range(1, core.TILE_MR[vectors - 1] + 1):
        for channels in {1, vectors * lanes - 1, vectors * lanes, vectors * lanes + lanes, 2 * vectors * lanes + 3}:
            # Small integers: the sums are exact, in any order and with or without fused multiply-add.
            x, w, bias = (rng.integers(-4, 5, s).astype(dtype) for s in ((pixels, 6), (6, channels), (channels,)))
            g, arrays = product(x, w, bias, (pixels, vectors), limits=(0.0, 20.0))
            g.bind(*arrays)()
            np.testing.assert_array_equal(arrays[3], np.clip(x @ w + bias, 0, 20), err_msg=f"{pixels} x {channels}")


@pytest.mark.parametrize("kc", [1, 7, 16, 40, 100])
def test_passes_over_the_output(kc: int) -> None:
    rng = np.random.default_rng(kc)
    x, w, bias = (rng.integers(-4, 5, s).astype(np.float32) for s in ((21, 40), (40, 50), (50,)))
    g, arrays = product(x, w, bias, (tiles.core.TILE_MR[1], 2), kc=kc, limits=(0.0, np.inf), threads=2)
    for _ in range(2):
        g.bind(*arrays)()
        np.testing.assert_array_equal(arrays[3], np.maximum(x @ w + bias, 0))


def test_nan_passes_the_activation() -> None:
    x, w, bias = np.ones((3, 4), np.float32), np.ones((4, 20), np.float32), np.zeros(20, np.float32)
    x[1, 2] = np.nan
    g, arrays = product(x, w, bias, (3, 2), limits=(0.0, 6.0))
    g.bind(*arrays)()
    assert np.isnan(arrays[3][1]).all()
    np.testing.assert_array_equal(arrays[3][[0, 2]], 4)


def panels(w: NDArray, vectors: int, lanes: int, zeros: int) -> NDArray:
    """The layout that docs/micro-kernels.md describes, without the mark."""
    rows, cout = w.shape
    packed = np.zeros(rows * (-(-cout // lanes) * lanes) + zeros, w.dtype)
    for first in range(0, cout, vectors * lanes):
        width = min(vectors * lanes, -(-(cout - first) // lanes) * lanes)
        for row in range(rows):
            for j in range(min(width, cout - first)):
                packed[rows * first + row * width + j] = w[row, first + j]
    return packed


@pytest.mark.parametrize("vectors", range(1, len(core.TILE_MR) + 1))
def test_packed_panels(vectors: int) -> None:
    lanes = core.F32_LANES
    for cout in (1, lanes, vectors * lanes, (2 * vectors + 1) * lanes - 5):
        w = (100 * np.arange(1, 7)[:, None] + np.arange(cout)).astype(np.float32)
        # A filter of two taps of three inputs along the second axis.
        g = igemm.Igemm(
            [TensorType(w.dtype, (1, 1, 4, 3)), TensorType(w.dtype, (1, 2, 3, cout))],
            TensorType(w.dtype, (1, 1, 3, cout)),
            axes=[(1, 1, 1, 1, 1, 0, 2, 4, 3), (4, 3, 2, 1, 1, 0, 1, 1, 1)],
            batch=(1, 4, 3),
            k=3,
            tile=(1, vectors),
            steps=(cout, 1),
        )
        wanted = panels(w, vectors, lanes, 6)
        packed = g.pack(w.reshape(1, 2, 3, cout)).view(np.float32)
        np.testing.assert_array_equal(packed[: wanted.size + 1], [*wanted, 0])
        w[4, cout // 2] = np.inf
        assert np.isnan(g.pack(w.reshape(1, 2, 3, cout)).view(np.float32)[wanted.size])


def test_packed_panels_of_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "micro-kernels.md"
    if not page.exists():
        pytest.skip("needs the checkout, not an installed copy")
    (picture,) = re.findall(r"```\n( +lanes 0-3.*?)```", page.read_text(), re.DOTALL)
    lines = [re.sub(r"^(panel|tap) \d|packed.*", "", line) for line in picture.splitlines()[1:]]
    shown = [int(n) for line in lines for n in re.findall(r"\d+", line)]
    w = (100 * np.arange(1, 7)[:, None] + np.arange(11)).astype(np.float32)
    assert shown == [*panels(w, 2, 4, 6), 0]


def test_refused_arrays() -> None:
    x, w, bias = np.ones((5, 8), np.float32), np.ones((8, 20), np.float32), np.zeros(20, np.float32)
    g, (x, packed, bias, y, workspace) = product(x, w, bias, (4, 1))
    with pytest.raises(DTypeError, match="input 0 has dtype float64"):
        g.bind(x.astype(np.float64), packed, bias, y, workspace)
    with pytest.raises(ShapeError, match=r"input 0 has shape \(4, 8\)"):
        g.bind(x[:4], packed, bias, y, workspace)
    with pytest.raises(KernelError, match="expected a dense last axis"):
        g.bind(np.ones((8, 5), np.float32).T, packed, bias, y, workspace)
    with pytest.raises(KernelError, match="expected a dense last axis"):
        g.bind(x[::-1], packed, bias, y, workspace)
    with pytest.raises(KernelError, match="expected a dense array"):
        g.bind(x, packed, np.zeros(40, np.float32)[::2], y, workspace)
    with pytest.raises(KernelError, match="no multiple of its element size"):
        g.bind(np.zeros(5 * 8 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(5, 8), packed, bias, y, workspace)
    y.flags.writeable = False
    with pytest.raises(KernelError, match="the output is read-only"):
        g.bind(x, packed, bias, y, workspace)
    y.flags.writeable = True
    with pytest.raises(KernelError, match="packed weights: expected"):
        g.bind(x, packed[:-1], bias, y, workspace)
    with pytest.raises(KernelError, match="packed weights: expected"):
        g.bind(x, w, bias, y, workspace)
    with pytest.raises(KernelError, match="the workspace must have"):
        g.bind(x, packed, bias, y, None)
    with pytest.raises(ValueError, match="no tile of 99 pixels"):
        product(x, w, bias, (99, 1))


def test_arrays_stay_alive_while_bound() -> None:
    rng = np.random.default_rng(0)
    x, w, bias = (rng.integers(-4, 5, s).astype(np.float32) for s in ((5, 8), (8, 20), (20,)))
    wanted = x @ w + bias
    g, arrays = product(x, w, bias, (4, 1))
    run, y = g.bind(*arrays), arrays[3]
    del g, arrays, x, w, bias
    filler = [np.full(4096, np.nan, np.float32) for _ in range(64)]
    run()
    np.testing.assert_array_equal(y, wanted)
    del filler


def test_map_refuses_what_the_table_lacks() -> None:
    x = np.ones(4, np.complex64)
    with pytest.raises(DTypeError, match="no C kernel for"):
        loops.bind_map("add", [x, x], [typed(x)] * 2, np.empty_like(x), typed(x))
    assert "complex64" not in loops.dtypes_of(ADD.name)


@pytest.mark.parametrize("cout", [16, 32, 48, 64, 80, 96, 128, 160, 192, 208, 320, 384, 448])
def test_chosen_tiles_exist(cout: int) -> None:
    for itemsize in (4, 8):
        for length in (1, 8, 17, 35, 147):
            clocks, tile = tiles.choose_tile(itemsize, 3, length, 64, cout)
            assert clocks > 0
            assert 1 <= tile.pixels <= core.TILE_MR[tile.vectors - 1]


def test_merged_taps_refuse_a_pitched_input() -> None:
    """The first layer's kernel reads across pixels: a channel slice would give wrong numbers."""
    from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
    from kigraph.kernels.kernel import NoConstants, Query
    from kigraph.kernels.registry import kernels_of

    x, w = np.ones((1, 6, 6, 8), np.float32)[..., :3], np.ones((3, 3, 3, 16), np.float32)
    types = (TensorType(x.dtype, x.shape), typed(w))
    query = Query(CONV2D, types, CONV2D.check(types, Conv2DParams()), Conv2DParams())
    (kernel,) = (k for k in kernels_of("cython", CONV2D) if k.name == "f32_conv2d_rows")
    assert kernel.supports(query) is None
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, NoConstants())
    y = np.empty(query.outputs[0].dims, np.float32)
    with pytest.raises(KernelError, match="expected a dense array"):
        prepared.bind([x, w], [y], HOST.allocate(prepared.workspace_bytes))


@pytest.mark.parametrize("size", [1, 2, 8, 17, 35])
def test_constant_weights_are_packed_in_one_layout_for_all_batches(size: int) -> None:
    from kigraph.kernels.conformance.check import FixedConstants
    from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
    from kigraph.kernels.contracts.matmul import MATMUL, MatMulParams
    from kigraph.kernels.kernel import Query
    from kigraph.kernels.registry import legal_kernels

    rng = np.random.default_rng(0)
    layouts: set[str] = set()

    class Recorded(FixedConstants):
        def packed(self, index: int, layout: str, pack: Any) -> Any:
            layouts.add(layout)
            return super().packed(index, layout, pack)

    def prepare(contract: Any, x: tuple[int, ...], w: NDArray, params: Any) -> None:
        types = (TensorType(np.dtype(np.float32), x), typed(w))
        query = Query(contract, types, contract.check(types, params), params, frozenset([1]))
        kernel = next(k for k in legal_kernels(query, "cython") if "igemm" in k.name)
        assert kernel.prepare is not None
        kernel.prepare(query, Recorded({1: w}))

    for channels in (48, 80, 192, 320):
        for shape in ((1, 1, 24, channels), (3, 3, 24, channels)):
            layouts.clear()
            for batch in (1, 2, 3, 8, 33):
                prepare(
                    CONV2D,
                    (batch, size, size, 24),
                    rng.standard_normal(shape, np.float32),
                    Conv2DParams(padding="SAME"),
                )
            assert len(layouts) == 1, (channels, shape)
        layouts.clear()
        for rows in (1, 2, 3, 5, 8, 64, 1000):
            prepare(MATMUL, (rows, 24), rng.standard_normal((24, channels), np.float32), MatMulParams())
        assert len(layouts) == 1, channels


def test_patches_go_tap_by_tap_where_a_row_of_them_is_long() -> None:
    """A row of 16 pixels is a long run of the k loop anyway; shorter ones are merged, rows or not."""
    rows = next(k for k in conv2d.KERNELS if k.name == "f32_conv2d_rows")
    taps = next(k for k in conv2d.KERNELS if k.name == "conv2d_igemm")
    for size, merged in ((4, True), (16, False)):
        query = conv_case("patches", (1, 64, 64, 3), (size, size, 96), strides=(size, size)).query()
        assert rows.refusal(query) is None
        assert (rows.rank_for(query) > taps.rank_for(query)) is merged
