"""Convolutions of one, two and three axes, depthwise, separable and transposed ones. Computed with the channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ops
from ...builder import Tensor
from .activations import activate
from .building import Building

__all__ = ["CONVOLUTIONS"]

Made = Callable[[Building, Tensor], Tensor]


def _channels_last(rank: int, compute: Callable[[Building, Tensor, int], Tensor]) -> Made:
    """``compute`` gets channels last, and of one axis an image of height 1."""

    def make(b: Building, x: Tensor) -> Tensor:
        b.refuse(lora_rank=None, quantization_config=None)
        b.shape(x, rank + 2)
        first = b.channels_first
        x = b.first_last(x) if first else x
        if rank == 1:
            x = ops.expand_dims(x, 1)
        x = compute(b, x, rank)
        if b.flag("use_bias", True):
            x = ops.bias_add(x, b.weight("bias", b.fixed(x, -1)[0]))
        x = activate(b, x, b.config.get("activation"))
        if rank == 1:
            x = ops.squeeze(x, 1)
        return b.last_first(x) if first else x

    return make


def _windows(b: Building, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(kernel size, strides, dilations), with an axis of 1 before a single one."""
    names = (("kernel_size", None), ("strides", 1), ("dilation_rate", 1))
    size, strides, dilations = (b.wholes(name, rank, default) for name, default in names)
    return ((1, *size), (1, *strides), (1, *dilations)) if rank == 1 else (size, strides, dilations)


def _padding(
    b: Building, x: Tensor, size: tuple[int, ...], dilations: tuple[int, ...], rank: int
) -> tuple[Tensor, str]:
    known = ("valid", "same", "causal") if rank == 1 else ("valid", "same")
    padding = b.choice("padding", "valid", *known)
    if padding == "causal":
        before = dilations[1] * (size[1] - 1)
        x = ops.pad(x, [[0, 0], [0, 0], [before, 0], [0, 0]]) if before else x
        padding = "valid"
    return x, padding.upper()


def _conv(b: Building, x: Tensor, rank: int) -> Tensor:
    size, strides, dilations = _windows(b, rank)
    filters, groups = b.whole("filters"), b.whole("groups", 1)
    channels = b.fixed(x, -1)[0]
    if channels % groups or filters % groups:
        raise b.error(f"{groups} groups of {channels} channels and {filters} filters", "a divisor of both")
    x, padding = _padding(b, x, size, dilations, rank)
    shape = (*size[-rank:], channels // groups, filters)
    kernel = b.weight("kernel", *shape, to=(*size, *shape[-2:]))
    if rank < 3:
        return ops.conv2d(x, kernel, strides, padding, dilations=dilations)
    return b.raw(
        "Conv3D",
        x,
        kernel,
        strides=(1, *strides, 1),
        padding=padding,
        dilations=(1, *dilations, 1),
        data_format="NDHWC",
    )


def _depthwise_conv(b: Building, x: Tensor, rank: int, variable: str = "depthwise_kernel") -> Tensor:
    size, strides, dilations = _windows(b, rank)
    channels, multiplier = b.fixed(x, -1)[0], b.whole("depth_multiplier", 1)
    x, padding = _padding(b, x, size, dilations, rank)
    if rank == 1:  # TensorFlow wants equal strides; along an axis of size 1 any will do
        strides = (strides[1], strides[1])
    shape = (*size[-rank:], channels, multiplier)
    kernel = b.weight(variable, *shape, to=(*size, channels, multiplier))
    return ops.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations)


def _separable(b: Building, x: Tensor, rank: int) -> Tensor:
    x = _depthwise_conv(b, x, rank)
    channels, filters = b.fixed(x, -1)[0], b.whole("filters")
    kernel = b.weight("pointwise_kernel", *[1] * rank, channels, filters, to=(1, 1, channels, filters))
    return ops.conv2d(x, kernel)


def _transposed(b: Building, x: Tensor, rank: int) -> Tensor:
    size, strides, dilations = _windows(b, rank)
    filters, channels = b.whole("filters"), b.fixed(x, -1)[0]
    padding = b.choice("padding", "valid", "valid", "same")
    extra = b.config.get("output_padding")
    more = [None] * len(size) if extra is None else list(b.wholes("output_padding", rank, least=0))
    more = [0 if extra is not None else None, *more] if rank == 1 and len(more) == 1 else more
    lengths = [
        _transposed_length(n, k, s, d, padding, e)
        for n, k, s, d, e in zip(b.sizes(x)[1:-1], size, strides, dilations, more, strict=True)
    ]
    batch = b.shape(x)[0]
    sizes = ops.stack([ops.shape(x)[0] if batch is None else batch, *lengths, filters])
    shape = (*size[-rank:], filters, channels)
    kernel = b.weight("kernel", *shape, to=(*size, filters, channels))
    kind, layout = ("Conv3DBackpropInputV2", "NDHWC") if rank == 3 else ("Conv2DBackpropInput", "NHWC")
    y = b.raw(
        kind, sizes, kernel, x, strides=(1, *strides, 1), padding=padding.upper(), dilations=(1, *dilations, 1),
        data_format=layout,
    )  # fmt: skip
    known = (batch, *(n if isinstance(n, int) else None for n in lengths), filters)
    # The sizes are computed where the batch is open: a reshape, which costs nothing, states the others.
    return y if y.shape == known or None in known[1:] else b.reshape(y, list(known))


def _transposed_length(n: Any, size: int, stride: int, dilation: int, padding: str, extra: int | None) -> Any:
    size = (size - 1) * dilation + 1
    if padding == "valid":
        extra = max(size, stride) - size if extra is None else extra
        return (n - 1) * stride + size + extra
    return n * stride if extra is None else (n - 1) * stride + size % 2 + extra


CONVOLUTIONS: dict[str, Made] = {
    **{f"Conv{n}D": _channels_last(n, _conv) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": _channels_last(n, _transposed) for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": _channels_last(n, _depthwise_conv) for n in (1, 2)},
    **{f"SeparableConv{n}D": _channels_last(n, _separable) for n in (1, 2)},
}
CONVOLUTIONS |= {f"Convolution{n}D": CONVOLUTIONS[f"Conv{n}D"] for n in (1, 2)}
