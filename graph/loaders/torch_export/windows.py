"""ATen's transposed convolutions, and windows over one and three axes. Values have the channels first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from .call import Call, Converter

__all__ = ["CONVERTERS"]

_NHWC, _NCHW = [0, 2, 3, 1], [0, 3, 1, 2]
_NDHWC, _NCDHW = [0, 2, 3, 4, 1], [0, 4, 1, 2, 3]
_MOST_GROUPS = 4096


def _made(type: str, inputs: list[Tensor], **attrs: Any) -> Tensor:
    return inputs[0].graph.create_op(type, inputs, attrs).outputs[0]


def _numbers(c: Call, name: str, count: int, default: int) -> tuple[int, ...]:
    """``count`` numbers; one stands for all, none for the default."""
    found = c.integers(name, (default,)) or (default,)
    if len(found) not in (1, count):
        raise c.wrong(f"argument {name}: {len(found)} numbers, expected {count}")
    return found if len(found) == count else found * count


def _conv_transpose(c: Call) -> Tensor:
    """Weights are (in, out / groups, ...); TensorFlow's op is the gradient of the convolution that they would make."""
    x, w = c.tensor("input"), c.tensor("weight")
    plane = c.rank(w) == 4
    if c.rank(w) not in (3, 4) or c.rank(x) != c.rank(w):
        raise c.unsupported(f"a transposed convolution over {c.rank(w) - 2} axes")
    count = 2 if plane else 1
    stride, pads = _numbers(c, "stride", count, 1), _numbers(c, "padding", count, 0)
    more, dilation = _numbers(c, "output_padding", count, 0), _numbers(c, "dilation", count, 1)
    if not plane:
        x, w = ops.expand_dims(x, 2), ops.expand_dims(w, 2)
        stride, pads, more, dilation = (1, *stride), (0, *pads), (0, *more), (1, *dilation)
    groups, sizes = c.integer("groups", 1), c.dims(w)
    channels, outs, *kernel = (s or 0 for s in sizes)
    _check_transposed(c, c.dims(x)[1], channels, groups, more, stride)
    grown = [
        d * (k - 1) + 1 - 2 * p + m - s for k, s, p, m, d in zip(kernel, stride, pads, more, dilation, strict=True)
    ]
    y = ops.transpose(x, _NHWC)
    shape = ops.shape(y)
    spatial = [shape[1 + i] * stride[i] + grown[i] for i in range(2)]
    into = ops.stack([shape[0], *spatial, ops.constant(np.int32(outs))])
    padding = (0, 0, *(n for p, m in zip(pads, more, strict=True) for n in (p, p - m)), 0, 0)
    if min(padding) < 0:
        raise c.unsupported(f"output_padding {list(more)} beyond padding {list(pads)}")
    attrs = {
        "strides": (1, *stride, 1),
        "dilations": (1, *dilation, 1),
        "padding": "EXPLICIT",
        "explicit_paddings": padding,
    }
    filters = ops.transpose(w, [2, 3, 1, 0])
    parts = [
        _made("Conv2DBackpropInput", [into, f, i], **attrs)
        for i, f in zip(_groups(y, groups), _groups(filters, groups), strict=True)
    ]
    y = parts[0] if groups == 1 else ops.concat(parts, 3)
    if c.has("bias"):
        y = _made("BiasAdd", [y, c.tensor("bias")])
    y = ops.transpose(y, _NCHW)
    return y if plane else ops.squeeze(y, [2])


def _check_transposed(
    c: Call, given: int | None, channels: int, groups: int, more: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    if not 1 <= groups <= _MOST_GROUPS or channels % groups or given not in (None, channels):
        raise c.wrong(f"{given} channels in {groups} groups, and weights for {channels}")
    if any(m >= s or m < 0 for m, s in zip(more, stride, strict=True)):
        raise c.unsupported(f"output_padding {list(more)} for strides of {list(stride)}")


def _groups(x: Tensor, count: int) -> list[Tensor]:
    return [x] if count == 1 else list(ops.split(x, count, 3))


def _conv3d(c: Call) -> Tensor:
    x, w = c.tensor("input"), c.tensor("weight")
    if c.rank(x) != 5 or c.rank(w) != 5 or c.integer("groups", 1) != 1 or isinstance(c.raw("padding"), str):
        raise c.unsupported("a convolution over three axes with groups, or padding by name")
    pads = _numbers(c, "padding", 3, 0)
    y = ops.transpose(x, _NDHWC)
    if any(pads):
        y = ops.pad(y, [[0, 0], *([p, p] for p in pads), [0, 0]])
    strides, dilations = (1, *_numbers(c, "stride", 3, 1), 1), (1, *_numbers(c, "dilation", 3, 1), 1)
    y = _made("Conv3D", [y, ops.transpose(w, [2, 3, 4, 1, 0])], strides=strides, dilations=dilations, padding="VALID")
    return ops.transpose(ops.add(y, c.tensor("bias")) if c.has("bias") else y, _NCDHW)


def _pool_args(c: Call, count: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Window, strides, paddings."""
    kernel = _numbers(c, "kernel_size", count, 1)
    stride = _numbers(c, "stride", count, 1) if c.raw("stride") else kernel
    pads = _numbers(c, "padding", count, 0)
    if c.flag("ceil_mode") or c.has("divisor_override") or set(_numbers(c, "dilation", count, 1)) != {1}:
        raise c.unsupported("a pool over one or three axes with ceil_mode, dilation or a divisor")
    if any(2 * p > k for p, k in zip(pads, kernel, strict=True)):
        raise c.wrong(f"padding {list(pads)} is more than half of the window {list(kernel)}")
    return kernel, stride, pads


def _pool1d(type: str) -> Converter:
    def convert(c: Call) -> Tensor:
        x = c.tensor("self")
        if c.rank(x) != 3:
            raise c.unsupported(f"a pool of {c.rank(x)} axes")
        (k,), (s,), (p,) = _pool_args(c, 1)
        attrs: dict[str, Any] = {
            "ksize": (1, 1, 1, k),
            "strides": (1, 1, 1, s),
            "data_format": "NCHW",
            "padding": "VALID",
        }
        if p:
            attrs |= {"padding": "EXPLICIT", "explicit_paddings": (0, 0, 0, 0, 0, 0, p, p)}
            if type == "AvgPool" and c.flag("count_include_pad", True):
                attrs |= {"count_include_pad": True}
        return ops.squeeze(_made(type, [ops.expand_dims(x, 2)], **attrs), [2])

    return convert


def _pool3d(type: str) -> Converter:
    def convert(c: Call) -> Tensor:
        x = c.tensor("self")
        kernel, stride, pads = _pool_args(c, 3)
        if c.rank(x) != 5 or any(pads):
            raise c.unsupported("a pool over three axes with padding")
        y = _made(type, [ops.transpose(x, _NDHWC)], ksize=(1, *kernel, 1), strides=(1, *stride, 1), padding="VALID")
        return ops.transpose(y, _NCDHW)

    return convert


def _adaptive_avg_pool3d(c: Call) -> Tensor:
    x = c.tensor("self")
    if c.rank(x) != 5 or set(_numbers(c, "output_size", 3, 1)) != {1}:
        raise c.unsupported("an adaptive pool over three axes to more than one value")
    return ops.reduce_mean(x, [2, 3, 4], keepdims=True)


def _instance_norm(c: Call) -> Tensor:
    x = c.tensor("input")
    rank = c.rank(x)
    if rank < 3:
        raise c.unsupported("an instance norm of a matrix")
    axes = list(range(2, rank))
    column = [-1, *(1,) * len(axes)]
    if c.flag("use_input_stats", True):
        centred = ops.subtract(x, ops.reduce_mean(x, axes, keepdims=True))
        variance = ops.reduce_mean(ops.square(centred), axes, keepdims=True)
    else:
        centred = ops.subtract(x, ops.reshape(c.tensor("running_mean"), column))
        variance = ops.reshape(c.tensor("running_var"), column)
    y = ops.multiply(centred, ops.rsqrt(ops.add(variance, c.number("eps", 1e-5))))
    if c.has("weight"):
        y = ops.multiply(y, ops.reshape(c.tensor("weight"), column))
    return ops.add(y, ops.reshape(c.tensor("bias"), column)) if c.has("bias") else y


def _einsum(c: Call) -> Tensor:
    return ops.einsum(c.text("equation", ""), *c.tensors("tensors"))


CONVERTERS: dict[str, Converter] = {
    "instance_norm": _instance_norm,
    "einsum": _einsum,
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _conv_transpose),
    "conv3d": _conv3d,
    "max_pool1d": _pool1d("MaxPool"),
    "avg_pool1d": _pool1d("AvgPool"),
    "max_pool3d": _pool3d("MaxPool3D"),
    "avg_pool3d": _pool3d("AvgPool3D"),
    "adaptive_avg_pool3d": _adaptive_avg_pool3d,
}
