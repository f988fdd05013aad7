"""Adds operations to a graph under their exact names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ir
from ..builder import Graph, Operation, Tensor

__all__ = ["FLOAT32", "INT32", "Nodes"]

FLOAT32, INT32 = np.dtype(np.float32), np.dtype(np.int32)


class Nodes:
    """Adds operations under their exact names."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def operation(
        self, type: str, inputs: Sequence[Tensor], name: str, control: Sequence[Operation] = (), **attrs: Any
    ) -> Operation:
        return self.graph.create_op(type, inputs, attrs, name, control, exact_name=True)

    def op(
        self, type: str, inputs: Sequence[Tensor], name: str, control: Sequence[Operation] = (), **attrs: Any
    ) -> Tensor:
        return self.operation(type, inputs, name, control, **attrs).outputs[0]

    def const(self, name: str, value: ir.Literal | np.ndarray[Any, Any]) -> Tensor:
        literal = value if isinstance(value, ir.Literal) else ir.Literal.of(value)
        return self.op("Const", (), name, dtype=literal.dtype, value=literal)
