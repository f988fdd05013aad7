"""How a file says that it is called: its own names for the inputs and outputs of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SERVING_DEFAULT", "Signature"]

#: The key of the signature that is meant where none is named; TensorFlow's word.
SERVING_DEFAULT = "serving_default"


@dataclass(frozen=True, slots=True)
class Signature:
    """``inputs``, ``outputs``: the file's name of each, in its order -> the tensor of the graph, 'operation:index'."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
