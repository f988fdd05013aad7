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

__all__ = [
    "BODY",
    "BOOL",
    "COND",
    "F32",
    "I32",
    "Node",
    "attr",
    "called",
    "const",
    "counted",
    "frame",
    "function",
    "library",
    "node",
    "save",
    "seeds",
    "types",
]

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


def _typed(types: Mapping[str, Any], made: tf.FunctionDef) -> tf.FunctionDef:
    """A function whose outputs are not all float32."""
    assert made.signature is not None
    for arg in made.signature.output_arg:
        arg.type = tf.DTYPE_NUMBERS[types[arg.name]]
    return made


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


def const(name: str, value: Any) -> Node:
    return node(name, "Const", value=value)


def frame(
    prefix: str, starts: dict[str, str], ends: dict[str, str], cond: str, constant: dict[str, str], *inner: Node
) -> list[Node]:
    """A while loop as TensorFlow 1 writes it. In ``inner`` 'v' is variable v in the body, 'v/m' in the condition."""
    nodes = []
    for v, start in starts.items():
        nodes += [
            node(f"{prefix}{v}/e", "Enter", start, frame_name=prefix),
            node(f"{prefix}{v}/m", "Merge", f"{prefix}{v}/e", f"{prefix}{v}/n"),
            node(f"{prefix}{v}/s", "Switch", f"{prefix}{v}/m", f"{prefix}cond"),
            node(f"{prefix}{v}", "Identity", f"{prefix}{v}/s:1"),
            node(f"{prefix}{v}/n", "NextIteration", ends[v]),
            node(f"{prefix}{v}/x", "Exit", f"{prefix}{v}/s"),
        ]
    nodes += [node(n, "Enter", source, frame_name=prefix, is_constant=True) for n, source in constant.items()]
    return [*nodes, node(f"{prefix}cond", "LoopCond", cond), *inner]


def counted(x: str = "x") -> list[Node]:
    """y = x * 2^n, with the number of steps."""
    return [
        node("x", "Placeholder"), node("n", "Placeholder", dtype=I32, shape=()), const("zero", np.int32(0)), const("two", np.float32(2)),
        *frame(
            "w/", {"i": "zero", "y": x}, {"i": "w/more", "y": "w/twice"}, "w/less", {"w/n": "n", "w/two": "two"},
            node("w/less", "Less", "w/i/m", "w/n"), node("w/one", "Const", "^w/i", value=np.int32(1)),
            node("w/more", "Add", "w/i", "w/one"), node("w/twice", "Mul", "w/y", "w/two"),
        ),
    ]  # fmt: skip


_INPUTS = {"i": I32, "n": I32, "y": F32, "w": F32}
#: Condition and body of ``y = x @ w^n``.
COND = _typed({"go": BOOL}, function("cond", _INPUTS, {"go": "c:z:0"}, node("c", "Less", "i", "n")))
BODY = _typed(
    {"i_": I32, "n_": I32, "y_": F32, "w_": F32},
    function(
        "body", _INPUTS, {"i_": "more:z:0", "n_": "n", "y_": "m:product:0", "w_": "keep:output:0"},
        node("one", "Const", value=np.int32(1)), node("more", "AddV2", "i", "one:output:0"),
        node("keep", "Identity", "w"), node("m", "MatMul", "y", "w"),
    ),
)  # fmt: skip


def seeds(path: Path) -> list[bytes]:
    """Files with loops, branches and functions, for fuzzing."""
    loop = node("loop", "StatelessWhile", "zero", "n", "x", "two", cond=called("cond"), body=called("body"))
    branch = node("if", "If", "p", "loop:2", then_branch=called("neg"), else_branch=called("neg"))
    neg = function("neg", {"a": F32}, {"y": "e:y:0"}, node("e", "Neg", "a"))
    switch = [
        node("s", "Switch", "x", "p"),
        node("a", "Exp", "s"),
        node("b", "Neg", "s:1"),
        node("m", "Merge", "a", "b"),
    ]
    array = [
        node("ta", "TensorArrayV3", "n", dtype=F32), node("tw", "TensorArrayWriteV3", "ta", "zero", "x", "ta:1", T=F32),
        node("tr", "TensorArrayReadV3", "ta", "zero", "tw", dtype=F32), node("l", "TensorListFromTensor", "x", "zero", element_dtype=F32),
        node("u", "RandomUniform", "sizes", dtype=F32), const("sizes", np.array([2, 3], np.int32)),
    ]  # fmt: skip
    given = [const("p", np.array(True)), node("call", "PartitionedCall", "if", f=called("neg"))]
    nodes = [*counted(), loop, branch, *switch, *array, *given]
    text = b'{"serving_default": {"inputs": {"a": "x:0"}, "outputs": {"b": "s:1"}}}'
    signed = save(
        path, *counted(), *given[:1], *switch, const("kigraph/signatures", np.array(text, object))
    ).read_bytes()
    whole = save(path, *nodes, functions=library(COND, BODY, neg)).read_bytes()
    return [whole, save(path, *counted()).read_bytes(), signed]
