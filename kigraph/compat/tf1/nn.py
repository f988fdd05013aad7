"""tf.nn: convolutions, pools, activations, losses of logits, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import reshape, shape, squeeze, stop_gradient, zeros_like
from .building import apply, convert, graph_of, is_tensor, one, static_value
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS, cast, reduce_max, reduce_mean, reduce_sum
from .parts import concat, gather

__all__ = [
    "atrous_conv2d", "avg_pool", "batch_norm_with_global_normalization", "batch_normalization", "bias_add", "conv1d", "conv2d",
    "conv2d_transpose", "crelu", "depthwise_conv2d", "dropout", "embedding_lookup", "fused_batch_norm", "in_top_k", "l2_normalize",
    "leaky_relu", "local_response_normalization", "log_softmax", "max_pool", "moments", "relu_layer",
    "separable_conv2d", "softmax",     "sufficient_statistics", "swish",
    "xw_plus_b", "zero_fraction",
]  # fmt: skip


def _four(value: Any, data_format: str) -> tuple[int, ...]:
    """Steps or sizes for four axes: given for four, for two (height and width) or as one number."""
    sizes = [int(v) for v in np.reshape(value, -1)]
    if len(sizes) == 1:
        sizes *= 2
    if len(sizes) == 2:
        sizes = [1, 1, *sizes] if data_format == "NCHW" else [1, *sizes, 1]
    if len(sizes) != 4:
        raise ValueError(f"strides and sizes of windows have 1, 2 or 4 entries, got {value}")
    return tuple(sizes)


def _window(
    type: str, name: str | None, values: dict[str, Any], padding: Any, data_format: str | None, **attrs: Any
) -> Tensor:
    """An op of windows; padding given by axis is explicit."""
    layout = data_format or "NHWC"
    listed = isinstance(padding, (list, tuple))
    more: dict[str, Any] = {"padding": "EXPLICIT" if listed else padding.upper(), "data_format": layout}
    if listed:
        more["explicit_paddings"] = tuple(int(p) for pair in padding for p in pair)
    for key, value in attrs.items():
        more[key] = _four(value, layout)
    alike = tuple(values) if type != "Conv2DBackpropInput" else ()
    return one(apply(type, name, values, more, alike=alike))


def conv2d(
    input: Any, filter: Any = None, strides: Any = None, padding: Any = None, use_cudnn_on_gpu: bool = True, data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1), name: str | None = None, filters: Any = None,
) -> Tensor:  # fmt: skip
    """2-D convolution; filter (height, width, inputs, outputs)."""
    values = {"input": input, "filter": filter if filters is None else filters}
    return _window("Conv2D", name, values, padding, data_format, strides=strides, dilations=dilations)


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: str, name: str | None = None) -> Tensor:
    """2-D convolution with ``rate - 1`` zeros between the weights."""
    return conv2d(value, filters, 1, padding, dilations=rate, name=name)


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, rate: Any = None, name: str | None = None, data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:  # fmt: skip
    """A convolution of each channel by itself; filter (height, width, channels, multiplier)."""
    rates = rate or dilations or 1
    values = {"input": input, "filter": filter}
    return _window(
        "DepthwiseConv2dNative", name or "depthwise", values, padding, data_format, strides=strides, dilations=rates
    )


def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any, rate: Any = None, name: str | None = None,
    data_format: str | None = None,
) -> Tensor:  # fmt: skip
    """A depthwise convolution, then one of 1 x 1."""
    with get_default_graph().name_scope(name or "separable_conv2d") as scope:
        middle = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, data_format=data_format)
        return conv2d(middle, pointwise_filter, 1, "VALID", data_format=data_format or "NHWC", name=scope)


def conv1d(
    value: Any, filters: Any, stride: int, padding: str, use_cudnn_on_gpu: bool = True, data_format: str = "NWC", name: str | None = None,
) -> Tensor:  # fmt: skip
    """Convolution along one axis; value (batch, width, channels), filters (width, inputs, outputs)."""
    if data_format not in ("NWC", "NHWC", None):
        raise ValueError(f"conv1d: data_format {data_format!r} is not supported; transpose to NWC")
    from .array import expand_dims

    with get_default_graph().name_scope(name or "conv1d"):
        made = conv2d(expand_dims(value, 1), expand_dims(filters, 0), [1, 1, stride, 1], padding)
        return squeeze(made, [1])


def conv2d_transpose(
    value: Any, filter: Any = None, output_shape: Any = None, strides: Any = None, padding: str = "SAME", data_format: str = "NHWC",
    name: str | None = None, input: Any = None, filters: Any = None, dilations: Any = None,
) -> Tensor:  # fmt: skip
    """The gradient of a 2-D convolution; filter (height, width, outputs, inputs)."""
    with get_default_graph().name_scope(name or "conv2d_transpose") as scope:
        filter = convert(filter if filters is None else filters, name="filter")
        value = convert(value if input is None else input, name="value")
        sizes = convert(output_shape, None if is_tensor(output_shape) else "int32", name="output_shape")
        values = {"input_sizes": sizes, "filter": filter, "out_backprop": value}
        return _window(
            "Conv2DBackpropInput", scope, values, padding, data_format, strides=strides, dilations=dilations or 1
        )


def _pool(type: str) -> Any:
    def function(
        value: Any = None, ksize: Any = None, strides: Any = None, padding: Any = None, data_format: str = "NHWC",
        name: str | None = None, input: Any = None,
    ) -> Tensor:  # fmt: skip
        key = "input" if type == "MaxPool" else "value"
        values = {key: value if input is None else input}
        return _window(type, name, values, padding, data_format, ksize=ksize, strides=strides)

    function.__doc__ = f"{type} over windows of ``ksize``."
    return function


max_pool, avg_pool = _pool("MaxPool"), _pool("AvgPool")


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """A vector added to every channel."""
    attrs = {"data_format": data_format or "NHWC"}
    return one(apply("BiasAdd", name, {"value": value, "bias": bias}, attrs, alike=("value", "bias")))


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    return one(apply("LeakyRelu", name, {"features": features}, {"alpha": float(alpha)}))


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """relu of the values and of the negated ones, joined."""
    with get_default_graph().name_scope(name or "CRelu") as scope:
        features = convert(features)
        joined = concat([features, FUNCTIONS["negative"](features)], axis)
        return FUNCTIONS["relu"](joined, name=scope)


def swish(features: Any, name: str | None = None) -> Tensor:
    """x * sigmoid(x)"""
    features = convert(features)
    return FUNCTIONS["multiply"](features, FUNCTIONS["sigmoid"](features), name=name)


def _last_axis(type: str) -> Any:
    def function(logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None) -> Tensor:
        axis = dim if axis is None else axis
        logits = convert(logits, name="logits")
        rank = logits.shape.ndims
        if axis in (None, -1) or (rank is not None and axis == rank - 1):
            return one(apply(type, name, {"logits": logits}))
        if rank is None:
            raise ValueError(f"{type}: along axis {axis} the rank must be known while the graph is built")
        from .array import transpose

        order = list(range(rank))
        order[axis], order[-1] = order[-1], order[axis]
        return transpose(one(apply(type, name, {"logits": transpose(logits, order)})), order)

    function.__doc__ = f"{type} along an axis (default: the last)."
    return function


softmax, log_softmax = _last_axis("Softmax"), _last_axis("LogSoftmax")


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x @ weights + biases)"""
    with get_default_graph().name_scope(name or "relu_layer") as scope:
        return FUNCTIONS["relu"](xw_plus_b(x, weights, biases), name=scope)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x @ weights + biases"""
    from .math import matmul

    with get_default_graph().name_scope(name or "xw_plus_b") as scope:
        return bias_add(matmul(x, weights), biases, name=scope)


def dropout(
    x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None, rate: Any = None,
) -> Tensor:  # fmt: skip
    """Sets elements to 0 with probability ``rate`` (or 1 - keep_prob) and scales the others such that the mean stays."""
    if (keep_prob is None) == (rate is None):
        raise ValueError("dropout takes one of keep_prob and rate (the probability of 0), got both or none")
    from .random import random_uniform

    if rate is None:
        rate = 1 - keep_prob
    f = FUNCTIONS
    graph = graph_of(x)
    with graph.as_default(), graph.name_scope(name or "dropout"):
        x = convert(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError(f"x has to be a floating point tensor, got {x.dtype.name}")
        x = convert(x)
        if not is_tensor(rate):
            if not 0 <= rate < 1:
                raise ValueError(
                    f"`rate` must be a scalar tensor or a float in the range [0, 1). Received: rate={rate}"
                )
            if rate == 0:
                unchanged: Tensor = x
                return unchanged
        rate = convert(rate, x.dtype, name="rate")
        if rate.shape.ndims is None:  # one probability for all, so that the shape of the result is that of x
            rate = one(apply("EnsureShape", None, {"input": rate}, {"shape": ()}))
        known = static_value(rate)
        keep = f["subtract"](1.0, rate) if known is None else convert(1 - known, x.dtype)
        scaled = f["multiply"](x, _inverse(keep))
        sizes = shape(x) if noise_shape is None else convert(noise_shape, "int32")
        drawn = random_uniform(sizes, seed=seed, dtype=x.dtype)
        kept = f["greater_equal"](drawn, rate)
        return where_like(kept, scaled)


def _inverse(x: Tensor) -> Tensor:
    return FUNCTIONS["realdiv"](np.array(1, x.core.dtype), x)


def where_like(kept: Tensor, x: Tensor, name: str | None = None) -> Tensor:
    """x, and 0 where it is not kept."""
    return one(apply("SelectV2", name, {"c": kept, "t": x, "e": zeros_like(x)}))


# --- normalisation --------------------------------------------------------------------------------------------------------------


def moments(
    x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: Any = None, keepdims: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mean and variance over axes."""
    keep = bool(keep_dims if keepdims is None else keepdims)
    with get_default_graph().name_scope(name or "moments"):
        x = convert(x)
        mean = reduce_mean(x, axes, True, name="mean")
        variance = reduce_mean(FUNCTIONS["squared_difference"](x, stop_gradient(mean)), axes, True, name="variance")
        if keep:
            return mean, variance
        return squeeze(mean, axes), squeeze(variance, axes)


def sufficient_statistics(*args: Any, **kwargs: Any) -> Any:
    """Refused: moments computes what it is for."""
    raise NotImplementedError("tf.nn.sufficient_statistics is not in kigraph.compat.v1; use tf.nn.moments")


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None,
) -> Tensor:  # fmt: skip
    """scale * (x - mean) / sqrt(variance + epsilon) + offset; offset and scale may be None."""
    f = FUNCTIONS
    graph = graph_of(x)
    with graph.as_default(), graph.name_scope(name or "batchnorm"):
        inverse = f["rsqrt"](f["add"](convert(variance), variance_epsilon, name="add"))
        if scale is not None:
            inverse = f["multiply"](inverse, scale, name="mul")
        rest = f["multiply"](mean, inverse, name="mul")
        shift = f["negative"](rest) if offset is None else f["subtract"](offset, rest, name="sub")
        return f["add"](f["multiply"](x, inverse, name="mul"), shift, name="add_1")


def batch_norm_with_global_normalization(
    t: Any, m: Any, v: Any, beta: Any, gamma: Any, variance_epsilon: Any, scale_after_normalization: bool, name: str | None = None,
) -> Tensor:  # fmt: skip
    """As batch_normalization, with the scale after the normalisation or not at all."""
    return batch_normalization(t, m, v, beta, gamma if scale_after_normalization else None, variance_epsilon, name)


def fused_batch_norm(
    x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None, epsilon: float = 0.001, data_format: str = "NHWC",
    is_training: bool = True, name: str | None = None, exponential_avg_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(normalised, mean, variance) of images; statistics of the batch where ``is_training``."""
    attrs = {"epsilon": max(float(epsilon), 1.001e-5), "data_format": data_format, "is_training": is_training}
    empty = np.zeros(0, np.float32)
    values = {
        "x": x, "scale": scale, "offset": offset, "mean": empty if mean is None else mean,
        "variance": empty if variance is None else variance,
    }  # fmt: skip
    y, batch_mean, batch_variance = apply("FusedBatchNormV3", name, values, attrs, default="FusedBatchNormV3").outputs[
        :3
    ]
    return y, batch_mean, batch_variance


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)) along axes."""
    f = FUNCTIONS
    with get_default_graph().name_scope(name or "l2_normalize") as scope:
        x = convert(x, name="x")
        total = reduce_sum(f["square"](x), dim if axis is None else axis, True)
        return f["multiply"](x, f["rsqrt"](f["maximum"](total, epsilon)), name=scope)


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Each value divided by a power of the squares of its neighbours' in depth."""
    attrs = {"depth_radius": depth_radius, "bias": float(bias), "alpha": float(alpha), "beta": float(beta)}
    return one(apply("LRN", name, {"input": input}, attrs))


# --- choosing ---------------------------------------------------------------------------------------------------------------------


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether each target's prediction is among the k largest; equal ones count as inside, rows with no finite target do not."""
    f = FUNCTIONS
    with get_default_graph().name_scope(name or "in_top_k"):
        predictions, targets = convert(predictions), convert(targets)
        rows = cast(_numbers(shape(targets)[0]), targets.dtype)
        index = one(apply("Pack", None, {"a": rows, "b": targets}, {"axis": 1}))
        own = one(apply("GatherNd", None, {"params": predictions, "indices": index}))
        larger = f["greater"](predictions, reshape(own, [-1, 1]))
        count = reduce_sum(cast(larger, "int32"), 1)
        finite = f["logical_and"](f["is_finite"](own), reduce_max(cast(f["is_finite"](predictions), "int32"), 1) > 0)
        return f["logical_and"](f["less"](count, k), finite, name="InTopKV2")


def _numbers(count: Any) -> Tensor:
    from .math import range as numbers

    return numbers(count)


def embedding_lookup(
    params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None, validate_indices: bool = True, max_norm: Any = None,
) -> Tensor:  # fmt: skip
    """Rows of a table by number."""
    if isinstance(params, (list, tuple)):
        if len(params) != 1:
            raise ValueError("embedding_lookup: a table in several parts is not supported; join them with tf.concat")
        params = params[0]
    with get_default_graph().name_scope(name or "embedding_lookup"):
        found = gather(params, convert(ids))
        if max_norm is None:
            return found
        from .norms import clip_by_norm

        return clip_by_norm(found, max_norm, axes=list(range(convert(ids).shape.ndims or 0, found.shape.ndims or 0)))


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of zeros."""
    with get_default_graph().name_scope(name or "zero_fraction"):
        value = convert(value)
        return reduce_mean(cast(FUNCTIONS["equal"](value, np.zeros((), value.core.dtype)), "float32"))
