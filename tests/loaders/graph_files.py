"""GraphDefs for tests, written with the project's own records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.formats import tensorflow as tf
from kigraph.graph.formats.protobuf.write import encode, pack_numbers
from kigraph.graph.formats.tensorproto import shape_dims, tensor_proto
from kigraph.graph.ir import Literal

__all__ = ["BOOL", "F32", "I32", "Node", "attr", "called", "function", "library", "node", "save", "types"]

F32, I32, BOOL = np.dtype("float32"), np.dtype("int32"), np.dtype("bool")
Node = tf.NodeDef


def attr(value: Any) -> tf.AttrValue:
    """An attribute: a dtype, bool, int, float, text, array, tuple (shape), or an AttrValue as it is."""
    if isinstance(value, tf.AttrValue):
        return value
    if isinstance(value, np.dtype):
        return tf.AttrValue(type=tf.DTYPE_NUMBERS[value])
    if isinstance(value, bool):
        return tf.AttrValue(b=value)
    if isinstance(value, int):
        return tf.AttrValue(i=value)
    if isinstance(value, float):
        return tf.AttrValue(f=value)
    if isinstance(value, str):
        return tf.AttrValue(s=value.encode())
    if isinstance(value, np.ndarray | np.generic):
        return tf.AttrValue(tensor=tensor_proto(Literal.of(np.array(value))))
    dims = [tf.Dim(size=-1 if d is None else d) for d in value]
    shape = tf.TensorShape(dim=dims)
    assert shape_dims(shape) == tuple(value)
    return tf.AttrValue(shape=shape)


def types(*dtypes: Any) -> tf.AttrValue:
    """A list of element types."""
    return tf.AttrValue(list=tf.AttrList(type=[pack_numbers([tf.DTYPE_NUMBERS[d] for d in dtypes], "enum")]))  # type: ignore[list-item]


def node(name: str, op: str, *inputs: str, **attrs: Any) -> Node:
    """A node; 'Const' takes ``value``, 'Placeholder' takes ``dtype`` (float32) and ``shape``."""
    if op == "Const":
        value = np.array(attrs["value"])
        attrs = {"value": value, "dtype": value.dtype}
    if op == "Placeholder":
        attrs = {"dtype": F32, **attrs}
    return Node(name, op, list(inputs), "", {k: attr(v) for k, v in attrs.items()})


def function(
    name: str, inputs: Mapping[str, Any], outputs: Mapping[str, str], *nodes: Node, attrs: tuple[str, ...] = ()
) -> tf.FunctionDef:
    """A function of float32 tensors. inputs: name -> element type or the name of an attribute; outputs: name -> tensor."""
    return tf.FunctionDef(
        signature=tf.Signature(
            name=name,
            input_arg=[
                tf.ArgDef(name=n, type_attr=t) if isinstance(t, str) else tf.ArgDef(name=n, type=tf.DTYPE_NUMBERS[t])
                for n, t in inputs.items()
            ],
            output_arg=[tf.ArgDef(name=n, type=1) for n in outputs],
            attr=[tf.AttrDef(name=a) for a in attrs],
        ),
        node_def=list(nodes),
        ret=[tf.Entry(key=k, value=v) for k, v in outputs.items()],
    )


def library(*functions: tf.FunctionDef) -> tf.FunctionLibrary:
    return tf.FunctionLibrary(function=list(functions))


def called(name: str, **attrs: Any) -> tf.AttrValue:
    """An attribute that names a function."""
    return tf.AttrValue(func=tf.FunctionRef(name=name, attr={k: attr(v) for k, v in attrs.items()}))


def save(path: Path, *nodes: Node, functions: tf.FunctionLibrary | None = None, producer: int = 1000) -> Path:
    """Writes a GraphDef."""
    graph = tf.GraphDef(node=list(nodes), library=functions, versions=tf.VersionDef(producer=producer))
    path.write_bytes(b"".join(bytes(part) for part in encode(graph)))
    return path
