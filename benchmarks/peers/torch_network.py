"""The network's ONNX file in PyTorch: its nodes one after the other, with the batch norms folded into the convolutions.

Only the ops that Inception v3 has; another one is refused by name. Imports PyTorch and onnx.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

__all__ = ["network_of"]

Step = tuple[str, list[str], Callable[..., Any]]


def network_of(path: str, dtype: torch.dtype) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """A function from the file's input to its outputs, in ``dtype``, with convolutions in channels last.

    Raises ValueError for an op or a use of one that it does not know.
    """
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    steps = [_step(node, constants, dtype) for node in _folded(list(graph.node), constants)]
    entry, ends = graph.input[0].name, [output.name for output in graph.output]

    def call(x: torch.Tensor) -> list[torch.Tensor]:
        values = {entry: x}
        for output, inputs, function in steps:
            values[output] = function(*(values[name] for name in inputs))
        return [values[name] for name in ends]

    return call


def _folded(nodes: list[Any], constants: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
    """The nodes without batch norms behind convolutions that nothing else reads; their factors go into the weights."""
    aliases = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Identity"}
    constants |= {new: constants[old] for new, old in aliases.items() if old in constants}
    makers = {n.output[0]: n for n in nodes}
    kept = []
    for node in nodes:
        if node.op_type == "Identity" and node.input[0] in constants:
            continue
        conv = makers.get(node.input[0])
        if node.op_type != "BatchNormalization" or conv is None or conv.op_type != "Conv":
            kept.append(node)
            continue
        scale, shift, mean, variance = (constants[name].astype("f8") for name in node.input[1:5])
        factor = scale / np.sqrt(variance + _attributes(node).get("epsilon", 1e-5))
        weight, bias = conv.input[1] + "/folded", conv.output[0] + "/bias"
        given = constants[conv.input[2]] if len(conv.input) > 2 else 0.0
        constants[weight] = (constants[conv.input[1]] * factor[:, None, None, None]).astype(np.float32)
        constants[bias] = (shift + (given - mean) * factor).astype(np.float32)
        conv.input[:] = [conv.input[0], weight, bias]
        conv.output[0] = node.output[0]
    return kept


def _attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _step(node: Any, constants: dict[str, np.ndarray[Any, Any]], dtype: torch.dtype) -> Step:
    fed = [name for name in node.input if name not in constants]
    fixed = [np.array(constants[name]) for name in node.input if name in constants]
    make = _MAKERS.get(node.op_type)
    if make is None:
        raise ValueError(f"the network in PyTorch has no {node.op_type} ({node.name}); known: {', '.join(_MAKERS)}")
    return node.output[0], fed, make(_attributes(node), fixed, dtype)


def _padding(attributes: dict[str, Any], size: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of padding on either side. ``size``: of the window."""
    how, strides = attributes.get("auto_pad", b"NOTSET"), attributes.get("strides", [1, 1])
    if how == b"VALID":
        return 0, 0
    if how in (b"SAME_UPPER", b"SAME_LOWER"):
        if list(strides) != [1, 1] or any(n % 2 == 0 for n in size) or attributes.get("dilations", [1, 1]) != [1, 1]:
            raise ValueError(f"auto_pad {how!r} with strides {strides}, window {size}; expected stride 1 and odd sizes")
        return size[0] // 2, size[1] // 2
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if (left, top) != (right, bottom):
        raise ValueError(f"pads {attributes['pads']}; expected the same on both sides")
    return top, left


def _conv(attributes: dict[str, Any], fixed: list[Any], dtype: torch.dtype) -> Callable[..., Any]:
    weight = torch.from_numpy(fixed[0]).to(dtype).to(memory_format=torch.channels_last)
    bias = torch.from_numpy(fixed[1]).to(dtype) if len(fixed) > 1 else None
    strides, groups, padding = (
        attributes.get("strides", [1, 1]),
        attributes.get("group", 1),
        _padding(attributes, fixed[0].shape[2:]),
    )
    dilations = attributes.get("dilations", [1, 1])
    return lambda x: functional.conv2d(x, weight, bias, strides, padding, dilations, groups)


def _pool(attributes: dict[str, Any], kind: str) -> Callable[..., Any]:
    size, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    padding, counted = _padding(attributes, size), bool(attributes.get("count_include_pad", 0))
    if kind == "max":
        return lambda x: functional.max_pool2d(x, size, strides, padding)
    return lambda x: functional.avg_pool2d(x, size, strides, padding, count_include_pad=counted)


def _product(attributes: dict[str, Any], fixed: list[Any], dtype: torch.dtype) -> Callable[..., Any]:
    weight = torch.from_numpy(fixed[0]).to(dtype)
    if attributes.get("transB"):
        weight = weight.T
    bias = torch.from_numpy(fixed[1]).to(dtype) if len(fixed) > 1 else None
    return (lambda x: x @ weight) if bias is None else (lambda x: torch.addmm(bias, x, weight))


def _add(attributes: dict[str, Any], fixed: list[Any], dtype: torch.dtype) -> Callable[..., Any]:
    more = [torch.from_numpy(value).to(dtype) for value in fixed]
    return lambda *x: sum((*x[1:], *more), x[0])


_MAKERS: dict[str, Callable[[dict[str, Any], list[Any], torch.dtype], Callable[..., Any]]] = {
    "Add": _add,
    "AveragePool": lambda a, fixed, dtype: _pool(a, "average"),
    "Concat": lambda a, fixed, dtype: lambda *x: torch.cat(x, a["axis"]),
    "Conv": _conv,
    "Gemm": _product,
    "GlobalAveragePool": lambda a, fixed, dtype: lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, fixed, dtype: lambda x: x,
    "MatMul": _product,
    "MaxPool": lambda a, fixed, dtype: _pool(a, "max"),
    "ReduceMean": lambda a, fixed, dtype: _mean(a, fixed),
    "Relu": lambda a, fixed, dtype: functional.relu,
    "Reshape": lambda a, fixed, dtype: lambda x: x.reshape([int(n) for n in fixed[0]]),
    "Softmax": lambda a, fixed, dtype: lambda x: x.float().softmax(a.get("axis", -1)),
    "Transpose": lambda a, fixed, dtype: lambda x: x.permute(a["perm"]),
}  # fmt: skip


def _mean(attributes: dict[str, Any], fixed: list[Any]) -> Callable[..., Any]:
    axes = [int(n) for n in (fixed[0] if fixed else attributes["axes"])]
    return lambda x: x.mean(axes, keepdim=bool(attributes.get("keepdims", 1)))
