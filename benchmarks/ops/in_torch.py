"""Ops in PyTorch: functions that make a call of arrays. PyTorch is imported when one is made.

4-D values are channels last: NHWC arrays seen as NCHW tensors, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["BY_NAME", "of_node"]

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Make = Callable[..., Call]


def _plain(get: Callable[[Any], Callable[..., Any]]) -> Make:
    """The function that ``get(torch)`` gives, on the inputs as they are."""

    def make(*arrays: Array) -> Call:
        import torch

        function, tensors = get(torch), [torch.from_numpy(np.asarray(a)) for a in arrays]
        return lambda: function(*tensors)

    return make


def _last(x: Array) -> Any:
    """NHWC as an NCHW tensor in channels last."""
    import torch

    return torch.from_numpy(x).permute(0, 3, 1, 2)


def _padded(attrs: Mapping[str, Any], shape: Sequence[int], window: Sequence[int]) -> tuple[Any, bool]:
    """(top, bottom, left, right), and whether both sides are alike."""
    how = attrs["padding"]
    how = how.decode() if isinstance(how, bytes) else how
    if how == "EXPLICIT":
        pads = tuple(int(n) for n in attrs["explicit_paddings"][2:6])
    elif how == "VALID":
        pads = (0, 0, 0, 0)
    else:
        sides = []
        dilations = attrs.get("dilations", (1, 1, 1, 1))
        for axis in (0, 1):
            stride, size = attrs["strides"][axis + 1], (window[axis] - 1) * dilations[axis + 1] + 1
            total = max((-(-shape[axis + 1] // stride) - 1) * stride + size - shape[axis + 1], 0)
            sides += [total // 2, total - total // 2]
        pads = tuple(sides)
    return pads, pads[0] == pads[1] and pads[2] == pads[3]


def _conv(attrs: Mapping[str, Any], depthwise: bool) -> Make:
    def make(x: Array, w: Array) -> Call:
        import torch
        from torch.nn import functional

        order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        weights = torch.from_numpy(np.ascontiguousarray(w.transpose(order)))
        if depthwise:
            weights = weights.reshape(-1, 1, *weights.shape[2:])
        weights = weights.to(memory_format=torch.channels_last)
        pads, even = _padded(attrs, x.shape, w.shape[:2])
        groups = x.shape[3] // weights.shape[1]
        strides, dilations = attrs["strides"][1:3], attrs.get("dilations", (1, 1, 1, 1))[1:3]
        tensor = _last(x)
        if even:
            return lambda: functional.conv2d(
                tensor, weights, None, strides, (pads[0], pads[2]), dilations, groups
            ).permute(0, 2, 3, 1)
        sides = (pads[2], pads[3], pads[0], pads[1])
        return lambda: functional.conv2d(
            functional.pad(tensor, sides), weights, None, strides, 0, dilations, groups
        ).permute(0, 2, 3, 1)

    return make


def _pool(attrs: Mapping[str, Any], largest: bool) -> Make | None:
    def make(x: Array) -> Call:
        from torch.nn import functional

        window, strides = attrs["ksize"][1:3], attrs["strides"][1:3]
        pads, even = _padded(attrs, x.shape, window)
        tensor, counted = _last(x), bool(attrs.get("count_include_pad"))
        if even and largest:
            return lambda: functional.max_pool2d(tensor, window, strides, (pads[0], pads[2])).permute(0, 2, 3, 1)
        if even:
            return lambda: functional.avg_pool2d(
                tensor, window, strides, (pads[0], pads[2]), count_include_pad=counted
            ).permute(0, 2, 3, 1)
        if not largest:
            raise NotImplementedError("PyTorch pads both sides of an average alike")
        sides = (pads[2], pads[3], pads[0], pads[1])
        return lambda: functional.max_pool2d(
            functional.pad(tensor, sides, value=float("-inf")), window, strides
        ).permute(0, 2, 3, 1)

    return make


def _matmul(attrs: Mapping[str, Any]) -> Make:
    def turned(tensor: Any, name: str, other: str) -> Any:
        return tensor.mT if attrs.get(name) or attrs.get(other) else tensor

    return _plain(
        lambda torch: lambda a, b: torch.matmul(turned(a, "transpose_a", "adj_x"), turned(b, "transpose_b", "adj_y"))
    )


def _norm(attrs: Mapping[str, Any]) -> Make:
    def make(x: Array, scale: Array, shift: Array, mean: Array, variance: Array) -> Call:
        import torch
        from torch.nn import functional

        s, b, m, v = (torch.from_numpy(a) for a in (scale, shift, mean, variance))
        tensor, eps = _last(x), attrs["epsilon"]
        return lambda: functional.batch_norm(tensor, m, v, s, b, False, 0.0, eps).permute(0, 2, 3, 1)

    return make


def _reduced(name: str, attrs: Mapping[str, Any]) -> Make:
    def make(x: Array, axes: Array) -> Call:
        import torch

        tensor, dims, keep = torch.from_numpy(x), [int(n) for n in np.ravel(axes)], bool(attrs.get("keep_dims"))
        function = getattr(torch, name)
        return lambda: function(tensor, dims, keepdim=keep)

    return make


def _fixed(call: Callable[..., Callable[[Any], Any]]) -> Make:
    """One tensor, and arrays that become Python numbers: ``call(torch, *lists)`` gives a function of the tensor."""

    def make(x: Array, *others: Array) -> Call:
        import torch

        tensor, function = torch.from_numpy(x), call(torch, *(np.asarray(a).tolist() for a in others))
        return lambda: function(tensor)

    return make


def _concat(*arrays: Array) -> Call:
    import torch

    tensors, axis = [torch.from_numpy(a) for a in arrays[:-1]], int(arrays[-1])
    return lambda: torch.cat(tensors, axis)


def _sides(paddings: list[list[int]]) -> list[int]:
    return [n for pair in reversed(paddings) for n in pair]


#: Op of a graph -> what makes the call, from its attributes.
_NODES: dict[str, Callable[[Mapping[str, Any]], Make | None]] = {
    "Conv2D": lambda a: _conv(a, False),
    "DepthwiseConv2dNative": lambda a: _conv(a, True),
    "MaxPool": lambda a: _pool(a, True),
    "AvgPool": lambda a: _pool(a, False),
    "MatMul": _matmul, "BatchMatMulV2": _matmul,
    "FusedBatchNormV3": _norm,
    "Mean": lambda a: _reduced("mean", a),
    "Add": lambda a: _plain(lambda t: t.add), "AddV2": lambda a: _plain(lambda t: t.add),
    "BiasAdd": lambda a: _plain(lambda t: t.add),
    "Sub": lambda a: _plain(lambda t: t.sub), "Mul": lambda a: _plain(lambda t: t.mul), "RealDiv": lambda a: _plain(lambda t: t.div),
    "Relu": lambda a: _plain(lambda t: t.relu), "Relu6": lambda a: _plain(lambda t: t.nn.functional.relu6),
    "Sigmoid": lambda a: _plain(lambda t: t.sigmoid), "Tanh": lambda a: _plain(lambda t: t.tanh), "Erf": lambda a: _plain(lambda t: t.erf),
    "Rsqrt": lambda a: _plain(lambda t: t.rsqrt), "Square": lambda a: _plain(lambda t: t.square),
    "Softmax": lambda a: _plain(lambda t: lambda x: t.softmax(x, -1)),
    "ConcatV2": lambda a: _concat,
    "Transpose": lambda a: _fixed(lambda t, axes: lambda x: x.permute(axes).contiguous()),
    "Pad": lambda a: _fixed(lambda t, paddings: lambda x: t.nn.functional.pad(x, _sides(paddings))),
}  # fmt: skip


def of_node(type: str, attrs: Mapping[str, Any]) -> Make | None:
    """For a node of a graph; None where PyTorch has no such op, or not in one call."""
    make = _NODES.get(type)
    return None if make is None else make(attrs)


def _same(*names: str) -> dict[str, Make]:
    return {name: _plain(lambda t, name=name: getattr(t, name)) for name in names}


#: Name of a row of ../against_numpy.py -> what makes the call.
BY_NAME: dict[str, Make] = {
    **_same(
        "abs", "square", "sqrt", "reciprocal", "exp", "log", "log1p", "expm1", "erf", "erfc", "sin", "cos", "tan", "asin",
        "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "floor", "ceil", "round", "sign", "relu", "sigmoid", "tanh",
        "maximum", "minimum", "add", "subtract", "multiply", "divide", "not_equal", "less", "less_equal", "greater",
        "greater_equal", "atan2", "matmul", "bitwise_and", "bitwise_or", "bitwise_xor", "selu",
    ),
    "equal": _plain(lambda t: t.eq),
    "rsqrt": _plain(lambda t: lambda x: x.abs().rsqrt()),
    "negative": _plain(lambda t: t.neg), "is_nan": _plain(lambda t: t.isnan), "is_inf": _plain(lambda t: t.isinf),
    "is_finite": _plain(lambda t: t.isfinite), "invert": _plain(lambda t: t.bitwise_not), "xlogy": _plain(lambda t: t.special.xlogy),
    "xlog1py": _plain(lambda t: t.special.xlog1py), "truncmod": _plain(lambda t: t.fmod), "bias_add": _plain(lambda t: t.add),
    "batch matmul": _plain(lambda t: t.matmul), "einsum bij,bjk->bik": _plain(lambda t: t.matmul),
    "einsum bqhd,bkhd->bhqk": _plain(lambda t: lambda a, b: t.einsum("bqhd,bkhd->bhqk", a, b)),
    "elu": _plain(lambda t: t.nn.functional.elu), "softsign": _plain(lambda t: t.nn.functional.softsign),
    "softplus": _plain(lambda t: t.nn.functional.softplus), "relu6": _plain(lambda t: t.nn.functional.relu6),
    "leaky_relu": _plain(lambda t: lambda x: t.nn.functional.leaky_relu(x, 0.2)),
    "clip_by_value": _plain(lambda t: lambda x: x.clamp(-1, 1)), "pow": _plain(lambda t: lambda x: x.pow(3)),
    "where": _plain(lambda t: lambda a, b: t.where(a > b, a, b)), "where, positions": _plain(lambda t: lambda x: t.nonzero(x > 1)),
    "squared_difference": _plain(lambda t: lambda a, b: (a - b).square()),
    "floormod": _plain(lambda t: lambda a, b: t.remainder(a, b)), "floordiv": _plain(lambda t: lambda a, b: t.floor_divide(a, b)),
    "softmax": _plain(lambda t: lambda x: x.softmax(-1)), "log_softmax": _plain(lambda t: lambda x: x.log_softmax(-1)),
    "argmax": _plain(lambda t: lambda x: x.argmax(1)), "argmax, first axis": _plain(lambda t: lambda x: x.argmax(0)),
    "argmin": _plain(lambda t: lambda x: x.argmin(1)), "top_k": _plain(lambda t: lambda x: list(t.topk(x, 5))),
    "reduce_max, all": _plain(lambda t: t.amax), "reduce_min, first axis": _plain(lambda t: lambda x: x.amin(0)),
    "reduce_prod": _plain(lambda t: lambda x: x.prod(1)), "reduce_any": _plain(lambda t: lambda x: (x > 3).any(1)),
    "reduce_all": _plain(lambda t: lambda x: (x > -3).all(0)),
    "reduce_sum, first axis, float64": _plain(lambda t: lambda x: x.sum(0)),
    "reduce_mean, last axis, float64": _plain(lambda t: lambda x: x.mean(1)),
    "cumsum, last axis": _plain(lambda t: lambda x: x.cumsum(1)), "cumsum, first axis": _plain(lambda t: lambda x: x.cumsum(0)),
    "cumprod": _plain(lambda t: lambda x: x.cumprod(1)),
    "reverse, first axis": _plain(lambda t: lambda x: x.flip(0)), "reverse, last axis": _plain(lambda t: lambda x: x.flip(1)),
    "roll": _plain(lambda t: lambda x: x.roll((3, -5), (0, 1))),
    "transpose NHWC to NCHW": _plain(lambda t: lambda x: x.permute(0, 3, 1, 2).contiguous()),
    "transpose of a matrix": _plain(lambda t: lambda x: x.mT.contiguous()),
    "pad": _plain(lambda t: lambda x: t.nn.functional.pad(x, (0, 0, 1, 1, 1, 1))), "tile": _plain(lambda t: lambda x: x.repeat(4, 2)),
    "concat, last axis": _plain(lambda t: lambda *x: t.cat(x, 2)), "stack": _plain(lambda t: lambda *x: t.stack(x, 1)),
    "split, last axis": _plain(lambda t: lambda x: [part.contiguous() for part in x.split(64, 3)]),
    "strided slice": _plain(lambda t: lambda x: x[::2, 1::3].contiguous()),
    "broadcast_to": _plain(lambda t: lambda x: x.expand(1024, 1024).contiguous()),
    "gather, rows": _plain(lambda t: lambda x, i: t.index_select(x, 0, i)),
    "gather, last axis": _plain(lambda t: lambda x, i: t.index_select(x, 1, i)),
    "one_hot": _plain(lambda t: lambda i: t.nn.functional.one_hot(i.long(), 1000).float()),
    "matrix_band_part": _plain(lambda t: t.tril), "matrix_diag": _plain(lambda t: t.diag_embed),
    "matrix_inverse": _plain(lambda t: t.linalg.inv), "matrix_determinant": _plain(lambda t: t.linalg.det),
    "fill": _plain(lambda t: lambda v: t.full((512, 1024), float(v))),
    "cast from uint8": _plain(lambda t: lambda x: x.float()), "cast to float16": _plain(lambda t: lambda x: x.half()),
    "add_n, 3 inputs": _plain(lambda t: lambda a, b, c: a + b + c),
}  # fmt: skip
