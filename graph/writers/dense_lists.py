"""Lists of tensors as tensors with one more axis, for formats without lists; loops with the shapes that their state keeps.

A list of n elements is a tensor (n, ...). Where the elements' shape is only known in a run, they have no elements before the
first one is written, which says how large they are. Elements that are not written are zeros, as in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...kernels.tensor import DType, Shape, TensorType
from ..builder import Graph, Tensor
from ..errors import GraphError
from ..ir import Graph as Frozen
from ..ir import Literal, Node, Port
from ..opdefs.lists import LISTS
from ..rewrite import reachable

__all__ = ["rebuilt"]

#: How often a graph is built anew because what is written says more of the elements, or the state of a loop is looser.
_TRIES = 6
_I32 = np.dtype(np.int32)
_PASSES = frozenset(["Identity", "IdentityN", "StopGradient", "Snapshot", "PreventGradient"])


@dataclass(eq=False)
class _Elements:
    """What is known of a list's elements. ``written``: shapes of those that are written."""

    dtype: DType
    shape: Shape
    grows: bool = False
    written: list[Shape] = field(default_factory=list)

    @property
    def known(self) -> bool:
        return self.shape is not None and None not in self.shape


def _common(shapes: Sequence[Shape]) -> Shape:
    """What shapes have in common."""
    first = shapes[0]
    if first is None or any(s is None or len(s) != len(first) for s in shapes):
        return None
    return tuple(d if all(s is not None and s[i] == d for s in shapes) else None for i, d in enumerate(first))


def rebuilt(frozen: Frozen) -> tuple[Graph, dict[Port, Tensor]]:
    """The graph without lists, with every type inferred again, and what its outputs are there.

    Raises GraphError for an op of lists that needs elements of different shapes.
    """
    hints: dict[str, Shape] = {}
    for _ in range(_TRIES):
        elements: dict[str, _Elements] = {}
        build = _Build(Graph(), hints, elements, "")
        build.add_all(frozen)
        found = {name: _common(e.written) for name, e in elements.items() if e.written}
        if found == hints:
            break
        hints = found
    return build.graph, {p: build.at[p] for p in frozen.outputs}


class _Build:
    """One graph being built. ``at``: the tensors of the old graph's ports; ``of``: the elements of those that were lists."""

    def __init__(self, graph: Graph, hints: Mapping[str, Shape], elements: dict[str, _Elements], path: str) -> None:
        self.graph, self.hints, self.elements, self.path = graph, hints, elements, path
        self.at: dict[Port, Tensor] = {}
        self.of: dict[Tensor, _Elements] = {}

    def add_all(self, frozen: Frozen) -> None:
        needed = reachable(frozen)
        for node in frozen:
            if node.name in needed and Port(node.name) not in self.at:
                self._add(node)

    def _add(self, node: Node) -> None:
        inputs = [self.at[p] for p in node.inputs]
        if node.op in LISTS:
            made = self._list_op(node, inputs)
        elif node.op == "KiWhile":
            made = self._while(node, inputs)
        elif node.op == "KiBranch":
            made = self._branch(node, inputs)
        else:
            lists = [x for x in inputs if x in self.of]
            if lists and node.op not in _PASSES:
                raise _refused(node, "reads a list")
            made = self.graph.create_op(
                node.op, inputs, node.attrs, node.name, num_outputs=len(node.outputs), exact_name=True
            ).outputs
            if lists:
                self.of.update((y, self.of[x]) for x, y in zip(inputs, made, strict=True) if x in self.of)
        self.at.update((Port(node.name, i), x) for i, x in enumerate(made))

    # --- ops that are added -----------------------------------------------------------------------------------------------

    def op(self, kind: str, *inputs: Any, **attrs: Any) -> Tensor:
        given = [x if isinstance(x, Tensor) else self.const(x) for x in inputs]
        return self.graph.create_op(kind, given, attrs, f"dense/{kind}").outputs[0]

    def const(self, value: Any) -> Tensor:
        array = np.asarray(value, None if hasattr(value, "dtype") else _I32)
        attrs = {"value": Literal.of(array), "dtype": array.dtype}
        return self.graph.create_op("Const", (), attrs, "dense/const").outputs[0]

    def join(self, *parts: Any) -> Tensor:
        return self.op("ConcatV2", *parts, 0, N=len(parts))

    def row(self, x: Tensor) -> Tensor:
        """A number as a vector of int32."""
        whole = x if x.dtype == _I32 else self.op("Cast", x, DstT=_I32)
        return self.op("Reshape", whole, np.array([1], np.int32))

    def shape(self, x: Tensor) -> Tensor:
        return self.op("Shape", x, out_type=_I32)

    def length(self, x: Tensor) -> Tensor:
        return self.op("GatherV2", self.shape(x), 0, 0)

    def zeros(self, of: _Elements, shape: Tensor) -> Tensor:
        return self.op("Fill", shape, np.zeros((), of.dtype))

    def first(self, x: Tensor) -> Tensor:
        return self.op("ExpandDims", x, 0)

    def take(self, x: Tensor, indices: Tensor) -> Tensor:
        return self.op("GatherV2", x, indices, 0)

    def choose(self, predicate: Tensor, inputs: Sequence[Tensor], *makes: Callable[..., Tensor]) -> Tensor:
        """What one of two functions makes of the inputs: the second one if the predicate is true."""
        graphs, names = [], tuple(f"x{i}" for i in range(len(inputs)))
        for make in makes:
            part = _Build(Graph(), {}, {}, "")
            # a list without elements has no axes yet that count
            types = [TensorType(inputs[0].dtype, None), *(x.type for x in inputs[1:])]
            given = [part.placeholder(n, t) for n, t in zip(names, types, strict=True)]
            made = make(part, *given)
            graphs.append(Frozen(part.graph.freeze().nodes, (made.port,)))
        attrs = {"branches": tuple(graphs), "branch_inputs": (names,) * len(graphs), "index": False}
        return self.graph.create_op("KiBranch", [predicate, *inputs], attrs, "dense/choice").outputs[0]

    def ranked(self, x: Tensor, row: Tensor, more: int) -> Tensor:
        """x, of as many axes as a row and some more."""
        return x if row.shape is None else self.op("EnsureShape", x, shape=(None,) * (len(row.shape) + more))

    def placeholder(self, name: str, type: TensorType) -> Tensor:
        attrs = {"dtype": type.dtype, "shape": type.shape}
        return self.graph.create_op("Placeholder", (), attrs, name, exact_name=True).outputs[0]

    # --- lists ------------------------------------------------------------------------------------------------------------

    def _list_op(self, node: Node, x: list[Tensor]) -> tuple[Tensor, ...]:
        kind = node.op.removesuffix("V2").removesuffix("V3")
        if kind == "TensorArray":
            made = self._new(node, node.attrs["dtype"], node.attrs.get("element_shape"), x[0])
            return made, made
        if kind in ("EmptyTensorList", "TensorListReserve", "TensorListFromTensor", "TensorListScatter"):
            return (self._new_list(node, kind, x),)
        place = _LIST_AT.get(kind)
        if place is None or x[place] not in self.of:
            raise _refused(node, "needs elements of different shapes")
        values, of = x[place], self.of[x[place]]
        changed = self._changed(node, kind, x, values, of)
        if changed is not None:
            self.of[changed[0]] = of
            return changed
        if kind in ("TensorArrayRead", "TensorListGetItem"):
            return (self.take(values, self.op("Reshape", x[1], np.array([], np.int32))),)
        if kind == "TensorListStack":
            return (self.op("Identity", values),)
        if kind in ("TensorArrayGather", "TensorListGather"):
            return (self.take(values, x[1]),)
        return (self.length(values),)

    def _new(self, node: Node, dtype: DType, shape: Shape, count: Tensor) -> Tensor:
        """A list of elements that are not written."""
        of = self._elements(node, dtype, shape)
        of.grows = bool(node.attrs.get("dynamic_size"))
        sizes: Sequence[int | None] = (0,) if of.shape is None else of.shape
        dims = np.array([d or 0 for d in sizes], np.int32)
        made = self.zeros(of, self.join(self.row(count), dims))
        self.of[made] = of
        return made

    def _elements(self, node: Node, dtype: DType, shape: Shape) -> _Elements:
        key = f"{self.path}/{node.name}"
        hint = self.hints.get(key)
        if hint is not None and (shape is None or len(shape) == len(hint)):
            shape = hint if shape is None else tuple(h if d is None else d for d, h in zip(shape, hint, strict=True))
        return self.elements.setdefault(key, _Elements(dtype, None if shape is None else tuple(shape)))

    def _new_list(self, node: Node, kind: str, x: list[Tensor]) -> Tensor:
        dtype = node.attrs["element_dtype"]
        if kind == "TensorListFromTensor":
            made = self.op("Identity", x[0])
            known = x[0].shape
            self.of[made] = self._elements(node, dtype, None if known is None else known[1:])
            return made
        stated = self._constant(x[0] if kind != "TensorListScatter" else x[2])
        if kind != "TensorListScatter":
            return self._new(node, dtype, stated, self.const(0) if kind == "EmptyTensorList" else x[1])
        if len(x) < 4 or self._number(x[3]) is None or (self._number(x[3]) or 0) < 0:
            raise _refused(node, "has no known number of elements")
        empty = self._new(node, dtype, stated, x[3])
        made = self._written(empty, self.of[empty], x[1], x[0])
        self.of[made] = self.of[empty]
        return made

    @staticmethod
    def _constant(x: Tensor) -> Shape:
        """A shape as an input says it; None if it is not known."""
        literal = x.op.attrs.get("value") if x.op.type == "Const" else None
        if not isinstance(literal, Literal) or literal.array().ndim != 1:
            return None
        return tuple(None if v < 0 else int(v) for v in literal.array())

    @staticmethod
    def _number(x: Tensor) -> int | None:
        literal = x.op.attrs.get("value") if x.op.type == "Const" else None
        return int(literal.array().reshape(-1)[0]) if isinstance(literal, Literal) and literal.array().size else None

    def _changed(
        self, node: Node, kind: str, x: list[Tensor], values: Tensor, of: _Elements
    ) -> tuple[Tensor, ...] | None:
        """The list after an op that makes another one of it, first of all outputs."""
        if kind in ("TensorArrayWrite", "TensorListSetItem"):
            index, value = x[1], x[2]
            of.grows = of.grows or bool(node.attrs.get("resize_if_index_out_of_bounds"))
            return (self._written(values, of, self.row(index), self.first(value)),)
        if kind in ("TensorArrayScatter", "TensorListScatterIntoExistingList"):
            indices, value = (x[1], x[2]) if kind == "TensorArrayScatter" else (x[2], x[1])
            return (self._written(values, of, indices, value),)
        if kind == "TensorListPushBack":
            return (self._pushed(values, of, x[1]),)
        if kind == "TensorListPopBack":
            last = self.op("Sub", self.length(values), 1)
            return self.take(values, self.op("Range", 0, last, 1)), self.take(values, last)
        if kind == "TensorListResize":
            count = self.op("Reshape", x[1], np.array([], np.int32))
            kept = self.op("Minimum", self.length(values), count)
            more = self.row(self.op("Sub", count, kept))
            rest = self.op(
                "StridedSlice", self.shape(values), *(np.array([n], np.int32) for n in (1, 0, 1)), end_mask=1
            )
            return (self.join(self.take(values, self.op("Range", 0, kept, 1)), self.zeros(of, self.join(more, rest))),)
        if kind == "TensorListConcatLists":
            if not (of.known and x[1] in self.of and self.of[x[1]].known):
                raise _refused(node, "joins lists of elements whose shape is not known")
            return (self.join(values, x[1]),)
        return None

    def _written(self, values: Tensor, of: _Elements, indices: Tensor, rows: Tensor) -> Tensor:
        """The list with elements at indices."""
        of.written.append(None if rows.shape is None else rows.shape[1:])
        if not of.known:
            none = self.op("Equal", self.op("Size", values, out_type=_I32), 0)

            def begun(part: _Build, old: Tensor, new: Tensor) -> Tensor:
                rest = part.op(
                    "StridedSlice", part.shape(new), *(np.array([n], np.int32) for n in (1, 0, 1)), end_mask=1
                )
                return part.zeros(of, part.join(part.row(part.length(old)), rest))

            values = self.choose(
                none, [values, rows], lambda part, old, new: part.ranked(part.op("Identity", old), new, 0), begun
            )
        if of.grows:
            most = self.op("Add", self.op("Max", indices, np.array([0], np.int32), keep_dims=False), 1)
            most = most if most.dtype == _I32 else self.op("Cast", most, DstT=_I32)
            more = self.op("Maximum", self.op("Sub", most, self.length(values)), 0)
            rest = self.op("StridedSlice", self.shape(rows), *(np.array([n], np.int32) for n in (1, 0, 1)), end_mask=1)
            values = self.join(values, self.zeros(of, self.join(self.row(more), rest)))
        return self.op("TensorScatterUpdate", values, self.op("ExpandDims", indices, 1), rows)

    def _pushed(self, values: Tensor, of: _Elements, value: Tensor) -> Tensor:
        of.written.append(value.shape)
        if of.known:
            return self.join(values, self.first(value))
        none = self.op("Equal", self.length(values), 0)
        return self.choose(
            none, [values, value], lambda part, old, new: part.join(part.ranked(old, new, 1), part.first(new)),
            lambda part, old, new: part.first(new),
        )  # fmt: skip

    # --- loops and branches -----------------------------------------------------------------------------------------------

    def _inside(
        self, frozen: Frozen, names: Sequence[str], given: Sequence[Tensor], types: Sequence[TensorType], path: str
    ) -> tuple[_Build, tuple[Tensor, ...]]:
        part = _Build(Graph(), self.hints, self.elements, f"{self.path}/{path}")
        for name, x, type in zip(names, given, types, strict=True):
            if name:
                made = part.placeholder(name, type)
                part.at[Port(name)] = made
                if x in self.of:
                    part.of[made] = self.of[x]
        part.add_all(frozen)
        return part, tuple(part.at[p] for p in frozen.outputs)

    def _while(self, node: Node, x: list[Tensor]) -> tuple[Tensor, ...]:
        attrs, count = node.attrs, node.attrs["count"]
        types = [t.type for t in x]
        for tries in range(_TRIES):
            body, made = self._inside(attrs["body"], attrs["body_inputs"], x, types, f"{node.name}.body")
            looser = [
                TensorType(t.dtype, None if tries == _TRIES - 2 and t != y.type else _common([t.shape, y.shape]))
                for t, y in zip(types, made, strict=False)
            ]
            if looser == types[:count]:
                break
            types = [*looser, *types[count:]]
        cond, truth = self._inside(attrs["cond"], attrs["cond_inputs"], x, types, f"{node.name}.cond")
        changed = {
            **attrs,
            "cond": Frozen(cond.graph.freeze().nodes, tuple(t.port for t in truth)),
            "body": Frozen(body.graph.freeze().nodes, tuple(t.port for t in made)),
        }
        outputs = self.graph.create_op("KiWhile", x, changed, node.name, exact_name=True).outputs
        return tuple(
            self._known(y, t, [self.of.get(x[i]), body.of.get(made[i])])
            for i, (y, t) in enumerate(zip(outputs, types, strict=False))
        )

    def _branch(self, node: Node, x: list[Tensor]) -> tuple[Tensor, ...]:
        attrs, types = node.attrs, [t.type for t in x[1:]]
        parts = [
            self._inside(graph, names, x[1:], types, f"{node.name}.{i}")
            for i, (graph, names) in enumerate(zip(attrs["branches"], attrs["branch_inputs"], strict=True))
        ]
        graphs = tuple(Frozen(p.graph.freeze().nodes, tuple(t.port for t in made)) for p, made in parts)
        outputs = self.graph.create_op(
            "KiBranch", x, {**attrs, "branches": graphs}, node.name, exact_name=True
        ).outputs  # fmt: skip
        for i, y in enumerate(outputs):
            self._same(y, [p.of.get(made[i]) for p, made in parts])
        return tuple(outputs)

    def _known(self, y: Tensor, type: TensorType, of: Sequence[_Elements | None]) -> Tensor:
        """An output of a loop with the shape that its state keeps."""
        if type.shape is not None and y.shape != type.shape:
            y = self.op("EnsureShape", y, shape=type.shape)
        self._same(y, of)
        return y

    def _same(self, y: Tensor, of: Sequence[_Elements | None]) -> None:
        """A list that may be one of several: they have elements of one shape."""
        several = [e for e in of if e is not None]
        if several:
            self.of[y] = several[0]
            for other in several[1:]:
                if other is not several[0]:
                    several[0].written += [s for s in other.written if s not in several[0].written]
                    if not other.known:
                        several[0].shape = None


#: Which input of an op is the list.
_LIST_AT = {
    "TensorArrayWrite": 3, "TensorArrayRead": 2, "TensorArrayGather": 2, "TensorArrayScatter": 3, "TensorArraySize": 1,
    "TensorListSetItem": 0, "TensorListGetItem": 0, "TensorListStack": 0, "TensorListLength": 0, "TensorListPushBack": 0,
    "TensorListPopBack": 0, "TensorListResize": 0, "TensorListConcatLists": 0, "TensorListGather": 0,
    "TensorListScatterIntoExistingList": 0,
}  # fmt: skip


def _refused(node: Node, why: str) -> GraphError:
    return GraphError(
        f"{node.op} '{node.name}' cannot be written in a format without lists of tensors: it {why}; begin or end the file "
        "elsewhere (inputs=, outputs=)"
    )
