"""conv2d kernels with fewer multiplications: Winograd's on both axes, Cook-Toom's along one; the C side is c/winograd.h.

Errors grow with the tile; CONV2D's contract states the bounds. A kernel takes constant weights, strides and dilations of
one, and whatever padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.conv2d import CONV2D, FAST_TOLERANCES, Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..devices import HOST
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from . import core
from .conv2d import PreparedProduct, prepare_igemm
from .cook_toom import Points
from .support import FLOAT32
from .winograd import KINDS, Winograd, pack

__all__ = ["KERNELS", "PreparedWinograd"]

NDArray = np.ndarray[Any, Any]

#: Pairs of points per number of points.
_PAIRS = {4: (1.0,), 6: (2 / 3, 3 / 2), 8: (0.4, 1.0, 2.0), 10: (0.4, 0.8, 1.2, 2.0), 12: (0.3, 2 / 3, 1.0, 4 / 3, 2.5)}
#: Bytes of transformed inputs, and of products, that stay in the L2 cache (1 MiB of inputs: 7 to 12 % slower on stems).
_INPUT_BYTES, _PRODUCT_BYTES = 512 << 10, 512 << 10
#: Transformed weights up to here leave room for the sums of products; beyond it the direct algorithm still has finite results.
_LARGEST = 2.0**64


@dataclass(frozen=True, slots=True)
class PreparedWinograd:
    """A Winograd with its packed weights."""

    winograd: Winograd
    packed: NDArray

    @property
    def workspace_bytes(self) -> int:
        return self.winograd.workspace_bytes

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset([1])

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        bias = inputs[2] if len(inputs) > 2 else None
        return self.winograd.bind(inputs[0], self.packed, bias, outputs[0], workspace)


def _points(kind: str) -> tuple[Points | None, Points | None]:
    pairs, outputs = KINDS[kind]
    made = [Points(_PAIRS[2 * p + 2], m) if p else None for p, m in zip(pairs, outputs, strict=True)]
    return made[0], made[1]


class _UnfitWeightsError(Exception):
    """Weights are not finite, or so large that a transform may overflow."""


def _pack(kind: str, swap: bool, vectors: int, threads: int, w: NDArray) -> NDArray:
    """Weights transformed in float64, rounded once, in panels (c/winograd.h). Raises _UnfitWeightsError."""
    _, _, cin, cout = w.shape
    transforms = [np.ones((1, 1)) if p is None else p.g for p in _points(kind)]
    points = len(transforms[0]) * len(transforms[1])
    padded = -(-cout // core.F32_LANES) * core.F32_LANES
    packed = HOST.allocate_lasting(4 * cin * (points * padded + 1))
    if not pack(w, packed, swap=swap, transforms=transforms, vectors=vectors, largest=_LARGEST, threads=threads):
        raise _UnfitWeightsError
    return packed


def _prepare(query: Query, constants: Constants, *, kind: str) -> PreparedWinograd | PreparedProduct:
    """The algorithm, or for weights that do not stay finite in it the direct one (contract of conv2d)."""
    try:
        return _prepare_fast(query, constants, kind)
    except _UnfitWeightsError:
        return prepare_igemm(query, constants)


def _prepare_fast(query: Query[Conv2DParams], constants: Constants, kind: str) -> PreparedWinograd:
    params = query.params
    g, cout = WindowGeometry.of(query.inputs, query.outputs, params), query.outputs[0].dims[3]
    n, cin, (h, w), (oh, ow), (top, left) = g.images, g.channels, g.size, g.out, g.before
    axes = [(h, oh, top, w, ow), (w, ow, left, 1, 1)]
    down, across = _points(kind)
    swap = down is None and g.window[1] == 1
    if swap:
        axes.reverse()
    assert across is not None
    points = across.count * (1 if down is None else down.count)
    per_image = -(-axes[0][1] // (1 if down is None else down.outputs)) * -(-axes[1][1] // across.outputs)
    vectors = _vectors(cout)
    width = vectors * core.F32_LANES
    tiles = max(n * per_image, 1)  # an empty batch or image too
    most = max(_INPUT_BYTES // (4 * points * max(cin, 1)), 16)
    supers = -(-tiles // most)
    division = _division(query.threads, n * per_image * cin, cin * cout, -(-cout // width))
    if division == "tiles":
        supers = -(-supers // query.threads) * query.threads
    most = -(-tiles // supers)
    block = min(most, max(_PRODUCT_BYTES // (4 * points * width), 9))
    winograd = Winograd(
        kind,
        query.inputs,
        query.outputs[0],
        points=across.coefficients(),
        axes=axes,
        batch=(n, h * w, oh * ow),
        vectors=vectors,
        tiles=(most, block),
        division=division,
        threads=query.threads,
        rows=int(swap),
        limits=ACTIVATION_LIMITS[params.activation],
    )
    pairs = _PAIRS[across.count]  # both axes have the same
    layout = f"{kind}:{pairs}:float32:{vectors}x{core.F32_LANES}{':down' if swap else ''}"
    return PreparedWinograd(winograd, constants.packed(1, layout, partial(_pack, kind, swap, vectors, query.threads)))


def _division(threads: int, inputs: int, weights: int, panels: int) -> str:
    """What threads divide (c/winograd.h); ``inputs`` and ``weights``: elements per point.

    Inception on two threads: blocks everywhere 38.2 ms, mostly tiles 28.7 ms; panels where they divide evenly save 0.5 ms.
    """
    if threads == 1:
        return "blocks"
    if weights > 2 * inputs and panels % threads == 0:
        return "panels"
    return "tiles" if weights < 4 * inputs else "blocks"


def _vectors(cout: int) -> int:
    """Vectors of a panel: three, or two where these divide the channels and three do not; fewer channels: all."""
    total = -(-cout // core.F32_LANES)
    most = min(3, max(total, 1))
    return most if total % most == 0 or most < 3 or total % 2 else 2


#: With fewer input channels the inverse transform takes longer than it saves (224x224, 3 to 64: 4.0 ms, direct 2.3).
_FEW_CHANNELS = 8
#: Clocks of a core per byte of weights from main memory, and per multiply-add.
_BYTE_CLOCKS, _MAC_CLOCKS = 1 / 4.5, 1 / 28


def _rank(query: Query, *, kind: str, rank: int) -> int:
    """The rank, or less than the direct kernels' where the transformed weights take longer to read than they save.

    Few tiles (images of 8 x 8) do not pay for weights that are up to four times as large; few channels not for the transforms.
    """
    _, _, cin, cout = query.inputs[1].dims
    if cin < _FEW_CHANNELS:
        return rank - 100
    taps = query.inputs[1].size // max(cin * cout, 1)
    points, per_output = 1, 1.0
    outputs = query.outputs[0].dims[1:3]
    for axis, size in zip(_points(kind), _along(kind, query, outputs), strict=True):
        if axis is not None:
            points *= axis.count
            per_output *= -(-size // axis.outputs) * axis.count / max(size, 1)
    pixels = outputs[0] * outputs[1]
    direct = pixels * taps * _MAC_CLOCKS + 4 * taps * _BYTE_CLOCKS
    fast = 1.15 * pixels * per_output * _MAC_CLOCKS + 4 * points * _BYTE_CLOCKS
    return rank if fast < 0.95 * direct else rank - 100


def _along(kind: str, query: Query, outputs: tuple[int, ...]) -> tuple[int, int]:
    """Output sizes along the algorithm's two axes."""
    down, _ = _points(kind)
    return (outputs[1], outputs[0]) if down is None and query.inputs[1].dims[1] == 1 else (outputs[0], outputs[1])


def _supports(query: Query[Conv2DParams], *, kind: str) -> str | None:
    params = query.params
    if not query.numerics.winograd:
        return "switched off (winograd=False or KIGRAPH_WINOGRAD=0)"
    if (reason := refuse_dtypes(query, FLOAT32)) is not None:
        return reason
    down, across = _points(kind)
    assert across is not None
    taps = across.taps
    kh, kw, _, _ = query.inputs[1].dims
    fits = (kh, kw) == (taps, taps) if down is not None else {kh, kw} == {1, taps}
    if not fits:
        return (
            f"is for filters of {taps} x {taps}" if down is not None else f"is for filters of 1 x {taps} or {taps} x 1"
        )
    if params.strides != (1, 1) or params.dilations != (1, 1):
        return "needs strides and dilations of 1"
    if 1 not in query.constants:
        return "needs constant weights: they are transformed when they are packed"
    return None


def _kernel(kind: str, rank: int) -> Kernel:
    return Kernel(
        CONV2D,
        "cython",
        f"f32_conv2d_{kind}",
        prepare=partial(_prepare, kind=kind),
        supports=partial(_supports, kind=kind),
        rank=rank,
        rank_of=partial(_rank, kind=kind, rank=rank),
        strided_outputs=True,
        strided_inputs=True,
        tolerance=FAST_TOLERANCES[kind],
        spreads=True,
    )


KERNELS: tuple[Kernel, ...] = (
    _kernel("winograd_4x4_3x3", 42),
    _kernel("winograd_2x2_3x3", 41),
    _kernel("winograd_4x4_5x5", 41),
    _kernel("winograd_2x2_5x5", 40),
    _kernel("cook_toom_4_7", 39),
    _kernel("cook_toom_2_7", 38),
    _kernel("cook_toom_6_7", 40),
    _kernel("cook_toom_4_3", 40),
    _kernel("cook_toom_2_3", 39),
)
