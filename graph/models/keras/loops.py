"""Recurrent layers over sequences of any length: a loop whose body is one step of the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ... import ir, ops
from ...builder import Graph, Tensor
from .building import Building

__all__ = ["looped"]

_I32 = np.dtype(np.int32)


def looped(
    cell: Building,
    step: Callable[[Building, Tensor, list[Any]], tuple[Tensor, list[Any]]],
    parts: Tensor,
    mask: Tensor | None,
    states: Sequence[Tensor],
    zero: Tensor,
    backward: bool,
    zeros: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """All outputs (batch, steps, units), the last one, the states after it.

    ``parts``: (batch, steps, ...), the share of the input. ``mask``: (batch, steps); steps that do not count leave the
    states as they are, and repeat the output before, or give zeros (``zeros``).
    """
    steady = [ops.transpose(parts, [1, 0, 2]), ops.shape(parts)[1]]
    if mask is not None:
        steady.append(ops.expand_dims(ops.transpose(mask, [1, 0]), 2))
    element = ops.constant(np.array([-1, cell.whole("units")], _I32))
    most = ops.constant(np.array(-1, _I32))
    empty = cell.raw("EmptyTensorList", element, most, element_dtype=parts.dtype, shape_type=_I32)
    start = [ops.constant(np.array(0, _I32)), empty, zero, *states]
    types = [t.type for t in (*start, *steady)]

    body = Graph()
    with body.as_default():
        at, listed, before, *now = names = _placeholders(body, types)
        held, rest = now[: len(states)], now[len(states) :]
        place = ops.subtract(ops.subtract(rest[1], 1), at) if backward else at
        inside = Building(replace(cell.shared, graph=body, constants={}, masks={}), cell.layer)
        made, after = step(inside, ops.gather(rest[0], place), list(held))
        if mask is not None:
            mark = ops.gather(rest[2], place)
            after = [ops.where(mark, new, old) for new, old in zip(after, held, strict=True)]
            made = ops.where(mark, made, ops.zeros_like(before) if zeros else before)
        listed = inside.raw("TensorListPushBack", listed, made, element_dtype=made.dtype)
        body_graph = _frozen(body, [ops.add(at, 1), listed, made, *after])
    cond = Graph()
    with cond.as_default():
        asked = _placeholders(cond, types)
        cond_graph = _frozen(cond, [ops.less(asked[0], asked[len(start) + 1])])
    attrs = {
        "cond": cond_graph, "body": body_graph, "cond_inputs": tuple(t.op.name for t in asked),
        "body_inputs": tuple(t.op.name for t in names), "count": len(start),
    }  # fmt: skip
    _, listed, last, *after = cell.graph.create_op("KiWhile", [*start, *steady], attrs, num_outputs=len(start)).outputs
    every = cell.raw("TensorListStack", listed, element, element_dtype=parts.dtype, num_elements=-1)
    last, *after = (cell.raw("EnsureShape", t, shape=zero.shape) for t in (last, *after))
    return ops.transpose(every, [1, 0, 2]), last, list(after)


def _placeholders(graph: Graph, types: Sequence[Any]) -> list[Tensor]:
    return [
        graph.create_op("Placeholder", (), {"dtype": t.dtype, "shape": t.shape}, f"input_{i}").outputs[0]
        for i, t in enumerate(types)
    ]


def _frozen(graph: Graph, outputs: Sequence[Tensor]) -> ir.Graph:
    return ir.Graph(graph.freeze().nodes, tuple(x.port for x in outputs))
