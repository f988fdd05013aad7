"""tf.data: data sets of arrays, Python generators and functions of them, and the iterators that runs take elements from.

A data set is worked on by the session's process, element by element. ``get_next`` is an operation whose values a session
fills in: each run that needs it takes the next element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from .building import convert, is_tensor
from .control import scratch
from .dtypes import as_dtype, numpy_dtype
from .errors import InvalidArgumentError
from .graph import Graph, Tensor, get_default_graph
from .nest import leaves_of, like
from .session import Session
from .shapes import TensorShape, sizes_of

__all__ = ["Dataset"]

#: Makes the values of tensors when an iterator starts.
Evaluate = Callable[[Sequence[Tensor]], list[Any]]
#: An element: its arrays, in order.
Row = list[Any]
_REMEDY = "is not in kigraph.compat.v1; make the data with NumPy, or feed batches through feed_dict"


def _prepared(value: Any) -> Any:
    """Tuples and dicts nest; everything else is a tensor or an array."""
    if isinstance(value, dict):
        return {k: _prepared(v) for k, v in value.items()}
    if isinstance(value, tuple):
        parts = [_prepared(v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if is_tensor(value):
        return convert(value)
    with scratch():  # the element type that a constant would have
        kind = convert(value).dtype.as_numpy_dtype
    array = np.asarray(value)
    return np.asarray(np.char.encode(array) if array.dtype.kind == "U" else array, kind)


class Dataset:
    """Elements in any nesting of arrays. Made by the class's functions; each method makes a new one."""

    def __init__(
        self, structure: Any, specs: list[tuple[Any, TensorShape]], rows: Callable[[Evaluate], Iterator[Row]]
    ) -> None:
        self._structure, self._specs, self._rows = structure, specs, rows

    # --- sources ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def from_tensors(tensors: Any) -> Dataset:
        """One element."""
        structure = _prepared(tensors)
        parts = leaves_of(structure)
        specs = [(as_dtype(p.dtype), TensorShape(p.shape)) for p in parts]
        return Dataset(structure, specs, lambda evaluate: iter([_values(parts, evaluate)]))

    @staticmethod
    def from_tensor_slices(tensors: Any) -> Dataset:
        """The rows of tensors, which have the same size of the first axis."""
        structure = _prepared(tensors)
        parts = leaves_of(structure)
        specs = []
        for part in parts:
            shape = TensorShape(part.shape)
            if shape.ndims == 0:
                raise ValueError("from_tensor_slices: a scalar has no rows; from_tensors makes one element of it")
            specs.append((as_dtype(part.dtype), TensorShape(None) if shape.ndims is None else shape[1:]))
        counts = {int(p.shape[0]) for p in parts if isinstance(p, np.ndarray)}
        if len(counts) > 1:
            raise ValueError(f"Dimensions {sorted(counts)} are not compatible: all must have as many rows")

        def rows(evaluate: Evaluate) -> Iterator[Row]:
            arrays = _values(parts, evaluate)
            if len({len(a) for a in arrays}) > 1:
                raise InvalidArgumentError(None, None, f"from_tensor_slices: rows differ: {[len(a) for a in arrays]}")
            return ([_one(a, i) for a in arrays] for i in range(len(arrays[0])))

        return Dataset(structure, specs, rows)

    @staticmethod
    def range(*args: int) -> Dataset:
        """The numbers of range(...), int64."""
        numbers = range(*args)
        return Dataset(
            0, [(as_dtype("int64"), TensorShape([]))], lambda _: ([np.asarray(n, np.int64)] for n in numbers)
        )

    @staticmethod
    def from_generator(generator: Callable[..., Iterable[Any]], output_types: Any, output_shapes: Any = None, args: Any = None) -> Dataset:  # fmt: skip
        """What ``generator()`` yields, in the nesting of output_types."""
        kinds = [as_dtype(t) for t in leaves_of(output_types)]
        given = [None] * len(kinds) if output_shapes is None else _shape_leaves(output_shapes)
        specs = list(zip(kinds, map(TensorShape, given), strict=True))
        if args:
            raise ValueError(f"from_generator: args {_REMEDY}")

        def rows(evaluate: Evaluate) -> Iterator[Row]:
            for value in generator():
                parts = leaves_of(_prepared(value if len(kinds) > 1 or isinstance(value, dict) else (value,)))
                if len(parts) != len(kinds):
                    raise TypeError(f"`generator` yielded {len(parts)} values where output_types has {len(kinds)}")
                row = [np.asarray(p, numpy_dtype(k)) for p, k in zip(parts, kinds, strict=True)]
                for array, (_kind, shape) in zip(row, specs, strict=True):
                    if not shape.is_compatible_with(array.shape):
                        raise TypeError(
                            f"`generator` yielded an element of shape {array.shape} where {shape} was expected"
                        )
                yield row

        return Dataset(output_types, specs, rows)

    @staticmethod
    def zip(datasets: Any) -> Dataset:
        """Elements of several sets side by side, until the shortest one ends."""
        parts: list[Dataset] = leaves_of(datasets)
        structure = like(datasets, [d._structure for d in parts])
        specs = [s for d in parts for s in d._specs]
        return Dataset(structure, specs, lambda e: (list(chain(*row)) for row in zip(*(d._rows(e) for d in parts), strict=False)))  # fmt: skip

    # --- what one element is -----------------------------------------------------------------------------------------------

    @property
    def output_types(self) -> Any:
        return like(self._structure, [kind for kind, _ in self._specs])

    @property
    def output_shapes(self) -> Any:
        return like(self._structure, [shape for _, shape in self._specs])

    def _with(self, rows: Callable[[Evaluate], Iterator[Row]]) -> Dataset:
        return Dataset(self._structure, self._specs, rows)

    # --- which elements ----------------------------------------------------------------------------------------------------

    def take(self, count: int) -> Dataset:
        """The first elements; -1: all."""
        return self if count < 0 else self._with(lambda e: islice(self._rows(e), count))

    def skip(self, count: int) -> Dataset:
        """All but the first elements; -1: none."""
        return self.take(0) if count < 0 else self._with(lambda e: islice(self._rows(e), count, None))

    def shard(self, num_shards: int, index: int) -> Dataset:
        """Every num_shards-th element, from ``index`` on."""
        if not 0 <= index < num_shards:
            raise ValueError(f"shard: index {index} must be from 0 to below num_shards {num_shards}")
        return self._with(lambda e: islice(self._rows(e), index, None, num_shards))

    def concatenate(self, dataset: Dataset) -> Dataset:
        """The elements of another set after these."""
        if self.output_types != dataset.output_types:
            raise TypeError(
                f"Two datasets to concatenate have different types {self.output_types} and {dataset.output_types}"
            )
        pairs = zip(self._specs, dataset._specs, strict=True)
        specs = [(kind, _common(a, b)) for (kind, a), (_, b) in pairs]
        return Dataset(self._structure, specs, lambda e: chain(self._rows(e), dataset._rows(e)))

    def repeat(self, count: int | None = None) -> Dataset:
        """The set several times; None or -1: without end."""

        def rows(evaluate: Evaluate) -> Iterator[Row]:
            turn = 0
            while count is None or count < 0 or turn < count:
                turn, empty = turn + 1, True
                for row in self._rows(evaluate):
                    empty = False
                    yield row
                if empty:
                    return

        return self._with(rows)

    def shuffle(
        self, buffer_size: int, seed: int | None = None, reshuffle_each_iteration: bool | None = None
    ) -> Dataset:
        """In a random order, drawn out of a buffer. A seed is refused: the order would not be TensorFlow's."""
        if seed is not None:
            raise ValueError(
                "shuffle: with a seed the order would not be TensorFlow's; leave it out, or shuffle with NumPy"
            )
        if buffer_size < 1:
            raise ValueError(f"shuffle: buffer_size must be positive, got {buffer_size}")
        first = get_default_graph().seed
        keep = reshuffle_each_iteration is False
        random = np.random.default_rng(first)
        start = int(random.integers(2**63))

        def rows(evaluate: Evaluate) -> Iterator[Row]:
            draw = np.random.default_rng(start) if keep else random
            buffer: list[Row] = []
            for row in self._rows(evaluate):
                if len(buffer) < buffer_size:
                    buffer.append(row)
                    continue
                place = int(draw.integers(buffer_size))
                yield buffer[place]
                buffer[place] = row
            for place in draw.permutation(len(buffer)):
                yield buffer[place]

        return self._with(rows)

    def prefetch(self, buffer_size: Any) -> Dataset:
        """The same set: elements are made when a run takes them."""
        return self

    def cache(self, filename: str = "") -> Dataset:
        """The same set, whose elements are made once and kept in memory."""
        if filename:
            raise ValueError(f"Dataset.cache to a file {_REMEDY}")
        kept: list[Row] = []
        full = False

        def rows(evaluate: Evaluate) -> Iterator[Row]:
            nonlocal full
            if full:
                yield from kept
                return
            kept.clear()
            for row in self._rows(evaluate):
                kept.append(row)
                yield row
            full = True

        return self._with(rows)

    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """What a function makes of the set."""
        return transformation_func(self)

    # --- other elements ------------------------------------------------------------------------------------------------------

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Elements stacked along a new first axis; the last batch may be smaller."""
        if is_tensor(batch_size) or batch_size < 1:
            raise ValueError(f"batch: batch_size must be a positive number, got {batch_size}")
        lead = batch_size if drop_remainder else None
        specs = [
            (k, TensorShape(None) if s.ndims is None else TensorShape([lead, *s.as_list()])) for k, s in self._specs
        ]

        def rows(evaluate: Evaluate) -> Iterator[Row]:
            source = self._rows(evaluate)
            while part := list(islice(source, batch_size)):
                if drop_remainder and len(part) < batch_size:
                    return
                yield [_stacked([row[i] for row in part]) for i in range(len(specs))]

        return Dataset(self._structure, specs, rows)

    def map(self, map_func: Callable[..., Any], num_parallel_calls: Any = None) -> Dataset:
        """What a function of tensors makes of each element; a tuple's parts are its arguments."""
        function = _Function(self, map_func)
        return Dataset(function.structure, function.specs, function.rows)

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """The elements for which a function of tensors is true."""
        function = _Function(self, predicate)
        return self._with(lambda e: (row for row, made in function.pairs(e) if bool(made[0])))

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("a Dataset is iterated in runs: make_one_shot_iterator().get_next()")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"Dataset.{name} {_REMEDY}")

    def __repr__(self) -> str:
        return f"<Dataset shapes: {self.output_shapes}, types: {self.output_types}>"


def _values(parts: Sequence[Any], evaluate: Evaluate) -> list[Any]:
    """Arrays as they are, tensors by a run."""
    tensors = [p for p in parts if isinstance(p, Tensor)]
    found = iter(evaluate(tensors) if tensors else [])
    return [np.asarray(next(found)) if isinstance(p, Tensor) else p for p in parts]


def _one(array: Any, index: int) -> Any:
    made = np.empty(array.shape[1:], array.dtype)
    made[...] = array[index]
    return made


def _stacked(arrays: list[Any]) -> Any:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise InvalidArgumentError(
            None, None, f"Cannot batch tensors with different shapes: {', '.join(map(str, sorted(shapes)))}"
        )
    return np.stack(arrays)


def _common(a: TensorShape, b: TensorShape) -> TensorShape:
    if a.ndims is None or a.ndims != b.ndims:
        return TensorShape(None)
    return TensorShape([m if m == n else None for m, n in zip(a.as_list(), b.as_list(), strict=True)])


def _shape_leaves(shapes: Any) -> list[Any]:
    """Shapes in a nesting of tuples; a list or a TensorShape is one shape, and so is a tuple of numbers."""
    if isinstance(shapes, dict):
        return [leaf for key in sorted(shapes) for leaf in _shape_leaves(shapes[key])]
    if isinstance(shapes, tuple) and not all(n is None or isinstance(n, int) for n in shapes):
        return [leaf for item in shapes for leaf in _shape_leaves(item)]
    return [shapes]


class _Function:
    """A function of tensors as a graph of its own, run for each element."""

    def __init__(self, source: Dataset, function: Callable[..., Any]) -> None:
        self._source = source
        with scratch() as inner:
            self._graph: Graph = inner
            tensors = [inner.wrap(inner.placeholder(numpy_dtype(k), sizes_of(s))) for k, s in source._specs]
            given = like(source._structure, tensors)
            made = function(*given) if isinstance(given, tuple) else function(given)
            self.structure = tuple(made) if isinstance(made, list) else made
            outputs = [convert(m) for m in leaves_of(self.structure)]
            self._inputs, self._outputs = tensors, [inner.wrap(inner.reach(t)) for t in outputs]
        self.specs = [(t.dtype, t.shape) for t in outputs]

    def pairs(self, evaluate: Evaluate) -> Iterator[tuple[Row, Row]]:
        """Each element with what the function makes of it."""
        taken: dict[Tensor, Any] = self._graph.taken
        outside = list(taken)
        fixed = dict(zip((taken[t] for t in outside), evaluate(outside) if outside else [], strict=True))
        more = {self._graph.wrap(t): v for t, v in fixed.items()}
        session = Session(graph=self._graph)  # not as the default one: runs of others come in between
        try:
            for row in self._source._rows(evaluate):
                feed = dict(zip(self._inputs, row, strict=True))
                yield row, [np.asarray(v) for v in session.run(self._outputs, {**feed, **more})]
        finally:
            session.close()

    def rows(self, evaluate: Evaluate) -> Iterator[Row]:
        return (made for _, made in self.pairs(evaluate))
