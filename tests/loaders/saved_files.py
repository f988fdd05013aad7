"""Small SavedModels as TensorFlow 1 and 2 write them: a matrix product and a bias, both variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.formats import tensorflow as tf
from tests.loaders import bundle_files as made
from tests.loaders.graph_files import F32, called, function, library, node, types

__all__ = [
    "CALL",
    "ENDS",
    "KEYS",
    "RESOURCE",
    "RESOURCES",
    "RNG",
    "B",
    "W",
    "X",
    "reference",
    "reference_model",
    "resource_model",
    "resource_nodes",
    "text",
]

RNG = np.random.default_rng(0)
W, B = RNG.standard_normal((3, 2)).astype("f4"), RNG.standard_normal(2).astype("f4")
X = RNG.standard_normal((4, 3)).astype("f4")
STRING = np.dtype(object)
RESOURCE = tf.AttrValue(type=20)


def text(*values: str) -> np.ndarray[Any, Any]:
    return np.array([v.encode() for v in values], object)


def handles(made_function: tf.FunctionDef) -> tf.FunctionDef:
    """The function, with its arguments w and b as handles of variables."""
    assert made_function.signature is not None
    for arg in made_function.signature.input_arg:
        arg.type = 20 if arg.name in ("w", "b") else arg.type
    return made_function


def reference() -> list[tf.NodeDef]:
    """As TensorFlow 1 saves it, with keys that are not the variables' names."""
    return [
        node("x", "Placeholder", shape=(None, 3)),
        node("w", "VariableV2", dtype=F32, shape=(3, 2)),
        node("b", "VariableV2", dtype=F32, shape=(2,)),
        node("w/read", "Identity", "w", T=F32),
        node("b/read", "Identity", "b", T=F32),
        node("mul", "MatMul", "x", "w/read", T=F32),
        node("y", "BiasAdd", "mul", "b/read", T=F32),
        node("save/file", "Const", value=text("model")),
        node("save/names", "Const", value=text("scope/b", "scope/w")),
        node("save/slices", "Const", value=text("", "")),
        node("save/RestoreV2", "RestoreV2", "save/file", "save/names", "save/slices"),
        node("save/Assign", "Assign", "b", "save/RestoreV2", T=F32),
        node("save/Assign_1", "Assign", "w", "save/RestoreV2:1", T=F32),
        node("save/restore_all", "NoOp", "^save/Assign", "^save/Assign_1"),
    ]


KEYS = {"scope/w": W, "scope/b": B, "w": W * 0, "b": B * 0}
ENDS = {"serving_default": ({"images": "x:0"}, {"scores": "y:0"})}


def reference_model(folder: Path, *more: tf.NodeDef, **options: Any) -> Path:
    graph = made.meta_graph([*reference(), *more], ENDS, restore="save/restore_all")
    return made.saved_model(folder, graph, **({"arrays": KEYS} | options))


def resource_nodes(*, restore: bool = True) -> tuple[list[tf.NodeDef], tf.FunctionLibrary]:
    """As TensorFlow 2 saves it: a function of the input and the handles, and one that restores."""
    inner = function(
        "inner", {"x": F32, "w": F32, "b": F32}, {"y": "y:output:0"},
        node("w/Read", "ReadVariableOp", "w", dtype=F32), node("b/Read", "ReadVariableOp", "b", dtype=F32),
        node("mul", "MatMul", "x", "w/Read:value:0", T=F32), node("y", "BiasAdd", "mul:product:0", "b/Read:value:0", T=F32),
    )  # fmt: skip
    outer = function(
        "outer", {"x": F32, "w": F32, "b": F32}, {"y": "Identity:output:0"},
        node("call", "StatefulPartitionedCall", "x", "w", "b", f=called("inner")),
        node("Identity", "Identity", "call:output:0", T=F32),
    )  # fmt: skip
    restores = function(
        "restore", {"prefix": STRING, "b": F32, "w": F32}, {"p": "Identity:output:0"},
        node("names", "Const", value=text("vars/1/.ATTRIBUTES/VARIABLE_VALUE", "vars/0/.ATTRIBUTES/VARIABLE_VALUE")),
        node("slices", "Const", value=text("", "")),
        node("RestoreV2", "RestoreV2", "prefix", "names:output:0", "slices:output:0", dtypes=types(F32, F32)),
        node("v", "Identity", "RestoreV2:tensors:0", T=F32), node("v_1", "Identity", "RestoreV2:tensors:1", T=F32),
        node("Assign", "AssignVariableOp", "b", "v:output:0"), node("Assign_1", "AssignVariableOp", "w", "v_1:output:0"),
        node("Identity", "Identity", "prefix", "^Assign", "^Assign_1", T=STRING),
    )  # fmt: skip
    nodes = [
        node("kernel", "VarHandleOp", dtype=F32, shape=(3, 2), shared_name="kernel"),
        node("bias", "VarHandleOp", dtype=F32, shape=(2,), shared_name="bias"),
        node("serving_default_x", "Placeholder", shape=(None, 3)),
        node(
            "StatefulPartitionedCall",
            "StatefulPartitionedCall",
            "serving_default_x",
            "kernel",
            "bias",
            f=called("outer"),
        ),
        node("saver_filename", "Placeholder", dtype=STRING, shape=()),
        node("restore", "StatefulPartitionedCall", "saver_filename", "bias", "kernel", f=called("restore")),
    ]
    return nodes, library(handles(inner), handles(outer), handles(restores))


RESOURCES = {"vars/0/.ATTRIBUTES/VARIABLE_VALUE": W, "vars/1/.ATTRIBUTES/VARIABLE_VALUE": B}
CALL = {"serving_default": ({"x": "serving_default_x:0"}, {"y": "StatefulPartitionedCall:0"})}


def resource_model(folder: Path, *more: tf.NodeDef, ends: Any = None, **options: Any) -> Path:
    nodes, functions = resource_nodes()
    graph = made.meta_graph([*nodes, *more], ends or CALL, functions, "restore")
    return made.saved_model(folder, graph, **({"arrays": RESOURCES} | options))
