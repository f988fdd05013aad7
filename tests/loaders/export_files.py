"""Exported programs (.pt2) for tests, written with zipfile and JSON alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["archive", "call", "meta", "program", "seed", "tensor", "weights_config"]

_CODES = {"float32": 7, "int64": 5, "bool": 12}


def tensor(name: str) -> dict[str, Any]:
    return {"as_tensor": {"name": name}}


def meta(shape: Sequence[int | str], dtype: str = "float32") -> dict[str, Any]:
    """The type of a value; a text is a symbol."""
    sizes = [{"as_int": n} if isinstance(n, int) else {"as_expr": {"expr_str": n}} for n in shape]
    steps = [{"as_int": int(np.prod([n for n in shape[i + 1 :] if isinstance(n, int)]))} for i in range(len(shape))]
    return {"dtype": _CODES[dtype], "sizes": sizes, "strides": steps, "storage_offset": {"as_int": 0}}


def call(target: str, outputs: str | Sequence[str], **arguments: Any) -> dict[str, Any]:
    """A call of an ATen op; an argument is a name (of a tensor), a value, or an encoded one."""
    inputs = [{"name": n, "arg": _encoded(v), "kind": 1} for n, v in arguments.items()]
    named = [tensor(outputs)] if isinstance(outputs, str) else [{"as_tensors": [{"name": n} for n in outputs]}]
    return {"target": f"torch.ops.aten.{target}", "inputs": inputs, "outputs": named, "metadata": {}}


def _encoded(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return tensor(value)
    if isinstance(value, bool):
        return {"as_bool": value}
    if isinstance(value, list | tuple):
        if all(isinstance(v, int) for v in value):
            return {"as_ints": list(value)}
        return {"as_tensors": [{"name": v} for v in value]}
    return {"as_int" if isinstance(value, int) else "as_float": value}


def program(
    nodes: Sequence[Any], inputs: Mapping[str, Any], outputs: Sequence[str], weights: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON of a program. inputs: name -> its type; weights: name of the value -> name of the array."""
    values = {**inputs, **{n: meta(()) for n in weights}}
    given = [{"parameter": {"arg": {"name": n}, "parameter_name": a}} for n, a in weights.items()]
    given += [{"user_input": {"arg": tensor(n)}} for n in inputs]  # type: ignore[misc]
    graph = {"inputs": [tensor(n) for n in values], "outputs": [tensor(n) for n in outputs], "nodes": list(nodes), "tensor_values": values}  # fmt: skip
    signature = {"input_specs": given, "output_specs": [{"user_output": {"arg": tensor(n)}} for n in outputs]}
    return {"graph_module": {"graph": graph, "signature": signature, "module_call_graph": []}, "schema_version": {"major": 8, "minor": 1}}  # fmt: skip


def weights_config(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    return {
        "config": {
            name: {
                "path_name": f"weight_{i}",
                "is_param": True,
                "use_pickle": False,
                "tensor_meta": meta(array.shape, str(array.dtype)),
            }
            for i, (name, array) in enumerate(arrays.items())
        }
    }


def archive(model: Any, config: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The file. ``model`` and ``config``: values that become JSON, or bytes as they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr("m/archive_format", "pt2")
        for name, value in (
            ("m/models/model.json", model),
            ("m/data/weights/model_weights_config.json", config),
        ):
            zipped.writestr(name, value if isinstance(value, bytes) else json.dumps(value))
        for i, array in enumerate(arrays.values()):
            zipped.writestr(f"m/data/weights/weight_{i}", array.tobytes())
    return out.getvalue()


def seed() -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """A small network that uses one converter of each kind, its weights' config and the arrays."""
    arrays = {
        "conv.weight": np.ones((4, 3, 3, 3), np.float32),
        "conv.bias": np.ones(4, np.float32),
        "fc.weight": np.ones((5, 4), np.float32),
    }
    nodes = [
        call("conv2d.default", "conv", input="x", weight="w", bias="b", stride=[2, 2], padding=[1, 1]),
        call("batch_norm.default", "bn", input="conv", weight="b", bias="b", running_mean="b", running_var="b",
             training=False, momentum=0.1, eps=1e-5, cudnn_enabled=False),
        call("relu.default", "relu", self="bn"),
        call("max_pool2d.default", "pool", self="relu", kernel_size=[2, 2]),
        call("split.Tensor", ["s0", "s1"], self="pool", split_size=2, dim=1),
        call("cat.default", "cat", tensors=["s0", "s1"], dim=1),
        call("pad.default", "pad", self="cat", pad=[0, 1, 1, 0]),
        call("add.Tensor", "add", self="cat", other={"as_float": 0.5}),
        call("mean.dim", "mean", self="add", dim=[2, 3], keepdim=False),
        call("slice.Tensor", "cut", self="mean", dim=1, start=0, end=4),
        call("linear.default", "fc", input="cut", weight="f"),
        call("softmax.int", "out", self="fc", dim=-1),
    ]  # fmt: skip
    weights = {"w": "conv.weight", "b": "conv.bias", "f": "fc.weight"}
    model = program(nodes, {"x": meta(("s0", 3, 8, 8))}, ["out", "pad"], weights)
    return model, weights_config(arrays), arrays
