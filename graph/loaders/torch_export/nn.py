"""ATen's convolutions, pools, norms, activations and attention. Values are NCHW, weights OIHW."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...ops import composed
from .call import Call, Converter

__all__ = ["CONVERTERS"]

_HALF = 0.5
#: Windows of an adaptive pool along an axis: each is a few nodes.
_MOST_WINDOWS = 256


def _made(type: str, inputs: list[Tensor], attrs: Mapping[str, Any], name: str | None = None) -> Tensor:
    return inputs[0].graph.create_op(type, inputs, attrs, name).outputs[0]


def _add_channels(x: Tensor, bias: Tensor) -> Tensor:
    return _made("BiasAdd", [x, bias], {"data_format": "NCHW"})


# --- windows ----------------------------------------------------------------------------------------------------------


def _conv2d(c: Call) -> Tensor:
    x, w = c.tensor("input"), c.tensor("weight")
    if c.flag("transposed"):
        raise c.unsupported("a transposed convolution")
    rank = c.rank(w)
    if rank == 3:
        x, w = ops.expand_dims(x, 2), ops.expand_dims(w, 2)
    elif rank != 4:
        raise c.unsupported(f"a convolution over {rank - 2} axes")
    strides, dilations = _window(c, "stride", rank), _window(c, "dilation", rank)
    attrs = {"strides": (1, 1, *strides), "dilations": (1, 1, *dilations), "data_format": "NCHW"}
    attrs |= _padding(c, rank)
    _check_groups(c, x, w)
    y = _made("Conv2D", [x, ops.transpose(w, [2, 3, 1, 0])], attrs)
    if c.has("bias"):
        y = _add_channels(y, c.tensor("bias"))
    return ops.squeeze(y, [2]) if rank == 3 else y


def _window(c: Call, name: str, rank: int) -> tuple[int, int]:
    if rank == 4:
        return c.pair(name, 1)
    (size,) = c.integers(name, (1,))
    return (1, size)


def _padding(c: Call, rank: int) -> dict[str, Any]:
    found = c.raw("padding", 0)
    if isinstance(found, str):
        if found not in ("same", "valid"):
            raise c.unsupported(f"padding {found!r}")
        # PyTorch's 'same' has stride 1, where TensorFlow's SAME pads alike: the odd one at the end.
        return {"padding": found.upper()}
    height, width = c.pair("padding", 0) if rank == 4 else (0, *c.integers("padding", (0,)))
    if not height and not width:
        return {"padding": "VALID"}
    return {"padding": "EXPLICIT", "explicit_paddings": (0, 0, 0, 0, height, height, width, width)}


def _check_groups(c: Call, x: Tensor, w: Tensor) -> None:
    channels, taken = c.dims(x)[1], c.dims(w)[1]
    if channels is not None and taken is not None and channels != taken * c.integer("groups", 1):
        raise c.wrong(f"{channels} channels, but the weights take {taken} in {c.integer('groups', 1)} groups")


def _pads_of_pool(c: Call, x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right; with ceil_mode the last window may begin before the end of the padded image."""
    pads = []
    for axis, (k, s, p) in enumerate(zip(kernel, stride, c.pair("padding", 0), strict=True)):
        if 2 * p > k:
            raise c.wrong(f"padding {p} is more than half of the window {k}")
        more = 0
        if c.flag("ceil_mode"):
            size = c.dims(x)[2 + axis]
            if size is None:
                raise c.unsupported("ceil_mode with an unknown size")
            rest = (size + 2 * p - k) % s
            starts = size + 2 * p - k - rest + s  # of the window that ceil adds
            more = s - rest if rest and starts < size + p else 0
        pads += [p, p + more]
    return (pads[0], pads[1], pads[2], pads[3])


def _pool(type: str) -> Converter:
    def convert(c: Call) -> Any:
        x = c.tensor("self")
        if c.rank(x) != 4:
            raise c.unsupported(f"a pool over {c.rank(x)} axes")
        kernel = c.pair("kernel_size", 1)
        stride = c.pair("stride", 0) if c.raw("stride") else kernel
        pads = _pads_of_pool(c, x, kernel, stride)
        attrs: dict[str, Any] = {"ksize": (1, 1, *kernel), "strides": (1, 1, *stride), "data_format": "NCHW"}
        uneven = pads[0] != pads[1] or pads[2] != pads[3]
        if type == "AvgPool" and (c.has("divisor_override") or (uneven and c.flag("count_include_pad", True))):
            return _divided_pool(c, x, kernel, stride, pads)
        attrs |= (
            {"padding": "EXPLICIT", "explicit_paddings": (0, 0, 0, 0, *pads)} if any(pads) else {"padding": "VALID"}
        )
        if type == "AvgPool":
            counted = c.flag("count_include_pad", True) and any(pads)
            attrs |= {"count_include_pad": True} if counted else {}
        elif c.pair("dilation", 1) != (1, 1):
            raise c.unsupported("a dilated max pool")
        y = _made(type, [x], attrs)
        return (y, None) if c.target.endswith("with_indices") else y

    return convert


def _divided_pool(
    c: Call, x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, int, int, int]
) -> Tensor:
    """Sums of windows over a stated number, or over the pixels and the padding in each but not what ceil_mode adds."""
    padded = ops.pad(x, [[0, 0], [0, 0], list(pads[:2]), list(pads[2:])]) if any(pads) else x
    attrs = {"ksize": (1, 1, *kernel), "strides": (1, 1, *stride), "data_format": "NCHW", "padding": "VALID"}
    total = ops.multiply(_made("AvgPool", [padded], attrs), np.asarray(kernel[0] * kernel[1], x.dtype))
    if c.has("divisor_override"):
        return ops.divide(total, np.asarray(c.number("divisor_override"), x.dtype))
    counts = []
    for axis, (k, step) in enumerate(zip(kernel, stride, strict=True)):
        size = c.dims(x)[2 + axis]
        if size is None:
            raise c.unsupported("ceil_mode with an unknown size")
        begins = np.arange(0, size + pads[2 * axis] + pads[2 * axis + 1] - k + 1, step)
        counts.append(np.minimum(begins + k, size + 2 * pads[2 * axis]) - begins)
    return ops.divide(total, ops.constant(np.outer(*counts).astype(x.dtype)))


def _adaptive_max_pool(c: Call) -> Any:
    """The largest of each window, axis by axis; windows may overlap. The second output, the places, is not made."""
    x, plane = c.tensor("self"), c.target.endswith("2d")
    wanted = c.pair("output_size", 1) if plane else c.integers("output_size")
    if c.rank(x) != 2 + len(wanted):
        raise c.unsupported(f"a pool over {c.rank(x)} axes")
    for axis, target in enumerate(wanted, 2):
        size = c.dims(x)[axis]
        if size is None or not 1 <= target <= _MOST_WINDOWS:
            raise c.unsupported(f"an adaptive pool of {size} rows to {target}")
        before = (slice(None),) * axis
        spans = [(i * size // target, -((-(i + 1) * size) // target)) for i in range(target)]
        parts = [ops.reduce_max(x[(*before, slice(a, b))], [axis], keepdims=True) for a, b in spans]
        x = parts[0] if target == 1 else ops.concat(parts, axis)
    return x, None


def _adaptive_avg_pool(c: Call) -> Tensor:
    """Mean over all; over equal windows; or, where windows overlap, by a matrix of averages for each axis."""
    x = c.tensor("self")
    if c.target.endswith("1d"):
        x = ops.expand_dims(x, 2)
        wanted: tuple[int, ...] = (1, *c.integers("output_size"))
    else:
        wanted = c.pair("output_size", 1)
    if c.rank(x) != 4:
        raise c.unsupported(f"a pool over {c.rank(x)} axes")
    if set(wanted) == {1}:
        y = ops.reduce_mean(x, [2, 3], keepdims=True)
        return ops.squeeze(y, [2]) if c.target.endswith("1d") else y
    sizes = c.dims(x)[2:]
    if None in sizes:
        raise c.unsupported("an adaptive pool of unknown sizes")
    for axis, (size, target) in enumerate(zip(sizes, wanted, strict=True), 2):
        if size is not None and size != target:
            if target < 1:
                raise c.wrong(f"an output of {target} rows")
            c.makes(size * target)
            x = _averaged(x, axis, size, target)
    return ops.squeeze(x, [2]) if c.target.endswith("1d") else x


def _averaged(x: Tensor, axis: int, size: int, target: int) -> Tensor:
    if size % target == 0:
        window = tuple(size // target if a == axis else 1 for a in range(4))
        return _made("AvgPool", [x], {"ksize": window, "strides": window, "padding": "VALID", "data_format": "NCHW"})
    matrix = np.zeros((target, size), np.float32)
    for i in range(target):
        first, last = i * size // target, -((-(i + 1) * size) // target)
        matrix[i, first:last] = 1 / (last - first)
    if axis == 3:
        return ops.matmul(x, ops.constant(np.ascontiguousarray(matrix.T)))
    return ops.matmul(ops.constant(matrix), x)


# --- norms ------------------------------------------------------------------------------------------------------------


def _batch_norm(c: Call) -> Any:
    if c.flag("training"):
        raise c.unsupported("training mode; export the model in eval() mode")
    x = c.tensor("input")
    eps, mean, variance = c.number("eps", 1e-5), c.tensor("running_mean"), c.tensor("running_var")
    channels = c.dims(mean)
    if None in channels:
        raise c.unsupported("a batch norm of an unknown number of channels")
    c.makes(math.prod(n or 0 for n in channels))
    ones = ops.constant(np.ones(channels, np.float32))
    gamma = c.tensor("weight") if c.has("weight") else ones
    beta = c.tensor("bias") if c.has("bias") else ops.multiply(ones, 0.0)
    if c.rank(x) == 4:
        attrs = {"epsilon": eps, "is_training": False, "data_format": "NCHW"}
        y = x.graph.create_op("FusedBatchNormV3", [x, gamma, beta, mean, variance], attrs).outputs[0]
    else:
        scale = ops.multiply(gamma, ops.rsqrt(ops.add(variance, eps)))
        shift = ops.subtract(beta, ops.multiply(mean, scale))
        shape = [-1, *(1,) * (c.rank(x) - 2)]
        y = ops.add(ops.multiply(x, ops.reshape(scale, shape)), ops.reshape(shift, shape))
    return (y, None, None) if c.target.startswith("_native") or c.target == "native_batch_norm" else y


def _normalised(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = ops.subtract(x, ops.reduce_mean(x, axes, keepdims=True))
    variance = ops.reduce_mean(ops.square(centred), axes, keepdims=True)
    return ops.multiply(centred, ops.rsqrt(ops.add(variance, eps)))


def _layer_norm(c: Call) -> Any:
    x = c.tensor("input")
    shape = c.integers("normalized_shape")
    rank = c.rank(x)
    y = _normalised(x, list(range(rank - len(shape), rank)), c.number("eps", 1e-5))
    if c.has("weight"):
        y = ops.multiply(y, c.tensor("weight"))
    if c.has("bias"):
        y = ops.add(y, c.tensor("bias"))
    return (y, None, None) if c.target == "native_layer_norm" else y


def _group_norm(c: Call) -> Tensor:
    x = c.tensor("input")
    dims = c.dims(x)
    groups, channels = c.integer("num_groups"), dims[1]
    if channels is None or groups < 1 or channels % groups:
        raise c.wrong(f"{groups} groups of {channels} channels")
    parts = ops.reshape(x, ops.concat([ops.shape(x)[:1], [groups, channels // groups], ops.shape(x)[2:]], 0))
    y = _normalised(parts, list(range(2, len(dims) + 1)), c.number("eps", 1e-5))
    y = ops.reshape(y, ops.shape(x))
    column = [channels, *(1,) * (len(dims) - 2)]
    if c.has("weight"):
        y = ops.multiply(y, ops.reshape(c.tensor("weight"), column))
    return ops.add(y, ops.reshape(c.tensor("bias"), column)) if c.has("bias") else y


# --- products ---------------------------------------------------------------------------------------------------------


def _linear(c: Call) -> Tensor:
    x, w = c.tensor("input"), c.tensor("weight")
    if c.rank(x) == 2:
        y = ops.matmul(x, w, transpose_b=True)
    else:
        rows = ops.reshape(x, [-1, c.dims(w)[1]])
        y = ops.matmul(rows, w, transpose_b=True)
        y = ops.reshape(y, ops.concat([ops.shape(x)[:-1], [c.dims(w)[0]]], 0))
    return ops.add(y, c.tensor("bias")) if c.has("bias") else y


def _addmm(c: Call) -> Tensor:
    y = ops.matmul(c.tensor("mat1"), c.tensor("mat2"))
    if c.number("alpha", 1.0) != 1:
        y = ops.multiply(y, c.number("alpha"))
    bias = c.tensor("self")
    return ops.add(y, ops.multiply(bias, c.number("beta")) if c.number("beta", 1.0) != 1 else bias)


def _shared_heads(c: Call, x: Tensor, q: Tensor) -> Tensor:
    """Each head of keys or values as often as queries share it."""
    heads, own = c.dims(q)[-3], c.dims(x)[-3]
    if heads is None or not own or heads % own:
        raise c.wrong(f"{heads} heads of queries share {own}")
    places = np.repeat(np.arange(own, dtype=np.int32), heads // own)
    return ops.gather(x, ops.constant(places), axis=c.rank(x) - 3)


def _attention(c: Call) -> Tensor:
    """softmax(q k^T * scale + mask) v."""
    q, k, v = (c.tensor(n) for n in ("query", "key", "value"))
    if c.number("dropout_p", 0.0):
        raise c.unsupported("attention with dropout")
    if c.flag("enable_gqa"):
        k, v = (_shared_heads(c, t, q) for t in (k, v))
    size = c.dims(q)[-1]
    if size is None:
        raise c.unsupported("attention over an unknown size")
    scale = c.number("scale", 1 / math.sqrt(size)) if c.has("scale") else 1 / math.sqrt(size)
    scores = ops.matmul(ops.multiply(q, np.float32(scale)), k, transpose_b=True)
    if c.has("attn_mask"):
        mask = c.tensor("attn_mask")
        if mask.dtype == bool:  # true: this key counts
            zero = ops.zeros_like(ops.cast(mask, scores.dtype))
            mask = ops.where(mask, zero, ops.add(zero, np.asarray(-np.inf, scores.dtype)))
        scores = ops.add(scores, mask)
    elif c.flag("is_causal"):
        scores = ops.where(
            ops.matrix_band_part(ops.ones_like(scores), -1, 0) > 0, scores, ops.ones_like(scores) * -np.inf
        )
    return ops.matmul(ops.softmax(scores), v)


# --- activations ------------------------------------------------------------------------------------------------------


def _clip(x: Tensor, low: float, high: float) -> Tensor:
    return ops.minimum(ops.maximum(x, low), high)


def _hardtanh(c: Call) -> Tensor:
    low, high = c.number("min_val", -1.0), c.number("max_val", 1.0)
    return ops.relu6(c.tensor("self")) if (low, high) == (0, 6) else _clip(c.tensor("self"), low, high)


def _leaky_relu(c: Call) -> Tensor:
    return _made("LeakyRelu", [c.tensor("self")], {"alpha": c.number("negative_slope", 0.01)})


def _prelu(c: Call) -> Tensor:
    x, w = c.tensor("self"), c.tensor("weight")
    slope = ops.reshape(w, [-1, *(1,) * max(c.rank(x) - 2, 0)])
    return ops.add(ops.relu(x), ops.multiply(slope, ops.minimum(x, 0.0)))


def _softmax(function: Any) -> Converter:
    def convert(c: Call) -> Tensor:
        x = c.tensor("self")
        found: Tensor = function(x, axis=c.axis("dim", x))
        return found

    return convert


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(("conv1d", "conv2d", "convolution", "_convolution"), _conv2d),
    **dict.fromkeys(("max_pool2d", "max_pool2d_with_indices"), _pool("MaxPool")),
    "avg_pool2d": _pool("AvgPool"),
    **dict.fromkeys(("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool1d"), _adaptive_avg_pool),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), _adaptive_max_pool),
    **dict.fromkeys(("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
    "group_norm": _group_norm,
    "linear": _linear,
    "addmm": _addmm,
    "scaled_dot_product_attention": _attention,
    "relu": lambda c: ops.relu(c.tensor("self")),
    "relu6": lambda c: ops.relu6(c.tensor("self")),
    "hardtanh": _hardtanh,
    "hardsigmoid": lambda c: composed.hard_sigmoid(c.tensor("self")),
    "hardswish": lambda c: composed.hard_swish(c.tensor("self")),
    "silu": lambda c: composed.silu(c.tensor("self")),
    "mish": lambda c: composed.mish(c.tensor("self")),
    "gelu": lambda c: composed.gelu(c.tensor("self"), approximate=c.text("approximate", "none") == "tanh"),
    "leaky_relu": _leaky_relu,
    "selu": lambda c: _made("Selu", [c.tensor("self")], {}),
    "prelu": _prelu,
    **dict.fromkeys(("softmax", "_softmax"), _softmax(ops.softmax)),
    **dict.fromkeys(("log_softmax", "_log_softmax"), _softmax(ops.log_softmax)),
}
