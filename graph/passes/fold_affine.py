"""Folds what follows a convolution or matrix product channel by channel into its weights and bias.

Both batch-norm forms (the ops, and the chain Mul - Add that slim graphs are frozen to), BiasAdd, Add, Sub and Mul by
constants per channel. Factors are computed in float64; scaled weights are rounded once, when a kernel packs them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import is_float
from ..ir import Graph, Key, Literal, Node, Port
from ..rewrite import Rewriter

__all__ = ["FUSED", "bias_channels", "bias_literal", "fold_affine", "per_channel"]

Value = np.ndarray[Any, Any]

#: Op -> the op that takes a bias and an activation.
FUSED = {
    "Conv2D": "KiFusedConv2D",
    "DepthwiseConv2dNative": "KiFusedDepthwiseConv2D",
    "MatMul": "KiFusedMatMul",
}
_NORMS = frozenset(["BatchNormWithGlobalNormalization", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])


@dataclass(slots=True)
class _Affine:
    """y = (x * scale) + shift per channel, float64; ``key`` tells it from others."""

    scale: Value | None
    shift: Value | None
    key: tuple[Any, ...]


def fold_affine(graph: Graph) -> Graph:
    """conv -> batch norm / bias / per-channel Mul, Add  becomes one fused op with folded weights and a bias."""
    edit = Rewriter(graph)
    consumers = graph.consumers()
    for node in graph:
        if node.op in FUSED and is_float(node.outputs[0].dtype):
            _fold_chain(edit, consumers, node)
    return edit.finish()


@dataclass(slots=True)
class _Chain:
    """What follows a node channel by channel, up to ``last``. ``bias``: one that is not constant."""

    last: Node
    scale: Value | None = None
    shift: Value | None = None
    bias: Port | None = None
    key: tuple[Any, ...] = ()


def _follow(edit: Rewriter, consumers: dict[Port, list[Node]], node: Node, channels: int) -> _Chain:
    """As much of the chain after a node as can be folded into it."""
    weights = edit.literal(node.inputs[1])
    chain = _Chain(node)
    while edit.only_use(Port(chain.last.name)) and chain.bias is None:
        (following,) = consumers[Port(chain.last.name)]
        if any(edit.used(p) for p in following.ports[1:]):
            break
        step = _affine(edit, following, Port(chain.last.name), channels, node.outputs[0].dtype)
        if step is None:
            break
        if isinstance(step, Port):  # a bias that is not constant ends the chain
            if chain.shift is not None:
                break
            chain.bias = step
        else:
            if step.scale is not None:
                if weights is None or weights.dtype.itemsize < 4:  # float16 weights would overflow or lose digits
                    break
                chain.scale = step.scale if chain.scale is None else chain.scale * step.scale
                chain.shift = None if chain.shift is None else chain.shift * step.scale
            if step.shift is not None:
                chain.shift = step.shift if chain.shift is None else chain.shift + step.shift
            chain.key += (step.key,)
        chain.last = following
    return chain


def _fold_chain(edit: Rewriter, consumers: dict[Port, list[Node]], node: Node) -> None:
    channels = bias_channels(edit, node)
    if channels is None:
        return
    chain = _follow(edit, consumers, node, channels)
    last, key = chain.last, chain.key
    if last is node:
        return
    weights = edit.literal(node.inputs[1])
    inputs = [*node.inputs[:2]]
    if chain.scale is not None and weights is not None:
        inputs[1] = edit.constant(f"{last.name}/scaled_weights", _scaled(node, weights, chain.scale, key))
    if chain.shift is not None:
        literal = bias_literal(
            np.broadcast_to(chain.shift, (channels,)), node.outputs[0].dtype, ("shift", channels, key)
        )
        inputs.append(edit.constant(f"{last.name}/bias", literal))
    elif chain.bias is not None:
        inputs.append(chain.bias)
    edit.put(last.name, FUSED[node.op], tuple(inputs), node.attrs)


def bias_literal(value: Value, dtype: Any, key: tuple[Any, ...]) -> Literal:
    """A bias computed in float64; what is added to it later is added before it is rounded."""
    rounded = value.astype(dtype)
    return Literal.lazy(dtype, rounded.shape, lambda: rounded, Key(*key, np.dtype(dtype).str), wide=lambda: value)


def bias_channels(edit: Rewriter, node: Node) -> int | None:
    """Output channels of a convolution or columns of a matrix product, as far as its weights tell."""
    if node.op in ("MatMul", "KiFusedMatMul"):
        shape = edit.type_of(node.inputs[1]).shape
        if shape is None or len(shape) != 2:
            return None
        return shape[0] if node.attrs.get("transpose_b") else shape[1]
    shape = edit.type_of(node.inputs[1]).shape
    if shape is None or len(shape) != 4 or shape[2] is None or shape[3] is None:
        return None
    return shape[2] * shape[3] if "Depthwise" in node.op else shape[3]


def _scaled(node: Node, weights: Literal, scale: Value, key: tuple[Any, ...]) -> Literal:
    """The weights times the factor of their output channel, computed when they are packed."""
    factor = np.broadcast_to(scale, (_out_channels(node, weights),))
    transposed = node.op == "MatMul" and bool(node.attrs.get("transpose_b"))
    if node.op == "DepthwiseConv2dNative":
        factor = factor.reshape(weights.shape[2:])
    elif transposed:
        factor = factor[:, None]

    def load() -> Value:
        # One multiplication in float64 per weight, rounded once; NumPy converts piece by piece, without a float64 copy.
        raw = weights.array()
        result: Value = np.empty_like(raw)
        np.multiply(raw, factor, out=result, dtype=np.float64, casting="same_kind")
        return result

    return Literal.lazy(
        weights.dtype, weights.shape, load, Key("scaled", node.op, transposed, weights.key, key),
        wide=lambda: weights.wide() * factor,
    )  # fmt: skip


def _out_channels(node: Node, weights: Literal) -> int:
    if node.op == "DepthwiseConv2dNative":
        return weights.shape[2] * weights.shape[3]
    return weights.shape[0 if node.op == "MatMul" and node.attrs.get("transpose_b") else -1]


def per_channel(edit: Rewriter, port: Port, channels: int) -> tuple[Value, Any] | None:
    """A constant that broadcasts along channels only, as float64 (channels,) or scalar."""
    literal = edit.literal(port)
    if (
        literal is None
        or not is_float(literal.dtype)
        or any(d != 1 for d in literal.shape[:-1])
        or len(literal.shape) > 4
    ):
        return None
    if literal.shape and literal.shape[-1] not in (1, channels):
        return None
    return literal.array().astype(np.float64).reshape(-1), literal.key


def _affine(edit: Rewriter, node: Node, port: Port, channels: int, dtype: Any) -> _Affine | Port | None:
    """What ``node`` does to ``port`` channel by channel; a Port is a bias that is not constant."""
    inputs = tuple(edit.current(p) for p in node.inputs)
    if node.op in _NORMS:
        return _norm(edit, node, channels) if inputs[0] == port else None
    if node.op == "BiasAdd" and inputs[0] == port:
        found = per_channel(edit, inputs[1], channels)
        return inputs[1] if found is None else _Affine(None, found[0], ("shift", found[1]))
    if node.op not in ("Add", "AddV2", "Sub", "Mul") or len(set(inputs)) != 2:
        return None
    other = inputs[1] if inputs[0] == port else inputs[0]
    rank = edit.type_of(port).rank
    if rank is None or (edit.type_of(other).rank or 0) > rank or (node.op == "Sub" and inputs[0] != port):
        return None
    found = per_channel(edit, other, channels)
    if found is None:
        return None
    value, key = found
    if node.op == "Mul":
        return _Affine(value, None, ("scale", key))
    return _Affine(None, -value if node.op == "Sub" else value, (node.op, key))


def _norm(edit: Rewriter, node: Node, channels: int) -> _Affine | None:
    found = [per_channel(edit, p, channels) for p in node.inputs[1:]]
    if any(f is None for f in found):
        return None
    values = [f[0] for f in found if f is not None]
    if node.op == "BatchNormWithGlobalNormalization":
        mean, variance, offset, gamma = values
        epsilon = float(node.attrs.get("variance_epsilon", 1e-3))
        scaled = bool(node.attrs.get("scale_after_normalization", True))
    else:
        gamma, offset, mean, variance = values
        epsilon, scaled = float(node.attrs.get("epsilon", 1e-4)), True
        if node.attrs.get("is_training", True):
            return None
    scale = 1.0 / np.sqrt(variance + epsilon)
    if scaled:
        scale = scale * gamma
    return _Affine(
        scale, offset - mean * scale, (node.op, epsilon, scaled, tuple(f[1] for f in found if f is not None))
    )
