"""Evaluates what depends on constants alone, with the reference backend.

Small results (shapes, batch-norm factors) are computed at once. Large ones (transposed weights) become lazy literals:
they are computed when a kernel packs them and are kept nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import Any

import numpy as np

from ..evaluate import evaluate
from ..ir import Graph, Literal, Node, Port
from ..opdefs import OPDEFS, STRUCTURAL, Site
from ..rewrite import Rewriter, infer_node

__all__ = ["fold_constants"]

#: Bytes up to which results are computed at once.
_EAGER = 1 << 16
#: A fold may not make more bytes than this out of smaller inputs (Fill, Tile).
_GROWTH = 1 << 26

Value = np.ndarray[Any, Any]


def fold_constants(graph: Graph) -> Graph:
    """Nodes whose inputs are all constants become constants; Shape, Size and Rank of known shapes too."""
    edit = Rewriter(graph)
    for original in graph:
        if original.op in STRUCTURAL or original.op not in OPDEFS:
            continue
        node = edit.node(original.name)
        describes = node.op in ("Shape", "Size", "Rank")
        literals = [edit.literal(p) for p in node.inputs]
        if not describes and (any(x is None for x in literals) or (not literals and node.op != "Range")):
            continue
        site = Site(
            node.name, node.op, node.attrs, tuple(edit.type_of(p) for p in node.inputs),
            lambda i, node=node: edit.value(node.inputs[i]),  # type: ignore[misc]
        )  # fmt: skip
        if describes:
            results = evaluate(site, ())
            folded = (
                None if results is None else [_keyed(results[0], ("shape", results[0].dtype.str, results[0].tobytes()))]
            )
        else:
            folded = _fold(node, site, [x for x in literals if x is not None])
        if folded is None:
            continue
        if len(folded) == 1:
            edit.replace_by_constant(node.name, folded[0])
            continue
        for index, literal in enumerate(folded):
            edit.redirect(Port(node.name, index), edit.constant(f"{node.name}/folded_{index}", literal))
    return edit.finish()


def _fold(node: Node, site: Site, literals: list[Literal]) -> list[Literal] | None:
    types = infer_node(node, lambda p: site.inputs[node.inputs.index(p)], lambda p: site.value_of(node.inputs.index(p)))
    if not all(t.known for t in types):
        return None
    size = sum(prod(t.dims) * t.dtype.itemsize for t in types)
    given = sum(x.type.size * x.dtype.itemsize for x in literals)
    if size > max(_GROWTH, given):
        return None

    def compute() -> tuple[Value, ...]:
        outputs = evaluate(site, [x.array() for x in literals])
        assert outputs is not None
        return outputs

    # The key says how the value came about, so that every session of a graph finds what was packed from it.
    attrs = tuple(sorted((k, repr(v)) for k, v in node.attrs.items()))
    key = ("folded", node.op, attrs, tuple(x.key for x in literals))
    if size <= _EAGER and given <= _EAGER:
        results = evaluate(site, [x.array() for x in literals])
        return None if results is None else [_keyed(r, (*key, i)) for i, r in enumerate(results)]
    return [Literal.lazy(t.dtype, t.dims, _picker(compute, i), (*key, i)) for i, t in enumerate(types)]


def _keyed(array: Value, key: Hashable) -> Literal:
    literal = Literal.of(array)
    literal.key = key
    return literal


def _picker(compute: Callable[[], tuple[Value, ...]], index: int) -> Callable[[], Value]:
    return lambda: compute()[index]
