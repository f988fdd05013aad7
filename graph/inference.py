"""What is known while a graph is built: the types of a new node, values of small constants and of what follows from them.

Nodes are looked up by name, so this serves the builder and knows nothing of it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..kernels.errors import KigraphError
from ..kernels.tensor import Shape, TensorType, is_int
from .evaluate import evaluate
from .ir import UNKNOWN, Node, Port
from .opdefs import DESCRIBES, OPDEFS, Site, stated_types

__all__ = ["constant_value", "known_sizes", "output_types", "site_of_node"]

Nodes: TypeAlias = Mapping[str, Node]
Value: TypeAlias = np.ndarray[Any, Any]

#: Elements above which nothing is evaluated while a graph is built.
_SMALL = 4096
_DEPTH = 32


def _type(nodes: Nodes, port: Port) -> TensorType:
    return nodes[port.node].outputs[port.index]


def site_of_node(nodes: Nodes, node: Node, value_of: Callable[[Port], Value | None] | None = None) -> Site:
    """A node as its op definition sees it; ``value_of``: default, what ``constant_value`` knows."""
    known = value_of or (lambda port: constant_value(nodes, port))
    types = tuple(_type(nodes, p) for p in node.inputs)
    return Site(node.name, node.op, node.attrs, types, lambda i: known(node.inputs[i]))


def output_types(
    nodes: Nodes, name: str, op: str, attrs: Mapping[str, Any], inputs: tuple[Port, ...], count: int | None
) -> tuple[TensorType, ...]:
    """The types of the outputs of a new node, whose inputs are in ``nodes``.

    count: how many outputs a loaded node of an unknown op has. Raises what the contract's rule raises.
    """
    definition = OPDEFS.get(op)
    if definition is None:
        return stated_types(op, attrs) or (TensorType(UNKNOWN),) * (1 if count is None else count)
    types = tuple([nodes[node].outputs[index] for node, index in inputs])
    if any(t.dtype == UNKNOWN for t in types):
        return (TensorType(UNKNOWN),) * (count or 1)
    site = Site(
        name, op, attrs, types, lambda i: constant_value(nodes, inputs[i]), lambda i: known_sizes(nodes, inputs[i]),
    )  # fmt: skip
    try:
        return definition.types(site)
    except Exception as error:
        # A loaded graph (count given) can be inspected and replaced by a feed; running the node says what is wrong with it.
        if count is not None and isinstance(error, KigraphError):
            return (TensorType(UNKNOWN),) * count
        given = ", ".join(f"{p} {t}" for p, t in zip(inputs, types, strict=True))
        error.add_note(f"while adding {op} '{name}' with inputs {given}")
        raise


def constant_value(
    nodes: Nodes, port: Port, depth: int = _DEPTH, memo: dict[Port, Value | None] | None = None
) -> Value | None:
    """The value of a tensor if it is known while the graph is built (small constants and what follows from them)."""
    known = {} if memo is None else memo
    if port not in known:
        known[port] = None  # what is deeper than ``depth`` stays unknown
        known[port] = _evaluated(nodes, port, depth, known)
    return known[port]


def _evaluated(nodes: Nodes, port: Port, depth: int, memo: dict[Port, Value | None]) -> Value | None:
    node, type = nodes[port.node], _type(nodes, port)
    if node.op == "Const":
        literal = node.attrs["value"]
        return literal.array() if literal.type.size <= _SMALL else None
    if depth == 0 or (not node.inputs and node.op != "Range"):
        return None
    if any(_type(nodes, p).dtype == UNKNOWN for p in node.inputs):
        return None
    small = type.known and type.size <= _SMALL
    if not small and node.op not in DESCRIBES and node.op not in ("StridedSlice", "Pack"):
        return None
    site = site_of_node(nodes, node, lambda p: constant_value(nodes, p, depth - 1, memo))
    try:
        if node.op in DESCRIBES:
            outputs = evaluate(site, ())
        else:
            inputs = [constant_value(nodes, p, depth - 1, memo) for p in node.inputs]
            outputs = None if any(v is None for v in inputs) else evaluate(site, inputs)
    except KigraphError:  # not an error before it runs
        return None
    return None if outputs is None else outputs[port.index]


def known_sizes(nodes: Nodes, port: Port, depth: int = _DEPTH, memo: dict[Port, Shape] | None = None) -> Shape:
    """Entries of a vector (or scalar) of integers that are known while the graph is built, None for the others.

    So ``reshape(x, [shape(x)[0], -1])`` keeps what is known of x, whatever its batch size is.
    """
    known = {} if memo is None else memo
    type = _type(nodes, port)
    if depth == 0 or not is_int(type.dtype) or type.rank not in (0, 1):
        return None
    if port not in known:
        known[port] = None
        value = constant_value(nodes, port)
        known[port] = (
            tuple(int(v) for v in value.reshape(-1))
            if value is not None
            else _sizes(nodes, nodes[port.node], depth, known)
        )
    return known[port]


def _sizes(nodes: Nodes, node: Node, depth: int, memo: dict[Port, Shape]) -> Shape:
    if node.op == "Shape":
        return _type(nodes, node.inputs[0]).shape
    parts = tuple(known_sizes(nodes, p, depth - 1, memo) for p in node.inputs)
    rule = _SIZE_RULES.get(node.op)
    return None if rule is None else rule(nodes, node, parts)


def _first(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    return parts[0]


def _of_pack(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    return tuple(None if p is None else p[0] for p in parts)


def _of_concat(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    joined: list[int | None] = []
    for part in parts[:-1]:
        if part is None:
            return None
        joined += part
    return tuple(joined)


def _of_slice(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    """The entries that a StridedSlice takes of a vector: the same slice is taken of the positions 0, 1, ..."""
    sizes = parts[0]
    bounds = [constant_value(nodes, p) for p in node.inputs[1:]]
    dtype = _type(nodes, node.inputs[0]).dtype
    if sizes is None or any(b is None for b in bounds) or len(sizes) > np.iinfo(dtype).max:
        return None
    types = (TensorType(dtype, (len(sizes),)), *(_type(nodes, p) for p in node.inputs[1:]))
    site = Site(node.name, node.op, node.attrs, types, lambda i: bounds[i - 1] if i else None)
    outputs = evaluate(site, [np.arange(len(sizes), dtype=dtype), *bounds])
    return None if outputs is None else tuple(sizes[int(i)] for i in outputs[0].reshape(-1))


def _of_gather(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    """The entries at known positions: x.shape[0], as ONNX files spell it."""
    picked = constant_value(nodes, node.inputs[1])
    if parts[0] is None or picked is None or picked.ndim > 1 or node.attrs.get("batch_dims", 0):
        return None
    length = len(parts[0])
    if picked.size and not (picked.min() >= 0 and picked.max() < length):
        return None  # an error when it runs
    return tuple(parts[0][int(i)] for i in picked.reshape(-1))


def _of_arithmetic(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    left, right = parts
    if left is None or right is None:
        return None
    length = max(len(left), len(right))
    pairs = zip(*(p * length if len(p) == 1 else p for p in (left, right)), strict=True)
    return tuple(None if a is None or b is None else _ARITHMETIC[node.op](a, b) for a, b in pairs)


def _of_product(nodes: Nodes, node: Node, parts: tuple[Shape, ...]) -> Shape:
    if parts[0] is None or None in parts[0] or node.outputs[0].rank != 0:
        return None
    return (math.prod(d for d in parts[0] if d is not None),)


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add, "AddV2": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Maximum": max, "Minimum": min,
}  # fmt: skip

#: Op -> the entries of its output from those of its inputs.
_SIZE_RULES: dict[str, Callable[[Nodes, Node, tuple[Shape, ...]], Shape]] = {
    **dict.fromkeys(("Identity", "Cast", "ExpandDims", "Squeeze", "Reshape"), _first),
    "Pack": _of_pack,
    "ConcatV2": _of_concat,
    "StridedSlice": _of_slice,
    "GatherV2": _of_gather,
    **dict.fromkeys(_ARITHMETIC, _of_arithmetic),
    "Prod": _of_product,
}
