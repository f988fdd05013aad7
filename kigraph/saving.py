"""Writing graphs: the path's suffix decides the format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import GraphError
from .kernels.atomic_files import check_writable

if TYPE_CHECKING:
    from .graph.builder import Graph

__all__ = ["save_graph"]


def save_graph(graph: Graph, path: str | os.PathLike[str], outputs: Sequence[str] = ()) -> Path:
    """Writes a graph without variables: '.pb' as a TensorFlow frozen GraphDef, '.onnx' as ONNX.

    outputs: names of the tensors that the file's users want; default: those that nothing in the graph reads.
    Raises GraphError for another suffix, or an op that the format does not have, OSError where nothing can be written.
    """
    target = Path(path)
    check_writable(target)  # a pipe or device is not replaced by a file
    if target.suffix == ".pb":
        from .graph.writers.graphdef import save_graphdef

        save_graphdef(graph, target)
        return target
    if target.suffix == ".onnx":
        from .graph.writers.onnx import save_onnx

        save_onnx(graph, target, outputs)
        return target
    raise GraphError(f"cannot tell the format of '{target}'; expected a path that ends in .pb or .onnx")
