"""tf.layers: functions that make the variables of a layer and apply it, with TensorFlow's names ('dense/kernel')."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import nn
from .array import reshape, shape
from .building import as_int_list, convert, static_value
from .control import cond
from .graph import GraphKeys, Tensor, get_default_graph
from .initializers import Ones, Zeros
from .math import FUNCTIONS, einsum, matmul
from .scopes import get_variable, variable_scope
from .variables import Variable, assign_sub

__all__ = [
    "average_pooling2d", "batch_normalization", "conv1d", "conv2d", "conv2d_transpose", "dense", "dropout", "flatten",
    "max_pooling2d", "separable_conv2d",
]  # fmt: skip


def _pair(value: Any) -> tuple[int, int]:
    sizes = as_int_list(value, "a size")
    if len(sizes) not in (1, 2):
        raise ValueError(f"a size of a window has 1 or 2 entries, got {value}")
    return (sizes[0], sizes[-1])


def _layout(data_format: str) -> str:
    kinds = {"channels_last": "NHWC", "channels_first": "NCHW"}
    if data_format not in kinds:
        raise ValueError(f"data_format must be 'channels_last' or 'channels_first', got {data_format!r}")
    return kinds[data_format]


def _variable(
    name: str, sizes: Any, like: Tensor, initializer: Any, regularizer: Any, trainable: bool, constraint: Any = None
) -> Variable:
    return get_variable(name, sizes, like.dtype, initializer, regularizer, trainable, constraint=constraint)


def _static(x: Tensor, axis: int, layer: str) -> int:
    rank = x.shape.ndims
    size: int | None = None if rank is None else x.shape[axis].value
    if size is None:
        raise ValueError(
            f"The size of axis {axis} of the inputs to `{layer}` should be defined. Found `{x.shape}`; set_shape states it."
        )
    return size


def _activated(x: Tensor, activation: Callable[[Any], Any] | None) -> Any:
    return x if activation is None else activation(x)


def _regularized(activity: Any, x: Any) -> Any:
    if activity is not None:
        get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, activity(x))
    return x


def dense(
    inputs: Any, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None, bias_initializer: Any = Zeros,
    kernel_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
    bias_constraint: Any = None, trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """activation(inputs @ kernel + bias) over the last axis."""
    with variable_scope(name, "dense", reuse=reuse):
        x = convert(inputs)
        fan = _static(x, -1, "dense")
        kernel = _variable(
            "kernel", [fan, units], x, kernel_initializer, kernel_regularizer, trainable, kernel_constraint
        )
        bias = (
            _variable("bias", [units], x, bias_initializer, bias_regularizer, trainable, bias_constraint)
            if use_bias
            else None
        )
        rank = x.shape.ndims or 0
        if rank > 2:
            letters = "abcdefgh"[: rank - 1]
            y = einsum(f"{letters}y,yz->{letters}z", x, kernel, name="Tensordot")
        else:
            y = matmul(x, kernel)
        y = y if bias is None else nn.bias_add(y, bias) if rank <= 2 else FUNCTIONS["add"](y, bias, name="BiasAdd")
        return _regularized(activity_regularizer, _activated(y, activation))


def conv2d(
    inputs: Any, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid", data_format: str = "channels_last",
    dilation_rate: Any = (1, 1), activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None,
    bias_initializer: Any = Zeros, kernel_regularizer: Any = None, bias_regularizer: Any = None, activity_regularizer: Any = None,
    kernel_constraint: Any = None, bias_constraint: Any = None, trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """activation(conv2d(inputs, kernel) + bias)"""
    layout = _layout(data_format)
    with variable_scope(name, "conv2d", reuse=reuse):
        x = convert(inputs)
        channels = _static(x, -1 if layout == "NHWC" else 1, "conv2d")
        sizes = [*_pair(kernel_size), channels, filters]
        kernel = _variable("kernel", sizes, x, kernel_initializer, kernel_regularizer, trainable, kernel_constraint)
        bias = (
            _variable("bias", [filters], x, bias_initializer, bias_regularizer, trainable, bias_constraint)
            if use_bias
            else None
        )
        y = nn.conv2d(x, kernel, _pair(strides), padding, data_format=layout, dilations=_pair(dilation_rate))
        y = y if bias is None else nn.bias_add(y, bias, layout)
        return _regularized(activity_regularizer, _activated(y, activation))


def conv1d(
    inputs: Any, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", activation: Any = None, use_bias: bool = True,
    kernel_initializer: Any = None, bias_initializer: Any = Zeros, trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """activation(conv1d(inputs, kernel) + bias)"""
    with variable_scope(name, "conv1d", reuse=reuse):
        x = convert(inputs)
        sizes = [as_int_list(kernel_size, "kernel_size")[0], _static(x, -1, "conv1d"), filters]
        kernel = _variable("kernel", sizes, x, kernel_initializer, None, trainable)
        bias = _variable("bias", [filters], x, bias_initializer, None, trainable) if use_bias else None
        y = nn.conv1d(x, kernel, as_int_list(strides, "strides")[0], padding)
        return _activated(y if bias is None else FUNCTIONS["add"](y, bias, name="BiasAdd"), activation)


def separable_conv2d(
    inputs: Any, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid", depth_multiplier: int = 1,
    activation: Any = None, use_bias: bool = True, depthwise_initializer: Any = None, pointwise_initializer: Any = None,
    bias_initializer: Any = Zeros, trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """A depthwise convolution, then one of 1 x 1, with a bias."""
    with variable_scope(name, "separable_conv2d", reuse=reuse):
        x = convert(inputs)
        channels = _static(x, -1, "separable_conv2d")
        deep = _variable(
            "depthwise_kernel",
            [*_pair(kernel_size), channels, depth_multiplier],
            x,
            depthwise_initializer,
            None,
            trainable,
        )
        point = _variable(
            "pointwise_kernel", [1, 1, channels * depth_multiplier, filters], x, pointwise_initializer, None, trainable
        )
        bias = _variable("bias", [filters], x, bias_initializer, None, trainable) if use_bias else None
        y = nn.separable_conv2d(x, deep, point, _pair(strides), padding)
        return _activated(y if bias is None else nn.bias_add(y, bias), activation)


def conv2d_transpose(
    inputs: Any, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid", data_format: str = "channels_last",
    activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None, bias_initializer: Any = Zeros,
    kernel_regularizer: Any = None, bias_regularizer: Any = None, trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """activation(conv2d_transpose(inputs, kernel) + bias)"""
    if _layout(data_format) != "NHWC":
        raise ValueError("conv2d_transpose: channels_first is not supported; transpose the inputs")
    with variable_scope(name, "conv2d_transpose", reuse=reuse):
        x = convert(inputs)
        (high, wide), steps = _pair(kernel_size), _pair(strides)
        sizes = [high, wide, filters, _static(x, -1, "conv2d_transpose")]
        kernel = _variable("kernel", sizes, x, kernel_initializer, kernel_regularizer, trainable)
        bias = _variable("bias", [filters], x, bias_initializer, bias_regularizer, trainable) if use_bias else None
        known = x.shape.as_list()
        axes = [n if n is not None else shape(x)[i] for i, n in enumerate(known[:3])]
        more = (0, 0) if padding.lower() == "same" else (max(high - steps[0], 0), max(wide - steps[1], 0))
        out = [axes[0], axes[1] * steps[0] + more[0], axes[2] * steps[1] + more[1], filters]
        y = nn.conv2d_transpose(x, kernel, out, steps, padding.upper())
        return _activated(y if bias is None else nn.bias_add(y, bias), activation)


def _pooling(function: Callable[..., Any], default: str) -> Callable[..., Any]:
    def pool(
        inputs: Any, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last", name: str | None = None,
    ) -> Any:  # fmt: skip
        layout = _layout(data_format)
        with get_default_graph().name_scope(name or default):
            return function(convert(inputs), _pair(pool_size), _pair(strides), padding, layout)

    pool.__doc__ = f"{default}: windows of pool_size (height, width)."
    return pool


max_pooling2d, average_pooling2d = _pooling(nn.max_pool, "max_pooling2d"), _pooling(nn.avg_pool, "average_pooling2d")


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Tensor:
    """(batch, everything else)"""
    with get_default_graph().name_scope(name or "flatten"):
        x = convert(inputs)
        rest = x.shape[1:].num_elements()
        if rest is None:
            raise ValueError(f"flatten: all sizes but the batch's must be known, got {x.shape}")
        return reshape(x, [-1, rest])


def _chosen(training: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """By a bool, or by a tensor's value in a run."""
    known = static_value(training)
    if known is not None:
        return yes() if bool(known) else no()
    return cond(training, yes, no)


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: int | None = None,
    training: Any = False,
    name: str | None = None,
) -> Any:
    """Sets elements to 0 with probability ``rate`` where ``training`` is true; else an identity."""
    from .array import identity

    with get_default_graph().name_scope(name or "dropout"):
        x = convert(inputs)
        return _chosen(
            training, lambda: nn.dropout(x, rate=rate, noise_shape=noise_shape, seed=seed), lambda: identity(x)
        )


def batch_normalization(
    inputs: Any, axis: int = -1, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
    beta_initializer: Any = Zeros, gamma_initializer: Any = Ones, moving_mean_initializer: Any = Zeros,
    moving_variance_initializer: Any = Ones, beta_regularizer: Any = None, gamma_regularizer: Any = None, training: Any = False,
    trainable: bool = True, name: str | None = None, reuse: Any = None, fused: bool | None = None, **other: Any,
) -> Tensor:  # fmt: skip
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel.

    training: whether mean and variance are the batch's; then operations that move the moving averages towards them are in
    the collection UPDATE_OPS, to be run by the training step. Images' moving variance is that of TensorFlow's fused kernel
    (n / (n - 1) of the batch's).
    """
    if other:
        raise ValueError(f"batch_normalization: {', '.join(other)} not supported by kigraph.compat.v1")
    with variable_scope(name, "batch_normalization", reuse=reuse):
        x = convert(inputs)
        rank = x.shape.ndims
        if rank is None:
            raise ValueError(f"Inputs has undefined rank: {x.shape}")
        last = axis % rank == rank - 1
        if not last:
            raise ValueError("batch_normalization: along the last axis only; transpose the inputs")
        n = [_static(x, -1, "batch_normalization")]
        gamma = _variable("gamma", n, x, gamma_initializer, gamma_regularizer, trainable) if scale else None
        beta = _variable("beta", n, x, beta_initializer, beta_regularizer, trainable) if center else None
        mean = _variable("moving_mean", n, x, moving_mean_initializer, None, False)
        variance = _variable("moving_variance", n, x, moving_variance_initializer, None, False)
        is_fused = rank == 4 and fused is not False

        def batch() -> tuple[Any, Any, Any]:
            m, v = nn.moments(x, list(range(rank - 1)))
            y = nn.batch_normalization(x, m, v, beta, gamma, epsilon)
            return y, m, _unbiased(x, v) if is_fused else v

        def kept() -> tuple[Any, Any, Any]:
            y = nn.batch_normalization(x, convert(mean), convert(variance), beta, gamma, epsilon)
            return y, convert(mean), convert(variance)

        y, m, v = _chosen(training, batch, kept)
        known = static_value(training)
        if known is None or bool(known):
            rest = np.array(1.0 - momentum, x.core.dtype)
            for moving, new in ((mean, m), (variance, v)):
                step = FUNCTIONS["multiply"](FUNCTIONS["subtract"](moving, new), rest)
                get_default_graph().add_to_collection(
                    GraphKeys.UPDATE_OPS, assign_sub(moving, step, name="AssignMovingAvg").op
                )
        return y  # type: ignore[no-any-return]


def _unbiased(x: Tensor, variance: Tensor) -> Tensor:
    from .math import cast

    count = cast(FUNCTIONS["multiply"](FUNCTIONS["multiply"](shape(x)[0], shape(x)[1]), shape(x)[2]), x.dtype)
    one = np.array(1, x.core.dtype)
    return FUNCTIONS["multiply"](
        variance, FUNCTIONS["realdiv"](count, FUNCTIONS["maximum"](FUNCTIONS["subtract"](count, one), one))
    )
