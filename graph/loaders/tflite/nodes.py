"""What is added to the graph: operations of TensorFlow's types, constants that the conversion needs, legal names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...builder import Graph, Tensor
from ...formats.limits import Budget
from ...ir import Literal

__all__ = ["Nodes", "legal"]

_ILLEGAL = re.compile(r"[^A-Za-z0-9_.\\/>-]")
_MOST_LETTERS = 120


def legal(name: str) -> str:
    """A name for an operation: the first of the names that a fused tensor has, with letters that the builder takes."""
    first = _ILLEGAL.sub("_", re.sub(r":\d+$", "", name.split(";")[0])[:_MOST_LETTERS]).strip("/")
    return first if re.match(r"[A-Za-z0-9.]", first) else f"t{first}"


class Nodes:
    """Adds to ``graph``. What is added counts against the limits, too: one operator of a file may become ten."""

    def __init__(self, graph: Graph, budget: Budget) -> None:
        self.graph, self.budget = graph, budget
        self._known: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}

    def create(
        self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str, outputs: int = 1
    ) -> tuple[Tensor, ...]:
        """The outputs of a new operation. An op that kigraph lacks stays in the graph and cannot run."""
        self.budget.nodes(name)
        return self.graph.create_op(op, inputs, attrs, name, num_outputs=outputs).outputs

    def add(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str) -> Tensor:
        """The first output of a new operation with a name of its own inside of ``name``."""
        return self.create(op, inputs, attrs, f"{name}/{op}")[0]

    def const(self, literal: Literal, name: str) -> Tensor:
        """A new constant."""
        return self.create("Const", (), {"value": literal, "dtype": literal.dtype}, name)[0]

    def known(self, value: Any, dtype: Any = np.int32, name: str = "constant") -> Tensor:
        """A constant that is not in the file. Equal ones are one."""
        with np.errstate(over="ignore"):  # the inverse of a scale that no writer states
            array = np.array(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.const(Literal.of(array, ("tflite", *key)), name)
        return self._known[key]
