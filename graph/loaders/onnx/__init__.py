"""ONNX models (.onnx) to a Graph.

    __init__.py   read_onnx, looks_like_onnx
    importer.py   the nodes in order, functions and constant branches in place, names and types
    node.py       what a converter sees of a node, and an example of one
    table.py      op type -> converter, joined from the tables of
                  activations.py arrays.py conv.py math.py norm.py pool.py quant.py reduce.py shapes.py ...

Values keep the file's layout (NCHW): windows and batch norms run in NHWC between transposes, which passes cancel.
Weights stay in the file. An op that is not served stays in the graph as an unknown one.
"""

from __future__ import annotations

from ...builder import Graph
from ...formats.beside import open_beside
from ...formats.limits import Budget
from ...formats.onnx import ModelProto
from ...formats.onnx_tensors import Constants
from ...formats.protobuf.reader import Reader
from ...formats.source import Source
from .importer import Importer

__all__ = ["looks_like_onnx", "read_onnx"]

#: Fields of ModelProto that writers put first, after ir_version (1): texts 2 to 4, model_version 5, doc 6, graph 7.
_LEN, _VARINT = 2, 0
_FIELDS = {1: _VARINT, 2: _LEN, 3: _LEN, 4: _LEN, 5: _VARINT, 6: _LEN, 7: _LEN, 8: _LEN, 14: _LEN, 20: _LEN, 25: _LEN}
_HIGHEST_IR = 64


def looks_like_onnx(head: bytes, size: int) -> bool:
    """True if the file's first fields are those of a ModelProto. SavedModel begins with the same version number."""
    at, seen = 0, 0
    version = None
    while at < len(head):
        tag, at = _varint(head, at)
        number, wire = tag >> 3, tag & 7
        if tag < 0 or _FIELDS.get(number) != wire:
            return False
        value, at = _varint(head, at)
        if value < 0:
            return version is not None and seen > 1 and at >= len(head)
        if number == 1:
            version = value
        seen += 1
        if wire == _VARINT:
            continue
        if at + value > size:
            return False
        content = head[at : at + value]
        if number == 7:  # a graph begins with a node, a name, a constant or an input
            return _is_version(version) and (not content or content[0] in (0x0A, 0x12, 0x2A, 0x52, 0x5A, 0x62, 0x6A))
        if number in (2, 3, 4) and not content.isascii():
            return False  # a SavedModel's meta graph, if it is 2
        if number == 2 and content[:1] == b"\x0a":
            return False
        at += value
    return _is_version(version) and seen > 1


def _is_version(version: int | None) -> bool:
    return version is None or 1 <= version <= _HIGHEST_IR


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; -1 if it does not end in the data."""
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            return -1, at
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    return -1, at


def read_onnx(source: Source, budget: Budget) -> Graph:
    """Parses the file and builds the graph."""
    view, fill = source.space()
    reader = Reader(view, budget, "ONNX", fill)
    model = reader.read(ModelProto)
    constants = Constants(
        reader, source, budget, lambda location, place: open_beside(source.path, location, budget, place)
    )
    importer = Importer(model, reader, constants, budget)
    graph = importer.run()
    graph.metadata.update(family="onnx", producer=f"{model.producer_name} {model.producer_version}".strip())
    if importer.notes:
        graph.metadata["note"] = "; ".join(importer.notes)
    return graph
