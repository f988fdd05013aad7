"""Tables, checkpoints and SavedModels for tests, written with the project's own records."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.graph.formats import saved_model as sm
from kigraph.graph.formats import tensor_bundle as tb
from kigraph.graph.formats import tensorflow as tf
from kigraph.graph.formats.crc32c import masked_crc32c
from kigraph.graph.formats.ordered_code import slice_key
from kigraph.graph.formats.protobuf.write import encode, pack_numbers
from kigraph.graph.formats.sstable import FOOTER_MAGIC
from kigraph.graph.formats.tensorproto import value_field

__all__ = [
    "Ends",
    "block",
    "bundle",
    "entry",
    "meta_graph",
    "one_block",
    "packed",
    "saved_model",
    "strings",
    "table",
    "varint",
]

#: Name -> tensor of the graph.
Ends = Mapping[str, str]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def packed(record: Any) -> bytes:
    return b"".join(bytes(part) for part in encode(record))


def block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    out, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key))
        )
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def table(entries: Mapping[bytes, bytes], snappy: bool = False, per_block: int = 4) -> bytes:
    """A sorted table. ``snappy``: compressed as one literal, which is a valid way."""
    data, handles, items = b"", [], list(entries.items())

    def add(content: bytes) -> bytes:
        nonlocal data
        if snappy:
            content = varint(len(content)) + b"\xf4" + struct.pack("<H", len(content) - 1) + content
        handle = varint(len(data)) + varint(len(content))
        stored = content + (b"\1" if snappy else b"\0")
        data += stored + struct.pack("<I", masked_crc32c(stored))
        return handle

    for at in range(0, len(items), per_block):
        handles.append((items[at : at + per_block][-1][0], add(block(items[at : at + per_block]))))
    footer = add(block([])) + add(block(handles))
    return data + footer.ljust(40, b"\0") + FOOTER_MAGIC


def one_block(content: bytes) -> bytes:
    """A table with a block of this content, whatever it is."""
    stored = content + b"\0"
    data = stored + struct.pack("<I", masked_crc32c(stored))
    handles = b""
    for more in (block([]), block([(b"\xff", varint(0) + varint(len(content)))])):
        handles += varint(len(data)) + varint(len(more))
        stored = more + b"\0"
        data += stored + struct.pack("<I", masked_crc32c(stored))
    return data + handles.ljust(40, b"\0") + FOOTER_MAGIC


def strings(values: Sequence[bytes]) -> tuple[bytes, int]:
    """The bytes of a tensor of strings, and their checksum."""
    plain = b"".join(struct.pack("<I", len(v)) for v in values)
    rest = struct.pack("<I", masked_crc32c(plain)) + b"".join(values)
    return b"".join(varint(len(v)) for v in values) + rest, masked_crc32c(plain + rest)


def entry(
    array: np.ndarray[Any, Any], offset: int, shard: int = 0, dtype: int | None = None
) -> tuple[tb.BundleEntry, bytes]:
    """What an index says of an array, and the array's bytes."""
    data, crc = (
        strings(array.ravel().tolist()) if array.dtype == object else (array.tobytes(), masked_crc32c(array.tobytes()))
    )
    shape = tf.TensorShape(dim=[tf.Dim(size=n) for n in array.shape])
    number = dtype or tf.DTYPE_NUMBERS[array.dtype]
    return tb.BundleEntry(number, shape, shard, offset, len(data), crc), data


def bundle(
    prefix: Path,
    arrays: Mapping[str, Any],
    parts: Mapping[str, Sequence[int]] | None = None,
    snappy: bool = False,
    entries: dict[bytes, bytes] | None = None,
) -> Path:
    """Writes a checkpoint; returns its index.

    parts: arrays that are stored in parts along axis 0, each of so many rows. entries: gets what the index says.
    """
    entries = {} if entries is None else entries
    entries[b""] = packed(tb.BundleHeader(num_shards=1))
    data = b""

    def add(key: bytes, array: np.ndarray[Any, Any]) -> None:
        nonlocal data
        made, content = entry(array, len(data))
        entries[key], data = packed(made), data + content

    for name, value in arrays.items():
        array = np.asarray(value)
        if name not in (parts or {}):
            add(name.encode(), array)
            continue
        slices, start = [], 0
        for rows in (parts or {})[name]:
            extent = [tb.Extent(start, rows), *(tb.Extent() for _ in array.shape[1:])]
            slices.append(tb.TensorSlice(extent))
            add(slice_key(name, [(start, rows), *((0, -1) for _ in array.shape[1:])]), array[start : start + rows])
            start += rows
        whole = entry(array, 0)[0]
        entries[name.encode()] = packed(tb.BundleEntry(whole.dtype, whole.shape, slices=slices))
    prefix.parent.mkdir(exist_ok=True)
    index = prefix.with_name(f"{prefix.name}.index")
    index.write_bytes(table(dict(sorted(entries.items())), snappy))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    return index


def old_checkpoint(
    arrays: Mapping[str, Any], parts: Mapping[str, Sequence[int]] | None = None, per_block: int = 4
) -> bytes:
    """A checkpoint as TensorFlow wrote it before 2017. parts: as for ``bundle``."""
    listed: list[tb.SavedTensor] = []
    entries: dict[bytes, bytes] = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        shape = tf.TensorShape(dim=[tf.Dim(size=n) for n in array.shape])
        listed.append(tb.SavedTensor(name, shape, tf.DTYPE_NUMBERS[array.dtype]))
        start = 0
        for rows in (parts or {}).get(name, (None,)):
            extent = [tb.Extent(start, rows), *(tb.Extent() for _ in array.shape[1:])] if array.ndim else []
            piece = array if rows is None else array[start : start + rows]
            saved = tb.SavedPart(name, tb.TensorSlice(extent), _values(piece))
            key = slice_key(name, [(e.start, -1 if e.length is None else e.length) for e in extent])
            entries[key] = packed(tb.SavedParts(data=saved))
            start += rows or 0
    head = packed(tb.SavedParts(tb.SavedTensors(listed)))
    return table({b"": head, **dict(sorted(entries.items()))}, per_block=per_block)


def _values(array: np.ndarray[Any, Any]) -> tf.TensorProto:
    """The values alone, without type and shape."""
    if array.dtype == object:
        return tf.TensorProto(string_val=list(array.ravel()))
    name = value_field(array.dtype)
    kind = {"f": "float", "d": "double", "b": "bool", "l": "int64"}.get(array.dtype.char, "int32")
    flat = array.view(np.uint16) if array.dtype == np.float16 else array
    if array.dtype.kind == "c":
        flat, kind = array.view(array.real.dtype), "float"
    proto = tf.TensorProto()
    setattr(proto, name, [pack_numbers(flat.ravel().tolist(), kind)])
    return proto


def meta_graph(
    nodes: Sequence[tf.NodeDef],
    signatures: Mapping[str, tuple[Ends, Ends]] | None = None,
    functions: tf.FunctionLibrary | None = None,
    restore: str = "",
    tags: Sequence[str] = ("serve",),
) -> sm.MetaGraph:
    """A graph with its signatures: key -> inputs and outputs."""

    def ends(names: Ends) -> dict[str, sm.TensorRef]:
        return {k: sm.TensorRef(name=v) for k, v in names.items()}

    return sm.MetaGraph(
        meta_info_def=sm.MetaInfo(tags=list(tags), tensorflow_version="2.x"),
        graph_def=tf.GraphDef(node=list(nodes), library=functions, versions=tf.VersionDef(producer=1000)),
        saver_def=sm.Saver(restore_op_name=restore) if restore else None,
        signature_def={k: sm.SignatureDef(ends(i), ends(o), "predict") for k, (i, o) in (signatures or {}).items()},
    )


def saved_model(
    folder: Path, *graphs: sm.MetaGraph, arrays: Mapping[str, Any] | None = None, version: int = 1, **more: Any
) -> Path:
    """Writes a SavedModel; returns its folder."""
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(packed(sm.SavedModel(version, list(graphs))))
    if arrays is not None:
        bundle(folder / "variables" / "variables", arrays, **more)
    return folder
