"""What a TensorFlow Lite model may say of its inputs and outputs: normalisation, files of labels.

The schema is that of TensorFlow Lite Support (metadata_schema.fbs); what is not used here is not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..limits import Budget
from ..source import Source
from .reader import Reader, Span, Table

__all__ = ["METADATA", "LabelFile", "TensorMetadata", "read_metadata"]

#: The name of the buffer.
METADATA = "TFLITE_METADATA"
_MAGIC = b"M001"
_AXIS_LABELS, _VALUE_LABELS = 2, 3
_NORMALIZATION = 1


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A member of the archive at the end of the model. ``of_axis``: one line for every entry of the tensor's last axis."""

    name: str
    locale: str
    of_axis: bool


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """``mean``, ``std``: (pixel - mean) / std, one for all channels or one for each; () where the file says nothing."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[LabelFile, ...]


def read_metadata(source: Source, budget: Budget, span: Span) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Of the inputs and of the outputs of the first subgraph, in its order."""
    reader = Reader(source, budget, "the model's metadata", span.start, span.length)
    magic = bytes(reader.bytes(4, 4, "the mark"))
    if magic != _MAGIC:
        raise reader.fail(4, f"the mark {magic!r}", repr(_MAGIC))
    subgraphs = reader.root().tables(3, "the subgraphs")
    if not subgraphs:
        return [], []
    return _tensors(subgraphs[0], 2), _tensors(subgraphs[0], 3)


def _tensors(subgraph: Table, slot: int) -> list[TensorMetadata]:
    return [_tensor(table) for table in subgraph.tables(slot, "the tensors")]


def _tensor(table: Table) -> TensorMetadata:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for process in table.tables(4, "the processing"):
        options = process.table(1)  # a union: its kind, then the table
        if options is not None and process.number(0, "uint8", 0) == _NORMALIZATION:
            mean, std = (tuple(options.array(i, "float32").tolist()) for i in (0, 1))
    files = [
        LabelFile(file.text(0), file.text(3), kind == _AXIS_LABELS)
        for file in table.tables(6, "the files")
        if (kind := file.number(2, "int8", 0)) in (_AXIS_LABELS, _VALUE_LABELS)
    ]
    return TensorMetadata(mean, std, tuple(files))
