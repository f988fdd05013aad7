"""Convolutions and matrix products of int8 and uint8 with constant weights: exact sums, one rounding; the C side is c/dot.h."""

from __future__ import annotations

from ..contracts.geometry import WindowGeometry
from ..contracts.quantized import BYTES, QCONV2D, QMATMUL, QConv2DParams, QMatMulParams
from ..kernel import Constants, Kernel, Query
from ..tensor import TensorType
from .dot import Dot
from .narrow import DotAxis, PreparedDots, axes_of

__all__ = ["KERNELS"]


def _prepare(
    query: Query, constants: Constants, axes: tuple[DotAxis, DotAxis], batch: int, channels: int
) -> PreparedDots:
    params: QConv2DParams | QMatMulParams = query.params
    x, w, bias, multiplier = query.inputs
    y = query.outputs[0]
    lo = hi = 0.0
    if y.dtype in BYTES:
        lo, hi = float(params.low - params.y_zero), float(params.high - params.y_zero)
    dot = Dot(
        x,
        axes=axes,
        batch=batch,
        channels=channels,
        outs=[(w, bias, multiplier, y, lo, hi, params.y_zero)],
        x_zero=params.x_zero,
        steps=(y.dims[-1], 1),
        threads=query.threads,
    )
    layout = f"dot:{x.dtype.name}:z{params.x_zero}:{dot.layout}"
    return PreparedDots(dot, (constants.packed(1, layout, dot.pack),), ((1, 2, 3),))


def _prepare_conv2d(query: Query[QConv2DParams], constants: Constants) -> PreparedDots:
    x, w = query.inputs[:2]
    g = WindowGeometry.between(x.dims, query.outputs[0].dims, w.dims, query.params.windows)
    return _prepare(query, constants, axes_of(g), g.images, g.channels)


def _prepare_matmul(query: Query[QMatMulParams], constants: Constants) -> PreparedDots:
    y = query.outputs[0]
    rows = y.size // y.dims[-1]
    return _prepare(query, constants, ((1, 1, 1, 1, 1, 0), (rows, rows, 1, 1, 1, 0)), 1, query.inputs[0].dims[-1])


def _supports(query: Query) -> str | None:
    w: TensorType = query.inputs[1]
    if 1 not in query.constants:
        return "packs constant weights only"
    return None if w.size else "needs at least one tap and one input channel"


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        QCONV2D, "cython", "quantized_conv2d", prepare=_prepare_conv2d, supports=_supports, rank=10, strided_outputs=True,
        strided_inputs=True,
    ),
    Kernel(QMATMUL, "cython", "quantized_matmul", prepare=_prepare_matmul, supports=_supports, rank=10),
)  # fmt: skip
