"""Ops without kernels that the plan runs itself, each a stage of its own: what computes such a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels.contracts.base import merge_shapes
from ...kernels.tensor import dtype_name
from ..errors import GraphError
from ..ir import UNKNOWN, Node
from ..opdefs import LISTS, LOOPS, RANDOM
from .draws import draws
from .effects import EFFECTS, effect, read_file, summary
from .lists import lists
from .loops import branch, loop
from .lowering import Options

__all__ = ["evaluator"]

Value = np.ndarray[Any, Any]


def evaluator(node: Node, options: Options) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    """From the values of the inputs to those of the outputs, which are of the types that the graph states.

    Outputs may share memory with inputs and with each other.
    """
    evaluate = _evaluator(node, options)
    stated = node.outputs

    def run(arrays: Sequence[Value]) -> tuple[Value, ...]:
        made = evaluate(arrays)
        for index, (array, t) in enumerate(zip(made, stated, strict=True)):
            # What is behind may be compiled for the stated shape, and copying into that would broadcast.
            if array.dtype != t.dtype and t.dtype != UNKNOWN:
                raise GraphError(
                    f"{node}: output {index} is {dtype_name(array.dtype)}, stated as {t}; feed '{node.name}:{index}'"
                )
            merge_shapes(f"{node}: output {index}", t.shape, array.shape)
        return made

    return run


def _evaluator(node: Node, options: Options) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    if node.op in LISTS:
        return lists(node)
    if node.op in LOOPS:
        return (loop if node.op == "KiWhile" else branch)(node, options.inner)
    if node.op in EFFECTS:
        return effect(node, options.streams)
    if node.op == "KiReadFile":
        return lambda arrays: (read_file(node, arrays[0]),)
    if node.op == "KiSummary":
        return lambda arrays: (summary(arrays[0], arrays[1]),)
    if node.op == "Print":
        return lambda arrays: (arrays[0],)
    assert node.op in RANDOM
    return draws(node, options.streams)
