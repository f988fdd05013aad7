"""TensorFlow's messages around a graph: SavedModel, MetaGraphDef and what they say of inputs, outputs and variables.

Field numbers are those of tensorflow/core/protobuf/{saved_model,meta_graph,saver}.proto.
"""

# ruff: noqa: RUF009  (the functions declare fields, as dataclasses.field does)

from __future__ import annotations

from dataclasses import dataclass

from .protobuf.wire import int64, map_of, message, messages, oneof, string, strings
from .tensorflow import GraphDef, TensorShape

__all__ = ["AssetFile", "MetaGraph", "MetaInfo", "SavedModel", "Saver", "SignatureDef", "TensorRef"]


@dataclass(slots=True)
class MetaInfo:
    """``tags``: what the graph is for; 'serve' is the one to run."""

    tags: list[str] = strings(4)
    tensorflow_version: str = string(5)


@dataclass(slots=True)
class Saver:
    """Which tensor and operation save and restore the variables."""

    filename_tensor_name: str = string(1)
    save_tensor_name: str = string(2)
    restore_op_name: str = string(3)


@dataclass(slots=True)
class Several:
    """Tensors that stand for one sparse or ragged value."""


@dataclass(slots=True)
class TensorRef:
    """A tensor of the graph by name, or several that stand for one value."""

    name: str | None = oneof(1, "string")
    coo_sparse: Several | None = oneof(4, "message", lambda: Several)
    composite_tensor: Several | None = oneof(5, "message", lambda: Several)
    tensor_shape: TensorShape | None = message(3, lambda: TensorShape)


@dataclass(slots=True)
class SignatureDef:
    """One way of calling the graph."""

    inputs: dict[str, TensorRef] = map_of(1, lambda: TensorRef)
    outputs: dict[str, TensorRef] = map_of(2, lambda: TensorRef)
    method_name: str = string(3)


@dataclass(slots=True)
class AssetFile:
    """A file in the folder ``assets`` whose path a tensor of the graph stands for."""

    tensor_info: TensorRef | None = message(1, lambda: TensorRef)
    filename: str = string(2)


@dataclass(slots=True)
class MetaGraph:
    """A graph with its signatures; its variables are in a checkpoint."""

    meta_info_def: MetaInfo | None = message(1, lambda: MetaInfo)
    graph_def: GraphDef | None = message(2, lambda: GraphDef)
    saver_def: Saver | None = message(3, lambda: Saver)
    signature_def: dict[str, SignatureDef] = map_of(5, lambda: SignatureDef)
    asset_file_def: list[AssetFile] = messages(6, lambda: AssetFile)


@dataclass(slots=True)
class SavedModel:
    """The file saved_model.pb."""

    saved_model_schema_version: int = int64(1)
    meta_graphs: list[MetaGraph] = messages(2, lambda: MetaGraph)
