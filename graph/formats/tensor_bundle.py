"""The messages of TensorFlow's checkpoints: what an index says of each tensor, and which object has which.

Field numbers are those of tensorflow/core/protobuf/{tensor_bundle,trackable_object_graph}.proto,
core/framework/tensor_slice.proto and core/util/saved_tensor_slice.proto.
"""

# ruff: noqa: RUF009  (the functions declare fields, as dataclasses.field does)

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from .protobuf.wire import Spec, enum, int32, int64, message, messages, oneof, string
from .tensorflow import TensorProto, TensorShape

__all__ = [
    "BundleEntry",
    "BundleHeader",
    "Extent",
    "ObjectGraph",
    "SavedPart",
    "SavedParts",
    "SavedTensor",
    "SavedTensors",
    "TensorSlice",
    "Trackable",
    "TrackedTensor",
]


def _fixed32(number: int) -> Any:
    return dataclasses.field(default=0, metadata={"wire": Spec(number, "fixed32")})


@dataclass(slots=True)
class BundleHeader:
    """The value of the empty key. ``endianness``: 0 is little."""

    num_shards: int = int32(1)
    endianness: int = enum(2)


@dataclass(slots=True)
class Extent:
    """A range along one axis; without ``length`` it is the whole axis."""

    start: int = int64(1)
    length: int | None = oneof(2, "int64")


@dataclass(slots=True)
class TensorSlice:
    """A part of a tensor, one range per axis."""

    extent: list[Extent] = messages(1, lambda: Extent)


@dataclass(slots=True)
class BundleEntry:
    """A tensor: where its bytes are. With ``slices`` they are in entries of their own."""

    dtype: int = enum(1)
    shape: TensorShape | None = message(2, lambda: TensorShape)
    shard_id: int = int32(3)
    offset: int = int64(4)
    size: int = int64(5)
    crc32c: int = _fixed32(6)
    slices: list[TensorSlice] = messages(7, lambda: TensorSlice)


@dataclass(slots=True)
class SavedTensor:
    """A tensor of an old checkpoint, of which one or several parts are stored."""

    name: str = string(1)
    shape: TensorShape | None = message(2, lambda: TensorShape)
    type: int = enum(3)


@dataclass(slots=True)
class SavedTensors:
    """The list of the tensors of an old checkpoint."""

    tensor: list[SavedTensor] = messages(1, lambda: SavedTensor)


@dataclass(slots=True)
class SavedPart:
    """A part of a tensor; ``data`` has neither type nor shape."""

    name: str = string(1)
    slice: TensorSlice | None = message(2, lambda: TensorSlice)
    data: TensorProto | None = message(3, lambda: TensorProto)


@dataclass(slots=True)
class SavedParts:
    """A value of an old checkpoint: the list, or a part."""

    meta: SavedTensors | None = message(1, lambda: SavedTensors)
    data: SavedPart | None = message(2, lambda: SavedPart)


@dataclass(slots=True)
class TrackedTensor:
    """A tensor of an object. ``full_name``: what its variable was called."""

    name: str = string(1)
    full_name: str = string(2)
    checkpoint_key: str = string(3)


@dataclass(slots=True)
class Trackable:
    """An object of a program, as far as its tensors are named here."""

    attributes: list[TrackedTensor] = messages(2, lambda: TrackedTensor)


@dataclass(slots=True)
class ObjectGraph:
    """The objects whose tensors a checkpoint has."""

    nodes: list[Trackable] = messages(1, lambda: Trackable)
