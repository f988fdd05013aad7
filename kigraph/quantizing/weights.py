"""Integers of the weights, one scale for each output channel, and the bias that makes up for what their rounding does on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..graph.formats.onnx import NodeProto
from .net import Array, Net, number_of, numbers_of, text_of

__all__ = ["Weights", "average_inputs", "rounded_weights"]

_MOST = 127
#: A bias is an int32 in units of both scales: beyond this many of them the scale of the weights is made larger.
_MOST_BIAS = 2.0**30


@dataclass(frozen=True, slots=True)
class Weights:
    """int8 weights in the file's layout, the float32 step of each output channel, and the axis of these."""

    values: Array
    steps: Array
    axis: int

    def real(self) -> Array:
        """What the integers stand for, float32."""
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        result: Array = self.values.astype(np.float32) * self.steps.reshape(shape)
        return result


def channel_axis(node: NodeProto) -> int:
    """The axis of output channels: (out, in, h, w), (in, out), or (out, in) where Gemm has transB."""
    return 0 if node.op_type == "Conv" or number_of(node, "transB", 0) else 1


def rounded_weights(node: NodeProto, weights: Array, bias: Array | None, step: float) -> Weights:
    """Symmetric integers from -127 to 127. step: of the node's input, in whose units with these the bias is counted."""
    axis = channel_axis(node)
    others = tuple(i for i in range(weights.ndim) if i != axis)
    size = np.abs(weights).max(axis=others).astype(np.float64) / _MOST
    if bias is not None:
        size = np.maximum(size, np.abs(bias).astype(np.float64) / (step * _MOST_BIAS))
    steps = np.where(size > np.finfo(np.float32).tiny, size, 1.0 / _MOST).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    values = np.clip(np.rint(weights / steps.reshape(shape)), -_MOST, _MOST).astype(np.int8)
    return Weights(values, steps, axis)


def average_inputs(net: Net, node: NodeProto, mean: Array) -> Array | None:
    """The mean over all places of the result of what each weight is multiplied by; shaped so that it broadcasts over ``weights``.

    mean: the node's input, averaged over images: (channels, height, width) or (features,). What the padding adds are zeros, so
    the weights at an edge count less. None for a form that is not known.
    """
    weights = net.constants[node.input[1]]
    if node.op_type != "Conv":
        flat = mean.reshape(-1, mean.shape[-1]).mean(axis=0)
        row: Array = flat[:, None] if channel_axis(node) == 1 else flat[None, :]
        return row
    if mean.ndim != 3:
        return None
    cells = weights.shape[2:]
    strides, dilations = numbers_of(node, "strides", (1, 1)), numbers_of(node, "dilations", (1, 1))
    pads = _pads(node, mean.shape[1:], cells, strides, dilations)
    if pads is None:
        return None
    wide = np.pad(mean, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    sizes = [(wide.shape[1 + i] - (cells[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(2)]
    found = np.empty((mean.shape[0], *cells))
    for down in range(cells[0]):
        for column in range(cells[1]):
            top, left = down * dilations[0], column * dilations[1]
            seen = wide[
                :, top : top + strides[0] * sizes[0] : strides[0], left : left + strides[1] * sizes[1] : strides[1]
            ]
            found[:, down, column] = seen.mean(axis=(1, 2))
    groups = number_of(node, "group", 1)
    if groups == 1:
        return found[None]
    # Output channel o of group g sees the inputs of that group.
    inside = found.reshape(groups, mean.shape[0] // groups, *cells)
    result: Array = np.repeat(inside, weights.shape[0] // groups, axis=0)
    return result


def _pads(
    node: NodeProto,
    sizes: tuple[int, ...],
    cells: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...] | None:
    """Cells of padding: top, left, bottom, right."""
    auto = text_of(node, "auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        return numbers_of(node, "pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
    if auto != "SAME_UPPER":
        return None
    totals = [
        max((-(-size // step) - 1) * step + (cell - 1) * dilation + 1 - size, 0)
        for size, cell, step, dilation in zip(sizes, cells, strides, dilations, strict=True)
    ]
    return (*(t // 2 for t in totals), *(t - t // 2 for t in totals))
