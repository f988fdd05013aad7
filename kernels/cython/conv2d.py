"""conv2d kernels: an implicit GEMM on NHWC with packed weights; the C side is c/igemm.h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.conv2d import CONV2D, Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from . import core
from .chains import Chain
from .igemm import Igemm
from .support import FLOAT32, FLOATS
from .tiles import Tile, choose_tile

__all__ = ["KERNELS", "Axis", "PreparedProduct", "place_tiles", "prepare_igemm"]

#: The tile of a 1x1 convolution is chosen for at least this many rows (pixels of one image).
_USUAL_ROWS = 64
#: With fewer input channels than this a tap is too short a run of the k loop.
_FEW_CHANNELS = 8
#: Inputs of a row of the filter from which rows do not pay: 16x16 stride 16 on 224x224, 3 to 768: 2.14 ms, tap by tap 1.58
#: (8x8 stride 8, 3 to 192: level; 4x4 stride 4, 3 to 96: 0.24 and 0.26).
_LONG_ROW = 32


@dataclass(frozen=True, slots=True)
class PreparedProduct:
    """An Igemm with its packed weights, or without if they are packed in every run; then ``chain`` runs after it, not in it."""

    igemm: Igemm
    packed: np.ndarray[Any, Any] | None
    chain: Chain | None = None

    @property
    def workspace_bytes(self) -> int:
        return self.igemm.workspace_bytes

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset() if self.packed is None else frozenset([1])

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        weights = inputs[1] if self.packed is None else self.packed
        bias, (y,) = inputs[2] if len(inputs) > 2 else None, outputs
        if self.chain is None:
            return self.igemm.bind(inputs[0], weights, bias, y, workspace)
        chain = self.chain.bind(y, inputs[3:], y)
        if self.packed is not None:
            return self.igemm.bind(inputs[0], weights, bias, y, workspace, chain)
        product = self.igemm.bind(inputs[0], weights, bias, y, workspace)

        def run() -> None:
            product()
            chain()

        return run


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution. ``pixels``: between neighbours along it, in x and in y."""

    size: int
    out: int
    taps: int
    stride: int
    dilation: int
    before: int
    tap_step: int
    pixels_in: int
    pixels_out: int

    @lru_cache(maxsize=1024)  # noqa: B019 - an Axis is a few numbers
    def live(self) -> float:
        """Taps that are inside the image, averaged over the outputs."""
        if not self.out:
            return float(self.taps)
        at = np.arange(self.taps) * self.dilation - self.before  # of output 0
        first = np.maximum(-(at // self.stride), 0)
        end = np.minimum(-((at - self.size) // self.stride), self.out)
        return float(np.maximum(end - first, 0).sum()) / self.out

    def record(self) -> tuple[int, int, int, int, int, int, int, int, int]:
        return (
            self.size, self.out, self.taps, self.stride, self.dilation, self.before, self.tap_step, self.pixels_in,
            self.pixels_out,
        )  # fmt: skip


def _axes(query: Query, params: Conv2DParams) -> tuple[Axis, Axis]:
    g = WindowGeometry.of(query.inputs, query.outputs, params)
    (h, w), (oh, ow), (kh, kw) = g.size, g.out, g.window
    if not query.inputs[1].size:
        kh = kw = 1  # a filter without elements may have any number of taps
    return (
        Axis(h, oh, kh, g.strides[0], g.dilations[0], g.before[0], kw, w, ow),
        Axis(w, ow, kw, g.strides[1], g.dilations[1], g.before[1], 1, 1, 1),
    )


def place_tiles(
    itemsize: int, batch: tuple[int, int, int], axes: tuple[Axis, Axis], k: int, cout: int, *, one_product: bool = True
) -> tuple[Tile, tuple[Axis, Axis], tuple[int, int, int]]:
    """The best tile, the axes in the order in which tiles should run along the second, and the batch to go with them.

    ``one_product``: a 1x1 convolution over whole dense images becomes a plain matrix product over all their pixels. The
    tile is the best one for a single image, so that weights are packed once for all batches.
    """
    down, across = axes
    merged = (
        one_product
        and all(a.taps == 1 and a.stride == 1 and a.before == 0 and a.size == a.out for a in axes)
        and (down.pixels_out, across.pixels_out) == (across.out, 1)
    )
    if merged:
        rows, batch = batch[0] * down.out * across.out, (1, 0, 0)
        usual = max(down.out * across.out, _USUAL_ROWS)
        down, across = replace(down, size=1, out=1), replace(across, size=usual, out=usual)
    # Tiles run along the second axis. A tile whose pixels are all in the padding of a tap skips the tap.
    candidates: list[tuple[float, Tile, tuple[Axis, Axis]]] = []
    for outer, inner in ((down, across), (across, down)):
        work = outer.live() * inner.taps * k
        estimate, tile = choose_tile(itemsize, outer.out, inner.out, work, cout)
        candidates.append((estimate, tile, (outer, inner)))
    _, tile, axes = min(candidates, key=lambda c: c[0])
    if merged:
        axes = (down, replace(across, size=rows, out=rows))
    return tile, axes, batch


def _prepare(query: Query[Conv2DParams], constants: Constants, *, rows: bool) -> PreparedProduct:
    params = query.params
    x, w, y = query.inputs[0], query.inputs[1], query.outputs[0]
    n, h, width, k = x.dims
    _, oh, ow, cout = y.dims
    down, across = _axes(query, params)
    batch = (n, h * width, oh * ow)
    if rows:
        # The taps of a row are contiguous: one tap of kw * cin inputs.
        k *= across.taps
        across = replace(across, size=max(ow - 1, 0) * across.stride + 1, taps=1)
        down = replace(down, tap_step=1)
    tile, axes, batch = place_tiles(x.dtype.itemsize, batch, (down, across), k, cout, one_product=not rows)
    constant = 1 in query.constants
    igemm = Igemm(
        query.inputs[:3],
        y,
        axes=[a.record() for a in axes],
        batch=batch,
        k=k,
        tile=(tile.pixels, tile.vectors),
        limits=ACTIVATION_LIMITS[params.activation],
        steps=(cout, 1),
        packs=not constant,
        threads=query.threads,
        dense_x=rows,  # taps are merged across pixels, so these must be neighbours
    )
    chain = Chain.of(params.finish, y, query.inputs[3:], query.threads) if params.finish else None
    if not constant:
        return PreparedProduct(igemm, None, chain)
    lanes = core.F32_LANES if x.dtype.itemsize == 4 else core.F64_LANES
    layout = f"igemm:{w.dtype.name}:{tile.vectors}x{lanes}:k{k}:z{max(down.taps, across.taps) * k}:marked"
    return PreparedProduct(igemm, constants.packed(1, layout, igemm.pack), chain)


def prepare_igemm(query: Query, constants: Constants) -> PreparedProduct:
    """Any convolution, tap by tap."""
    return _prepare(query, constants, rows=False)


def _supports_rows(query: Query[Conv2DParams]) -> str | None:
    params = query.params
    _, _, _, cin = query.inputs[0].dims
    _, kw, _, _ = query.inputs[1].dims
    if cin >= _FEW_CHANNELS or kw == 1:
        return f"is for filters wider than 1 on fewer than {_FEW_CHANNELS} channels"
    if params.dilations[1] != 1:
        return "needs the taps of a row to be contiguous (no horizontal dilation)"
    _, across = _axes(query, params)
    if across.before or (across.out - 1) * across.stride + across.taps > across.size:
        return "needs all taps of a row inside the image (no horizontal padding)"
    return refuse_dtypes(query, FLOAT32)


def _rank_of_rows(query: Query[Conv2DParams]) -> int:
    """Above the implicit GEMM tap by tap, except where a row is a long run of the k loop anyway."""
    _, kw, cin, _ = query.inputs[1].dims
    return 20 if kw * cin < _LONG_ROW else 5


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        CONV2D,
        "cython",
        "f32_conv2d_rows",
        prepare=partial(_prepare, rows=True),
        supports=_supports_rows,
        rank=20,
        rank_of=_rank_of_rows,
        strided_outputs=True,
        finishes=True,
    ),
    Kernel(
        CONV2D,
        "cython",
        "conv2d_igemm",
        prepare=prepare_igemm,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        rank=10,
        strided_outputs=True,
        strided_inputs=True,
        finishes=True,
    ),
)
