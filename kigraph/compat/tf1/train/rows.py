"""Which rows of a table a step reads: optimizers that keep something for each row leave the others as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....graph import builder as core
from ..array import ones_like, reshape, zeros_like
from ..building import convert
from ..graph import Graph, Tensor
from ..math import FUNCTIONS
from ..parts import scatter_nd, where_v2
from ..variables import Variable

__all__ = ["kept", "note"]

_STORE = "rows of gradients"


def note(graph: Graph, loss: Tensor, gradient: Tensor | None, variable: Variable) -> None:
    """Remembers the gradient of a variable that ``loss`` reads by tf.gather alone."""
    indices = _gathers(loss.core.op, variable.op.core)
    if gradient is not None and indices:
        graph.stores.setdefault(_STORE, {})[gradient.core] = [graph.wrap(t) for t in indices]


def _gathers(end: core.Operation, variable: core.Operation) -> list[core.Tensor]:
    """The indices of all reads of a variable before an operation; none if something else than gathers reads it."""
    found: list[core.Tensor] = []
    stack, seen = [end], set()
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        for i, tensor in enumerate(op.inputs):
            source = tensor.op
            is_read = source.type == "Identity" and source.inputs[0].op is variable
            if (source is variable and op.type != "Identity") or is_read:
                axis = core.value_of(op.inputs[2]) if op.type == "GatherV2" and i == 0 else None
                if axis is None or int(np.asarray(axis)) != 0:
                    return []
                found.append(op.inputs[1])
            stack.append(source)
    return found


def kept(gradient: Tensor, variable: Variable) -> Any:
    """A function (new, old) -> new, with the old values (none: 0) in rows that the step did not read."""
    indices = variable.graph.stores.get(_STORE, {}).get(gradient.core)
    if indices is None:
        return lambda new, old=None: new
    sizes = variable.shape.as_list()
    flat = [reshape(t, [-1, 1]) for t in indices]
    read: Any = None
    for index in flat:
        ones = ones_like(reshape(index, [-1]), "float32")
        hit = FUNCTIONS["greater"](scatter_nd(index, ones, convert([sizes[0]], index.dtype)), 0.0)
        read = hit if read is None else FUNCTIONS["logical_or"](read, hit)
    mask = reshape(read, [sizes[0], *([1] * (len(sizes) - 1))])
    return lambda new, old=None: where_v2(mask, new, zeros_like(new) if old is None else old)
