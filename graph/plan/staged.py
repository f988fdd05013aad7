"""Ops without kernels that the plan runs itself, each a stage of its own: what computes such a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import Node
from ..opdefs import LISTS, LOOPS, RANDOM
from .draws import draws
from .lists import lists
from .loops import branch, loop
from .lowering import Options

__all__ = ["evaluator"]

Value = np.ndarray[Any, Any]


def evaluator(node: Node, options: Options) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    """From the values of the inputs to those of the outputs."""
    if node.op in LISTS:
        return lists(node)
    if node.op in LOOPS:
        return (loop if node.op == "KiWhile" else branch)(node, options.inner)
    if node.op == "Print":
        return lambda arrays: (arrays[0],)
    assert node.op in RANDOM
    return draws(node, options.streams)
