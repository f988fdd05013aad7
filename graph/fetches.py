"""What a caller wants of a graph, in any nesting, and the results in the same nesting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .builder import Graph, Operation, Tensor
from .errors import FetchError, GraphError
from .hints import ends_text, shown
from .ir import Port

__all__ = ["Fetches", "stranger"]


def stranger(graph: Graph, item: object, expected: str) -> str:
    """The error text for an ``item`` that is neither ``expected`` nor its name in ``graph``: why, and what the graph has."""
    text = f"{shown(item)} is not {expected} of this session's graph, nor a name of one"
    if isinstance(item, Operation) and item.graph is graph:
        text = f"{item.type} {shown(item.name)} has 0 outputs, so there is nothing to feed"
    elif isinstance(item, (Tensor, Operation)):
        text = f"{shown(item)} is not {expected} of this session's graph, but of another"
        if (item.op.name if isinstance(item, Tensor) else item.name) in graph:
            return f"{text}, which has one of that name: pass the name, {shown(item.name)}"
    elif isinstance(item, bytes):
        text = f"{text}: names are text, not bytes"
    return f"{text} ({ends_text(graph.freeze())})"


class Fetches:
    """Flattens fetches to ports and operations; ``rebuild`` puts values into the same nesting.

    A leaf is a Tensor, an Operation or a name; lists, tuples (named ones too) and dicts nest.
    """

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self._ports: dict[Port, int] = {}
        self._targets: dict[str, None] = {}
        try:
            self._tree = self._flatten(fetches)
        except RecursionError:
            raise FetchError("fetch: lists and dicts are nested too deep, or hold themselves") from None

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(self._ports)

    @property
    def targets(self) -> tuple[str, ...]:
        """Operations that are run for their effect."""
        return tuple(self._targets)

    def _flatten(self, item: Any) -> Any:
        if isinstance(item, Mapping):
            return {k: self._flatten(v) for k, v in item.items()}
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            return type(item)(*map(self._flatten, item))
        if isinstance(item, (list, tuple)):
            return type(item)(map(self._flatten, item))
        return self._leaf(item)

    def _leaf(self, item: Any) -> int | None:
        if isinstance(item, str):
            try:
                a_tensor = ":" in item or item in self._graph.aliases
                found: Any = self._graph.tensor(item) if a_tensor else self._graph.operation(item)
            except GraphError as error:
                raise FetchError(f"fetch: {error}") from None
            item = found.outputs[0] if isinstance(found, Operation) and found.outputs else found
        if not isinstance(item, (Tensor, Operation)) or item.graph is not self._graph:
            raise FetchError(f"fetch: {stranger(self._graph, item, 'a tensor or operation')}")
        if isinstance(item, Operation):
            self._targets[item.name] = None
            return None
        return self._ports.setdefault(item.port, len(self._ports))

    def rebuild(self, values: Sequence[np.ndarray[Any, Any]]) -> Any:
        """The tree of fetches with values in the leaves, no two in the same memory; scalars as NumPy scalars or bytes."""
        return self._fill(self._tree, values, set())

    def _fill(self, item: Any, values: Sequence[np.ndarray[Any, Any]], given: set[int]) -> Any:
        if isinstance(item, Mapping):
            return {k: self._fill(v, values, given) for k, v in item.items()}
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            return type(item)(*(self._fill(v, values, given) for v in item))
        if isinstance(item, (list, tuple)):
            return type(item)(self._fill(v, values, given) for v in item)
        if item is None:
            return None
        value = values[item]
        if value.ndim == 0:
            return value[()]
        if item in given:  # fetched twice: who writes into one must not change the other
            return np.array(value)
        given.add(item)
        return value
