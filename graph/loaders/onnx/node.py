"""Node: one node of an ONNX file as the function that converts it sees it.

A converter is a function ``(node: Node) -> Tensor | Sequence[Tensor]`` in a table ``{op type: function}`` at the end of its
module; table.py joins the tables. It reads inputs and attributes from the node, adds operations with TensorFlow's op types,
and returns the outputs in ONNX's order, as many as it can give::

    def _gelu(n: Node) -> Tensor:
        x = n.input(0)
        if n.text("approximate", "none") != "none":              # reading an attribute says that it is handled
            raise n.unsupported("the tanh approximation", "export it with approximate='none'")
        scaled = n.op("Mul", x, n.like(x, 0.5 ** 0.5))           # adds an operation
        return n.op("Mul", n.op("Mul", x, n.like(x, 0.5)), n.op("AddV2", n.op("Erf", scaled), n.like(x, 1)))

    CONVERTERS = {"Gelu": _gelu}

``n.version`` is the version of the op's domain that the file speaks. An attribute that a converter does not read makes the
node unsupported: its effect is not known. What is unsupported stays in the graph as an unknown op, so that the rest of the
file can be inspected, and run with a feed for the node's output. What contradicts ONNX's rules is a LoadError:
``raise n.wrong(found, expected)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ....kernels.tensor import DType, Shape, TensorType
from ...builder import Graph, Tensor, entries_of, value_of
from ...errors import LoadError, UnsupportedOpError
from ...formats.limits import Budget, brief
from ...formats.onnx import Attribute, GraphProto, NodeProto
from ...formats.onnx_tensors import STORED, Constants, Stored
from ...formats.protobuf.reader import Reader
from ...formats.protobuf.wire import Span
from ...ir import UNKNOWN, Literal

__all__ = ["Converter", "Host", "Node", "Outputs"]

Value = np.ndarray[Any, Any]
Outputs = Tensor | Sequence[Tensor | None]
Converter = Callable[["Node"], Outputs]

INT64 = np.dtype(np.int64)
#: AttributeProto.AttributeType.
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 5, 6, 7, 8
_KINDS = {1: "float", 2: "int", 3: "string", 4: "tensor", 5: "graph", 6: "floats", 7: "ints", 8: "strings"}


class Host(Protocol):
    """What a node needs of the importer."""

    graph: Graph
    budget: Budget
    reader: Reader
    constants: Constants
    notes: dict[str, None]
    clamps: Mapping[str, tuple[int, int]]

    def numbers(self, spans: list[Span], kind: str) -> Value: ...
    def type_of(self, x: Tensor) -> TensorType: ...
    def narrow(self, x: Tensor) -> Stored | None: ...
    def note_type(self, x: Tensor, number: int) -> None: ...
    def body(self, node: Node, proto: GraphProto, name: str) -> list[Tensor]: ...
    def enclosed(
        self, node: Node, proto: GraphProto, name: str, args: Sequence[Tensor], graph: Graph,
        capture: Callable[[Tensor], Tensor],
    ) -> list[Tensor]: ...  # fmt: skip


class Node:
    """One use of an op: its inputs as tensors, its attributes, and what adds operations in its name."""

    def __init__(self, importer: Host, scope: Any, proto: NodeProto, version: int, base: str) -> None:
        self.importer, self.scope, self.proto, self.version, self.base = importer, scope, proto, version, base
        self.graph = importer.graph
        #: Whether the node is in the file's main graph, not in a body or function.
        self.first = not scope.prefix
        #: ONNX's name of the op, with the domain if it is not ONNX's own.
        self.type = f"{proto.domain}.{proto.op_type}" if proto.domain not in ("", "ai.onnx") else proto.op_type
        self.place = f"node '{(proto.name or next(iter(proto.output), ''))[:120]}' ({self.type[:80]})"
        self.inputs: tuple[Tensor | None, ...] = tuple(scope.input(name, self.place) for name in proto.input)
        self._attrs: Mapping[str, Attribute] = {a.name: a for a in proto.attribute}
        self._read: set[str] = set()

    # --- errors ----------------------------------------------------------------------------------------------------------

    def unsupported(self, what: str, remedy: str = "feed a tensor downstream of it instead") -> UnsupportedOpError:
        """For what ONNX allows and kigraph does not do."""
        return UnsupportedOpError(f"{self.place}: {what} is not supported; {remedy}")

    def wrong(self, found: str, expected: str) -> LoadError:
        """For what ONNX does not allow."""
        return self.importer.budget.error(self.place, found, expected)

    def check_attributes(self) -> None:
        """UnsupportedOpError if there is an attribute that the converter did not look at."""
        for name in self._attrs:
            if name not in self._read:
                raise self.unsupported(f"attribute '{name[:80]}'")

    # --- inputs ----------------------------------------------------------------------------------------------------------

    def input(self, index: int) -> Tensor:
        """An input that must be there."""
        found = self.optional(index)
        if found is None:
            raise self.wrong(f"no input {index}", "an input there")
        return found

    def optional(self, index: int) -> Tensor | None:
        """An input, or None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def all_inputs(self) -> list[Tensor]:
        """The inputs of an op that takes any number of them, at least one."""
        return [self.input(i) for i in range(max(len(self.inputs), 1))]

    def wants(self, index: int) -> bool:
        """Whether the file names that output."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    def type_of(self, x: Tensor) -> TensorType:
        """What is known of a tensor: what follows from the inputs, else what the file declares."""
        return self.importer.type_of(x)

    def dtype(self, x: Tensor) -> DType:
        """The element type, which must be known."""
        found = self.type_of(x).dtype
        if found == UNKNOWN:
            raise self.unsupported("an input whose element type is not known")
        return found

    def shape(self, x: Tensor) -> tuple[int | None, ...]:
        """The shape, None for unknown sizes; the rank must be known."""
        found = self.type_of(x).shape
        if found is None:
            raise self.unsupported("an input whose number of axes is not known")
        return found

    def rank(self, x: Tensor) -> int:
        """The number of axes, which must be known."""
        return len(self.shape(x))

    def axis(self, axis: int, rank: int) -> int:
        """A position from 0 to rank - 1 from one that may count from the end."""
        if not -rank <= axis < rank:
            raise self.wrong(f"axis {axis} of {rank} axes", f"one from {-rank} to {rank - 1}")
        return axis % rank

    def value(self, x: Tensor) -> Value | None:
        """The value of a tensor if it is known while the file is read."""
        return value_of(x)

    def constant(self, index: int, what: str) -> Value | None:
        """The value of an input, which must be known now; None if the input is left out."""
        x = self.optional(index)
        if x is None:
            return None
        found = value_of(x)
        if found is None:
            raise self.unsupported(f"{what} that is computed in the graph")
        return found

    def int_list(self, index: int, what: str) -> tuple[int, ...] | None:
        """An input that is a vector of integers known now; None if it is left out."""
        found = self.constant(index, what)
        if found is None:
            return None
        if found.dtype.kind not in "iu" or found.ndim > 1:
            raise self.wrong(f"{what} of type {found.dtype}{list(found.shape)}", "a vector of integers")
        return tuple(int(v) for v in found.reshape(-1))

    def entries(self, x: Tensor) -> Shape:
        """Entries of a vector of integers as far as they are known."""
        return entries_of(x)

    # --- attributes --------------------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether the node has the attribute; reading it is still needed."""
        return name in self._attrs

    def ignore(self, *names: str) -> None:
        """Attributes that change no result."""
        self._read.update(names)

    def _attribute(self, name: str, kind: int) -> Attribute | None:
        self._read.add(name)
        found = self._attrs.get(name)
        if found is not None and found.type != kind:
            what = _KINDS.get(found.type, f"type {found.type}")
            raise self.wrong(f"attribute '{name}' of kind {what}", f"one of kind {_KINDS[kind]}")
        return found

    def integer(self, name: str, default: int) -> int:
        found = self._attribute(name, _INT)
        return default if found is None else found.i

    def flag(self, name: str, default: bool = False) -> bool:
        """An integer that must be 0 or 1."""
        found = self.integer(name, int(default))
        if found not in (0, 1):
            raise self.wrong(f"attribute {name} = {found}", "0 or 1")
        return bool(found)

    def number(self, name: str, default: float) -> float:
        """A float of 32 bits."""
        found = self._attribute(name, _FLOAT)
        return float(np.float32(default if found is None else found.f))

    def text(self, name: str, default: str) -> str:
        found = self._attribute(name, _STRING)
        if found is None:
            return default
        return "" if found.s is None else self.importer.reader.content(found.s).decode("utf-8", "replace")

    def texts(self, name: str) -> tuple[str, ...] | None:
        found = self._attribute(name, _STRINGS)
        if found is None:
            return None
        return tuple(self.importer.reader.content(s).decode("utf-8", "replace") for s in found.strings)

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or None."""
        found = self._attribute(name, _INTS)
        return None if found is None else tuple(int(v) for v in self.importer.numbers(found.ints, "int64"))

    def floats(self, name: str) -> tuple[float, ...] | None:
        found = self._attribute(name, _FLOATS)
        return None if found is None else tuple(float(v) for v in self.importer.numbers(found.floats, "float"))

    def literal(self, name: str) -> Literal | None:
        """A tensor."""
        found = self._attribute(name, _TENSOR)
        if found is None or found.t is None:
            return None
        return self.importer.constants.literal(found.t, f"{self.place}, attribute '{name}'")

    def sparse(self, name: str) -> Literal | None:
        """A sparse tensor, as a dense one."""
        self._read.add(name)
        found = self._attrs.get(name)
        if found is None or found.sparse_tensor is None:
            return None
        return self.importer.constants.sparse(found.sparse_tensor, f"{self.place}, attribute '{name}'")

    def subgraph(self, name: str) -> GraphProto:
        """The body of a branch or loop."""
        found = self._attribute(name, _GRAPH)
        if found is None or found.g is None:
            raise self.wrong(f"no attribute '{name}'", "a graph")
        return found.g

    def element_type(self, number: int) -> DType:
        """A TensorProto.DataType of which kigraph has exactly the values."""
        row = STORED.get(number)
        if row is None:
            raise self.wrong(f"element type number {number}", "a type of ONNX")
        if row.table is not None or row.name == "bfloat16":
            raise self.unsupported(f"rounding to {row.name}", "export the model in float32 or float16")
        return row.dtype

    # --- adding operations ---------------------------------------------------------------------------------------------------

    def ops(self, type: str, inputs: Sequence[Tensor], outputs: int, /, **attrs: Any) -> tuple[Tensor, ...]:
        """Adds an operation; its outputs."""
        return self.graph.create_op(type, inputs, attrs, f"{self.base}/{type}", num_outputs=outputs).outputs

    def op(self, type: str, /, *inputs: Tensor, **attrs: Any) -> Tensor:
        """Adds an operation; its first output."""
        return self.ops(type, inputs, 1, **attrs)[0]

    def const(self, value: Any, dtype: Any = None) -> Tensor:
        """A constant; integers are int64 unless ``dtype`` says something else."""
        array = np.array(value, INT64 if dtype is None else dtype)
        return self.op("Const", value=Literal.of(array), dtype=array.dtype)

    def like(self, x: Tensor, value: float) -> Tensor:
        """A scalar of the element type of ``x``."""
        return self.const(value, self.dtype(x))

    def cast(self, x: Tensor, dtype: Any) -> Tensor:
        """``x`` itself if it has that element type."""
        target = np.dtype(dtype)
        return x if self.type_of(x).dtype == target else self.op("Cast", x, DstT=target)

    def int32(self, x: Tensor, what: str) -> Tensor:
        """A number that TensorFlow takes as int32; one that is known and beyond it is wrong, not another number."""
        known = self.value(x)
        if known is not None and known.size and not -(1 << 31) <= known.min() <= known.max() < 1 << 31:
            raise self.wrong(f"{what} {brief(known.tolist())}", "a number of 32 bits")
        return self.cast(x, "int32")

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        return x if list(perm) == list(range(len(perm))) else self.op("Transpose", x, self.const(list(perm)))

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """To known sizes, one of which may be -1."""
        return self.op("Reshape", x, self.const(list(shape)))

    def sizes(self, x: Tensor) -> Tensor:
        """The shape as a vector of int64."""
        return self.op("Shape", x, out_type=INT64)

    def size(self, x: Tensor, axis: int) -> Tensor:
        """One size as a vector of one entry."""
        known = self.shape(x)[axis]
        if known is not None:
            return self.const([known])
        begin, end, step = self.const([axis]), self.const([axis + 1]), self.const([1])
        return self.op("StridedSlice", self.sizes(x), begin, end, step)

    def vector(self, parts: Sequence[int | Tensor]) -> Tensor:
        """A vector of int64 of known entries and of tensors of one entry."""
        if all(isinstance(p, int) for p in parts):
            return self.const(list(parts))
        joined = [p if isinstance(p, Tensor) else self.const([p]) for p in parts]
        return joined[0] if len(joined) == 1 else self.op("ConcatV2", *joined, self.const(0))

    def channels(self, x: Tensor, rank: int, axis: int = 1) -> Tensor:
        """A vector of one value per channel, with axes of size 1 so that it broadcasts along axis ``axis``."""
        after = rank - 1 - axis
        if after < 0:
            raise self.wrong(f"{rank} axes", f"at least {axis + 1}")
        return x if after == 0 else self.reshape(x, [-1] + [1] * after)
