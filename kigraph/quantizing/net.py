"""An ONNX graph to edit: its nodes in order, its constants as arrays, and who reads what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.formats.onnx import (
    DATA_TYPES,
    Attribute,
    Entry,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSet,
    TensorProto,
    ValueInfo,
)
from ..graph.formats.protobuf.numbers import unpack_numbers
from ..graph.formats.protobuf.write import pack_numbers

__all__ = ["Array", "Net", "inner_reads", "made", "number_of", "numbers_of", "text_of"]

Array = np.ndarray[Any, Any]

_TYPES = {number: dtype for dtype, number in DATA_TYPES.items()}
_IR_VERSION, _OPSET = 8, 18


class Net:
    """``nodes`` in topological order, ``constants`` by name, the graph's inputs and outputs. Names are those of values."""

    def __init__(
        self,
        nodes: list[NodeProto],
        constants: dict[str, Array],
        inputs: list[ValueInfo],
        outputs: list[ValueInfo],
        metadata: list[Entry],
    ) -> None:
        self.nodes, self.constants = nodes, constants
        self.inputs, self.outputs, self.metadata = inputs, outputs, metadata
        self._names = {*constants, *(v.name for v in inputs), *(o for n in nodes for o in n.output)}

    @classmethod
    def of(cls, model: ModelProto) -> Net:
        """The graph that ``onnx_model`` made."""
        graph = model.graph
        assert graph is not None
        constants = {t.name: _array(t) for t in graph.initializer}
        return cls(list(graph.node), constants, list(graph.input), list(graph.output), list(model.metadata_props))

    def copy(self) -> Net:
        """Another one with the same nodes and arrays, to which others can be added."""
        return Net(list(self.nodes), dict(self.constants), self.inputs, self.outputs, self.metadata)

    def model(self) -> ModelProto:
        """The content of a file. Constants that nothing reads are left out."""
        read = {name for node in self.nodes for name in node.input}
        graph = GraphProto(
            node=self.nodes, name="kigraph", initializer=[_tensor(n, a) for n, a in self.constants.items() if n in read],
            input=self.inputs, output=self.outputs,
        )  # fmt: skip
        return ModelProto(
            ir_version=_IR_VERSION, producer_name="kigraph", graph=graph, opset_import=[OperatorSet(version=_OPSET)],
            metadata_props=self.metadata,
        )  # fmt: skip

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def ends(self) -> set[str]:
        """Names of the graph's outputs."""
        return {v.name for v in self.outputs}

    def readers(self) -> dict[str, list[NodeProto]]:
        """For every value the nodes that read it, once per use. Inner graphs read by name, too."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in (*node.input, *inner_reads(node)):
                found.setdefault(name, []).append(node)
        return found

    def makers(self) -> dict[str, NodeProto]:
        """For every value that is computed the node that makes it."""
        return {name: node for node in self.nodes for name in node.output}

    def float_constant(self, name: str) -> Array | None:
        """A constant of float32; None if the value is computed or of another type."""
        found = self.constants.get(name)
        return found if found is not None and found.dtype == np.float32 else None

    # --- editing ------------------------------------------------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """A name that is not taken."""
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}.{count}"
        self._names.add(candidate)
        return candidate

    def constant(self, name: str, array: Array) -> str:
        """Adds a constant; its name."""
        unique = self.fresh(name)
        self.constants[unique] = array
        return unique


def inner_reads(node: NodeProto) -> set[str]:
    """Names that the graphs inside of a node (of If, of Loop) read."""
    graphs = [a.g for a in node.attribute if a.g is not None]
    return {name for g in graphs for inner in g.node for name in (*inner.input, *inner_reads(inner))}


def made(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    """A node with one output; attributes are ints, floats, texts or lists of ints."""
    return NodeProto(
        input=list(inputs), output=[output], name=output, op_type=op,
        attribute=[_attribute(k, v) for k, v in attributes.items()],
    )  # fmt: skip


def numbers_of(node: NodeProto, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute that is a list of ints."""
    for attribute in node.attribute:
        if attribute.name == name:
            return tuple(_unpacked(attribute.ints))
    return default


def number_of(node: NodeProto, name: str, default: int) -> int:
    """An attribute that is an int."""
    return next((a.i for a in node.attribute if a.name == name), default)


def text_of(node: NodeProto, name: str, default: str) -> str:
    """An attribute that is a text."""
    found = next((a.s for a in node.attribute if a.name == name), None)
    return default if found is None else bytes(found).decode()


def _attribute(name: str, value: Any) -> Attribute:
    if isinstance(value, int):
        return Attribute(name=name, i=value, type=2)
    if isinstance(value, float):
        return Attribute(name=name, f=value, type=1)
    return Attribute(name=name, ints=[pack_numbers(value, "int64")], type=7)  # type: ignore[list-item]


def _unpacked(pieces: Sequence[Any]) -> list[int]:
    found: list[int] = unpack_numbers(b"".join(bytes(p) for p in pieces), "int64").tolist()
    return found


def _array(tensor: TensorProto) -> Array:
    shape = tuple(_unpacked(tensor.dims))
    return np.frombuffer(tensor.raw_data or b"", _TYPES[tensor.data_type]).reshape(shape)  # type: ignore[arg-type]


def _tensor(name: str, array: Array) -> TensorProto:
    dense = np.ascontiguousarray(array)
    return TensorProto(
        dims=[pack_numbers(array.shape, "int64")],  # type: ignore[list-item]
        data_type=DATA_TYPES[array.dtype],
        name=name,
        raw_data=dense.reshape(-1).view(np.uint8).data,  # type: ignore[arg-type]
    )
