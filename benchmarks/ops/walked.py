"""Rows from networks: their graphs at one image, op by op; equal ones once, the costliest of every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from kigraph.graph.ir import Literal

from ..nets.zoo import NETWORKS, graph_of
from ..numpy_rows import Row
from ..peers.network import copied
from .in_torch import of_node
from .row import OpRow

__all__ = ["WALKED", "rows_of_networks"]

Array = np.ndarray[Any, Any]
#: The networks whose ops are taken.
WALKED = (
    "vgg-16", "resnet-50", "densenet-121", "mobilenet-v2", "mobilenet-v3-large", "efficientnet-b0", "xception", "convnext-tiny",
    "vit-b-16",
)  # fmt: skip
#: Ops that compute or move data, and what a row of one is called.
_KINDS = {
    "Conv2D": "conv2d", "DepthwiseConv2dNative": "depthwise", "MatMul": "matmul", "BatchMatMulV2": "batch matmul",
    "MaxPool": "max_pool", "AvgPool": "avg_pool", "FusedBatchNormV3": "batch_norm", "Mean": "mean", "AddV2": "add", "BiasAdd": "bias_add",
    "Sub": "subtract", "Mul": "multiply", "RealDiv": "divide", "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Erf": "erf",
    "Rsqrt": "rsqrt", "Square": "square", "Softmax": "softmax", "ConcatV2": "concat", "Transpose": "transpose", "Pad": "pad",
}  # fmt: skip
_WINDOWED = ("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool", "FusedBatchNormV3")
_NUMPY: dict[str, Callable[..., Any]] = {
    "AddV2": np.add, "BiasAdd": np.add, "Sub": np.subtract, "Mul": np.multiply, "RealDiv": np.divide,
    "Relu": lambda x: np.maximum(x, 0), "Relu6": lambda x: np.clip(x, 0, 6), "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Square": np.square, "Rsqrt": lambda x: 1 / np.sqrt(x),
    "ConcatV2": lambda *a: np.concatenate(a[:-1], int(a[-1])),
    "Transpose": lambda x, axes: np.ascontiguousarray(x.transpose(axes)), "Pad": np.pad,
}  # fmt: skip


@dataclass(slots=True)
class _Found:
    """A node, how often and where it is."""

    op: Any
    cost: int
    networks: list[str] = field(default_factory=list)


def _cost(op: Any) -> int:
    """Multiplications, or elements moved."""
    made = prod(op.outputs[0].shape)
    if op.type in ("Conv2D", "DepthwiseConv2dNative"):
        window = op.inputs[1].shape
        return int(made * prod(window[:3] if op.type == "Conv2D" else window[:2]))
    if op.type in ("MatMul", "BatchMatMulV2"):
        return int(made * (op.inputs[0].shape[-2 if op.attrs.get("transpose_a") else -1]))
    return int(made + sum(prod(t.shape) for t in op.inputs))


def _whole(tensor: Any) -> Any:
    """The value of a constant of whole numbers: axes, paddings."""
    if tensor.op.type != "Const" or tensor.dtype.kind != "i":
        return None
    return tuple(np.ravel(_value(tensor)).tolist())


def _value(tensor: Any) -> Array:
    value = tensor.op.attrs["value"]
    return value.array() if isinstance(value, Literal) else np.asarray(value)


def rows_of_networks(names: Sequence[str] = WALKED, most: int = 3) -> list[OpRow]:
    """most: different sizes of a kind that a network may bring, those with the most work; 0: all."""
    found: dict[str, _Found] = {}
    for name in names:
        known = NETWORKS[name]
        graph = copied(graph_of(known), "input:0", "probabilities:0", shape=(1, known.size, known.size, 3))
        own: dict[str, dict[str, _Found]] = {}
        for op in graph.operations:
            tensors = (*op.inputs, *op.outputs[:1])
            if op.type not in _KINDS or not all(t.shape is not None and None not in t.shape for t in tensors):
                continue
            if all(t.op.type == "Const" for t in op.inputs) or prod(op.outputs[0].shape) < 256:
                continue
            kind = own.setdefault(op.type, {})
            kind.setdefault(f"{op.type} {_size(op)}", _Found(op, _cost(op)))
        for kind in own.values():
            costly = sorted(kind.items(), key=lambda item: -item[1].cost)
            for key, one in costly[: most or None]:
                found.setdefault(key, one).networks.append(known.title)
    return [_row(one) for one in found.values()]


def _size(op: Any) -> str:
    first = "x".join(map(str, op.inputs[0].shape))
    if op.type in ("Conv2D", "DepthwiseConv2dNative"):
        window, stride = op.inputs[1].shape, op.attrs["strides"][1]
        width = f" to {window[3]}" if op.type == "Conv2D" else ""
        return f"{window[0]}x{window[1]}{f' s{stride}' if stride > 1 else ''} {first}{width}"
    if op.type in ("MaxPool", "AvgPool"):
        return f"{op.attrs['ksize'][1]}x{op.attrs['ksize'][2]} s{op.attrs['strides'][1]} {first}"
    others = [_whole(t) or "x".join(map(str, t.shape)) or "number" for t in op.inputs[1:]]
    if op.type == "FusedBatchNormV3":
        return first
    turned = "".join(f", {n}" for n in ("transpose_a", "transpose_b", "adj_x", "adj_y") if op.attrs.get(n))
    return ", ".join([first, *map(str, others)]) + turned


def _row(found: _Found) -> OpRow:
    op, type = found.op, found.op.type
    constants = frozenset(i for i, t in enumerate(op.inputs) if t.op.type == "Const")
    shapes = [tuple(t.shape) for t in op.inputs]
    dtypes = [t.dtype for t in op.inputs]
    fixed = {i: _value(op.inputs[i]) for i in constants if dtypes[i].kind == "i"}
    attrs = dict(op.attrs)

    def make(rng: np.random.Generator) -> list[Array]:
        return [fixed.get(i, _numbers(rng, shape, type, i)) for i, shape in enumerate(shapes)]

    def build(*tensors: Any) -> Any:
        return tensors[0].graph.create_op(type, tensors, attrs).outputs[0]

    def build_nchw(*tensors: Any) -> Any:
        return tensors[0].graph.create_op(type, tensors, _in_nchw(attrs)).outputs[0]

    plain = _NUMPY.get(type)
    if type in ("MatMul", "BatchMatMulV2"):
        plain = _matmul(attrs)
    elif type == "Mean":
        plain = _mean(attrs)
    row = Row(f"{_KINDS[type]} {_size(op)}", make, build, plain, 1e-4, 1e-4)  # type: ignore[arg-type]
    nchw = build_nchw if type in _WINDOWED and len(shapes[0]) == 4 else None
    return OpRow(row, _KINDS[type], _size(op), constants, tuple(found.networks), nchw, of_node(type, attrs))


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], type: str, number: int) -> Array:
    if type == "Rsqrt" or (type == "FusedBatchNormV3" and number == 4):
        return np.asarray(rng.uniform(0.5, 2, shape)).astype(np.float32)
    scale = 1 / np.sqrt(prod(shape[:-1])) if number == 1 and type in ("Conv2D", "MatMul") else 1.0
    return np.asarray(rng.standard_normal(shape) * scale).astype(np.float32)


def _matmul(attrs: dict[str, Any]) -> Callable[..., Any]:
    first = bool(attrs.get("transpose_a") or attrs.get("adj_x"))
    second = bool(attrs.get("transpose_b") or attrs.get("adj_y"))
    return lambda a, b: np.matmul(a.swapaxes(-1, -2) if first else a, b.swapaxes(-1, -2) if second else b)


def _mean(attrs: dict[str, Any]) -> Callable[..., Any]:
    keep = bool(attrs.get("keep_dims"))
    return lambda x, axes: x.mean(tuple(np.ravel(axes).tolist()), keepdims=keep)


def _in_nchw(attrs: dict[str, Any]) -> dict[str, Any]:
    """The attributes of the op on an NCHW value."""

    def moved(values: Sequence[int], step: int = 1) -> tuple[int, ...]:
        parts = [tuple(values[i : i + step]) for i in range(0, 4 * step, step)]
        return tuple(int(n) for i in (0, 3, 1, 2) for n in parts[i])

    changed = dict(attrs) | {"data_format": "NCHW"}
    for name in ("strides", "ksize", "dilations"):
        if attrs.get(name):
            changed[name] = moved(attrs[name])
    if attrs.get("explicit_paddings"):
        changed["explicit_paddings"] = moved(attrs["explicit_paddings"], 2)
    return changed
