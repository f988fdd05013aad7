"""Iterators of data sets in a graph, and how sessions advance them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...graph import builder as core
from ...graph.fetches import Fetches
from ...graph.ir import Port
from .building import one
from .data import Dataset
from .dtypes import numpy_dtype
from .errors import FailedPreconditionError, OutOfRangeError
from .graph import Graph, Operation, get_default_graph
from .nest import like
from .session import ITERATORS, Session
from .shapes import sizes_of
from .variables import lifted

__all__ = ["DataIterator", "make_initializable_iterator", "make_one_shot_iterator"]


class _Runner:
    """What a graph's sessions ask: which elements a run takes. One for each graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        #: The operation of get_next -> its iterator and the placeholders behind it.
        self.takes: dict[core.Operation, tuple[DataIterator, list[core.Tensor]]] = {}
        self.starts: dict[core.Operation, tuple[DataIterator, Dataset]] = {}

    @classmethod
    def of(cls, graph: Graph) -> _Runner:
        found: _Runner = graph.stores.get(ITERATORS) or cls(graph)
        graph.stores[ITERATORS] = found
        return found

    def feeds(self, session: Session, wanted: Fetches, fed: Mapping[Port, Any]) -> dict[core.Tensor, Any]:
        """Starts the iterators whose initializers are run; the elements that a run takes."""
        needed = self._needed(wanted, fed)

        def evaluate(tensors: Any) -> list[Any]:
            found: list[Any] = session._runs.values(Fetches(self.graph.core, [t.core for t in tensors]), fed)
            return found

        for operation, (iterator, dataset) in self.starts.items():
            if operation in needed:
                session.iterators[iterator] = dataset._rows(evaluate)
        values: dict[core.Tensor, Any] = {}
        for operation, (iterator, placeholders) in self.takes.items():
            if operation in needed:
                values.update(zip(placeholders, iterator.take(session, evaluate), strict=True))
        return values

    def _needed(self, wanted: Fetches, fed: Mapping[Port, Any]) -> set[core.Operation]:
        graph = self.graph.core
        stack = [graph.operation(n) for n in (*(p.node for p in wanted.ports if p not in fed), *wanted.targets)]
        seen: set[core.Operation] = set()
        while stack:
            operation = stack.pop()
            if operation not in seen:
                seen.add(operation)
                stack.extend(t.op for t in operation.inputs if t.port not in fed)
                stack.extend(operation.control_inputs)
        return seen


class DataIterator:
    """Takes elements from a data set: each run that needs what ``get_next`` gave takes the next one.

    At the end a run is an OutOfRangeError. ``initializer``: the operation that begins it (anew); a one-shot iterator has
    none and begins by itself.
    """

    def __init__(self, dataset: Dataset, one_shot: bool = True) -> None:
        self._dataset, self._one_shot = dataset, one_shot
        self.initializer: Any = None if one_shot else self.make_initializer(dataset)

    @staticmethod
    def from_structure(output_types: Any, output_shapes: Any = None, shared_name: Any = None, output_classes: Any = None) -> DataIterator:  # fmt: skip
        """An iterator without a data set; make_initializer gives it one."""
        empty = Dataset.from_generator(lambda: iter(()), output_types, output_shapes)
        made = DataIterator(empty)
        made._one_shot = False
        return made

    def make_initializer(self, dataset: Dataset, name: str | None = None) -> Operation:
        """The operation that begins at the first element of a data set, whose types are the iterator's."""
        mine, theirs = self._dataset._specs, dataset._specs
        fits = len(mine) == len(theirs) and all(
            a == c and b.is_compatible_with(d) for (a, b), (c, d) in zip(mine, theirs, strict=True)
        )
        if not fits:
            raise TypeError(f"make_initializer: {dataset!r} does not fit an iterator of {self._dataset!r}")
        with lifted() as graph:
            made = graph.create("NoOp", (), None, name or "MakeIterator")
            _Runner.of(graph).starts[made.core] = (self, dataset)
        return made

    @property
    def output_types(self) -> Any:
        return self._dataset.output_types

    @property
    def output_shapes(self) -> Any:
        return self._dataset.output_shapes

    def get_next(self, name: str | None = None) -> Any:
        """Tensors of the next element, in the nesting of the data set's elements. Call it once and use the tensors."""
        graph = get_default_graph()
        if graph.captures:
            raise ValueError("get_next: take the element before the loop, and use its tensors inside")
        with lifted(), graph.name_scope(f"{name or 'IteratorGetNext'}_element"):
            inputs = [
                one(graph.create("Placeholder", (), {"dtype": numpy_dtype(k), "shape": sizes_of(s)}, "input"))
                for k, s in self._dataset._specs
            ]
        with graph.name_scope(name or "IteratorGetNext") as scope:
            operation = graph.create("IdentityN", inputs, {"T": tuple(t.core.dtype for t in inputs)}, scope)
        _Runner.of(graph).takes[operation.core] = (self, [t.core for t in inputs])
        return like(self._dataset._structure, list(operation.outputs))

    def string_handle(self, name: str | None = None) -> Any:
        """Refused: an iterator is chosen while the graph is built."""
        raise NotImplementedError(
            "Iterator.string_handle is not in kigraph.compat.v1; Iterator.from_structure with one initializer for each data set"
        )

    def take(self, session: Session, evaluate: Any) -> Any:
        """The next element of a session's iterator."""
        if self not in session.iterators:
            if not self._one_shot:
                text = "the iterator has not been initialized: run iterator.initializer in this session first"
                raise FailedPreconditionError(None, None, f"GetNext() failed because {text}")
            session.iterators[self] = self._dataset._rows(evaluate)
        row = next(session.iterators[self], None)
        if row is None:
            raise OutOfRangeError(None, None, "End of sequence")
        return row


def make_one_shot_iterator(dataset: Dataset) -> DataIterator:
    """An iterator that every session begins by itself."""
    return DataIterator(dataset)


def make_initializable_iterator(dataset: Dataset, shared_name: Any = None) -> DataIterator:
    """An iterator that a run of its ``initializer`` begins."""
    return DataIterator(dataset, one_shot=False)


#: Methods of data sets, too: iterators are above them.
Dataset.make_one_shot_iterator = make_one_shot_iterator  # type: ignore[attr-defined]
Dataset.make_initializable_iterator = make_initializable_iterator  # type: ignore[attr-defined]
