"""Nodes before they are converted: those of a function's body as its call makes them, and the values of constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.onnx import Attribute, NodeProto
from ...formats.onnx_tensors import STORED, Constants

__all__ = ["small_constants", "with_given", "without"]

Value = np.ndarray[Any, Any]
#: Elements of a constant that is looked at while the file is read.
_SMALL = 4096


def with_given(proto: NodeProto, given: Mapping[str, Attribute]) -> NodeProto:
    """A node of a function's body with the attributes of the call."""
    attributes: list[Attribute] = []
    for a in proto.attribute:
        if not a.ref_attr_name:
            attributes.append(a)
        elif a.ref_attr_name in given:
            source = given[a.ref_attr_name]
            attributes.append(
                Attribute(a.name, source.f, source.i, source.s, source.t, source.g, source.floats, source.ints,
                          source.strings, source.type, "", source.sparse_tensor)
            )  # fmt: skip
    return NodeProto(proto.input, proto.output, proto.name, proto.op_type, attributes, proto.domain, proto.overload)


def without(proto: NodeProto, left_out: set[str]) -> NodeProto:
    """A node whose inputs of these names are left out."""
    inputs = ["" if name in left_out else name for name in proto.input]
    return NodeProto(inputs, proto.output, proto.name, proto.op_type, proto.attribute, proto.domain, proto.overload)


def small_constants(
    nodes: Sequence[NodeProto], constants: Constants, known: Callable[[str], Value | None]
) -> Callable[[str], Value | None]:
    """What gives the value of a name: of a small Constant node, else what is ``known``. None where NumPy lacks the element type."""
    held = {node.output[0]: node for node in nodes if node.op_type == "Constant" and node.output and not node.domain}

    def value(name: str) -> Value | None:
        found = known(name)
        for a in held[name].attribute if found is None and name in held else ():
            row = STORED.get(a.t.data_type) if a.name == "value" and a.t is not None else None
            if a.t is not None and row is not None and row.table is None and row.name != "bfloat16":
                literal = constants.literal(a.t, f"constant '{name[:120]}'")
                return literal.array() if literal.type.size <= _SMALL else None
        return found

    return value
