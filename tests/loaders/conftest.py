"""What the loader tests share: an independent TensorFlow proto, and writers of PyTorch files without PyTorch."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

# Tests are imported by their files' paths; they share onnx_files.py.
sys.path.insert(0, str(Path(__file__).parent))

#: tensorflow/core/framework/*.proto, by hand: message -> fields 'label type name = number'.
_PROTO = {
    "Dim": ["optional int64 size = 1", "optional string name = 2"],
    "TensorShape": ["repeated Dim dim = 2", "optional bool unknown_rank = 3"],
    "Tensor": [
        "optional int32 dtype = 1",
        "optional TensorShape tensor_shape = 2",
        "optional int32 version_number = 3",
        "optional bytes tensor_content = 4",
        "repeated float float_val = 5",
        "repeated double double_val = 6",
        "repeated int32 int_val = 7",
        "repeated bytes string_val = 8",
        "repeated float scomplex_val = 9",
        "repeated int64 int64_val = 10",
        "repeated bool bool_val = 11",
        "repeated double dcomplex_val = 12",
        "repeated int32 half_val = 13",
        "repeated uint32 uint32_val = 16",
        "repeated uint64 uint64_val = 17",
    ],
    "List": [
        "repeated bytes s = 2",
        "repeated int64 i = 3",
        "repeated float f = 4",
        "repeated bool b = 5",
        "repeated int32 type = 6",
        "repeated TensorShape shape = 7",
        "repeated Tensor tensor = 8",
        "repeated NameAttrList func = 9",
    ],
    "NameAttrList": ["optional string name = 1", "map AttrValue attr = 2"],
    "AttrValue": [
        "oneof List list = 1",
        "oneof bytes s = 2",
        "oneof int64 i = 3",
        "oneof float f = 4",
        "oneof bool b = 5",
        "oneof int32 type = 6",
        "oneof TensorShape shape = 7",
        "oneof Tensor tensor = 8",
        "oneof string placeholder = 9",
        "oneof NameAttrList func = 10",
    ],
    "NodeDef": [
        "optional string name = 1",
        "optional string op = 2",
        "repeated string input = 3",
        "optional string device = 4",
        "map AttrValue attr = 5",
    ],
    "VersionDef": ["optional int32 producer = 1", "optional int32 min_consumer = 2"],
    "ArgDef": [
        "optional string name = 1",
        "optional int32 type = 3",
        "optional string type_attr = 4",
        "optional string number_attr = 5",
        "optional string type_list_attr = 6",
    ],
    "AttrDef": ["optional string name = 1", "optional AttrValue default_value = 3"],
    "Signature": [
        "optional string name = 1",
        "repeated ArgDef input_arg = 2",
        "repeated ArgDef output_arg = 3",
        "repeated AttrDef attr = 4",
    ],
    "Entry": ["optional string key = 1", "optional string value = 2"],
    "FunctionDef": [
        "optional Signature signature = 1",
        "repeated NodeDef node_def = 3",
        "repeated Entry ret = 4",
        "repeated Entry control_ret = 6",
    ],
    "FunctionLibrary": ["repeated FunctionDef function = 1"],
    "GraphDef": [
        "repeated NodeDef node = 1",
        "optional FunctionLibrary library = 2",
        "optional int32 version = 3",
        "optional VersionDef versions = 4",
    ],
}


def _make_proto() -> SimpleNamespace:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    types = {
        "int32": 5, "int64": 3, "uint32": 13, "uint64": 4, "bool": 8, "float": 2, "double": 1, "string": 9, "bytes": 12,
    }  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package="oracle", syntax="proto3")
    for name, fields in _PROTO.items():
        message = file.message_type.add(name=name)
        for text in fields:
            label, kind, field_name, _, number = text.split()
            if label == "oneof" and not message.oneof_decl:
                message.oneof_decl.add(name="value")
            field = message.field.add(
                name=field_name, number=int(number), label=3 if label in ("repeated", "map") else 1
            )
            if label == "map":
                entry = message.nested_type.add(name=f"{field_name.title()}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=9)
                entry.field.add(name="value", number=2, label=1, type=11, type_name=f".oracle.{kind}")
                field.type, field.type_name = 11, f".oracle.{name}.{field_name.title()}Entry"
            elif kind in types:
                field.type = types[kind]
            else:
                field.type, field.type_name = 11, f".oracle.{kind}"
            if label == "oneof":
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oracle.{n}")) for n in _PROTO}
    return SimpleNamespace(**made)


@pytest.fixture(scope="session")
def tf_proto() -> SimpleNamespace:
    """TensorFlow's messages made by the protobuf package from field numbers written down independently."""
    pytest.importorskip("google.protobuf")
    return _make_proto()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(bytes, name) -> path."""

    def make(data: bytes, name: str = "file.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


# --- PyTorch files ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Global:
    module: str
    name: str


@dataclass(frozen=True)
class Reduce:
    function: Any
    args: Any


@dataclass(frozen=True)
class Persistent:
    value: Any


STORAGES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage",
    "int32": "IntStorage", "uint8": "ByteStorage", "bool": "BoolStorage", "bfloat16": "BFloat16Storage",
}  # fmt: skip


def pickled(value: Any) -> bytes:
    """A protocol 2 pickle, opcode by opcode."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, Global):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Reduce):
        return _opcodes(value.function) + _opcodes(value.args) + b"R"
    if isinstance(value, Persistent):
        return _opcodes(value.value) + b"Q"
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if -(1 << 31) <= value < 1 << 31:
            return b"J" + struct.pack("<i", value)
        raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    assert isinstance(value, dict)
    return b"}(" + b"".join(_opcodes(k) + _opcodes(v) for k, v in value.items()) + b"u"


def tensor(key: str, array: np.ndarray[Any, Any], dtype: str | None = None) -> Reduce:
    """What torch pickles for a dense tensor whose storage is ``key``."""
    strides = tuple(int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim))
    return strided(key, dtype or array.dtype.name, array.size, 0, array.shape, strides)


def strided(key: str, dtype: str, size: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Reduce:
    storage = Persistent(("storage", Global("torch", STORAGES[dtype]), key, "cpu", size))
    hooks = Reduce(Global("collections", "OrderedDict"), ())
    return Reduce(Global("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, strides, False, hooks))


def torch_zip(value: Any, storages: dict[str, bytes], root: str = "archive", compress: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(f"{root}/data.pkl", value if isinstance(value, bytes) else pickled(value))
        archive.writestr(f"{root}/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"{root}/data/{key}", data)
        archive.writestr(f"{root}/version", b"3\n")
    return buffer.getvalue()


def _with_view(value: Any, view: Any) -> Any:
    """The old form's persistent ids have a sixth entry: a view into the storage, or None."""
    if isinstance(value, Persistent):
        return Persistent((*value.value, view))
    if isinstance(value, Reduce):
        return Reduce(value.function, _with_view(value.args, view))
    if isinstance(value, tuple):
        return tuple(_with_view(v, view) for v in value)
    return {k: _with_view(v, view) for k, v in value.items()} if isinstance(value, dict) else value


def torch_legacy(value: Any, storages: dict[str, tuple[int, bytes]], view: Any = None) -> bytes:
    value = _with_view(value, view)
    head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + pickled(1001)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    body = b"".join(struct.pack("<q", count) + data for count, data in storages.values())
    return head + pickled(system) + pickled(value) + pickled(list(storages)) + body


def state_dict(arrays: dict[str, np.ndarray[Any, Any]]) -> tuple[dict[str, Reduce], dict[str, bytes]]:
    tensors = {name: tensor(str(i), array) for i, (name, array) in enumerate(arrays.items())}
    return tensors, {str(i): array.tobytes() for i, array in enumerate(arrays.values())}


@pytest.fixture(scope="session")
def torch_files() -> SimpleNamespace:
    """Writers of PyTorch's two file forms."""
    return SimpleNamespace(
        Global=Global,
        Reduce=Reduce,
        Persistent=Persistent,
        pickled=pickled,
        tensor=tensor,
        strided=strided,
        zip=torch_zip,
        legacy=torch_legacy,
        state_dict=state_dict,
    )
