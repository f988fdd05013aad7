"""Small files in the layout of torch.export.save, without PyTorch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["archive", "call", "program"]

Array = np.ndarray[Any, Any]
_CODES = {"uint8": 1, "int32": 4, "int64": 5, "float16": 6, "float32": 7, "float64": 8, "bool": 12}


def _meta(dtype: str, shape: Sequence[int | None]) -> dict[str, Any]:
    strides = [int(np.prod([d or 1 for d in shape[i + 1 :]])) for i in range(len(shape))]
    return {
        "dtype": _CODES[dtype],
        "sizes": [{"as_expr": {"expr_str": "s0"}} if d is None else {"as_int": d} for d in shape],
        "strides": [{"as_int": s} for s in strides],
        "storage_offset": {"as_int": 0},
    }


def _argument(value: Any) -> dict[str, Any]:
    """'$x' names a tensor, '@n' a size; the rest is data."""
    if value is None:
        return {"as_none": True}
    if isinstance(value, str):
        return {"as_tensor": {"name": value[1:]}} if value[:1] == "$" else {"as_string": value}
    if isinstance(value, bool):
        return {"as_bool": value}
    if isinstance(value, int):
        return {"as_int": value}
    if isinstance(value, float):
        return {"as_float": value}
    if value and all(isinstance(v, str) and v[:1] == "$" for v in value):
        return {"as_tensors": [{"name": v[1:]} for v in value]}
    if any(isinstance(v, str) for v in value):
        return {"as_sym_ints": [{"as_name": v[1:]} if isinstance(v, str) else {"as_int": v} for v in value]}
    return {"as_ints": list(value)}


def call(op: str, outputs: str | Sequence[str], **arguments: Any) -> dict[str, Any]:
    """A call of ``aten.OP``; one output, several, or (a list) one list of tensors; '@n' an output that is a size."""
    if isinstance(outputs, str):
        made = [{"as_sym_int": {"as_name": outputs[1:]}} if outputs[0] == "@" else {"as_tensor": {"name": outputs}}]
    elif isinstance(outputs, list):
        made = [{"as_tensors": [{"name": o} for o in outputs]}]
    else:
        made = [{"as_tensor": {"name": o}} for o in outputs]
    target = op if "." in op else f"{op}.default"
    inputs = [{"name": n, "arg": _argument(v), "kind": 1} for n, v in arguments.items()]
    return {"target": f"torch.ops.aten.{target}", "inputs": inputs, "outputs": made, "metadata": {}}


def program(
    nodes: Sequence[Any],
    outputs: Sequence[str],
    inputs: Mapping[str, Sequence[int | None]],
    weights: Mapping[str, Array] = {},
) -> dict[str, Any]:
    """The JSON. A weight 'a.b' is the value 'p_a_b'."""
    specs = [{"parameter": {"arg": {"name": f"p_{w.replace('.', '_')}"}, "parameter_name": w}} for w in weights]
    specs += [{"user_input": {"arg": {"as_tensor": {"name": i}}}} for i in inputs]
    return {
        "graph_module": {
            "graph": {
                "inputs": [], "outputs": [], "nodes": list(nodes),
                "tensor_values": {n: _meta("float32", s) for n, s in inputs.items()}, "sym_int_values": {},
            },
            "signature": {
                "input_specs": specs,
                "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": o}}}} for o in outputs],
            },
        },
        "opset_version": {"aten": 10}, "schema_version": {"major": 8, "minor": 20},
    }  # fmt: skip


def archive(model: Any, weights: Mapping[str, Array] = {}) -> bytes:
    """The whole file; ``model``: the JSON, or text in its place."""
    buffer = io.BytesIO()
    config = {
        name: {
            "path_name": f"weight_{i}",
            "is_param": True,
            "use_pickle": False,
            "tensor_meta": _meta(a.dtype.name, a.shape),
        }
        for i, (name, a) in enumerate(weights.items())
    }
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("net/archive_format", "pt2")
        for i, array in enumerate(weights.values()):
            file.writestr(f"net/data/weights/weight_{i}", array.tobytes())
        file.writestr("net/data/weights/model_weights_config.json", json.dumps({"config": config}))
        file.writestr("net/models/model.json", model if isinstance(model, str) else json.dumps(model))
    return buffer.getvalue()
