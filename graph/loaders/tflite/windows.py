"""Convolutions, pools, matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...builder import Tensor
from ...formats.flatbuffers.tflite import Quantization
from .activations import activated
from .build import Converter, Refused, Use
from .constants import KINDS, Change
from .quantization import bounded, rescaled

__all__ = ["BOUNDS", "CONVERTERS", "padding", "strides"]

#: Numbers of element types.
_INT32, _INT64 = 2, 4
#: Fused activations that bounds describe: NONE, RELU, RELU_N1_TO_1, RELU6.
BOUNDS = {0: (-math.inf, math.inf), 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}


def padding(use: Use, slot: int = 0) -> str:
    """SAME or VALID, from the options."""
    code = use.option(slot, "int8")
    if code not in (0, 1):
        raise Refused(f"padding {code}; expected 0 (SAME) or 1 (VALID)")
    return "VALID" if code else "SAME"


class _Product:
    """A product of input ``x`` and weights (input 1). Where input, weights and result are integers, it is one of steps.

    A bias of integers counts steps of the input's scale times the weights'.
    """

    def __init__(self, use: Use, x: int, bias: int, activation: int) -> None:
        self.use, self._x, self._bias, self._activation = use, x, bias, activation
        self.constant = use.constant(1)
        biases = use.constant(bias) if use.has(bias) else None
        self._whole = biases is not None and biases.kind in (_INT32, _INT64)
        build = use.build
        self._steps = (
            build.activation_grid(use.index(x))
            and build.activation_grid(use.operator.outputs[0])
            and (self._whole or not use.has(bias))
            and activation in BOUNDS
            and self._are_integers(1)
        )

    def _are_integers(self, i: int) -> bool:
        """Of input i: constants with a scale for all or for each channel, or what is computed on a grid."""
        index = self.use.index(i)
        constant = self.use.build.constant(index)
        if constant is not None:
            return constant.quantization is not None
        return self.use.build.activation_grid(index)

    def x(self) -> Tensor:
        return self.use.build.in_steps(self.use.index(self._x)) if self._steps else self.use.x(self._x)

    def weights(self, change: Change | None) -> Tensor:
        return self.use.build.in_steps(self.use.index(1), change) if self._steps else self.use.x(1, change)

    def finished(self, y: Tensor) -> Tensor:
        """With bias and activation."""
        use = self.use
        if self._steps:
            if use.has(self._bias):
                y = use.add("BiasAdd", [y, use.build.scaled(use.index(self._bias), None)])
            return self._rescaled(y)
        if use.has(self._bias):
            y = use.add("BiasAdd", [y, self._real_bias() if self._whole else use.x(self._bias)])
        return activated(use, y, self._activation)

    def _scale(self) -> np.ndarray[Any, Any] | None:
        inputs, filters = self.use.given(self._x).quantization, self.use.given(1).quantization
        # In float32, as XNNPACK computes it.
        with np.errstate(over="ignore"):
            return inputs.scale * filters.scale if inputs is not None and filters is not None else None

    def _rescaled(self, y: Tensor) -> Tensor:
        use, index = self.use, self.use.operator.outputs[0]
        grid, scale = use.build.grid(index), self._scale()
        assert scale is not None
        bounds = bounded(grid, KINDS[use.out().kind], *BOUNDS[self._activation])
        use.stepwise = True
        with np.errstate(over="ignore"):
            factor = scale / grid.scale
        if not np.isfinite(factor).all():
            raise Refused(f"scales {scale[:3]} of a product whose result has the scale {grid.scale[0]}")
        return rescaled(use.build, y, factor, bounds, use.name)

    def _real_bias(self) -> Tensor:
        scale = self._scale()
        if scale is None:
            raise Refused("a bias of integers without a scale of input and weights")
        return self.use.build.scaled(self.use.index(self._bias), Quantization(scale, np.zeros(scale.size, np.int64), 0))


def strides(use: Use, at: int) -> tuple[int, int, int, int]:
    """Options have the width first."""
    return (1, use.option(at + 1), use.option(at), 1)


def _conv2d(use: Use) -> Tensor:
    """Weights are (out, height, width, in)."""
    attrs = {
        "strides": strides(use, 1),
        "padding": padding(use),
        "dilations": (1, use.option(5, default=1), use.option(4, default=1), 1),
        "data_format": "NHWC",
    }
    product = _Product(use, 0, 2, use.option(3, "int8"))
    return product.finished(use.add("Conv2D", [product.x(), product.weights(Change((1, 2, 3, 0)))], attrs))


def _depthwise(use: Use) -> Tensor:
    """Weights are (1, height, width, in * multiplier)."""
    shape, channels = use.given(1).shape, use.given(0).shape[-1:]
    if len(shape) != 4 or shape[0] != 1 or not channels or not channels[0] or shape[3] % channels[0]:
        raise Refused(f"weights {shape} for {channels} channels")
    attrs = {
        "strides": strides(use, 1),
        "padding": padding(use),
        "dilations": (1, use.option(6, default=1), use.option(5, default=1), 1),
        "data_format": "NHWC",
    }
    sizes = (shape[1], shape[2], channels[0], shape[3] // channels[0])
    product = _Product(use, 0, 2, use.option(4, "int8"))
    inputs = [product.x(), product.weights(Change(None, sizes))]
    return product.finished(use.add("DepthwiseConv2dNative", inputs, attrs))


def _transpose_conv(use: Use) -> Tensor:
    """Inputs: shape of the result, weights (out, height, width, in), x, and perhaps a bias."""
    attrs = {"strides": strides(use, 1), "padding": padding(use), "data_format": "NHWC"}
    product = _Product(use, 2, 3, use.option(3, "int8"))
    inputs = [use.x(0), product.weights(Change((1, 2, 0, 3))), product.x()]
    return product.finished(use.add("Conv2DBackpropInput", inputs, attrs))


def _conv3d(use: Use) -> Tensor:
    """Weights are (depth, height, width, in, out), as TensorFlow's."""
    attrs = {
        "strides": (1, use.option(1), use.option(3), use.option(2), 1),
        "padding": padding(use),
        "dilations": (1, use.option(5, default=1), use.option(7, default=1), use.option(6, default=1), 1),
        "data_format": "NDHWC",
    }
    product = _Product(use, 0, 2, use.option(4, "int8"))
    return product.finished(use.add("Conv3D", [product.x(), product.weights(None)], attrs))


def _pool(op: str) -> Converter:
    def convert(use: Use) -> Tensor:
        attrs = {
            "ksize": (1, use.option(4), use.option(3), 1),
            "strides": strides(use, 1),
            "padding": padding(use),
            "data_format": "NHWC",
        }
        use.halves = "away" if op == "AvgPool" else "even"
        return activated(use, use.add(op, [use.x(0)], attrs), use.option(5, "int8"))

    return convert


def _l2_pool(use: Use) -> Tensor:
    """The root of the mean of squares."""
    attrs = {
        "ksize": (1, use.option(4), use.option(3), 1),
        "strides": strides(use, 1),
        "padding": padding(use),
        "data_format": "NHWC",
    }
    mean = use.add("AvgPool", [use.add("Square", [use.x(0)])], attrs)
    return activated(use, use.add("Sqrt", [mean]), use.option(5, "int8"))


def _fully_connected(use: Use) -> Tensor:
    """Weights are (out, in). Without keep_num_dims all axes but the last become one."""
    if use.option(1, "int8"):
        raise Refused("weights in shuffled order; convert the model again")
    weights, given = use.given(1).shape, use.given(0).shape
    if len(weights) != 2:
        raise Refused(f"weights of shape {weights}")
    units, taken = weights
    product = _Product(use, 0, 2, use.option(0, "int8"))
    x = product.x()
    flat = x if len(given) == 2 and given[1] == taken else use.add("Reshape", [x, use.ints((-1, taken))])
    computed = product.constant is None
    inputs = [flat, product.weights(None if computed else Change((1, 0)))]
    y = product.finished(use.add("MatMul", inputs, {"transpose_a": False, "transpose_b": computed}))
    if use.option(2, "bool", False) and len(given) != 2:
        y = use.add("Reshape", [y, _leading(use, x, given, units)])
    return y


def _leading(use: Use, x: Tensor, given: tuple[int, ...], units: int) -> Tensor:
    """The sizes of x but the last, and ``units`` instead."""
    known = x.shape
    if known is not None and len(known) == len(given) and sum(d is None for d in known[:-1]) <= 1:
        return use.ints((*(-1 if d is None else d for d in known[:-1]), units))
    sizes = use.add("Shape", [x], {"out_type": np.dtype(np.int32)})
    sizes = use.add("Slice", [sizes, use.ints((0,)), use.ints((len(given) - 1,))])
    return use.add("ConcatV2", [sizes, use.ints((units,)), use.ints(0)])


def _batch_matmul(use: Use) -> Tensor:
    attrs = {"adj_x": use.option(0, "bool", False), "adj_y": use.option(1, "bool", False)}
    product = _Product(use, 0, 2, 0)
    return product.finished(use.add("BatchMatMulV2", [product.x(), product.weights(None)], attrs))


CONVERTERS: Mapping[str, Converter] = {
    "CONV_2D": _conv2d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv3d,
    "AVERAGE_POOL_2D": _pool("AvgPool"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "L2_POOL_2D": _l2_pool,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
}
