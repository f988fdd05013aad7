"""Folds a normalisation of the input into the first convolution's weights and bias.

conv(x * s + t) = conv'(x) with weights w * s and bias b + sum of w * t, where s and t belong to the input channels. Exact
only where every tap of every output is inside the image: padding means 0 after the normalisation, not before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import is_float
from ..ir import Graph, Key, Literal, Node, Port
from ..rewrite import Rewriter
from .fold_affine import bias_literal, per_channel

__all__ = ["fold_input_affine"]

Value = np.ndarray[Any, Any]

_CONVS = frozenset(["Conv2D", "KiFusedConv2D"])
#: Largest pixel value that may stand for zero. Sums over far larger ones would cancel digits that x - t keeps.
_FAR = 256.0
#: Factors beyond this, or below its inverse, could leave the range of float32 where the values on the way do not.
_STEEP = 1e6


@dataclass(frozen=True, slots=True)
class _Step:
    """y = source * scale + shift per channel, float64."""

    source: Port
    scale: Value
    shift: Value
    key: tuple[Any, ...]


def fold_input_affine(graph: Graph) -> Graph:
    """x -> Sub, Mul, Add or Div by constants per channel -> convolution without padding  becomes one convolution."""
    edit = Rewriter(graph)
    for node in graph:
        if node.op in _CONVS and is_float(node.outputs[0].dtype):
            _fold(edit, edit.node(node.name))
    return edit.finish()


def _fold(edit: Rewriter, node: Node) -> None:
    weights = edit.literal(node.inputs[1])
    bias = edit.literal(node.inputs[2]) if len(node.inputs) > 2 else None
    if weights is None or weights.dtype.itemsize < 4 or (len(node.inputs) > 2 and bias is None):
        return
    if not _without_padding(node, weights.shape):
        return
    channels = weights.shape[2]
    scale, shift = np.ones(channels), np.zeros(channels)
    source, key = node.inputs[0], []
    while edit.only_use(source):
        step = _step(edit, edit.source(source), channels)
        if step is None:
            break
        # (x * a + b) * scale + shift
        scale, shift = step.scale * scale, step.shift * scale + shift
        source = step.source
        key.append(step.key)
    with np.errstate(all="ignore"):
        size = np.abs(scale)
        harmless = (size <= _STEEP) & (size >= 1 / _STEEP) & (np.abs(shift) <= _FAR * size)  # NaN is not
    if source == node.inputs[0] or not harmless.all():
        return
    name = ("input", tuple(key))
    inputs = (
        source,
        edit.constant(f"{node.name}/weights_of_input", _scaled(weights, scale, name)),
        edit.constant(f"{node.name}/bias_of_input", _shifted(weights, bias, shift, node.outputs[0].dtype, name)),
    )
    edit.put(node.name, "KiFusedConv2D", inputs, node.attrs)


def _without_padding(node: Node, window: tuple[int, ...]) -> bool:
    """True if no tap is ever outside the image."""
    padding = node.attrs.get("padding")
    explicit = padding == "EXPLICIT" and not any(node.attrs.get("explicit_paddings", (1,)))
    return padding == "VALID" or explicit or (padding == "SAME" and window[:2] == (1, 1))


def _step(edit: Rewriter, node: Node, channels: int) -> _Step | None:
    """What a node does to one of its inputs channel by channel, if that is all it does."""
    if node.op not in ("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div") or len(node.inputs) != 2:
        return None
    left, right = node.inputs
    found = per_channel(edit, right, channels)
    swapped = found is None and node.op not in ("RealDiv", "Div")
    if swapped:
        left, right = right, left
        found = per_channel(edit, right, channels)
    shape = edit.type_of(left).shape
    if found is None or edit.literal(left) is not None or shape is None or len(shape) != 4 or shape[3] != channels:
        return None
    value = np.broadcast_to(found[0], (channels,))
    one, zero = np.ones(channels), np.zeros(channels)
    key = (node.op, swapped, found[1])
    if node.op == "Mul":
        return _Step(left, value, zero, key)
    if node.op in ("RealDiv", "Div"):
        with np.errstate(all="ignore"):
            return _Step(left, one / value, zero, key)
    if node.op == "Sub":
        return _Step(left, -one, value, key) if swapped else _Step(left, one, -value, key)
    return _Step(left, one, value, key)


def _scaled(weights: Literal, scale: Value, key: tuple[Any, ...]) -> Literal:
    """The weights times the factor of their input channel: from float64 to the element type once, when packed."""
    factor = scale[:, None]
    return Literal.lazy(
        weights.dtype, weights.shape, lambda: (weights.wide() * factor).astype(weights.dtype),
        Key("scaled_input", weights.key, key), wide=lambda: weights.wide() * factor,
    )  # fmt: skip


def _shifted(weights: Literal, bias: Literal | None, shift: Value, dtype: Any, key: tuple[Any, ...]) -> Literal:
    """The bias plus what the shift adds to every output; computed now, for a first layer is small."""
    added = (weights.wide() * shift[:, None]).sum((0, 1, 2))
    if bias is not None:
        added = added + bias.wide()
    return bias_literal(added, dtype, ("shifted_input", weights.key, None if bias is None else bias.key, key))
