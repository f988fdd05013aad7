"""Reverse-mode differentiation: ``gradients(ys, xs)`` adds the backward graph.

registry.py: the table of gradient functions, one per contract. math.py, nn.py, array.py, special.py, blocks.py: the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels.tensor import dtype_name, is_float
from .. import ops
from ..builder import Operation, Tensor
from ..errors import GraphError
from ..opdefs import DESCRIBES, OPDEFS
from ..ops.building import convert
from . import array as _array
from . import blocks as _blocks
from . import math as _math
from . import nn as _nn
from . import special as _special
from .registry import GRADIENTS, use_of

__all__ = ["GRADIENTS", "gradients"]

_FAMILIES = (_array, _blocks, _math, _nn, _special)
#: Op types without inputs, or whose outputs do not depend smoothly on them: nothing flows further.
_SOURCES = frozenset(["Const", "Placeholder", "VariableV2", "NoOp", "ZerosLike", "OnesLike", *DESCRIBES])


def gradients(
    ys: Tensor | Sequence[Tensor], xs: Tensor | Sequence[Tensor], grad_ys: Any = None, name: str = "gradients"
) -> list[Tensor | None]:
    """The gradients of sum(ys) with respect to each of ``xs``, as new tensors of the graph.

    ys, xs: a tensor or a list of tensors of one graph, of float dtype. grad_ys: weights of ys instead of ones, of the
    same shapes. Returns one tensor per x, of its shape and dtype, or None where ys do not depend on x.

    Reverse accumulation over the operations between xs and ys (Linnainmaa 1970): each op's gradient function is found
    by its contract. Raises GraphError for an op on the way that cannot be differentiated, naming op and node.
    """
    targets = [ys] if isinstance(ys, Tensor) else list(ys)
    sources = [xs] if isinstance(xs, Tensor) else list(xs)
    for t in (*targets, *sources):
        if not isinstance(t, Tensor) or not is_float(t.dtype):
            raise GraphError(f"gradients: {t!r} must be a tensor of a float dtype")
    if not targets:
        raise GraphError("gradients: ys is empty")
    graph = targets[0].graph
    weights = [None] * len(targets) if grad_ys is None else [grad_ys] if isinstance(ys, Tensor) else list(grad_ys)
    if len(weights) != len(targets):
        raise GraphError(f"gradients: {len(targets)} ys but {len(weights)} grad_ys")
    # A scalar y is the common case: its gradient is the constant 1 of its own dtype.
    with graph.as_default(), graph.name_scope(None), graph.name_scope(name):
        found: dict[Tensor, list[Tensor]] = {}
        for y, weight in zip(targets, weights, strict=True):
            seed = ops.ones_like(y) if weight is None else convert(weight, y.dtype)
            found.setdefault(y, []).append(seed)
        between = _between(targets, sources)
        for op in reversed([op for op in graph.operations if op in between]):
            _backward(op, between, found)
        return [_total(found, x) for x in sources]


def _between(ys: Sequence[Tensor], xs: Sequence[Tensor]) -> set[Operation]:
    """Operations on a path from xs to ys."""
    above: set[Operation] = set()
    stack = [y.op for y in ys]
    while stack:
        op = stack.pop()
        if op not in above:
            above.add(op)
            stack.extend(t.op for t in op.inputs)
    reached: set[Operation] = set()
    starts = set(xs)
    graph = ys[0].graph
    for op in graph.operations:
        if op in above and any(t in starts or t.op in reached for t in op.inputs):
            reached.add(op)
    return reached


def _total(found: dict[Tensor, list[Tensor]], tensor: Tensor) -> Tensor | None:
    parts = found.get(tensor)
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = ops.add(total, part)
    found[tensor] = [total]
    return total


def _of_merge(op: Operation, totals: list[Tensor | None], found: dict[Tensor, list[Tensor]]) -> None:
    """The gradient goes to the side that was live."""
    if totals[0] is not None:
        sides = op.graph.create_op("Switch", [totals[0], op.graph.predicates[op]]).outputs
        for source, gradient in zip(op.inputs, sides, strict=True):
            found.setdefault(source, []).append(gradient)


def _of_switch(op: Operation, totals: list[Tensor | None], found: dict[Tensor, list[Tensor]]) -> None:
    """What reads the value on either side; a side that does not gives zeros."""
    value, predicate = op.inputs
    if not is_float(value.dtype):
        return
    sides = []
    for index, total in enumerate(totals):
        if total is None:
            sides.append(op.graph.create_op("Switch", [ops.zeros_like(value), predicate]).outputs[index])
        else:
            # A gradient that is a constant is not on the side of the branch: it is put there.
            sides.append(op.graph.create_op("Switch", [total, predicate]).outputs[index] if _is_free(total) else total)
    merged = op.graph.create_op("Merge", sides, {"N": 2})
    op.graph.predicates[merged] = predicate
    found.setdefault(value, []).append(merged.outputs[0])


def _is_free(tensor: Tensor) -> bool:
    """Whether a tensor depends on no Switch, so that it has a value on both sides of a branch."""
    seen: set[Operation] = set()
    stack = [tensor.op]
    while stack:
        op = stack.pop()
        if op.type == "Switch":
            return False
        if op not in seen and op.type != "Merge":
            seen.add(op)
            stack.extend(t.op for t in op.inputs)
            stack.extend(op.control_inputs)
    return True


def _backward(op: Operation, between: set[Operation], found: dict[Tensor, list[Tensor]]) -> None:
    totals = [_total(found, t) for t in op.outputs]
    if op.type in _SOURCES or all(t is None for t in totals):
        return
    if op.type not in OPDEFS:
        raise GraphError(f"gradients: op {op.type} (node '{op.name}') is not supported")
    if op.type.startswith("Assign"):
        raise GraphError(f"gradients: {op.type} '{op.name}' cannot be differentiated; differentiate before assigning")
    if op.type == "Switch" or op in op.graph.predicates:
        (_of_switch if op.type == "Switch" else _of_merge)(op, totals, found)
        return
    contract, use, picked = use_of(op)
    function = GRADIENTS.get(contract)
    if function is None:
        raise GraphError(
            f"gradients: {op.type} '{op.name}' ({contract.name}) cannot be differentiated; "
            f"put ki.stop_gradient before it if no gradient should flow there"
        )
    grads = [t if t is not None else ops.zeros_like(y) for t, y in zip(totals, op.outputs, strict=True)]
    for index, found_one in zip(picked, function(use, use.gradients_of_outputs(grads)), strict=True):
        source = op.inputs[index]
        if found_one is None or not is_float(source.dtype):
            continue
        gradient = use.gradient_of_input(index, found_one)
        if gradient.dtype != source.dtype:
            raise GraphError(
                f"gradient of {op.type} for input {index} is {dtype_name(gradient.dtype)}, expected {dtype_name(source.dtype)}"
            )
        found.setdefault(source, []).append(gradient)
