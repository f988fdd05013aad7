"""Convolutions, pooling, normalisation, activations and image ops. Filters (height, width, in, out).

data_format: 'NHWC', or 'NCHW' with the channels second in the tensors, and in lists of four sizes.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

from ...kernels.tensor import STRING
from ..builder import Tensor
from ..errors import GraphError
from ..values import as_dtype
from .building import TensorLike, add_op, constant, convert, convert_all, integers, whole_numbers
from .math import add, multiply, rsqrt, subtract

__all__ = [
    "as_string", "avg_pool", "batch_normalization", "bias_add", "conv2d", "decode_image", "decode_jpeg", "decode_png", "depthwise_conv2d",
    "encode_jpeg", "encode_png", "fused_batch_norm", "local_response_normalization", "log_softmax", "lrn", "max_pool", "relu",
    "relu6", "resize_bilinear", "sigmoid", "softmax", "softplus", "string_join", "tanh",
]  # fmt: skip

Sizes = int | Sequence[int]


def _sizes(what: str, value: Sizes, data_format: str) -> tuple[int, ...]:
    """[1, h, w, 1] from n, [h, w] or [1, h, w, 1]; for NCHW [1, 1, h, w]."""
    try:
        sizes = (operator.index(value),) if isinstance(value, SupportsIndex) else tuple(map(operator.index, value))
    except Exception as error:  # not integers, not a list; an iterator of the caller's may raise anything
        raise GraphError(
            f"{what} must be an integer n, [height, width] or [1, height, width, 1], got {type(value).__name__}: {error}"
        ) from error
    if len(sizes) == 1:
        sizes *= 2
    if len(sizes) == 2:
        sizes = (1, 1, *sizes) if data_format == "NCHW" else (1, *sizes, 1)
    if len(sizes) != 4:
        raise GraphError(f"{what} must be n, [height, width] or [1, height, width, 1], got {value!r}")
    return sizes


def _padding(padding: str | Sequence[Any], data_format: str) -> dict[str, Any]:
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise GraphError(f"padding must be 'SAME', 'VALID' or explicit pairs, got {padding!r}")
        return {"padding": padding.upper()}
    try:
        pairs = [tuple(map(operator.index, p)) for p in padding]
    except Exception as error:
        raise GraphError(
            f"padding must be 'SAME', 'VALID' or pairs of integers, got {type(padding).__name__}: {error}"
        ) from error
    if len(pairs) == 2:
        pairs = [(0, 0), (0, 0), *pairs] if data_format == "NCHW" else [(0, 0), *pairs, (0, 0)]
    if len(pairs) != 4 or any(len(p) != 2 for p in pairs):
        raise GraphError(f"explicit padding must be [[top, bottom], [left, right]] or 4 such pairs, got {padding!r}")
    return {"padding": "EXPLICIT", "explicit_paddings": tuple(v for pair in pairs for v in pair)}


def conv2d(
    input: TensorLike,
    filter: TensorLike,
    strides: Sizes = 1,
    padding: str | Sequence[Any] = "VALID",
    data_format: str = "NHWC",
    dilations: Sizes = 1,
    name: str | None = None,
) -> Tensor:
    """2-D convolution. input (N, H, W, Cin), filter (KH, KW, Cin, Cout); result (N, OH, OW, Cout).

    strides, dilations: n, [h, w] or [1, h, w, 1]. padding: 'SAME', 'VALID' or [[top, bottom], [left, right]].
    """
    x, w = convert_all([input, filter])
    return add_op(
        "Conv2D", [x, w], name, strides=_sizes("strides", strides, data_format), dilations=_sizes("dilations", dilations, data_format),
        data_format=data_format, **_padding(padding, data_format),
    )  # fmt: skip


def depthwise_conv2d(
    input: TensorLike,
    filter: TensorLike,
    strides: Sizes = 1,
    padding: str | Sequence[Any] = "VALID",
    data_format: str = "NHWC",
    dilations: Sizes = 1,
    name: str | None = None,
) -> Tensor:
    """Convolves every channel by itself. filter (KH, KW, C, multiplier); result (N, OH, OW, C * multiplier)."""
    x, w = convert_all([input, filter])
    return add_op(
        "DepthwiseConv2dNative", [x, w], name or "depthwise", strides=_sizes("strides", strides, data_format),
        dilations=_sizes("dilations", dilations, data_format), data_format=data_format, **_padding(padding, data_format),
    )  # fmt: skip


def max_pool(
    value: TensorLike, ksize: Sizes, strides: Sizes, padding: str | Sequence[Any] = "VALID", data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Largest value of every window; padding never wins."""
    return add_op(
        "MaxPool", [convert(value)], name, ksize=_sizes("ksize", ksize, data_format), strides=_sizes("strides", strides, data_format),
        data_format=data_format, **_padding(padding, data_format),
    )  # fmt: skip


def avg_pool(
    value: TensorLike, ksize: Sizes, strides: Sizes, padding: str | Sequence[Any] = "VALID", data_format: str = "NHWC",
    count_include_pad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Mean of every window. ``count_include_pad``: cells of the padding count in the divisor (PyTorch's default)."""
    extra = {"count_include_pad": True} if count_include_pad else {}
    return add_op(
        "AvgPool", [convert(value)], name, ksize=_sizes("ksize", ksize, data_format), strides=_sizes("strides", strides, data_format),
        data_format=data_format, **extra, **_padding(padding, data_format),
    )  # fmt: skip


def bias_add(value: TensorLike, bias: TensorLike, data_format: str = "NHWC", name: str | None = None) -> Tensor:
    """value (..., C) + bias (C,)."""
    x, b = convert_all([value, bias])
    return add_op("BiasAdd", [x, b], name, data_format=data_format)


def batch_normalization(
    x: TensorLike, mean: TensorLike, variance: TensorLike, offset: TensorLike | None, scale: TensorLike | None,
    variance_epsilon: float, name: str | None = None,
) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, composed of elementary ops as in TensorFlow."""
    t = convert(x)
    with t.graph.as_default(), t.graph.name_scope(name or "batchnorm"):
        factor = rsqrt(add(convert(variance, t.dtype), variance_epsilon))
        if scale is not None:
            factor = multiply(factor, scale)
        shift = multiply(convert(mean, t.dtype), factor)
        shift = subtract(0.0 if offset is None else offset, shift)
        return add(multiply(t, factor), shift, name="add_1")


def fused_batch_norm(
    x: TensorLike, scale: TensorLike, offset: TensorLike, mean: TensorLike, variance: TensorLike, epsilon: float = 1e-3,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Batch normalisation with given statistics as one op. x (..., C), the others (C,)."""
    t, s, o, m, v = convert_all([x, scale, offset, mean, variance])
    return add_op("FusedBatchNormV3", [t, s, o, m, v], name, epsilon=epsilon, is_training=False, data_format="NHWC")


def local_response_normalization(
    input: TensorLike,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """input / (bias + alpha * sum) ** beta, the sum being that of the squares of the channels within ``depth_radius``.

    input (N, H, W, C) of floats; depth_radius from 0 to 2**31 - 2. ``lrn`` is the same function. Raises ShapeError or
    DTypeError for others.
    """
    return add_op("LRN", [convert(input)], name, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta)


lrn = local_response_normalization


def relu(features: TensorLike, name: str | None = None) -> Tensor:
    """max(x, 0)"""
    return add_op("Relu", [convert(features)], name)


def relu6(features: TensorLike, name: str | None = None) -> Tensor:
    """min(max(x, 0), 6)"""
    return add_op("Relu6", [convert(features)], name)


def sigmoid(x: TensorLike, name: str | None = None) -> Tensor:
    """1 / (1 + e ** -x)"""
    return add_op("Sigmoid", [convert(x)], name)


def tanh(x: TensorLike, name: str | None = None) -> Tensor:
    """Hyperbolic tangent."""
    return add_op("Tanh", [convert(x)], name)


def softplus(features: TensorLike, name: str | None = None) -> Tensor:
    """log(1 + e ** x)"""
    return add_op("Softplus", [convert(features)], name)


def softmax(logits: TensorLike, axis: int = -1, name: str | None = None) -> Tensor:
    """e ** x / sum(e ** x) along an axis."""
    return add_op("Softmax", [convert(logits)], name, axis=axis)


def log_softmax(logits: TensorLike, axis: int = -1, name: str | None = None) -> Tensor:
    """x - log(sum(e ** x)) along an axis."""
    return add_op("LogSoftmax", [convert(logits)], name, axis=axis)


def resize_bilinear(
    images: TensorLike, size: TensorLike, align_corners: bool = False, half_pixel_centers: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Bilinear resize of (N, H, W, C) to (N, *size, C), float32, in TensorFlow's three conventions."""
    t = convert(images)
    return add_op(
        "ResizeBilinear", [t, integers(size, "size", t)], name, align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
    )  # fmt: skip


def decode_jpeg(
    contents: TensorLike, channels: int = 0, ratio: int = 1, fancy_upscaling: bool = True,
    try_recover_truncated: bool = False, acceptable_fraction: float = 1.0, dct_method: str = "", name: str | None = None,
) -> Tensor:  # fmt: skip
    """Pixels (height, width, channels) uint8 of a JPEG, PNG or still GIF file (a scalar string), as TensorFlow's to the bit.

    ``try_recover_truncated``: what is missing of a truncated JPEG is made up as TensorFlow does; such a file is refused
    otherwise, whatever ``acceptable_fraction`` is.
    """
    return add_op(
        "DecodeJpeg", [convert(contents)], name, channels=channels, ratio=ratio, fancy_upscaling=fancy_upscaling,
        try_recover_truncated=try_recover_truncated, acceptable_fraction=acceptable_fraction, dct_method=dct_method,
    )  # fmt: skip


def decode_png(contents: TensorLike, channels: int = 0, dtype: Any = "uint8", name: str | None = None) -> Tensor:
    """Pixels (height, width, channels) uint8 or uint16 of a PNG, JPEG or still GIF file (a scalar string)."""
    return add_op("DecodePng", [convert(contents)], name, channels=channels, dtype=as_dtype(dtype))


def decode_image(
    contents: TensorLike,
    channels: int = 0,
    dtype: Any = "uint8",
    name: str | None = None,
    expand_animations: bool = True,
) -> Tensor:
    """Pixels of an image file of any supported format (a scalar string): uint8, uint16, or float32 from 0 to 1.

    (height, width, channels); of GIF and WebP (frames, height, width, channels), or with ``expand_animations=False``
    their first frame. So only then is the number of axes known while the graph is built.
    """
    return add_op(
        "DecodeImage", [convert(contents)], name, channels=channels, dtype=as_dtype(dtype),
        expand_animations=expand_animations,
    )  # fmt: skip


def encode_jpeg(image: TensorLike, quality: int = 95, name: str | None = None) -> Tensor:
    """A JPEG file (scalar string) of uint8 pixels (height, width, channels)."""
    return add_op("EncodeJpeg", [convert(image)], name, quality=quality)


def encode_png(image: TensorLike, name: str | None = None) -> Tensor:
    """A PNG file (scalar string) of uint8 pixels (height, width, channels)."""
    return add_op("EncodePng", [convert(image)], name)


def as_string(input: TensorLike, precision: int = -1, name: str | None = None) -> Tensor:
    """Numbers as text. precision: digits after the point of floats; -1: the shortest text that reads back the same."""
    (precision,) = whole_numbers("as_string: precision", precision, 1)
    extra = {"reads_back": True} if precision < 0 else {}
    return add_op("AsString", [convert(input)], name, precision=precision, **extra)


def string_join(inputs: Sequence[TensorLike], separator: str = "", name: str | None = None) -> Tensor:
    """The strings joined elementwise, with broadcasting."""
    if not isinstance(separator, (str, bytes)):
        raise GraphError(f"string_join: the separator must be a str, got {separator!r}")
    between = separator.encode() if isinstance(separator, str) else separator
    return add_op("StringJoin", convert_all(inputs, STRING) or [constant("")], name, separator=between)
