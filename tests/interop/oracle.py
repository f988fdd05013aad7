"""One op as a GraphDef, computed by TensorFlow and by kigraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.loaders import load
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError

__all__ = ["Case", "by_kigraph", "by_tensorflow", "difference", "graph_def"]

Value = np.ndarray[Any, Any]


@dataclass
class Case:
    """``inputs``: values in order. ``fed``: numbers of those that are placeholders, the others are constants.

    ``quantised``: types of inputs that TensorFlow takes as quantised numbers; those are not fed.
    ``loose``: relative tolerance of float results; 0: the same bits. ``unknown``: placeholders do not say their shape.
    """

    op: str
    inputs: Sequence[Value]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    fed: frozenset[int] = frozenset([0])
    loose: float = 0.0
    unknown: bool = False
    outputs: int = 1
    quantised: Mapping[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        inputs = ", ".join(f"{v.dtype}{v.shape}" + (f"={v.tolist()}" if v.size <= 8 else "") for v in self.inputs)
        return f"{self.op}({inputs}) {dict(self.attrs)} fed={sorted(self.fed)}{' unknown' if self.unknown else ''}"


def _derived(definition: Any, types: list[Any]) -> dict[str, Any]:
    """Types and counts that follow from the inputs."""
    derived: dict[str, Any] = {}
    at = 0
    for argument in definition.input_arg:
        if argument.type_list_attr:  # all that remain, but for what an attribute counts
            derived[argument.type_list_attr] = types[at:]
            at = len(types)
            continue
        if argument.number_attr == "num_host_args":
            continue
        count = len(types) - len(definition.input_arg) + 1 if argument.number_attr else 1
        if argument.number_attr:
            derived[argument.number_attr] = count
        if argument.type_attr and at < len(types):
            derived[argument.type_attr] = types[at]
        at += count
    return derived


def graph_def(case: Case) -> bytes:
    """The file: inputs i0, i1, ..., the op 'y'; attributes that TensorFlow derives from the inputs are filled in."""
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(case.op)
    graph = graph_pb2.GraphDef()
    graph.versions.producer = definition.deprecation.version - 1 if definition.deprecation.version else 1000
    types = [tf.dtypes.as_dtype(np.dtype(v.dtype) if v.dtype != object else "string") for v in case.inputs]
    for i, (value, dtype) in enumerate(zip(case.inputs, types, strict=True)):
        if i in case.fed:
            node = graph.node.add(name=f"i{i}", op="Placeholder")
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(None if case.unknown else value.shape).as_proto())
        else:
            node = graph.node.add(name=f"i{i}", op="Const")
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype, value.shape))
            if i in case.quantised:
                types[i] = dtype = tf.dtypes.as_dtype(case.quantised[i])
                node.attr["value"].tensor.dtype = dtype.as_datatype_enum
        node.attr["dtype"].type = dtype.as_datatype_enum
    node = graph.node.add(name="y", op=case.op, input=[f"i{i}" for i in range(len(case.inputs))])
    kinds = {a.name: a.type for a in definition.attr}
    for name, value in {**_derived(definition, types), **case.attrs}.items():
        _set(node.attr[name], kinds[name], value)
    data: bytes = graph.SerializeToString()
    return data


def _set(attr: Any, kind: str, value: Any) -> None:
    """Writes one attribute as its kind says."""
    import tensorflow as tf

    if kind == "type":
        attr.type = tf.dtypes.as_dtype(value).as_datatype_enum
    elif kind == "list(type)":
        attr.list.type.extend(t.as_datatype_enum for t in value)
    elif kind == "list(string)":
        attr.list.s.extend(value)
    elif kind == "list(int)":
        attr.list.i.extend(value)
    elif kind == "list(float)":
        attr.list.f.extend(value)
    elif kind == "string":
        attr.s = value if isinstance(value, bytes) else value.encode()
    elif kind == "shape":
        attr.shape.CopyFrom(tf.TensorShape(value).as_proto())
    else:
        setattr(attr, {"bool": "b", "int": "i", "float": "f"}[kind], value)


def _fetches(case: Case) -> list[str]:
    return [f"y:{i}" for i in range(case.outputs)]


def by_tensorflow(case: Case, data: bytes) -> list[Value] | str:
    """The outputs, or why it refuses."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(data)
    feeds = {f"i{i}:0": case.inputs[i] for i in case.fed}
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # it rewrites nodes whose outputs are fetched
    config.graph_options.optimizer_options.opt_level = tf.compat.v1.OptimizerOptions.L0
    try:
        with tf.Graph().as_default() as g:
            tf.import_graph_def(graph, name="")
            with tf.compat.v1.Session(graph=g, config=config) as session:
                return [_array(v) for v in session.run(_fetches(case), feeds)]
    except (tf.errors.OpError, ValueError, TypeError) as error:
        lines = [x for x in str(error).split("\n") if x and not x.startswith(("Detected at", "Node: 'y'"))]
        return f"{type(error).__name__}: {' '.join(lines[:3])[:200]}"


def _array(value: Any) -> Value:
    array = np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)
    return array.view(array.dtype[0]) if array.dtype.names else array  # of quantised numbers the integers


def by_kigraph(case: Case, path: Path, backend: str) -> list[Value] | str:
    """The same; only errors of kigraph's own count as refusals."""
    feeds = {f"i{i}:0": case.inputs[i] for i in case.fed}
    try:
        graph = load(path).graph
        assert graph is not None
        with Session(graph, backend=backend, threads=1) as session:
            return [_array(v) for v in session.run(_fetches(case), feeds)]
    except KigraphError as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def difference(got: Sequence[Value], want: Sequence[Value], loose: float) -> str:
    """'' if they are the same; NaN equals NaN, and -0 equals 0."""
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"output {i}: {a.dtype}{a.shape} for {b.dtype}{b.shape}"
        if b.dtype.kind in "fc" and loose:
            scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
            same = np.isclose(a, b, rtol=loose, atol=loose * min(max(scale, 1e-6), 1.0), equal_nan=True)
        elif b.dtype.kind in "fc":
            same = (a == b) | (np.isnan(a) & np.isnan(b))
        else:
            same = np.asarray(a == b, bool)
        if not same.all():
            return f"output {i}: {a[~same][:8].tolist()} for {b[~same][:8].tolist()}"
    return ""
