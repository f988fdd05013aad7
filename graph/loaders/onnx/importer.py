"""Importer: the nodes of an ONNX file one after the other, by the table of converters, into a Graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....kernels.errors import KigraphError
from ....kernels.tensor import TensorType
from ...builder import Graph, Tensor, value_of
from ...errors import LoadError, UnsupportedOpError
from ...formats.limits import Budget
from ...formats.onnx import Attribute, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSet, ValueInfo
from ...formats.onnx_tensors import STORED, Constants, Stored
from ...formats.protobuf.reader import Reader
from ...formats.protobuf.wire import Span
from ...hints import similar
from ...ir import UNKNOWN, Literal
from ...signatures import SERVING_DEFAULT, Signature
from .narrow import BFLOAT16, round_to
from .node import Node
from .order import in_order
from .protos import small_constants, with_given, without
from .qdq import fused
from .table import CONVERTERS

__all__ = ["LATEST", "OLDEST", "Importer", "Scope"]

#: Versions of ONNX's own operators that are read. Before 6 many ops have other attributes.
OLDEST, LATEST = 6, 28
#: Calls of functions and bodies of branches inside each other.
_MOST_NESTED = 32
#: Loops inside each other: the body of each is built up to four times.
_MOST_LOOPS, _LOOP = 5, "loop"
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.\\/>-]")
#: Characters of a value's name that an operation's name takes over.
_LONGEST = 160

FunctionKey = tuple[str, str, str]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


@dataclass(slots=True)
class Scope:
    """The values that the nodes of one graph, branch or function see, and the versions of the operators that it speaks."""

    importer: Importer
    opsets: Mapping[str, int]
    prefix: str = ""
    values: dict[str, Tensor] = field(default_factory=dict)
    outer: Scope | None = None
    #: Attributes of the call, for a function's body.
    given: Mapping[str, Attribute] | None = None
    calls: tuple[FunctionKey, ...] = ()
    #: For a graph of its own inside of a node: what makes a tensor outside of it one that it reads.
    capture: Callable[[Tensor], Tensor] | None = None

    def input(self, name: str, place: str) -> Tensor | None:
        """The value of that name; None for '', which is an input that is left out."""
        if not name:
            return None
        found = self._find(name)
        if found is not None:
            return found
        near = similar(name, self.values)
        hint = f" (similar: {near})" if near else ""
        raise self.importer.budget.error(
            place, f"input {name[:120]!r}", f"an input, a constant, or an output of an earlier node{hint}"
        )

    def _find(self, name: str) -> Tensor | None:
        if name in self.values:
            return self.values[name]
        found = None if self.outer is None else self.outer._find(name)
        return self.capture(found) if found is not None and self.capture is not None else found


class Importer:
    """Builds the graph of one file."""

    def __init__(self, model: ModelProto, reader: Reader, constants: Constants, budget: Budget) -> None:
        self.model, self.reader, self.constants, self.budget = model, reader, constants, budget
        self.graph = Graph()
        #: What the conversion changes about the way of computing, for the graph's metadata.
        self.notes: dict[str, None] = {}
        #: Of quantised results, by name: bounds of an activation that was taken into the node that makes them.
        self.clamps: Mapping[str, tuple[int, int]] = {}
        self._declared: dict[str, TensorType] = {}
        self._types: dict[Tensor, TensorType] = {}
        self._narrow: dict[Tensor, Stored] = {}
        self._named: set[Tensor] = set()
        self._functions = self._read_functions(model.functions)

    def numbers(self, spans: list[Span], kind: str) -> np.ndarray[Any, Any]:
        """A list of numbers, counted: each becomes a Python object."""
        if not spans:
            return np.empty(0, np.int64 if kind == "int64" else np.float32)
        self.budget.item("numbers of an attribute", spans[0].start, sum(s.size for s in spans))
        return self.reader.numbers(spans, kind)

    def type_of(self, x: Tensor) -> TensorType:
        """What the graph knows of a tensor, else what the file declares."""
        declared = self._types.get(x)
        if declared is None or x.type.known:
            return x.type
        dtype = declared.dtype if x.dtype == UNKNOWN else x.dtype
        return TensorType(dtype, declared.shape if x.shape is None else x.shape)

    def narrow(self, x: Tensor) -> Stored | None:
        """The element type that a constant or input has in the file, if it is wider in the graph."""
        return self._narrow.get(x)

    def note_type(self, x: Tensor, number: int) -> None:
        """Keeps the element type that a tensor has in the file, if it is wider here."""
        row = STORED.get(number)
        if row is not None and (row.table is not None or row.name == "bfloat16"):
            self._narrow[x] = row
            self.notes.setdefault(f"{row.name} is computed in {row.dtype.name}")

    def run(self) -> Graph:
        """The whole file."""
        proto = self.model.graph
        if proto is None or not (proto.node or proto.output):
            raise self.budget.error("the model", "no graph", "a graph with nodes", "Is this an ONNX model?")
        scope = Scope(self, self._opsets(self.model.opset_import, "the model"))
        self._declare([*proto.value_info, *proto.output, *proto.input])
        self._initializers(proto, scope)
        inputs: dict[str, str] = {}
        for info in proto.input:
            if info.name not in scope.values:
                inputs[info.name] = self._placeholder(info, scope).name
        constant = small_constants(proto.node, self.constants, lambda name: self._known(scope, name))
        nodes, self.clamps = fused(
            in_order(proto.node), [info.name for info in proto.output], constant, self.reader.content
        )
        self.nodes(nodes, scope)
        outputs: dict[str, str] = {}
        for info in proto.output:
            found = scope.input(info.name, f"output '{info.name[:120]}' of the model")
            if found is None:
                raise self.budget.error("the outputs of the model", "an output without a name", "a name")
            outputs[info.name] = self._as_declared(scope, info, found).name
        self.graph.signatures[SERVING_DEFAULT] = Signature(inputs, outputs)
        return self.graph

    def _known(self, scope: Scope, name: str) -> np.ndarray[Any, Any] | None:
        found = scope.values.get(name)
        return None if found is None or found in self._narrow else value_of(found)

    def _as_declared(self, scope: Scope, info: ValueInfo, x: Tensor) -> Tensor:
        """An output of type bfloat16 has values of bfloat16, whatever it was computed in."""
        number = info.type.tensor_type.elem_type if info.type is not None and info.type.tensor_type is not None else 0
        kept = self._narrow.get(x)
        if number != BFLOAT16 or x.dtype != np.float32 or (kept is not None and kept.name == "bfloat16"):
            return x
        cast = NodeProto([info.name], [], f"{info.name}/bfloat16", "Cast", [], "", "")
        made = round_to(Node(self, scope, cast, 0, self.legal(cast.name)), x, BFLOAT16, saturate=False)
        self.graph.aliases[info.name] = made.name
        return made

    def _opsets(self, imports: Sequence[OperatorSet], place: str) -> dict[str, int]:
        opsets = {_domain(entry.domain): entry.version for entry in imports}
        version = opsets.get("")
        if version is not None and not OLDEST <= version <= LATEST:
            raise self.budget.error(
                place, f"ONNX's operators of version {version}", f"{OLDEST} to {LATEST}",
                "Convert it: onnx.version_converter.convert_version(model, 17).",
            )  # fmt: skip
        return opsets

    def _read_functions(self, protos: Sequence[FunctionProto]) -> dict[FunctionKey, FunctionProto]:
        functions: dict[FunctionKey, FunctionProto] = {}
        for proto in protos:
            key = (_domain(proto.domain), proto.name, proto.overload)
            if key in functions:
                raise self.budget.error(f"function '{proto.name[:80]}'", "a second one of that name", "unique names")
            functions[key] = proto
        return functions

    # --- values ----------------------------------------------------------------------------------------------------------

    def legal(self, name: str) -> str:
        """An operation's name made of any text."""
        text = _ILLEGAL.sub("_", name[:_LONGEST]).strip("/")
        return text if text and (text[0].isalnum() or text[0] == ".") else f"onnx/{text}".rstrip("/")

    def _declared_type(self, info: ValueInfo) -> TensorType | None:
        tensor = info.type.tensor_type if info.type is not None else None
        if tensor is None:
            return None
        row = STORED.get(tensor.elem_type)
        if tensor.shape is None:
            return TensorType(UNKNOWN if row is None else row.dtype)
        dims: list[int | None] = [d.dim_value for d in tensor.shape.dim]
        if len(dims) > 32 or any(d is not None and d >= 1 << 62 for d in dims):
            raise self.budget.error(f"value '{info.name[:120]}'", f"shape {dims[:40]}", "at most 32 sizes below 2**62")
        shape = tuple(None if d is None or d < 0 else d for d in dims)
        return TensorType(UNKNOWN if row is None else row.dtype, shape)

    def _declare(self, infos: Sequence[ValueInfo]) -> None:
        for info in infos:
            found = self._declared_type(info)
            if found is not None:
                self._declared[info.name] = found

    def _placeholder(self, info: ValueInfo, scope: Scope) -> Tensor:
        found = self._declared_type(info)
        if not info.name:
            raise self.budget.error("the inputs of the model", "an input without a name", "a name")
        if found is None or found.dtype == UNKNOWN:  # a sequence, a map: kept, and refused when it is used
            made = self.graph.create_op("onnx.Input", (), {}, self.legal(info.name), num_outputs=1)
        else:
            attrs = {"dtype": found.dtype, "shape": found.shape}
            made = self.graph.create_op("Placeholder", (), attrs, self.legal(info.name))
        if info.type is not None and info.type.tensor_type is not None:
            self.note_type(made.outputs[0], info.type.tensor_type.elem_type)
        return self.bind(scope, info.name, made.outputs[0], f"input '{info.name[:120]}'")

    def _initializers(self, proto: GraphProto, scope: Scope) -> None:
        for tensor in proto.initializer:
            place = f"initializer '{tensor.name[:120]}'"
            made = self.constant(scope, tensor.name, self.constants.literal(tensor, place), place)
            self.note_type(made, tensor.data_type)
        for sparse in proto.sparse_initializer:
            name = "" if sparse.values is None else sparse.values.name
            place = f"sparse initializer '{name[:120]}'"
            self.constant(scope, name, self.constants.sparse(sparse, place), place)

    def constant(self, scope: Scope, name: str, value: Literal, place: str) -> Tensor:
        """A constant of the file."""
        attrs = {"value": value, "dtype": value.dtype}
        made = self.graph.create_op("Const", (), attrs, self.legal(scope.prefix + name))
        return self.bind(scope, name, made.outputs[0], place)

    def bind(self, scope: Scope, name: str, tensor: Tensor, place: str) -> Tensor:
        """Gives a value its name, once. A tensor that has one already gets an Identity, so that each can be fed by itself."""
        if not name:
            raise self.budget.error(place, "a value without a name", "a name")
        if name in scope.values:
            raise self.budget.error(place, f"a second value {name[:120]!r}", "each name once")
        if tensor in self._named:
            base = self.legal(scope.prefix + name)
            tensor = self.graph.create_op("Identity", [tensor], {}, base, num_outputs=1).outputs[0]
        self._named.add(tensor)
        scope.values[name] = tensor
        self.graph.aliases.setdefault(scope.prefix + name, tensor.name)
        if not scope.prefix and name in self._declared:
            self._types[tensor] = self._declared[name]
        return tensor

    # --- nodes -----------------------------------------------------------------------------------------------------------

    def nodes(self, protos: Sequence[NodeProto], scope: Scope) -> None:
        """Converts nodes. ONNX asks for a topological order; ONNX Runtime's converter to float16 writes another one."""
        for proto in in_order(protos):
            self._node(proto, scope)

    def _node(self, proto: NodeProto, scope: Scope) -> None:
        if scope.given is not None:
            proto = with_given(proto, scope.given)
        key = (_domain(proto.domain), proto.op_type, proto.overload)
        base = self.legal(scope.prefix + (proto.name or next(filter(None, proto.output), proto.op_type)))
        if key in self._functions:
            self._call(key, proto, scope, base)
            return
        version = scope.opsets.get(key[0])
        node = Node(self, scope, proto, version or 0, base)
        converter = CONVERTERS.get(key[:2])
        try:
            if version is None and not key[0]:
                raise node.wrong("an op of ONNX, whose version the file does not state", "an entry of opset_import")
            if converter is None:
                raise node.unsupported("this op")
            found = converter(node)
            node.check_attributes()
            outputs = [found] if isinstance(found, Tensor) else list(found)
            if any(node.wants(i) for i in range(len(proto.output)) if i >= len(outputs) or outputs[i] is None):
                raise node.unsupported("its further output")
        except UnsupportedOpError as e:
            outputs = self._unknown(node, str(e))
        except LoadError:
            raise
        except (KigraphError, ArithmeticError, LookupError, TypeError, ValueError) as e:
            raise LoadError(f"{self.budget.file}: {node.place}: {e}") from e
        for name, tensor in zip(proto.output, outputs, strict=False):
            if name and tensor is not None:
                self.bind(scope, name, tensor, node.place)

    def _unknown(self, node: Node, reason: str) -> list[Tensor | None]:
        """A node that cannot be converted, as an operation of an unknown type, which says why."""
        count = len(node.proto.output)
        self.budget.item(f"outputs of {node.place}", 0, count)
        inputs = [x for x in node.inputs if x is not None]
        domain = node.proto.domain if node.proto.domain not in ("", "ai.onnx") else "onnx"
        type = _ILLEGAL.sub("_", f"{domain}.{node.proto.op_type}"[:_LONGEST])
        made = self.graph.create_op(type, inputs, {"_reason": reason}, node.base, num_outputs=count)
        return list(made.outputs)

    # --- functions and bodies --------------------------------------------------------------------------------------------

    def _call(self, key: FunctionKey, proto: NodeProto, scope: Scope, base: str) -> None:
        """The body of a function in place of its call."""
        function = self._functions[key]
        place = f"call of function '{key[1][:80]}'"
        self._nested(key, scope, place)
        if len(proto.input) > len(function.input) or len(proto.output) > len(function.output):
            raise self.budget.error(
                place, f"{len(proto.input)} inputs and {len(proto.output)} outputs",
                f"at most {len(function.input)} and {len(function.output)}",
            )  # fmt: skip
        given = {a.name: a for a in (*function.attribute_proto, *proto.attribute)}
        opsets = self._opsets(function.opset_import, place) if function.opset_import else scope.opsets
        inner = Scope(self, opsets, f"{base}/", given=given, calls=(*scope.calls, key))
        left_out = set(function.input[len(proto.input) :])
        for name, outer in zip(function.input, proto.input, strict=False):
            value = scope.input(outer, place)
            if value is None:
                left_out.add(name)
            else:
                inner.values[name] = value
        body = [without(n, left_out) for n in function.node] if left_out else function.node
        self.nodes(body, inner)
        for name, outer in zip(function.output, proto.output, strict=False):
            found = inner.input(name, place)
            if outer and found is not None:
                self.bind(scope, outer, found, place)

    def _nested(self, key: FunctionKey, scope: Scope, place: str) -> None:
        self.budget.nodes(place, 1 + (len(self._functions[key].node) if key in self._functions else 0))
        if key in scope.calls or len(scope.calls) >= _MOST_NESTED:
            raise self.budget.error(
                place, "a call of itself" if key in scope.calls else f"more than {_MOST_NESTED} calls inside each other",
                "functions that call others only",
            )  # fmt: skip

    def body(self, node: Node, proto: GraphProto, name: str) -> list[Tensor]:
        """The nodes of a branch without inputs in place of the node that has it; its outputs."""
        return self._filled(node, proto, self._inside(node, proto, name))

    def _inside(self, node: Node, proto: GraphProto, name: str, kind: str = "") -> Scope:
        key = (kind, name, node.base)
        self.budget.nodes(node.place, 1 + len(proto.node))
        if len(node.scope.calls) >= _MOST_NESTED:
            raise self.budget.error(node.place, f"more than {_MOST_NESTED} bodies inside each other", "fewer")
        return Scope(
            self, node.scope.opsets, f"{node.base}/{name}/", outer=node.scope, given=node.scope.given,
            calls=(*node.scope.calls, key),
        )  # fmt: skip

    def _filled(self, node: Node, proto: GraphProto, scope: Scope) -> list[Tensor]:
        self._initializers(proto, scope)
        self.nodes(proto.node, scope)
        outputs = [scope.input(info.name, node.place) for info in proto.output]
        return [x for x in outputs if x is not None]

    def enclosed(
        self,
        node: Node,
        proto: GraphProto,
        name: str,
        args: Sequence[Tensor],
        graph: Graph,
        capture: Callable[[Tensor], Tensor],
    ) -> list[Tensor]:
        """The nodes of a body in a graph of its own, with ``args`` as its inputs; its outputs."""
        if len(proto.input) != len(args):
            raise self.budget.error(node.place, f"a body of {len(proto.input)} inputs", f"{len(args)} inputs")
        loops = sum(call[0] == _LOOP for call in node.scope.calls)
        if args and loops >= _MOST_LOOPS:
            raise self.budget.error(node.place, f"more than {_MOST_LOOPS} loops inside each other", "fewer")
        scope = self._inside(node, proto, name, _LOOP if args else "")

        def taken(x: Tensor) -> Tensor:
            made = capture(x)
            if x in self._narrow:
                self._narrow[made] = self._narrow[x]
            return made

        scope.capture, outer, self.graph = taken, self.graph, graph
        try:
            for info, x in zip(proto.input, args, strict=True):
                self.bind(scope, info.name, x, node.place)
            return self._filled(node, proto, scope)
        finally:
            self.graph = outer
