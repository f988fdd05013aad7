"""Evaluates one op at once with the reference backend: constant folding, and shapes that are computed from constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.backends import REFERENCE
from ..kernels.devices import HOST
from ..kernels.errors import KigraphError
from ..kernels.registry import select
from ..kernels.types import NoConstants, Query, TensorType
from .errors import GraphError, located
from .opdefs import STRUCTURAL, NeedsValue, OpDef, Site, opdef

__all__ = ["evaluate", "shape_of"]

Value = np.ndarray[Any, Any]


def shape_of(op: str, site: Site) -> Value | None:
    """The value of Shape, Size or Rank, which follow from the input's type alone; None if it is not known."""
    x = site.inputs[0]
    dtype = site.attr("out_type", np.dtype(np.int32))
    if op == "Rank":
        return None if x.rank is None else np.array(x.rank, np.int32)
    if not x.known:
        return None
    return np.array(x.dims if op == "Shape" else x.size, dtype)


def evaluate(site: Site, inputs: Sequence[Value | None]) -> tuple[Value, ...] | None:
    """The outputs of one op, or None if an input that it needs is not known or its op has no kernel."""
    if site.op in ("Shape", "Size", "Rank"):
        value = shape_of(site.op, site)
        return None if value is None else (value,)
    if site.op in STRUCTURAL or site.op == "PlaceholderWithDefault" or site.op.startswith("Assign"):
        return None
    definition = opdef(site.op, site.name)
    try:
        return _evaluate(definition, site, inputs)
    except NeedsValue:
        return None
    except KigraphError as error:
        raise located(error, site.op, site.name) from error.__cause__
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise GraphError(f"{site.op} '{site.name}': {error}") from error


def _evaluate(definition: OpDef, site: Site, inputs: Sequence[Value | None]) -> tuple[Value, ...] | None:
    lowered = definition.lowered(site)
    picked = range(len(inputs)) if lowered.inputs is None else lowered.inputs
    values = [inputs[i] for i in picked]
    if any(v is None for v in values):
        return None
    arrays: list[Value] = [v for v in values if v is not None]
    contract = lowered.contract
    types = contract.check([TensorType(a.dtype, a.shape) for a in arrays], lowered.params)
    wanted = definition.types(site)
    if contract.view:
        return _all_outputs(definition, site, inputs, [arrays[0].reshape(wanted[0].dims)])
    query = Query(contract, tuple(TensorType(a.dtype, a.shape) for a in arrays), types, lowered.params)
    kernel = select(query, (REFERENCE,)).kernel
    if kernel.evaluate is not None:
        return kernel.evaluate(arrays, lowered.params)
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, NoConstants())
    outputs = [np.empty(t.dims, t.dtype) for t in types]
    workspace = HOST.allocate(prepared.workspace_bytes) if prepared.workspace_bytes else None
    prepared.bind(arrays, outputs, workspace)()
    return _all_outputs(definition, site, inputs, [o.reshape(t.dims) for o, t in zip(outputs, wanted, strict=False)])


def _all_outputs(
    definition: OpDef, site: Site, inputs: Sequence[Value | None], computed: Sequence[Value]
) -> tuple[Value, ...] | None:
    """The kernel's outputs, then those that are just an input; None if there are others."""
    handed_on = definition.hands_on(site.attrs)
    results = list(computed)
    for index in range(len(computed), len(definition.types(site))):
        value = inputs[handed_on[index]] if index in handed_on else None
        if value is None:
            return None
        results.append(value)
    return tuple(results)
