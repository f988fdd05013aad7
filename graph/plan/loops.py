"""Loops and branches whose graphs are attributes of a node: run step by step, each time with plans that are kept.

As in TensorFlow a loop ends when its condition says so; Ctrl-C ends it between two kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ..errors import GraphError
from ..ir import Graph, Node, Port
from ..rewrite import reachable

__all__ = ["Inner", "branch", "loop"]

Value = np.ndarray[Any, Any]
Run: TypeAlias = Callable[[Sequence[Port], Mapping[Port, Value]], list[Value]]
Inner: TypeAlias = Callable[[Graph], Run] | None
Evaluate: TypeAlias = Callable[[Sequence[Value]], tuple[Value, ...]]


class _Part:
    """A graph with the numbers of the inputs that it reads."""

    def __init__(self, graph: Graph, names: Sequence[str], inner: Inner, wanted: Sequence[int] | None = None) -> None:
        assert inner is not None
        outputs = graph.outputs if wanted is None else tuple(graph.outputs[i] for i in wanted)
        needed = reachable(replace(graph, outputs=outputs))
        self._fed = [(i, Port(name)) for i, name in enumerate(names) if name in needed]
        self._run, self._outputs = inner(graph), outputs

    def __call__(self, arrays: Sequence[Value]) -> list[Value]:
        return self._run(self._outputs, {port: arrays[i] for i, port in self._fed})


def loop(node: Node, inner: Inner) -> Evaluate:
    """KiWhile: the first ``count`` inputs are what the body changes, the others stay."""
    cond = _Part(node.attrs["cond"], node.attrs["cond_inputs"], inner)
    count: int = node.attrs["count"]
    changing = [i for i in range(count) if i not in node.attrs.get("steady", ())]
    body = _Part(node.attrs["body"], node.attrs["body_inputs"], inner, changing)

    def evaluate(arrays: Sequence[Value]) -> tuple[Value, ...]:
        state = list(arrays)
        while _true(node, cond(state)[0]):
            for i, value in zip(changing, body(state), strict=True):
                state[i] = value
        return tuple(state[:count])

    return evaluate


def branch(node: Node, inner: Inner) -> Evaluate:
    """KiBranch: input 0 says which graph gets the others. An index that no graph has means the last one."""
    parts = [
        _Part(graph, names, inner)
        for graph, names in zip(node.attrs["branches"], node.attrs["branch_inputs"], strict=True)
    ]

    def evaluate(arrays: Sequence[Value]) -> tuple[Value, ...]:
        if node.attrs.get("index"):
            index = int(_scalar(node, arrays[0]))
            part = parts[index] if 0 <= index < len(parts) else parts[-1]
        else:
            part = parts[int(_true(node, arrays[0]))]
        return tuple(part(arrays[1:]))

    return evaluate


def _scalar(node: Node, value: Value) -> Any:
    if value.size != 1:
        raise GraphError(f"{node}: what decides has shape {value.shape}, expected one element")
    return value.reshape(-1)[0]


def _true(node: Node, value: Value) -> bool:
    """As TensorFlow takes a value for a truth: a bool, a number other than 0, a string that is not empty; else any elements."""
    return bool(_scalar(node, value)) if value.ndim == 0 else bool(value.size)
