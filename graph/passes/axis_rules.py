"""How an op works on axes in another order: one rule per op type, for move_transposes.

A rule emits the op with its axes renumbered and says in which orders its outputs are; or it returns False, and the op stays as
it is. An axis, a mask or a size that is not constant is such a case, unless it can be permuted when it is computed. Types of
inputs and outputs have known numbers of axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...kernels.tensor import is_int
from ..ir import Node, Port
from .axes import Order, as_order, only_ones_move, sizes_of
from .axis_groups import arranged, contiguous, groups_of_axes
from .axis_tables import ELEMENTWISE
from .mover import Mover

__all__ = ["RULES"]

Value = np.ndarray[Any, Any]


Rule = Callable[[Mover, Node], bool]


def _rank(m: Mover, port: Port) -> int:
    return len(m.type_of(port).shape or ())


def _done(m: Mover, node: Node, inputs: Sequence[Port], attrs: Mapping[str, Any], *orders: Order) -> bool:
    """Emits the op; ``orders``: of its outputs, or the one that all have."""
    made = m.emit(node.name, node.op, inputs, attrs)
    for i, port in enumerate(node.ports):
        m.set(port, orders[i] if len(orders) > 1 else orders[0], Port(made.name, i))
    return True


def _integers(m: Mover, port: Port, rank: int) -> tuple[int, ...] | None:
    """A constant scalar or vector of axes, none of them negative."""
    value = m.value(port)
    if value is None or not is_int(value.dtype) or value.ndim > 1:
        return None
    found = tuple(int(v) for v in value.ravel())
    return tuple(a % rank for a in found) if all(-rank <= a < rank for a in found) else None


def _one(m: Mover, port: Port, rank: int) -> int | None:
    found = _integers(m, port, rank)
    return found[0] if found is not None and len(found) == 1 else None


def _like(m: Mover, port: Port, values: Any) -> Port:
    """A constant in place of another one, of its type."""
    old = m.value(port)
    assert old is not None
    return m.constant(np.array(values, old.dtype).reshape(old.shape))


def _at(order: Order, axis: int) -> int:
    return axis if order is None else order.index(axis)


def _without(order: Order, axes: Sequence[int]) -> Order:
    """The order of what is left when axes go."""
    return None if order is None else as_order([a - sum(b < a for b in axes) for a in order if a not in axes])


def _transpose(m: Mover, node: Node) -> bool:
    perm = _integers(m, node.inputs[1], rank := _rank(m, node.inputs[0]))
    if perm is None or sorted(perm) != list(range(rank)):
        return False
    m.set_transposed(Port(node.name), node.inputs[0], perm)
    return True


def _elementwise(m: Mover, node: Node) -> bool:
    out = Port(node.name)
    rank, ranks = _rank(m, out), [_rank(m, p) for p in node.inputs]
    whole = [p for p, r in zip(node.inputs, ranks, strict=True) if r == rank]
    if rank < 2 or max(ranks) > rank or all(m.is_constant(p) for p in whole):
        return False
    order = m.choose(whole, [out])
    rows = node.op == "Select" and ranks[0] == 1  # one condition for every row
    if order is None or (rows and order[0] != 0):
        return False
    inputs = [m.get(p) if rows and i == 0 else m.aligned(p, rank, order) for i, p in enumerate(node.inputs)]
    found = [p for p in inputs if p is not None]
    return len(found) == len(inputs) and _done(m, node, found, node.attrs, order)


def _along(tensors: slice, where: int) -> Rule:
    """One axis, or several, in input ``where``; the outputs have the axes of the inputs ``tensors``."""

    def rule(m: Mover, node: Node) -> bool:
        at = where % len(node.inputs)
        given = [p for i, p in enumerate(node.inputs) if i != at][tensors]
        axes = _integers(m, node.inputs[at], _rank(m, given[0]))
        order = m.choose(given, node.ports)
        if axes is None or order is None or len({_rank(m, p) for p in given}) != 1:
            return False
        inputs = [m.get(p, order if p in given and i != at else None) for i, p in enumerate(node.inputs)]
        inputs[at] = _like(m, node.inputs[at], [_at(order, a) for a in axes])
        return _done(m, node, inputs, node.attrs, order)

    return rule


def _rows(count: int) -> Rule:
    """Inputs 1 to ``count`` have a row for every axis of input 0."""

    def rule(m: Mover, node: Node) -> bool:
        x = node.inputs[0]
        order = m.choose([x], node.ports)
        if order is None or any(m.type_of(p).shape[:1] != (len(order),) for p in node.inputs[1 : 1 + count]):  # type: ignore[index]
            return False
        inputs = [m.get(x, order), *(m.permuted(p, order) for p in node.inputs[1 : 1 + count])]
        return _done(m, node, [*inputs, *map(m.get, node.inputs[1 + count :])], node.attrs, order)

    return rule


def _fill(m: Mover, node: Node) -> bool:
    """Of the order that is wanted; its sizes are permuted."""
    order = m.choose([], node.ports)
    return order is not None and _done(
        m, node, [m.permuted(node.inputs[0], order), m.get(node.inputs[1])], node.attrs, order
    )


def _broadcast(m: Mover, node: Node) -> bool:
    x, sizes = node.inputs
    rank = _rank(m, Port(node.name))
    order = m.choose([x] if _rank(m, x) == rank else [], node.ports)
    given = m.aligned(x, rank, order)
    return (
        order is not None and given is not None and _done(m, node, [given, m.permuted(sizes, order)], node.attrs, order)
    )


def _softmax(m: Mover, node: Node) -> bool:
    x = node.inputs[0]
    order = m.choose([x], node.ports)
    if order is None:
        return False
    axis = int(node.attrs.get("axis", -1)) % len(order)
    return _done(m, node, [m.get(x, order)], {**node.attrs, "axis": _at(order, axis)}, order)


def _reduction(m: Mover, node: Node) -> bool:
    x = node.inputs[0]
    axes = _integers(m, node.inputs[1], _rank(m, x))
    if axes is None or len(set(axes)) != len(axes):
        return False
    keeps = node.op not in ("ArgMax", "ArgMin") and bool(node.attrs.get("keep_dims", False))

    def through(order: Order) -> Order:
        return order if keeps else _without(order, axes)

    order = m.choose([x], node.ports, through)
    if order is None:
        return False
    where = _like(m, node.inputs[1], sorted(_at(order, a) for a in axes))
    return _done(m, node, [m.get(x, order), where], node.attrs, through(order))


def _pack(m: Mover, node: Node) -> bool:
    axis = int(node.attrs.get("axis", 0)) % (_rank(m, node.inputs[0]) + 1)
    order = m.choose(node.inputs, node.ports, lambda order: _with(m, node, order, axis)[1])
    at, after = _with(m, node, order, axis)
    if after is None:
        return False
    return _done(m, node, [m.get(p, order) for p in node.inputs], {**node.attrs, "axis": at}, after)


def _with(m: Mover, node: Node, order: Order, axis: int) -> tuple[int, Order]:
    """Where a new axis goes, and the order then: as it is wanted behind, else before the axis that it is before."""
    for wanted in m.wanted(Port(node.name)):
        if wanted is not None and _without(wanted, [axis]) == order:
            return wanted.index(axis), wanted
    if order is None:
        return axis, None
    moved = [a + (a >= axis) for a in order]
    at = moved.index(axis + 1) if axis + 1 in moved else len(moved)
    return at, as_order([*moved[:at], axis, *moved[at:]])


def _unpack(m: Mover, node: Node) -> bool:
    x = node.inputs[0]
    axis = int(node.attrs.get("axis", 0)) % _rank(m, x)
    order = m.choose([x], node.ports, lambda order: _without(order, [axis]))
    if order is None:
        return False
    return _done(m, node, [m.get(x, order)], {**node.attrs, "axis": _at(order, axis)}, _without(order, [axis]))


def _expand(m: Mover, node: Node) -> bool:
    x = node.inputs[0]
    axis = _one(m, node.inputs[1], _rank(m, x) + 1)
    order = m.orders(x)[0]
    if axis is None:
        return False
    at, after = _with(m, node, order, axis)
    return after is not None and _done(m, node, [m.get(x, order), _like(m, node.inputs[1], at)], node.attrs, after)


def _squeeze(m: Mover, node: Node) -> bool:
    x = node.inputs[0]
    shape = m.type_of(x).shape or ()
    given = node.attrs.get("squeeze_dims") or ()
    if not given and None in shape:
        return False
    axes = sorted({int(a) % len(shape) for a in given} if given else {i for i, d in enumerate(shape) if d == 1})
    order = m.orders(x)[0]
    if order is None:
        return False
    attrs = {**node.attrs, "squeeze_dims": tuple(sorted(_at(order, a) for a in axes))}
    return _done(m, node, [m.get(x, order)], attrs, _without(order, axes))


def _reshape(m: Mover, node: Node) -> bool:
    """Where axes are split or joined that follow each other, the others may be in any order."""
    x = node.inputs[0]
    before, after = m.type_of(x).shape or (), m.type_of(Port(node.name)).shape or ()
    order = m.orders(x)[0]
    groups = None if order is None or None in m.orders(x) else groups_of_axes(before, after)
    if groups is None or order is None:
        return False
    source, target = contiguous(order, before, groups)
    wanted = m.wanted(Port(node.name))
    if len(wanted) == 1 and not only_ones_move(before, source, order):  # something is transposed, so as it is wanted
        source, target = arranged(wanted[0] or range(len(after)), groups) or (source, target)
    sizes = sizes_of([after[a] for a in target])
    if sizes is None:
        return False
    shape = m.constant(np.array(sizes, np.int64))
    attrs = {k: v for k, v in node.attrs.items() if k != "Tshape"}
    return _done(m, node, [m.get(x, as_order(source)), shape], attrs, as_order(target))


def _shape(m: Mover, node: Node) -> bool:
    """The sizes are permuted, not what has them."""
    orders = m.orders(node.inputs[0])
    order = orders[0]
    if order is None or None in orders:
        return False
    sizes = m.emit(m.fresh(f"{node.name}/transposed"), "Shape", [m.get(node.inputs[0], order)], node.attrs)
    m.set(Port(node.name), None, m.picked(sizes.ports[0], [order.index(a) for a in range(len(order))], node.name))
    return True


def _size(m: Mover, node: Node) -> bool:
    return _done(m, node, [m.get(node.inputs[0], m.orders(node.inputs[0])[0])], node.attrs, None)


def _gather(m: Mover, node: Node) -> bool:
    x, indices = node.inputs[:2]
    axis = _one(m, node.inputs[2], _rank(m, x))
    picks = _rank(m, indices)
    if axis is None or picks > 1 or int(node.attrs.get("batch_dims", 0)):
        return False

    def through(order: Order) -> Order:
        return order if picks else _without(order, [axis])

    order = m.choose([x], node.ports, through)
    if order is None:
        return False
    inputs = [m.get(x, order), m.get(indices), _like(m, node.inputs[2], _at(order, axis))]
    return _done(m, node, inputs, node.attrs, through(order))


def _strided_slice(m: Mover, node: Node) -> bool:
    """With constant bounds, and without masks that add axes or stand for several."""
    x = node.inputs[0]
    rank = _rank(m, x)
    bounds = [m.value(p) for p in node.inputs[1:]]
    masks = {k: int(node.attrs.get(f"{k}_mask", 0)) for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    if masks["ellipsis"] or masks["new_axis"] or any(b is None or b.ndim != 1 or len(b) > rank for b in bounds):
        return False
    given = len(bounds[0])  # type: ignore[arg-type]
    gone = [i for i in range(given) if masks["shrink_axis"] >> i & 1]
    order = m.choose([x], node.ports, lambda order: _without(order, gone))
    if order is None:
        return False
    attrs = dict(node.attrs)
    for name in ("begin", "end", "shrink_axis"):
        whole = masks[name] & ((1 << given) - 1) | (0 if name == "shrink_axis" else (1 << rank) - (1 << given))
        attrs[f"{name}_mask"] = sum((whole >> a & 1) << i for i, a in enumerate(order))
    inputs = [m.get(x, order)]
    for value, fill in zip(bounds, (0, 0, 1), strict=True):
        full = np.full(rank, fill, value.dtype)  # type: ignore[union-attr]
        full[:given] = value
        inputs.append(m.constant(full[list(order)]))
    return _done(m, node, inputs, attrs, _without(order, gone))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "Transpose": _transpose,
    "Concat": _along(slice(None), 0),
    "ConcatV2": _along(slice(None), -1),
    "Split": _along(slice(0, 1), 0),
    "SplitV": _along(slice(0, 1), 2),
    "ReverseV2": _along(slice(0, 1), 1),
    "Roll": _along(slice(0, 1), 2),
    **dict.fromkeys(("Cumsum", "Cumprod"), _along(slice(0, 1), 1)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "ArgMax", "ArgMin"), _reduction),
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad", "Tile"), _rows(1)),
    "Slice": _rows(2),
    "Fill": _fill,
    "BroadcastTo": _broadcast,
    "StridedSlice": _strided_slice,
    "GatherV2": _gather,
    "Pack": _pack,
    "Unpack": _unpack,
    "ExpandDims": _expand,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Shape": _shape,
    **dict.fromkeys(("Size", "Rank"), _size),
}
