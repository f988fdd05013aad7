"""What the functions of onnx_ops.py write into: nodes, constants, and values in either layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ...kernels.tensor import DType
from ..builder import Graph, Operation, Tensor
from ..errors import GraphError
from ..evaluate import Fold
from ..formats.onnx import (
    DATA_TYPES,
    Attribute,
    GraphProto,
    NodeProto,
    TensorProto,
)
from ..formats.protobuf.write import pack_numbers
from ..inference import constant_value, output_types
from ..ir import Literal, Node
from ..opdefs import CONTROL, OPDEFS, STRUCTURAL, site_of

__all__ = ["TO_NCHW", "Writer", "data_type"]

_LARGEST = float(np.finfo(np.float32).max)
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)

Value = np.ndarray[Any, Any]

#: What is computed from constants is a constant of the file up to this many times their bytes, and without nodes if it moves
#: elements only or is small: integers that stand for weights stay integers.
_GROWTH, _SMALL = 2.5, 1 << 12
_NOT_FOLDED = frozenset(["PlaceholderWithDefault", "RandomUniform"])
_MOVES = frozenset(["Transpose", "Reshape", "Squeeze", "ExpandDims", "Identity"])


class Writer:
    """Collects ONNX nodes. A value has a name per layout; the other layout is made when it is first requested."""

    def __init__(
        self,
        graph: Graph,
        write: Callable[[Writer, Operation], None],
        outer: Writer | None = None,
        inline: bool = False,
    ) -> None:
        """outer: the writer of the graph around this one, whose names are taken; inline: the nodes are added to it, too."""
        self._graph, self._write = graph, write
        self._nodes = dict(graph.freeze().nodes)
        self._folds: dict[Tensor, Literal] = {}
        self.nodes: list[NodeProto] = outer.nodes if outer and inline else []
        self.initializers: list[TensorProto] = outer.initializers if outer and inline else []
        self._plain: dict[Tensor, str] = {}
        self._nchw: dict[Tensor, str] = {}
        self._literals: dict[Tensor, Literal] = {}
        self._names: set[str] = outer._names if outer else set()
        self._exact: list[str] = []

    def fresh(self, name: str) -> str:
        """A name that is not taken."""
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}.{count}"
        self._names.add(candidate)
        return candidate

    def emit(self, op: str, inputs: Sequence[str], name: str, *, exact: bool = False, **attributes: Any) -> str:
        """Adds a node with one output; its name, which is ``name`` itself if that was taken for it (``exact``)."""
        output = name if exact else self.fresh(name)
        if exact:
            self._exact.append(output)
        for key, value in attributes.items():
            if isinstance(value, float) and math.isfinite(value) and abs(value) > _LARGEST:
                raise GraphError(f"ONNX: {op} '{name}': attribute {key} = {value} is beyond float32, which ONNX has")
        fields = [_attribute(k, v) for k, v in attributes.items() if v is not None]
        self.nodes.append(NodeProto(input=list(inputs), output=[output], name=output, op_type=op, attribute=fields))
        return output

    def inner(self, graph: Graph, *, inline: bool) -> Writer:
        """A writer of a graph inside of this one; ``inline``: its nodes become nodes of this one."""
        return Writer(graph, self._write, self, inline)

    def write_all(self, graph: Graph, needed: Container[Operation], given: Container[Tensor]) -> None:
        """Writes the operations in ``needed``, but those whose outputs are given."""
        for op in graph.operations:
            if op not in needed or op.type == "Placeholder" or (op.outputs and all(t in given for t in op.outputs)):
                continue
            if op.type == "Const":
                self.set_literal(op.outputs[0], op.attrs["value"])
            elif not self.note_constant(op):
                self._write(self, op)

    def hand_in(self, source: Tensor, inner: Writer, target: Tensor) -> None:
        """Makes ``target``, an input of a graph inside, what ``source`` is here."""
        inner.set(target, self.get(source))
        if source in self._nchw:
            inner.set(target, self._nchw[source], nchw=True)
        if source in self._literals:
            inner.set_literal(target, self._literals[source])

    def emit_many(self, op: str, inputs: Sequence[str], name: str, count: int, **attributes: Any) -> list[str]:
        """Adds a node with several outputs; their names."""
        outputs = [self.fresh(f"{name}.{i}" if i else name) for i in range(count)]
        fields = [_attribute(k, v) for k, v in attributes.items() if v is not None]
        self.nodes.append(NodeProto(input=list(inputs), output=outputs, name=outputs[0], op_type=op, attribute=fields))
        return outputs

    def constant(self, array: Value, name: str) -> str:
        """Adds an initializer; its name."""
        unique = self.fresh(name)
        self.initializers.append(_tensor(unique, array))
        return unique

    # --- values -------------------------------------------------------------------------------------------------------

    def set(self, tensor: Tensor, name: str, *, nchw: bool = False) -> None:
        (self._nchw if nchw else self._plain)[tensor] = name

    def set_literal(self, tensor: Tensor, literal: Literal) -> None:
        self._literals[tensor] = literal

    def note_constant(self, op: Operation) -> bool:
        """Remembers how an op of constants is computed; True if its result is so small that it needs no nodes."""
        known = [self._literals.get(t) or self._folds.get(t) for t in op.inputs]
        inputs = tuple(x for x in known if x is not None)
        if not inputs or len(inputs) < len(known) or not _can_fold(op):
            return False
        size, given = sum(t.type.nbytes for t in op.outputs), sum(x.nbytes for x in dict.fromkeys(inputs))
        if size > max(_GROWTH * given, _SMALL):
            return False
        types = {t.port: t.type for t in op.inputs}
        values = {t.port: x for t, x in zip(op.inputs, inputs, strict=True)}
        site = site_of(self._nodes[op.name], types.__getitem__, lambda port: values[port].array())
        fold = Fold(site, inputs)
        for i, tensor in enumerate(op.outputs):
            self._folds[tensor] = Literal.lazy(tensor.dtype, tensor.type.dims, fold.output(i))
        if op.type not in _MOVES and size > _SMALL:
            return False
        self._literals.update((t, self._folds[t]) for t in op.outputs)
        return True

    def make(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], name: str) -> tuple[Tensor, ...]:
        """Writes an op that the graph does not have: a part of one that ONNX lacks. Its outputs."""
        full, count = name, 0
        while full in self._nodes:
            count += 1
            full = f"{name}_{count}"
        ports, frozen = tuple(t.port for t in inputs), MappingProxyType(dict(attrs))
        types = output_types(self._nodes, full, op, frozen, ports, None)
        made = Operation(self._graph, full, op, tuple(inputs), frozen, (), types)
        self._nodes[full] = Node(full, op, ports, frozen, types)
        if op == "Const":
            self.set_literal(made.outputs[0], attrs["value"])
        elif not self.note_constant(made):
            self._write(self, made)
        return made.outputs

    def node(self, op: Operation) -> Node:
        """The node of an op of the graph, or of one that was made."""
        return self._nodes[op.name]

    def same(self, source: Tensor, target: Tensor) -> None:
        """Makes ``target`` what ``source`` is, in every layout."""
        for names in (self._plain, self._nchw):
            if source in names:
                names[target] = names[source]
        for literals in (self._literals, self._folds):
            if source in literals:
                literals[target] = literals[source]

    def needed(self) -> tuple[list[NodeProto], list[TensorProto]]:
        """Nodes and constants that lead to a graph output, which are the nodes whose names were given (``exact``)."""
        wanted = set(self._exact)
        kept = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input, _inside(node))
                kept.append(node)
        return kept[::-1], [x for x in self.initializers if x.name in wanted]

    def hand_on(self, source: Tensor, target: Tensor) -> bool:
        """Makes ``target`` the same constant as ``source``; False if that is none."""
        if source in self._literals:
            self._literals[target] = self._literals[source]
        return source in self._literals

    def literal(self, tensor: Tensor) -> Value | None:
        """The value of a constant, or of what is computed from constants alone without becoming much larger."""
        found = self._literals.get(tensor) or self._folds.get(tensor)
        return None if found is None else found.array()

    def value(self, tensor: Tensor) -> Value | None:
        """The value of a constant, or of what follows from small constants and known shapes."""
        found = self.literal(tensor)
        return constant_value(self._nodes, tensor.port) if found is None else found

    def required(self, op: Operation, index: int) -> Value:
        """The value of an input that must be a constant."""
        value = self.value(op.inputs[index])
        if value is None:
            raise GraphError(
                f"ONNX: {op.type} '{op.name}': input {index} ('{op.inputs[index].name}') must be a constant"
            )
        return value

    def in_nchw(self, tensor: Tensor) -> bool:
        """True if the value is available in NCHW, so that an op that can work on either does so there."""
        return tensor in self._nchw

    def get(self, tensor: Tensor) -> str:
        """The value in its own layout."""
        if tensor not in self._plain:
            if tensor in self._literals:
                self._plain[tensor] = self.constant(self._literals[tensor].array(), tensor.op.name)
            elif tensor in self._nchw:
                self._plain[tensor] = self.emit("Transpose", [self._nchw[tensor]], f"{tensor.name}.nhwc", perm=TO_NHWC)
            else:
                raise GraphError(f"ONNX: '{tensor.name}' is used before it is made")
        return self._plain[tensor]

    def get_nchw(self, tensor: Tensor) -> str:
        """The value of a 4-D tensor in NCHW."""
        if tensor not in self._nchw:
            self._nchw[tensor] = self.emit("Transpose", [self.get(tensor)], f"{tensor.name}.nchw", perm=TO_NCHW)
        return self._nchw[tensor]


def _can_fold(op: Operation) -> bool:
    if op.type in STRUCTURAL or op.type in CONTROL or op.type not in OPDEFS or op.type in _NOT_FOLDED:
        return False
    return all(t.type.known for t in op.outputs)


def _inside(node: NodeProto) -> set[str]:
    """All names that the graphs inside of a node read; names are unique in a file."""
    graphs = [a.g for a in node.attribute if a.g is not None]
    return {n for g in graphs for inner in g.node for n in (*inner.input, *_inside(inner))}


def _attribute(name: str, value: Any) -> Attribute:
    if isinstance(value, GraphProto):
        return Attribute(name=name, g=value, type=5)
    if isinstance(value, bool | int | np.integer):
        return Attribute(name=name, i=int(value), type=2)
    if isinstance(value, float):
        return Attribute(name=name, f=value, type=1)
    if isinstance(value, str):
        return Attribute(name=name, s=value.encode(), type=3)  # type: ignore[arg-type]
    return Attribute(name=name, ints=[pack_numbers(value, "int64")], type=7)  # type: ignore[list-item]


def data_type(dtype: DType, what: str) -> int:
    """ONNX's number of an element type."""
    if dtype not in DATA_TYPES:
        raise GraphError(f"ONNX: {what} has element type {dtype}, which the writer does not support")
    return DATA_TYPES[dtype]


def _tensor(name: str, array: Value) -> TensorProto:
    dense = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    raw = dense.reshape(-1).view(np.uint8).data
    return TensorProto(
        dims=[pack_numbers(array.shape, "int64")],  # type: ignore[list-item]
        data_type=data_type(array.dtype, f"constant '{name}'"),
        name=name,
        raw_data=raw,  # type: ignore[arg-type]
    )
