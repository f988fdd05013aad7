"""Requests and answers of the Open Inference Protocol as bytes: a JSON part, then binary tensors in the order of their names.

The extension is Triton's: the header Inference-Header-Content-Length says where the JSON part ends; strings are bytes behind their
length (4 bytes, little-endian).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ...graph.hints import shown
from ...kernels.tensor import STRING, dtype_name
from ..documents import MANY, Document, MalformedError, parse
from ..errors import Refused
from .values import Array, array_of, plain

__all__ = ["DATATYPES", "Inference", "answer", "datatype_of", "read"]

#: The protocol's names of element types -> NumPy's.
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_), "FP16": np.dtype(np.float16), "FP32": np.dtype(np.float32), "FP64": np.dtype(np.float64), "BYTES": STRING,
    **{f"{'U' if kind == 'u' else ''}INT{8 * size}": np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
}  # fmt: skip
_INPUTS, _AXES, _ELEMENTS = 64, 16, 1 << 31


@dataclass(slots=True)
class Inference:
    """A request. ``outputs``: (name, its parameters), all outputs of the model if it is None; ``binary``: those that do not say."""

    id: str
    inputs: dict[str, Array]
    outputs: list[tuple[str, dict[str, Any]]] | None
    binary: bool


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of an element type."""
    return next((name for name, known in DATATYPES.items() if known == dtype), dtype_name(dtype).upper())


def read(body: bytes | bytearray, header: str | None) -> Inference:
    """The request in a body. header: Inference-Header-Content-Length. Refused 400 for what is malformed."""
    end = len(body)
    if header is not None:
        if not (header.isascii() and header.isdecimal()) or len(header) > 12 or int(header) > len(body):
            raise _malformed("Inference-Header-Content-Length is no number of bytes that the body has")
        end = int(header)
    try:
        document = parse(body if end == len(body) else bytes(body[:end]), MANY)
        return _inference(document, memoryview(body)[end:])
    except (ValueError, TypeError, RecursionError, KeyError, struct.error) as error:
        raise _malformed(
            str(error) if isinstance(error, MalformedError) else "it is not the JSON that was expected"
        ) from None


def _malformed(reason: str) -> Refused:
    return Refused(400, "malformed", f"the body cannot be read: {reason}")


def _inference(document: Document, binary: memoryview) -> Inference:
    value = document.value
    inputs = value.get("inputs")
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= _INPUTS or not all(isinstance(i, dict) for i in inputs):
        raise MalformedError(f'"inputs" is expected to be a list of 1 to {_INPUTS} objects')
    arrays: dict[str, Array] = {}
    at = 0
    for entry in inputs:
        name = entry.get("name")
        if not isinstance(name, str) or name in arrays:
            raise MalformedError("an input has no name, or two have the same")
        arrays[name], used = _input(document, name, entry, binary[at:])
        at += used
    if at != len(binary):
        raise MalformedError(f"{len(binary) - at} bytes behind the JSON part belong to no input")
    outputs = None
    if value.get("outputs"):
        if not isinstance(value["outputs"], list) or not all(isinstance(o, dict) for o in value["outputs"]):
            raise MalformedError('"outputs" is expected to be a list of objects')
        outputs = [(_name(o), _parameters(o)) for o in value["outputs"]]
    number = value.get("id", "")
    if not isinstance(number, str) or len(number) > 256:
        raise MalformedError('"id" is expected to be a text of up to 256 characters')
    return Inference(number, arrays, outputs, _parameters(value).get("binary_data_output") is True)


def _name(entry: dict[str, Any]) -> str:
    if not isinstance(entry.get("name"), str):
        raise MalformedError("an output has no name")
    return str(entry["name"])


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    found = entry.get("parameters", {})
    if not isinstance(found, dict):
        raise MalformedError('"parameters" is expected to be an object')
    if shared := next((name for name in found if name.startswith("shared_memory")), None):
        raise MalformedError(f"{shared} is not supported: tensors are part of the body")
    return found


def _input(document: Document, name: str, entry: dict[str, Any], binary: memoryview) -> tuple[Array, int]:
    """The array of an input, and how many binary bytes were its."""
    kind, shape = entry.get("datatype"), entry.get("shape")
    dtype = DATATYPES.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise MalformedError(f"input {shown(name)}: datatype is expected to be one of {', '.join(DATATYPES)}")
    if (
        not isinstance(shape, list)
        or len(shape) > _AXES
        or not all(type(d) is int and 0 <= d < _ELEMENTS for d in shape)
    ):
        raise MalformedError(f"input {shown(name)}: shape is expected to be a list of whole numbers")
    if (count := prod(shape)) > _ELEMENTS:
        raise MalformedError(f"input {shown(name)}: shape {shape} has too many elements")
    size = _parameters(entry).get("binary_data_size")
    if (size is None) == ("data" not in entry):
        raise MalformedError(f'input {shown(name)}: expected either "data" or parameters.binary_data_size')
    if size is None:
        array = array_of(document, entry["data"], dtype)
        if array.size != count:
            raise MalformedError(f"input {shown(name)}: {array.size} elements, its shape {shape} has {count}")
        return array.reshape(shape), 0
    if type(size) is not int or not 0 <= size <= len(binary):
        raise MalformedError(f"input {shown(name)}: binary_data_size {size!r}, the body has {len(binary)} bytes left")
    data = binary[:size]
    if dtype == STRING:
        return _strings(name, data, count).reshape(shape), size
    if size != count * dtype.itemsize:
        raise MalformedError(
            f"input {shown(name)}: binary_data_size {size}, {count} elements of {kind} have {count * dtype.itemsize} bytes"
        )
    raw = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype.newbyteorder("<"), count)
    if dtype.kind == "b" and raw.size and raw.max() > 1:
        raise MalformedError(f"input {shown(name)}: a BOOL is a byte 0 or 1")
    return raw.astype(dtype).reshape(shape), size  # a copy: kernels want it aligned


def _strings(name: str, data: memoryview, count: int) -> Array:
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) < count:
        (length,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (len(data),)
        if at + 4 + length > len(data):
            raise MalformedError(f"input {shown(name)}: a string ends behind its binary data")
        found.append(bytes(data[at + 4 : at + 4 + length]))
        at += 4 + length
    if at != len(data) or len(found) != count:
        raise MalformedError(f"input {shown(name)}: its binary data has not the {count} strings of its shape")
    made: Array = np.empty(count, object)
    made[:] = found
    return made


def answer(document: dict[str, Any], outputs: list[tuple[str, Array, bool]]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON part if binary tensors follow. outputs: name, array, whether binary."""
    entries: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, array, binary in outputs:
        entry: dict[str, Any] = {"name": name, "datatype": datatype_of(array.dtype), "shape": list(array.shape)}
        if binary:
            parts.append(_raw(array))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = plain(array.ravel())
        entries.append(entry)
    head = json.dumps(
        document | {"outputs": entries}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()
    return head + b"".join(parts), len(head) if parts else None


def _raw(array: Array) -> bytes:
    if array.dtype == STRING:
        texts = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
