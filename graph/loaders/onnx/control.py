"""Branches whose condition is known while the file is read."""

from __future__ import annotations

from collections.abc import Mapping

from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS"]


def _if(n: Node) -> list[Tensor]:
    """The branch that is taken, in place. Exporters write such an If for shapes that are fixed."""
    condition = n.value(n.input(0))
    then, other = n.subgraph("then_branch"), n.subgraph("else_branch")
    if condition is None or condition.size != 1:
        raise n.unsupported("a condition that is computed while it runs", "export the model with fixed shapes")
    taken = bool(condition.reshape(-1)[0])
    return n.importer.body(n, then if taken else other, "then" if taken else "else")


CONVERTERS: Mapping[str, Converter] = {"If": _if}
