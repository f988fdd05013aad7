"""map_fn, scan, foldl and foldr: a function over the first axis.

Where the number of elements is known and small, each gets operations of its own, so that gradients flow. Otherwise, and
where the function draws random numbers, it is a loop, through which no gradient flows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .array import expand_dims, shape, zeros
from .building import convert
from .control import scratch, while_loop
from .graph import get_default_graph
from .nest import leaves_of, like
from .parts import concat, gather, stack
from .shapes import TensorShape

__all__ = ["foldl", "foldr", "map_fn", "scan"]

#: Up to this many elements have operations of their own.
_MOST = 256
_RANDOM = ("RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal")


class _Elements:
    """What is mapped over: tensors with the same size of the first axis, in any nesting."""

    def __init__(self, elems: Any) -> None:
        self.structure = elems
        self.tensors = [convert(t) for t in leaves_of(elems)]
        if not self.tensors:
            raise ValueError("elems must be provided, with at least one tensor")
        self.known = next(
            (t.shape[0].value for t in self.tensors if t.shape.ndims and t.shape[0].value is not None), None
        )

    def size(self) -> Any:
        return shape(self.tensors[0])[0] if self.known is None else self.known

    def at(self, index: Any) -> Any:
        return like(self.structure, [t[index] if isinstance(index, int) else gather(t, index) for t in self.tensors])


def _results(function: Callable[..., Any], *arguments: Any) -> tuple[list[tuple[Any, Any]], bool]:
    """(element type, shape) of what a function makes, and whether it draws random numbers."""
    with scratch() as inner:
        made = [convert(m) for m in leaves_of(function(*arguments))]
        types = {op.type for op in inner.core.operations}
    return [(m.dtype, m.shape) for m in made], not types.isdisjoint(_RANDOM)


def _grown(row: tuple[Any, Any], what: str) -> tuple[Any, TensorShape]:
    """No rows of such results, and the shape of any number of them."""
    dtype, found = row
    if not found.is_fully_defined():
        raise ValueError(f"{what}: the shape of what fn returns must be known while the graph is built, got {found}")
    sizes = found.as_list()
    return zeros([0, *sizes], dtype), TensorShape([None, *sizes])


def map_fn(
    fn: Callable[[Any], Any], elems: Any, dtype: Any = None, parallel_iterations: Any = None, back_prop: bool = True,
    swap_memory: bool = False, infer_shape: bool = True, name: str | None = None, fn_output_signature: Any = None,
) -> Any:  # fmt: skip
    """What fn makes of each element, stacked along a new first axis. dtype: nesting of the results, if it is not elems'."""
    with get_default_graph().name_scope(name or "map"):
        given = _Elements(elems)
        wanted = fn_output_signature if fn_output_signature is not None else dtype
        structure = elems if wanted is None else wanted
        rows, random = _results(lambda: fn(given.at(0)))
        if len(rows) != len(leaves_of(structure)):
            raise ValueError(
                f"map_fn: fn returns {len(rows)} tensors for a nesting of {len(leaves_of(structure))}; give dtype= with that nesting"
            )
        if given.known is not None and 0 < given.known <= _MOST and not random:
            made = [[convert(m) for m in leaves_of(fn(given.at(i)))] for i in range(given.known)]
            return like(structure, [stack([row[k] for row in made]) for k in range(len(rows))])
        starts = [_grown(row, "map_fn") for row in rows]

        def body(i: Any, *kept: Any) -> list[Any]:
            new = leaves_of(fn(given.at(i)))
            return [i + 1, *(concat([k, expand_dims(n, 0)], 0) for k, n in zip(kept, new, strict=True))]

        count = convert(given.size())
        invariants = [TensorShape([]), *(s for _, s in starts)]
        made = while_loop(lambda i, *kept: i < count, body, [convert(0), *(s for s, _ in starts)], invariants)[1:]
        return like(structure, list(made))


def _folded(
    what: str,
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any,
    backwards: bool,
    keep: bool,
    name: str | None,
) -> Any:
    with get_default_graph().name_scope(name or what):
        given = _Elements(elems)
        structure = elems if initializer is None else initializer
        state = given.at(-1 if backwards else 0) if initializer is None else initializer
        tensors = [convert(t) for t in leaves_of(state)]
        _, random = _results(lambda: fn(like(structure, tensors), given.at(0)))
        first = 1 if initializer is None else 0
        if given.known is not None and given.known <= _MOST and not random:
            rows = [tensors] if first else []
            for i in range(first, given.known):
                at = given.known - 1 - i if backwards else i
                tensors = [convert(t) for t in leaves_of(fn(like(structure, tensors), given.at(at)))]
                rows.append(tensors)
            if not keep:
                return like(structure, tensors)
            if rows:
                rows = rows[::-1] if backwards else rows
                return like(structure, [stack([row[k] for row in rows]) for k in range(len(tensors))])
        return _looped(what, fn, given, structure, tensors, first, backwards, keep)


def _looped(
    what: str, fn: Any, given: _Elements, structure: Any, tensors: list[Any], first: int, backwards: bool, keep: bool
) -> Any:
    count = convert(given.size())
    width = len(tensors)
    starts = [_grown((t.dtype, t.shape), what) for t in tensors] if keep else []
    kept = [concat([s, expand_dims(t, 0)], 0) if first else s for (s, _), t in zip(starts, tensors, strict=False)]

    def body(i: Any, *values: Any) -> list[Any]:
        at = count - 1 - i if backwards else i
        new = [convert(t) for t in leaves_of(fn(like(structure, list(values[:width])), given.at(at)))]
        pairs = zip(values[width:], new, strict=False)
        rows = [concat([expand_dims(n, 0), k] if backwards else [k, expand_dims(n, 0)], 0) for k, n in pairs]
        return [i + 1, *new, *rows]

    invariants = [TensorShape([]), *(t.shape for t in tensors), *(s for _, s in starts)]
    made = while_loop(lambda i, *_: i < count, body, [convert(first), *tensors, *kept], invariants)
    return like(structure, list(made[1 + width :] if keep else made[1 : 1 + width]))


def scan(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10, back_prop: bool = True,
    swap_memory: bool = False, infer_shape: bool = True, reverse: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """All states of ``state = fn(state, element)``; without an initializer the first element is the first state."""
    return _folded("scan", fn, elems, initializer, reverse, True, name)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10, back_prop: bool = True,
    swap_memory: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """The last state of ``state = fn(state, element)``."""
    return _folded("foldl", fn, elems, initializer, False, False, name)


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10, back_prop: bool = True,
    swap_memory: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """The last state of ``state = fn(state, element)``, from the last element to the first."""
    return _folded("foldr", fn, elems, initializer, True, False, name)
