"""Quantised ops of ONNX and of ONNX Runtime (com.microsoft): real numbers in between, the file's integers at the edges.

An integer q stands for (q - zero point) * scale. Where integers are the result, sums of products are exact: in float64, or
in float32 for matrices as long as that holds every sum (convolutions in float32 may be Winograd's, which round).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ....kernels.tensor import DType, is_int
from ...builder import Tensor
from ...formats.onnx_tensors import STORED
from .conv import convolve
from .math import batch_product
from .narrow import is_narrow, number_of, round_to
from .node import Converter, Node
from .pool import average_pool

__all__ = ["CONTRIB", "CONVERTERS", "real", "stored"]

_NOTE = "quantised layers are computed in float32 with the file's scales, zero points and rounding"
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


def _centred(n: Node, q: Tensor, zero: Tensor | None, dtype: DType = _F32) -> Tensor:
    """q - zero point, in floats."""
    y = n.cast(q, dtype)
    if zero is None:
        return y
    known = n.value(zero)
    return y if known is not None and not known.any() else n.op("Sub", y, n.cast(zero, dtype))


def real(n: Node, q: Tensor, scale: Tensor, zero: Tensor | None, axis: int = 1, block: int = 0) -> Tensor:
    """(q - zero point) * scale."""
    n.importer.notes.setdefault(_NOTE)
    dtype = n.dtype(scale)
    inner = _F32 if dtype == np.float16 else dtype
    zero = None if zero is None else _spread(n, zero, q, axis, block)
    y = n.op("Mul", _centred(n, q, zero, inner), n.cast(_spread(n, scale, q, axis, block), inner))
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
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    zero = None if zero is None else _spread(n, zero, y, axis)
    return _rounded(n, n.op("RealDiv", y, _spread(n, scale, y, axis)), zero, low, high, dtype)


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
    dtype = (
        narrow.dtype
        if narrow
        else n.element_type(kind)
        if kind
        else np.dtype(np.uint8)
        if zero is None
        else n.dtype(zero)
    )
    floats = narrow is not None and narrow.dtype.kind == "f"
    if not is_int(dtype) and not floats:
        raise n.unsupported(f"quantisation to {dtype}")
    low, high = (0, 0) if floats else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if narrow is not None and not floats:
        low, high = low >> (8 - narrow.bits), high >> (8 - narrow.bits)
    n.importer.notes.setdefault(_NOTE)
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
    n.importer.notes.setdefault(_NOTE)
    y = _rounded(n, n.op("RealDiv", x, scale), zero, 0, 255, np.dtype(np.uint8))
    return y, scale, n.op("Cast", zero, DstT=np.dtype(np.uint8))


# --- products ------------------------------------------------------------------------------------------------------------


def _wide(terms: int | None) -> DType:
    """A float type that holds every sum of so many products of 9-bit numbers."""
    return _F32 if terms is not None and terms << 16 < 1 << 24 else np.dtype(np.float64)


def _conv_integer(n: Node) -> Tensor:
    x, w, dtype = n.input(0), n.input(1), np.dtype(np.float64)
    zero = n.optional(3)
    zero = None if zero is None else _spread(n, zero, w, 0)
    y = convolve(n, _centred(n, x, n.optional(2), dtype), _centred(n, w, zero, dtype), None)
    n.importer.notes.setdefault(_NOTE)
    return n.op("Cast", y, DstT=np.dtype(np.int32))


def _matmul_integer(n: Node) -> Tensor:
    a, b = n.input(0), n.input(1)
    dtype = _wide(n.shape(a)[-1])
    y = batch_product(n, _centred(n, a, _per_row(n, n.optional(2)), dtype), _centred(n, b, n.optional(3), dtype))
    n.importer.notes.setdefault(_NOTE)
    return n.op("Cast", y, DstT=np.dtype(np.int32))


def _per_row(n: Node, t: Tensor | None) -> Tensor | None:
    """A vector of one value per row of a left operand, as a column."""
    return n.op("ExpandDims", t, n.const(-1)) if t is not None and n.rank(t) == 1 and n.shape(t) != (1,) else t


def _qlinear_conv(n: Node) -> Tensor:
    x, w, bias = n.input(0), n.input(3), n.optional(8)
    scales, zero = [n.input(1), n.input(4), n.input(6)], n.input(7)
    weights = _centred(n, w, _spread(n, n.input(5), w, 0))
    y = convolve(n, _centred(n, x, n.input(2)), weights, None if bias is None else n.cast(bias, "float32"))
    factor = n.op("RealDiv", n.op("Mul", scales[0], scales[1]), scales[2])
    y = n.op("Mul", y, _spread(n, factor, y, 1))
    return _saturated(n, y, zero)


def _saturated(n: Node, y: Tensor, zero: Tensor) -> Tensor:
    n.importer.notes.setdefault(_NOTE)
    dtype = n.dtype(zero)
    zero = n.op("Reshape", zero, n.const([]))
    return _rounded(n, y, zero, int(np.iinfo(dtype).min), int(np.iinfo(dtype).max), dtype)


def _qlinear_matmul(n: Node) -> Tensor:
    a, b = n.input(0), n.input(3)
    scale_a, zero_a = _per_row(n, n.input(1)), _per_row(n, n.input(2))
    assert scale_a is not None
    y = batch_product(n, _centred(n, a, zero_a), _centred(n, b, n.input(5)))
    factor = n.op(
        "RealDiv", n.op("Mul", n.cast(scale_a, "float32"), n.cast(n.input(4), "float32")), n.cast(n.input(6), "float32")
    )
    return _saturated(n, n.op("Mul", y, factor), n.input(7))


# --- com.microsoft ---------------------------------------------------------------------------------------------------------


def _like_output(n: Node, index: int, given: Tensor) -> DType:
    """The element type of an output zero point, or that of an input where it is left out."""
    zero = n.optional(index)
    return n.dtype(given) if zero is None else n.dtype(zero)


def _qlinear_binary(type: str) -> Converter:
    def convert(n: Node) -> Tensor:
        a, b = real(n, n.input(0), n.input(1), n.optional(2)), real(n, n.input(3), n.input(4), n.optional(5))
        return stored(n, n.op(type, a, b), n.input(6), n.optional(7), _like_output(n, 7, n.input(0)))

    return convert


def _qlinear_unary(apply: Callable[[Node, Tensor], Tensor]) -> Converter:
    """X, its scale and zero point, those of the output."""

    def convert(n: Node) -> Tensor:
        y = apply(n, real(n, n.input(0), n.input(1), n.optional(2)))
        return stored(n, y, n.input(3), n.optional(4), _like_output(n, 4, n.input(0)))

    return convert


def _global_average(n: Node, x: Tensor) -> Tensor:
    rank = n.rank(x)
    axes = list(range(1, rank - 1)) if n.flag("channels_last") else list(range(2, rank))
    return n.op("Mean", x, n.const(axes), keep_dims=True)


def _average(n: Node, x: Tensor) -> Tensor:
    if n.flag("channels_last"):
        raise n.unsupported("channels_last")
    return average_pool(n, x)


def _leaky_relu(n: Node, x: Tensor) -> Tensor:
    slope = n.op("Mul", x, n.like(x, n.number("alpha", 0.01)))
    return n.op("SelectV2", n.op("Less", x, n.like(x, 0)), slope, x)


def _softmax(n: Node, x: Tensor) -> Tensor:
    axis, version = n.integer("axis", -1), n.integer("opset", 13)
    if version < 13 and n.axis(axis, n.rank(x)) != n.rank(x) - 1:
        raise n.unsupported("the softmax of version 12 over several axes")
    return n.op("Softmax", x, axis=axis)


def _qlinear_concat(n: Node) -> Tensor:
    """Scale and zero point of the output, then each input with its own."""
    if len(n.inputs) < 5 or (len(n.inputs) - 2) % 3:
        raise n.wrong(f"{len(n.inputs)} inputs", "2 and 3 for each value")
    values = [real(n, n.input(i), n.input(i + 1), n.optional(i + 2)) for i in range(2, len(n.inputs), 3)]
    axis = n.integer("axis", 0)
    y = n.op("ConcatV2", *values, n.const(axis)) if len(values) > 1 else values[0]
    return stored(n, y, n.input(0), n.optional(1), _like_output(n, 1, n.input(2)))


def _qgemm(n: Node) -> Tensor:
    """alpha * a' b' with scales, plus a bias in units of the product of the scales; floats without an output scale."""
    a, b, alpha = n.input(0), n.input(3), n.number("alpha", 1.0)
    swap_a, swap_b = n.flag("transA"), n.flag("transB")
    per = n.op("Reshape", n.input(4), n.const([-1])) if n.shape(n.input(4)) != () else n.input(4)
    zero = n.input(5)
    if n.shape(zero) not in ((), (1,)) and swap_b:
        zero = n.op("ExpandDims", zero, n.const(-1))
    y = n.op("MatMul", _centred(n, a, n.input(2)), _centred(n, b, zero), transpose_a=swap_a, transpose_b=swap_b)
    if alpha != 1:
        y = n.op("Mul", y, n.like(y, alpha))
    bias = n.optional(6)
    if bias is not None:
        y = n.op("AddV2", y, n.cast(bias, "float32"))
    y = n.op("Mul", y, n.op("Mul", n.input(1), per))
    scale = n.optional(7)
    if scale is None:
        return y
    return stored(n, y, scale, n.optional(8), _like_output(n, 8, a))


def _unary(type: str) -> Callable[[Node, Tensor], Tensor]:
    return lambda n, x: n.op(type, x)


CONVERTERS: Mapping[str, Converter] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
}
_BOTH: Sequence[str] = ("QuantizeLinear", "DequantizeLinear")

#: com.microsoft
CONTRIB: Mapping[str, Converter] = {
    **{name: CONVERTERS[name] for name in _BOTH},
    "QLinearAdd": _qlinear_binary("AddV2"),
    "QLinearMul": _qlinear_binary("Mul"),
    "QLinearGlobalAveragePool": _qlinear_unary(_global_average),
    "QLinearAveragePool": _qlinear_unary(_average),
    "QLinearSigmoid": _qlinear_unary(_unary("Sigmoid")),
    "QLinearLeakyRelu": _qlinear_unary(_leaky_relu),
    "QLinearSoftmax": _qlinear_unary(_softmax),
    "QLinearConcat": _qlinear_concat,
    "QGemm": _qgemm,
}
