"""Branches and loops. A branch whose condition is known while the file is read stands in place of the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....kernels.tensor import TensorType
from ...builder import Tensor
from ...formats.onnx import GraphProto
from .inner import Inner, loop
from .node import Converter, Node
from .shapes import scalar

__all__ = ["CONVERTERS", "collected", "empty_list", "item"]


def _if(n: Node) -> list[Tensor]:
    """The branch that is taken, in place, if that is known: exporters write such an If for shapes that are fixed."""
    condition = n.value(n.input(0))
    then, other = n.subgraph("then_branch"), n.subgraph("else_branch")
    if condition is None:
        return _decided(n, then, other)
    if condition.size != 1:
        raise n.wrong(f"a condition of {condition.size} elements", "one")
    taken = bool(condition.reshape(-1)[0])
    return n.importer.body(n, then if taken else other, "then" if taken else "else")


def _decided(n: Node, then: GraphProto, other: GraphProto) -> list[Tensor]:
    """A branch that the graph chooses when it runs."""
    if n.dtype(n.input(0)).kind != "b":
        raise n.wrong(f"a condition of {n.type_of(n.input(0))}", "a bool")
    graphs, inners = [], []
    for name, proto in (("else", other), ("then", then)):
        inner = Inner(n)
        graphs.append(inner.finish(inner.run(proto, name, ())))
        inners.append(inner)
    if len(graphs[0].outputs) != len(graphs[1].outputs):
        raise n.wrong(f"branches of {[len(g.outputs) for g in graphs]} outputs", "as many of both")
    captured = list(dict.fromkeys(x for inner in inners for x in inner.captured))
    names = tuple(tuple(inner.captured[x].op.name if x in inner.captured else "" for x in captured) for inner in inners)
    inputs = [scalar(n, n.input(0)), *captured]
    attrs = {"branches": tuple(graphs), "branch_inputs": names, "index": False}
    return list(n.ops("KiBranch", inputs, len(graphs[0].outputs), **attrs))


def empty_list(n: Node, type: TensorType) -> Tensor:
    """A list for the values that steps make."""
    return n.op(
        "EmptyTensorList", _element_shape(n, type), n.const(-1, "int32"), element_dtype=type.dtype,
        shape_type=np.dtype(np.int32),
    )  # fmt: skip


def _element_shape(n: Node, type: TensorType) -> Tensor:
    if type.shape is None:
        return n.const(-1, "int32")
    return n.const([-1 if d is None else d for d in type.shape], "int32")


def collected(n: Node, values: Tensor, type: TensorType) -> Tensor:
    """The values of all steps along a new first axis."""
    return n.op("TensorListStack", values, _element_shape(n, type), element_dtype=type.dtype, num_elements=-1)


def item(n: Node, x: Tensor, index: Tensor) -> Tensor:
    """x[index] along the first axis."""
    return n.op("GatherV2", x, index, n.const(0))


def _element_types(n: Node, proto: GraphProto, types: Sequence[TensorType], first: int) -> list[TensorType]:
    """The types of what a step makes from output ``first`` on, whatever shape the state has by then."""
    probe = Inner(n)
    made = probe.run(proto, "types", [probe.placeholder(t, "state") for t in types])
    return [n.type_of(y) for y in made[first:]]


def _loop(n: Node) -> list[Tensor]:
    """Steps up to a number, as long as the body says so; state goes from step to step, further outputs are collected."""
    proto, limit, condition = n.subgraph("body"), n.optional(0), n.optional(1)
    start = [n.input(i) for i in range(2, len(n.inputs))]
    count = len(start)
    more = len(proto.output) - 1 - count
    if more < 0:
        raise n.wrong(f"a body of {len(proto.output)} outputs", f"at least {count + 1}")
    truth = n.const(True, bool) if condition is None else scalar(n, condition)
    first = [n.const(0), truth, *start]
    loose = [*(n.type_of(x) for x in first[:2]), *(TensorType(n.dtype(x), _axes(n, x)) for x in start)]
    elements = _element_types(n, proto, loose, 1 + count)
    lists = [empty_list(n, t) for t in elements]
    steady = [] if limit is None else [scalar(n, n.cast(limit, "int64"))]

    def goes_on(inner: Inner, state: Sequence[Tensor], stays: Sequence[Tensor]) -> list[Tensor]:
        m = inner.node
        return [m.op("LogicalAnd", m.op("Less", state[0], stays[0]), state[1]) if stays else state[1]]

    def step(inner: Inner, state: Sequence[Tensor], stays: Sequence[Tensor]) -> list[Tensor]:
        m = inner.node
        made = inner.run(proto, "body", list(state[: 2 + count]))
        grown = [
            m.op("TensorListPushBack", into, y, element_dtype=t.dtype)
            for into, y, t in zip(state[2 + count :], made[1 + count :], elements, strict=True)
        ]
        return [m.op("AddV2", state[0], m.const(1)), scalar(m, made[0]), *made[1 : 1 + count], *grown]

    after = loop(n, [*first, *lists], steady, goes_on, step)
    return [*after[2 : 2 + count], *(collected(n, x, t) for x, t in zip(after[2 + count :], elements, strict=True))]


def _axes(n: Node, x: Tensor) -> tuple[None, ...] | None:
    shape = n.type_of(x).shape
    return None if shape is None else (None,) * len(shape)


def _scan(n: Node) -> list[Tensor]:
    """Steps along axes of inputs; state goes from step to step, further outputs are collected along axes."""
    if n.version < 9:
        raise n.unsupported("the scan of version 8", "convert the model to version 9 or higher")
    proto, inputs = n.subgraph("body"), n.all_inputs
    scanned = n.integer("num_scan_inputs", 0)
    count = len(inputs) - scanned
    more = len(proto.output) - count
    if scanned < 1 or count < 0 or more < 0:
        raise n.wrong(
            f"{scanned} scan inputs of {len(inputs)}, {len(proto.output)} outputs", "1 or more, and all state"
        )
    axes, backward = _per_axis(n, "scan_input_axes", scanned), _per_axis(n, "scan_input_directions", scanned)
    out_axes, reversed_ = _per_axis(n, "scan_output_axes", more), _per_axis(n, "scan_output_directions", more)
    start, rows = inputs[:count], [_rows(n, x, a) for x, a in zip(inputs[count:], axes, strict=True)]
    length = scalar(n, n.size(rows[0], 0))
    part = [TensorType(n.dtype(x), n.shape(x)[1:]) for x in rows]
    elements = _element_types(n, proto, [*(TensorType(n.dtype(x), _axes(n, x)) for x in start), *part], count)
    lists = [empty_list(n, t) for t in elements]

    def goes_on(inner: Inner, state: Sequence[Tensor], stays: Sequence[Tensor]) -> list[Tensor]:
        return [inner.node.op("Less", state[0], stays[0])]

    def step(inner: Inner, state: Sequence[Tensor], stays: Sequence[Tensor]) -> list[Tensor]:
        m = inner.node
        back = m.op("Sub", m.op("Sub", stays[0], m.const(1)), state[0])
        items = [item(m, x, back if b else state[0]) for x, b in zip(stays[1:], backward, strict=True)]
        made = inner.run(proto, "body", [*state[1 : 1 + count], *items])
        grown = [
            m.op("TensorListPushBack", into, y, element_dtype=t.dtype)
            for into, y, t in zip(state[1 + count :], made[count:], elements, strict=True)
        ]
        return [m.op("AddV2", state[0], m.const(1)), *made[:count], *grown]

    after = loop(n, [n.const(0), *start, *lists], [length, *rows], goes_on, step)
    outputs = after[1 : 1 + count]
    for x, t, axis, back in zip(after[1 + count :], elements, out_axes, reversed_, strict=True):
        y = collected(n, x, t)
        y = n.op("ReverseV2", y, n.const([0])) if back else y
        if axis:
            rank = n.rank(y)
            place = n.axis(axis, rank)
            order = list(range(1, rank))
            order.insert(place, 0)
            y = n.transpose(y, order)
        outputs.append(y)
    return outputs


def _per_axis(n: Node, name: str, count: int) -> tuple[int, ...]:
    found = n.ints(name) or (0,) * count
    if len(found) != count:
        raise n.wrong(f"{name} {list(found)[:16]}", f"{count} numbers")
    return found


def _rows(n: Node, x: Tensor, axis: int) -> Tensor:
    """x with that axis first."""
    rank = n.rank(x)
    place = n.axis(axis, rank)
    return n.transpose(x, [place, *(i for i in range(rank) if i != place)])


CONVERTERS: Mapping[str, Converter] = {"If": _if, "Loop": _loop, "Scan": _scan}
