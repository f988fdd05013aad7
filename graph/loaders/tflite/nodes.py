"""What is added to the graph: operations of TensorFlow's types, constants that the conversion needs, legal names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...builder import Graph, Tensor
from ...ir import Literal

__all__ = ["Nodes", "legal"]

_ILLEGAL = re.compile(r"[^A-Za-z0-9_.\\/>-]")
_MOST_LETTERS = 120


def legal(name: str) -> str:
    """A name for an operation: the first of the names that a fused tensor has, with letters that the builder takes."""
    first = _ILLEGAL.sub("_", re.sub(r":\d+$", "", name.split(";")[0])[:_MOST_LETTERS]).strip("/")
    return first if re.match(r"[A-Za-z0-9.]", first) else f"t{first}"


class Nodes:
    """Adds to ``graph``."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def add(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str, outputs: int = 1) -> Tensor:
        """The first output of a new operation. An op that kigraph lacks stays in the graph and cannot run."""
        return self.graph.create_op(op, inputs, attrs, f"{name}/{op}", num_outputs=outputs).outputs[0]

    def known(self, value: Any, dtype: Any = np.int32, name: str = "constant") -> Tensor:
        """A constant that is not in the file."""
        array = np.array(value, dtype)
        literal = Literal.of(array, ("tflite", array.dtype.str, array.shape, array.tobytes()))
        return self.graph.create_op("Const", (), {"value": literal, "dtype": literal.dtype}, name).outputs[0]
