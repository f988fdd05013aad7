"""Quantised ops of ONNX: integer ops (quantized.py) where scales and zero points are constants.

Others compute with real numbers in between, and the file's integers at the edges. An integer q stands for (q - zero point) * scale.
Where integers are the result, sums of products are exact: in float64, or in float32 for matrices as long as that holds every sum
(convolutions in float32 may be Winograd's, which round).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....kernels.tensor import DType, is_int
from ...builder import Tensor
from ...formats.onnx_tensors import STORED
from .conv import convolve
from .math import batch_product
from .narrow import is_narrow, number_of, round_to
from .node import Converter, Node
from .quantized import (
    Weights,
    convolved,
    dequantized,
    grid_of,
    limits,
    multiplied,
    quantized,
)

__all__ = ["CONVERTERS", "NOTE", "centred", "real", "stored"]

NOTE = "quantised layers are computed with the file's scales, zero points and rounding: in its integers, or in float32 between them"
_F32 = np.dtype(np.float32)


def _spread(n: Node, t: Tensor, x: Tensor, axis: int, block: int = 0) -> Tensor:
    """A scale or zero point so that it broadcasts: a scalar, one value per entry of ``axis``, or one per block of entries."""
    shape = n.shape(t)
    if shape in ((), (1,)):
        return n.op("Reshape", t, n.const([])) if shape else t
    rank = n.rank(x)
    axis = n.axis(axis, rank)
    if len(shape) == 1 and not block:
        return n.channels(t, rank, axis)
    sizes = n.shape(x)
    if not block or len(shape) != rank or shape[axis] is None or sizes[axis] is None:
        raise n.unsupported(f"a scale or zero point of shape {list(shape)} for {n.type_of(x)}")
    known = [d for d in shape if d is not None]
    if len(known) != rank or block < 1 or known[axis] != -(-(sizes[axis] or 0) // block):
        raise n.wrong(f"scales of shape {list(shape)} for blocks of {block} in {list(sizes)}", "one for each block")
    repeats = [1] * (rank + 1)
    repeats[axis + 1] = block = min(block, sizes[axis] or 0)  # one block may be longer than the axis
    t = n.op("Tile", n.op("ExpandDims", t, n.const(axis + 1)), n.const(repeats))
    t = n.reshape(t, [*known[:axis], known[axis] * block, *known[axis + 1 :]])
    return n.op("Slice", t, n.const([0] * rank), n.const([*known[:axis], sizes[axis], *known[axis + 1 :]]))


def centred(n: Node, q: Tensor, zero: Tensor | None, dtype: DType = _F32) -> Tensor:
    """q - zero point, in floats."""
    y = n.cast(q, dtype)
    if zero is None:
        return y
    known = n.value(zero)
    return y if known is not None and not known.any() else n.op("Sub", y, n.cast(zero, dtype))


def real(n: Node, q: Tensor, scale: Tensor, zero: Tensor | None, axis: int = 1, block: int = 0) -> Tensor:
    """(q - zero point) * scale."""
    n.importer.notes.setdefault(NOTE)
    dtype = n.dtype(scale)
    given = grid_of(n, scale, zero, n.dtype(q)) if q.op.type != "Const" and not block else None
    if given is not None:
        return dequantized(n, q, given)
    inner = _F32 if dtype == np.float16 else dtype
    zero = None if zero is None else _spread(n, zero, q, axis, block)
    y = n.op("Mul", centred(n, q, zero, inner), n.cast(_spread(n, scale, q, axis, block), inner))
    return n.cast(y, dtype)


def _rounded(n: Node, y: Tensor, zero: Tensor | None, low: int, high: int, dtype: DType) -> Tensor:
    """The nearest integers, ties to even, plus the zero point, within [low, high]."""
    y = n.op("Rint", y)
    if zero is not None:
        known = n.value(zero)
        if known is None or known.any():
            y = n.op("AddV2", y, n.cast(zero, n.dtype(y)))
    y = n.op("Minimum", n.op("Maximum", y, n.like(y, low)), n.like(y, high))
    return n.op("Cast", y, DstT=dtype)


def stored(n: Node, y: Tensor, scale: Tensor, zero: Tensor | None, dtype: DType, axis: int = 1) -> Tensor:
    """Real numbers as integers of ``dtype``."""
    grid = grid_of(n, scale, zero, dtype) if n.dtype(y) == _F32 else None
    if grid is not None:
        n.importer.notes.setdefault(NOTE)
        return quantized(n, y, grid)
    low, high = limits(n, dtype)
    zero = None if zero is None else _spread(n, zero, y, axis)
    return _rounded(n, n.op("RealDiv", y, _spread(n, scale, y, axis)), zero, low, high, dtype)


def _of_result(n: Node, kind: int, zero: Tensor | None) -> DType:
    """The element type of integers: the one that the node names, or the zero point's, or uint8."""
    if kind:
        return n.element_type(kind)
    return np.dtype(np.uint8) if zero is None else n.dtype(zero)


def _quantize(n: Node) -> Tensor:
    x, scale, zero = n.input(0), n.input(1), n.optional(2)
    axis, block, kind, precision = (
        n.integer("axis", 1),
        n.integer("block_size", 0),
        n.integer("output_dtype", 0),
        n.integer("precision", 0),
    )
    saturate = n.flag("saturate", True)
    narrow = (STORED.get(kind) if is_narrow(kind) else None) if zero is None else n.importer.narrow(zero)
    if precision not in (0, 1):
        raise n.unsupported(f"division in the element type {precision}", "export it with float32")
    dtype = narrow.dtype if narrow else _of_result(n, kind, zero)
    floats = narrow is not None and narrow.dtype.kind == "f"
    if not is_int(dtype) and not floats:
        raise n.unsupported(f"quantisation to {dtype}")
    low, high = (0, 0) if floats else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if narrow is not None and not floats:
        low, high = low >> (8 - narrow.bits), high >> (8 - narrow.bits)
    n.importer.notes.setdefault(NOTE)
    grid = grid_of(n, scale, zero, dtype) if n.dtype(x) == _F32 and narrow is None else None
    if grid is not None:
        return quantized(n, x, grid)
    inner = n.cast(x, "float32") if n.dtype(x) != np.float64 else x
    zero = None if zero is None else _spread(n, zero, x, axis, block)
    quotient = n.op("RealDiv", inner, n.cast(_spread(n, scale, x, axis, block), n.dtype(inner)))
    if narrow is not None and floats:
        if zero is not None:
            quotient = n.op("AddV2", quotient, n.cast(zero, n.dtype(quotient)))
        return round_to(n, quotient, number_of(narrow), saturate=saturate)
    return _rounded(n, quotient, zero, low, high, dtype)


def _dequantize(n: Node) -> Tensor:
    """Integers, and 8-bit floats, whose values a file's constant has already."""
    kind = n.integer("output_dtype", 0)
    y = real(n, n.input(0), n.input(1), n.optional(2), n.integer("axis", 1), n.integer("block_size", 0))
    return n.cast(y, n.element_type(kind)) if kind else y


def _dynamic_quantize(n: Node) -> tuple[Tensor, Tensor, Tensor]:
    """uint8, with the scale and zero point of what comes; 0 stays exact."""
    x = n.input(0)
    axes = n.const(list(range(n.rank(x))))
    low = n.op("Minimum", n.op("Min", x, axes), n.like(x, 0))
    high = n.op("Maximum", n.op("Max", x, axes), n.like(x, 0))
    scale = n.op("RealDiv", n.op("Sub", high, low), n.like(x, 255))
    scale = n.op("SelectV2", n.op("Equal", high, low), n.like(x, 1), scale)
    zero = n.op("Rint", n.op("RealDiv", n.op("Neg", low), scale))
    zero = n.op("Minimum", n.op("Maximum", zero, n.like(x, 0)), n.like(x, 255))
    n.importer.notes.setdefault(NOTE)
    y = _rounded(n, n.op("RealDiv", x, scale), zero, 0, 255, np.dtype(np.uint8))
    return y, scale, n.op("Cast", zero, DstT=np.dtype(np.uint8))


# --- products ------------------------------------------------------------------------------------------------------------


def _wide(terms: int | None) -> DType:
    """A float type that holds every sum of so many products of 9-bit numbers."""
    return _F32 if terms is not None and terms << 16 < 1 << 24 else np.dtype(np.float64)


def _conv_integer(n: Node) -> Tensor:
    x, w, dtype = n.input(0), n.input(1), np.dtype(np.float64)
    zero, one = n.optional(3), n.const(1, "float32")
    found = convolved(n, x, grid_of(n, one, n.optional(2), n.dtype(x)), Weights.of(n, w, one, zero), None, None)
    if found is not None:
        return found
    zero = None if zero is None else _spread(n, zero, w, 0)
    y = convolve(n, centred(n, x, n.optional(2), dtype), centred(n, w, zero, dtype), None)
    n.importer.notes.setdefault(NOTE)
    return n.op("Cast", y, DstT=np.dtype(np.int32))


def _matmul_integer(n: Node) -> Tensor:
    a, b = n.input(0), n.input(1)
    one = n.const(1, "float32")
    given, weights = grid_of(n, one, n.optional(2), n.dtype(a)), Weights.of(n, b, one, n.optional(3))
    found = multiplied(n, a, given, weights, None, None, np.dtype(np.int32))
    if found is not None:
        return found
    dtype = _wide(n.shape(a)[-1])
    y = batch_product(n, centred(n, a, _per_row(n, n.optional(2)), dtype), centred(n, b, n.optional(3), dtype))
    n.importer.notes.setdefault(NOTE)
    return n.op("Cast", y, DstT=np.dtype(np.int32))


def _per_row(n: Node, t: Tensor | None) -> Tensor | None:
    """A vector of one value per row of a left operand, as a column."""
    return n.op("ExpandDims", t, n.const(-1)) if t is not None and n.rank(t) == 1 and n.shape(t) != (1,) else t


def _qlinear_conv(n: Node) -> Tensor:
    x, w, bias = n.input(0), n.input(3), n.optional(8)
    scales, zero = [n.input(1), n.input(4), n.input(6)], n.input(7)
    given, result = grid_of(n, scales[0], n.input(2), n.dtype(x)), grid_of(n, scales[2], zero, n.dtype(zero))
    weights = Weights.of(n, w, scales[1], n.input(5))
    found = None if result is None else convolved(n, x, given, weights, bias, result)
    if found is not None:
        n.importer.notes.setdefault(NOTE)
        return found
    filters = centred(n, w, _spread(n, n.input(5), w, 0))
    y = convolve(n, centred(n, x, n.input(2)), filters, None if bias is None else n.cast(bias, "float32"))
    factor = n.op("RealDiv", n.op("Mul", scales[0], scales[1]), scales[2])
    y = n.op("Mul", y, _spread(n, factor, y, 1))
    return _saturated(n, y, zero)


def _saturated(n: Node, y: Tensor, zero: Tensor) -> Tensor:
    n.importer.notes.setdefault(NOTE)
    dtype = n.dtype(zero)
    zero = n.op("Reshape", zero, n.const([]))
    return _rounded(n, y, zero, *limits(n, dtype), dtype)


def _qlinear_matmul(n: Node) -> Tensor:
    a, b = n.input(0), n.input(3)
    given, result = (
        grid_of(n, n.input(1), n.input(2), n.dtype(a)),
        grid_of(n, n.input(6), n.input(7), n.dtype(n.input(7))),
    )
    found = None
    if result is not None:
        found = multiplied(n, a, given, Weights.of(n, b, n.input(4), n.input(5)), None, result)
    if found is not None:
        n.importer.notes.setdefault(NOTE)
        return found
    scale_a, zero_a = _per_row(n, n.input(1)), _per_row(n, n.input(2))
    assert scale_a is not None
    y = batch_product(n, centred(n, a, zero_a), centred(n, b, n.input(5)))
    factor = n.op(
        "RealDiv", n.op("Mul", n.cast(scale_a, "float32"), n.cast(n.input(4), "float32")), n.cast(n.input(6), "float32")
    )
    return _saturated(n, n.op("Mul", y, factor), n.input(7))


CONVERTERS: Mapping[str, Converter] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
}
