"""Compiles one part of a plan: kernels chosen, memory laid out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ...kernels.devices import HOST
from ...kernels.kernel import Query
from ...kernels.registry import select
from ...kernels.tensor import STRING, TensorType
from ..ir import Graph, Port
from ..opdefs import STAGED, Known, resolve
from .direct import direct_ports
from .lowering import Options, Step, lower_part
from .memory import lay_out
from .partition import Part
from .stage import DynamicStage, Stage
from .staged import evaluator

__all__ = ["compile_stage"]

Value = np.ndarray[Any, Any]


def compile_stage(
    graph: Graph,
    part: Part,
    types: Mapping[Port, TensorType],
    values: Mapping[Port, Value],
    options: Options,
    bound: Collection[Port] = (),
    lent: Collection[Port] = (),
) -> Stage | DynamicStage:
    """Chooses kernels and lays out memory for given input types (all shapes known).

    bound: inputs that are the same dense arrays in every run; lent: outputs that need not be copied. Both where they can.
    """
    if part.dynamic:
        return _compile_dynamic(graph, part, types, values, options)
    lowering = lower_part(graph, part, types, values, options)
    home = lowering.home
    there = {p for p in bound if p in part.inputs and p in home and home[p].name == HOST.name}
    there = {p for p in there if lowering.types[p].dtype != STRING}
    lends = frozenset(lent) & set(part.outputs)
    direct = direct_ports(lowering, part, there | {lowering.root(p) for p in lends})
    layout = lay_out(lowering, part.inputs, part.outputs, there, direct)
    there -= set(layout.places)
    fed = tuple((p, home[p]) for p in part.inputs if p in home and p not in there and p not in layout.direct)
    return Stage(part, lowering, layout, options.store, fed, frozenset(there), lends)


def _compile_dynamic(
    graph: Graph, part: Part, types: Mapping[Port, TensorType], values: Mapping[Port, Value], options: Options
) -> DynamicStage:
    (node,) = part.nodes
    literals = {p: x.array() for p in node.inputs if (x := graph.literal(p)) is not None}
    if node.op in STAGED:
        step = Step(
            node.name, node.op, [], list(zip(node.ports, node.outputs, strict=True)), HOST, note="a stage of its own"
        )
        return DynamicStage(part, evaluator(node, options), step, node.inputs, literals)
    known = Known({**types, **{p: TensorType(a.dtype, a.shape) for p, a in literals.items()}}, {**values, **literals})
    resolved = resolve(known.site(node))
    params, ports = resolved.params, resolved.pick(node.inputs)
    query = Query(
        resolved.contract,
        resolved.inputs,
        resolved.written(),
        params,
        threads=options.threads,
        numerics=options.numerics,
    )
    selection = select(query, options.order)
    kernel = selection.kernel
    evaluate = kernel.evaluate
    assert evaluate is not None
    step = Step(
        node.name, node.op, list(zip(ports, query.inputs, strict=True)),
        list(zip(node.ports, query.outputs, strict=False)), HOST, query, kernel, None, selection.rejected,
    )  # fmt: skip
    return DynamicStage(part, lambda arrays: evaluate(arrays, params), step, ports, literals)
