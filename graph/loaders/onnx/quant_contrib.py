"""Quantised ops of ONNX Runtime (com.microsoft), which its quantiser and its optimiser write."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....kernels.tensor import DType
from ...builder import Tensor
from .node import Converter, Node, Outputs
from .pool import average_attrs, average_pool
from .quant import CONVERTERS, NOTE, centred, real, stored
from .quantized import Weights, averaged, grid_of, joined, multiplied, scaled
from .windows import from_nhwc, to_nhwc

__all__ = ["CONTRIB"]


def _like_output(n: Node, index: int, given: Tensor) -> DType:
    """The element type of an output zero point, or that of an input where it is left out."""
    zero = n.optional(index)
    return n.dtype(given) if zero is None else n.dtype(zero)


def _qlinear_binary(type: str) -> Converter:
    def convert(n: Node) -> Tensor:
        x, z = (grid_of(n, n.input(i + 1), n.optional(i + 2), n.dtype(n.input(i))) for i in (0, 3))
        y = grid_of(n, n.input(6), n.optional(7), _like_output(n, 7, n.input(0)))
        found = scaled(n, type, n.input(0), x, n.input(3), z, y)
        if found is not None:
            n.importer.notes.setdefault(NOTE)
            return found
        a, b = real(n, n.input(0), n.input(1), n.optional(2)), real(n, n.input(3), n.input(4), n.optional(5))
        return stored(n, n.op(type, a, b), n.input(6), n.optional(7), _like_output(n, 7, n.input(0)))

    return convert


def _qlinear_unary(apply: Callable[[Node, Tensor], Tensor]) -> Converter:
    """X, its scale and zero point, those of the output."""

    def convert(n: Node) -> Tensor:
        y = apply(n, real(n, n.input(0), n.input(1), n.optional(2)))
        return stored(n, y, n.input(3), n.optional(4), _like_output(n, 4, n.input(0)))

    return convert


def _quantized_pool(apply: Callable[[Node, Tensor], Tensor], over_all: bool) -> Converter:
    """X, its scale and zero point, those of the output."""
    with_reals = _qlinear_unary(apply)

    def convert(n: Node) -> Outputs:
        q, last = n.input(0), n.flag("channels_last")
        x = grid_of(n, n.input(1), n.optional(2), n.dtype(q))
        y = grid_of(n, n.input(3), n.optional(4), _like_output(n, 4, q))
        if x is None or y is None or (last and not over_all) or n.rank(q) not in ((4,) if over_all else (3, 4)):
            return with_reals(n)
        image = q if last else to_nhwc(n, q)
        attrs = _whole_image(n, image) if over_all else average_attrs(n, q)
        found = averaged(n, image, x, y, attrs)
        if found is None:
            return with_reals(n)
        n.importer.notes.setdefault(NOTE)
        return found if last else from_nhwc(n, found, n.rank(q))

    return convert


def _whole_image(n: Node, image: Tensor) -> Mapping[str, object] | None:
    """The one window of an NHWC image whose size is known."""
    _, height, width, _ = n.shape(image)
    if not height or not width:
        return None
    return {"ksize": (1, height, width, 1), "strides": (1, 1, 1, 1), "padding": "VALID"}


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
    axis, starts = n.integer("axis", 0), range(2, len(n.inputs), 3)
    parts = [(n.input(i), grid_of(n, n.input(i + 1), n.optional(i + 2), n.dtype(n.input(i)))) for i in starts]
    found = joined(n, parts, grid_of(n, n.input(0), n.optional(1), _like_output(n, 1, n.input(2))), axis)
    if found is not None:
        n.importer.notes.setdefault(NOTE)
        return found
    values = [real(n, n.input(i), n.input(i + 1), n.optional(i + 2)) for i in starts]
    y = n.op("ConcatV2", *values, n.const(axis)) if len(values) > 1 else values[0]
    return stored(n, y, n.input(0), n.optional(1), _like_output(n, 1, n.input(2)))


def _qgemm(n: Node) -> Tensor:
    """alpha * a' b' with scales, plus a bias in units of the product of the scales; floats without an output scale."""
    a, b, alpha = n.input(0), n.input(3), n.number("alpha", 1.0)
    swap_a, swap_b = n.flag("transA"), n.flag("transB")
    scale, given = n.optional(7), grid_of(n, n.input(1), n.input(2), n.dtype(a))
    result = None if scale is None else grid_of(n, scale, n.optional(8), _like_output(n, 8, a))
    if not swap_a and (scale is None or result is not None):
        weights = Weights.of(n, b, n.input(4), n.input(5))
        found = multiplied(n, a, given, weights, n.optional(6), result, swap=swap_b, alpha=alpha)
        if found is not None:
            n.importer.notes.setdefault(NOTE)
            return found
    per = n.op("Reshape", n.input(4), n.const([-1])) if n.shape(n.input(4)) != () else n.input(4)
    zero = n.input(5)
    if n.shape(zero) not in ((), (1,)) and swap_b:
        zero = n.op("ExpandDims", zero, n.const(-1))
    y = n.op("MatMul", centred(n, a, n.input(2)), centred(n, b, zero), transpose_a=swap_a, transpose_b=swap_b)
    if alpha != 1:
        y = n.op("Mul", y, n.like(y, alpha))
    bias = n.optional(6)
    if bias is not None:
        y = n.op("AddV2", y, n.cast(bias, "float32"))
    y = n.op("Mul", y, n.op("Mul", n.input(1), per))
    if scale is None:
        return y
    return stored(n, y, scale, n.optional(8), _like_output(n, 8, a))


def _unary(type: str) -> Callable[[Node, Tensor], Tensor]:
    return lambda n, x: n.op(type, x)


#: com.microsoft
CONTRIB: Mapping[str, Converter] = {
    **{name: CONVERTERS[name] for name in ("QuantizeLinear", "DequantizeLinear")},
    "QLinearAdd": _qlinear_binary("AddV2"),
    "QLinearMul": _qlinear_binary("Mul"),
    "QLinearGlobalAveragePool": _quantized_pool(_global_average, True),
    "QLinearAveragePool": _quantized_pool(_average, False),
    "QLinearSigmoid": _qlinear_unary(_unary("Sigmoid")),
    "QLinearLeakyRelu": _qlinear_unary(_leaky_relu),
    "QLinearSoftmax": _qlinear_unary(_softmax),
    "QLinearConcat": _qlinear_concat,
    "QGemm": _qgemm,
}
